//! Procedures as lists that an operator can read, copy and extend.

mod embedded;
mod parse;
mod words;

pub use embedded::{embedded, names};
pub use parse::PlaybookError;

use crate::tasks::{ControllerTaskKind, Entry, HostTaskKind, Mode};

/// A procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct Playbook {
    /// Its name.
    pub name: String,
    /// Its plays, in order; a failure in one keeps the next from beginning.
    pub plays: Vec<Play>,
}

/// A part of a procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// What it is for, a sentence.
    pub name: String,
    /// What is done.
    pub tasks: Tasks,
}

/// What a play does, and where.
#[derive(Debug, Clone, PartialEq)]
pub enum Tasks {
    /// On hosts.
    Hosts {
        /// Names of hosts of the inventory; `None` for all.
        hosts: Option<Vec<String>>,
        /// How the play goes over its hosts.
        mode: Mode,
        /// The tasks, in order.
        tasks: Vec<Titled<HostTaskKind>>,
        /// What is done around the turn of each member of a rolling play that is really touched.
        hooks: Hooks,
    },
    /// Once, on the controller.
    Controller(Vec<Titled<ControllerTaskKind>>),
}

/// What is done before a member's turn, and after it; a member that has nothing to change is left alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hooks {
    /// Before it is touched, when the quorum gate has let it go. A failure leaves the member as it is.
    pub before: Vec<Titled<HostTaskKind>>,
    /// When it is healthy again, be it with its change or without.
    pub after: Vec<Titled<HostTaskKind>>,
}

/// A task and what to call it on the screen.
#[derive(Debug, Clone, PartialEq)]
pub struct Titled<T> {
    /// What to call it, if not by its key.
    pub title: Option<String>,
    /// The task.
    pub task: T,
}

impl<T> Titled<T> {
    fn from(entry: &Entry, task: T) -> Self {
        Self { title: entry.title.clone(), task }
    }
}
