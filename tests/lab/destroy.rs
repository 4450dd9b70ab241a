//! A cluster that is given up, taken up again and given up for good, and what is known of all that afterwards.

use crate::members::Members;
use crate::site::{Site, assert_untouched, eventually, files_below};
use std::time::Duration;

/// Hosts before anything was done, without what stays on purpose: the system user and its folder's name.
fn bare(site: &Site) -> Vec<String> {
    (1..=3).map(|node| site.manifest(node)).collect()
}

/// What of a manifest is not the account database.
fn without_accounts(manifest: &str) -> String {
    let accounts =
        ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/.pwd"];
    // Folders that files were made and deleted in have no time in a manifest.
    let other = |line: &&str| !line.starts_with("etcd:x:") && accounts.iter().all(|path| !line.starts_with(path));
    manifest.lines().filter(other).map(|line| format!("{line}\n")).collect()
}

pub fn a_cluster_is_given_up_and_taken_up_again() {
    let site = Site::up(3);
    let before = bare(&site);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put kept 42");

    // What would be done is said, and touches nothing.
    let looks: Vec<String> = bare(&site);
    let pids: Vec<u32> = (1..=3).map(|node| site.pid(node)).collect();
    site.run("destroy --dry-run").exits(0).says(&[
        "take a snapshot of member",
        "stop etcd for good",
        "delete /etc/systemd/system/etcd.service",
        "delete /opt/etcd/releases/3.5.16 (",
        "its data stays in `/var/lib/etcd`",
    ]);
    site.run("destroy --data --dry-run").exits(0).says(&["delete the data in /var/lib/etcd/member ("]);
    for (node, look) in (1..=3).zip(&looks) {
        assert_untouched(look, &site.manifest(node));
    }
    assert_eq!(pids, (1..=3).map(|node| site.pid(node)).collect::<Vec<_>>());
    site.run("destroy --yes-destroy prod").exits(2).says(&["nothing was touched"]);

    // Without the data, killed in the middle, and finished by the same command.
    let mut killed = site.start("destroy --yes-destroy lab");
    killed.read_until("play: Stop every member for good");
    let begun = || site.lab.read("node01", "grep -c destroy /var/log/etcd-ha/lab.log || true") == "1";
    eventually("node01 has noted the run", Duration::from_secs(10), begun);
    killed.signal("KILL");
    killed.wait();
    // What the hosts had been given to do they do to its end: a member that is just being stopped gives no snapshot.
    let busy = |node: usize| {
        site.lab.read(&format!("node{node:02}"), "systemctl list-jobs --no-legend; pgrep -fc 'head -c [0-9]' || true")
            != "0"
    };
    eventually("no host is at it any more", Duration::from_secs(30), || (1..=3).all(|node| !busy(node)));
    site.run("destroy --yes-destroy lab").exits(0);
    for node in 1..=3 {
        let left = site.lab.read(
            &format!("node{node:02}"),
            "systemctl is-enabled etcd 2>/dev/null; ls -d /opt/etcd /usr/local/bin/etcd* /etc/systemd/system/etcd.service \
             2>/dev/null; ls -A /etc/etcd /var/lib/etcd; true",
        );
        assert_eq!(left, "/etc/etcd:\netcd.conf\n\n/var/lib/etcd:\nmember", "node{node:02}");
    }
    // A snapshot, a key: nothing of the controller's was deleted.
    let kept = files_below(&site.path("state"));
    assert!(kept.iter().any(|path| path.to_string_lossy().ends_with("-3.5.16-to-3.5.16.db")), "{kept:?}");
    assert!(!files_below(&site.path("lab.pki")).is_empty());

    // A deploy goes on with the data.
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members");
    assert_eq!(members.etcdctl(2, "get kept --print-value-only"), "42");
    members.assert_whole();

    // A cluster of another name on the same hosts is not this one's to delete.
    let mut other = site.inventory(1..=3);
    other.cluster = "other".to_owned();
    site.write(&other);
    site.run("destroy --data --yes-destroy other --no-snapshot").exits(4).says(&["was set up for cluster `lab`"]);
    site.write(&site.inventory(1..=3));
    members.assert_whole();

    // Nobody runs: no snapshot, unless the user wants none.
    site.run("stop --yes").exits(0);
    site.run("destroy --data --yes-destroy lab").exits(4).says(&["no member runs", "`--no-snapshot`"]);
    // With a host that is off the others are done, and the same command finishes it.
    site.lab.run(&["kill", "node03"]);
    let ran = site.run("destroy --data --yes-destroy lab --no-snapshot").exits(1);
    ran.says(&["stopped on node03", "the other hosts are done"]);
    site.lab.run(&["start", "node03"]);
    // It was enabled, and is alone: its quorum is gone, its data is deleted by the next run.
    site.run("destroy --data --yes-destroy lab --no-snapshot").exits(0).says(&["makes a new, empty cluster"]);
    for (node, was) in (1..=3).zip(&before) {
        assert_untouched(&without_accounts(was), &without_accounts(&site.manifest(node)));
    }
    site.run("destroy --data --yes-destroy lab").exits(0).says(&["no changes: there is nothing to do in cluster lab"]);

    // What is known of it: here, and on the hosts.
    site.run("history")
        .exits(0)
        .says(&["broken off after `remove_member_files` on node0", "done: cluster lab is healthy"]);
    site.run("history show 1").exits(0).says(&["run 1: deploy, ", "deploy: cluster lab, 3 hosts"]);
    let noted = site
        .run("history --hosts")
        .exits(0)
        .says(&["begun; it has not ended, or was killed (", "done (node01, node02, node03)"]);
    // Runs that changed nothing there left no line.
    let runs = noted.stdout.lines().skip(1);
    let commands: Vec<_> = runs.map(|line| line.split_whitespace().nth(6).unwrap_or_default().to_owned()).collect();
    // The run after the one that was killed may have found nothing left to do.
    let mut want = vec!["destroy", "destroy", "stop", "deploy", "destroy", "destroy", "deploy"];
    if commands.len() < want.len() {
        want.remove(4);
    }
    assert_eq!(commands, want, "{}", noted.stdout);
    let mode = site.lab.read("node01", "stat -c '%a %U' /var/log/etcd-ha/lab.log");
    assert_eq!(mode, "640 root");
}
