//! Two runs never work on one cluster at once.

use crate::broken::make_fresh;
use crate::members::{Members, node};
use crate::site::{Running, Site, assert_untouched, eventually};
use std::time::{Duration, Instant};

const DONE: &str = "done: cluster lab is healthy, 3 of 3 members, ";

/// All at once, as if by twenty people; only one does anything.
pub fn of_twenty_deploys_at_once_one_works() {
    let site = Site::up(3);
    let running: Vec<_> = (0..20).map(|_| site.start("deploy")).collect();
    let ran: Vec<_> = running.into_iter().map(|running| running.wait()).collect();
    let (mut worked, mut told) = (0, 0);
    for ran in ran {
        match ran.code {
            Some(5) => {
                told += 1;
                ran.says(&["another run holds the lock: `etcd-ha deploy` of ", "nothing was touched"]).ends("locked: ");
            }
            // Who comes when the others are through finds nothing to do.
            _ if ran.stderr.ends_with("nothing to do\n") => drop(ran.exits(0)),
            _ => {
                worked += 1;
                ran.exits(0).ends(DONE);
            }
        }
    }
    assert_eq!(worked, 1);
    assert!(told >= 15, "{told}");
    Members::of(&site, 3).assert_whole();
    site.run("lock status").exits(0).says(&["cluster lab: nobody holds the lock, 3 of 3 hosts asked"]);
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
}

/// A deploy that has all the locks, and is still at its upload to node03 when the others have everything.
fn begin(site: &Site) -> Running {
    let running = site.start("deploy");
    at_its_upload(site);
    running
}

fn at_its_upload(site: &Site) {
    let there = |host: &str, what: &str| !site.lab.read(host, &format!("ls -d {what} 2>/dev/null || true")).is_empty();
    eventually("an upload", Duration::from_secs(20), || {
        there("node03", "/opt/etcd/releases/.incoming.*/new/*")
            && ["node01", "node02"].iter().all(|host| there(host, "/etc/etcd/.next/etcd.service"))
    });
}

/// The runs that hold the hosts' locks.
fn holders(site: &Site) -> Vec<String> {
    let holder = |host| site.lab.read(&node(host), "head -n 1 /run/etcd-ha/holder 2>/dev/null || true");
    (1..=3).map(holder).collect()
}

pub fn a_lock_is_told_of_and_goes_with_its_holder() {
    let site = Site::up(3);
    site.lab.run(&["rate", "node03", "8mbit"]);

    // While one is at work the others are told, and whoever only looks is let.
    let running = begin(&site);
    let manifests = || site.manifest(1) + &site.manifest(2);
    let before = manifests();
    let status = site.run("lock status").exits(5);
    assert_eq!(status.stdout.lines().count(), 4, "{status:?}");
    status.says(&["node01  deploy ", "node03  deploy ", " s ago)"]);
    site.run("restart").exits(5).says(&["locked: cluster lab: host `node01`: another run holds the lock"]);
    site.run("plan").exits(0);
    site.run("status").never_says(&["lock"]);
    assert_untouched(&before, &manifests());

    // Killed, it is in nobody's way.
    let before = holders(&site);
    running.signal("KILL");
    let killed = Instant::now();
    running.wait();
    let next = site.start("deploy");
    let entered = |(holder, before): (&String, &String)| !holder.is_empty() && holder != before;
    eventually("the next one enters", Duration::from_secs(5), || holders(&site).iter().zip(&before).all(entered));
    eprintln!("the next run has all locks {:?} after the kill", killed.elapsed());
    at_its_upload(&site);

    // One that hangs can be got rid of, and does nothing more when it goes on: over its old connections, or over new ones.
    let mut next = Some(next);
    for broken in [false, true] {
        let next = next.take().unwrap_or_else(|| {
            site.lab.run(&["rate", "node03", "8mbit"]);
            make_fresh(&site);
            begin(&site)
        });
        next.signal("STOP");
        site.run("lock release").exits(2).says(&["`lock release` asks on the terminal, and there is none"]);
        site.run("lock release --yes").exits(0).says(&["node01: taken away from `etcd-ha deploy` of "]);
        site.run("lock release --yes").exits(0).says(&["nobody holds the lock"]);
        site.lab.run(&["rate", "node03", "off"]);
        if broken {
            site.lab.read("node03", "pkill -KILL -f 'sshd: root@[n]otty'");
        }
        site.run("deploy").exits(0).ends(DONE);
        let pids: Vec<u32> = (1..=3).map(|host| site.pid(host)).collect();
        next.signal("CONT");
        next.wait().exits(5).says(&["this run no longer holds the lock, so it may not go on there"]);
        assert_eq!((1..=3).map(|host| site.pid(host)).collect::<Vec<_>>(), pids);
        Members::of(&site, 3).assert_whole();
        site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
    }
}

/// A playbook whose step stays at work on a host.
const SLOW: &str = r#"
name: slow
plays:
  - name: Wait
    hosts: [node02]
    tasks:
      - command: { argv: [sh, -c, "(sleep 20; touch /run/late) | cat"] }
"#;

pub fn what_a_killed_run_left_at_work_is_ended() {
    let site = Site::up(3);
    site.run("deploy").exits(0).ends(DONE);
    site.write_file("slow.yaml", SLOW);
    let running = site.start("run slow.yaml");
    let at_work = || site.lab.read("node02", "pgrep -fc 'touch /run/[l]ate' || true") != "0";
    eventually("a step at work", Duration::from_secs(10), at_work);
    running.signal("KILL");
    running.wait();
    assert!(at_work());

    let entered = Instant::now();
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
    let entered = entered.elapsed();
    eprintln!("past a step that stays at work after {entered:?}");
    assert!(!at_work() && entered < Duration::from_secs(8), "{entered:?}");
}
