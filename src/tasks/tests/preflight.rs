//! What makes a host unfit, what on it is not ours, and what is only worth a word.

use super::scene::{Scene, crash, file, link, put_certificates, stop};
use super::{Case, all, case, fails, not_yet, nothing, refusal};
use crate::error::ExitStatus;
use crate::etcd::bootstrap::BootstrapError;
use crate::etcd::identity::{ClusterId, MemberId};
use crate::host::{FileKind, FileState, Observation, Space};
use crate::tasks::HostTask as _;
use std::sync::Arc;

fn unfit(what: &'static str, change: impl FnOnce(&mut Observation), words: &str) -> Case {
    case("preflight", what, Scene::fresh().seen(change), fails(words))
}

fn bootstrap(what: &'static str, error: BootstrapError, words: &str) -> Case {
    let scene = Scene { membership: Some(Err(vec![error])), ..Scene::fresh() };
    case("preflight", what, scene, fails(words))
}

fn space(seen: &mut Observation, path: &str, mib: u64, inodes: u64) {
    let space = Space { free: mib << 20, mount: "/srv".into(), free_inodes: Some(inodes) };
    seen.space.insert(path.into(), space);
}

pub(super) fn cases() -> Vec<Case> {
    let data_dir = || "/var/lib/etcd".to_owned();
    let host = || "node01".to_owned();
    let mut cases = vec![
        case("preflight", "a fresh host", Scene::fresh(), nothing()),
        case("preflight", "a host that is as it should be", Scene::deployed(), nothing()),
        case("preflight", "its member is down", Scene::deployed().seen(stop), nothing()),
        case("preflight", "its member crashes", Scene::deployed().seen(crash), nothing()),
        case(
            "preflight",
            "its member runs, and the unit file is gone",
            Scene::deployed().seen(|seen| (seen.unit.fragment, seen.unit_text) = (String::new(), None)),
            nothing(),
        ),
        case(
            "preflight",
            "nothing is known of the membership, since another host is down",
            Scene { membership: None, ..Scene::fresh() },
            nothing(),
        ),
        unfit("no Linux", |seen| seen.kernel = "FreeBSD".into(), "it runs `FreeBSD`; etcd-ha deploys to Linux"),
        unfit(
            "an architecture without releases",
            |seen| seen.machine = "riscv64".into(),
            "there is no etcd release for its architecture `riscv64`",
        ),
        unfit(
            "no systemd",
            |seen| seen.booted_by_systemd = false,
            "it was not booted by systemd (/run/systemd/system is not there)",
        ),
        unfit("an old systemd", |seen| seen.systemd = Some(229), "its systemd 229 is older than 232"),
        unfit("no privilege", |seen| seen.uid = Some(1000), "who logs in there is not root"),
        unfit("nobody knows who it is", |seen| seen.uid = None, "who logs in there is not root"),
        unfit(
            "commands are missing",
            |seen| seen.missing = vec!["tar".into(), "gzip".into()],
            "commands are missing: tar, gzip",
        ),
        unfit("read-only places", |seen| seen.read_only = vec!["/opt/etcd".into()], "`/opt/etcd` cannot be written"),
        unfit(
            "no room for the release",
            |seen| space(seen, "/opt/etcd", 149, 1_000_000),
            "149 MiB are free on /srv for the release, 150 MiB are needed",
        ),
        unfit(
            "no room for the data",
            |seen| space(seen, "/var/lib/etcd", 511, 1_000_000),
            "511 MiB are free on /srv for etcd's data, 512 MiB are needed",
        ),
        unfit("no inodes", |seen| space(seen, "/var/lib/etcd", 9000, 999), "inodes are nearly used up on /srv"),
        unfit(
            "a wrong clock",
            |seen| seen.clock_skew = Some(-7200.4),
            "its clock is 7200 s behind the controller's; certificates would not be valid there",
        ),
        unfit(
            "several at once",
            |seen| {
                seen.booted_by_systemd = false;
                seen.missing = vec!["tar".into()];
            },
            "it was not booted by systemd (/run/systemd/system is not there)\n    commands are missing: tar",
        ),
        case(
            "preflight",
            "a machine that is there twice",
            {
                let mut scene = Scene::fresh();
                let twin = scene.seen["node01"].clone();
                scene.seen.insert("node03".into(), twin);
                scene
            },
            fails("it is the same machine as `node03`"),
        ),
        case(
            "preflight",
            "a clone's machine id",
            {
                let mut scene = Scene::fresh();
                let clone = Observation { boot_id: "another".into(), ..(*scene.seen["node01"]).clone() };
                scene.seen.insert("node03".into(), Arc::new(clone));
                scene
            },
            nothing(),
        ),
        case(
            "preflight",
            "two minor versions at once",
            Scene::deployed().wanting_version("3.7.1"),
            fails("its member runs etcd 3.5.16; 3.7.1 is more than one minor version away"),
        ),
        case(
            "preflight",
            "a version back",
            Scene::deployed().wanting_version("3.4.45"),
            fails("its member runs etcd 3.5.16; going down to 3.4.45 is not possible by exchanging the binary"),
        ),
        case(
            "preflight",
            "one minor version on",
            Scene::deployed().running(["3.5.32"; 3]).agreed("3.5.0").wanting_version("3.6.14"),
            nothing(),
        ),
        case(
            "preflight",
            "one minor version on from a patch that must not",
            Scene::deployed().wanting_version("3.6.14"),
            fails("its member runs etcd 3.5.16; before 3.6.14 it has to run 3.5.26 or later"),
        ),
        case(
            "preflight",
            "one minor version on before the members have agreed on the last",
            Scene::deployed().running(["3.5.32"; 3]).agreed("3.4.0").wanting_version("3.6.14"),
            not_yet("the members have agreed on etcd 3.4, not on 3.5 yet"),
        ),
        case(
            "preflight",
            "the way back of an upgrade that was broken off",
            Scene::deployed().running(["3.5.16", "3.4.23", "3.4.23"]).agreed("3.4.0").wanting_version("3.4.23"),
            nothing(),
        ),
        // What is unpacked or written already needs no room any more.
        case(
            "preflight",
            "a full disk under a member that is deployed",
            Scene::deployed().seen(|seen| {
                space(seen, "/opt/etcd", 1, 1);
                space(seen, "/var/lib/etcd", 1, 1);
            }),
            nothing(),
        ),
        case(
            "preflight",
            "a file system that counts no inodes",
            Scene::fresh().seen(|seen| {
                let space = Space { free: 60 << 30, mount: "/".into(), free_inodes: None };
                seen.space.insert("/var/lib/etcd".into(), space);
            }),
            nothing(),
        ),
        case(
            "preflight",
            "another host's data",
            Scene {
                membership: Some(Err(vec![BootstrapError::NotEtcd { host: "node02".into(), data_dir: data_dir() }])),
                ..Scene::fresh()
            },
            nothing(),
        ),
    ];
    cases.extend([
        bootstrap(
            "something in the data dir",
            BootstrapError::NotEtcd { host: host(), data_dir: data_dir() },
            "host `node01`: data dir `/var/lib/etcd` is not empty, but is no etcd data dir",
        ),
        bootstrap(
            "data of a foreign member",
            BootstrapError::Foreign { host: host(), data_dir: data_dir(), cluster: ClusterId(0xabc) },
            "host `node01`: data dir `/var/lib/etcd` holds a member of cluster abc that etcd-ha did not set up",
        ),
        bootstrap(
            "data of the cluster without our file",
            BootstrapError::Unrecorded {
                host: host(),
                data_dir: data_dir(),
                cluster: ClusterId(0xabc),
                other_host: "node02".into(),
            },
            "host `node01`: data dir `/var/lib/etcd` holds a member of cluster abc, as that of `node02` does, but its \
             etcd.conf is gone",
        ),
        bootstrap(
            "data of another cluster",
            BootstrapError::Different {
                host: host(),
                data_dir: data_dir(),
                cluster: ClusterId(0xabc),
                other_host: "node02".into(),
                other: ClusterId(0xdef),
            },
            "host `node01`: data dir `/var/lib/etcd` belongs to cluster abc, but that of `node02` to cluster def",
        ),
        bootstrap(
            "the same member twice",
            BootstrapError::SameMember { host: "node02".into(), other_host: host(), member: MemberId(0xabc) },
            "hosts `node02` and `node01` both hold the data of member abc",
        ),
        bootstrap(
            "a bootstrap with other members",
            BootstrapError::Abandoned { host: host(), data_dir: data_dir(), began: "a=b".into() },
            "host `node01`: data dir `/var/lib/etcd` is left from a bootstrap that never had a quorum, \
             with other members (a=b)",
        ),
        bootstrap(
            "a lost disk",
            BootstrapError::Lost {
                host: host(),
                data_dir: data_dir(),
                cluster: ClusterId(0xabc),
                other_host: "node02".into(),
            },
            "host `node01`: data dir `/var/lib/etcd` is empty, but cluster abc exists (`node02` holds a member of it)",
        ),
    ]);
    let mut foreign = |what, scene: Scene, words: &str| cases.push(case("preflight", what, scene, fails(words)));
    foreign(
        "the distribution's etcd runs",
        Scene::deployed().seen(|seen| seen.unit.fragment = "/lib/systemd/system/etcd.service".into()),
        "another etcd runs there, from `/lib/systemd/system/etcd.service`",
    );
    foreign(
        "another etcd without a unit file",
        Scene::deployed().seen(|seen| {
            seen.unit.fragment = String::new();
            seen.process.as_mut().unwrap().generation = None;
        }),
        "another etcd runs there, whose unit file is gone",
    );
    foreign(
        "someone else's unit",
        Scene::fresh().seen(|seen| seen.unit_text = Some("[Unit]\n".into())),
        "`/etc/systemd/system/etcd.service` is there and was not written by etcd-ha",
    );
    foreign(
        "a member of ours with another paths.config",
        Scene::deployed().seen(|seen| {
            let text = seen.unit_text.take().unwrap_or_default();
            seen.unit_text = Some(text.replace("EnvironmentFile=/etc/etcd/", "EnvironmentFile=/srv/etcd/"));
        }),
        "`/etc/systemd/system/etcd.service` belongs to a member with another `paths.config` than `/etc/etcd`",
    );
    foreign(
        "someone else's environment file",
        Scene::fresh().seen(|seen| seen.environment = Some("ETCD_NAME=other\n".into())),
        "`/etc/etcd/etcd.conf` is there and was not written by etcd-ha",
    );
    foreign(
        "a masked unit",
        Scene::fresh().seen(|seen| seen.odd = vec!["/etc/systemd/system/etcd.service".into()]),
        "`/etc/systemd/system/etcd.service` is not a file (is the unit masked?)",
    );
    foreign(
        "a binary",
        Scene::fresh().seen(|seen| {
            seen.files.insert("/usr/local/bin/etcdctl".into(), file("", 0o755, "root:root"));
        }),
        "`/usr/local/bin/etcdctl` is there and does not belong to a release of etcd-ha",
    );
    foreign(
        "a link elsewhere",
        Scene::fresh().seen(|seen| {
            seen.files.insert("/usr/local/bin/etcd".into(), link("/opt/etcd-3.4/etcd"));
        }),
        "`/usr/local/bin/etcd` is there and does not belong to a release of etcd-ha",
    );
    foreign(
        "taken ports",
        Scene::fresh().seen(|seen| seen.listening = [2379, 2380].into()),
        "something else listens on the client port 2379\n    something else listens on the peer port 2380",
    );
    cases
}

#[test]
fn how_a_run_ends_and_what_to_do_next() {
    let mut seen = 0;
    for case in
        all().iter().filter(|case| case.task.name() == "preflight" && matches!(case.want, super::Want::Fails(_)))
    {
        let overview = case.scene.overview();
        let (exit, hint) = refusal(case, &overview);
        let stop_and_move = "etcd-ha touches nothing that it did not set up: stop and move aside what is there, \
                             or choose other `paths` and ports";
        let want = match case.what {
            "no privilege" | "nobody knows who it is" => {
                (ExitStatus::Failed, Some("log in as root, or set `become: sudo` or `become: doas`"))
            }
            "a wrong clock" => (ExitStatus::Failed, Some("set the clocks by NTP")),
            "the distribution's etcd runs"
            | "another etcd without a unit file"
            | "someone else's unit"
            | "someone else's environment file"
            | "a masked unit"
            | "a binary"
            | "a link elsewhere"
            | "taken ports" => (ExitStatus::Refused, Some(stop_and_move)),
            "something in the data dir" => (
                ExitStatus::Refused,
                Some(
                    "a deploy never deletes data: look at `/var/lib/etcd` on `node01`, move it aside or set another \
                     `paths.data`",
                ),
            ),
            "data of the cluster without our file" => (
                ExitStatus::Refused,
                Some(
                    "leave `/var/lib/etcd` on `node01` as it is, and put etcd.conf back in its config folder; without a \
                     copy, the lines of `node02`'s that begin with `#`, `ETCD_INITIAL_CLUSTER` or `HA_CLUSTER_ID` will \
                     do, and the next deploy writes the rest",
                ),
            ),
            "data of a foreign member" | "data of another cluster" => (
                ExitStatus::Refused,
                Some(
                    "a deploy never deletes data: if it is no longer needed, move `/var/lib/etcd` on `node01` aside \
                     and run again",
                ),
            ),
            "the same member twice" => {
                (ExitStatus::Refused, Some("do not start either: one of the data dirs is a copy; move the copy aside"))
            }
            "a bootstrap with other members" => (
                ExitStatus::Refused,
                Some(
                    "no data was ever written to it: move `/var/lib/etcd` on `node01` aside and run again, or restore \
                     the inventory",
                ),
            ),
            "a lost disk" => (
                ExitStatus::Refused,
                Some(
                    "if `node01` lost its disk, its member has to be removed and added anew (`etcdctl member remove`, \
                     `etcdctl member add`); if the disk is only not mounted, mount it",
                ),
            ),
            "a member of ours with another paths.config" => (ExitStatus::Refused, Some(stop_and_move)),
            "two minor versions at once" => {
                (ExitStatus::Refused, Some("deploy 3.6.14 first: etcd upgrades one minor version at a time"))
            }
            "one minor version on from a patch that must not" => (ExitStatus::Refused, Some("deploy 3.5.33 first")),
            "a version back" => (
                ExitStatus::Refused,
                Some(
                    "set `etcd.version` to 3.5.16 or a later patch of it; etcd does not start below its cluster's \
                     version, so the way back is a new cluster from a snapshot",
                ),
            ),
            _ => (ExitStatus::Failed, None),
        };
        assert_eq!((exit, hint.as_deref()), want, "{}", case.what);
        seen += 1;
    }
    assert!(seen > 25, "only {seen} refusals found");
}

#[test]
fn warnings() {
    let small = |seen: &mut Observation| space(seen, "/var/lib/etcd", 2047, 1_000_000);
    for (what, scene, want) in [
        ("all is well", Scene::fresh(), vec![]),
        (
            "a clock ahead",
            Scene::fresh().seen(|seen| seen.clock_skew = Some(2.56)),
            vec!["its clock is 2.6 s ahead of the controller's"],
        ),
        (
            "a clock behind",
            Scene::fresh().seen(|seen| seen.clock_skew = Some(-61.0)),
            vec!["its clock is 61.0 s behind the controller's"],
        ),
        ("a clock that nobody minds", Scene::fresh().seen(|seen| seen.clock_skew = Some(-2.0)), vec![]),
        (
            "a host that does not know its own name",
            Scene::fresh().seen(|seen| seen.own_name_unknown = true),
            vec!["sudo does not find the host's own name, and may wait for DNS every time: put it into /etc/hosts"],
        ),
        ("an unknown clock", Scene::fresh().seen(|seen| seen.clock_skew = None), vec![]),
        (
            "a small disk",
            Scene::fresh().seen(small),
            vec!["only 2047 MiB are free on /srv for etcd's data, whose quota is 2 GiB by default"],
        ),
        ("a small disk that holds data already", Scene::deployed().seen(small), vec![]),
        (
            "a change that was tried and taken back",
            Scene::deployed().seen(|seen| seen.taken_back = Some("1763953537 0123abcd failed".into())),
            vec!["its member did not come up with the change of 2025-11-24 03:05:37 UTC, and took it back by itself"],
        ),
        (
            "a change that was not even tried",
            Scene::deployed().seen(|seen| seen.taken_back = Some("1763953537 0123abcd untried".into())),
            vec![
                "it took the change of 2025-11-24 03:05:37 UTC back by itself: the run that made it ended before the member \
                 was restarted",
            ],
        ),
        ("a note that somebody cut", Scene::deployed().seen(|seen| seen.taken_back = Some(String::new())), vec![]),
    ] {
        let overview = scene.overview();
        let said = crate::tasks::preflight::Preflight {}.warnings(&scene.view(&overview));
        assert_eq!(said, want, "{what}");
    }
}

/// What the members have agreed on is asked for only where another minor version is wanted.
#[test]
fn the_cluster_s_version_is_asked_for_when_it_matters() {
    use crate::tasks::HostTask as _;
    for (what, scene, want) in [
        ("nothing is deployed", Scene::fresh(), false),
        ("nothing is to be done", Scene::deployed(), false),
        ("another patch", Scene::deployed().wanting_version("3.5.33"), false),
        ("another minor version", Scene::deployed().wanting_version("3.6.14"), true),
    ] {
        let overview = scene.overview();
        let needs = crate::tasks::preflight::Preflight {}.needs(&scene.view(&overview));
        assert_eq!(needs.cluster_version, want, "{what}");
    }
}

/// Certificates beside those in force are no reason to refuse; neither is a link into a release.
#[test]
fn what_an_interrupted_run_left_is_ours() {
    let scene = Scene::deployed().seen(|seen| {
        seen.staged = true;
        seen.files.insert(
            "/etc/etcd/.next/ssl".into(),
            FileState { kind: FileKind::Folder, mode: 0o755, owner: "etcd:etcd".into() },
        );
    });
    let host = scene.inventory.hosts[0].clone();
    let mut with_staged = (*scene.seen["node01"]).clone();
    put_certificates(&mut with_staged, &host, scene.wanted(), ".next/ssl");
    let scene = scene.seen(|seen| *seen = with_staged);
    let overview = scene.overview();
    assert!(matches!(
        crate::tasks::preflight::Preflight {}.check(&scene.view(&overview)),
        Ok(crate::tasks::Decision::Nothing)
    ));
}
