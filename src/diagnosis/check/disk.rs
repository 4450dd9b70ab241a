//! What the times of small synced writes mean for a member.

use super::{Finding, Source, Verdict, milliseconds};
use crate::report::count;

/// Above this p99 of a write-ahead log's syncs a disk is too slow, in seconds (etcd's FAQ).
const SLOW: f64 = 0.010;

/// Two times by which a disk is judged, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Percentiles {
    pub p50: f64,
    pub p99: f64,
}

/// The smallest times that no less than 50 and 99 of a hundred writes keep to; `None` without any writes.
pub(super) fn percentiles(times: &[f64]) -> Option<Percentiles> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let nth = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
    Some(Percentiles { p50: nth(50)?, p99: nth(99)? })
}

/// Judges the times of synced writes; `heartbeat` is the interval between heartbeats in milliseconds.
///
/// A leader syncs its log in the same loop that sends its heartbeats. Where one write in a hundred takes as long as the
/// interval between them, followers miss heartbeats all the time, and that is why it fails from there on.
pub(super) fn judge(times: &Result<Vec<f64>, String>, heartbeat: u64) -> Finding {
    const SUBJECT: &str = "disk";
    let threshold = format!("p99 under 10 ms; fails from {heartbeat} ms, the heartbeat-interval");
    let times = match times {
        Ok(times) => times,
        Err(why) => return Finding::new(SUBJECT, Verdict::Warning, format!("not measured: {why}")),
    };
    let Some(Percentiles { p50, p99 }) = percentiles(times) else {
        return Finding::new(SUBJECT, Verdict::Failed, "not one write was safe in time").wants(threshold, Source::Faq);
    };
    #[allow(clippy::cast_precision_loss)]
    let heartbeat = heartbeat as f64 / 1000.0;
    let verdict = match p99 {
        _ if p99 >= heartbeat => Verdict::Failed,
        _ if p99 >= SLOW => Verdict::Warning,
        _ => Verdict::Ok,
    };
    let writes = count(times.len(), "write");
    let measured = format!("p50 {} ms, p99 {} ms of {writes}", milliseconds(p50), milliseconds(p99));
    let finding = Finding::new(SUBJECT, verdict, measured).wants(threshold, Source::Faq);
    let finding = finding.number("p50_ms", p50 * 1000.0).number("p99_ms", p99 * 1000.0);
    let finding = finding.whole("writes", times.len() as u64);
    if verdict == Verdict::Ok {
        finding
    } else {
        finding.hint("give etcd's data a disk of its own, an SSD if possible")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        assert_eq!(percentiles(&[]), None);
        assert_eq!(percentiles(&[0.3]), Some(Percentiles { p50: 0.3, p99: 0.3 }));
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentiles(&hundred), Some(Percentiles { p50: 50.0, p99: 99.0 }));
        let more: Vec<f64> = (1..=101).map(f64::from).collect();
        assert_eq!(percentiles(&more), Some(Percentiles { p50: 51.0, p99: 100.0 }));
    }

    #[test]
    fn where_a_disk_becomes_too_slow() {
        for (ms, heartbeat, verdict, measured) in [
            (0.04, 100, Verdict::Ok, "p50 0.04 ms, p99 0.04 ms of 3 writes"),
            (9.9, 100, Verdict::Ok, "p50 9.9 ms, p99 9.9 ms of 3 writes"),
            (10.0, 100, Verdict::Warning, "p50 10 ms, p99 10 ms of 3 writes"),
            (99.0, 100, Verdict::Warning, "p50 99 ms, p99 99 ms of 3 writes"),
            (100.0, 100, Verdict::Failed, "p50 100 ms, p99 100 ms of 3 writes"),
            (100.0, 500, Verdict::Warning, "p50 100 ms, p99 100 ms of 3 writes"),
        ] {
            let finding = judge(&Ok(vec![ms / 1000.0; 3]), heartbeat);
            assert_eq!((finding.verdict, finding.measured.as_str()), (verdict, measured), "{ms}");
            assert_eq!(finding.hint.is_some(), verdict != Verdict::Ok, "{ms}");
        }
        assert_eq!(judge(&Ok(vec![]), 100).verdict, Verdict::Failed);
        let unknown = judge(&Err("no room".to_owned()), 100);
        assert_eq!((unknown.verdict, unknown.measured.as_str()), (Verdict::Warning, "not measured: no room"));
    }
}
