//! What is done once, on the controller.

use super::scene::Scene;
use super::{Case, Want, case, changes, fails, not_yet, nothing, refusal};
use crate::error::{ExitStatus, Explain as _};
use crate::etcd::client::{CallError, KeyHash, Status};
use crate::etcd::compare::{Answer, Comparison};
use crate::etcd::health::ClusterHealth;
use crate::etcd::testing::State::*;
use crate::etcd::testing::looks;
use crate::release::Arch;
use crate::tasks::certificates::Certificates;
use crate::tasks::check_peers::CheckPeers;
use crate::tasks::compare_members::CompareMembers;
use crate::tasks::snapshot::Snapshot;
use crate::tasks::{ControllerTask as _, Obstacle, Reach, SnapshotPlace, TaskError};
use semver::Version;
use std::net::Ipv4Addr;
use std::sync::Arc;

fn reach(failures: &[Obstacle], unknown: &[&str]) -> Scene {
    let unknown = unknown.iter().map(|word| (*word).to_owned()).collect();
    let reach = Reach { failures: failures.to_vec(), unknown };
    Scene { reach: Some(Arc::new(reach)), ..Scene::fresh() }
}

const CUT: [&str; 2] = [
    "host `node01` does not reach `node02` at 10.19.0.56:2380: no answer within 3 s",
    "host `node03` does not reach `node02` at 10.19.0.56:2380: no answer within 3 s",
];

fn stranger() -> Obstacle {
    let address = Ipv4Addr::new(10, 19, 0, 156).into();
    Obstacle::Unnamed { from: "node02".into(), to: "node01".into(), address, of: None, told: true }
}

#[test]
fn each_obstacle_has_a_hint_once() {
    let cut = Obstacle::Closed(CUT[0].to_owned());
    let hint = TaskError::Unreachable(vec![cut.clone(), cut.clone(), stranger()]).hint().unwrap();
    assert_eq!(hint, format!("{}; {}", cut.hint(), stranger().hint()));
    assert!(hint.contains("if `node02` may come from 10.19.0.156, add that to its `extra_names`"), "{hint}");
}

pub(super) fn cases() -> Vec<Case> {
    let cut = CUT.map(|cut| Obstacle::Closed(cut.to_owned()));
    let missing = |archs: &[Arch]| Scene { missing_releases: archs.to_vec(), ..Scene::fresh() };
    let mut cases = compare_members();
    cases.extend(snapshot());
    cases.extend(downgrade());
    cases.extend([
        case("fetch_release", "it is at hand", Scene::fresh(), nothing()),
        case(
            "fetch_release",
            "two architectures",
            missing(&[Arch::Amd64, Arch::Arm64]),
            changes(["fetch etcd 3.5.16 for amd64", "fetch etcd 3.5.16 for arm64"]),
        ),
        case("certificates", "all are there", Scene::fresh(), nothing()),
        case(
            "certificates",
            "one is to be renewed",
            Scene { issue: vec!["issue server certificate of node01: it expires".into()], ..Scene::fresh() },
            changes(["issue server certificate of node01: it expires"]),
        ),
        case(
            "certificates",
            "another CA beside members that trust this one",
            Scene { ca: "-----BEGIN CERTIFICATE-----\n".into(), ..Scene::deployed() },
            fails("the member on `node01` trusts another CA than the one in the PKI folder"),
        ),
        case(
            "certificates",
            "another CA where nobody has data yet",
            Scene { ca: "-----BEGIN CERTIFICATE-----\n".into(), ..Scene::fresh() },
            nothing(),
        ),
        case("check_peers", "all reach all", reach(&[], &[]), nothing()),
        case("check_peers", "nobody tried, since it is a plan", Scene::fresh(), nothing()),
        case("check_peers", "it could not be tried", reach(&[], &["host `node02` forbids TCP forwarding"]), nothing()),
        case("check_peers", "a firewall", reach(&cut, &[]), fails(&CUT.join("\n    "))),
        case(
            "check_peers",
            "a second address",
            reach(&[stranger()], &[]),
            fails(
                "host `node02` comes to `node01` from 10.19.0.156, which its certificate does not name: \
                 etcd would turn it away",
            ),
        ),
        case("health", "all are healthy", Scene::deployed(), nothing()),
        case(
            "health",
            "all are healthy and hold the same data",
            Scene { hashes: [("node01".into(), 7), ("node02".into(), 7)].into(), ..Scene::deployed() },
            nothing(),
        ),
        case(
            "health",
            "all are healthy, but hold different data",
            Scene { hashes: [("node01".into(), 7), ("node02".into(), 0xabc)].into(), ..Scene::deployed() },
            fails(
                "the members hold different data at the same revision \
                 (hash of all keys: node01 00000007, node02 00000abc)",
            ),
        ),
        case("health", "nobody was asked", Scene::fresh(), nothing()),
        case(
            "health",
            "one is down",
            Scene::deployed().members(&[Leads, Down, Follows]),
            not_yet(
                "member a2 is unreachable: no result from https://10.19.0.56:2379: \
                 tcp: `10.19.0.56:2379` refused the connection\n    \
                 cluster is degraded: 2 of 3 members healthy, quorum is 2",
            ),
        ),
        case(
            "health",
            "all are healthy, but do not belong together",
            Scene::deployed().members(&[Leads, FollowsOther(3), Follows]),
            not_yet("cluster is degraded: 3 of 3 members healthy, quorum is 2; the members follow different leaders"),
        ),
    ]);
    cases
}

/// Three members of 3.6.14, as far on a downgrade to 3.5 as `tell` says, that are to run this version.
fn running_3_6(version: &str, agreed: &str, tell: impl Fn(&mut Status)) -> Scene {
    let mut looks = looks(&[Leads, Follows, Follows]);
    for look in &mut looks {
        let status = &mut look.report.as_mut().unwrap().status;
        status.version = "3.6.14".into();
        tell(status);
    }
    let cluster = Some(Arc::new(ClusterHealth::assess(looks)));
    let scene = Scene::deployed().wanting_version(version);
    Scene { cluster, downgrade: true, cluster_version: Some(agreed.parse().unwrap()), ..scene }
}

fn downgrade() -> Vec<Case> {
    let three_six = |status: &mut Status| status.storage = Some(Version::new(3, 6, 0));
    let agreed = |status: &mut Status| status.downgrade = Some(Version::new(3, 5, 0));
    let down = running_3_6("3.5.33", "3.6.0", three_six);
    vec![
        case("downgrade", "nobody runs", Scene::fresh().wanting_version("3.5.33"), nothing()),
        case("downgrade", "up", upgrade("3.6.14"), nothing()),
        case("downgrade", "down", down, changes(["have the cluster agree on a downgrade from etcd 3.6 to 3.5"])),
        case(
            "downgrade",
            "down without consent",
            Scene { downgrade: false, ..running_3_6("3.5.33", "3.6.0", three_six) },
            fails("its member runs etcd 3.6.14; going down to 3.5.33 takes a downgrade of the whole cluster"),
        ),
        case(
            "downgrade",
            "the data is on its way",
            running_3_6("3.5.33", "3.5.0", |status| {
                three_six(status);
                agreed(status);
            }),
            not_yet("member `node01` has its data in the format of 3.6, not of 3.5 yet"),
        ),
        case("downgrade", "it was agreed on", running_3_6("3.5.33", "3.5.0", agreed), nothing()),
        case(
            "downgrade",
            "it is not wanted any more",
            running_3_6("3.6.14", "3.5.0", agreed),
            changes(["end the downgrade to etcd 3.5 that the cluster has agreed on"]),
        ),
    ]
}

/// Three members of 3.5.16 that are to run this version.
fn upgrade(version: &str) -> Scene {
    Scene::deployed().wanting_version(version)
}

fn compared(answers: [Answer; 3]) -> Scene {
    let answers: Vec<_> = ["node01", "node02", "node03"].map(str::to_owned).into_iter().zip(answers).collect();
    Scene { comparison: Some(Comparison::of(150, &answers)), ..upgrade("3.6.14") }
}

fn hash(hash: u32) -> Answer {
    Answer::Hash(KeyHash { hash, compacted: 5 })
}

fn compare_members() -> Vec<Case> {
    let disagreeing = {
        let mut looks = looks(&[Leads, Follows, Follows]);
        if let Ok(report) = &mut looks[2].report {
            report.members.as_mut().unwrap().pop();
        }
        Scene { cluster: Some(Arc::new(ClusterHealth::assess(looks))), ..upgrade("3.6.14") }
    };
    vec![
        case("compare_members", "nobody runs", Scene::fresh().wanting_version("3.6.14"), nothing()),
        case("compare_members", "they hold the same data", compared([hash(7), hash(7), hash(7)]), nothing()),
        case(
            "compare_members",
            "one holds other data",
            compared([hash(7), hash(7), hash(0xabc)]),
            fails(
                "the members hold different data at the same revision \
                 (hash of all keys: node01 00000007, node02 00000007, node03 00000abc)",
            ),
        ),
        case(
            "compare_members",
            "one does not come to where the others are",
            compared([hash(7), hash(7), Answer::Behind(98)]),
            fails("member `node03` stays at revision 98, and others are at 150: it lags, or holds other data"),
        ),
        case(
            "compare_members",
            "one could not be asked",
            compared([hash(7), hash(7), Answer::Failed(CallError::Tcp("refused".into()))]),
            nothing(),
        ),
        case(
            "compare_members",
            "one is corrupt",
            upgrade("3.5.30").members(&[Leads, Alarm("CORRUPT"), Follows]),
            fails("member `node02` has the alarm CORRUPT: etcd itself found its data to be other than the others'"),
        ),
        case(
            "compare_members",
            "one is corrupt, but the version stays",
            Scene::deployed().members(&[Leads, Alarm("CORRUPT"), Follows]),
            nothing(),
        ),
        case(
            "compare_members",
            "one belongs to another cluster",
            upgrade("3.6.14").members(&[Leads, Follows, Elsewhere]),
            fails("the members belong to different clusters (c1 and bad)"),
        ),
        case(
            "compare_members",
            "they list different members",
            disagreeing,
            not_yet("the members do not agree on who is a member"),
        ),
    ]
}

fn snapshot() -> Vec<Case> {
    let of = |host: &str, to: &str| {
        changes([&format!(
            "take a snapshot of member `{host}` before etcd goes from 3.5.16 to {to}: \
             `/state/snapshots/20261124T021500Z-3.5.16-to-{to}.db`"
        )])
    };
    vec![
        case("snapshot", "nobody runs", Scene::fresh().wanting_version("3.6.14"), nothing()),
        case("snapshot", "the version stays", Scene::deployed().wanting_another_setting(), nothing()),
        case("snapshot", "the next minor version", upgrade("3.6.14"), of("node01", "3.6.14")),
        case("snapshot", "the next patch", upgrade("3.5.30"), of("node01", "3.5.30")),
        case("snapshot", "an older patch", upgrade("3.5.9"), of("node01", "3.5.9")),
        case(
            "snapshot",
            "one follower runs the new version already",
            {
                let mut looks = looks(&[Leads, Follows, Follows]);
                looks[1].report.as_mut().unwrap().status.version = "3.6.14".into();
                Scene { cluster: Some(Arc::new(ClusterHealth::assess(looks))), ..upgrade("3.6.14") }
            },
            of("node03", "3.6.14"),
        ),
        case(
            "snapshot",
            "the follower that has applied most gives it",
            upgrade("3.6.14").members(&[Leads, Behind(2), Follows]),
            of("node03", "3.6.14"),
        ),
        case("snapshot", "there is one member alone", upgrade("3.6.14").members(&[Leads]), of("node01", "3.6.14")),
        case(
            "snapshot",
            "the leader alone is healthy",
            upgrade("3.6.14").members(&[Alarm("NOSPACE"), Leads, Down]),
            of("node02", "3.6.14"),
        ),
        case(
            "snapshot",
            "there is no quorum",
            upgrade("3.6.14").members(&[Down, Down, NoLeader]),
            of("node03", "3.6.14"),
        ),
        case(
            "snapshot",
            "only a corrupt member answers",
            upgrade("3.6.14").members(&[Down, Down, Alarm("CORRUPT")]),
            fails("no member can give a snapshot: none that answers is without the alarm CORRUPT"),
        ),
        case(
            "snapshot",
            "it was taken in this run",
            Scene { snapshot: Some("/state/snapshots/x.db".into()), ..upgrade("3.6.14") },
            nothing(),
        ),
        case(
            "snapshot",
            "the user wants none",
            Scene { snapshots: SnapshotPlace::Unwanted, ..upgrade("3.6.14") },
            nothing(),
        ),
        case(
            "snapshot",
            "there is no folder for it",
            Scene { snapshots: SnapshotPlace::Nowhere, ..upgrade("3.6.14") },
            fails("no snapshot can be kept: neither `XDG_STATE_HOME` nor `HOME` is an absolute path"),
        ),
    ]
}

#[test]
fn members_that_differ_end_the_run_and_the_next_step_is_said() {
    let hint = "stop writing, keep every data dir as it is, and take a snapshot of each member before anything else: \
                one of them holds data of another time or cluster";
    for case in compare_members().iter().filter(|case| matches!(case.want, Want::Fails(_))) {
        let said = refusal(case, &case.scene.overview());
        assert_eq!(said, (ExitStatus::Unhealthy, Some(hint.to_owned())), "{}", case.what);
    }
}

#[test]
fn what_was_not_compared_and_not_kept_is_said() {
    let scene = compared([hash(7), hash(7), Answer::Failed(CallError::Tcp("refused".into()))]);
    let said = (CompareMembers {}).warnings(&scene.overview());
    assert_eq!(said, ["member `node03` could not be compared: tcp: refused"]);
    let unwanted = |scene| Scene { snapshots: SnapshotPlace::Unwanted, ..scene };
    let said = (Snapshot { always: false }).warnings(&unwanted(upgrade("3.6.14")).overview());
    assert_eq!(said, ["no snapshot is taken before etcd goes from 3.5.16 to 3.6.14, as `--no-snapshot` says"]);
    assert_eq!((Snapshot { always: false }).warnings(&unwanted(Scene::deployed()).overview()), [""; 0]);
    assert_eq!((Snapshot { always: false }).warnings(&upgrade("3.6.14").overview()), [""; 0]);
}

#[test]
fn a_firewall_is_named_as_the_cause() {
    let cut = CUT.map(|cut| Obstacle::Closed(cut.to_owned()));
    let case = case("check_peers", "a firewall", reach(&cut, &[]), nothing());
    let (exit, hint) = refusal(&case, &case.scene.overview());
    assert_eq!(exit, ExitStatus::Failed);
    assert_eq!(
        hint.as_deref(),
        Some("open the peer port between the members' hosts in the firewall, or correct `address`")
    );
}

#[test]
fn what_could_not_be_found_out_is_said() {
    let scene = reach(&[], &["host `node02` forbids TCP forwarding"]);
    assert_eq!((CheckPeers {}).warnings(&scene.overview()), ["host `node02` forbids TCP forwarding"]);
    let scene = Scene { pki_warnings: vec!["the CA expires on 2027-01-01".into()], ..Scene::fresh() };
    assert_eq!((Certificates {}).warnings(&scene.overview()), ["the CA expires on 2027-01-01"]);
}
