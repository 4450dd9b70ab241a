//! Why a task failed.

use super::Change;
use crate::error::{ExitStatus, Explain};
use crate::etcd::bootstrap::BootstrapError;
use crate::etcd::client::CallError;
use crate::host::HostError;
use crate::inventory::Host;
use crate::pki::PkiError;
use crate::release::ReleaseError;
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
    #[error("{}", .0.join("\n    "))]
    Unreachable(Vec<String>),
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
    #[error("waited {} s in vain: {waited_for}", limit.as_secs())]
    TimedOut {
        /// What was waited for.
        waited_for: String,
        /// How long.
        limit: Duration,
        /// How the run ends because of it.
        exit: ExitStatus,
    },
    /// Touching the member now would cost quorum.
    #[error("refused to touch it: {reason}")]
    Gate {
        /// Why.
        reason: String,
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

fn join(errors: &[BootstrapError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ")
}

fn because(said: Option<&str>) -> String {
    said.map_or_else(String::new, |said| format!("; it said: {said}"))
}

impl Explain for TaskError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Host(error) => error.hint(),
            Self::Pki(error) => error.hint(),
            Self::Release(error) => error.hint(),
            Self::Bootstrap(errors) => errors.first().and_then(Explain::hint),
            Self::Unfit { hint, .. } => hint.clone(),
            Self::Unreachable(_) => {
                Some("open the peer port between the members' hosts in the firewall, or correct `address`".to_owned())
            }
            Self::Crashed { unit, .. } => {
                Some(format!("`journalctl -u {unit} -n 50` on that host has the whole story"))
            }
            Self::Gate { .. } => Some("`etcd-ha health` says how every member is: the others have to be well before one is touched".to_owned()),
            Self::TimedOut { exit: ExitStatus::Unhealthy, .. } => {
                Some("`journalctl -u etcd` on every member's host; a member that refuses a peer says so in its own journal, \
                      not in that of the peer".to_owned())
            }
            Self::Diverged(_) => Some(
                "stop writing, keep every data dir as it is, and take a snapshot of each member before anything else: \
                 one of them holds data of another time or cluster"
                    .to_owned(),
            ),
            Self::NoPki { .. } => Some(
                "`etcd-ha deploy` makes them; on another controller, copy the PKI folder from the one that deployed".to_owned(),
            ),
            Self::TakenBack { cause } => cause.hint(),
            Self::TakenBackInVain { after, cause } => after.hint().or_else(|| cause.hint()),
            Self::OutOfReach { .. } => Some(
                "see to the host or the way to it, then run the same command again: it finds out how the member is".to_owned(),
            ),
            Self::Member { .. } | Self::DidNotTake(_) | Self::TimedOut { .. } | Self::Local { .. } | Self::Blind { .. }
            | Self::Interrupted => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::Host(error) => error.exit(),
            Self::Pki(error) => error.exit(),
            Self::Release(error) => error.exit(),
            Self::Bootstrap(_) | Self::Gate { .. } | Self::Unfit { refused: true, .. } => ExitStatus::Refused,
            Self::TimedOut { exit, .. } => *exit,
            // Nothing was wrong with the change: the others could not spare the member any more.
            Self::TakenBack { cause } if cause.exit() == ExitStatus::Refused => ExitStatus::Refused,
            Self::TakenBack { .. } => ExitStatus::RolledBack,
            Self::TakenBackInVain { .. } => ExitStatus::Unhealthy,
            Self::Diverged(_) => ExitStatus::Unhealthy,
            Self::Interrupted => ExitStatus::Interrupted,
            Self::Member { .. }
            | Self::OutOfReach { .. }
            | Self::Unfit { .. }
            | Self::Unreachable(_)
            | Self::Crashed { .. }
            | Self::DidNotTake(_)
            | Self::Local { .. }
            | Self::Blind { .. }
            | Self::NoPki { .. } => ExitStatus::Failed,
        }
    }
}
