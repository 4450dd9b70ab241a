//! Going back on purpose, and what stands in its way.

use crate::broken::assert_tidy;
use crate::members::{Members, node};
use crate::site::{Inventory, Site, eventually};
use std::time::Duration;

const DONE: &str = "done: cluster lab is healthy, 3 of 3 members, ";

fn deploy(site: &Site, interval: u32) {
    let settings = format!("heartbeat-interval: {interval}");
    site.write(&Inventory { settings, ..site.inventory(1..=3) });
    site.run("deploy").exits(0).ends(DONE);
}

#[track_caller]
fn assert_all_run(members: &Members<'_>, interval: &str) {
    for host in 1..=3 {
        assert_eq!(members.variable(host, "ETCD_HEARTBEAT_INTERVAL").as_deref(), Some(interval), "{}", node(host));
    }
    members.assert_whole();
}

/// Killed in its first turn, once at once and once with the host left to itself: the same command finishes the job.
pub fn a_rollback_killed_in_a_turn_is_finished_by_the_next() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    for (interval, wait) in [(120, false), (140, true)] {
        deploy(&site, interval);
        deploy(&site, interval + 10);
        let first = if members.leader() == 1 { 2 } else { 1 };
        let mut running = site.start("rollback --health-timeout 3");
        running.read_until(&format!("{} activate_previous: changed", node(first)));
        running.signal("KILL");
        running.wait();
        if wait {
            // The member was never restarted, or it was and does well: either way the host comes to rest.
            let armed = "ls /etc/etcd/.previous/unconfirmed 2>/dev/null || true";
            eventually("the host has decided", Duration::from_secs(90), || {
                site.lab.read(&node(first), armed).is_empty()
            });
            site.run("health").exits(0);
        }
        site.run("rollback").exits(0).ends(DONE);
        assert_all_run(&members, &interval.to_string());
        assert_tidy(&site);
        site.run("rollback").exits(0).ends(&format!("{DONE}nothing to do"));
    }
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
}

/// Whoever deploys after a rollback that was broken off wants no more of it, and can still go back later.
pub fn a_deploy_after_a_rollback_that_was_killed_keeps_the_way_back() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    deploy(&site, 120);
    deploy(&site, 130);
    for host in 1..=3 {
        // As a host is that lost its power in the middle: marked, with nothing put yet.
        site.lab.read(
            &node(host),
            "cd /etc/etcd; cp -a .previous old; cp -a etcd.conf /etc/systemd/system/etcd.service .previous/; \
             mv old .previous/target; : >.previous/newer; : >.previous/unconfirmed",
        );
    }
    site.run("rollback --dry-run").exits(0).says(&["go on to what was in force before the last change"]);
    site.run("deploy").exits(0).ends(DONE);
    assert_all_run(&members, "130");
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
    site.run("rollback").exits(0).ends(DONE);
    assert_all_run(&members, "120");
    assert_tidy(&site);
}

/// What was confirmed may still turn out to be bad: going back is what repairs a member that is down.
pub fn a_rollback_repairs_a_member_that_is_down() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    deploy(&site, 120);
    deploy(&site, 130);
    site.lab.read("node02", "echo ETCD_ELECTION_TIMEOUT=1 >>/etc/etcd/etcd.conf; systemctl restart --no-block etcd");
    eventually("the member crashes", Duration::from_secs(30), || {
        site.lab.read("node02", "systemctl show etcd -p NRestarts --value") != "0"
    });
    site.run("restart --limit node03").exits(4).says(&["member `node02` is down"]);
    let ran = site.run("rollback").exits(0).ends(DONE);
    let at = |words: &str| ran.stderr.find(words).unwrap_or_else(|| panic!("{words:?} is not in\n{}", ran.stderr));
    assert!(at("node02 restart: changed: restart etcd: it is down") < at("node01 restart: changed"));
    assert_all_run(&members, "120");
}

/// Who stops a member works on it: its host must not start it because an earlier run left a change unconfirmed.
pub fn a_member_that_was_stopped_stays_stopped() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    for (by_hand, interval) in [(false, 120), (true, 130)] {
        let settings = format!("heartbeat-interval: {interval}");
        site.write(&Inventory { settings, ..site.inventory(1..=3) });
        let first = if members.leader() == 1 { 2 } else { 1 };
        let mut running = site.start("deploy --health-timeout 3");
        running.read_until(&format!("{} activate: changed", node(first)));
        running.signal("KILL");
        running.wait();
        if by_hand {
            site.lab.read(&node(first), "systemctl stop etcd");
        } else {
            eventually("it can be spared", Duration::from_secs(20), || {
                site.run(&format!("stop --limit {}", node(first))).code == Some(0)
            });
        }
        // Past the 3 s and the grace of 30 s.
        std::thread::sleep(Duration::from_secs(40));
        assert_eq!(site.pid(first), 0, "the host started its member, which was stopped");
        site.run("deploy").exits(0).ends(DONE);
        assert_all_run(&members, &interval.to_string());
        assert_tidy(&site);
    }
}
