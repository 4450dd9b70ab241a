//! What `health` says of members that are well, and of those that are not.

use crate::deploy::strangers_certificate;
use crate::members::Members;
use crate::site::{Site, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

pub fn health_says_how_every_member_is_and_why() {
    let site = Site::up(3);
    // Before there is anything.
    site.run("health").exits(1).says(&["there are no usable certificates in", "`etcd-ha deploy` makes them"]);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    // By id; etcd writes ids without leading zeros, so they are sorted as numbers.
    let mut ids = BTreeMap::new();
    for line in members.etcdctl(1, "member list").lines() {
        let fields: Vec<_> = line.split(", ").collect();
        ids.insert(fields[0].to_owned(), fields[4].to_owned());
    }

    let mut sorted: Vec<_> = ids.keys().map(|id| u64::from_str_radix(id, 16).unwrap()).collect();
    sorted.sort_unstable();
    let all: String = sorted
        .iter()
        .map(|id| format!("member {id:x} is healthy: got healthy result from {}\n", ids[&format!("{id:x}")]))
        .collect();
    for words in ["health", "health --direct"] {
        let ran = site.run(words).exits(0);
        assert_eq!((ran.stdout, ran.stderr), (format!("{all}cluster is healthy\n"), String::new()), "{words}");
    }

    let ran = site.run("health -o json").exits(0);
    let json: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json.len(), 4);
    for (line, id) in json.iter().zip(&sorted) {
        assert_eq!(line["member"], format!("{id:x}"));
        assert_eq!(line["endpoint"], ids[&format!("{id:x}")].as_str());
        assert_eq!((&line["healthy"], &line["version"]), (&Value::from(true), &Value::from("3.5.16")));
    }
    assert_eq!(json.iter().filter(|line| line["leader"] == true).count(), 1);
    let cluster = r#"{"v":1,"cluster":"healthy","healthy_members":3,"members":3,"problems":[]}"#;
    assert_eq!(ran.stdout.lines().last().unwrap(), cluster);

    one_member_is_ill(&site, &members);
}

fn one_member_is_ill(site: &Site, members: &Members<'_>) {
    let url = members.endpoint(2);
    let degraded = "cluster is degraded: 2 of 3 members healthy, quorum is 2";
    let well = || eventually("healthy again", Duration::from_secs(20), || site.run("health").code == Some(0));

    site.lab.read("node02", "systemctl stop etcd");
    for words in ["health", "health --direct"] {
        site.run(words).exits(3).says(&[&format!("is unreachable: no result from {url}: tcp: "), degraded]);
    }
    let ran = site.run("health -o json").exits(3);
    let ill =
        ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|l| l["host"] == "node02");
    let ill = ill.unwrap();
    assert!(ill["healthy"] == false && ill["cause"].as_str().unwrap().starts_with("tcp: "), "{ill}");
    site.lab.read("node02", "systemctl start etcd");
    well();

    // The process is there and the kernel answers for it, but it does not.
    site.lab.read("node02", "systemctl kill -s STOP etcd");
    let ran = site
        .run("health --timeout 2")
        .exits(3)
        .says(&[&format!("no result from {url}: no answer to `connect` within 2 s"), degraded]);
    assert!(ran.took < Duration::from_secs(15), "{ran:?}");
    site.lab.read("node02", "systemctl kill -s CONT etcd");
    well();

    let known = fs::read_to_string(site.path("known_hosts")).unwrap();
    let key = |host: usize| {
        let line = known.lines().find(|line| line.starts_with(&format!("{} ", site.lab.address(host)))).unwrap();
        line.split_once(' ').unwrap().1
    };
    fs::write(site.path("known_hosts"), known.replace(key(2), key(3))).unwrap();
    site.run("health").exits(3).says(&[
        &format!(
            "is unreachable: no result from {url}: ssh: host `node02`: the host key of `{}:22` has changed",
            site.lab.address(2)
        ),
        degraded,
    ]);
    // No tunnel is needed for this.
    site.run("health --direct").exits(0);
    fs::write(site.path("known_hosts"), &known).unwrap();

    site.lab.run(&["cut", "node02"]);
    let ran = site.run("health").exits(3).says(&[&format!("no result from {url}: ssh: "), degraded]);
    assert!(ran.took < Duration::from_secs(15), "{ran:?}");
    site.lab.run(&["heal", "node02"]);
    well();

    // A member that shows a certificate of somebody else.
    let (certificate, key) = strangers_certificate(&site.path("stranger"));
    let put = |file: &str, content: &str| {
        let content = content.replace('\n', "\\n");
        site.lab.read("node02", &format!("cd /etc/etcd/ssl; cp {file} /root/; printf '%b' '{content}' >{file}"));
    };
    put("server.pem", &fs::read_to_string(certificate).unwrap());
    put("server-key.pem", &fs::read_to_string(key).unwrap());
    site.run("health").exits(3).says(&[&format!("no result from {url}: tls: "), degraded]);
    site.lab.read(
        "node02",
        "cat /root/server.pem >/etc/etcd/ssl/server.pem; cat /root/server-key.pem >/etc/etcd/ssl/server-key.pem",
    );
    site.run("health").exits(0);

    // Without a quorum.
    site.lab.read("node01", "systemctl stop etcd");
    site.lab.read("node03", "systemctl stop etcd");
    let unhealthy = "cluster is unhealthy: 0 of 3 members healthy, quorum is 2";
    site.run("health").exits(3).says(&[unhealthy]);
    // That it has lost its leader the last one notices after an election timeout.
    eventually("no leader", Duration::from_secs(20), || {
        site.run("health --timeout 2").exits(3).says(&[unhealthy]).stdout.contains(&format!("from {url}: no leader"))
    });
    site.lab.read("node01", "systemctl start etcd");
    site.lab.read("node03", "systemctl start etcd");
    well();
    members.assert_whole();
}

/// A database that is full: `health` says so, and no member is touched.
pub fn an_alarm_is_told_and_keeps_the_gate_shut() {
    let site = Site::up(3);
    let mut inventory = site.inventory(1..=3);
    inventory.settings = "quota-backend-bytes: 16777216".to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    let fill = "head -c 700000 /dev/zero | tr '\\0' x >/tmp/big; for i in $(seq 40); do CTL put big/$i </tmp/big || break; done 2>&1 | grep -c OK";
    let written = site.lab.exec("node01", &fill.replace("CTL", &members.etcdctl_line(1)));
    assert!(written.status.success(), "{written:?}");
    site.run("health").exits(3).says(&["alarm NOSPACE"]);
    let ran = site.run("explain").exits(3).says(&[
        "the database has reached its quota, and the cluster refuses writes",
        "of its quota of 16.0 MiB",
        "etcd-ha ctl -i lab.yaml -- alarm disarm",
    ]);
    let compact = ran.stdout.lines().find_map(|line| line.trim().strip_prefix("etcd-ha ctl -i lab.yaml -- compact "));
    assert!(compact.is_some_and(|revision| revision.parse::<u64>().is_ok_and(|revision| revision > 1)), "{ran:?}");
    let pids: Vec<_> = (1..=3).map(|host| site.pid(host)).collect();
    inventory.settings = "quota-backend-bytes: 33554432".to_owned();
    site.write(&inventory);
    let ran = site.run("deploy --health-timeout 5");
    assert!(ran.code == Some(4) || ran.code == Some(3), "{ran:?}");
    let _ = ran.says(&["alarm NOSPACE"]);
    assert_eq!((1..=3).map(|host| site.pid(host)).collect::<Vec<_>>(), pids, "a member was restarted");
}
