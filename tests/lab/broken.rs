//! Runs that are broken off in ways that a random kill (`soak`) rarely meets: the same command again finishes the job.

use crate::members::{Members, node};
use crate::site::{Site, eventually};
use std::thread;
use std::time::Duration;

const DONE: &str = "done: cluster lab is healthy, 3 of 3 members, ";

/// Checks that nothing of a broken run is left on the hosts.
#[track_caller]
pub fn assert_tidy(site: &Site) {
    for host in 1..=3 {
        let find = "find /etc/etcd /opt/etcd /usr/local/bin /etc/systemd/system /tmp /var/tmp \\( -name '.incoming*' \
             -o -name '*.new' -o -name '*.old' -o -name .next -o -name 'tmp.*' \\) 2>/dev/null; \
             cd /etc/etcd; for ssl in .ssl-*; do \
             [ \"$ssl\" = \"$(readlink ssl)\" ] || [ \"$ssl\" = \"$(readlink .previous/ssl)\" ] || echo \"$ssl\"; done";
        // What a killed run left running clears up behind itself, which takes a busy host a while.
        let mut left = String::new();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            left = site.lab.read(&node(host), find);
            if left.is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(500));
        }
        assert_eq!(left, "", "{}", node(host));
    }
}

/// Makes the hosts and the controller as they were before the first deploy.
pub fn make_fresh(site: &Site) {
    for host in 1..=3 {
        site.lab.read(
            &node(host),
            "systemctl stop etcd 2>/dev/null; systemctl disable --quiet etcd 2>/dev/null; \
             rm -rf /etc/systemd/system/etcd.service* /etc/etcd /opt/etcd /var/lib/etcd /usr/local/bin/etcd* \
             /usr/local/bin/.etcd*; systemctl daemon-reload; systemctl reset-failed; userdel etcd 2>/dev/null || true",
        );
    }
    let _ = std::fs::remove_dir_all(site.path("lab.pki"));
    let _ = std::fs::remove_dir_all(site.path("cache"));
}

/// Broken off between two starts, at the one moment that a random kill rarely meets: two members have their quorum, the
/// third was never started.
pub fn members_that_were_never_started_are_started_by_the_next_run() {
    let site = Site::up(3);
    let playbook = String::from_utf8(site.command("playbook deploy").output().unwrap().stdout).unwrap();
    let start = "  - name: Start the members that do not run yet\n    mode: sequence\n";
    let (before, _) = playbook.split_once(start).unwrap();
    for started in ["node01", "node01, node02"] {
        let broken = format!("{before}{start}    hosts: [{started}]\n    tasks: [start]\n");
        site.write_file("broken.yaml", &broken);
        site.run("deploy --playbook broken.yaml").exits(0);
        if started == "node01" {
            // Its process waits for the others in vain.
            site.run("health").exits(3);
            site.run("deploy").exits(0).ends(DONE);
            Members::of(&site, 3).assert_whole();
            make_fresh(&site);
        }
    }
    let members = Members { hosts: vec![1, 2], ..Members::of(&site, 3) };
    eventually("the first two have a quorum", Duration::from_secs(20), || {
        site.lab.read("node01", "systemctl is-active etcd || true") == "active"
    });
    members.etcdctl(1, "put before kept");
    site.run("deploy").exits(0).ends(DONE);
    let members = Members::of(&site, 3);
    members.assert_whole();
    assert_eq!(members.etcdctl(3, "get before --print-value-only"), "kept");
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
}

pub fn ctrl_c_and_a_lost_terminal_stop_after_the_task_in_hand() {
    let site = Site::up(3);
    for host in 1..=3 {
        site.lab.run(&["rate", &node(host), "40mbit"]);
    }
    let uploading =
        || !site.lab.read("node01", "ls -d /opt/etcd/releases/.incoming.*/new/* 2>/dev/null || true").is_empty();
    // A terminal that is gone says so by its shell and by the kernel.
    for signals in [&["INT"][..], &["HUP", "HUP"]] {
        make_fresh(&site);
        let running = site.start("deploy");
        eventually("an upload", Duration::from_secs(20), uploading);
        for signal in signals {
            running.signal(signal);
            thread::sleep(Duration::from_millis(100));
        }
        running.wait().exits(130).says(&[
            "stopping after the task in hand; press Ctrl-C again to leave at once",
            "node01 stage_release: changed: upload and unpack etcd 3.5.16",
            "interrupted: cluster lab: stopped in `Stage binaries, certificates and units`; run the same command again to go on",
        ]);
        for host in 1..=3 {
            let there =
                "ls -A /opt/etcd/releases; ls -A /etc/etcd; ls /etc/systemd/system/etcd.service 2>/dev/null || true";
            assert_eq!(site.lab.read(&node(host), there), "3.5.16", "{}", node(host));
        }
    }

    // Twice: at once.
    make_fresh(&site);
    let running = site.start("deploy");
    eventually("an upload", Duration::from_secs(20), uploading);
    running.signal("INT");
    thread::sleep(Duration::from_millis(300));
    let second = std::time::Instant::now();
    running.signal("INT");
    running.wait().exits(130).says(&["interrupted: left at once; run the same command again to go on"]);
    assert!(second.elapsed() < Duration::from_secs(1), "{:?}", second.elapsed());
    for host in 1..=3 {
        site.lab.run(&["rate", &node(host), "off"]);
    }
    site.run("deploy").exits(0).ends(DONE);
    assert_tidy(&site);

    // While it waits for a member that will not answer.
    site.lab.read("node02", "systemctl kill -s STOP etcd");
    let running = site.start("deploy");
    thread::sleep(Duration::from_secs(8));
    running.signal("INT");
    let ran = running.wait().exits(130).says(&["interrupted: cluster lab: stopped"]);
    assert!(ran.took < Duration::from_secs(16), "{ran:?}");
    site.lab.read("node02", "systemctl kill -s CONT etcd");
    eventually("healthy", Duration::from_secs(20), || site.run("health").code == Some(0));
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
    Members::of(&site, 3).assert_whole();
}

/// The others finish what they are at, nothing is started, and what the host has half is not taken for whole.
pub fn a_host_that_loses_its_power_meanwhile_is_caught_up_by_the_next_run() {
    let site = Site::up(3);
    // So slow that most of it is still to come when the power goes.
    site.lab.run(&["rate", "node02", "8mbit"]);
    let half = "ls -d /opt/etcd/releases/.incoming.*/new/* 2>/dev/null || true";
    let running = site.start("deploy");
    eventually("an upload", Duration::from_secs(20), || !site.lab.read("node02", half).is_empty());
    site.lab.run(&["kill", "node02"]);
    let ran = running.wait().exits(1).says(&[
        "node02 stage_release: failed",
        "lost the connection",
        "node01 stage_config: changed",
        "node03 stage_config: changed",
        "stopped on node02 in `Stage binaries, certificates and units`",
    ]);
    assert!(ran.took < Duration::from_secs(40), "{ran:?}");
    for host in [1, 3] {
        assert_eq!(site.lab.read(&node(host), "ls /etc/systemd/system/etcd.service 2>/dev/null || true"), "");
    }
    site.lab.run(&["rate", "node02", "off"]);
    site.lab.run(&["start", "node02"]);
    // What a power cut leaves lies there until it is surely nobody's any more.
    let old = "cd /opt/etcd/releases; ls -d .incoming.* | grep -c .; touch -d '2 hours ago' .incoming.*";
    assert_eq!(site.lab.read("node02", old), "1");
    site.run("deploy").exits(0).ends(DONE);
    assert_tidy(&site);
    Members::of(&site, 3).assert_whole();
}

/// An upload is begun anew if sshd drops the connection in its midst: nothing of it was in force yet.
pub fn an_upload_whose_connection_breaks_is_done_again() {
    let site = Site::up(3);
    site.lab.run(&["rate", "node02", "8mbit"]);
    let half = "ls -d /opt/etcd/releases/.incoming.*/new/* 2>/dev/null || true";
    let running = site.start("deploy");
    eventually("an upload", Duration::from_secs(20), || !site.lab.read("node02", half).is_empty());
    site.lab.read("node02", "pkill -KILL -f '^sshd: root'");
    site.lab.run(&["rate", "node02", "off"]);
    let ran = running.wait().exits(0).says(&["node02 stage_release: changed", "the connection broke"]).ends(DONE);
    assert!(ran.took < Duration::from_secs(60), "{ran:?}");
    assert_tidy(&site);
    Members::of(&site, 3).assert_whole();
}
