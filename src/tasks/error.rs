//! Why a task failed.

use super::Change;
use super::reach::Obstacle;
use super::why::Why;
use crate::error::{ExitStatus, Explain};
use crate::etcd::bootstrap::BootstrapError;
use crate::etcd::client::CallError;
use crate::etcd::signature::known;
use crate::etcd::snapshot::ShelfError;
use crate::host::HostError;
use crate::inventory::Host;
use crate::pki::PkiError;
use crate::release::ReleaseError;
use semver::Version;
use std::sync::Arc;
use std::time::Duration;

/// Why a task failed; facts only, the engine adds host and task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The host, or the way to it.
    #[error(transparent)]
    Host(Arc<HostError>),
    /// The certificates.
    #[error(transparent)]
    Pki(Box<PkiError>),
    /// The passphrase of the CA's key was not handed over.
    #[error("{}", .0.line())]
    Passphrase(Arc<crate::error::Error>),
    /// The release.
    #[error(transparent)]
    Release(Box<ReleaseError>),
    /// The data dirs do not fit together.
    #[error("{}", join(.0))]
    Bootstrap(Vec<BootstrapError>),
    /// The member did not do what it was asked to.
    #[error("member `{member}`")]
    Member {
        /// The member's name.
        member: String,
        /// How far the call got.
        #[source]
        source: CallError,
    },
    /// The host cannot run a member as it is.
    #[error("{}", .problems.join("\n    "))]
    Unfit {
        /// All that is wrong, a sentence each.
        problems: Vec<String>,
        /// The next step.
        hint: Option<String>,
        /// Whether going on would cost data.
        refused: bool,
    },
    /// Hosts do not reach each other.
    #[error("{}", join(.0))]
    Unreachable(Vec<Obstacle>),
    /// etcd was started and ended.
    #[error("etcd does not stay up: {state}{}", because(.said.as_deref()))]
    Crashed {
        /// The unit's state.
        state: String,
        /// What etcd said last.
        said: Option<String>,
        /// The unit, for the hint.
        unit: String,
    },
    /// After the change there was still something to change.
    #[error("it was done, but the host still needs: {}", .0.join(", "))]
    DidNotTake(Vec<String>),
    /// What was waited for did not come.
    #[error("waited {} s in vain: {waited_for}{}", limit.as_secs(), told(.why.as_deref()))]
    TimedOut {
        /// What was waited for.
        waited_for: String,
        /// How long.
        limit: Duration,
        /// How the run ends because of it.
        exit: ExitStatus,
        /// What journals say of it.
        why: Option<Box<Why>>,
    },
    /// Touching the member now would cost quorum.
    #[error("refused to touch it: {reason}")]
    Gate {
        /// Why.
        reason: String,
        /// Whether it is for want of members, all of which are well.
        too_few: bool,
    },
    /// What was to be done before the member's turn failed.
    #[error("the member was not touched, since a step before its turn failed")]
    Untouched {
        /// Why.
        #[source]
        cause: Box<TaskError>,
    },
    /// A command on the controller failed.
    #[error("`{command}` on the controller {how}{}", because(.said.as_deref()))]
    Command {
        /// The command, as a shell would have it.
        command: String,
        /// How it ended.
        how: String,
        /// The last that it said.
        said: Option<String>,
    },
    /// The member did not do well with its change, and does well again with what it had before.
    #[error("the change was taken back, and the member is healthy with what it had before")]
    TakenBack {
        /// Why it did not do well.
        #[source]
        cause: Box<TaskError>,
    },
    /// The member did not do well with its change, and does not with what it had before.
    #[error("the change was taken back, but the member is not healthy with what it had before either ({after})")]
    TakenBackInVain {
        /// Why it did not do well.
        #[source]
        cause: Box<TaskError>,
        /// Why it still does not.
        after: Box<TaskError>,
    },
    /// The member did not do well with its change, and going back would not help.
    #[error(
        "there is no way back to etcd {version}: the cluster has agreed on {cluster}, with which {version} refuses to start"
    )]
    NoWayBack {
        /// Why it did not do well.
        #[source]
        cause: Box<TaskError>,
        /// What was in force before.
        version: Version,
        /// What the cluster has agreed upon.
        cluster: Version,
    },
    /// The member did not do well with its change, yet serves, and the others cannot do without it now.
    #[error("the change was not taken back, since the others cannot spare the member now: {reason}")]
    NotSpared {
        /// Why it did not do well.
        #[source]
        cause: Box<TaskError>,
        /// What the gate says.
        reason: String,
    },
    /// What was in force before is of a version that the cluster has left behind.
    #[error("the cluster has agreed on {cluster}, with which etcd {version} refuses to start")]
    NoWayDown {
        /// What was in force before.
        version: Version,
        /// What the cluster has agreed upon.
        cluster: Version,
    },
    /// The release that was in force before is no longer on the host.
    #[error("the release {version} that it would go back to is no longer on it")]
    ReleaseGone {
        /// The release.
        version: Version,
    },
    /// The host cannot be reached, and is on its own with its change.
    #[error("the host went out of reach; unless the member comes up, it takes the change back by itself within {} s", within.as_secs())]
    OutOfReach {
        /// What failed first.
        #[source]
        cause: Box<TaskError>,
        /// How long that takes at most from the change on.
        within: Duration,
    },
    /// A file of the controller cannot be read.
    #[error("cannot read `{path}`")]
    Local {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A host of the inventory could not be looked at, and without it nothing can be decided.
    #[error("host `{host}` could not be looked at")]
    Blind {
        /// The host.
        host: String,
    },
    /// Members that say they are healthy hold different data.
    #[error("the members hold different data at the same revision (hash of all keys: {0})")]
    Diverged(String),
    /// What the members say forbids a change of version.
    #[error("{}", .0.join("\n    "))]
    Unsound(Vec<String>),
    /// No snapshot could be taken.
    #[error("no snapshot of member `{member}` was taken")]
    Snapshot {
        /// The member's name.
        member: String,
        /// Why.
        #[source]
        source: Box<ShelfError>,
    },
    /// No member can give the snapshot that has to be taken first.
    #[error("no snapshot can be taken first: {0}")]
    NoGiver(&'static str),
    /// There is no folder to keep snapshots in.
    #[error("no snapshot can be kept: neither `XDG_STATE_HOME` nor `HOME` is an absolute path")]
    NoStateFolder,
    /// There are no certificates to ask the members with.
    #[error("there are no usable certificates in `{}`", dir.display())]
    NoPki {
        /// The PKI folder.
        dir: std::path::PathBuf,
    },
    /// The user stopped the run.
    #[error("interrupted")]
    Interrupted,
}

impl TaskError {
    /// After an apply there were changes left.
    #[must_use]
    pub(crate) fn did_not_take(left: Vec<Change>) -> Self {
        Self::DidNotTake(left.into_iter().map(|change| change.summary).collect())
    }

    /// Whether the connection to the host broke, so that what was begun there may or may not have been done.
    pub(crate) fn is_connection_lost(&self) -> bool {
        matches!(self, Self::Host(error) if error.is_connection_lost())
    }

    /// Whether the run may not go on, since the lock is not its own.
    pub(crate) fn is_of_lock(&self) -> bool {
        matches!(self, Self::Host(error) if error.is_of_lock())
    }

    /// Nothing can be decided about `host`.
    #[must_use]
    pub(crate) fn blind(host: &Host) -> Self {
        Self::Blind { host: host.name.clone() }
    }
}

impl From<HostError> for TaskError {
    fn from(error: HostError) -> Self {
        Self::Host(Arc::new(error))
    }
}

impl From<PkiError> for TaskError {
    fn from(error: PkiError) -> Self {
        Self::Pki(Box::new(error))
    }
}

impl From<ReleaseError> for TaskError {
    fn from(error: ReleaseError) -> Self {
        Self::Release(Box::new(error))
    }
}

fn join(errors: &[impl ToString]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ")
}

fn because(said: Option<&str>) -> String {
    let meaning = |said| known(said).map_or_else(String::new, |known| format!("; that is: {}", known.cause));
    said.map_or_else(String::new, |said| format!("; it said: {said}{}", meaning(said)))
}

fn told(why: Option<&Why>) -> String {
    why.map_or_else(String::new, |why| {
        format!("; {} said: {}; that is: {}", why.said_by, why.told.words, why.told.signature.cause)
    })
}

impl Explain for TaskError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Host(error) => error.hint(),
            Self::Pki(error) => error.hint(),
            Self::Passphrase(error) => error.hint(),
            Self::Release(error) => error.hint(),
            Self::Bootstrap(errors) => errors.first().and_then(Explain::hint),
            Self::Unfit { hint, .. } => hint.clone(),
            Self::Unreachable(obstacles) => {
                let mut hints: Vec<String> = Vec::new();
                for hint in obstacles.iter().map(Obstacle::hint) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                Some(hints.join("; "))
            }
            Self::Crashed { said, unit, .. } => {
                let story = format!("`journalctl -u {unit} -n 50` on that host has the whole story");
                Some(match said.as_deref().and_then(known) {
                    Some(known) => format!("{}; {story}", known.next),
                    None => story,
                })
            }
            Self::Gate { too_few: true, .. } => Some(
                "two members cannot be changed one at a time without an outage: `etcd-ha stop`, then `etcd-ha deploy`".to_owned(),
            ),
            Self::Gate { .. } => Some("`etcd-ha health` says how every member is: the others have to be well before one is touched".to_owned()),
            Self::TimedOut { why: Some(why), .. } => {
                Some(format!("{}; `etcd-ha explain` looks at all members", why.told.signature.next))
            }
            Self::TimedOut { exit: ExitStatus::Unhealthy, .. } => {
                Some("`etcd-ha explain` looks at all members and their journals, and says why".to_owned())
            }
            Self::Diverged(_) | Self::Unsound(_) => Some(
                "stop writing, keep every data dir as it is, and take a snapshot of each member before anything else: \
                 one of them holds data of another time or cluster"
                    .to_owned(),
            ),
            Self::Snapshot { source, .. } => source.hint(),
            Self::NoGiver(_) => Some(
                "bring a member up (`etcd-ha start`, `etcd-ha health`), or go on without a snapshot by `--no-snapshot`: \
                 then nothing is left of what is deleted"
                    .to_owned(),
            ),
            Self::NoStateFolder => {
                Some("set `XDG_STATE_HOME`; `--no-snapshot` goes on without a way back".to_owned())
            }
            Self::NoPki { .. } => Some(
                "`etcd-ha deploy` makes them; on another controller, copy the PKI folder from the one that deployed".to_owned(),
            ),
            Self::TakenBack { cause } | Self::Untouched { cause } => cause.hint(),
            Self::TakenBackInVain { after, cause } => after.hint().or_else(|| cause.hint()),
            Self::NoWayBack { cause, .. } => Some(format!(
                "mend the cause and run the same command again; the other members have their quorum{}",
                cause.hint().map(|hint| format!("; {hint}")).unwrap_or_default()
            )),
            Self::NotSpared { .. } => Some(
                "see to the other members, then run the same command again; unless this one serves when its time is up, \
                 its host takes the change back by itself"
                    .to_owned(),
            ),
            Self::NoWayDown { .. } => Some(
                "only a snapshot from before the upgrade leads back (deploy took one), and all that was written since is lost \
                 with it; a newer patch of the version that runs is the better way"
                    .to_owned(),
            ),
            Self::ReleaseGone { version } => Some(format!("set `etcd.version: {version}` and deploy")),
            Self::OutOfReach { .. } => Some(
                "see to the host or the way to it, then run the same command again: it finds out how the member is".to_owned(),
            ),
            Self::Member { source, .. } => source.hint().map(ToOwned::to_owned),
            Self::Command { .. } | Self::DidNotTake(_) | Self::TimedOut { .. } | Self::Local { .. } | Self::Blind { .. }
            | Self::Interrupted => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::Host(error) => error.exit(),
            Self::Pki(error) => error.exit(),
            Self::Passphrase(error) => error.exit(),
            Self::Release(error) => error.exit(),
            Self::Bootstrap(_) | Self::Gate { .. } | Self::Unfit { refused: true, .. } | Self::NoGiver(_) => {
                ExitStatus::Refused
            }
            Self::TimedOut { exit, .. } => *exit,
            // Nothing was wrong with the change: the others could not spare the member any more, or the user stopped the
            // run before it was restarted.
            Self::TakenBack { cause } if matches!(cause.exit(), ExitStatus::Refused | ExitStatus::Interrupted) => {
                cause.exit()
            }
            Self::TakenBack { .. } => ExitStatus::RolledBack,
            Self::Untouched { cause } => cause.exit(),
            Self::TakenBackInVain { .. } => ExitStatus::Unhealthy,
            Self::NoWayDown { .. } | Self::NotSpared { .. } => ExitStatus::Refused,
            Self::Diverged(_) | Self::Unsound(_) => ExitStatus::Unhealthy,
            Self::Interrupted => ExitStatus::Interrupted,
            Self::Member { .. }
            | Self::Command { .. }
            | Self::OutOfReach { .. }
            | Self::NoWayBack { .. }
            | Self::ReleaseGone { .. }
            | Self::Unfit { .. }
            | Self::Unreachable(_)
            | Self::Crashed { .. }
            | Self::DidNotTake(_)
            | Self::Local { .. }
            | Self::Blind { .. }
            | Self::Snapshot { .. }
            | Self::NoStateFolder
            | Self::NoPki { .. } => ExitStatus::Failed,
        }
    }
}
