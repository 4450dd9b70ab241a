//! Everything that a playbook can have done: one file per task, one line below per file.
//!
//! A task is a *check*, a pure decision over what was observed, and an *apply*. The engine observes
//! again after an apply, and the check must then have nothing more to say.

mod crash;
mod error;
pub mod fitness;
mod fleet;
mod host_log;
mod reach;
mod remains;
mod template;
#[cfg(test)]
pub(crate) mod tests;
mod version_change;
mod view;
mod wanted;
mod way_back;
mod why;

pub use activate::Differences;
pub use error::TaskError;
pub use fleet::{Fleet, FleetOptions, SnapshotPlace, Writer, certificate_names, found, linked_version, places, probe};
pub use hand_over_leadership::successor;
pub use host_log::{Note, file as host_log_file};
pub use reach::{Arrival, Door, Obstacle, Port, Reach, Reaching, Way, Ways};
pub use remains::Remains;
pub use template::VARIABLES;
pub use view::{Disturbed, Hands, Mode, Overview, View};
pub use wanted::{CertificateFile, Wanted};
pub use way_back::{GRACE, in_force, previous_version, runs_what_is_in_force, take_back, version_of};
pub use why::{Journal, Why, last_said, why};

use crate::error::ExitStatus;
use crate::inventory::Inventory;
use serde::Deserialize;

/// What a check decides.
#[derive(Debug)]
pub enum Decision {
    /// There is nothing to do.
    Nothing,
    /// These things are to be changed.
    Changes(Vec<Change>),
    /// It has to be waited for something that comes by itself.
    NotYet {
        /// What is being waited for, a phrase.
        reason: String,
        /// Where its coming can be seen.
        seen_in: SeenIn,
        /// How the run ends if it never comes.
        exit: ExitStatus,
    },
}

/// Where to look to see that a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenIn {
    /// On the host.
    Host,
    /// In what the members say.
    Cluster,
}

/// One thing that is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What, a phrase in the imperative: `start etcd`.
    pub summary: String,
    /// For text files, what would differ; never holds a secret.
    pub diff: Option<TextDiff>,
}

/// A text file that is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextDiff {
    /// Its path on the host.
    pub path: String,
    /// Its text now; empty if it is not there.
    pub old: String,
    /// Its text then.
    pub new: String,
}

impl Change {
    /// A change without a diff.
    #[must_use]
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), diff: None }
    }
}

impl Decision {
    /// The changes, or nothing if there are none.
    #[must_use]
    pub fn changes(changes: Vec<Change>) -> Self {
        if changes.is_empty() { Self::Nothing } else { Self::Changes(changes) }
    }

    /// One change without a diff.
    #[must_use]
    pub fn change(summary: impl Into<String>) -> Self {
        Self::Changes(vec![Change::new(summary)])
    }
}

/// What a task has to be shown beside the observation of its host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The files and the generation that the host should have.
    pub wanted: bool,
    /// Which cluster the data dirs of all hosts belong to.
    pub membership: bool,
    /// What every member says.
    pub cluster: bool,
    /// What every member says, if any of them runs.
    pub living: bool,
    /// Whether all members hold the same data, if their version is about to change.
    pub comparison: bool,
    /// The version that the cluster has agreed upon.
    pub cluster_version: bool,
    /// The same, if a member runs a later version than the inventory's.
    pub agreed_if_later: bool,
    /// Whether every host reaches every other's peer port.
    pub reach: Reaching,
    /// Whether all members hold the same data, in a run that changed something.
    pub hashes: bool,
    /// What would have to be issued in the PKI.
    pub pki: bool,
    /// Which releases are not at hand yet.
    pub release: bool,
    /// Which snapshots are kept on the controller.
    pub kept: bool,
    /// What of a member lies on the host.
    pub remains: bool,
    /// A script that changes nothing; its exit status is shown.
    pub probe: Option<String>,
}

/// What a task that runs on hosts must say of itself.
pub(crate) trait HostTask {
    /// What it has to be shown.
    fn needs(&self, view: &View<'_>) -> Needs;

    /// Decides what is to be done; pure.
    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError>;

    /// Decides whether it is done, after [`HostTask::apply`] and a new look at the host; pure.
    fn verify(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        self.check(view)
    }

    /// What the user should know although it stops nothing; pure.
    fn warnings(&self, _view: &View<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Does what the check decided.
    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError>;
}

/// What a task that runs once, on the controller, must say of itself.
pub(crate) trait ControllerTask {
    /// What it has to be shown.
    fn needs(&self, inventory: &Inventory) -> Needs;

    /// Decides what is to be done; pure.
    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError>;

    /// Decides whether it is done, after [`ControllerTask::apply`]; pure.
    fn verify(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        self.check(overview)
    }

    /// What the user should know although it stops nothing; pure.
    fn warnings(&self, _overview: &Overview<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Does what the check decided.
    async fn apply(&self, overview: &Overview<'_>, fleet: &Fleet) -> Result<(), TaskError>;
}

/// Parameters of a task of which none are given.
fn none<'de, E: serde::de::Error>() -> impl serde::Deserializer<'de, Error = E> {
    serde::de::value::MapDeserializer::new(std::iter::empty::<(String, String)>())
}

macro_rules! tasks {
    ($(#[$enum_doc:meta])* $enum:ident: $trait:ident { $(#[doc = $doc:literal] $module:ident :: $kind:ident),* $(,)? }
     needs($before:ty) check($view:ty) apply($hands:ty)) => {
        $(mod $module;)*

        $(#[$enum_doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $enum {
            $(#[doc = $doc] $kind($module::$kind),)*
        }

        impl $enum {
            /// What each of them does, a sentence, by the key that playbooks name it by.
            pub const ABOUT: &'static [(&'static str, &'static str)] = &[$((stringify!($module), $doc)),*];

            /// The keys by which playbooks name these tasks.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($module),)*];

            /// The key by which playbooks name it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$kind(_) => stringify!($module),)* }
            }

            /// Reads the parameters that stand behind a task's key; `None` if the key is no task's.
            fn read<'de, A: serde::de::MapAccess<'de>>(name: &str, map: &mut A) -> Option<Result<Self, A::Error>> {
                match name {
                    $(stringify!($module) => Some(match map.next_value::<Option<$module::$kind>>() {
                        Ok(Some(task)) => Ok(Self::$kind(task)),
                        // A key with nothing behind it is the key alone.
                        Ok(None) => $module::$kind::deserialize(none()).map(Self::$kind),
                        Err(error) => Err(error),
                    }),)*
                    _ => None,
                }
            }

            /// A task that stands alone, without parameters.
            fn bare<E: serde::de::Error>(name: &str) -> Option<Result<Self, E>> {
                match name {
                    $(stringify!($module) => Some($module::$kind::deserialize(none()).map(Self::$kind)),)*
                    _ => None,
                }
            }

            pub(crate) fn needs(&self, before: $before) -> Needs {
                match self { $(Self::$kind(task) => $trait::needs(task, before),)* }
            }

            pub(crate) fn check(&self, view: $view) -> Result<Decision, TaskError> {
                match self { $(Self::$kind(task) => $trait::check(task, view),)* }
            }

            pub(crate) fn verify(&self, view: $view) -> Result<Decision, TaskError> {
                match self { $(Self::$kind(task) => $trait::verify(task, view),)* }
            }

            pub(crate) fn warnings(&self, view: $view) -> Vec<String> {
                match self { $(Self::$kind(task) => $trait::warnings(task, view),)* }
            }

            pub(crate) async fn apply(&self, view: $view, hands: $hands) -> Result<(), TaskError> {
                match self { $(Self::$kind(task) => $trait::apply(task, view, hands).await,)* }
            }
        }
    };
}

tasks! {
    /// A task that runs on hosts, with its parameters.
    HostTaskKind: HostTask {
        /// Look whether the host can run a member, and holds nothing that is not ours.
        preflight::Preflight,
        /// Make the system user and the folders.
        prepare_host::PrepareHost,
        /// Bring the release to the host and unpack it beside the others.
        stage_release::StageRelease,
        /// Bring the certificates to the host, beside those in force.
        stage_certificates::StageCertificates,
        /// Bring the environment file and the unit to the host, beside those in force.
        stage_config::StageConfig,
        /// Put what is staged in the place of what is in force.
        activate::Activate,
        /// Put what was in force before the last change in force again.
        activate_previous::ActivatePrevious,
        /// Start the member without waiting for its quorum.
        start::Start,
        /// Stop the member.
        stop::Stop,
        /// Stop the member for good and delete what was put on its host.
        remove_member_files::RemoveMemberFiles,
        /// Write down that the cluster exists.
        record_cluster::RecordCluster,
        /// Move leadership to another member if this one is about to be restarted.
        hand_over_leadership::HandOverLeadership,
        /// Restart the member if its process is not of the wanted generation.
        restart::Restart,
        /// Wait until the member is healthy.
        wait_healthy::WaitHealthy,
        /// Disarm the way back of a member that does well.
        confirm::Confirm,
        /// Run a command.
        command::Command,
        /// Copy a file of the controller.
        copy::Copy,
        /// Bring a systemd unit into a state.
        systemd::Systemd,
        /// Wait for a port or a path.
        wait_for::WaitFor,
    }
    needs(&View<'_>) check(&View<'_>) apply(&Hands<'_>)
}

tasks! {
    /// A task that runs once, on the controller.
    ControllerTaskKind: ControllerTask {
        /// Fetch and check the release.
        fetch_release::FetchRelease,
        /// Make the certificates.
        certificates::Certificates,
        /// Look whether every host reaches every other's peer port.
        check_peers::CheckPeers,
        /// Look whether all that is to be deleted is this cluster's.
        check_owner::CheckOwner,
        /// If the version is about to change, look whether all members hold the same data.
        compare_members::CompareMembers,
        /// If the version is about to change, or always, take a snapshot of the data.
        snapshot::Snapshot,
        /// If members are to run an earlier minor version, have the cluster agree on that first.
        downgrade::Downgrade,
        /// Ask every member for its health.
        health::Health,
    }
    needs(&Inventory) check(&Overview<'_>) apply(&Fleet)
}

/// A task as a playbook names it.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskKind {
    /// It runs on the hosts of its play.
    Host(HostTaskKind),
    /// It runs once, on the controller.
    Controller(ControllerTaskKind),
}

impl HostTaskKind {
    /// Whether the task that follows may be checked, if it says the same of itself, before the host is
    /// looked at again: it only puts things beside what is in force, or starts what did not run.
    pub(crate) fn aside(&self) -> bool {
        matches!(
            self,
            Self::PrepareHost(_)
                | Self::StageRelease(_)
                | Self::StageCertificates(_)
                | Self::StageConfig(_)
                | Self::Start(_)
        )
    }
}

impl HostTaskKind {
    /// `wait_healthy` without parameters.
    pub(crate) fn wait_healthy() -> Self {
        Self::WaitHealthy(wait_healthy::WaitHealthy {})
    }

    /// `confirm`, whatever the member runs with.
    pub(crate) fn disarm() -> Self {
        Self::Confirm(confirm::Confirm { always: true })
    }

    /// Whether it may be done again after the connection broke in the middle of it: it only puts things beside what is
    /// in force, under names of its own until they are whole.
    pub(crate) fn repeatable(&self) -> bool {
        self.aside() && !matches!(self, Self::Start(_)) || matches!(self, Self::Copy(_))
    }

    /// Whether it takes the member down, so that the quorum gate stands before it: whatever the play's mode, but for
    /// stopping, which outside a rolling play is meant for the whole cluster.
    pub(crate) fn disturbs(&self, mode: Mode) -> bool {
        matches!(self, Self::Restart(_)) || (mode == Mode::Rolling && matches!(self, Self::Stop(_)))
    }

    /// Whether it puts something in the place of what is in force, and arms the way back first.
    pub(crate) fn puts_in_force(&self) -> bool {
        matches!(self, Self::Activate(_) | Self::ActivatePrevious(_))
    }

    /// Whether its failure says that the member does not do well with what is in force.
    pub(crate) fn brings_up(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Restart(_) | Self::WaitHealthy(_))
    }
}

impl TaskKind {
    /// The key by which playbooks name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Host(task) => task.name(),
            Self::Controller(task) => task.name(),
        }
    }

    /// The keys of all tasks.
    pub fn names() -> impl Iterator<Item = &'static str> {
        HostTaskKind::NAMES.iter().chain(ControllerTaskKind::NAMES).copied()
    }

    fn bare<E: serde::de::Error>(name: &str) -> Result<Self, E> {
        let host = HostTaskKind::bare(name).map(|task| task.map(Self::Host));
        let task = host.or_else(|| ControllerTaskKind::bare(name).map(|task| task.map(Self::Controller)));
        task.unwrap_or_else(|| Err(unknown(name)))
    }

    fn read<'de, A: serde::de::MapAccess<'de>>(name: &str, map: &mut A) -> Result<Self, A::Error> {
        if let Some(task) = HostTaskKind::read(name, map) {
            return task.map(Self::Host);
        }
        let task = ControllerTaskKind::read(name, map).map(|task| task.map(Self::Controller));
        task.unwrap_or_else(|| Err(unknown(name)))
    }
}

fn unknown<E: serde::de::Error>(name: &str) -> E {
    let near = TaskKind::names().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    match near.filter(|near| strsim::jaro(near, name) > 0.7) {
        Some(near) => E::custom(format_args!("there is no task `{name}`; did you mean `{near}`?")),
        None => E::custom(format_args!(
            "there is no task `{name}`; there are: {}",
            TaskKind::names().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// A task as it stands in a playbook: its key alone, or one key with parameters and, beside it,
/// an optional `title`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What to call it on the screen.
    pub title: Option<String>,
    /// The task.
    pub task: TaskKind,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand, since serde's derived enums want a YAML tag, and its internally tagged and
        // flattened ones lose the line of a typo or take a second key in silence.
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Entry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a task, alone or with its parameters")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Entry, E> {
                Ok(Entry { title: None, task: TaskKind::bare(name)? })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                use serde::de::Error as _;
                let (mut title, mut task) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "title" => title = Some(map.next_value()?),
                        name if task.is_none() => task = Some(TaskKind::read(name, &mut map)?),
                        name => return Err(A::Error::custom(format_args!("a second task `{name}` in one entry"))),
                    }
                }
                let task = task.ok_or_else(|| A::Error::custom("an entry without a task"))?;
                Ok(Entry { title, task })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
