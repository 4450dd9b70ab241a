//! Hosts that mean harm. They control all that they print and send; the program still ends in time, keeps its memory,
//! its files and its secrets, and shows nothing that could paint a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod deploys;
mod desk;
mod doors;
mod floods;
mod host;
mod member;
mod passwords;
mod screen;
mod sizes;

use desk::{Desk, Ended};
use host::{Attack, Hostile};

/// The commands that ask and change nothing.
const READ_ONLY: &[&str] = &[
    "status -i prod.yaml -o wide",
    "status -i prod.yaml -o json",
    "status -i prod.yaml -o yaml",
    "health -i prod.yaml",
    "explain -i prod.yaml",
    "explain -i prod.yaml -o json",
    "check -i prod.yaml",
    "check -i prod.yaml -o json",
    "logs -i prod.yaml",
    "logs -i prod.yaml -o json",
    "history -i prod.yaml --hosts",
    "history -i prod.yaml --hosts -o json",
    "ctl -i prod.yaml -- version",
    "plan -i prod.yaml",
    "plan -i prod.yaml -o json",
    "certs verify -i prod.yaml",
    "exec -i prod.yaml -o json -- id",
    "lock status -i prod.yaml",
];

/// Commands that act, and get the lock from whoever says that they have it.
const ACTING: &[&str] = &[
    "restart -i prod.yaml --health-timeout 2",
    "start -i prod.yaml --health-timeout 2",
    "stop -i prod.yaml --health-timeout 2",
    "rollback -i prod.yaml --health-timeout 2",
    "lock release -i prod.yaml --yes",
];

/// Runs the program against one host and looks after the secrets.
async fn against(attack: Attack, line: &str) -> (Ended, Hostile) {
    let host = Hostile::start(attack).await;
    let desk = Desk::new(&[host.address], &host.known(), "false");
    let ended = desk.run(line).await;
    // To whom etcdctl's certificate belongs is for the host that runs it.
    let meant: &[&str] = if line.starts_with("ctl") { &["admin-key.pem"] } else { &[] };
    assert_eq!(desk.leaked(&host.got, meant), [""; 0], "{line}");
    (ended, host)
}
