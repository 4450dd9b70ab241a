//! What is done once, on the controller.

use super::scene::Scene;
use super::{Case, case, changes, fails, not_yet, nothing, refusal};
use crate::error::ExitStatus;
use crate::etcd::testing::State::*;
use crate::release::Arch;
use crate::tasks::certificates::Certificates;
use crate::tasks::check_peers::CheckPeers;
use crate::tasks::{ControllerTask as _, Reach};
use std::sync::Arc;

fn reach(failures: &[&str], unknown: &[&str]) -> Scene {
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    let reach = Reach { failures: words(failures), unknown: words(unknown) };
    Scene { reach: Some(Arc::new(reach)), ..Scene::fresh() }
}

const CUT: [&str; 2] = [
    "host `node01` does not reach `node02` at 10.19.0.56:2380: no answer within 3 s",
    "host `node03` does not reach `node02` at 10.19.0.56:2380: no answer within 3 s",
];

pub(super) fn cases() -> Vec<Case> {
    let missing = |archs: &[Arch]| Scene { missing_releases: archs.to_vec(), ..Scene::fresh() };
    vec![
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
        case("check_peers", "a firewall", reach(&CUT, &[]), fails(&CUT.join("\n    "))),
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
    ]
}

#[test]
fn a_firewall_is_named_as_the_cause() {
    let case = case("check_peers", "a firewall", reach(&CUT, &[]), nothing());
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
