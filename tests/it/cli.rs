//! The program as people and scripts call it: exact words on stdout and stderr, and how it ends.
//!
//! It runs in a home of its own and reaches no network: hosts are ports of this machine on which
//! nothing listens.

#![allow(clippy::panic, clippy::unwrap_used)]

use assert_cmd::Command;
use etcd_ha::etcd::lint::Rules;
use etcd_ha::inventory::{Inventory, json_schema};
use etcd_ha::pki::{Member, Pki};
use etcd_ha::playbook::embedded;
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Three hosts whose sshd does not listen: ports below 1024 that nobody uses.
const UNREACHABLE: &str = "cluster: prod
hosts:
  - { name: node01, address: 192.0.2.1, ssh: { address: 127.0.0.1, port: 1 } }
  - { name: node02, address: 192.0.2.2, ssh: { address: 127.0.0.1, port: 2 } }
  - { name: node03, address: 192.0.2.3, ssh: { address: 127.0.0.1, port: 3 } }
";

/// Somebody's home and working folder.
struct Desk {
    home: TempDir,
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("work")).unwrap();
        Self { home }
    }

    /// With an inventory `prod.yaml` of hosts that cannot be reached.
    fn with_inventory() -> Self {
        let desk = Self::new();
        desk.write("prod.yaml", UNREACHABLE);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("work").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Everything in the working folder.
    fn names(&self) -> Vec<String> {
        names(&self.home.path().join("work"))
    }

    /// The run logs of the cluster `prod`, oldest first.
    fn logs(&self) -> Vec<PathBuf> {
        let folder = self.home.path().join(".local/state/etcd-ha/prod/runs");
        if folder.exists() { names(&folder).into_iter().map(|name| folder.join(name)).collect() } else { Vec::new() }
    }

    fn run(&self, line: &str) -> Said {
        self.run_with(line, &[])
    }

    fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-ha"));
        command.args(line.split_whitespace()).current_dir(self.path("")).env_clear().env("HOME", self.home.path());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        Said {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The certificates that a deploy would have made.
    fn make_certificates(&self) {
        let inventory = Inventory::load(&self.path("prod.yaml"), &Rules).unwrap();
        let members: Vec<Member> = inventory
            .hosts
            .iter()
            .map(|host| Member { name: host.name.clone(), names: vec![host.address.clone(), host.name.clone()] })
            .collect();
        let pki = Pki::load_or_issue(&inventory.pki, "prod", &members, time::OffsetDateTime::now_utc()).unwrap();
        pki.persist().unwrap();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn said(status: i32, stdout: &str, stderr: &str) -> Said {
    Said { status, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

/// The lines without what differs from run to run: the time, how long it took, the run log's name.
fn steady(text: &str) -> Vec<String> {
    let span = |text: &str| text.ends_with(" ms") || text.ends_with(" s");
    text.lines()
        .map(|line| {
            let line = match line.split_once("Z ") {
                Some((time, rest)) if time.len() == 8 && time.as_bytes()[2] == b':' => rest,
                _ => line,
            };
            if let Some((before, _)) = line.split_once("/.local/state/etcd-ha/prod/runs/") {
                let what = before.split_once(": ").map_or("", |(what, _)| what);
                return format!("{what}: …");
            }
            match line.rsplit_once(" (") {
                Some((line, took)) if span(took.trim_end_matches(')')) => return format!("{line} (…)"),
                _ => {}
            }
            match line.rsplit_once("   ") {
                Some((line, took)) if span(took) => line.to_owned(),
                _ => line.to_owned(),
            }
        })
        .collect()
}

#[test]
fn without_arguments_it_says_what_there_is() {
    assert_eq!(
        Desk::new().run(""),
        said(
            2,
            "",
            "Stands up, changes and rescues etcd clusters on plain Linux machines over SSH

Usage: etcd-ha [OPTIONS] <COMMAND>

Commands:
  deploy    Bring the cluster up, or bring it to what the inventory says, one member at a time
  plan      Say what `deploy` would change, and touch nothing
  run       Run a playbook
  health    Ask every member for its health
  certs     Show the certificates in the PKI folder
  init      Write a starter inventory
  schema    Print the JSON Schema of inventories, for editors
  playbook  Print a playbook that comes with etcd-ha, to be copied and extended
  help      Print this message or the help of the given subcommand(s)

Options:
  -o, --output <OUTPUT>  How to tell what happens: `json` prints one JSON object a line on stdout
                         [default: text] [possible values: text, json]
      --plain            Plain lines instead of bars, as when stderr is no terminal
  -v, --verbose          Also say what had nothing to do
  -h, --help             Print help (see more with '--help')
  -V, --version          Print version

Exit codes:
  0    done, or nothing to do
  1    a host or a task failed
  2    the command line, the inventory or the playbook is wrong
  3    the cluster is not healthy
  4    refused, since it would cost quorum or data
  10   changes are pending (`plan --detailed-exitcode`)
  130  interrupted
"
        )
    );
}

#[test]
fn its_version() {
    let version = format!("etcd-ha {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(Desk::new().run("--version"), said(0, &version, ""));
    assert_eq!(Desk::new().run("-V"), said(0, &version, ""));
}

/// What is wrong on the command line is said before anything is read, reached or written.
#[test]
fn command_lines_that_are_wrong() {
    let sshd = TcpListener::bind("127.0.0.1:0").unwrap();
    sshd.set_nonblocking(true).unwrap();
    let desk = Desk::new();
    let port = sshd.local_addr().unwrap().port();
    desk.write(
        "prod.yaml",
        &format!("cluster: prod\nhosts:\n  - {{ name: a, address: 192.0.2.1, ssh: {{ address: 127.0.0.1, port: {port} }} }}\n"),
    );
    desk.write("old.yaml", "cluster: prod\netcd: { version: 3.3.1 }\nhosts:\n  - { name: a, address: 192.0.2.1 }\n");
    desk.write(
        "typo.yaml",
        "cluster: prod\netcd:\n  settings: { heartbeat-intervall: 100 }\nhosts:\n  - { name: a, address: 192.0.2.1 }\n",
    );
    for (line, want) in [
        (
            "deply",
            "error: unrecognized subcommand 'deply'\n\n  tip: a similar subcommand exists: 'deploy'\n\n\
             Usage: etcd-ha [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n",
        ),
        (
            "deploy",
            "error: the following required arguments were not provided:\n  --inventory <FILE>\n\n\
             Usage: etcd-ha deploy --inventory <FILE>\n\nFor more information, try '--help'.\n",
        ),
        (
            "deploy -i prod.yaml --forsk 3",
            "error: unexpected argument '--forsk' found\n\n  tip: a similar argument exists: '--forks'\n\n\
             Usage: etcd-ha deploy --inventory <FILE> --forks <N>\n\nFor more information, try '--help'.\n",
        ),
        (
            "deploy -i prod.yaml --forks 0",
            "error: invalid value '0' for '--forks <N>': 0 is not in 1..=65535\n\n\
             For more information, try '--help'.\n",
        ),
        (
            "deploy -i prod.yaml --health-timeout 0",
            "error: invalid value '0' for '--health-timeout <SECONDS>': 0 is not in 1..=86400\n\n\
             For more information, try '--help'.\n",
        ),
        (
            "deploy -i prod.yaml --detailed-exitcode",
            "error: the following required arguments were not provided:\n  --dry-run\n\n\
             Usage: etcd-ha deploy --inventory <FILE> --dry-run --detailed-exitcode\n\n\
             For more information, try '--help'.\n",
        ),
        (
            "-o yaml deploy -i prod.yaml",
            "error: invalid value 'yaml' for '--output <OUTPUT>'\n  [possible values: text, json]\n\n\
             For more information, try '--help'.\n",
        ),
        (
            "deploy -i missing.yaml",
            "error: cannot read inventory `missing.yaml`\n  caused by: No such file or directory (os error 2)\n\n\
             hint: `etcd-ha init --cluster NAME --host ADDRESS …` writes a starter inventory\n",
        ),
        (
            "deploy -i old.yaml",
            "error: inventory `old.yaml` has 1 problem

  × etcd 3.3.1 is not supported
   ╭─[old.yaml:2:18]
 1 │ cluster: prod
 2 │ etcd: { version: 3.3.1 }
   ·                  ──┬──
   ·                    ╰── here
 3 │ hosts:
   ╰────
  help: supported are 3.4, 3.5, 3.6, 3.7; newest known: 3.4.45, 3.5.33, 3.6.14, 3.7.1
",
        ),
        (
            "plan -i typo.yaml",
            "error: inventory `typo.yaml` has 1 problem

  × etcd has no option `heartbeat-intervall`
   ╭─[typo.yaml:3:15]
 2 │ etcd:
 3 │   settings: { heartbeat-intervall: 100 }
   ·               ────────────┬───────────
   ·                           ╰── here
 4 │ hosts:
   ╰────
  help: did you mean `heartbeat-interval`?
",
        ),
        (
            "deploy -i prod.yaml --playbook missing.yaml",
            "error: cannot read playbook `missing.yaml`\n  caused by: No such file or directory (os error 2)\n\n\
             hint: `etcd-ha playbook deploy` prints the one that `etcd-ha deploy` runs, to begin with\n",
        ),
        (
            "run prod.yaml -i prod.yaml",
            "error: there is no key `cluster` here; there are: name, plays
 --> prod.yaml:1:1
  |
1 | cluster: prod
  | ^
",
        ),
        ("playbook nope", "error: there is no playbook `nope`; there are: deploy\n"),
    ] {
        assert_eq!(desk.run(line), said(2, "", want), "{line}");
    }
    for line in ["health -i old.yaml", "certs show -i old.yaml", "-o json deploy -i old.yaml"] {
        let ended = desk.run(line);
        assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{line}");
        assert!(ended.stderr.starts_with("error: inventory `old.yaml` has 1 problem\n"), "{line}: {}", ended.stderr);
    }
    assert!(sshd.accept().is_err(), "somebody connected");
    assert_eq!(desk.names(), ["old.yaml", "prod.yaml", "typo.yaml"]);
    assert_eq!(names(desk.home.path()), ["work"]);
}

#[test]
fn an_inventory_may_come_from_the_environment() {
    let desk = Desk::with_inventory();
    let ended = desk.run_with("certs show", &[("ETCD_HA_INVENTORY", "prod.yaml")]);
    assert_eq!(ended, said(0, "there are no certificates in prod.pki yet; `etcd-ha deploy` makes them\n", ""));
}

const REFUSED: [&str; 6] = [
    "node01 preflight: failed: host `node01`: `127.0.0.1:1` refused the connection",
    "node01 preflight: hint: check that sshd runs there and listens on port 1",
    "node02 preflight: failed: host `node02`: `127.0.0.1:2` refused the connection",
    "node02 preflight: hint: check that sshd runs there and listens on port 2",
    "node03 preflight: failed: host `node03`: `127.0.0.1:3` refused the connection",
    "node03 preflight: hint: check that sshd runs there and listens on port 3",
];
const STOPPED: &str = "failed: cluster prod: stopped on 3 hosts in `Look at every host`; later plays were not begun; \
                       mend the cause and run the same command again (…)";

#[test]
fn a_deploy_to_hosts_that_cannot_be_reached() {
    let desk = Desk::with_inventory();
    let ended = desk.run("deploy -i prod.yaml");
    let lines = [
        &["deploy: cluster prod, 3 hosts", "play: Look at every host (3 hosts, parallel)"][..],
        &REFUSED,
        &[
            "node01   ok 0  changed 0  failed 1",
            "node02   ok 0  changed 0  failed 1",
            "node03   ok 0  changed 0  failed 1",
            "run log: …",
            STOPPED,
        ],
    ]
    .concat();
    assert_eq!((ended.status, ended.stdout.as_str()), (1, ""));
    assert_eq!(steady(&ended.stderr), lines);
    // Nothing was made here, but for the log that is named.
    assert_eq!(desk.names(), ["prod.yaml"]);
    let [log] = &desk.logs()[..] else { panic!("{:?}", desk.logs()) };
    assert!(ended.stderr.contains(&format!("run log: {}\n", log.display())), "{}", ended.stderr);
    let name = log.file_name().unwrap().to_str().unwrap();
    assert!(name.contains("-deploy-") && name.ends_with(".jsonl"), "{name}");
}

#[test]
fn a_plan_for_hosts_that_cannot_be_reached() {
    for line in ["plan -i prod.yaml", "deploy --dry-run -i prod.yaml", "plan --detailed-exitcode -i prod.yaml"] {
        let desk = Desk::with_inventory();
        let ended = desk.run(line);
        assert_eq!((ended.status, ended.stdout.as_str()), (1, ""), "{line}");
        let lines = [&["plan: cluster prod, 3 hosts"][..], &REFUSED, &["run log: …", STOPPED]].concat();
        assert_eq!(steady(&ended.stderr), lines, "{line}");
        assert_eq!(desk.names(), ["prod.yaml"], "{line}");
    }
}

/// The lines of a text in JSON lines.
fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

#[test]
fn a_deploy_as_json_lines() {
    let desk = Desk::with_inventory();
    let ended = desk.run("-o json deploy -i prod.yaml");
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""));
    let events = json(&ended.stdout);
    for event in &events {
        assert_eq!(event["v"], 1, "{event}");
        assert!(event["time"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')), "{event}");
    }
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    // All hosts are connected to at once, then each is looked at.
    let mut want = vec!["run_started", "play_started", "task_started", "task_started", "task_started"];
    want.extend(["task_started", "task_finished"].repeat(3));
    want.push("run_finished");
    assert_eq!(kinds, want);
    let last = events.last().unwrap();
    assert_eq!((&last["exit"], &last["cluster"], &last["command"]), (&1.into(), &"prod".into(), &"deploy".into()));
    let failed: Vec<(&Value, &Value)> =
        last["recap"].as_array().unwrap().iter().map(|host| (&host["host"], &host["failed"])).collect();
    let one = Value::from(1);
    assert_eq!(failed, [(&"node01".into(), &one), (&"node02".into(), &one), (&"node03".into(), &one)]);
    let ends: Vec<&Value> = events.iter().filter(|event| event["event"] == "task_finished").collect();
    assert_eq!(ends[1]["error"], "host `node02`: `127.0.0.1:2` refused the connection");
    assert_eq!(ends[1]["hint"], "check that sshd runs there and listens on port 2");
    // The log of the run says the same.
    let [log] = &desk.logs()[..] else { panic!("{:?}", desk.logs()) };
    let logged = json(&std::fs::read_to_string(log).unwrap());
    let kinds_logged: Vec<&str> = logged.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds_logged, kinds);
}

#[test]
fn warnings_come_before_anything_is_tried() {
    let desk = Desk::new();
    desk.write("prod.yaml", &UNREACHABLE.lines().take(4).map(|line| format!("{line}\n")).collect::<String>());
    let ended = desk.run("deploy -i prod.yaml");
    let lines = steady(&ended.stderr);
    assert_eq!(
        lines[..3],
        [
            "deploy: cluster prod, 2 hosts",
            "warning: 2 members tolerate no failure, as 1 does; quorum is 2, so the cluster stops when either host is down",
            "play: Look at every host (2 hosts, parallel)",
        ]
    );
}

#[test]
fn without_a_home_there_is_no_log_and_that_is_said() {
    let desk = Desk::with_inventory();
    let ended = desk.run_with("deploy -i prod.yaml", &[("HOME", "")]);
    assert_eq!(ended.status, 1);
    let lines = steady(&ended.stderr);
    let warning = "warning: no run log is kept: neither `XDG_STATE_HOME` nor `HOME` is an absolute path";
    assert!(lines.contains(&warning.to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("run log")), "{lines:?}");
}

#[test]
fn a_playbook_for_a_host_that_is_not_there() {
    let desk = Desk::with_inventory();
    desk.write(
        "mine.yaml",
        "name: mine\nplays:\n  - name: Elsewhere\n    hosts: [node01, node09]\n    tasks: [preflight]\n",
    );
    let ended = desk.run("run mine.yaml -i prod.yaml");
    assert_eq!((ended.status, ended.stdout.as_str()), (2, ""));
    assert_eq!(
        steady(&ended.stderr),
        [
            "run: cluster prod, 3 hosts",
            "run log: …",
            "failed: cluster prod: play `Elsewhere` is for host `node09`, which is not in the inventory; \
             nothing was touched (…)",
        ]
    );
    let ended = desk.run("-o json deploy --playbook mine.yaml -i prod.yaml");
    assert_eq!((ended.status, ended.stderr.as_str()), (2, ""));
    let events = json(&ended.stdout);
    assert_eq!(events.last().unwrap()["exit"], 2);
}

#[test]
fn a_playbook_of_ones_own_runs_on_the_hosts_it_names() {
    let desk = Desk::with_inventory();
    desk.write("mine.yaml", "name: mine\nplays:\n  - name: One\n    hosts: node02\n    tasks: [preflight]\n");
    let ended = desk.run("run mine.yaml -i prod.yaml");
    assert_eq!(ended.status, 1);
    assert_eq!(
        steady(&ended.stderr),
        [
            "run: cluster prod, 3 hosts",
            "play: One (node02)",
            "node02 preflight: failed: host `node02`: `127.0.0.1:2` refused the connection",
            "node02 preflight: hint: check that sshd runs there and listens on port 2",
            "node01   ok 0  changed 0  failed 0",
            "node02   ok 0  changed 0  failed 1",
            "node03   ok 0  changed 0  failed 0",
            "run log: …",
            "failed: cluster prod: stopped on node02 in `One`; later plays were not begun; \
             mend the cause and run the same command again (…)",
        ]
    );
}

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
    assert_eq!(Desk::new().run("playbook"), said(0, "deploy\n", ""));
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
    assert_eq!(ended, said(3, &[&member(1), &member(2), &member(3), cluster].map(String::from).concat(), ""));
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

/// The long flags that a help text explains.
fn flags(help: &str) -> Vec<String> {
    let mut flags = Vec::new();
    for line in help.lines() {
        let line = line.trim_start();
        let long = match line.split_once(", --") {
            Some((short, long)) if short.len() == 2 && short.starts_with('-') => long,
            _ => line.strip_prefix("--").unwrap_or_default(),
        };
        let name: String = long.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        if !name.is_empty() {
            flags.push(name);
        }
    }
    flags.sort();
    flags
}

#[test]
fn every_flag_is_explained() {
    let desk = Desk::new();
    let everywhere = ["help", "output", "plain", "verbose", "version"];
    let operation = ["direct", "forks", "health-timeout", "inventory", "release"];
    for (command, own) in [
        ("", &[][..]),
        ("deploy", &["detailed-exitcode", "dry-run", "playbook"]),
        ("plan", &["detailed-exitcode", "playbook"]),
        ("run", &["dry-run"]),
        ("health", &["direct", "inventory", "timeout"]),
        ("certs", &[]),
        ("certs show", &["inventory"]),
        ("init", &["cluster", "file", "host"]),
        ("schema", &[]),
        ("playbook", &[]),
    ] {
        let mut want: Vec<&str> = [&everywhere[..], own].concat();
        if ["deploy", "plan", "run"].contains(&command) {
            want.extend(operation);
        }
        want.sort_unstable();
        for form in ["-h", "--help"] {
            let ended = desk.run(&format!("{command} {form}"));
            assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{command}");
            assert_eq!(flags(&ended.stdout), want, "{command} {form}");
            // Every flag has a line of its own or words behind it.
            for line in ended.stdout.lines().filter(|line| line.trim_start().starts_with('-')) {
                let bare = line.trim_end().ends_with('>') || !line.trim().contains("  ");
                assert!(form == "--help" || !bare, "{command}: {line}");
            }
            assert!(ended.stdout.lines().all(|line| line.chars().count() <= 100), "{command} {form}");
        }
    }
}
