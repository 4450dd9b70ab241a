//! `check` of hosts that cannot be reached; what it says of others is a test beside its text, and the lab's.

use super::{Desk, json, said};
use serde_json::json;

/// What is said of node0N.
fn unreached(number: u32) -> String {
    format!(
        "node0{number}\n  failed   connection  host `node0{number}`: `127.0.0.1:{number}` refused the connection \
         (it can be logged in to; etcd-ha)\n                       hint: check that sshd runs there and listens on port {number}\n\n"
    )
}

#[test]
fn hosts_that_cannot_be_reached() {
    let desk = Desk::with_inventory();
    let all = [unreached(1), unreached(2), unreached(3), "check: 3 hosts, 0 ok, 0 warnings, 3 failed\n".to_owned()];
    assert_eq!(desk.run("check -i prod.yaml"), said(1, &all.concat(), ""));
    // Only those that are named are asked.
    let one = unreached(2) + "check: 1 host, 0 ok, 0 warnings, 1 failed\n";
    assert_eq!(desk.run("check -i prod.yaml --limit node02 --no-disk"), said(1, &one, ""));
    let ended = desk.run("-o json check -i prod.yaml --limit node01,node03");
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""));
    let lines = json(&ended.stdout);
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[1],
        json!({
            "v": 1, "host": "node03", "subject": "connection", "verdict": "failed",
            "measured": "host `node03`: `127.0.0.1:3` refused the connection", "numbers": {},
            "threshold": "it can be logged in to", "source": "etcd-ha", "url": null,
            "hint": "check that sshd runs there and listens on port 3",
        })
    );
    assert_eq!(lines[2], json!({ "v": 1, "check": "failed", "hosts": 2, "ok": 0, "warnings": 0, "failed": 2 }));
    assert!(desk.logs().is_empty());
    assert_eq!(desk.names(), ["prod.yaml"]);
}

#[test]
fn hosts_that_are_not_in_the_inventory() {
    let desk = Desk::with_inventory();
    assert_eq!(
        desk.run("check -i prod.yaml --limit node04"),
        said(2, "", "error: there is no host `node04` in the inventory\n\nhint: did you mean `node01`?\n")
    );
}
