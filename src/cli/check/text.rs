//! What was found, for people.

use crate::diagnosis::check::{Cell, Finding, Report, Suggestion, Verdict, milliseconds, trip};
use crate::report::{Style, count, one_line, pad, table, width, wrap};

/// Wide enough for every verdict.
const VERDICT: usize = 7;
/// Below this the words would be a column of single ones: lines are then left to the terminal to break.
const NARROWEST: usize = 24;

/// All of it; lines are broken at `columns`, if they are known.
pub(super) fn page(report: &Report, style: Style, columns: Option<usize>) -> String {
    let mut text = String::new();
    for group in report.findings.chunk_by(|one, next| one.host == next.host) {
        let title = group.first().and_then(|finding| finding.host.as_deref()).unwrap_or("all hosts");
        text += &format!("{}\n", style.bold(title));
        let subjects = group.iter().map(|finding| width(finding.subject)).max().unwrap_or_default();
        text.extend(group.iter().map(|finding| lines(finding, subjects, style, columns)));
        text.push('\n');
    }
    if report.hosts.len() > 1 {
        text += &format!("{}\n{}\n", style.bold("round trips between peer ports, in ms"), matrix(report));
    }
    if let Some(suggestion) = &report.suggestion {
        text += &format!("{}\n", suggested(suggestion, style));
    }
    text + &summary(report, style) + "\n"
}

fn painted(verdict: Verdict, text: &str, style: Style) -> String {
    match verdict {
        Verdict::Ok => style.good(text),
        Verdict::Warning => style.warn(text),
        Verdict::Failed => style.bad(text),
    }
}

/// A finding: its verdict, its subject, and what was found beside what is wanted.
fn lines(finding: &Finding, subjects: usize, style: Style, columns: Option<usize>) -> String {
    let verdict = painted(finding.verdict, &pad(finding.verdict.name(), VERDICT), style);
    let head = format!("  {verdict}  {}  ", pad(finding.subject, subjects));
    let indent = VERDICT + subjects + 6;
    let mut words = one_line(&finding.measured);
    if !finding.threshold.is_empty() {
        words += &format!(" ({}; {})", finding.threshold, finding.source.name());
    }
    let room = columns.map(|columns| columns.saturating_sub(indent)).filter(|room| *room >= NARROWEST);
    let broken = |words: &str| room.map_or_else(|| vec![words.to_owned()], |room| wrap(words, room));
    let mut rows = broken(&words);
    rows.extend(finding.hint.iter().flat_map(|hint| broken(&format!("hint: {}", one_line(hint)))));
    let margin = " ".repeat(indent);
    let rows = rows.iter().enumerate().map(|(number, row)| match number {
        0 => format!("{head}{row}\n"),
        _ => format!("{margin}{row}\n"),
    });
    rows.collect()
}

/// Who goes stands at the left, who is gone to at the top.
fn matrix(report: &Report) -> String {
    let mut rows =
        vec![std::iter::once("  FROM / TO".to_owned()).chain(report.hosts.iter().cloned()).collect::<Vec<_>>()];
    for (from, row) in report.hosts.iter().zip(&report.trips) {
        let cells = row.iter().map(|cell| match cell {
            Cell::Own => "-".to_owned(),
            Cell::Open(Some(seconds)) => trip(*seconds),
            Cell::Open(None) => "open".to_owned(),
            Cell::Closed => "closed".to_owned(),
            Cell::Untried => "?".to_owned(),
        });
        rows.push(std::iter::once(format!("  {from}")).chain(cells).collect());
    }
    table(&rows)
}

fn suggested(suggestion: &Suggestion, style: Style) -> String {
    let (seconds, from, to) = &suggestion.trip;
    let mut causes = format!("a round trip of {} ms from {from} to {to}", trip(*seconds));
    if let Some((p99, host)) = &suggestion.disk {
        causes += &format!(", a disk p99 of {} ms on {host}", milliseconds(*p99));
    }
    format!(
        "{}\n  heartbeat-interval: {}\n  election-timeout: {}\n  {}\n",
        style.bold("suggested settings"),
        suggestion.heartbeat_interval,
        suggestion.election_timeout,
        style.dim(format!("# {causes}; etcd tuning guide"))
    )
}

fn summary(report: &Report, style: Style) -> String {
    let (warnings, failed) = (report.count(Verdict::Warning), report.count(Verdict::Failed));
    let paint = |verdict, number, words: String| if number > 0 { painted(verdict, &words, style) } else { words };
    format!(
        "check: {}, {} ok, {}, {}",
        count(report.looked_at(), "host"),
        report.count(Verdict::Ok),
        paint(Verdict::Warning, warnings, count(warnings, "warning")),
        paint(Verdict::Failed, failed, format!("{failed} failed")),
    )
}
