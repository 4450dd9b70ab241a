use super::table::Kind;
use super::values::go_duration;
use super::*;
use std::collections::BTreeMap;

pub(super) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// What becomes of one option: its value, with its name and a note if that is another, or the refusal.
pub(super) fn said(at: &str, option: &str, value: &str) -> String {
    let settled = settle(&version(at), &settings(&[(option, value)]));
    if let Some((name, Finding { message, help })) = settled.refused.into_iter().next() {
        assert_eq!(name, option);
        return [Some(message), help].into_iter().flatten().collect::<Vec<_>>().join("; ");
    }
    let (name, value) = settled.settings.into_iter().next().unwrap();
    let notes = settled.advice.into_iter().filter(|note| note.contains("is written as"));
    let name = if name == option { None } else { Some(format!("{name}={value}")) };
    [vec![name.unwrap_or(value)], notes.collect()].concat().join("; ")
}

#[test]
fn values() {
    for (at, option, value, want) in [
        ("3.5.16", "heartbeat-interval", "100", "100"),
        ("3.5.16", "heartbeat-interval", "0100", "100"),
        ("3.5.16", "heartbeat-interval", "0", "`heartbeat-interval` wants a whole number, found `0`; from 1 to 50000"),
        (
            "3.5.16",
            "heartbeat-interval",
            "+100",
            "`heartbeat-interval` wants a whole number, found `+100`; from 1 to 50000",
        ),
        (
            "3.5.16",
            "election-timeout",
            "50001",
            "`election-timeout` wants a whole number, found `50001`; from 1 to 50000",
        ),
        ("3.5.16", "snapshot-count", "-1", "`snapshot-count` wants a whole number, found `-1`; 0 or more"),
        ("3.5.16", "quota-backend-bytes", "8GiB", "8589934592"),
        ("3.5.16", "quota-backend-bytes", "512MiB", "536870912"),
        ("3.5.16", "quota-backend-bytes", "8589934592", "8589934592"),
        (
            "3.5.16",
            "quota-backend-bytes",
            "8GB",
            "`quota-backend-bytes` wants a size, found `8GB`; a whole number of bytes, or with a unit of KiB, MiB, GiB: `8GiB`",
        ),
        (
            "3.5.16",
            "quota-backend-bytes",
            "99999999TiB",
            "`quota-backend-bytes` wants a size, found `99999999TiB`; a whole number of bytes, or with a unit of KiB, MiB, GiB: `8GiB`",
        ),
        ("3.5.16", "pre-vote", "True", "true"),
        ("3.5.16", "pre-vote", "yes", "`pre-vote` wants `true` or `false`, found `yes`; write `true` or `false`"),
        ("3.5.16", "grpc-keepalive-interval", "1h30m", "1h30m"),
        (
            "3.5.16",
            "grpc-keepalive-interval",
            "30d",
            "`grpc-keepalive-interval` wants a length of time, found `30d`; numbers with units of ms, s, m, h: `500ms`, `1h30m`",
        ),
        (
            "3.5.16",
            "experimental-compact-hash-check-time",
            "0s",
            "`experimental-compact-hash-check-time` wants a length of time above zero, found `0s`; for example `1m`",
        ),
        ("3.5.16", "auto-compaction-retention", "8", "8"),
        ("3.5.16", "auto-compaction-retention", "5m", "5m"),
        ("3.4.23", "logger", "capnslog", "capnslog"),
        ("3.5.16", "logger", "capnslog", "`logger` wants one of zap in etcd 3.5.16, found `capnslog`; known are zap"),
        (
            "3.5.16",
            "log-level",
            "warning",
            "`log-level` wants one of debug, info, warn, error, panic, fatal in etcd 3.5.16, found `warning`; known are debug, info, warn, error, panic, fatal",
        ),
        (
            "3.5.16",
            "log-level",
            "INFO",
            "`log-level` wants one of debug, info, warn, error, panic, fatal in etcd 3.5.16, found `INFO`; did you mean `info`?",
        ),
        (
            "3.6.14",
            "feature-gates",
            "InitialCorruptCheck=true,CompactHashCheck=true",
            "InitialCorruptCheck=true,CompactHashCheck=true",
        ),
        (
            "3.6.14",
            "feature-gates",
            "FastLeaseKeepAlive=true",
            "etcd 3.6.14 has no feature gate `FastLeaseKeepAlive`; known are AllAlpha, AllBeta, CompactHashCheck, InitialCorruptCheck, LeaseCheckpoint, LeaseCheckpointPersist, SetMemberLocalAddr, StopGRPCServiceOnDefrag, TxnModeWriteWithSharedBuffer",
        ),
        ("3.7.1", "feature-gates", "FastLeaseKeepAlive=true", "FastLeaseKeepAlive=true"),
        (
            "3.6.14",
            "feature-gates",
            "CompactHashcheck=true",
            "etcd 3.6.14 has no feature gate `CompactHashcheck`; did you mean `CompactHashCheck`?",
        ),
        (
            "3.6.14",
            "feature-gates",
            "CompactHashCheck",
            "`feature-gates` wants gates, found `CompactHashCheck`; `Name=true`, several separated by commas",
        ),
        (
            "3.5.16",
            "auth-token",
            "simple\nETCD_NAME=x",
            "the value of `auth-token` contains `\\n`; a value is one line of text",
        ),
    ] {
        assert_eq!(said(at, option, value), want, "{at} {option}={value}");
    }
}

#[test]
fn names_that_a_version_does_not_know() {
    for (at, option, want) in [
        (
            "3.5.16",
            "heartbeat-intervall",
            "etcd has no option `heartbeat-intervall`; did you mean `heartbeat-interval`?",
        ),
        (
            "3.5.16",
            "--heartbeat-interval",
            "etcd has no option `--heartbeat-interval`; did you mean `heartbeat-interval`?",
        ),
        (
            "3.5.16",
            "ETCD_HEARTBEAT_INTERVAL",
            "etcd has no option `ETCD_HEARTBEAT_INTERVAL`; did you mean `heartbeat-interval`?",
        ),
        (
            "3.6.14",
            "experimental-max-learners",
            "etcd has no option `experimental-max-learners`; did you mean `max-learners`?",
        ),
        (
            "3.5.16",
            "frobnicate",
            "etcd has no option `frobnicate`; `etcd --help` of 3.5.16 lists them; write them without dashes in front",
        ),
        ("3.5.16", "debug", "etcd 3.5.16 has no option `debug`, which is known in 3.4 only; use `log-level`"),
        ("3.5.16", "log-format", "etcd 3.5.16 has no option `log-format`, which is known from 3.6 on"),
        (
            "3.5.4",
            "experimental-compact-hash-check-enabled",
            "etcd 3.5.4 has no option `experimental-compact-hash-check-enabled`, which is known from 3.5.5 until 3.6",
        ),
        (
            "3.4.23",
            "tls-min-version",
            "etcd 3.4.23 has no option `tls-min-version`, which is known from 3.4.25 and 3.5.8 on",
        ),
        (
            "3.5.16",
            "enable-v2",
            "option `enable-v2` is not set by hand; the v2 API is gone in 3.6, and data written through it blocks the upgrade",
        ),
        ("3.5.16", "data-dir", "option `data-dir` is not set by hand; `paths.data` is the data folder"),
    ] {
        assert_eq!(said(at, option, "true"), want, "{at} {option}");
    }
}

#[test]
fn go_durations() {
    for (text, want) in [
        ("0", Some(false)),
        ("0s", Some(false)),
        ("1h30m", Some(true)),
        ("1.5h", Some(true)),
        (".5s", Some(true)),
        ("100us", Some(true)),
        ("100µs", Some(true)),
        ("", None),
        ("5", None),
        ("-5s", None),
        ("5d", None),
        ("1.2.3s", None),
        (".s", None),
        ("5s5", None),
        ("5 s", None),
    ] {
        assert_eq!(go_duration(text), want, "{text}");
    }
}

pub(super) fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn contradictory_settings() {
    for (at, pairs, want) in [
        ("3.5.16", &[("heartbeat-interval", "200")] as &[(&str, &str)], vec![]),
        (
            "3.5.16",
            &[("heartbeat-interval", "201")],
            vec!["election-timeout of 1000 ms is less than 5 x heartbeat-interval of 201 ms"],
        ),
        (
            "3.5.16",
            &[("election-timeout", "499")],
            vec!["election-timeout of 499 ms is less than 5 x heartbeat-interval of 100 ms"],
        ),
        ("3.5.16", &[("election-timeout", "500")], vec![]),
        ("3.5.16", &[("heartbeat-interval", "500"), ("election-timeout", "2500")], vec![]),
        (
            "3.5.16",
            &[("tls-min-version", "TLS1.3"), ("tls-max-version", "TLS1.2")],
            vec!["tls-min-version is above tls-max-version"],
        ),
        (
            "3.5.16",
            &[("tls-min-version", "TLS1.3"), ("cipher-suites", "X")],
            vec!["cipher-suites cannot be chosen when only TLS 1.3 is allowed"],
        ),
        (
            "3.5.16",
            &[("auto-compaction-mode", "revision"), ("auto-compaction-retention", "5m")],
            vec!["auto-compaction-retention is a length of time, but auto-compaction-mode is revision"],
        ),
        ("3.5.16", &[("auto-compaction-mode", "revision"), ("auto-compaction-retention", "1000")], vec![]),
        (
            "3.5.16",
            &[("enable-log-rotation", "true")],
            vec!["enable-log-rotation needs exactly one file in log-outputs"],
        ),
        ("3.5.16", &[("enable-log-rotation", "true"), ("log-outputs", "/a,stderr")], vec![]),
        (
            "3.5.16",
            &[("enable-log-rotation", "true"), ("log-outputs", "/a,/b")],
            vec!["enable-log-rotation needs exactly one file in log-outputs"],
        ),
        (
            "3.5.16",
            &[("experimental-enable-lease-checkpoint-persist", "true")],
            vec!["lease checkpoints cannot be persisted without being made"],
        ),
        (
            "3.6.14",
            &[("feature-gates", "LeaseCheckpointPersist=true")],
            vec!["lease checkpoints cannot be persisted without being made"],
        ),
        ("3.6.14", &[("feature-gates", "LeaseCheckpointPersist=true,LeaseCheckpoint=true")], vec![]),
        (
            "3.6.14",
            &[("corrupt-check-time", "1h"), ("experimental-corrupt-check-time", "1h")],
            vec!["`experimental-corrupt-check-time` and `corrupt-check-time` say the same thing"],
        ),
        (
            "3.6.14",
            &[("feature-gates", "CompactHashCheck=true"), ("experimental-compact-hash-check-enabled", "true")],
            vec!["`experimental-compact-hash-check-enabled` and `feature-gates` say the same thing"],
        ),
    ] {
        let found = settle(&version(at), &settings(pairs)).contradictions;
        let messages: Vec<&str> = found.iter().map(|found| found.finding.message.as_str()).collect();
        assert_eq!(messages, want, "{at} {pairs:?}");
    }
}

#[test]
fn advice_on_what_is_allowed() {
    for (at, pairs, want) in [
        ("3.5.16", &[("quota-backend-bytes", "8589934592")] as &[(&str, &str)], vec![]),
        (
            "3.5.16",
            &[("quota-backend-bytes", "17179869184")],
            vec![
                "quota-backend-bytes is 16 GiB; etcd advises 8 GiB at most: a larger database makes starts, snapshots and recovery slow",
            ],
        ),
        ("3.5.16", &[("experimental-corrupt-check-time", "1h")], vec![]),
        (
            "3.6.14",
            &[("experimental-corrupt-check-time", "1h")],
            vec!["option `experimental-corrupt-check-time` is gone after 3.6; `corrupt-check-time` replaces it"],
        ),
        (
            "3.6.14",
            &[("experimental-initial-corrupt-check", "true")],
            vec![
                "option `experimental-initial-corrupt-check` is gone after 3.6; `feature-gates: InitialCorruptCheck=…` replaces it",
            ],
        ),
    ] {
        assert_eq!(settle(&version(at), &settings(pairs)).advice, want, "{at} {pairs:?}");
    }
}

#[test]
fn environment_names() {
    assert_eq!(environment_name("heartbeat-interval"), "ETCD_HEARTBEAT_INTERVAL");
    assert_eq!(environment_name("enable-v2"), "ETCD_ENABLE_V2");
}

/// What holds of every row, so that a typo in the table shows.
#[test]
fn the_table_is_sound() {
    let mut names = std::collections::BTreeSet::new();
    for option in OPTIONS {
        assert!(names.insert(option.name), "{} is listed twice", option.name);
        assert!(option.known.iter().any(Option::is_some), "{} is known nowhere", option.name);
        let gaps = option.known.iter().skip_while(|at| at.is_none()).skip_while(|at| at.is_some()).any(Option::is_some);
        assert!(!gaps, "{} comes back", option.name);
        match &option.successor {
            Some(Successor::Option(name) | Successor::Instead(name)) => {
                assert!(OPTIONS.iter().any(|other| other.name == *name), "{name}")
            }
            Some(Successor::Gate(name)) => assert!(
                OPTIONS.iter().any(
                    |other| matches!(other.kind, Kind::Gates(gates) if gates.iter().any(|(gate, _)| gate == name))
                ),
                "{name}"
            ),
            None => {}
        }
        if let Some(stable) = option.name.strip_prefix("experimental-")
            && option.owned.is_none()
        {
            let successor = match &option.successor {
                Some(Successor::Option(name)) => *name == stable,
                Some(Successor::Gate(_)) => true,
                Some(Successor::Instead(_)) | None => false,
            };
            assert!(successor, "{} has no successor", option.name);
        }
    }
}
