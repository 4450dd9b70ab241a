//! `check` on hosts that are well, on hosts with a trap each, and that it leaves nothing behind.

use crate::members::{Members, node};
use crate::site::{Site, assert_untouched, eventually};
use serde_json::Value;
use std::time::Duration;

/// A finding of a host, as JSON has it.
#[track_caller]
fn finding<'a>(lines: &'a [Value], host: &str, subject: &str) -> &'a Value {
    let found = lines.iter().find(|line| line["host"] == host && line["subject"] == subject);
    found.unwrap_or_else(|| panic!("nothing of {subject} on {host}"))
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn hosts_are_measured_and_traps_are_found_and_nothing_is_left() {
    let site = Site::up(3);
    let before: Vec<String> = (1..=3).map(|number| site.manifest(number)).collect();
    fresh_hosts_are_fit(&site);
    for (number, before) in (1..).zip(&before) {
        assert_untouched(before, &site.manifest(number));
        let left = "find / -xdev -name '.etcd-ha-check*'; ps -eo args | grep '[s]ystemd-socket-activate' || true; \
                    systemctl list-units --all --no-legend 'run-*.service'";
        assert_eq!(site.lab.read(&node(number), left), "", "{}", node(number));
    }
    traps(&site);
    the_cluster_is_disturbed_by_nothing(&site);
}

fn fresh_hosts_are_fit(site: &Site) {
    let ran = site.run("check").exits(0);
    assert_eq!(ran.stderr, "");
    let last = ran.stdout.lines().last().unwrap();
    assert!(last.starts_with("check: 3 hosts, ") && last.ends_with(" 0 failed"), "{last}");
    ran.says(&[
        "  ok       memory         ",
        "  ok       ports          2380 and 2379 are free",
        "  FROM / TO  node01  node02  node03",
        "  heartbeat-interval: ",
    ]);
    let all = lines(&site.run("check -o json").exits(0).stdout);
    for number in 1..=3 {
        let disk = finding(&all, &node(number), "disk");
        let (p50, p99) = (disk["numbers"]["p50_ms"].as_f64().unwrap(), disk["numbers"]["p99_ms"].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99 && disk["numbers"]["writes"].as_u64().unwrap() > 10, "{disk}");
        for subject in ["peer ports", "client ports"] {
            let found = finding(&all, &node(number), subject);
            assert_eq!(found["verdict"], "ok", "{found}");
        }
        // Of what the kernel itself says there.
        let memory =
            site.lab.read(&node(number), "while read -r k v _; do [ $k != MemTotal: ] || echo $v; done </proc/meminfo");
        assert_eq!(finding(&all, &node(number), "memory")["numbers"]["bytes"], memory.parse::<u64>().unwrap() * 1024);
    }
    let ways: Vec<&Value> = all.iter().filter(|line| line["port"] == "peer").collect();
    assert_eq!(ways.len(), 6);
    for way in ways {
        assert!(way["reached"] == true && way["round_trip_ms"].as_f64().unwrap() < 500.0, "{way}");
    }
}

fn traps(site: &Site) {
    let on = |number, script: &str| site.lab.read(&node(number), script);
    // Taken, in memory only and not to be run from, and a firewall's part is played by a route into nowhere.
    on(
        1,
        "systemd-run --quiet --unit=taker systemd-socket-activate -l 2379 cat; \
           while ! ss -Hltn | grep -q :2379; do sleep 0.05; done",
    );
    on(
        2,
        "mkdir -p /var/lib/etcd /opt/etcd; mount -t tmpfs -o size=1g tmpfs /var/lib/etcd; \
           mount --bind /opt/etcd /opt/etcd; mount -o remount,bind,noexec /opt/etcd",
    );
    site.lab.run(&["kill", "node03"]);
    let ran = site.run("check -o json --no-disk").exits(1);
    let all = lines(&ran.stdout);
    for (host, subject, words) in [
        ("node01", "ports", "something else listens on the client port 2379"),
        ("node02", "data dir", "tmpfs on /var/lib/etcd: the member's data is gone at the next boot"),
        ("node02", "install dir", "noexec: etcd could not be run from there"),
        ("node03", "connection", "node03"),
    ] {
        let found = finding(&all, host, subject);
        assert_eq!(found["verdict"], "failed", "{found}");
        assert!(found["measured"].as_str().unwrap().contains(words), "{found}");
    }
    assert_eq!(finding(&all, "node02", "peer ports")["verdict"], "ok");
    assert!(!all.iter().any(|line| line["subject"] == "disk"), "its disk was measured");
    let last = all.last().unwrap();
    assert_eq!((&last["check"], &last["hosts"]), (&Value::from("failed"), &Value::from(3)));

    // A port that one host alone does not reach.
    on(1, "systemctl stop taker");
    on(2, "umount /opt/etcd /var/lib/etcd; rmdir /opt/etcd /var/lib/etcd");
    let address = site.lab.address(2);
    on(1, &format!("ip route add unreachable {address}/32"));
    let ran = site.run("check --limit node01,node02 --no-disk").exits(1);
    let not = format!("0 of 1 reached, not `node02` at {address}:2380: ");
    ran.says(&[
        &format!("  failed   peer ports     {not}"),
        "hint: open the peer port between the hosts in the firewall",
    ]);
    on(1, &format!("ip route del unreachable {address}/32"));
    site.lab.run(&["start", "node03"]);
}

fn the_cluster_is_disturbed_by_nothing(site: &Site) {
    site.run("deploy").exits(0);
    let pids: Vec<u32> = (1..=3).map(|number| site.pid(number)).collect();
    let ran = site.run("check -o json").exits(0);
    let all = lines(&ran.stdout);
    for number in 1..=3 {
        assert_eq!(finding(&all, &node(number), "ports")["measured"], "2380 and 2379 are its member's");
        assert_eq!(finding(&all, &node(number), "data")["measured"], "there, and of this cluster");
        assert_eq!(finding(&all, &node(number), "certificates")["verdict"], "ok");
        assert_eq!(finding(&all, &node(number), "peer ports")["verdict"], "ok");
        assert_eq!(on_disk(site, number), "member");
    }
    assert_eq!(pids, (1..=3).map(|number| site.pid(number)).collect::<Vec<_>>());
    site.run("health").exits(0);
}

fn on_disk(site: &Site, number: usize) -> String {
    site.lab.read(&node(number), "ls -A /var/lib/etcd")
}

/// etcd turns a peer away that its certificate does not name, by address or by what a name of it resolves to; and all
/// members say that they are healthy.
pub fn a_host_that_connects_from_a_second_address_has_it_in_its_certificates() {
    let site = Site::up(3);
    let [first, second, third] = [1, 2, 3].map(|number| site.lab.address(number));
    let other = format!("{}.156", second.rsplit_once('.').unwrap().0);
    let peers = format!("for peer in {first} {third}; do ip route");
    let set = format!("ip address add {other}/24 dev eth0; {peers} add $peer dev eth0 src {other}; done");
    let heal = format!("{peers} del $peer dev eth0; done; ip address del {other}/24 dev eth0");
    let stranger = format!("host `node02` comes to `node01` from {other}, which its certificate does not name");
    // Where etcd listens already, the routes are all there is to tell.
    let doubt =
        format!("by its routes host `node02` would come to `node01` from {other}, which its certificate does not");
    let hint = format!("if `node02` may come from {other}, add that to its `extra_names`");
    site.lab.read("node02", &set);
    let ran = site.run("check --no-disk").exits(1);
    let ran = ran.says(&["  failed   peer ports     2 of 2 reached, ", &stranger, &hint]);
    ran.never_says(&["open the peer port"]);
    site.run("deploy").exits(1).says(&["controller check_peers: failed: ", &stranger, &hint]);
    // A name that resolves to it will do, on every host that is called.
    for host in ["node01", "node03"] {
        site.lab.read(host, &format!("cp -a /etc/hosts /root/; echo {other} node02 >>/etc/hosts"));
    }
    site.run("check --no-disk").exits(0);
    for host in ["node01", "node03"] {
        site.lab.read(host, "cp -a /root/hosts /etc/hosts");
    }

    // The rule is etcd's own.
    site.lab.read("node02", &heal);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.assert_whole();
    let turned_away = || {
        let count = format!("journalctl -u etcd | grep -c 'tls: .*{other}.* does not match' || true");
        site.lab.read("node01", &count).parse::<u32>().unwrap()
    };
    assert_eq!(turned_away(), 0);
    site.lab.read("node02", &format!("{set}; systemctl restart etcd"));
    eventually("node02 is turned away", Duration::from_secs(20), || turned_away() > 0);
    site.run("health").exits(0);
    site.run("check --no-disk").exits(0).says(&["  warning  peer ports     2 of 2 reached, ", &doubt, &hint]);
    let told = format!("node02: its certificate does not name {other}");
    site.run("explain").exits(3).says(&[&told, &format!("if node02 connects from {other} on purpose")]);
    let mut inventory = site.inventory(1..=3);
    inventory.settings = "heartbeat-interval: 150".to_owned();
    site.write(&inventory);
    site.run("plan").exits(0).says(&[&doubt, &hint]);
    site.run("deploy").exits(0).says(&["warning: ", &doubt, &hint]);

    inventory.hosts[1].2 = format!("extra_names: [{other}]");
    site.write(&inventory);
    site.run("deploy").exits(0);
    members.assert_whole();
    site.run("check --no-disk").exits(0);
    site.run("explain").exits(0);
    let before = turned_away();
    site.lab.read("node02", "systemctl restart etcd");
    members.assert_whole();
    site.run("check --no-disk").exits(0);
    assert_eq!(turned_away(), before);
}
