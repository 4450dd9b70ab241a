//! What `etcd-ha trust` shows of the machines.

use crate::error::{self, Explain as _};
use crate::report::{self, table};
use crate::ssh::{Found, HostKeyFacts, SshError, Standing};
use serde_json::json;

/// A machine, and what it has shown.
pub(super) struct Seen {
    pub name: String,
    /// Whether it is wanted as a jump host only.
    pub jump: bool,
    pub outcome: Result<Found, SshError>,
    /// Whether its key was written down just now.
    pub written: bool,
}

impl Seen {
    pub fn is_new(&self) -> bool {
        matches!(&self.outcome, Ok(Found { standing: Standing::New(_), .. }))
    }

    pub fn is_good(&self) -> bool {
        self.outcome.is_ok() && !self.is_new()
    }

    /// The key, if the machine has shown one.
    fn key(&self) -> Option<&HostKeyFacts> {
        match &self.outcome {
            Ok(found) => Some(&found.key),
            Err(SshError::HostKeyUnknown { key, .. }) => Some(key),
            Err(SshError::HostKeyChanged { key, .. }) => Some(&key.presented),
            Err(SshError::HostKeyRevoked { key, .. }) => Some(&key.presented),
            Err(SshError::HostKeyNotPinned { presented, .. }) => presented.first(),
            Err(_) => None,
        }
    }

    /// In a word, and for people what goes with it.
    fn state(&self) -> (&'static str, String) {
        match &self.outcome {
            Ok(found) => match &found.standing {
                Standing::New(None) => ("new", "new".to_owned()),
                Standing::New(Some(fault)) => ("new", format!("new; its certificate does not count: {fault}")),
                Standing::Known(file, line) => ("known", format!("known, {}:{line}", file.display())),
                Standing::Certified(file, line) => {
                    ("certified", format!("certified by the authority of {}:{line}", file.display()))
                }
                Standing::Pinned => ("pinned", "pinned in the inventory".to_owned()),
                Standing::Unchecked => ("unchecked", "not checked".to_owned()),
            },
            Err(SshError::HostKeyChanged { key, .. }) => {
                ("changed", format!("CHANGED: {}:{} has {}", key.file.display(), key.line, key.known_fingerprint))
            }
            Err(SshError::HostKeyRevoked { key, .. }) => ("revoked", format!("REVOKED by {}", key.file.display())),
            Err(SshError::HostKeyNotPinned { pinned, .. }) => {
                ("not_pinned", format!("NOT PINNED: the inventory has {}", pinned.join(", ")))
            }
            Err(SshError::HostKeyUnknown { .. }) => ("new", "new".to_owned()),
            Err(_) => ("not_reached", "not reached".to_owned()),
        }
    }

    /// A line.
    pub fn as_json(&self) -> String {
        let key = self.key();
        let place = match &self.outcome {
            Ok(Found { standing: Standing::Known(file, line) | Standing::Certified(file, line), .. }) => {
                Some((file, Some(*line)))
            }
            Err(SshError::HostKeyChanged { key, .. }) => Some((&key.file, Some(key.line))),
            Err(SshError::HostKeyRevoked { key, .. }) => Some((&key.file, key.line)),
            _ => None,
        };
        let line = json!({
            "v": 1,
            "host": self.name,
            "jump": self.jump,
            "name": key.map(|key| &key.name),
            "type": key.map(|key| &key.algorithm),
            "fingerprint": key.map(|key| &key.fingerprint),
            "state": self.state().0,
            "written": self.written,
            "file": place.map(|(file, _)| file.display().to_string()),
            "line": place.and_then(|(_, line)| line),
            "cause": self.outcome.as_ref().err().map(|error| error::line(error)),
            "hint": self.outcome.as_ref().err().and_then(|error| error.hint()),
        });
        report::json(&line)
    }
}

pub(super) fn as_table(seen: &[Seen]) -> String {
    let head = ["HOST", "WRITTEN AS", "TYPE", "FINGERPRINT", "STATE"].map(str::to_owned).to_vec();
    let rows = seen.iter().map(|seen| {
        let host = if seen.jump { format!("{} (jump host)", seen.name) } else { seen.name.clone() };
        let dash = || "-".to_owned();
        let key = seen.key().map_or_else(
            || [dash(), dash(), dash()],
            |key| [key.name.clone(), key.algorithm.clone(), key.fingerprint.clone()],
        );
        std::iter::once(host).chain(key).chain([seen.state().1]).collect()
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
