//! `systemd`: a unit is brought into a state.
//!
//! Any unit but etcd's own: whether a member may go down is for the quorum gate to say, which stands before the tasks
//! that are made for that.

use super::template::Template;
use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::etcd::config::UNIT;
use crate::host::Script;
use crate::ssh::quote;
use serde::Deserialize;

/// Bring a systemd unit into a state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Systemd {
    /// The unit, for example `chrony.service`.
    unit: Template,
    /// The state to bring it into.
    state: State,
    /// Whether a reboot starts it; left as it is if not said.
    #[serde(default)]
    enabled: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Started,
    Stopped,
    Restarted,
}

impl State {
    /// What `systemctl` calls bringing a unit into it.
    fn verb(self) -> &'static str {
        match self {
            Self::Started => "start",
            Self::Stopped => "stop",
            Self::Restarted => "restart",
        }
    }
}

/// Whether it is etcd's own unit; systemd adds `.service` to a name without a type.
fn is_etcd(unit: &str) -> bool {
    let unit = unit.trim();
    unit == UNIT || UNIT.strip_suffix(".service") == Some(unit)
}

impl HostTask for Systemd {
    fn needs(&self, view: &View<'_>) -> Needs {
        let unit = quote(&self.unit.expand(view));
        let state = match self.state {
            State::Started => format!("systemctl is-active --quiet {unit}"),
            State::Stopped => format!("! systemctl is-active --quiet {unit}"),
            State::Restarted => "false".to_owned(),
        };
        let enabled = match self.enabled {
            Some(true) => format!(" && systemctl is-enabled --quiet {unit}"),
            Some(false) => format!(" && ! systemctl is-enabled --quiet {unit}"),
            None => String::new(),
        };
        Needs { probe: Some(state + &enabled), ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let unit = self.unit.expand(view);
        if is_etcd(&unit) {
            return Err(TaskError::Unfit {
                problems: vec![format!(
                    "`systemd` is not for {UNIT}: a member could go down that the others cannot spare"
                )],
                hint: Some(
                    "use the tasks `restart` and, in a rolling play, `stop`, which ask the quorum gate, or `start`"
                        .to_owned(),
                ),
                refused: true,
            });
        }
        let enable = match self.enabled {
            Some(true) => " and enable",
            Some(false) => " and disable",
            None => "",
        };
        Ok(match view.probe {
            Some(0) => Decision::Nothing,
            _ => Decision::change(format!("{}{enable} {unit}", self.state.verb())),
        })
    }

    fn verify(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        if self.state == State::Restarted { Ok(Decision::Nothing) } else { self.check(view) }
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let unit = quote(&self.unit.expand(view));
        let enable = match self.enabled {
            Some(true) => format!("systemctl enable --quiet {unit}\n"),
            Some(false) => format!("systemctl disable --quiet {unit}\n"),
            None => String::new(),
        };
        let verb = self.state.verb();
        let what = format!("`systemctl {verb} {unit}`");
        hands.connection.run(Script::new(&what, &format!("{enable}systemctl {verb} {unit}\n"))).await?;
        Ok(())
    }
}
