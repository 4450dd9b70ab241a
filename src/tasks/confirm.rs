//! `confirm`: the member does well with its last change, so the way back is disarmed.

use super::way_back::{disarm, runs_what_is_in_force};
use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::host::Script;
use crate::ssh::quote;
use serde::Deserialize;

/// Disarm the way back of a member that does well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// Also if its process does not run with what is in force.
    #[serde(default)]
    pub always: bool,
}

impl HostTask for Confirm {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs::default()
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        Ok(if view.seen.unconfirmed && (self.always || runs_what_is_in_force(view.seen)) {
            Decision::change("keep the change: disarm the way back")
        } else if view.seen.taken_back.is_some() {
            // It was told at the run's begin, and the member does well with what it has.
            Decision::change("forget the change that the host took back by itself")
        } else {
            Decision::Nothing
        })
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let text = format!("cd {}\n{}", quote(&view.host.paths.config), disarm());
        hands.connection.run(Script::new("keep the change", &text)).await?;
        Ok(())
    }
}
