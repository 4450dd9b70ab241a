use super::super::version::{SERIES, supported};
use super::*;
use proptest::prelude::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// `3.5.16 3.5.16? ...`: a member each; with a question mark it does not answer.
fn members(text: &str) -> Vec<Runs> {
    let member = |word: &str| Runs { version: version(word.trim_end_matches('?')), answers: !word.ends_with('?') };
    text.split_whitespace().map(member).collect()
}

fn said(from: &str, to: &str, via: &str, one_pass: Option<OnePass>) -> String {
    words(from, to, &Choice { via: via.split_whitespace().map(version).collect(), one_pass, downgrade: false })
}

fn words(from: &str, to: &str, choice: &Choice) -> String {
    match route(&members(from), &version(to), choice) {
        Ok(Route { hops, warnings }) => {
            let hops: Vec<String> = hops.iter().map(ToString::to_string).collect();
            [vec![hops.join(" ")], warnings].concat().join("; ")
        }
        Err(Finding { message, help }) => format!("refused: {message}; {}", help.unwrap()),
    }
}

#[test]
fn routes() {
    let advised = |from: &str| format!("; etcd advises 3.5.32 or later before 3.6; the members go there from {from}");
    for (what, from, to, want) in [
        ("nothing runs", "", "3.6.14", "3.6.14".to_owned()),
        ("nothing to do", "3.5.16 3.5.16 3.5.16", "3.5.16", "3.5.16".into()),
        ("a patch up", "3.5.16 3.5.16", "3.5.33", "3.5.33".into()),
        ("a patch down", "3.5.33 3.5.33", "3.5.16", "3.5.16".into()),
        ("one minor up", "3.4.23 3.4.23", "3.5.16", "3.5.16".into()),
        ("two minors up", "3.4.23 3.4.23", "3.6.14", "3.5.33 3.6.14".into()),
        ("three minors up", "3.4.23", "3.7.1", "3.5.33 3.6.14 3.7.1".into()),
        ("below the least patch", "3.5.16", "3.6.14", "3.5.33 3.6.14".into()),
        ("below the advised patch", "3.5.28", "3.6.14", "3.5.33 3.6.14".into()),
        ("with the advised patch", "3.5.32", "3.6.14", "3.6.14".into()),
        ("with a patch that is newer than the table", "3.5.40", "3.6.14", "3.6.14".into()),
        ("3.6 below the least patch", "3.6.10", "3.7.1", "3.6.14 3.7.1".into()),
        ("3.6 with the least patch", "3.6.11", "3.7.1", "3.7.1".into()),
        ("both", "3.5.16", "3.7.1", "3.5.33 3.6.14 3.7.1".into()),
        ("an upgrade that was broken off", "3.5.16 3.4.23 3.4.23", "3.5.16", "3.5.16".into()),
        ("a first hop that was broken off", "3.5.33 3.4.23 3.4.23", "3.6.14", "3.5.33 3.6.14".into()),
        ("a first hop with an unknown patch, broken off", "3.5.40 3.4.23", "3.6.14", "3.5.40 3.6.14".into()),
        ("the first hop within a minor, broken off", "3.5.33 3.5.16 3.5.16", "3.6.14", "3.5.33 3.6.14".into()),
        ("a second hop that was broken off", "3.6.14 3.5.33 3.5.33", "3.6.14", "3.6.14".into()),
        ("a second hop from an older patch, broken off", "3.6.14 3.5.28", "3.6.14", format!("3.6.14{}", advised("3.5.28"))),
        ("one is down and ran another", "3.5.33 3.5.33 3.5.16?", "3.6.14", "3.5.33 3.6.14".into()),
        ("all are down", "3.4.23? 3.4.23?", "3.6.14", "3.5.33 3.6.14".into()),
        ("the way back of an upgrade that was broken off", "3.5.16 3.4.23 3.4.23", "3.4.23", "3.4.23".into()),
        (
            "the same, but nobody is left to hold the version down",
            "3.5.16 3.5.16 3.4.23?",
            "3.4.23",
            "refused: the members run etcd 3.5.16; going down to 3.4.23 is not possible by exchanging the binary; set \
             `etcd.version` to 3.5.16 or a later patch of it; etcd does not start below its cluster's version, so the way \
             back is a new cluster from a snapshot"
                .into(),
        ),
        (
            "down",
            "3.6.14 3.6.14",
            "3.5.33",
            "refused: the members run etcd 3.6.14; going down to 3.5.33 takes a downgrade of the whole cluster; set \
             `etcd.version` to 3.6.14 or a later patch of it; `--allow-downgrade` has the cluster agree on it first, and \
             what only the later version can do is lost"
                .into(),
        ),
        (
            "on from a patch that 3.6 must not meet",
            "3.6.14 3.5.16",
            "3.6.14",
            "refused: members run etcd 3.5.16 beside 3.6.14, and 3.6 wants all of them to run 3.5.26 first; deploy 3.5.33 \
             first: while one member runs 3.5, all can go back to it"
                .into(),
        ),
        (
            "no cluster at all",
            "3.4.23 3.6.14?",
            "3.6.14",
            "refused: the members run etcd 3.4.23 and 3.6.14, which do not form one cluster; bring them to one version by \
             hand first"
                .into(),
        ),
    ] {
        assert_eq!(said(from, to, "", None), want, "{what}");
    }
}

#[test]
fn down_with_consent() {
    let choice = Choice { downgrade: true, ..Choice::default() };
    for (what, from, to, want) in [
        ("down", "3.6.14 3.6.14", "3.5.33", "3.5.33"),
        ("down from 3.7", "3.7.1 3.7.1", "3.6.14", "3.6.14"),
        ("on its way", "3.6.14 3.5.33", "3.5.33", "3.5.33"),
        ("nothing goes down", "3.5.33 3.5.33", "3.6.14", "3.6.14"),
        (
            "two minors down",
            "3.7.1 3.7.1",
            "3.5.33",
            "refused: the members run etcd 3.7.1; 3.5.33 is more than one minor version down; set `etcd.version` to 3.7.1 \
             or a later patch of it; deploy 3.6.14 first, with `--allow-downgrade`: etcd goes down one minor version at a time",
        ),
        (
            "3.5 has no downgrade of its own",
            "3.5.33 3.5.33",
            "3.4.45",
            "refused: the members run etcd 3.5.33; going down to 3.4.45 is not possible by exchanging the binary; set \
             `etcd.version` to 3.5.33 or a later patch of it; etcd does not start below its cluster's version, so the way \
             back is a new cluster from a snapshot",
        ),
    ] {
        assert_eq!(words(from, to, &choice), want, "{what}");
    }
}

#[test]
fn stopovers_of_the_user_s_choice() {
    let advised = |from: &str| format!("; etcd advises 3.5.32 or later before 3.6; the members go there from {from}");
    let no = |stop: &str| {
        format!(
            "refused: etcd {stop} is no stopover on the way to 3.6; choose 3.5.26 or later; etcd advises 3.5.32 or later"
        )
    };
    for (from, to, via, want) in [
        ("3.4.23", "3.6.14", "3.5.32", "3.5.32 3.6.14".to_owned()),
        ("3.4.23", "3.7.1", "3.6.12 3.5.32", "3.5.32 3.6.12 3.7.1".into()),
        ("3.4.23", "3.6.14", "3.5.30", format!("3.5.30 3.6.14{}", advised("3.5.30"))),
        ("3.5.16", "3.6.14", "3.5.30", format!("3.5.30 3.6.14{}", advised("3.5.30"))),
        ("3.4.23", "3.6.14", "3.5.16", no("3.5.16")),
        ("3.5.16", "3.6.14", "3.5.25", no("3.5.25")),
        // What is behind already, or not on the way, does no harm: the same command is run again.
        ("3.5.33", "3.6.14", "3.5.32", "3.6.14".into()),
        ("3.5.30", "3.6.14", "3.5.30", format!("3.6.14{}", advised("3.5.30"))),
        ("3.6.14", "3.6.14", "3.5.32", "3.6.14".into()),
    ] {
        assert_eq!(said(from, to, via, None), want, "{from} to {to} via {via}");
    }
    for (via, to, want) in [
        ("3.5.33", "3.6.14", None),
        ("3.6.14 3.5.33", "3.7.1", None),
        ("3.6.11", "3.6.14", Some("etcd 3.6.11 is no stopover on the way to 3.6.14")),
        ("3.7.0", "3.6.14", Some("etcd 3.7.0 is no stopover on the way to 3.6.14")),
        ("3.5.30 3.5.33", "3.6.14", Some("etcd 3.5.30 and 3.5.33 are stopovers of the same minor version")),
    ] {
        let via: Vec<Version> = via.split_whitespace().map(version).collect();
        let found = check_stopovers(&via, &version(to)).err().map(|finding| finding.message);
        assert_eq!(found.as_deref(), want, "{via:?} to {to}");
    }
}

#[test]
fn one_pass_only() {
    for (from, to, why, want) in [
        ("3.5.16", "3.5.33", OnePass::Asked, "3.5.33".to_owned()),
        (
            "3.4.23",
            "3.6.14",
            OnePass::Asked,
            "refused: from etcd 3.4.23 to 3.6.14 is more than one pass: 3.5.33 comes between; deploy 3.5.33 first, or \
             leave `--one-pass` out"
                .into(),
        ),
        (
            "3.5.16",
            "3.6.14",
            OnePass::FixedRelease("release.archive"),
            "refused: from etcd 3.5.16 to 3.6.14 is more than one pass: 3.5.33 comes between; deploy 3.5.33 first: \
             `release.archive` has the binaries of one version, and a mirror (`release.url`) has all"
                .into(),
        ),
        (
            "3.5.28",
            "3.6.14",
            OnePass::Asked,
            "3.6.14; etcd advises 3.5.32 or later before 3.6; the members go there from 3.5.28".into(),
        ),
    ] {
        assert_eq!(said(from, to, "", Some(why)), want, "{from} to {to}");
    }
}

#[test]
fn the_last_safeguard() {
    for (from, to, answering, want) in [
        ("3.5.16", "3.5.30", "3.5.16", None),
        ("3.5.30", "3.5.16", "3.5.30", None),
        ("3.4.23", "3.5.16", "3.4.23", None),
        ("3.5.26", "3.6.14", "3.5.26", None),
        (
            "3.5.25",
            "3.6.14",
            "3.5.25",
            Some("its member runs etcd 3.5.25; before 3.6.14 it has to run 3.5.26 or later; deploy 3.5.33 first"),
        ),
        (
            "3.4.23",
            "3.6.14",
            "3.4.23",
            Some(
                "its member runs etcd 3.4.23; 3.6.14 is more than one minor version away; deploy 3.5.33 first: etcd upgrades one minor version at a time",
            ),
        ),
        ("3.5.16", "3.4.23", "3.5.16 3.4.23", None),
        (
            "3.5.16",
            "3.4.23",
            "3.5.16",
            Some(
                "its member runs etcd 3.5.16; going down to 3.4.23 is not possible by exchanging the binary; set `etcd.version` to 3.5.16 or a later patch of it; etcd does not start below its cluster's version, so the way back is a new cluster from a snapshot",
            ),
        ),
    ] {
        let answering: Vec<Version> = answering.split_whitespace().map(version).collect();
        let found = unreachable(&version(from), &version(to), &answering, false);
        let found = found.map(|finding| format!("{}; {}", finding.message, finding.help.unwrap()));
        assert_eq!(found.as_deref(), want, "{from} to {to}");
    }
}

fn any_version() -> impl Strategy<Value = Version> {
    let version = (4u64..=7, 0u64..=45).prop_map(|(minor, patch)| Version::new(3, minor, patch));
    version.prop_filter("it can be run", |version| supported(version).is_ok())
}

fn any_members() -> impl Strategy<Value = Vec<Runs>> {
    let member = |version: BoxedStrategy<Version>| {
        (version, prop::bool::weighted(0.8)).prop_map(|(version, answers)| Runs { version, answers })
    };
    prop_oneof![
        prop::collection::vec(member(any_version().boxed()), 0..5),
        // An upgrade that was broken off: two versions at most.
        (any_version(), any_version()).prop_flat_map(move |(one, other)| {
            prop::collection::vec(member(prop::sample::select(vec![one, other]).boxed()), 1..5)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every pass of a planned way is one that the last safeguard lets through, from wherever each
    /// member is, and the way ends where it was wanted to.
    #[test]
    fn every_planned_hop_is_legal(
        members in any_members(),
        wanted in any_version(),
        via in prop::collection::vec(any_version(), 0..3),
        one_pass in prop::bool::ANY,
        downgrade in prop::bool::ANY,
    ) {
        prop_assume!(check_stopovers(&via, &wanted).is_ok());
        let choice = Choice { via, one_pass: one_pass.then_some(OnePass::Asked), downgrade };
        let Ok(Route { hops, .. }) = route(&members, &wanted, &choice) else { return Ok(()) };
        prop_assert_eq!(hops.last(), Some(&wanted));
        prop_assert!(hops.len() == 1 || !one_pass);
        let mut now = members;
        for hop in hops {
            let answering: Vec<Version> =
                now.iter().filter(|member| member.answers).map(|member| member.version.clone()).collect();
            for member in &mut now {
                let refused = unreachable(&member.version, &hop, &answering, downgrade);
                prop_assert!(refused.is_none(), "{} to {hop}: {refused:?}", member.version);
                *member = Runs { version: hop.clone(), answers: true };
            }
        }
    }

    /// A cluster of one version always gets to a higher one.
    #[test]
    fn there_is_always_a_way_up(from in any_version(), to in any_version(), count in 1usize..4) {
        let members = vec![Runs { version: from.clone(), answers: true }; count];
        let found = route(&members, &to, &Choice::default());
        prop_assert_eq!(found.is_ok(), to.minor >= from.minor, "{:?}", found);
        let passes = found.map_or(0, |route| route.hops.len());
        prop_assert!(passes <= SERIES.len(), "{passes} passes");
    }
}
