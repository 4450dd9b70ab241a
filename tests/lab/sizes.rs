//! Clusters of other sizes and versions.

use crate::fixture::version_of;
use crate::members::{HEALTH, Members, node, plaintext};
use crate::site::Site;

pub fn five_members_and_one() {
    let site = Site::up(6);
    site.write(&site.inventory(1..=5));
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 5 of 5 members, ");
    let five = Members::of(&site, 5);
    five.assert_whole();
    let health = site.run("health").exits(0).says(&["cluster is healthy"]);
    assert_eq!(health.stdout.lines().count(), 6);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 5 of 5 members, nothing to do");
    // Two may fail.
    for host in [4, 5] {
        site.lab.read(&node(host), "systemctl stop etcd");
    }
    site.run("health").exits(3).says(&["cluster is degraded: 3 of 5 members healthy, quorum is 3"]);
    five.etcdctl(1, "put still works");
    site.run("deploy").exits(0).says(&["node04 start: changed", "node05 start: changed"]);
    five.assert_whole();

    // On the sixth host one of its own.
    let mut one = site.inventory(6..=6);
    one.cluster = "single".to_owned();
    one.sections = "pki: { dir: single.pki }\n".to_owned();
    site.write(&one);
    site.run("deploy").exits(0).says(&["warning"]).ends("done: cluster single is healthy, 1 of 1 members, ");
    let single = Members { hosts: vec![6], pki: site.path("single.pki"), ..Members::of(&site, 6) };
    single.assert_whole();
    site.run("deploy").exits(0).ends("done: cluster single is healthy, 1 of 1 members, nothing to do");
    // A change restarts it, since there is no quorum to keep.
    one.settings = "heartbeat-interval: 120".to_owned();
    site.write(&one);
    single.etcdctl(6, "put before kept");
    site.run("deploy").exits(0);
    assert_eq!(single.etcdctl(6, "get before --print-value-only"), "kept");
    single.assert_whole();
}

pub fn two_members_are_warned_of_and_seven_work() {
    let site = Site::up(9);
    site.write(&site.inventory(1..=7));
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 7 of 7 members, ");
    Members::of(&site, 7).assert_whole();
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 7 of 7 members, nothing to do");

    let mut two = site.inventory(8..=9);
    two.sections = "pki: { dir: two.pki }\n".to_owned();
    site.write(&two);
    site.run("deploy").exits(0).says(&["warning", "2 members"]).ends("done: cluster lab is healthy, 2 of 2 members, ");
    let members = Members { hosts: vec![8, 9], pki: site.path("two.pki"), ..Members::of(&site, 9) };
    members.assert_whole();
    // Neither can spare the other, so that a change takes an outage, and the user says when.
    members.etcdctl(8, "put before kept");
    two.settings = "heartbeat-interval: 140".to_owned();
    site.write(&two);
    let pids = [8, 9].map(|host| site.pid(host));
    site.run("deploy").exits(4).says(&[
        "two members cannot spare one, three can",
        "two members cannot be changed one at a time without an outage: `etcd-ha stop`, then `etcd-ha deploy`",
    ]);
    assert_eq!([8, 9].map(|host| site.pid(host)), pids);
    site.run("stop --yes").exits(0);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 2 of 2 members, ");
    for host in [8, 9] {
        assert_eq!(members.variable(host, "ETCD_HEARTBEAT_INTERVAL").as_deref(), Some("140"));
    }
    assert_eq!(members.etcdctl(9, "get before --print-value-only"), "kept");
    members.assert_whole();
}

/// The oldest and the newest that the lab has, from nothing; and from 3.4 to 3.5.
pub fn other_versions_deploy_and_the_next_minor_is_reached() {
    let site = Site::up(3);
    let (old, new) = (version_of("bookworm"), version_of("trixie"));
    let mut inventory = site.inventory(1..=3);
    inventory.version.clone_from(&old);
    site.write(&inventory);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    let members = Members::of(&site, 3);
    members.assert_whole();
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
    site.run("health").exits(0).says(&["cluster is healthy"]);
    // 3.4 has no etcdutl.
    assert_eq!(site.lab.read("node01", "ls /usr/local/bin"), "etcd\netcdctl");
    members.etcdctl(1, "put before kept");

    inventory.version.clone_from(&new);
    site.write(&inventory);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    members.assert_whole();
    assert_eq!(members.etcdctl(3, "get before --print-value-only"), "kept");
    assert_eq!(site.lab.read("node01", "ls /usr/local/bin"), "etcd\netcdctl\netcdutl");
    for host in 1..=3 {
        let said = members.tls(host, 2379, members.admin(), "GET /version HTTP/1.0\r\n\r\n");
        assert!(said.contains(&format!("\"etcdserver\":\"{new}\"")), "{said}");
    }
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
}

pub fn the_newest_version_deploys() {
    let site = Site::up(3);
    let mut inventory = site.inventory(1..=3);
    inventory.version = version_of("sid");
    site.write(&inventory);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    let members = Members::of(&site, 3);
    members.assert_whole();
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
    site.run("health").exits(0);
}

/// Scripts on a host may go on using http://127.0.0.1:2379; nobody else may.
pub fn plaintext_is_served_on_the_host_alone() {
    let site = Site::up(1);
    let mut inventory = site.inventory(1..=1);
    inventory.etcd = "local_plaintext: true".to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 1 of 1 members, ");
    let members = Members::of(&site, 1);
    members.assert_whole();
    let etcdctl = "ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:2379";
    let said = site.lab.read("node01", &format!("{etcdctl} put plain text; {etcdctl} get plain --print-value-only"));
    assert_eq!(said, "OK\ntext");
    let said = plaintext(&site.lab.address(1), 2379);
    assert!(!said.contains("200 OK") && !said.contains("health\""), "{said}");
    let said = members.tls(1, 2379, members.admin(), HEALTH);
    assert!(said.contains("\"health\":\"true\""), "{said}");
    assert!(!plaintext(&site.lab.address(1), 2380).contains("200 OK"));

    // And away again.
    site.write(&site.inventory(1..=1));
    site.run("deploy").exits(0);
    let said = site.lab.exec("node01", &format!("{etcdctl} --command-timeout=2s get plain"));
    assert!(!said.status.success());
    assert_eq!(members.etcdctl(1, "get plain --print-value-only"), "text");
}
