//! The program as people and scripts call it: exact words on stdout and stderr, and how it ends.
//!
//! It runs in a home of its own and reaches no network: hosts are ports of this machine on which
//! nothing listens.

#![allow(clippy::panic, clippy::unwrap_used)]

mod authority_key;
mod become_password;
mod certs;
mod check;
mod completions;
mod ctl;
mod explaining;
mod history;
mod logs;
mod operations;
mod queries;
mod trust;
mod upgrade;

use assert_cmd::Command;
use etcd_ha::etcd::lint::Rules;
use etcd_ha::inventory::Inventory;
use etcd_ha::pki::{Member, Pki};
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
  deploy       Bring the cluster up, or bring it to what the inventory says, one member at a time
  plan         Say what `deploy` would change, and touch nothing
  upgrade      Bring the members to another version of etcd, and write it into the inventory
  rollback     Bring every member back to what was in force before its last change, one at a time
  restart      Restart every member, one at a time
  stop         Stop the whole cluster or, with `--limit`, members that the others can spare
  start        Start members that do not run
  run          Run a playbook
  destroy      Give the cluster up: stop it for good and delete what was put on its hosts
  status       Show every member and host in one table: state, version, data, drift
  health       Ask every member for its health
  explain      Say why the cluster is not well, in plain words, and what to type next
  check        Look whether the hosts can run members, and measure disks and round trips
  logs         Show the journals of all members, merged by time
  history      List past runs, or tell one again
  lock         Say who is at work on the cluster, or take the lock away from a run that hangs
  ctl          Run the cluster's own etcdctl on a member, with endpoints and certificates set
  exec         Run a command on hosts, as root and in parallel
  proxy        Forward local ports to the members until Ctrl-C, for tools on this machine
  env          Print what a shell needs to use etcdctl here
  certs        Show, issue and export certificates, and look at what members really serve
  prometheus   Print how Prometheus scrapes the members, or alert rules
  trust        Fetch the hosts' keys, show their fingerprints, and write them down as known
  ssh-config   Show how a host is reached over SSH, and where each setting comes from
  init         Write a starter inventory
  schema       Print the JSON Schema of inventories, for editors
  playbook     Print a playbook that comes with etcd-ha, to be copied and extended
  completions  Print what makes a shell complete `etcd-ha`'s words, names of hosts among them
  man          Print a manual page, or write all of them into a folder
  help         Explain a subcommand, or one of: inventory, playbook, exit-codes, environment

Options:
  -o, --output <OUTPUT>  How to tell what happens: `json` prints one JSON object a line on stdout
                         [default: text] [possible values: text, json]
      --plain            Plain lines instead of bars, as when stderr is no terminal
  -v, --verbose          Also say what had nothing to do, and how long each round trip to a host
                         took
  -q, --quiet            Of what happens, tell only warnings, failures and how it ended
  -h, --help             Print help (see more with '--help')
  -V, --version          Print version

Exit codes:
  0    done, or nothing to do
  1    a host or a task failed
  2    the command line, the inventory or the playbook is wrong
  3    the cluster is not healthy
  4    refused, since it would cost quorum or data
  5    another run is at work on this cluster
  6    a change did not come up and was taken back
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
            "deploy -i prod.yaml --dry-run --probe",
            "error: the argument '--dry-run' cannot be used with '--probe'\n\n\
             Usage: etcd-ha deploy --inventory <FILE> --dry-run\n\n\
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
        (
            "destroy -i prod.yaml",
            "error: `destroy` asks on the terminal, and there is none\n\n\
             hint: say `--yes-destroy NAME` where nobody is there to type the cluster's name; \
             `--dry-run` says what it would delete\n",
        ),
        (
            "destroy -i prod.yaml --yes-destroy test",
            "error: `--yes-destroy` says `test`, and the cluster of this inventory is `prod`; nothing was touched\n\n\
             hint: is it the right inventory?\n",
        ),
        (
            "destroy -i prod.yaml --yes-destroy prod --limit a",
            "error: `destroy` is for the whole cluster, and `--limit` names some of its hosts\n\n\
             hint: to take one member out of a cluster that goes on is another thing: the others have to be told first \
             (`etcdctl member remove`)\n",
        ),
        (
            "playbook nope",
            "error: there is no playbook `nope`; there are: deploy, destroy, destroy-data, restart, rollback, start, stop, stop-some\n",
        ),
        (
            "playbook delpoy",
            "error: there is no playbook `delpoy`; there are: deploy, destroy, destroy-data, restart, rollback, start, stop, stop-some\n\n\
             hint: did you mean `deploy`?\n",
        ),
        (
            "help inventroy",
            "error: there is no subcommand and no topic `inventroy`\n\nhint: did you mean `inventory`?\n",
        ),
        ("help certs shwo", "error: there is no subcommand `shwo` of `certs`\n\nhint: did you mean `show`?\n"),
        (
            "help nothing-like-it",
            "error: there is no subcommand and no topic `nothing-like-it`\n\n\
             hint: the topics are inventory, playbook, exit-codes, environment; `etcd-ha help` lists the subcommands\n",
        ),
        ("man delpoy", "error: there is no subcommand `delpoy`\n\nhint: did you mean `deploy`?\n"),
        (
            "-q -v deploy -i prod.yaml",
            "error: the argument '--quiet' cannot be used with '--verbose'\n\n\
             Usage: etcd-ha --quiet <COMMAND>\n\nFor more information, try '--help'.\n",
        ),
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

/// The lines of a text in JSON lines.
fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
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
    let everywhere = ["help", "output", "plain", "quiet", "verbose", "version"];
    let operation = ["direct", "forks", "health-timeout", "inventory", "limit"];
    let connects = ["ask-become-pass", "ask-pass", "become-pass-command", "become-pass-fd", "pass-command", "pass-fd"];
    let supplies = ["bandwidth", "ca-pass-command", "ca-pass-fd", "no-snapshot", "release"];
    let way = ["allow-downgrade", "one-pass", "via"];
    for (command, own) in [
        ("", &[][..]),
        ("deploy", &["detailed-exitcode", "dry-run", "pause", "playbook", "probe"]),
        ("plan", &["detailed-exitcode", "playbook"]),
        ("upgrade", &["detailed-exitcode", "dry-run", "pause", "playbook", "probe", "to"]),
        ("rollback", &["dry-run", "pause", "probe"]),
        ("restart", &["dry-run", "pause", "probe"]),
        ("stop", &["yes"]),
        ("start", &[]),
        ("destroy", &["data", "dry-run", "no-snapshot", "yes-destroy"]),
        ("run", &["dry-run", "pause", "probe"]),
        ("check", &["inventory", "limit", "no-disk"]),
        ("health", &["direct", "inventory", "timeout"]),
        ("status", &["direct", "inventory", "timeout", "watch"]),
        ("history", &["hosts", "inventory"]),
        ("logs", &["follow", "grep", "inventory", "level", "lines", "raw", "since", "until"]),
        ("lock", &[]),
        ("lock status", &["inventory"]),
        ("lock release", &["inventory", "yes"]),
        ("exec", &["forks", "inventory", "timeout"]),
        ("ctl", &["inventory", "on"]),
        ("proxy", &["address", "inventory", "port"]),
        ("explain", &["inventory", "timeout"]),
        ("trust", &["inventory", "limit", "yes"]),
        ("ssh-config", &["inventory"]),
        ("certs", &[]),
        ("certs show", &["inventory"]),
        ("certs issue", &["ca-pass-command", "ca-pass-fd", "client", "cn", "force", "inventory", "lifetime", "name"]),
        (
            "certs export",
            &[
                "ask-export-pass",
                "export-pass-command",
                "export-pass-fd",
                "force",
                "format",
                "inventory",
                "name",
                "no-export-pass",
                "to",
            ],
        ),
        ("certs encrypt-ca", &["ca-pass-command", "ca-pass-fd", "inventory", "new-ca-pass-command", "new-ca-pass-fd"]),
        ("certs decrypt-ca", &["ca-pass-command", "ca-pass-fd", "inventory"]),
        ("certs verify", &["direct", "inventory", "timeout"]),
        ("env", &["inventory", "name", "shell", "unset"]),
        ("init", &["cluster", "file", "host"]),
        ("schema", &[]),
        ("playbook", &[]),
        ("prometheus", &["inventory", "rules"]),
        ("completions", &[]),
        ("man", &["dir"]),
        ("help", &[]),
    ] {
        let mut want: Vec<&str> = [&everywhere[..], own].concat();
        if ["deploy", "plan", "run", "upgrade"].contains(&command) {
            want.extend(supplies);
        }
        if ["deploy", "plan", "upgrade"].contains(&command) {
            want.extend(way);
        }
        if ["deploy", "plan", "run", "upgrade", "rollback", "restart", "stop", "start", "destroy"].contains(&command) {
            want.extend(operation);
            want.extend(connects);
        }
        let asks = ["certs verify", "check", "ctl", "exec", "explain", "health", "history", "logs", "proxy", "status"];
        if asks.contains(&command) || command.starts_with("lock ") {
            want.extend(connects);
        }
        if command == "destroy" {
            // It is for the whole cluster.
            want.retain(|flag| *flag != "limit");
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
