//! `logs` and `exec`, as far as they come without hosts.

use super::{Desk, json, said};
use std::path::PathBuf;

#[test]
fn what_cannot_be_meant_is_refused_before_anybody_is_asked() {
    let desk = Desk::with_inventory();
    let forms = "`30m`, `1h`, `2d`, `today`, `10:14` or `2026-11-26T10:14:30Z`";
    let end = "\n\nFor more information, try '--help'.\n";
    for (line, want) in [
        (
            "logs -i prod.yaml --since yesterday",
            format!(
                "error: invalid value 'yesterday' for '--since <WHEN>': {forms} or `boot` is wanted; without an offset it is UTC{end}"
            ),
        ),
        (
            "logs -i prod.yaml --until boot",
            format!(
                "error: invalid value 'boot' for '--until <WHEN>': {forms} is wanted; without an offset it is UTC{end}"
            ),
        ),
        (
            "logs -i prod.yaml --level loud",
            format!(
                "error: invalid value 'loud' for '--level <LEVEL>'\n  [possible values: debug, info, warn, error, panic, fatal]{end}"
            ),
        ),
        (
            "logs -i prod.yaml -f --until 1h",
            "error: the argument '--follow' cannot be used with '--until <WHEN>'\n\n\
             Usage: etcd-ha logs --inventory <FILE> --follow [HOST]...\n\nFor more information, try '--help'.\n"
                .to_owned(),
        ),
        (
            "logs -i prod.yaml node1",
            "error: there is no host `node1` in the inventory\n\nhint: did you mean `node01`?\n".to_owned(),
        ),
        (
            "exec -i prod.yaml node1 -- true",
            "error: there is no host `node1` in the inventory\n\nhint: did you mean `node01`?\n".to_owned(),
        ),
        (
            "exec -i prod.yaml node01",
            "error: the following required arguments were not provided:\n  <COMMAND>...\n\n\
             Usage: etcd-ha exec --inventory <FILE> <HOST>... -- <COMMAND>...\n\nFor more information, try '--help'.\n"
                .to_owned(),
        ),
    ] {
        assert_eq!(desk.run(line), said(2, "", &want), "{line}");
    }
}

#[test]
fn hosts_that_cannot_be_reached_are_named() {
    let desk = Desk::with_inventory();
    let refused = |n: u32| format!("error: host `node0{n}`: `127.0.0.1:{n}` refused the connection\n");
    let hint = |n: u32| format!("hint: check that sshd runs there and listens on port {n}\n");
    let all = format!("{}\n{}", [1, 2, 3].map(refused).concat(), [1, 2, 3].map(hint).concat());
    for line in ["logs -i prod.yaml", "logs -i prod.yaml -f", "-o json logs -i prod.yaml --since 1h"] {
        assert_eq!(desk.run(line), said(1, "", &all), "{line}");
    }
    let refused = |n: u32| refused(n) + &hint(n);
    let all = [1, 2, 3].map(refused).concat();
    let rest = "failed on 3 of 3 hosts: node01 (not run to its end), node02 (not run to its end), \
                node03 (not run to its end)\n";
    assert_eq!(desk.run("exec -i prod.yaml -- true"), said(255, "", &format!("{all}{rest}")));
    assert_eq!(desk.run("exec -i prod.yaml node02 -- true"), said(255, "", &refused(2)));
    let ended = desk.run("-o json exec -i prod.yaml node02 -- true");
    assert_eq!(ended.status, 255);
    assert_eq!(
        json(&ended.stdout),
        [serde_json::json!({
            "v": 1, "host": "node02", "status": null, "error": "host `node02`: `127.0.0.1:2` refused the connection",
            "stdout": "", "stderr": "", "left_out": 0, "seconds": json(&ended.stdout)[0]["seconds"],
        })]
    );
    // A question leaves no log.
    assert_eq!(desk.logs(), Vec::<PathBuf>::new());
}
