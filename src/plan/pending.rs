//! What a run would do: collected by the same checks that a real run makes.

use crate::tasks::Change;

/// All that a run would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in the order in which they would be made.
    pub pending: Vec<Pending>,
    /// The rolling changes, in the order in which the members would be touched.
    pub rolling: Vec<Rolling>,
}

/// One change on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The host, or `controller`.
    pub host: String,
    /// The task that would make it.
    pub task: String,
    /// The change.
    pub change: Change,
}

/// A member that a rolling play would touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rolling {
    /// The host.
    pub host: String,
    /// What the gate says now: the margin, what is to be waited for, or why it is refused.
    pub gate: String,
}

impl Plan {
    /// Adds changes; one that a later play would find again, since nothing was done, counts once.
    pub(super) fn add(&mut self, host: &str, task: &str, changes: Vec<Change>) {
        for change in changes {
            let same = |old: &Pending| old.host == host && old.task == task && old.change.summary == change.summary;
            if !self.pending.iter().any(same) {
                self.pending.push(Pending { host: host.to_owned(), task: task.to_owned(), change });
            }
        }
    }

    /// Whether anything is pending on the host, of this task if one is named.
    pub(super) fn has(&self, host: &str, task: Option<&str>) -> bool {
        self.pending.iter().any(|pending| pending.host == host && task.is_none_or(|task| pending.task == task))
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The hosts that would be changed, in the order of their first change.
    #[must_use]
    pub fn hosts(&self) -> Vec<&str> {
        let mut hosts: Vec<&str> = Vec::new();
        for pending in &self.pending {
            if !hosts.contains(&pending.host.as_str()) {
                hosts.push(&pending.host);
            }
        }
        hosts
    }
}
