use super::super::tests::{said, settings, version};
use super::*;

#[test]
fn options_that_a_version_has_under_another_name() {
    for (at, option, value, want) in [
        // As it is, where both names are known.
        ("3.6.14", "experimental-corrupt-check-time", "1h", "1h"),
        ("3.6.14", "corrupt-check-time", "1h", "1h"),
        (
            "3.7.1",
            "experimental-corrupt-check-time",
            "1h",
            "corrupt-check-time=1h; option `experimental-corrupt-check-time` is written as `corrupt-check-time` for etcd 3.7.1",
        ),
        (
            "3.5.16",
            "corrupt-check-time",
            "1h",
            "experimental-corrupt-check-time=1h; option `corrupt-check-time` is written as \
             `experimental-corrupt-check-time` for etcd 3.5.16",
        ),
        (
            "3.4.23",
            "backend-bbolt-freelist-type",
            "map",
            "experimental-backend-bbolt-freelist-type=map; option `backend-bbolt-freelist-type` is written as \
             `experimental-backend-bbolt-freelist-type` for etcd 3.4.23",
        ),
        (
            "3.7.1",
            "experimental-initial-corrupt-check",
            "True",
            "feature-gates=InitialCorruptCheck=true; option `experimental-initial-corrupt-check: true` is written as \
             `feature-gates: InitialCorruptCheck=true` for etcd 3.7.1",
        ),
        (
            "3.5.16",
            "feature-gates",
            "InitialCorruptCheck=true",
            "experimental-initial-corrupt-check=true; feature gate `InitialCorruptCheck=true` is written as \
             `experimental-initial-corrupt-check: true` for etcd 3.5.16",
        ),
        // A wrong value is refused under the name that was written.
        (
            "3.7.1",
            "experimental-corrupt-check-time",
            "soon",
            "`experimental-corrupt-check-time` wants a length of time, found `soon`; numbers with units of ms, s, m, h: `500ms`, `1h30m`",
        ),
        (
            "3.5.16",
            "feature-gates",
            "AllAlpha=true",
            "etcd 3.5.16 has no feature gates, and no option in the place of `AllAlpha`",
        ),
        // The gate is there, the version that has it as an option is not.
        (
            "3.5.4",
            "feature-gates",
            "CompactHashCheck=true",
            "etcd 3.5.4 has no feature gates, and no option in the place of `CompactHashCheck`",
        ),
        (
            "3.5.16",
            "feature-gates",
            "CompactHashCheck",
            "etcd 3.5.16 has no option `feature-gates`, which is known from 3.6 on",
        ),
        // Another kind of value: nobody can tell what was meant.
        (
            "3.5.16",
            "log-package-levels",
            "a=b",
            "etcd 3.5.16 has no option `log-package-levels`, which is known in 3.4 only; use `log-level`",
        ),
    ] {
        assert_eq!(said(at, option, value), want, "{at} {option}={value}");
    }
}

#[test]
fn several_options_together_under_other_names() {
    let gates = settings(&[
        ("experimental-initial-corrupt-check", "true"),
        ("experimental-enable-lease-checkpoint", "false"),
        ("feature-gates", "CompactHashCheck=true,StopGRPCServiceOnDefrag=true"),
    ]);
    let newer = settle(&version("3.7.1"), &gates);
    assert_eq!(
        newer.settings,
        settings(&[(
            "feature-gates",
            "LeaseCheckpoint=false,InitialCorruptCheck=true,CompactHashCheck=true,StopGRPCServiceOnDefrag=true"
        )])
    );
    let older = settle(&version("3.5.16"), &newer.settings);
    assert_eq!(
        older.settings,
        settings(&[
            ("experimental-compact-hash-check-enabled", "true"),
            ("experimental-enable-lease-checkpoint", "false"),
            ("experimental-initial-corrupt-check", "true"),
            ("experimental-stop-grpc-service-on-defrag", "true"),
        ])
    );
    assert_eq!((newer.refused, older.refused, older.contradictions), (vec![], vec![], vec![]));

    for (at, pairs, options, message) in [
        (
            "3.5.16",
            &[("corrupt-check-time", "1h"), ("experimental-corrupt-check-time", "2h")][..],
            &["experimental-corrupt-check-time", "corrupt-check-time"][..],
            "`experimental-corrupt-check-time` and `corrupt-check-time` say the same thing",
        ),
        (
            "3.7.1",
            &[("experimental-initial-corrupt-check", "true"), ("feature-gates", "InitialCorruptCheck=false")],
            &["feature-gates", "experimental-initial-corrupt-check"],
            "`feature-gates` and `experimental-initial-corrupt-check` say the same thing",
        ),
        (
            "3.6.14",
            &[("feature-gates", "CompactHashCheck=true,CompactHashCheck=false")],
            &["feature-gates"],
            "`feature-gates` says the same thing twice",
        ),
        // Told by the names that were written.
        (
            "3.7.1",
            &[("experimental-enable-lease-checkpoint-persist", "true")],
            &["experimental-enable-lease-checkpoint-persist"],
            "lease checkpoints cannot be persisted without being made",
        ),
    ] {
        let settled = settle(&version(at), &settings(pairs));
        let [found] = &settled.contradictions[..] else { panic!("{:?}", settled.contradictions) };
        assert_eq!(
            (found.options.iter().map(String::as_str).collect::<Vec<_>>(), &*found.finding.message),
            (options.to_vec(), message)
        );
    }
}

#[test]
fn what_only_the_wanted_version_knows_is_left_out_on_the_way() {
    let wanted = settings(&[
        ("feature-gates", "FastLeaseKeepAlive=true,InitialCorruptCheck=true"),
        ("log-format", "console"),
        ("max-learners", "2"),
        ("snapshot-count", "10000"),
    ]);
    let (left, said) = for_stopover(&version("3.5.33"), &wanted).unwrap();
    assert_eq!(left, settings(&[("experimental-initial-corrupt-check", "true"), ("snapshot-count", "10000")]));
    assert_eq!(
        said,
        [
            "a part of `feature-gates` is left out on the way: etcd 3.5.33 has no feature gates, and no option in the place of \
             `FastLeaseKeepAlive`",
            "option `log-format` is left out on the way: etcd 3.5.33 has no option `log-format`, which is known from 3.6 on",
            "option `max-learners` is left out on the way: etcd 3.5.33 has no option `max-learners`, which is known from 3.6 \
             on",
            "feature gate `InitialCorruptCheck=true` is written as `experimental-initial-corrupt-check: true` for etcd 3.5.33",
        ]
    );
    let (left, _) = for_stopover(&version("3.6.14"), &wanted).unwrap();
    assert_eq!(left["feature-gates"], "InitialCorruptCheck=true");
    assert_eq!(left.len(), 4);

    let persist = settings(&[("feature-gates", "LeaseCheckpointPersist=true,AllAlpha=true")]);
    let error = for_stopover(&version("3.5.33"), &persist).unwrap_err();
    assert_eq!(error.message, "lease checkpoints cannot be persisted without being made");
}
