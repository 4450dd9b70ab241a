//! `start`: the member is started, and started again after a reboot.
//!
//! No member reports ready before there is a quorum, so the first of a new cluster would wait for
//! the others in vain: it is started without blocking, and is through once its process listens for
//! its peers.

use super::{Change, Decision, Hands, HostTask, Needs, TaskError, View};
use crate::etcd::config::{UNIT, client_url};
use crate::host::{UnitState, listening, start_and_wait};
use crate::inventory::Host;
use crate::ssh::quote;
use crate::tasks::crash::crashed;
use crate::tasks::way_back::{healthy, runs_what_is_in_force};
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
        // A member that serves although its unit file is gone gets that in its turn, and is enabled with it.
        let gone = unit.ready() && view.seen.unit_text.is_none();
        if unit.enabled != "enabled" && !gone {
            changes.push(Change::new(format!("enable {UNIT}, so that a reboot starts it")));
        }
        if unit.is_down() {
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
        let text = script(view.host, &view.seen.unit);
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
        return Err(TaskError::Unfit {
            problems,
            hint: Some("`etcd-ha deploy` sets it up".to_owned()),
            refused: false,
        });
    }
    Ok(())
}

/// How long a member is asked whether it serves, in seconds; one that does answers in some milliseconds.
const ASKED_FOR: u32 = 2;

/// What starts the unit, from whatever state it is in, without waiting.
pub(super) fn script(host: &Host, unit: &UnitState) -> String {
    let mut text = String::new();
    if unit.enabled != "enabled" {
        text += &format!("systemctl enable --quiet {UNIT}\n");
    } else if unit.needs_reload {
        text += "systemctl daemon-reload\n";
    }
    if !unit.ready() {
        if unit.runs() || unit.crashed() {
            // Its process and its failure would be seen for a moment yet, and taken for those of the new start.
            // One that serves by now is for a rolling play, behind the gate, even if systemd does not know of it yet.
            text += &format!(
                "config={config} bin={bin} endpoint={endpoint}\n\
                 serves() {{ ({listening}) && (cd \"$config\" && {healthy}); }}\n\
                 if [ \"$(systemctl is-active {UNIT})\" != active ] && ! serves; then systemctl stop {UNIT}; fi\n",
                config = quote(&host.paths.config),
                bin = quote(&host.paths.bin),
                endpoint = quote(&client_url(host)),
                listening = listening(host.client_port),
                healthy = healthy(ASKED_FOR),
            );
        }
        text += &format!("systemctl reset-failed {UNIT} 2>/dev/null || :\nsystemctl start --no-block {UNIT}\n");
    }
    text
}
