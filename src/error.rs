//! How a run ends, and how an error is put into words.
//!
//! Every room has its own error enum whose variants hold facts; what they share is [`Explain`].
//! Only [`Error::render`] decides how message, causes and hint look on the screen.

use std::fmt::Write as _;
use std::process::ExitCode;

/// How a run ended, the graver the later; [`ExitStatus::code`] is the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitStatus {
    /// Done, or nothing to do.
    Done,
    /// A host or a task failed.
    Failed,
    /// The command line, the inventory or a playbook is wrong; nothing was touched.
    Usage,
    /// The cluster is not healthy.
    Unhealthy,
    /// Refused, since it would cost quorum or data.
    Refused,
    /// Another run holds the lock.
    Locked,
    /// A change was taken back.
    RolledBack,
    /// Changes are pending (`plan --detailed-exitcode`).
    Pending,
    /// The user interrupted the run.
    Interrupted,
    /// As a command on a host ended, or 255 where it did not get to run to its end (`exec`).
    Command(u8),
}

impl ExitStatus {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unhealthy => 3,
            Self::Refused => 4,
            Self::Locked => 5,
            Self::RolledBack => 6,
            Self::Pending => 10,
            Self::Interrupted => 130,
            Self::Command(code) => code,
        }
    }

    /// All of ours, by number.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Unhealthy,
        Self::Refused,
        Self::Locked,
        Self::RolledBack,
        Self::Pending,
        Self::Interrupted,
    ];

    /// What it means, a phrase.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or nothing to do",
            Self::Failed => "a host or a task failed",
            Self::Usage => "the command line, the inventory or the playbook is wrong",
            Self::Unhealthy => "the cluster is not healthy",
            Self::Refused => "refused, since it would cost quorum or data",
            Self::Locked => "another run is at work on this cluster",
            Self::RolledBack => "a change did not come up and was taken back",
            Self::Pending => "changes are pending (`plan --detailed-exitcode`)",
            Self::Interrupted => "interrupted",
            Self::Command(_) => "the exit code of a command that was run",
        }
    }

    /// What to do about it, a sentence without a full stop.
    #[must_use]
    pub const fn next_step(self) -> Option<&'static str> {
        match self {
            Self::Done | Self::Command(_) => None,
            Self::Failed => Some("mend what the error names and run the same command again, which goes on from there"),
            Self::Usage => Some("nothing was touched; correct what the error points at"),
            Self::Unhealthy => Some("`etcd-ha health` says which member, and why"),
            Self::Refused => Some("the message says what was found and what has to be decided first"),
            Self::Locked => Some("wait for it to end, then run the same command again"),
            Self::RolledBack => Some("the member runs what it ran before; its journal says what was wrong"),
            Self::Pending => Some("`etcd-ha deploy` makes them"),
            Self::Interrupted => Some("run the same command again to go on"),
        }
    }

    /// The status that has this exit code.
    #[must_use]
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// What an error of any room can say beyond its message and its causes.
pub trait Explain: std::error::Error + Send + Sync + 'static {
    /// The next step for the person who reads the error: a sentence without a full stop.
    fn hint(&self) -> Option<String> {
        None
    }

    /// How the run ends because of it.
    fn exit(&self) -> ExitStatus {
        ExitStatus::Failed
    }

    /// A whole rendering of its own, for errors that point into a file; replaces message and causes.
    fn excerpt(&self) -> Option<String> {
        None
    }
}

/// Any error that explains itself.
#[derive(Debug)]
pub struct Error(Box<dyn Explain>);

impl<E: Explain> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Error {
    /// How the run ends because of it.
    #[must_use]
    pub fn exit(&self) -> ExitStatus {
        self.0.exit()
    }

    /// The next step, if the error knows one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    /// Message and causes on one line, `message: cause: cause`.
    #[must_use]
    pub fn line(&self) -> String {
        line(self.0.as_ref())
    }

    /// Message, causes and hint as the user reads them on stderr, with a line end.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = match self.0.excerpt() {
            Some(excerpt) => excerpt,
            None => {
                let mut text = format!("error: {}\n", tame(&self.0.to_string()));
                for cause in causes(self.0.as_ref()) {
                    let cause = tame(&cause);
                    let _ = writeln!(text, "  caused by: {}", cause.replace('\n', "\n    "));
                }
                text
            }
        };
        if let Some(hint) = self.0.hint() {
            let _ = write!(text, "\nhint: {}\n", tame(&hint));
        }
        text
    }
}

/// Whether a terminal would obey `c` rather than show it: control characters, and those that turn the direction of
/// writing or cannot be seen. A line end and a tab are among them: whoever wants those has to let them through.
#[must_use]
pub fn paints(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An error's message and causes on one line, `message: cause: cause`.
#[must_use]
pub fn line(error: &dyn Explain) -> String {
    tame(&std::iter::once(error.to_string()).chain(causes(error)).collect::<Vec<_>>().join(": "))
}

/// `text` without what would paint a terminal: errors repeat what hosts and files say.
fn tame(text: &str) -> String {
    text.chars().map(|c| if paints(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// The messages of the errors beneath `error`, leaving out those that repeat what was just said.
fn causes(error: &dyn Explain) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            causes.push(text.clone());
            said = text;
        }
        source = cause.source();
    }
    causes
}
