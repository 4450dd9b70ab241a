//! What is said of hosts and members: tables of scenes and exact words.

use super::*;
use crate::etcd::client::Alarm;
use crate::etcd::testing::State::{Down, Follows, Leads, NoLeader, Stuck};
use crate::etcd::testing::{self, cluster};
use crate::host::Observation;
use crate::tasks::tests::scene::{self, Scene, crash, pki, starting, stop};
use std::sync::Arc;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-11-26 10:14:30 UTC);

/// The status of the hosts of a scene.
pub(crate) fn status(scene: &Scene) -> ClusterStatus {
    status_of(scene, |known| known)
}

/// The same, with what was found out changed.
pub(crate) fn status_of(scene: &Scene, change: impl FnOnce(Vec<Known>) -> Vec<Known>) -> ClusterStatus {
    let known = scene.inventory.hosts.iter().map(|host| {
        let seen = scene.seen[&host.name].clone();
        let pki = scene.cluster.is_some().then(pki);
        // All hosts of a scene have what the first one should have.
        let drift = drift(&scene.inventory, &scene.inventory.hosts[0], pki, &seen);
        Known { seen: Ok(seen), drift, ends: Some(("server".to_owned(), NOW + Duration::days(364))) }
    });
    let known = change(known.collect());
    let cluster = scene.cluster.clone().ok_or_else(|| "there are no usable certificates in `prod.pki`".to_owned());
    ClusterStatus::of(&scene.inventory, &known, &cluster, NOW)
}

/// What `node01` differs in.
fn differs(scene: Scene) -> Vec<String> {
    let host = &scene.inventory.hosts[0];
    drift(&scene.inventory, host, Some(pki()), &scene.seen["node01"]).iter().map(ToString::to_string).collect()
}

#[test]
fn in_what_a_host_differs() {
    let conf = |seen: &mut Observation, from: &str, to: &str| {
        seen.environment = seen.environment.as_ref().map(|text| text.replace(from, to));
    };
    let none: &[&str] = &[];
    for (what, scene, want) in [
        ("as it should be", Scene::deployed(), none),
        ("never deployed", Scene::fresh(), &["nothing is deployed here yet"]),
        (
            "another version is wanted",
            Scene::deployed().wanting_version("3.5.17"),
            &["version 3.5.16 instead of 3.5.17"],
        ),
        ("a setting is wanted", Scene::deployed().wanting_another_setting(), &["options heartbeat-interval"]),
        (
            "a setting was written by hand, and not taken over",
            Scene::deployed().seen(|seen| conf(seen, "HA_GENERATION", "ETCD_SNAPSHOT_COUNT=5\nHA_GENERATION")),
            &["options snapshot-count", "the process runs with other options than those in force"],
        ),
        (
            "the environment file is somebody else's",
            Scene::deployed().seen(|seen| conf(seen, crate::etcd::config::MARK, "# mine")),
            &["an environment file that etcd-ha did not write"],
        ),
        (
            "the unit was edited and not read",
            Scene::deployed().seen(|seen| {
                seen.unit_text = seen.unit_text.as_ref().map(|text| text.replace("RestartSec=2", "RestartSec=9"));
                seen.unit.needs_reload = true;
            }),
            &["the unit file", "systemd has not read the unit file since it was changed"],
        ),
        (
            "a drop-in, and disabled",
            Scene::deployed().seen(|seen| {
                seen.unit.drop_ins = "/etc/systemd/system/etcd.service.d/nice.conf".into();
                seen.unit.enabled = "disabled".into();
            }),
            &[
                "drop-ins of the unit (/etc/systemd/system/etcd.service.d/nice.conf)",
                "the unit is disabled, so a reboot does not start it",
            ],
        ),
        (
            "another certificate",
            Scene::deployed().seen(|seen| {
                seen.files.insert("/etc/etcd/ssl/peer.pem".into(), scene::file("other", 0o644, "etcd:etcd"));
            }),
            &["the certificates, or their owners and modes"],
        ),
        ("the CA is gone", Scene::deployed().seen(|seen| _ = seen.files.remove("/etc/etcd/ssl/ca.pem")), &["the CA"]),
        (
            "it runs what was in force before",
            Scene::deployed().seen(|seen| scene::run(seen, Some("older"))),
            &["the process runs with older files than those in force"],
        ),
        (
            "a run was killed",
            Scene::deployed().seen(|seen| {
                seen.staged = true;
                seen.unconfirmed = true;
            }),
            &["files that an interrupted run left staged", "the last change is not confirmed yet"],
        ),
        (
            "the host helped itself",
            Scene::deployed().seen(|seen| seen.taken_back = Some("1 abc failed".into())),
            &["the host took the last change back"],
        ),
        (
            "the links lead elsewhere",
            Scene::deployed().seen(|seen| {
                seen.files.insert("/usr/local/bin/etcd".into(), scene::link("/usr/bin/etcd"));
            }),
            &["the linked etcd is none of ours instead of 3.5.16"],
        ),
    ] {
        assert_eq!(differs(scene), want, "{what}");
    }
}

#[test]
fn the_first_line() {
    for (states, want) in [
        (&[Follows, Leads, Follows][..], "healthy, 3 of 3 voters, 1 failure to spare; leader node02"),
        (&[Follows, Leads, Down], "degraded, 2 of 3 voters, no failure to spare; leader node02"),
        (&[Follows, Leads, Stuck], "degraded, 2 of 3 voters, no failure to spare; leader node02"),
        (&[NoLeader, Down, Down], "unhealthy, 0 of 3 voters, no quorum (2 needed)"),
    ] {
        let status = status(&Scene::deployed().members(states));
        assert_eq!(status.head(), format!("cluster prod: {want}"), "{states:?}");
    }
    assert_eq!(status(&Scene::fresh()).head(), "cluster prod: the members were not asked");
}

/// State, role and cause of `node01`.
fn first(scene: &Scene, seen: Option<&str>) -> (String, &'static str, Option<String>) {
    let status = status_of(scene, |mut known| {
        if let Some(why) = seen {
            known[0].seen = Err(why.to_owned());
        }
        known
    });
    let member = &status.members[0];
    (member.state.name().to_owned(), member.role.name(), member.cause.clone())
}

#[test]
fn how_a_member_is() {
    let said = |cause: &str| Some(cause.to_owned());
    let down = || Scene::deployed().members(&[Down, Leads, Follows]);
    let crashed = "etcd.service is activating (auto-restart), last result exit-code with status 1, restarted 3 times by \
                   systemd: discovery failed: listen tcp 10.19.0.55:2380: bind: address already in use";
    for (what, scene, unreachable, want) in [
        ("well", Scene::deployed(), None, ("healthy", "voter", None)),
        ("leads", Scene::deployed().members(&[Leads, Follows, Follows]), None, ("healthy", "leader", None)),
        (
            "alarm",
            Scene::deployed().members(&[testing::State::Alarm("NOSPACE"), Leads, Follows]),
            None,
            ("NOSPACE", "voter", said("alarm NOSPACE")),
        ),
        (
            "no leader",
            Scene::deployed().members(&[NoLeader, Down, Down]),
            None,
            ("no leader", "voter", said("no leader")),
        ),
        (
            "learner",
            Scene::deployed().members(&[testing::State::Learner, Leads, Follows]),
            None,
            ("learner", "learner", said("learner, which has no vote yet")),
        ),
        (
            "its reads fail",
            Scene::deployed().members(&[Stuck, Leads, Follows]),
            None,
            ("ailing", "voter", said("no answer to `linearizable read` within 5 s")),
        ),
        ("stopped", down().seen(stop), None, ("stopped", "voter", said("etcd.service is inactive (dead)"))),
        ("crashing", down().seen(crash), None, ("failed", "voter", said(crashed))),
        (
            "starting",
            down().seen(|seen| starting(seen, None)),
            None,
            ("starting", "voter", said("etcd.service is activating (start)")),
        ),
        (
            "runs and does not answer",
            down(),
            None,
            ("no answer", "voter", said("tcp: `10.19.0.55:2379` refused the connection")),
        ),
        (
            "its host is off",
            down(),
            Some("host `node01`: no answer from `10.19.0.55:22` within 2 s"),
            ("unreachable", "voter", said("host `node01`: no answer from `10.19.0.55:22` within 2 s")),
        ),
        (
            "nobody could be asked",
            Scene::fresh(),
            None,
            ("not deployed", "-", said("there is no unit etcd.service on the host")),
        ),
    ] {
        let (state, role, cause) = first(&scene, unreachable);
        assert_eq!((state.as_str(), role, cause), want, "{what}");
    }
}

#[test]
fn members_that_the_inventory_does_not_have_and_hosts_that_are_no_member() {
    let looks = testing::looks(&[Follows, Leads, Follows, Follows]);
    let mut scene = Scene::deployed();
    // The fourth is asked by nobody, the first is none of those whom the others know.
    let mut looks: Vec<_> = looks.into_iter().take(3).collect();
    looks[0].report = testing::looks(&[Down]).remove(0).report;
    let health = testing::listing(looks, |list| list.retain(|member| member.name != "node01"));
    scene.cluster = Some(Arc::new(health));
    let status = status(&scene);
    let rows: Vec<(&str, &str)> =
        status.members.iter().map(|member| (member.name.as_str(), member.state.name())).collect();
    assert_eq!(
        rows,
        [("node01", "no member"), ("node02", "healthy"), ("node03", "healthy"), ("node04", "not in inventory")]
    );
    assert_eq!(status.members[3].cause.as_deref(), Some("member a4 (node04) is not in the inventory"));
    assert_eq!(status.problems, Vec::<String>::new());
}

#[test]
fn lag_quota_and_alarms_are_each_member_s_own() {
    let mut health = cluster(&[Follows, Leads, testing::State::Behind(7)]);
    for member in &mut health.members {
        let report = member.look.report.as_mut().unwrap();
        // Everybody knows of everybody's alarms.
        report.alarms = Ok(vec![Alarm { member: testing::id(2), kind: "NOSPACE".into() }]);
    }
    let mut scene = Scene::deployed().seen(|seen| {
        let process = seen.process.as_mut().unwrap();
        process.variables.insert("ETCD_QUOTA_BACKEND_BYTES=4096".into());
    });
    scene.cluster = Some(Arc::new(health));
    let status = status(&scene);
    let of = |index: usize| {
        let member = &status.members[index];
        (member.lag, member.quota, member.alarms.join(","))
    };
    assert_eq!(of(0), (Some(0), 4096, String::new()));
    assert_eq!(of(1), (Some(0), 2 << 30, "NOSPACE".into()));
    assert_eq!(of(2), (Some(7), 2 << 30, String::new()));
}
