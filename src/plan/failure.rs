//! A task that failed, and playbooks that do not fit the inventory.

use crate::error::{ExitStatus, Explain};
use crate::tasks::TaskError;

/// A task failed on a host.
#[derive(Debug, thiserror::Error)]
#[error("host `{host}`, task `{task}`")]
pub struct Failure {
    /// The host, or `controller`.
    pub host: String,
    /// The task's key.
    pub task: String,
    /// Why.
    #[source]
    pub source: TaskError,
}

impl Explain for Failure {
    fn hint(&self) -> Option<String> {
        self.source.hint()
    }

    fn exit(&self) -> ExitStatus {
        self.source.exit()
    }
}

/// The playbook does not fit the inventory.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A play names a host that is not there.
    #[error("play `{play}` is for host `{host}`, which is not in the inventory")]
    UnknownHost {
        /// The play.
        play: String,
        /// The host.
        host: String,
    },
    /// Some hosts only, of a cluster that does not stand yet.
    #[error(
        "the cluster does not stand yet, and cannot be set up on some of its hosts only: without a quorum no member becomes ready"
    )]
    LimitedBootstrap,
}

impl Explain for PlanError {
    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}
