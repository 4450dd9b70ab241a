//! `status` on real members: well, and with one fault after the other.

use crate::site::{Ran, Site, eventually};
use serde_json::Value;
use std::time::Duration;

/// The rows of the table, by member: state and drift.
fn rows(ran: &Ran) -> Vec<(String, String, String)> {
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    let row = |member: &Value| {
        let drift = member["drift"].as_array().map_or("?".to_owned(), |drift| {
            drift.iter().map(|one| one["what"].as_str().unwrap()).collect::<Vec<_>>().join(",")
        });
        (member["member"].as_str().unwrap().to_owned(), member["state"].as_str().unwrap().to_owned(), drift)
    };
    value["members"].as_array().unwrap().iter().map(row).collect()
}

fn row(name: &str, state: &str, drift: &str) -> (String, String, String) {
    (name.to_owned(), state.to_owned(), drift.to_owned())
}

pub fn a_cluster_at_a_glance() {
    let site = Site::up(3);
    let before = site.manifest(1);
    site.run("status").exits(3).says(&["cluster lab: the members were not asked", "node01  -     not deployed"]);
    assert_eq!(before, site.manifest(1), "it left something behind");
    site.run("deploy").exits(0);

    let well = site.run("status").exits(0);
    let lines: Vec<&str> = well.stdout.lines().collect();
    assert!(lines[0].starts_with("cluster lab: healthy, 3 of 3 voters, 1 failure to spare; leader node0"), "{well:?}");
    assert_eq!((lines[1], lines.len()), ("", 6), "{well:?}");
    for (line, name) in lines[3..].iter().zip(["node01", "node02", "node03"]) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells[0], name);
        assert!(["leader", "voter"].contains(&cells[1]), "{line}");
        assert_eq!(cells[2..4], ["healthy", "3.5.16"], "{line}");
        assert_eq!(cells.last(), Some(&"no"), "{line}");
        assert!(line.contains(" 3649 d "), "{line}");
    }
    assert_eq!(well.stderr, "");
    assert!(site.run("status -o wide").exits(0).stdout.lines().nth(2).unwrap().contains("  INDEX  LAG  ALARMS  "));

    // Somebody edits a host by hand, and has a host forget to start etcd.
    site.lab.exec("node02", "echo ETCD_SNAPSHOT_COUNT=5000 >>/etc/etcd/etcd.conf; systemctl disable -q etcd");
    let drifted = site.run("status -o json").exits(0);
    assert_eq!(rows(&drifted)[1], row("node02", "healthy", "options,not_enabled,altered_process"));
    site.run("status")
        .exits(0)
        .says(&["node02 differs from the inventory: options snapshot-count; the unit is disabled"]);
    site.run("deploy").exits(0);
    assert_eq!(rows(&site.run("status -o json").exits(0))[1], row("node02", "healthy", ""));

    // A dead host costs its two seconds, once.
    site.lab.exec("node02", "systemctl stop etcd");
    site.lab.run(&["kill", "node03"]);
    let ill = site.run("status -o json").exits(3);
    assert!(ill.took < Duration::from_secs(8), "{ill:?}");
    let states = rows(&ill);
    assert_eq!(states[1..], [row("node02", "stopped", ""), row("node03", "unreachable", "?")]);
    site.run("status").exits(3).says(&[
        "no quorum (2 needed)",
        "node03: host `node03`: no answer from `",
        "hint: `etcd-ha explain -i lab.yaml` says why",
    ]);
    site.lab.run(&["start", "node03"]);
    site.lab.exec("node02", "systemctl start --no-block etcd");
    eventually("the cluster is healthy again", Duration::from_secs(60), || site.run("status").code == Some(0));

    // It goes on looking, and ends when it is told to.
    let watch = site.start("status --watch 1 -o json");
    std::thread::sleep(Duration::from_secs(4));
    watch.signal("INT");
    let watched = watch.wait().exits(0);
    assert!(watched.stdout.lines().count() >= 2, "{watched:?}");
    drop(site);
}
