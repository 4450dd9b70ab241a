//! What asks, prints and begins: `init`, `schema`, `playbook`, `certs show`, `health`.

use super::{Desk, json, said};
use etcd_ha::etcd::lint::Rules;
use etcd_ha::inventory::{Inventory, json_schema};
use etcd_ha::playbook::embedded;
use serde_json::Value;
use std::path::PathBuf;

#[test]
fn a_starter_inventory() {
    let desk = Desk::new();
    let line = "init --cluster prod --host 10.19.0.55 --host second=10.19.0.56 --host fd00::57";
    assert_eq!(
        desk.run(line),
        said(
            0,
            "",
            "wrote prod.yaml and etcd-ha.schema.json\n\
             next: look through it, then `etcd-ha plan -i prod.yaml` and `etcd-ha deploy -i prod.yaml`\n"
        )
    );
    assert_eq!(desk.names(), ["etcd-ha.schema.json", "prod.yaml"]);
    assert_eq!(desk.read("etcd-ha.schema.json"), json_schema());
    let inventory = Inventory::load(&desk.path("prod.yaml"), &Rules).unwrap();
    let hosts: Vec<(&str, &str)> =
        inventory.hosts.iter().map(|host| (host.name.as_str(), host.address.as_str())).collect();
    assert_eq!(hosts, [("node01", "10.19.0.55"), ("second", "10.19.0.56"), ("node03", "fd00::57")]);

    // It never overwrites.
    let before = desk.read("prod.yaml");
    assert_eq!(
        desk.run("init --cluster prod --host 10.19.0.99"),
        said(
            2,
            "",
            "error: cannot write `prod.yaml`\n  caused by: File exists (os error 17)\n\n\
             hint: nothing was overwritten; give another name with --file\n"
        )
    );
    assert_eq!(desk.read("prod.yaml"), before);
    assert_eq!(
        desk.run("init --cluster prod --host 10.19.0.99 --file other.yaml"),
        said(
            0,
            "",
            "warning: 1 member tolerates no failure: while its host is down, so is the cluster\n\
             wrote other.yaml\n\
             next: look through it, then `etcd-ha plan -i other.yaml` and `etcd-ha deploy -i other.yaml`\n"
        )
    );
    // What `init` wrote for that path is what it prints.
    let printed = desk.run("init --cluster prod --host 10.19.0.99 --file -");
    assert_eq!(printed, said(0, &desk.read("other.yaml"), ""));
}

#[test]
fn a_starter_inventory_that_would_be_refused_is_not_written() {
    let desk = Desk::new();
    for (line, want) in [
        ("init --cluster prod --host 10.19.0.300", "`10.19.0.300` is not an IPv4 address"),
        ("init --cluster prod --host 10.19.0.55:2379", "address `10.19.0.55:2379` has a port"),
        ("init --cluster prod --host 10.19.0.55 --host 10.19.0.55", "two hosts have the address `10.19.0.55`"),
        ("init --cluster prod --host a=10.19.0.55 --host a=10.19.0.56", "two hosts are named `a`"),
        ("init --cluster pr/od --host 10.19.0.55", "`pr/od` is not a cluster name"),
        ("init --cluster prod --host =10.19.0.55", "expected a value, found an empty one"),
        ("init --cluster prod --host node01=", "expected a value, found an empty one"),
    ] {
        let ended = desk.run(line);
        assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{line}");
        assert!(ended.stderr.starts_with("error: inventory `"), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(want), "{line}: {}", ended.stderr);
    }
    assert_eq!(desk.names(), Vec::<String>::new());
    assert_eq!(
        desk.run("init --cluster prod --host 10.19.0.55 --file nowhere/prod.yaml").stderr,
        "error: cannot write `nowhere/prod.yaml`\n  caused by: No such file or directory (os error 2)\n\n\
         hint: make its folder first\n"
    );
}

#[test]
fn the_schema() {
    let ended = Desk::new().run("schema");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    let schema: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], serde_json::json!(["cluster", "hosts"]));
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn the_playbooks() {
    assert_eq!(
        Desk::new().run("playbook"),
        said(0, "deploy\ndestroy\ndestroy-data\nrestart\nrollback\nstart\nstop\nstop-some\n", "")
    );
    assert_eq!(Desk::new().run("playbook deploy"), said(0, embedded("deploy").unwrap(), ""));
}

#[test]
fn certificates() {
    let desk = Desk::with_inventory();
    let empty = desk.run("certs show -i prod.yaml");
    assert_eq!(empty, said(0, "there are no certificates in prod.pki yet; `etcd-ha deploy` makes them\n", ""));
    assert_eq!(desk.run("-o json certs show -i prod.yaml"), said(0, "", ""));
    desk.make_certificates();
    let shown = desk.run("certs show -i prod.yaml");
    assert_eq!((shown.status, shown.stderr.as_str()), (0, ""));
    let rows: Vec<Vec<&str>> = shown.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["FILE", "SUBJECT", "NAMES", "ISSUER", "DAYS", "LEFT"]);
    let files: Vec<&str> = rows[1..].iter().map(|row| row[0]).collect();
    assert_eq!(
        files,
        [
            "ca.pem",
            "admin.pem",
            "node01-peer.pem",
            "node01-server.pem",
            "node02-peer.pem",
            "node02-server.pem",
            "node03-peer.pem",
            "node03-server.pem"
        ]
    );
    for name in ["192.0.2.2", "node02", "localhost", "127.0.0.1", "::1"] {
        assert!(rows[5].contains(&name), "{:?}", rows[5]);
    }
    for row in &rows[1..] {
        let days: u32 = row.last().unwrap().parse().unwrap();
        assert!((3640..=3650).contains(&days), "{row:?}");
    }
    assert!(!shown.stdout.contains("PRIVATE"));
    let lines = json(&desk.run("-o json certs show -i prod.yaml").stdout);
    assert_eq!(lines.len(), 8);

    // One that is damaged is told, and the program says so by its exit code.
    let damaged = desk.path("prod.pki/node02-peer.pem");
    std::fs::write(&damaged, "no certificate").unwrap();
    let shown = desk.run("certs show -i prod.yaml");
    assert_eq!((shown.status, shown.stderr.as_str()), (1, ""));
    let last = shown.stdout.lines().last().unwrap();
    assert!(last.starts_with("prod.pki/node02-peer.pem: "), "{last}");
}

#[test]
fn the_status_of_hosts_that_cannot_be_reached() {
    let desk = Desk::with_inventory();
    let table = "\
MEMBER  ROLE  STATE        VERSION  DB  LAG  CERTS  RTT  DRIFT
node01  -     unreachable  -        -   -    -      -    -
node02  -     unreachable  -        -   -    -      -    -
node03  -     unreachable  -        -   -    -      -    -
";
    let hosts = "node01: host `node01`: `127.0.0.1:1` refused the connection
node02: host `node02`: `127.0.0.1:2` refused the connection
node03: host `node03`: `127.0.0.1:3` refused the connection
";
    let asked = |head: &str, problem: &str| format!("cluster prod: {head}\n\n{table}\n{problem}{hosts}");
    assert_eq!(
        desk.run("status -i prod.yaml"),
        said(
            3,
            &asked(
                "the members were not asked",
                "the members were not asked: there are no usable certificates in `prod.pki`\n"
            ),
            "hint: `etcd-ha plan -i prod.yaml` says what `deploy` would do\n"
        )
    );
    desk.make_certificates();
    assert_eq!(
        desk.run("status -i prod.yaml"),
        said(
            3,
            &asked("unhealthy, 0 of 3 voters, no quorum (2 needed)", ""),
            "hint: `etcd-ha explain -i prod.yaml` says why\n"
        )
    );
    for line in ["status -i prod.yaml -o json", "-o json status -i prod.yaml"] {
        let ended = desk.run(line);
        assert_eq!((ended.status, ended.stderr.as_str()), (3, ""), "{line}");
        let mut all = json(&ended.stdout);
        assert_eq!(all.len(), 1, "{line}");
        assert!(all[0]["time"].as_str().unwrap().ends_with('Z'));
        all[0]["time"] = Value::Null;
        let member = &all[0]["members"][0];
        assert_eq!(
            *member,
            serde_json::json!({
                "member": "node01", "id": null, "endpoint": "https://192.0.2.1:2379", "role": "-",
                "state": "unreachable", "cause": "host `node01`: `127.0.0.1:1` refused the connection", "unit": null,
                "version": null, "db_size": null, "db_in_use": null, "db_quota": null, "raft_term": null,
                "raft_index": null, "raft_applied_index": null, "raft_lag": null, "disk_free": null, "alarms": [], "certificate": null,
                "round_trip_ms": null, "drift": null,
            })
        );
        all[0]["members"] = Value::Null;
        assert_eq!(
            all[0],
            serde_json::json!({
                "v": 1, "time": null, "cluster": "prod", "health": "unhealthy", "voters": 3, "healthy_members": 0,
                "quorum": 2, "leader": null, "raft_term": null, "problems": [], "members": null,
            })
        );
    }
    let ended = desk.run("status -i prod.yaml -o yaml");
    assert_eq!((ended.status, ended.stderr.as_str()), (3, ""));
    assert!(ended.stdout.contains("\ncluster: prod\nhealth: unhealthy\nvoters: 3\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\nmembers:\n- member: node01\n  id: null\n"), "{}", ended.stdout);
    assert_eq!(desk.logs(), Vec::<PathBuf>::new());
}

#[test]
fn health_without_certificates() {
    let desk = Desk::with_inventory();
    let words = "error: there are no usable certificates in `prod.pki`\n\n\
                 hint: `etcd-ha deploy` makes them; on another controller, copy the PKI folder from the one that deployed\n";
    assert_eq!(desk.run("health -i prod.yaml"), said(1, "", words));
    assert_eq!(desk.run("-o json health -i prod.yaml"), said(1, "", words));
    assert_eq!(desk.names(), ["prod.yaml"]);
}

#[test]
fn health_of_members_that_cannot_be_reached() {
    let desk = Desk::with_inventory();
    desk.make_certificates();
    let ended = desk.run("health -i prod.yaml --timeout 2");
    let member = |n: u32| {
        format!(
            "member of node0{n} is unreachable: no result from https://192.0.2.{n}:2379: \
             ssh: host `node0{n}`: `127.0.0.1:{n}` refused the connection\n"
        )
    };
    let cluster = "cluster is unhealthy: 0 of 3 members healthy, quorum is 2\n";
    let hint = "hint: `etcd-ha explain -i prod.yaml` says why, and what to do\n";
    assert_eq!(ended, said(3, &[&member(1), &member(2), &member(3), cluster].map(String::from).concat(), hint));
    let ended = desk.run("-o json health -i prod.yaml --timeout 2");
    assert_eq!((ended.status, ended.stderr.as_str()), (3, ""));
    let lines = json(&ended.stdout);
    assert_eq!(
        lines[0],
        serde_json::json!({
            "v": 1, "member": null, "host": "node01", "endpoint": "https://192.0.2.1:2379", "healthy": false,
            "cause": "ssh: host `node01`: `127.0.0.1:1` refused the connection", "leader": null, "learner": null,
            "version": null, "raft_term": null, "raft_index": null, "raft_applied_index": null, "db_size": null,
        })
    );
    assert_eq!(
        lines[3],
        serde_json::json!({ "v": 1, "cluster": "unhealthy", "healthy_members": 0, "members": 3, "problems": [] })
    );
    // A question leaves no log, and changes nothing.
    assert_eq!(desk.logs(), Vec::<PathBuf>::new());
}

#[test]
fn explain_without_certificates() {
    let desk = Desk::with_inventory();
    let words = "error: there are no usable certificates in `prod.pki`\n\n\
                 hint: `etcd-ha deploy` makes them; on another controller, copy the PKI folder from the one that deployed\n";
    assert_eq!(desk.run("explain -i prod.yaml"), said(1, "", words));
    assert_eq!(desk.names(), ["prod.yaml"]);
}

#[test]
fn explain_of_hosts_that_cannot_be_reached() {
    let desk = Desk::with_inventory();
    desk.make_certificates();
    let words = "cluster prod is unhealthy: 0 of 3 members healthy, quorum is 2

1. none of the 3 hosts can be reached over SSH; how the members are is not known
   because: host `node01`: `127.0.0.1:1` refused the connection
   because: host `node02`: `127.0.0.1:2` refused the connection
   because: host `node03`: `127.0.0.1:3` refused the connection
   do: see first to what they share: this machine's network, VPN, jump host, and
       SSH key
       check that sshd runs there and listens on port 1
       check that sshd runs there and listens on port 2
       check that sshd runs there and listens on port 3
";
    assert_eq!(desk.run("explain -i prod.yaml"), said(3, words, ""));
    let ended = desk.run("-o json explain -i prod.yaml");
    assert_eq!((ended.status, ended.stderr.as_str()), (3, ""));
    let lines = json(&ended.stdout);
    assert_eq!(
        (&lines[0]["kind"], &lines[0]["fault"], &lines[0]["host"]),
        (&Value::from("unreachable"), &Value::from(true), &Value::Null)
    );
    assert_eq!(
        lines[1],
        serde_json::json!({
            "v": 1, "cluster": "cluster prod is unhealthy: 0 of 3 members healthy, quorum is 2", "well": false, "findings": 1,
        })
    );
    assert_eq!(desk.logs(), Vec::<PathBuf>::new());
}
