//! What etcd's two time parameters should be where the hosts are as far apart, and as slow, as they are.

use super::{Finding, Source, Verdict, milliseconds};
use crate::etcd::options::{DEFAULT_ELECTION_MS, DEFAULT_HEARTBEAT_MS};
use crate::inventory::Host;

/// etcd takes no longer election timeout, in milliseconds (etcd's tuning guide).
const LONGEST_ELECTION: u64 = 50_000;

/// The longest delay among the hosts, and the parameters that fit it.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// In milliseconds.
    pub heartbeat_interval: u64,
    /// In milliseconds.
    pub election_timeout: u64,
    /// The longest round trip in seconds, and between whom.
    pub trip: (f64, String, String),
    /// The slowest disk's p99 in seconds, and whose it is.
    pub disk: Option<(f64, String)>,
}

/// What fits the longest round trip and the slowest disk.
///
/// etcd's tuning guide: the heartbeat interval is about the longest round trip, the election timeout ten round trips at
/// least; a follower's answer takes a round trip and a synced write, so the disk's p99 is added. Neither is suggested
/// below etcd's defaults, and the election timeout is five heartbeats at least, or etcd would not start.
pub(super) fn suggest(trip: (f64, String, String), disk: Option<(f64, String)>) -> Suggestion {
    let delay = trip.0 + disk.as_ref().map_or(0.0, |(p99, _)| *p99);
    // A float beyond the range becomes its nearest end; in whole hundredths of a second.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let tens = |seconds: f64| (((seconds * 100.0) - 1e-9).ceil() as u64).saturating_mul(10);
    let heartbeat_interval = tens(delay).clamp(DEFAULT_HEARTBEAT_MS, LONGEST_ELECTION / 5);
    let election_timeout = tens(delay * 10.0).max(5 * heartbeat_interval).clamp(DEFAULT_ELECTION_MS, LONGEST_ELECTION);
    Suggestion { heartbeat_interval, election_timeout, trip, disk }
}

/// What is in force on a host, in milliseconds: `heartbeat-interval` and `election-timeout`.
pub(super) fn in_force(host: &Host) -> (u64, u64) {
    let of = |name: &str, default| host.settings.get(name).and_then(|value| value.parse().ok()).unwrap_or(default);
    (of("heartbeat-interval", DEFAULT_HEARTBEAT_MS), of("election-timeout", DEFAULT_ELECTION_MS))
}

/// Whether what is in force is enough; of hosts that differ, the least counts.
pub(super) fn judge(suggestion: &Suggestion, in_force: &[(u64, u64)]) -> Vec<Finding> {
    let heartbeat = in_force.iter().map(|(heartbeat, _)| *heartbeat).min().unwrap_or(DEFAULT_HEARTBEAT_MS);
    let election = in_force.iter().map(|(_, election)| *election).min().unwrap_or(DEFAULT_ELECTION_MS);
    let delay = suggestion.trip.0 + suggestion.disk.as_ref().map_or(0.0, |(p99, _)| *p99);
    let one = |subject, now: u64, enough: u64, rule: &str| {
        let threshold = format!("{enough} ms or more: {rule} of {} ms", milliseconds(delay));
        let finding = if now >= enough {
            Finding::new(subject, Verdict::Ok, format!("{now} ms"))
        } else {
            Finding::new(subject, Verdict::Warning, format!("{now} ms"))
                .hint(format!("put `{subject}: {enough}` into the inventory's `etcd.settings`"))
        };
        finding.wants(threshold, Source::Tuning)
    };
    let what = if suggestion.disk.is_some() { "a round trip and synced write" } else { "a round trip" };
    let (heartbeats, elections) = (suggestion.heartbeat_interval, suggestion.election_timeout);
    vec![
        one("heartbeat-interval", heartbeat, heartbeats, what),
        one("election-timeout", election, elections, &format!("ten times {what}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(trip_ms: f64, disk_ms: Option<f64>) -> Suggestion {
        let disk = disk_ms.map(|ms| (ms / 1000.0, "c".to_owned()));
        suggest((trip_ms / 1000.0, "a".to_owned(), "b".to_owned()), disk)
    }

    #[test]
    fn what_fits_a_delay() {
        for (trip, disk, heartbeat, election) in [
            (0.0, None, 100, 1000),
            (0.4, Some(3.1), 100, 1000),
            (100.0, None, 100, 1000),
            (100.1, None, 110, 1010),
            (90.0, Some(20.0), 110, 1100),
            (250.0, Some(5.0), 260, 2550),
            (4000.0, None, 4000, 40_000),
            (6000.0, None, 6000, 50_000),
            (60_000.0, None, 10_000, 50_000),
        ] {
            let Suggestion { heartbeat_interval, election_timeout, .. } = with(trip, disk);
            assert_eq!((heartbeat_interval, election_timeout), (heartbeat, election), "{trip} ms, {disk:?} ms");
            assert!(election_timeout >= 5 * heartbeat_interval);
        }
    }

    #[test]
    fn too_little_is_told_and_more_is_not() {
        let suggestion = with(150.0, Some(10.0));
        for (in_force, want) in [
            (&[(100, 1000)][..], [Verdict::Warning, Verdict::Warning]),
            (&[(160, 1600)], [Verdict::Ok, Verdict::Ok]),
            (&[(500, 5000), (160, 1599)], [Verdict::Ok, Verdict::Warning]),
        ] {
            let findings = judge(&suggestion, in_force);
            assert_eq!([findings[0].verdict, findings[1].verdict], want, "{in_force:?}");
        }
        let heartbeat = &judge(&suggestion, &[(100, 1000)])[0];
        assert_eq!(heartbeat.measured, "100 ms");
        assert_eq!(heartbeat.threshold, "160 ms or more: a round trip and synced write of 160 ms");
        assert_eq!(
            heartbeat.hint.as_deref(),
            Some("put `heartbeat-interval: 160` into the inventory's `etcd.settings`")
        );
    }
}
