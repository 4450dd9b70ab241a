//! Starting, restarting and waiting.

use super::scene::{Scene, crash, link, run, starting, stop};
use super::{Case, case, changes, fails, not_yet, nothing, refusal, said, task};
use crate::error::ExitStatus;
use crate::etcd::gate::MAX_LAG;
use crate::etcd::testing::FRONT;
use crate::etcd::testing::State::*;
use crate::host::Release;
use crate::tasks::{Decision, SeenIn, TaskKind};
use semver::Version;

/// A host with everything in force, whose process is of another generation.
fn outdated() -> Scene {
    Scene::deployed().seen(|seen| run(seen, Some("older")))
}

/// A host that ran this version, with other settings, before its last change.
fn kept(version: &str) -> Scene {
    Scene::deployed().seen(|seen| {
        seen.previous = Some("older".into());
        let binary = format!("/opt/etcd/releases/{version}/etcd");
        seen.files.insert("/etc/etcd/.previous/binary".into(), link(&binary));
        seen.releases.insert(version.into(), Release { archive_sha256: "4".repeat(64), whole: true });
    })
}

const OUTDATED: &str = "restart etcd: it runs with an older configuration, binary, unit or CA";
const CRASHED: &str = "etcd does not stay up: activating (auto-restart), last result exit-code with status 1, \
    restarted 3 times by systemd; it said: discovery failed: listen tcp 10.19.0.55:2380: bind: address already in use; \
    that is: another program listens on that port";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "start",
            "a fresh host",
            Scene::fresh(),
            changes(["enable etcd.service, so that a reboot starts it", "start etcd"]),
        ),
        case("start", "it serves", Scene::deployed(), nothing()),
        case("start", "it serves with an older configuration", outdated(), nothing()),
        case(
            "start",
            "it serves, and its unit file is gone",
            Scene::deployed().seen(|seen| {
                (seen.unit_text, seen.unit.enabled) = (None, String::new());
            }),
            nothing(),
        ),
        case("start", "it was stopped", Scene::deployed().seen(stop), changes(["start etcd"])),
        case("start", "it crashed", Scene::deployed().seen(crash), changes(["start etcd"])),
        case(
            "start",
            "someone disabled it",
            Scene::deployed().seen(|seen| seen.unit.enabled = "disabled".into()),
            changes(["enable etcd.service, so that a reboot starts it"]),
        ),
        case(
            "start",
            "it is starting with what it should have",
            {
                let scene = Scene::deployed();
                let generation = scene.wanted().generation.clone();
                scene.seen(|seen| starting(seen, Some(&generation)))
            },
            nothing(),
        ),
        case(
            "start",
            "it is starting with an older configuration",
            Scene::deployed().seen(|seen| starting(seen, Some("older"))),
            changes(["restart etcd, which is still starting with an older configuration"]),
        ),
        case("restart", "it runs with what it should have", Scene::deployed(), nothing()),
        case("restart", "it does not run", Scene::deployed().seen(stop), nothing()),
        case("restart", "it runs with an older configuration", outdated(), changes([OUTDATED])),
        case(
            "restart",
            "it was started by hand",
            Scene::deployed().seen(|seen| run(seen, None)),
            changes(["restart etcd: its process was not started by our unit"]),
        ),
        case(
            "restart",
            "someone changed an option on the host",
            Scene::deployed().seen(|seen| {
                if let Some(process) = &mut seen.process {
                    process.variables.insert("ETCD_LOG_LEVEL=debug".into());
                }
            }),
            changes(["restart etcd: it runs with options that were changed on the host"]),
        ),
        case(
            "restart",
            "a drop-in of the unit adds an option",
            Scene::deployed().seen(|seen| {
                seen.unit.drop_ins = "/etc/systemd/system/etcd.service.d/debug.conf".into();
                if let Some(process) = &mut seen.process {
                    process.variables.insert("ETCD_LOG_LEVEL=debug".into());
                }
            }),
            nothing(),
        ),
        case(r#"{"restart": {"always": true}}"#, "always", Scene::deployed(), changes(["restart etcd"])),
        case(r#"{"restart": {"always": true}}"#, "always, and outdated", outdated(), changes(["restart etcd"])),
        case(
            r#"{"restart": {"always": true}}"#,
            "always, but it does not run",
            Scene::deployed().seen(stop),
            changes(["start etcd, which is down"]),
        ),
        case(
            r#"{"restart": {"always": true}}"#,
            "always, and it crashes",
            Scene::deployed().seen(crash),
            changes(["start etcd, which is down"]),
        ),
        case(
            r#"{"restart": {"always": true}}"#,
            "always, on a fresh host",
            Scene::fresh(),
            fails("no member is set up on it"),
        ),
        case(r#"{"start": {"in_force": true}}"#, "a fresh host", Scene::fresh(), fails("no member is set up on it")),
        case(
            "confirm",
            "a change that its process was never restarted for",
            outdated().seen(|seen| seen.unconfirmed = true),
            nothing(),
        ),
        case("stop", "it runs", Scene::deployed(), changes(["stop etcd"])),
        case("stop", "it crashes", Scene::deployed().seen(crash), changes(["stop etcd"])),
        case("stop", "it does not run", Scene::deployed().seen(stop), nothing()),
        case(r#"{"start": {"in_force": true}}"#, "it serves", outdated(), nothing()),
        case(
            r#"{"start": {"in_force": true}}"#,
            "it was stopped",
            Scene::deployed().seen(stop),
            changes(["start etcd"]),
        ),
        case(r#"{"restart": {"in_force": true}}"#, "it runs what is in force", Scene::deployed(), nothing()),
        case(
            r#"{"restart": {"in_force": true}}"#,
            "it runs something else",
            outdated(),
            changes(["restart etcd: it runs with other files than those in force"]),
        ),
        case(
            r#"{"restart": {"in_force": true}}"#,
            "it does not run",
            outdated().seen(stop),
            changes(["restart etcd: it is down"]),
        ),
        case("hand_over_leadership", "it follows", outdated(), nothing()),
        case(
            "hand_over_leadership",
            "it leads, and no restart is due",
            Scene::deployed().members(&[Leads, Follows, Follows]),
            nothing(),
        ),
        case(
            "hand_over_leadership",
            "it leads, and a restart is due",
            outdated().members(&[Leads, Follows, Follows]),
            changes(["move leadership to `node02`"]),
        ),
        case(
            "hand_over_leadership",
            "the next one is behind",
            outdated().members(&[Leads, Behind(1), Follows]),
            changes(["move leadership to `node03`"]),
        ),
        case(
            "hand_over_leadership",
            "the next one is ill",
            outdated().members(&[Leads, Alarm("NOSPACE"), Follows]),
            changes(["move leadership to `node03`"]),
        ),
        case(
            "hand_over_leadership",
            "there is none to take over",
            outdated().members(&[Leads, Learner, Down]),
            nothing(),
        ),
        case("hand_over_leadership", "it is alone", outdated().members(&[Leads]), nothing()),
        case(
            r#"{"hand_over_leadership": {"always": true}}"#,
            "always",
            Scene::deployed().members(&[Leads, Follows, Follows]),
            changes(["move leadership to `node02`"]),
        ),
        case("wait_healthy", "it is healthy", Scene::deployed(), nothing()),
        case("wait_healthy", "it does not run", Scene::deployed().seen(stop), not_yet("etcd does not run")),
        case("wait_healthy", "it crashes", Scene::deployed().seen(crash), fails(CRASHED)),
        case(
            "wait_healthy",
            "it has no leader",
            Scene::deployed().members(&[NoLeader, Down, Down]),
            not_yet("no leader (active (running))"),
        ),
        case(
            "wait_healthy",
            "it is a learner",
            Scene::deployed().members(&[Learner, Leads, Follows]),
            not_yet("learner, which has no vote yet (active (running))"),
        ),
        case(
            "wait_healthy",
            "it does not answer yet",
            Scene::deployed().seen(|seen| starting(seen, None)).members(&[Down, Leads, Follows]),
            not_yet("tcp: `10.19.0.55:2379` refused the connection (activating (start))"),
        ),
        case(
            "wait_healthy",
            "it catches up",
            Scene::deployed().members(&[Behind(MAX_LAG + 1), Leads, Follows]),
            not_yet("catching up: 1001 raft entries behind"),
        ),
        case(
            "wait_healthy",
            "it has nearly caught up",
            Scene::deployed().members(&[Behind(MAX_LAG), Leads, Follows]),
            nothing(),
        ),
        case(
            "wait_healthy",
            "systemd has not heard of it yet",
            Scene::deployed().seen(|seen| starting(seen, None)),
            not_yet("etcd serves, systemd still says activating (start)"),
        ),
        case(
            "wait_healthy",
            "it was restarted, and has not reached what the cluster had then",
            Scene::deployed().disturbed(FRONT + 7, 292, 0, 5000),
            not_yet("catching up: 7 raft entries to go"),
        ),
        case(
            "wait_healthy",
            "it was restarted, and is healthy since a moment ago",
            Scene::deployed().disturbed(FRONT, 292, 0, 100),
            not_yet("steady for a moment"),
        ),
        case(
            "wait_healthy",
            "it was restarted, and is steady",
            Scene::deployed().disturbed(FRONT, 292, 0, 200),
            nothing(),
        ),
        case(
            "wait_healthy",
            "it was restarted, and once more by systemd",
            Scene::deployed().seen(|seen| seen.unit.restarts = 1).disturbed(FRONT, 292, 0, 5000),
            fails("etcd does not stay up: active (running), restarted once by systemd"),
        ),
        case(
            "wait_healthy",
            "it was restarted, and once more by somebody",
            Scene::deployed().disturbed(FRONT, 291, 0, 5000),
            fails("etcd does not stay up: active (running)"),
        ),
        case("activate_previous", "nothing is kept", Scene::deployed(), nothing()),
        case(
            "activate_previous",
            "other settings were in force before",
            kept("3.5.16"),
            changes(["go back to what was in force before the last change (etcd 3.5.16 as now)"]),
        ),
        case(
            "activate_previous",
            "another version was in force before",
            kept("3.4.23"),
            changes(["go back to what was in force before the last change (etcd 3.4.23 instead of 3.5.16)"]),
        ),
        case(
            "activate_previous",
            "another minor was in force before, and the cluster has left it behind",
            Scene { cluster_version: Some(Version::new(3, 5, 0)), ..kept("3.4.23") },
            fails("the cluster has agreed on 3.5.0, with which etcd 3.4.23 refuses to start"),
        ),
        case(
            "activate_previous",
            "another minor was in force before, and a member still runs it",
            Scene { cluster_version: Some(Version::new(3, 4, 0)), ..kept("3.4.23") },
            changes(["go back to what was in force before the last change (etcd 3.4.23 instead of 3.5.16)"]),
        ),
        case(
            "activate_previous",
            "the release is gone",
            kept("3.4.23").seen(|seen| seen.releases.clear()),
            fails("the release 3.4.23 that it would go back to is no longer on it"),
        ),
        case(
            "activate_previous",
            "it went back already",
            kept("3.4.23").seen(|seen| seen.previous_is_newer = true),
            nothing(),
        ),
        case(
            "activate_previous",
            "its last change is not confirmed",
            kept("3.4.23").seen(|seen| seen.unconfirmed = true),
            changes(["take the last change back, which is not confirmed yet"]),
        ),
        case(
            "activate_previous",
            "a rollback was broken off before all of it was in force",
            kept("3.4.23").seen(|seen| {
                seen.unconfirmed = true;
                seen.previous_is_newer = true;
                seen.going_back = true;
            }),
            changes(["go on to what was in force before the last change"]),
        ),
        case("confirm", "nothing is unconfirmed", Scene::deployed(), nothing()),
        case(
            "confirm",
            "its last change is not confirmed",
            Scene::deployed().seen(|seen| seen.unconfirmed = true),
            changes(["keep the change: disarm the way back"]),
        ),
        case(
            "confirm",
            "the host took its last change back, and the member does well with what it has",
            Scene::deployed().seen(|seen| seen.taken_back = Some("1763953537 0123abcd failed".into())),
            changes(["forget the change that the host took back by itself"]),
        ),
        case("wait_healthy", "others are ill", Scene::deployed().members(&[Follows, Leads, Down]), nothing()),
    ]
}

/// What [`super::TaskKind`] says after an apply, in this scene.
fn verified(written: &str, scene: &Scene) -> super::Want {
    let overview = scene.overview();
    match task(written) {
        TaskKind::Host(task) => said(task.verify(&scene.view(&overview))),
        TaskKind::Controller(task) => said(task.verify(&overview)),
    }
}

#[test]
fn what_was_started_has_to_stay_up() {
    for written in ["start", "restart"] {
        assert_eq!(verified(written, &Scene::deployed().seen(crash)), fails(CRASHED), "{written}");
        assert_eq!(verified(written, &Scene::deployed()), nothing(), "{written}");
    }
    assert_eq!(verified("restart", &outdated()), changes([OUTDATED]));
    // It was restarted once, and that is it.
    assert_eq!(verified(r#"{"restart": {"always": true}}"#, &Scene::deployed()), nothing());
}

#[test]
fn a_crash_says_where_the_whole_story_is() {
    let case = case("wait_healthy", "it crashes", Scene::deployed().seen(crash), nothing());
    let (exit, hint) = refusal(&case, &case.scene.overview());
    assert_eq!(exit, ExitStatus::Failed);
    let story = "`journalctl -u etcd.service -n 50` on that host has the whole story";
    let next = "`ss -ltnp` on that host names it: stop it, or choose other ports";
    assert_eq!(hint, Some(format!("{next}; {story}")));
    // Of what is not known, no more is said than etcd said.
    let case = Case { scene: Scene::deployed().seen(crash).seen(|seen| seen.journal = "exit\n".into()), ..case };
    assert_eq!(refusal(&case, &case.scene.overview()).1.as_deref(), Some(story));
}

#[test]
fn a_wait_looks_where_its_end_can_be_seen() {
    for (scene, want) in [
        (Scene::deployed().seen(stop), SeenIn::Host),
        (Scene::deployed().seen(|seen| starting(seen, None)), SeenIn::Host),
        (Scene::deployed().members(&[NoLeader, Down, Down]), SeenIn::Cluster),
        (Scene::deployed().members(&[Behind(5000), Leads, Follows]), SeenIn::Cluster),
    ] {
        let TaskKind::Host(task) = task("wait_healthy") else { panic!() };
        let overview = scene.overview();
        let Ok(Decision::NotYet { seen_in, exit, .. }) = task.check(&scene.view(&overview)) else { panic!() };
        assert_eq!((seen_in, exit), (want, ExitStatus::Unhealthy));
    }
}

/// The members are asked only where that can help: a member that is down would keep the call waiting.
#[test]
fn members_are_asked_only_if_etcd_runs() {
    for written in ["wait_healthy", "hand_over_leadership"] {
        let TaskKind::Host(task) = task(written) else { panic!() };
        for (scene, want) in [(Scene::deployed(), true), (Scene::deployed().seen(stop), false)] {
            let overview = scene.overview();
            assert_eq!(task.needs(&scene.view(&overview)).cluster, want, "{written}");
        }
    }
}
