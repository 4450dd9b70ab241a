//! A lab of a test's own: real hosts from `tests/lab/lab`, gone when the test ends, however it ends.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// Whether lab tests are wanted: `ETCD_HA_LAB` is set.
pub fn wanted() -> bool {
    std::env::var_os("ETCD_HA_LAB").is_some_and(|value| !value.is_empty())
}

/// Whether lab tests can run: labs are made of namespaces, mounts and links.
pub fn root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The folder of all labs, as `tests/lab/lab` has it.
pub fn base() -> PathBuf {
    std::env::var_os("LAB_BASE").map_or_else(|| PathBuf::from("/var/tmp/etcd-ha-lab"), PathBuf::from)
}

/// The release archives, made at the first call on a machine: `v{version}/etcd-v{version}-linux-{arch}.tar.gz`.
pub fn releases() -> PathBuf {
    let output = script("releases").output().expect("tests/lab/releases cannot be run");
    assert!(output.status.success(), "tests/lab/releases failed: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
}

/// The version of etcd that the archives have from a Debian suite (`bookworm`, `trixie`, `sid`).
pub fn version_of(suite: &str) -> String {
    let versions = fs::read_to_string(releases().join("versions")).expect("no list of versions beside the archives");
    let line = versions.lines().find_map(|line| line.strip_prefix(suite)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no archive from {suite} among {versions:?}")).to_owned()
}

fn script(name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab").join(name));
    command.stdin(Stdio::null());
    command
}

/// Hosts node01 to nodeN in a network of their own. Dropped, they are removed; with `ETCD_HA_LAB_KEEP` set they stay.
pub struct Lab {
    id: u8,
    /// Held as long as the lab is ours; the kernel lets go of it with the process.
    _lease: File,
}

impl Lab {
    /// Starts fresh hosts in the first lab that no other test and no user has; waits for one if need be.
    pub fn up(hosts: usize) -> Self {
        let lab = Self::lease();
        lab.run(&["down"]);
        // Tells the next test that a lab without lease is what a killed test left, not a user's own.
        let folder = lab.folder();
        fs::create_dir_all(&folder).expect("the lab's folder cannot be made");
        File::create(folder.join("test")).expect("the lab cannot be marked as a test's");
        lab.run(&["up", &hosts.to_string()]);
        lab
    }

    // Lab 0 is the one of the demo and of inventories/prod.yaml.
    fn lease() -> Self {
        fs::create_dir_all(base()).expect("the folder of labs cannot be made");
        loop {
            for id in 1..=9 {
                let lease = File::create(base().join(format!("lease-{id}"))).expect("a lease cannot be made");
                let folder = base().join(id.to_string());
                if lease.try_lock().is_ok() && (!folder.exists() || folder.join("test").exists()) {
                    return Self { id, _lease: lease };
                }
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Which of the machine's labs it is.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// The lab's own folder, where its keys are.
    pub fn folder(&self) -> PathBuf {
        base().join(self.id.to_string())
    }

    /// The private key that opens root and ops on every host.
    pub fn identity(&self) -> PathBuf {
        self.folder().join("id_ed25519")
    }

    /// The hosts' keys, in OpenSSH's format.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder().join("known_hosts")
    }

    /// The address of node01 for 1, and so on.
    pub fn address(&self, number: usize) -> String {
        format!("10.19.{}.{}", self.id, 54 + number)
    }

    /// `tests/lab/lab` for this lab, for what has no method here.
    pub fn command(&self) -> Command {
        let mut command = script("lab");
        command.env("LAB_ID", self.id.to_string());
        command
    }

    /// Runs a verb of `tests/lab/lab` that has to succeed: `["kill", "node02"]`.
    #[track_caller]
    pub fn run(&self, verb: &[&str]) {
        let output = self.command().args(verb).output().expect("tests/lab/lab cannot be run");
        assert!(output.status.success(), "lab {verb:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a shell script as root in a host, past ssh and network; what it says and its status are the caller's.
    pub fn exec(&self, node: &str, script: &str) -> Output {
        self.command().args(["exec", node, "sh", "-c", script]).output().expect("tests/lab/lab cannot be run")
    }

    /// The stdout of a shell script in a host that has to succeed, without the last newline.
    #[track_caller]
    pub fn read(&self, node: &str, script: &str) -> String {
        let output = self.exec(node, script);
        assert!(output.status.success(), "{node}: {script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os("ETCD_HA_LAB_KEEP").is_none() {
            // A test that fails must show its own failure, not that of the cleaning up.
            let _ = self.command().arg("down").output();
        } else {
            eprintln!("kept: LAB_ID={} tests/lab/lab list", self.id);
        }
    }
}
