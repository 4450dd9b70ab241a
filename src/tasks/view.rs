//! What a task is shown, and what it may act with.

use super::error::TaskError;
use super::fleet::{Fleet, SnapshotPlace};
use super::reach::Reach;
use super::remains::Remains;
use super::wanted::Wanted;
use crate::etcd::bootstrap::BootstrapError;
use crate::etcd::compare::Comparison;
use crate::etcd::config::Membership;
use crate::etcd::health::ClusterHealth;
use crate::etcd::snapshot::Manifest;
use crate::host::{Connection, Observation};
use crate::inventory::{Host, Inventory};
use crate::release::Arch;
use crate::report::{Event, Reporter};
use semver::Version;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How a play goes over its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All hosts at once; every one finishes.
    #[default]
    Parallel,
    /// One after the other in the inventory's order; the first failure ends it.
    Sequence,
    /// One after the other with the quorum gate before each, the leader last.
    Rolling,
}

impl Mode {
    /// Its name in a playbook.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Sequence => "sequence",
            Self::Rolling => "rolling",
        }
    }
}

/// What is known of all hosts; parts that the task does not need may be missing.
pub struct Overview<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The observations by host name, of those hosts that were looked at.
    pub seen: BTreeMap<&'a str, Arc<Observation>>,
    /// Which cluster the data dirs belong to.
    pub membership: Option<Result<Membership, Vec<BootstrapError>>>,
    /// What the members say.
    pub cluster: Option<Arc<ClusterHealth>>,
    /// Who reaches whom.
    pub reach: Option<Arc<Reach>>,
    /// What would be issued in the PKI, a phrase each.
    pub issue: Vec<String>,
    /// What the user should know of the PKI.
    pub pki_warnings: Vec<String>,
    /// The CA bundle, PEM.
    pub ca: String,
    /// The members' hashes of all keys at one revision, by host.
    pub hashes: BTreeMap<String, u32>,
    /// What a comparison of the members' data gave.
    pub comparison: Option<Comparison>,
    /// The version that the cluster has agreed upon, if a member tells it.
    pub cluster_version: Option<Version>,
    /// Where snapshots belong.
    pub snapshots: &'a SnapshotPlace,
    /// Whether members may go down a minor version by etcd's own downgrade.
    pub downgrade: bool,
    /// The snapshot that was taken in this run.
    pub snapshot: Option<PathBuf>,
    /// Snapshots that are kept on the controller, the newest first.
    pub kept: Vec<Manifest>,
    /// When the run began.
    pub begun: OffsetDateTime,
    /// The hosts' architectures whose release is not at hand yet.
    pub missing_releases: Vec<Arch>,
}

/// What a task on a host is shown.
pub struct View<'a> {
    /// What is known of all hosts.
    pub overview: &'a Overview<'a>,
    /// The host.
    pub host: &'a Host,
    /// The host as it was observed last.
    pub seen: &'a Observation,
    /// The files and the generation that it should have, if the task needs them.
    pub wanted: Option<&'a Wanted>,
    /// How the play goes over its hosts.
    pub mode: Mode,
    /// The exit status of the task's probe.
    pub probe: Option<i64>,
    /// What of a member lies on the host.
    pub remains: Option<&'a Remains>,
    /// If the member was disturbed in its turn: how far it is since.
    pub disturbed: Option<Disturbed>,
}

/// What a member that was restarted in its turn has to reach, and what was seen of it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disturbed {
    /// How far the cluster was when the wait for the member began, as a raft index.
    pub front: u64,
    /// The process that was seen first after it was started.
    pub pid: u32,
    /// How often systemd had started it again by then.
    pub restarts: u32,
    /// How long ago that was.
    pub seen_for: Duration,
}

impl View<'_> {
    /// What the host should have.
    ///
    /// # Errors
    /// The task did not say that it needs it.
    pub fn wanted(&self) -> Result<&Wanted, TaskError> {
        self.wanted.ok_or_else(|| TaskError::blind(self.host))
    }

    /// What the members say.
    ///
    /// # Errors
    /// The task did not say that it needs it.
    pub fn cluster(&self) -> Result<&ClusterHealth, TaskError> {
        self.overview.cluster.as_deref().ok_or_else(|| TaskError::blind(self.host))
    }
}

/// What a task on a host acts with.
pub struct Hands<'a> {
    /// The way to the host.
    pub connection: &'a Connection,
    /// The host.
    pub host: &'a Host,
    /// The task's key, for progress.
    pub task: &'static str,
    /// Where progress is told.
    pub reporter: &'a Reporter,
    /// The way to everything else.
    pub fleet: &'a Fleet,
    /// Whether the host has to be looked at before anything else is done anywhere.
    pub look_now: Cell<bool>,
}

impl Hands<'_> {
    /// Tells what is going on.
    pub fn progress(&self, message: impl Into<String>) {
        self.reporter.emit(Event::TaskProgress {
            host: self.host.name.clone(),
            task: self.task.to_owned(),
            message: message.into(),
            done: None,
            total: None,
        });
    }
}
