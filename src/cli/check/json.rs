//! What was found as JSON lines.

use crate::diagnosis::check::{Cell, Finding, Report, Verdict};
use serde_json::{Map, Value, json};

/// A line a finding, a line a way between two hosts' peer ports, one with the suggestion, and one for all.
pub(super) fn lines(report: &Report) -> String {
    let findings = report.findings.iter().map(finding);
    let ways = report
        .trips
        .iter()
        .zip(&report.hosts)
        .flat_map(|(row, from)| row.iter().zip(&report.hosts).filter_map(move |(cell, to)| way(from, to, *cell)));
    let suggestion = report.suggestion.iter().map(|suggestion| {
        let (seconds, from, to) = &suggestion.trip;
        let disk = suggestion.disk.as_ref();
        json!({
            "v": 1,
            "suggestion": {
                "heartbeat_interval_ms": suggestion.heartbeat_interval,
                "election_timeout_ms": suggestion.election_timeout,
                "round_trip_ms": micro(*seconds),
                "from": from,
                "to": to,
                "disk_p99_ms": disk.map(|(p99, _)| micro(*p99)),
                "disk": disk.map(|(_, host)| host),
            },
        })
    });
    let all = json!({
        "v": 1,
        "check": report.verdict().name(),
        "hosts": report.looked_at(),
        "ok": report.count(Verdict::Ok),
        "warnings": report.count(Verdict::Warning),
        "failed": report.count(Verdict::Failed),
    });
    findings.chain(ways).chain(suggestion).chain([all]).map(|line| crate::report::json(&line)).collect()
}

fn finding(finding: &Finding) -> Value {
    let numbers: Map<String, Value> =
        finding.numbers.iter().map(|(name, number)| ((*name).to_owned(), tidy(*number))).collect();
    json!({
        "v": 1,
        "host": finding.host,
        "subject": finding.subject,
        "verdict": finding.verdict.name(),
        "measured": finding.measured,
        "numbers": numbers,
        "threshold": finding.threshold,
        "source": finding.source.name(),
        "url": finding.source.url(),
        "hint": finding.hint,
    })
}

fn way(from: &str, to: &str, cell: Cell) -> Option<Value> {
    let (reached, trip) = match cell {
        Cell::Own => return None,
        Cell::Open(trip) => (Some(true), trip),
        Cell::Closed => (Some(false), None),
        Cell::Untried => (None, None),
    };
    Some(
        json!({ "v": 1, "from": from, "to": to, "port": "peer", "reached": reached, "round_trip_ms": trip.map(micro) }),
    )
}

/// Milliseconds with three places: finer nothing was measured.
fn micro(seconds: f64) -> Value {
    tidy((seconds * 1e6).round() / 1e3)
}

/// With three places, and none where they are none.
fn tidy(number: f64) -> Value {
    let number = (number * 1e3).round() / 1e3;
    if number.fract() == 0.0 && number.abs() < 9e15 {
        // In the range of integers that a float holds exactly.
        #[allow(clippy::cast_possible_truncation)]
        let whole = number as i64;
        return json!(whole);
    }
    json!(number)
}
