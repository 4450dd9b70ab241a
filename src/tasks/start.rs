//! `start`: the member is started, and started again after a reboot.
//!
//! No member reports ready before there is a quorum, so the first of a new cluster would wait for
//! the others in vain: it is started without blocking, and is through once its process listens for
//! its peers.

use super::{Change, Decision, Hands, HostTask, Needs, TaskError, View};
use crate::etcd::config::UNIT;
use crate::host::{UnitState, start_and_wait};
use crate::tasks::crash::crashed;
use crate::tasks::way_back::runs_what_is_in_force;
use serde::Deserialize;
use std::time::Duration;

/// How long a process may take to listen for its peers; it takes a tenth of a second.
const LISTEN_LIMIT: Duration = Duration::from_secs(20);

/// Start the member without waiting for its quorum.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Start it with what is in force on the host, whatever the inventory says.
    #[serde(default)]
    pub in_force: bool,
}

impl HostTask for Start {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs { wanted: !self.in_force, membership: self.in_force, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let unit = &view.seen.unit;
        let outdated = if self.in_force {
            fit(view)?;
            !runs_what_is_in_force(view.seen)
        } else {
            view.seen.generation() != Some(&view.wanted()?.generation)
        };
        let mut changes = Vec::new();
        if unit.enabled != "enabled" {
            changes.push(Change::new(format!("enable {UNIT}, so that a reboot starts it")));
        }
        if !unit.runs() || unit.crashed() {
            changes.push(Change::new("start etcd"));
        } else if !unit.ready() && outdated {
            // It serves nobody yet, so it can be put right without a gate.
            changes.push(Change::new("restart etcd, which is still starting with an older configuration"));
        }
        Ok(Decision::changes(changes))
    }

    fn verify(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        crashed(view)?;
        self.check(view)
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let text = script(&view.seen.unit);
        hands.progress("waiting for its peer port");
        let listens = start_and_wait(hands.connection, &text, UNIT, view.host.peer_port, LISTEN_LIMIT).await?;
        hands.look_now.set(!listens);
        Ok(())
    }
}

/// Fails if what is on the host cannot be started as it stands: nothing is there, or data that does not fit.
pub(super) fn fit(view: &View<'_>) -> Result<(), TaskError> {
    if let Some(Err(errors)) = &view.overview.membership {
        let own: Vec<_> = errors.iter().filter(|error| error.concerns(&view.host.name)).cloned().collect();
        if !own.is_empty() {
            return Err(TaskError::Bootstrap(own));
        }
    }
    if view.seen.unit_text.is_none() || view.seen.environment.is_none() {
        let problems = vec!["no member is set up on it".to_owned()];
        return Err(TaskError::Unfit { problems, hint: Some("`etcd-ha deploy` sets it up".to_owned()), refused: false });
    }
    Ok(())
}

/// What starts the unit, from whatever state it is in, without waiting.
pub(super) fn script(unit: &UnitState) -> String {
    let mut text = String::new();
    if unit.enabled != "enabled" {
        text += &format!("systemctl enable --quiet {UNIT}\n");
    } else if unit.needs_reload {
        text += "systemctl daemon-reload\n";
    }
    if !unit.ready() {
        if unit.runs() || unit.crashed() {
            // Its process and its failure would be seen for a moment yet, and taken for those of the new start.
            // One that has become ready meanwhile serves: it is for a rolling play, behind the gate.
            text += &format!("if [ \"$(systemctl is-active {UNIT})\" != active ]; then systemctl stop {UNIT}; fi\n");
        }
        text += &format!("systemctl reset-failed {UNIT} 2>/dev/null || :\nsystemctl start --no-block {UNIT}\n");
    }
    text
}
