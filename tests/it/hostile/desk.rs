//! The desk that a hostile host is reached from: a home with an inventory, a PKI and secrets, and the program as a
//! child of which time, memory, words and traces are measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use etcd_ha::etcd::lint::Rules;
use etcd_ha::inventory::Inventory;
use etcd_ha::pki::{Member, Pki};
use russh::keys::ssh_key::LineEnding;
use tempfile::TempDir;
use tokio::process::Command;

use super::host::{Got, Hostile};
use crate::ssh::server::new_key;

/// The most memory that the program may take, whatever hosts send; a thousand good hosts take more than half of it.
pub const MEMORY: u64 = 300 << 20;
/// How long it may take, on a machine that has other things to do.
pub const TIME: Duration = Duration::from_secs(20);

/// A home, with all that a run needs.
pub struct Desk {
    pub home: TempDir,
}

/// How a call went.
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub took: Duration,
    pub memory: u64,
    /// What was created, changed or deleted in the home.
    pub touched: Vec<String>,
}

impl Desk {
    /// With an inventory of hosts at these addresses, whose keys are known and where rights come `by` this.
    pub fn new(hosts: &[SocketAddr], known: &str, by: &str) -> Self {
        let desk = Self { home: tempfile::tempdir().unwrap() };
        let mut inventory = format!(
            "cluster: prod\nssh: {{ identity: ./id, known_hosts: ./known_hosts, user: ops, config: none, connect_timeout: 1s, become: {by} }}\nhosts:\n"
        );
        for (at, host) in hosts.iter().enumerate() {
            let number = at + 1;
            let _ = writeln!(
                inventory,
                "  - {{ name: node0{number}, address: 10.19.7.{}, ssh: {{ address: 127.0.0.1, port: {} }} }}",
                54 + number,
                host.port()
            );
        }
        let work = desk.path("");
        fs::create_dir(&work).unwrap();
        desk.write("prod.yaml", &inventory);
        desk.write("known_hosts", known);
        desk.write("id", &new_key().to_openssh(LineEnding::LF).unwrap());
        desk.write("pass", "#!/bin/sh\necho 'correct horse'\n");
        fs::set_permissions(desk.path("pass"), fs::Permissions::from_mode(0o700)).unwrap();
        let inventory = Inventory::load(&desk.path("prod.yaml"), &Rules).unwrap();
        let member = |host: &etcd_ha::inventory::Host| Member {
            name: host.name.clone(),
            names: vec![host.address.clone(), host.name.clone()],
        };
        let members: Vec<Member> = inventory.hosts.iter().map(member).collect();
        let pki = Pki::load_or_issue(&inventory.pki, "prod", &members, time::OffsetDateTime::now_utc()).unwrap();
        pki.persist().unwrap();
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("work").join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Has the only host of the inventory be this one.
    pub fn leads_to(&mut self, host: &Hostile) {
        let inventory = fs::read_to_string(self.path("prod.yaml")).unwrap();
        self.write("prod.yaml", &inventory.replace("port: 1 }", &format!("port: {} }}", host.address.port())));
        self.write("known_hosts", &host.known());
    }

    /// Runs the program in the home.
    pub async fn run(&self, line: &str) -> Ended {
        self.run_with(line, &[]).await
    }

    /// The same with more in its environment.
    pub async fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Ended {
        let before = tree(self.home.path());
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_etcd-ha"))
            .args(line.split_whitespace())
            .current_dir(self.path(""))
            .env_clear()
            .env("HOME", self.home.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let process = Path::new("/proc").join(child.id().unwrap().to_string());
        let watching = tokio::task::spawn_blocking(move || memory(&process));
        let ended = tokio::time::timeout(2 * TIME, child.wait_with_output()).await;
        let output = ended.unwrap_or_else(|_| panic!("`{line}` has not ended after {:?}", begun.elapsed())).unwrap();
        let took = begun.elapsed();
        let after = tree(self.home.path());
        let touched = before.iter().filter(|(path, state)| after.get(*path) != Some(*state)).map(|(path, _)| path);
        let touched = touched.chain(after.keys().filter(|path| !before.contains_key(*path))).cloned().collect();
        Ended {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took,
            memory: watching.await.unwrap(),
            touched,
        }
    }

    /// The secrets of the PKI and of the user that reached a host in whole or in part; those in `meant` are for it.
    pub fn leaked(&self, got: &Got, meant: &[&str]) -> Vec<String> {
        let mut leaked = Vec::new();
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.path("prod.pki")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.push(self.path("id"));
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            if !(name.ends_with("-key.pem") || name == "id") || meant.contains(&name.as_str()) {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            // The first line of a key is the same for all of its kind.
            let lines = text.lines().filter(|line| !line.starts_with("--") && line.len() > 20).skip(1);
            leaked.extend(lines.filter(|line| got.has(line)).map(|line| format!("{name}: {line}")));
        }
        if !meant.contains(&"password") && (got.has("correct horse") || !got.answers.lock().unwrap().is_empty()) {
            leaked.push("the password".to_owned());
        }
        leaked
    }
}

impl Ended {
    /// All that was said, in one text.
    pub fn said(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }

    /// What is wrong, that holds for every attack: bounds, nothing raw on the screen, no traces.
    pub fn wrong(&self, row: &str) -> Vec<String> {
        let said = self.said();
        let painted = said.lines().find(|line| line.chars().any(paints));
        let painted = painted.map(|line| format!("{row}: what paints a terminal came through: {line:?}"));
        self.unbounded(row).into_iter().chain(painted).collect()
    }

    /// The same, for commands that hand on bytes as they are where no terminal is at the other end.
    pub fn unbounded(&self, row: &str) -> Vec<String> {
        let said: String = self.said().chars().take(4000).collect();
        // Run logs, snapshots, and what is known of releases.
        let mut ours = vec![".local", ".local/state", ".local/state/etcd-ha", ".local/state/etcd-ha/prod"];
        ours.extend([".cache", ".cache/etcd-ha", ".cache/etcd-ha/sources"]);
        let ours = |path: &str| {
            ours.contains(&path)
                || path.starts_with(".local/state/etcd-ha/prod/")
                || path.starts_with(".cache/etcd-ha/sources/")
        };
        let others: Vec<&String> = self.touched.iter().filter(|path| !ours(path)).collect();
        let checks = [
            (self.took < TIME, format!("{row}: took {:?}", self.took)),
            (self.memory < MEMORY, format!("{row}: {} MiB", self.memory >> 20)),
            (self.memory > 0 || self.took < Duration::from_secs(2), format!("{row}: its memory was not seen")),
            (!said.contains("panicked"), format!("{row}: {said}")),
            (others.is_empty(), format!("{row}: touched {others:?}")),
            (!Path::new("/tmp/owned").exists(), format!("{row}: /tmp/owned is there")),
        ];
        checks.into_iter().filter(|(holds, _)| !holds).map(|(_, wrong)| wrong).collect()
    }
}

/// What a terminal would not show as a character: controls, and what turns or hides text.
pub fn paints(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Every path below a folder with what tells a change: size, mode and time.
fn tree(folder: &Path) -> BTreeMap<String, (u64, u32, SystemTime)> {
    let (mut tree, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).unwrap() {
            let path = entry.unwrap().path();
            let state = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if state.is_dir() {
                folders.push(path);
                tree.insert(name, (0, state.permissions().mode(), SystemTime::UNIX_EPOCH));
            } else {
                tree.insert(name, (state.len(), state.permissions().mode(), state.modified().unwrap()));
            }
        }
    }
    tree
}

/// The most memory that a process had until it ended.
pub fn memory(process: &Path) -> u64 {
    let mut memory = 0;
    while let Ok(status) = fs::read_to_string(process.join("status")) {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let Some(kib) = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()) else { break };
        memory = memory.max(kib << 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    memory
}
