//! `--probe`: what a client that writes during a run noticed.

use crate::members::{Members, node};
use crate::site::{Ran, Site, eventually};
use serde_json::Value;
use std::time::Duration;

const WAIT: &str = "{ name: wait, plays: [{ name: Wait, hosts: [node01], \
                    tasks: [{ command: { argv: [sleep, '5'] } }] }] }";

/// What the run's JSON lines say of the probe.
#[track_caller]
fn probed(ran: &Ran) -> Value {
    let events = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let probed: Vec<_> = events.filter(|event| event["event"] == "probed").collect();
    assert_eq!(probed.len(), 1, "{ran:?}");
    probed[0].clone()
}

/// The keys below the reserved prefix, as a member has them.
fn keys(members: &Members<'_>) -> String {
    members.etcdctl(1, "get _etcd-ha/ --prefix --keys-only")
}

pub fn a_client_that_writes_meanwhile_is_told_of() {
    let site = Site::up(3);
    // It begins when there is a cluster.
    site.run("deploy --probe").exits(0).says(&["probe: ", " 0 failed, "]);
    let members = Members::of(&site, 3);
    assert_eq!(keys(&members), "");

    let mut inventory = site.inventory(1..=3);
    inventory.settings = "snapshot-count: 9000".to_owned();
    site.write(&inventory);
    let pids: Vec<_> = (1..=3).map(|host| site.pid(host)).collect();
    let ran = site.run("deploy --probe -o json").exits(0);
    for host in 1..=3 {
        assert_ne!(site.pid(host), pids[host - 1], "{} was not restarted", node(host));
    }
    let rolling = probed(&ran);
    assert_eq!(rolling["failed"], 0, "{rolling}");
    assert!(rolling["writes"].as_u64() > Some(20) && rolling["leader_changes"].as_u64() >= Some(1), "{rolling}");
    assert_eq!(keys(&members), "");
    assert_eq!(members.etcdctl(1, "lease list"), "found 0 leases");

    // Without a quorum writes fail, each in its time, and the run ends as it would have.
    site.write_file("wait.yaml", WAIT);
    let run = site.start("run wait.yaml --probe -o json");
    eventually("the probe writes", Duration::from_secs(20), || !keys(&members).is_empty());
    for host in [2, 3] {
        site.lab.read(&node(host), "systemctl stop etcd");
    }
    let ran = run.wait().exits(0);
    let lost = probed(&ran);
    assert!(lost["failed"].as_u64() > Some(0), "{lost}");
    assert!(lost["retried"].as_u64() >= lost["failed"].as_u64(), "{lost}");
    assert!(lost["longest_gap"].as_f64() > Some(1.0), "{lost}");
    assert_eq!(lost["during"], "node01 command", "{lost}");
    assert!(ran.took < Duration::from_secs(25), "{ran:?}");
    let ran = site.run("run wait.yaml --probe").exits(0);
    assert!(ran.stderr.contains("probe: no member took a write\n"), "{ran:?}");
    for host in [2, 3] {
        site.lab.read(&node(host), "systemctl start etcd");
    }
    site.run("deploy").exits(0);

    // A run that is killed leaves its key, but not for long; so does one that ended without a quorum.
    let left = keys(&members);
    let run = site.start("run wait.yaml --probe");
    let another = || keys(&members).lines().any(|key| !left.contains(key));
    eventually("the probe writes", Duration::from_secs(20), another);
    run.signal("KILL");
    drop(run);
    eventually("the key is gone", Duration::from_secs(120), || keys(&members).is_empty());
    assert_eq!(members.etcdctl(1, "lease list"), "found 0 leases");
}
