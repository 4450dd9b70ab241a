//! `restart`: the member takes over what was activated.
//!
//! Truth is read off the running process: a restart is needed exactly if its generation is not the
//! wanted one, whatever this or an interrupted run changed before.

use super::start::fit;
use super::way_back::{self, runs_what_is_in_force};
use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::etcd::config::{self, UNIT};
use crate::host::Script;
use crate::tasks::crash::crashed;
use serde::Deserialize;

/// Restart the member if its process is not of the wanted generation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Restart it once, or start it if it is down, whatever it runs with and whatever the inventory wants.
    #[serde(default)]
    pub always: bool,
    /// Judge its process by what is in force on the host, whatever the inventory says; one that is down is due.
    #[serde(default)]
    pub in_force: bool,
}

/// Why a restart is due, if one is: by what is in force on the host, or by what the inventory wants.
pub(super) fn due(view: &View<'_>, in_force: bool) -> Result<Option<String>, TaskError> {
    if !in_force {
        return outdated(view);
    }
    if view.seen.unit.is_down() {
        fit(view)?;
        return Ok(Some("it is down".to_owned()));
    }
    let behind = !runs_what_is_in_force(view.seen);
    Ok(behind.then(|| "it runs with other files than those in force".to_owned()))
}

/// Whether the host's member runs with another generation than the wanted one, and why.
pub(crate) fn outdated(view: &View<'_>) -> Result<Option<String>, TaskError> {
    let wanted = view.wanted()?;
    if !view.seen.unit.runs() {
        return Ok(None);
    }
    let drop_ins = !view.seen.unit.drop_ins.is_empty();
    let altered = view
        .seen
        .process
        .as_ref()
        .is_some_and(|process| config::runs_with_others(&process.variables, &wanted.options, drop_ins));
    Ok(match view.seen.generation() {
        // Whoever edits the environment file leaves the generation in it as it is.
        Some(generation) if generation == wanted.generation && altered => {
            Some("it runs with options that were changed on the host".to_owned())
        }
        Some(generation) if generation == wanted.generation => None,
        Some(_) => Some("it runs with an older configuration, binary, unit or CA".to_owned()),
        None => Some("its process was not started by our unit".to_owned()),
    }
    // A run that ended between writing the unit and having systemd read it leaves this behind.
    .or_else(|| {
        view.seen.unit.needs_reload.then(|| "systemd has not read its unit file since it was changed".to_owned())
    }))
}

impl HostTask for Restart {
    fn needs(&self, _view: &View<'_>) -> Needs {
        let in_force = self.in_force || self.always;
        Needs { wanted: !in_force, membership: in_force, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        if self.always {
            if view.seen.unit.is_down() {
                fit(view)?;
                return Ok(Decision::change("start etcd, which is down"));
            }
            return Ok(Decision::change("restart etcd"));
        }
        Ok(match due(view, self.in_force)? {
            Some(why) => Decision::change(format!("restart etcd: {why}")),
            None => Decision::Nothing,
        })
    }

    fn verify(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        crashed(view)?;
        if self.always {
            return Ok(Decision::Nothing);
        }
        Ok(match due(view, self.in_force)? {
            Some(why) => Decision::change(format!("restart etcd: {why}")),
            None => Decision::Nothing,
        })
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        // Blocking is the wait for its catching up, too: etcd reports ready once it has applied
        // what it missed. `timeout` bounds only our waiting, systemd's job goes on.
        let limit = hands.fleet.options.health_timeout.as_secs();
        let reload = if view.seen.unit.needs_reload { "systemctl daemon-reload\n" } else { "" };
        let rearm = if view.seen.unconfirmed {
            way_back::rearm(&view.host.paths.config, hands.fleet.options.health_timeout)
        } else {
            String::new()
        };
        let text = format!(
            "{rearm}{reload}systemctl reset-failed {UNIT} 2>/dev/null || :\n\
             code=0; timeout {limit} systemctl restart {UNIT} 2>/dev/null || code=$?\n\
             case $code in 0|1|124) ;; *) echo \"systemctl restart ended with $code\" >&2; exit 1;; esac\n"
        );
        hands.progress("restarting, waiting until it is ready");
        let script = Script::new("restart etcd", &text).silent_for(hands.fleet.options.health_timeout);
        hands.connection.run(script).await?;
        Ok(())
    }
}
