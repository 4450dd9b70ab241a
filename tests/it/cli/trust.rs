//! `trust`, against SSH servers in this process.

use super::{Desk, Said, json};
use crate::ssh::server::{Behaviour, Server, new_key};
use russh::keys::ssh_key::LineEnding;
use serde_json::{Value, json as value};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Two servers, the second of which is reached through the first, and a host that is not there.
struct Stage {
    desk: Desk,
    servers: [Server; 2],
}

impl Stage {
    async fn new() -> Self {
        let desk = Desk::new();
        let servers = [Server::start(Behaviour::default()).await, Server::start(Behaviour::default()).await];
        let identity = desk.path("id");
        std::fs::write(&identity, new_key().to_openssh(LineEnding::LF).unwrap()).unwrap();
        std::fs::set_permissions(&identity, std::fs::Permissions::from_mode(0o600)).unwrap();
        let stage = Self { desk, servers };
        stage.write_inventory("");
        stage
    }

    /// With further keys for the second host.
    fn write_inventory(&self, second: &str) {
        let [one, two] = [self.port(0), self.port(1)];
        let text = format!(
            "cluster: prod
ssh: {{ config: none, user: ops, identity: ./id, connect_timeout: 3s }}
hosts:
  - {{ name: node01, address: 192.0.2.1, ssh: {{ address: 127.0.0.1, port: {one} }} }}
  - {{ name: node02, address: 192.0.2.2, ssh: {{ address: 127.0.0.1, port: {two}, jump: 127.0.0.1:{one}{second} }} }}
  - {{ name: node03, address: 192.0.2.3, ssh: {{ address: 127.0.0.1, port: 1 }} }}
"
        );
        self.desk.write("prod.yaml", &text);
    }

    fn port(&self, server: usize) -> u16 {
        self.servers[server].address.port()
    }

    fn name(&self, server: usize) -> String {
        format!("[127.0.0.1]:{}", self.port(server))
    }

    fn known_hosts(&self) -> PathBuf {
        self.desk.home.path().join(".ssh/known_hosts")
    }

    fn known(&self) -> String {
        std::fs::read_to_string(self.known_hosts()).unwrap_or_default()
    }

    fn lines(&self) -> String {
        self.servers.iter().map(Server::known_hosts_line).collect()
    }

    fn run(&self, line: &str) -> Said {
        tokio::task::block_in_place(|| self.desk.run(line))
    }

    /// The rows of the tables in `text` as a host has them: `node01 | [127.0.0.1]:1 | ssh-ed25519 | SHA256:… | new`.
    fn rows(text: &str) -> Vec<String> {
        let row = |line: &str| {
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" | ")
        };
        text.lines().map(row).collect()
    }

    fn row(&self, host: &str, server: usize, state: &str) -> String {
        format!("{host} | {} | ssh-ed25519 | {} | {state}", self.name(server), self.servers[server].fingerprint())
    }
}

const HEAD: &str = "HOST | WRITTEN AS | TYPE | FINGERPRINT | STATE";
const LOST: &str = "error: host `node03`: `127.0.0.1:1` refused the connection\n";
const LOST_HINT: &str = "\nhint: check that sshd runs there and listens on port 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_shown_and_written_in_waves() {
    let stage = Stage::new().await;
    // Without anybody to ask nothing is written, and what lies behind an unknown jump host stays unseen.
    let ended = stage.run("trust -i prod.yaml");
    let want = [
        HEAD.to_owned(),
        stage.row("node01", 0, "new"),
        "node03 | - | - | - | not reached".to_owned(),
        HEAD.to_owned(),
        "node02 | - | - | - | not reached".to_owned(),
    ];
    assert_eq!(Stage::rows(&ended.stdout), want);
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.starts_with(LOST), "{}", ended.stderr);
    let behind = format!(
        "error: host `node02`: the jump host before `127.0.0.1:{} through 127.0.0.1` cannot be used: \
         the host key of `127.0.0.1:{}` is unknown: ",
        stage.port(1),
        stage.port(0)
    );
    assert!(ended.stderr.contains(&behind), "{}", ended.stderr);
    let last = "error: nothing was written: 1 host key is new, and nobody was asked\n\n\
                hint: compare the fingerprints with `ssh-keygen -lf` of the keys on the hosts themselves, then say `--yes`, \
                or run it on a terminal\n";
    assert!(ended.stderr.ends_with(last), "{}", ended.stderr);
    assert!(!stage.known_hosts().exists());

    let ended = stage.run("trust -i prod.yaml --yes");
    let want = [
        HEAD.to_owned(),
        stage.row("node01", 0, "new"),
        "node03 | - | - | - | not reached".to_owned(),
        HEAD.to_owned(),
        stage.row("node02", 1, "new"),
    ];
    assert_eq!(Stage::rows(&ended.stdout), want);
    assert_eq!((ended.status, ended.stderr), (1, format!("{LOST}{LOST_HINT}2 of 3 host keys are known\n")));
    assert_eq!(stage.known(), stage.lines());

    // From now on they are known: nobody need be asked.
    let ended = stage.run("trust -i prod.yaml --limit node02,node01");
    let file = stage.known_hosts();
    let want = [
        HEAD.to_owned(),
        stage.row("node01", 0, &format!("known, {}:1", file.display())),
        HEAD.to_owned(),
        stage.row("node02", 1, &format!("known, {}:2", file.display())),
    ];
    assert_eq!(Stage::rows(&ended.stdout), want);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, "2 host keys are known\n"));
    assert_eq!(stage.known(), stage.lines());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // `health` gets as far as the members, of which there are none.
    stage.desk.make_certificates();
    let ended = stage.run("health -i prod.yaml --timeout 3");
    assert!(!ended.stdout.contains("host key") && ended.stdout.contains("node02"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_never_overwritten() {
    let stage = Stage::new().await;
    let other = new_key().public_key().clone();
    let before =
        format!("# mine\n{} {}\n{}", stage.name(1), other.to_openssh().unwrap(), stage.servers[0].known_hosts_line());
    std::fs::create_dir(stage.desk.home.path().join(".ssh")).unwrap();
    std::fs::write(stage.known_hosts(), &before).unwrap();
    let ended = stage.run("trust -i prod.yaml --yes --limit node02");
    let file = stage.known_hosts();
    let other_print = other.fingerprint(russh::keys::HashAlg::Sha256);
    let want = [
        HEAD.to_owned(),
        // The jump host, under the name that the way has for it.
        stage.row("127.0.0.1 (jump host)", 0, &format!("known, {}:3", file.display())),
        HEAD.to_owned(),
        stage.row("node02", 1, &format!("CHANGED: {}:2 has {other_print}", file.display())),
    ];
    assert_eq!(Stage::rows(&ended.stdout), want);
    assert_eq!(ended.status, 1);
    let words = format!("it presents ssh-ed25519 {}, but `{}:2` has", stage.servers[1].fingerprint(), file.display());
    for words in [words.as_str(), &format!("`ssh-keygen -R '{}' -f ", stage.name(1)), "1 of 2 host keys are known\n"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert_eq!(stage.known(), before);

    let revoked = format!(
        "@revoked * {}\n{}",
        stage.servers[1].host_keys[0].to_openssh().unwrap(),
        stage.servers[0].known_hosts_line()
    );
    std::fs::write(stage.known_hosts(), &revoked).unwrap();
    let ended = stage.run("trust -i prod.yaml --yes --limit node02");
    assert_eq!(ended.status, 1);
    assert!(ended.stdout.contains("REVOKED by ") && ended.stderr.contains("is revoked by `"), "{ended:?}");
    assert_eq!(stage.known(), revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_are_held_against_what_is_shown() {
    let stage = Stage::new().await;
    std::fs::create_dir(stage.desk.home.path().join(".ssh")).unwrap();
    std::fs::write(stage.known_hosts(), stage.servers[0].known_hosts_line()).unwrap();
    stage.write_inventory(&format!(", host_key: \"{}\"", stage.servers[1].fingerprint()));
    let ended = stage.run("trust -i prod.yaml --limit node01,node02");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, "2 host keys are known\n"), "{}", ended.stdout);
    assert_eq!(Stage::rows(&ended.stdout)[3], stage.row("node02", 1, "pinned in the inventory"));
    stage.write_inventory(&format!(", host_key: \"{}\"", stage.servers[0].fingerprint()));
    let ended = stage.run("trust -i prod.yaml --yes --limit node01,node02");
    let state = format!("NOT PINNED: the inventory has {}", stage.servers[0].fingerprint());
    assert_eq!(Stage::rows(&ended.stdout)[3], stage.row("node02", 1, &state));
    assert_eq!(ended.status, 1);
    assert_eq!(stage.known(), stage.servers[0].known_hosts_line());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_json_a_host() {
    let stage = Stage::new().await;
    let ended = stage.run("-o json trust -i prod.yaml --yes");
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""));
    let lines = json(&ended.stdout);
    let line = |host: &str, server: usize, state: &str, written: bool, line: usize| {
        value!({
            "v": 1, "host": host, "jump": false, "name": stage.name(server), "type": "ssh-ed25519",
            "fingerprint": stage.servers[server].fingerprint(), "state": state, "written": written,
            "file": stage.known_hosts().display().to_string(), "line": line, "cause": null, "hint": null,
        })
    };
    assert_eq!(lines[0], line("node01", 0, "known", true, 1));
    assert_eq!(lines[2], line("node02", 1, "known", true, 2));
    assert_eq!(
        lines[1],
        value!({
            "v": 1, "host": "node03", "jump": false, "name": null, "type": null, "fingerprint": null,
            "state": "not_reached", "written": false, "file": null, "line": null,
            "cause": "`127.0.0.1:1` refused the connection", "hint": "check that sshd runs there and listens on port 1",
        })
    );
    // Without consent the lines are all that comes of it.
    std::fs::remove_file(stage.known_hosts()).unwrap();
    let ended = stage.run("-o json trust -i prod.yaml --limit node01");
    assert_eq!(ended.status, 2);
    let [only] = &json(&ended.stdout)[..] else { panic!("{ended:?}") };
    assert_eq!((&only["state"], &only["written"], &only["file"]), (&value!("new"), &value!(false), &Value::Null));
    assert!(!stage.known_hosts().exists());
}

#[test]
fn a_host_that_is_not_there() {
    let desk = Desk::with_inventory();
    let ended = desk.run("trust -i prod.yaml --limit nod01");
    let want = "error: there is no host `nod01` in the inventory\n\nhint: did you mean `node01`?\n";
    assert_eq!((ended.status, ended.stderr.as_str()), (2, want));
}
