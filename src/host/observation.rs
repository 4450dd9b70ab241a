//! What one look at a host tells.

use super::unit::UnitState;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A host as it was at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// `uname -s`.
    pub kernel: String,
    /// `uname -m`.
    pub machine: String,
    /// The contents of /etc/machine-id.
    pub machine_id: String,
    /// The kernel's id of this boot; containers share it with their host.
    pub boot_id: String,
    /// The host's clock, in seconds since the epoch.
    pub clock: Option<f64>,
    /// By how many seconds the host's clock is ahead of the controller's, but for the answer's way back.
    pub clock_skew: Option<f64>,
    /// Whether sudo does not find the host's own name, for which it may wait long, every time.
    pub own_name_unknown: bool,
    /// The user id that scripts run as; 0 is wanted.
    pub uid: Option<u32>,
    /// Commands that we need and that are not there.
    pub missing: Vec<String>,
    /// Whether the system user for etcd is there.
    pub account: bool,
    /// Whether systemd is PID 1.
    pub booted_by_systemd: bool,
    /// systemd's version.
    pub systemd: Option<u32>,
    /// etcd's unit.
    pub unit: UnitState,
    /// The running process of the unit.
    pub process: Option<Process>,
    /// The last journal lines of the unit, where it crashed.
    pub journal: String,
    /// Space by path of the inventory.
    pub space: BTreeMap<String, Space>,
    /// Paths of the inventory that cannot be written.
    pub read_only: Vec<String>,
    /// Files, folders and links by path; what is not here is not there.
    pub files: BTreeMap<String, FileState>,
    /// Whether the last change is not confirmed yet: the host takes it back unless its member comes up.
    pub unconfirmed: bool,
    /// The generation of what was in force before the last change, if it is kept.
    pub previous: Option<String>,
    /// Whether what is kept there is newer than what is in force: the host was taken back to it.
    pub previous_is_newer: bool,
    /// Whether a rollback was broken off before all that it goes back to was in force.
    pub going_back: bool,
    /// What the host took back by itself, if no change was confirmed since: when that was put in force in seconds since
    /// the epoch, its generation, and whether the member ever ran with it (`failed` or `untried`).
    pub taken_back: Option<String>,
    /// Whether anything is staged.
    pub staged: bool,
    /// Paths where something else stands than a file.
    pub odd: Vec<String>,
    /// The unit file's text.
    pub unit_text: Option<String>,
    /// The environment file's text.
    pub environment: Option<String>,
    /// The certificates in force, PEM, by name: `ca`, `server`, `peer`.
    pub certificates: BTreeMap<String, String>,
    /// The data dir, unless it is empty or not there.
    pub data: Option<DataDir>,
    /// Releases by version.
    pub releases: BTreeMap<String, Release>,
    /// Ports of interest on which something listens.
    pub listening: BTreeSet<u16>,
    /// By address of a peer, the one from which the host would connect to it, as far as it could say.
    pub sources: BTreeMap<IpAddr, IpAddr>,
}

impl Observation {
    /// The digest of a file, if it is there.
    #[must_use]
    pub fn sha256(&self, path: &str) -> Option<&str> {
        match &self.files.get(path)?.kind {
            FileKind::File { sha256 } => Some(sha256),
            _ => None,
        }
    }

    /// Where a link points, if it is there.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<&str> {
        match &self.files.get(path)?.kind {
            FileKind::Link { target } => Some(target),
            _ => None,
        }
    }

    /// The generation of the running process.
    #[must_use]
    pub fn generation(&self) -> Option<&str> {
        self.process.as_ref()?.generation.as_deref()
    }
}

/// The running process of the unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The generation that it was started with, if it was started by our unit.
    pub generation: Option<String>,
    /// Its variables of interest, `NAME=value` each, as it was started with them.
    pub variables: BTreeSet<String>,
}

/// Free space where a path is, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Free bytes.
    pub free: u64,
    /// The mount point.
    pub mount: String,
    /// Free inodes, where the file system counts them.
    pub free_inodes: Option<u64>,
}

/// A file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// `user:group`.
    pub owner: String,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A file.
    File {
        /// Its SHA-256, lower-case hex.
        sha256: String,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
    },
    /// Something else.
    Other,
}

/// A data dir that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataDir {
    /// The leading bytes of the newest WAL file.
    pub wal: Vec<u8>,
}

/// An unpacked release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The digest of the archive that it was unpacked from.
    pub archive_sha256: String,
    /// Whether its binaries still have the size, time and mode with which they were unpacked.
    pub whole: bool,
}
