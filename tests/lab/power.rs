//! Hosts that reboot or lose their power.

use crate::members::{Members, node};
use crate::site::{Site, eventually};
use std::time::Duration;

pub fn members_come_back_by_themselves() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    let healthy = || site.run("health").code == Some(0);
    for host in 1..=3 {
        site.lab.run(&["reboot", &node(host)]);
        eventually("healthy after a reboot", Duration::from_secs(60), healthy);
    }
    members.assert_whole();

    // One host without power: the cause, and soon.
    site.lab.run(&["kill", "node02"]);
    let id = |said: &str| said.split_once("member ").unwrap().1.split_once(' ').unwrap().0.to_owned();
    let ran = site.run("health").exits(3).says(&[
        "cluster is degraded: 2 of 3 members healthy, quorum is 2",
        &format!("no result from {}: ssh: ", members.endpoint(2)),
    ]);
    assert!(ran.took < Duration::from_secs(15), "{ran:?}");
    // The others still know its id.
    let line = ran.stdout.lines().find(|line| line.contains("unreachable")).unwrap();
    assert!(u64::from_str_radix(&id(line), 16).is_ok(), "{line}");
    members.etcdctl(1, "put meanwhile kept");
    // No change may be made now, and what there is goes on.
    let pids = [site.pid(1), site.pid(3)];
    let mut inventory = site.inventory(1..=3);
    inventory.settings = "heartbeat-interval: 150\nelection-timeout: 1500".to_owned();
    site.write(&inventory);
    let ran = site.run("deploy").exits(1).says(&["node02 preflight: failed", &site.lab.address(2)]);
    assert!(ran.took < Duration::from_secs(15), "{ran:?}");
    assert_eq!([site.pid(1), site.pid(3)], pids);
    site.write(&site.inventory(1..=3));

    site.lab.run(&["kill", "node03"]);
    let ran = site.run("health").exits(3).says(&["cluster is unhealthy: 0 of 3 members healthy, quorum is 2"]);
    assert!(ran.took < Duration::from_secs(15), "{ran:?}");

    site.lab.run(&["start", "node02"]);
    site.lab.run(&["start", "node03"]);
    eventually("healthy with power again", Duration::from_secs(60), healthy);
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
    assert_eq!(members.etcdctl(3, "get meanwhile --print-value-only"), "kept");
    members.assert_whole();
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
}
