//! The state of etcd's systemd unit.

use std::collections::BTreeMap;

/// What `systemctl show` says of a unit (systemd's D-Bus properties of units and services).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnitState {
    /// `loaded`, `not-found`, `masked`, `bad-setting`, …
    pub load: String,
    /// `active`, `activating`, `deactivating`, `inactive` or `failed`.
    pub active: String,
    /// `running`, `start`, `auto-restart`, `dead`, …
    pub sub: String,
    /// How the service last ended: `success`, `exit-code`, `signal`, `timeout`, …
    pub result: String,
    /// Exit status of the last main process.
    pub exit_status: i32,
    /// The main process, 0 if there is none.
    pub main_pid: u32,
    /// How often systemd has started it again by itself.
    pub restarts: u32,
    /// `enabled`, `disabled`, …
    pub enabled: String,
    /// The unit file in force.
    pub fragment: String,
    /// Whether the file changed since systemd read it.
    pub needs_reload: bool,
    /// Drop-in files that add to the unit file.
    pub drop_ins: String,
}

impl UnitState {
    /// The properties to ask for.
    pub(super) const PROPERTIES: &'static str = "LoadState,ActiveState,SubState,Result,ExecMainStatus,MainPID,NRestarts,\
         UnitFileState,FragmentPath,NeedDaemonReload,DropInPaths";

    pub(super) fn parse(properties: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| properties.get(name).cloned().unwrap_or_default();
        Self {
            load: text("LoadState"),
            active: text("ActiveState"),
            sub: text("SubState"),
            result: text("Result"),
            exit_status: text("ExecMainStatus").parse().unwrap_or_default(),
            main_pid: text("MainPID").parse().unwrap_or_default(),
            restarts: text("NRestarts").parse().unwrap_or_default(),
            enabled: text("UnitFileState"),
            fragment: text("FragmentPath"),
            needs_reload: text("NeedDaemonReload") == "yes",
            drop_ins: text("DropInPaths"),
        }
    }

    /// Whether a process of the unit runs, be it ready or still starting.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.main_pid != 0
    }

    /// Whether the service has reported itself ready.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.active == "active" && self.runs()
    }

    /// Whether the process ended and systemd will try again, or has given up.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.active == "failed" || self.sub == "auto-restart"
    }

    /// Whether no process of it serves, or is about to.
    #[must_use]
    pub fn is_down(&self) -> bool {
        !self.runs() || self.crashed()
    }

    /// The state in a few words, with what explains a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("{} ({})", self.active, self.sub);
        if self.result != "success" && !self.result.is_empty() {
            text += &format!(", last result {} with status {}", self.result, self.exit_status);
        }
        match self.restarts {
            0 => {}
            1 => text += ", restarted once by systemd",
            times => text += &format!(", restarted {times} times by systemd"),
        }
        text
    }
}
