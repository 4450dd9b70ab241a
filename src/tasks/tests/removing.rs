//! Giving a cluster up: what is deleted, and what is not.

use super::scene::{Scene, stop};
use super::scripts::sh;
use super::{Case, case, changes, fails, nothing, refusal, task};
use crate::error::ExitStatus;
use crate::etcd::snapshot::Manifest;
use crate::etcd::testing::State::*;
use crate::tasks::remains::{self, Kind, Remains, Thing};
use crate::tasks::{SnapshotPlace, TaskKind, remove_member_files};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const ALL: &str = r#"{"remove_member_files": {"data": true}}"#;
const OWNED: &str = r#"{"check_owner": {"data": true}}"#;
const LAST: &str = r#"{"snapshot": {"always": true}}"#;

fn remains_of(things: &[(Kind, &str, u64)], others: &[&str]) -> Option<Remains> {
    let thing = |&(kind, path, bytes): &(Kind, &str, u64)| Thing { kind, path: path.to_owned(), bytes };
    let others = others.iter().map(|&path| path.to_owned()).collect();
    Some(Remains { things: things.iter().map(thing).collect(), others })
}

fn whole() -> Scene {
    let things = [
        (Kind::Unit, "/etc/systemd/system/etcd.service", 4096),
        (Kind::Link, "/usr/local/bin/etcd", 0),
        (Kind::Release, "/opt/etcd/releases/3.5.16", 60 << 20),
        (Kind::Folder, "/opt/etcd/releases", 4096),
        (Kind::Config, "/etc/etcd/ssl", 0),
        (Kind::Record, "/etc/etcd/etcd.conf", 4096),
        (Kind::Folder, "/etc/etcd", 4096),
        (Kind::Data, "/var/lib/etcd/member", 122 << 20),
        (Kind::Folder, "/var/lib/etcd", 4096),
    ];
    Scene { remains: remains_of(&things, &["/etc/etcd/notes", "/opt/etcd/mine"]), ..Scene::deployed() }
}

/// Only `node01` could be looked at.
fn alone(mut scene: Scene) -> Scene {
    scene.seen.retain(|name, _| name == "node01");
    scene
}

/// A snapshot that an earlier `destroy` took.
fn kept(cluster_id: &str) -> Manifest {
    let json = format!(
        r#"{{"file":"20261124T010000Z-3.5.16-to-3.5.16.db","cluster":"prod","cluster_id":"{cluster_id}","member":"node01",
        "member_id":"1","from":"3.5.16","to":"3.5.16","revision":1,"keys":1,"hash":"0","size":1,"sha256":"0",
        "taken":"2026-11-24T01:00:00Z","etcd_ha":"0.1.0"}}"#
    );
    serde_json::from_str(&json).unwrap()
}

pub(super) fn cases() -> Vec<Case> {
    let stopped = |scene: Scene| {
        let mut scene = scene.seen(stop);
        for seen in scene.seen.values_mut() {
            stop(std::sync::Arc::make_mut(seen));
        }
        Scene { cluster: None, ..scene }
    };
    let foreign =
        |seen: &mut crate::host::Observation| seen.unit_text = Some("[Service]\nExecStart=/bin/etcd\n".into());
    vec![
        case(
            "remove_member_files",
            "nothing is there",
            Scene { remains: remains_of(&[], &[]), ..Scene::fresh() },
            nothing(),
        ),
        case(
            "remove_member_files",
            "the data stays, and what says whose it is",
            whole(),
            changes([
                "stop etcd for good",
                "delete /etc/systemd/system/etcd.service",
                "delete /usr/local/bin/etcd",
                "delete /opt/etcd/releases/3.5.16 (60.0 MiB)",
                "delete /opt/etcd/releases",
                "delete /etc/etcd/ssl",
            ]),
        ),
        case(
            ALL,
            "the data goes, too",
            whole(),
            changes([
                "stop etcd for good",
                "delete /etc/systemd/system/etcd.service",
                "delete /usr/local/bin/etcd",
                "delete /opt/etcd/releases/3.5.16 (60.0 MiB)",
                "delete /opt/etcd/releases",
                "delete /etc/etcd/ssl",
                "delete /etc/etcd/etcd.conf",
                "delete /etc/etcd",
                "delete the data in /var/lib/etcd/member (122.0 MiB)",
                "delete /var/lib/etcd",
            ]),
        ),
        case(
            "remove_member_files",
            "only data and its record are left",
            Scene {
                remains: remains_of(
                    &[(Kind::Record, "/etc/etcd/etcd.conf", 0), (Kind::Data, "/var/lib/etcd/member", 1)],
                    &[],
                ),
                ..Scene::fresh()
            },
            nothing(),
        ),
        case("check_owner", "all is ours", alone(Scene::deployed()), nothing()),
        case("check_owner", "nothing is there", Scene::fresh(), nothing()),
        case(
            "check_owner",
            "somebody else's unit",
            alone(Scene::deployed()).seen(foreign),
            fails("host `node01`: `/etc/systemd/system/etcd.service` was not written by etcd-ha"),
        ),
        case(
            "check_owner",
            "another etcd runs there",
            Scene::fresh().seen(|seen| {
                seen.unit.main_pid = 7;
                seen.unit.fragment = "/lib/systemd/system/etcd.service".into();
            }),
            fails("host `node01`: another etcd runs there, from `/lib/systemd/system/etcd.service`"),
        ),
        case(
            "check_owner",
            "a cluster of another name",
            {
                let mut scene = alone(Scene::deployed());
                scene.inventory.cluster = "test".into();
                scene
            },
            fails("host `node01`: its member was set up for cluster `prod`, the inventory is of cluster `test`"),
        ),
        case(
            OWNED,
            "data that is no member's",
            alone(Scene::deployed()),
            fails("host `node01`: data dir `/var/lib/etcd` is not empty, but is no etcd data dir"),
        ),
        case(
            LAST,
            "members run",
            Scene::deployed(),
            changes(["take a snapshot of member `node01` before anything is deleted: \
                 `/state/snapshots/20261124T021500Z-3.5.16-to-3.5.16.db`"]),
        ),
        case(LAST, "no host has data", Scene::fresh(), nothing()),
        case(LAST, "nobody runs", stopped(Scene::deployed()), fails("no snapshot can be taken first: no member runs")),
        case(
            LAST,
            "nobody answers",
            Scene::deployed().members(&[Down, Down, Down]),
            fails("no snapshot can be taken first: no member answers"),
        ),
        case(
            LAST,
            "only a corrupt member answers",
            Scene::deployed().members(&[Down, Down, Alarm("CORRUPT")]),
            fails("no snapshot can be taken first: all members that answer have the alarm CORRUPT"),
        ),
        case(
            LAST,
            "nobody runs, and the user wants none",
            Scene { snapshots: SnapshotPlace::Unwanted, ..stopped(Scene::deployed()) },
            nothing(),
        ),
        case(
            LAST,
            "an older snapshot does not count where a boot would start members",
            Scene { kept: vec![kept("1")], ..stopped(Scene::deployed()) },
            fails("no snapshot can be taken first: no member runs"),
        ),
    ]
}

#[test]
fn what_is_refused_touches_nothing_and_says_what_to_do() {
    for case in cases().iter().filter(|case| matches!(case.want, super::Want::Fails(_))) {
        let (exit, hint) = refusal(case, &case.scene.overview());
        assert_eq!(exit, ExitStatus::Refused, "{}", case.what);
        let hint = hint.unwrap();
        let next = if case.task.name() == "snapshot" { "`--no-snapshot`" } else { "nothing was touched" };
        assert!(hint.contains(next), "{}: {hint}", case.what);
    }
}

#[test]
fn what_stays_is_said() {
    let scene = whole();
    let TaskKind::Host(some) = task("remove_member_files") else { panic!("it runs on hosts") };
    let foreign = "not put there by etcd-ha, so that it stays: `/etc/etcd/notes`, `/opt/etcd/mine`";
    let said = some.warnings(&scene.view(&scene.overview()));
    let data = "its data stays in `/var/lib/etcd` (122.0 MiB) and, to say whose it is, `/etc/etcd/etcd.conf`";
    assert_eq!(said, [data, foreign]);
    let TaskKind::Host(all) = task(ALL) else { panic!("it runs on hosts") };
    assert_eq!(all.warnings(&scene.view(&scene.overview())), [foreign]);
}

/// A host whose answer names paths that are not ours has them left alone.
#[test]
fn paths_that_cannot_be_ours_are_left_out() {
    let scene = Scene::deployed();
    let host = &scene.inventory.hosts[0];
    for line in [
        "config 4 /etc/passwd",
        "config 4 /etc/etcd/../passwd",
        "config 4 /etc/etcd/..",
        "config 4 /etc/etcd/",
        "data 4 /var/lib/etcd",
        "data 4 /var/lib/etcd/other",
        "release 4 /opt/etcd/releases/a/b",
        "link 4 /usr/local/bin/sh",
        "unit 4 /etc/systemd/system/ssh.service",
        "record 4 /etc/etcd/other",
        "folder 4 /",
        "root 4 /etc/etcd/ssl",
        "config",
        "",
    ] {
        assert_eq!(remains::read(host, line.as_bytes()), Remains::default(), "{line}");
    }
    let read = remains::read(host, b"config x /etc/etcd/ssl\nother 4 /etc/etcd/my notes\n\xff\n");
    assert_eq!(read, remains_of(&[(Kind::Config, "/etc/etcd/ssl", 0)], &["/etc/etcd/my notes"]).unwrap());
}

/// What the look finds on a real file system, and what is left of it afterwards.
#[test]
fn a_host_s_files_are_found_and_deleted() {
    for data in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let write = |name: &str, text: &str| {
            fs::create_dir_all(Path::new(&at(name)).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
        };
        let scene = Scene::deployed().below([at("opt"), at("etc"), at("data"), at("bin")]);
        let units = at("units");
        let mark = crate::etcd::config::MARK;
        write("units/etcd.service", &format!("{mark}\n[Unit]\n"));
        write("opt/releases/3.5.16/.archive", "x\n");
        write("opt/releases/.incoming.ab12/new", "x");
        write("opt/own tool", "x");
        write("etc/etcd.conf", &format!("{mark}\nETCD_NAME=node01\n"));
        write("etc/.ssl-1/ca.pem", "x");
        write("etc/.previous/etcd.conf", "x");
        write("data/member/wal/0.wal", "x");
        write("bin/other", "x");
        symlink(at("etc/.ssl-1"), at("etc/ssl")).unwrap();
        symlink(at("opt/releases/3.5.16/etcd"), at("bin/etcd")).unwrap();
        symlink("/bin/true", at("bin/etcdctl")).unwrap();
        write("programs/systemctl", "#!/bin/sh\necho \"$*\" >>\"$LOG\"\n");
        std::process::Command::new("chmod").args(["755", &at("programs/systemctl")]).status().unwrap();
        let log = at("log");
        let run = |script: &str| {
            let script = script.replace("/etc/systemd/system", &units);
            let ran = sh(&format!("export LOG={log}\n{script}"), b"", Some(&folder.path().join("programs")));
            assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        };
        let host = &scene.inventory.hosts[0];
        let look = || {
            let answer = at("answer");
            let text = format!("{{\n{}\n}} >{answer}", remains::script(host));
            run(&text);
            let said = fs::read_to_string(answer).unwrap().replace(&units, "/etc/systemd/system");
            remains::read(host, said.as_bytes())
        };
        let found = look();
        assert_eq!(found.others, [at("opt/own tool")]);
        let overview = scene.overview();
        let mut view = scene.view(&overview);
        view.remains = Some(&found);
        let task = remove_member_files::RemoveMemberFiles { data };
        run(&remove_member_files::script(&view, &task.doomed(&view, &found)));
        let mut left: Vec<String> = Vec::new();
        for top in ["units", "opt", "etc", "data", "bin"] {
            let output = std::process::Command::new("find").arg(at(top)).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            left.extend(text.lines().map(|line| line.replace(&format!("{}/", folder.path().display()), "")));
        }
        left.sort();
        let mut want = vec!["bin", "bin/etcdctl", "bin/other", "opt", "opt/own tool", "units"];
        if !data {
            want.extend(["data", "data/member", "data/member/wal", "data/member/wal/0.wal", "etc", "etc/etcd.conf"]);
        }
        want.sort_unstable();
        assert_eq!(left, want, "with data: {data}");
        // Disabled before it is stopped: no boot starts what is half gone.
        let called = fs::read_to_string(&log).unwrap();
        let place = |words: &str| called.lines().position(|line| line.starts_with(words)).unwrap_or(usize::MAX);
        let order = ["disable", "stop etcd.service", "daemon-reload"].map(place);
        assert!(order.is_sorted() && order[2] < usize::MAX, "{called}");
        let again = look();
        let rest = task.doomed(&scene.view(&overview), &again);
        assert!(rest.is_empty(), "{rest:?}");
    }
}
