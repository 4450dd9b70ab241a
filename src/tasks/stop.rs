//! `stop`: the member is stopped. A reboot starts it again, as after `systemctl stop`.
//!
//! In a rolling play the quorum gate stands before it; in any other the whole cluster is meant.

use super::way_back::leave_alone;
use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::etcd::config::UNIT;
use crate::host::Script;
use serde::Deserialize;
use std::time::Duration;

/// How long a member may take to end: systemd kills it after 90 seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Stop the member.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {}

impl HostTask for Stop {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs::default()
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let unit = &view.seen.unit;
        // Between two crashes there is no process, but there will be one again.
        let idle = !unit.runs() && unit.sub != "auto-restart";
        Ok(if idle { Decision::Nothing } else { Decision::change("stop etcd") })
    }

    async fn apply(&self, _view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        hands.progress("waiting until it has ended");
        let text = format!("{}systemctl stop {UNIT}\n", leave_alone());
        hands.connection.run(Script::new("stop etcd", &text).silent_for(LIMIT)).await?;
        Ok(())
    }
}
