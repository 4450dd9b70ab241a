//! One simulated host: its disk, its systemd, the process of its member.

use crate::goods::{Certificates, Release, Text};
use etcd_ha::etcd::identity::{ClusterId, MemberId};
use etcd_ha::host::Observation;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Milliseconds since the history began.
pub type Time = u64;

/// A host.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Whether it has power.
    pub up: bool,
    /// How often it was booted.
    pub boot: u32,
    pub disk: Disk,
    pub unit: Unit,
    /// etcd, if it runs.
    pub process: Option<Process>,
    /// When a process of it ended by itself last, or 0.
    pub died: Time,
    /// When the host takes its last change back by itself.
    pub timer: Option<Time>,
    /// Whether the member has raised an alarm.
    pub alarm: bool,
    /// Whether the member is too slow to follow.
    pub slow: bool,
    /// Whether its etcd dies at every start, whatever it is started with.
    pub broken: bool,
    /// Whether a member of ours has ever had data there.
    pub had_data: bool,
    /// Whether it has ever served: before that the others do not count on what it holds, and nobody can tell
    /// that it lost anything.
    pub served: bool,
    /// Whether the last start was an action of ours, and not systemd's own.
    pub started_by_us: bool,
    /// What it looked like last, until something changes.
    pub look: Option<Arc<Observation>>,
    pub last_pid: u32,
}

/// What survives a power cut.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// Whether the system user and the folders are there.
    pub prepared: bool,
    pub in_force: Files,
    /// What is staged, if the staging folder is there.
    pub next: Option<Files>,
    pub previous: Option<Previous>,
    /// The generation that was taken back.
    pub taken_back: Option<String>,
    /// Unpacked releases by version.
    pub releases: BTreeMap<String, Arc<Release>>,
    pub data: Option<Data>,
}

/// What makes a member what it is.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub environment: Option<Arc<Text>>,
    pub unit: Option<Arc<Text>>,
    pub certificates: Option<Arc<Certificates>>,
    /// Where the binaries' links point.
    pub release: Option<Arc<Release>>,
}

/// The folder `.previous`.
#[derive(Debug, Clone, Default)]
pub struct Previous {
    pub files: Files,
    /// When the sign was touched that the change is not confirmed yet.
    pub unconfirmed: Option<Time>,
    /// The way back, if it is there; true if it crosses a minor version.
    pub way_back: Option<bool>,
}

/// A data dir.
#[derive(Debug, Clone)]
pub struct Data {
    pub member: MemberId,
    pub cluster: ClusterId,
    /// Whether its WAL has an entry of a leader.
    pub had_leader: bool,
    /// How far it has the log.
    pub log: u64,
    /// Whether it began empty in a cluster that knew the member: raft panics over that.
    pub amnesia: bool,
    /// Whether someone else's.
    pub foreign: bool,
}

/// etcd's unit.
#[derive(Debug, Clone, Default)]
pub struct Unit {
    pub enabled: bool,
    /// The unit file that systemd has read.
    pub loaded: Option<Arc<Text>>,
    pub phase: Phase,
    pub restarts: u32,
    /// The last exit status, if it failed.
    pub failed: Option<i32>,
    pub journal: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Dead,
    /// There is a process.
    Running,
    /// The process ended; systemd starts it again soon.
    Waiting,
}

/// A process of etcd.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: u32,
    pub environment: Arc<Text>,
    pub release: Arc<Release>,
    pub stage: Stage,
    /// Whether it never gets beyond where it is.
    pub hangs: bool,
    /// Whether it is about to serve.
    pub coming: bool,
    /// How long after it was ready it dies, if it does.
    pub dies_after: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Born,
    /// It listens for its peers.
    Peers,
    /// It serves clients.
    Serves,
    /// It has told systemd.
    Ready,
}

/// How a change is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// It crashes at start.
    Crashes,
    /// It stays in activating.
    Hangs,
    /// It refuses its setting.
    Refuses,
    /// It comes up and crashes so many milliseconds later.
    Later(Time),
    /// Sometimes this, sometimes that.
    Flaps,
}

impl Machine {
    pub fn stage(&self) -> Option<Stage> {
        self.process.as_ref().filter(|_| self.up).map(|process| process.stage)
    }

    /// The generation of the process.
    pub fn runs(&self) -> Option<&str> {
        self.process.as_ref()?.environment.generation.as_deref()
    }

    pub fn unconfirmed(&self) -> bool {
        self.disk.previous.as_ref().is_some_and(|previous| previous.unconfirmed.is_some())
    }

    pub fn needs_reload(&self) -> bool {
        match (&self.unit.loaded, &self.disk.in_force.unit) {
            (Some(loaded), Some(file)) => loaded.sha256 != file.sha256,
            _ => false,
        }
    }

    pub fn reload(&mut self) {
        self.unit.loaded.clone_from(&self.disk.in_force.unit);
    }
}

impl Files {
    pub fn generation(&self) -> Option<&str> {
        self.environment.as_ref()?.generation.as_deref()
    }
}
