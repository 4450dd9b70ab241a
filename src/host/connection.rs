//! A connection to a host, with the privilege that the inventory grants.

use super::error::HostError;
use super::framing::{Reply, frame};
use crate::inventory::Host;
use crate::ssh::{Connector, Input, Limits, Session, SshError};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The most that a script may print; ours print a few kilobytes.
const MAX_OUTPUT: usize = 4 << 20;

/// How long a script may stay silent, if it does not say otherwise.
const IDLE: Duration = Duration::from_secs(120);

/// A connection to one host, kept for the whole run. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    host: Arc<str>,
    user: Arc<str>,
    r#become: bool,
    session: Session,
}

/// A script for a host's shell, and what stands on its stdin.
pub struct Script<'a> {
    /// What it is to do, for messages: `unpack etcd 3.5.16`.
    pub what: &'a str,
    /// POSIX shell, run with `set -eu`.
    pub text: &'a str,
    /// What the script reads from stdin.
    pub stdin: Stdin<'a>,
    /// How long it may stay silent while nothing is sent to it either.
    pub silence: Duration,
}

/// What a script reads from stdin.
pub enum Stdin<'a> {
    /// Nothing.
    Empty,
    /// These bytes; the only way by which secrets reach a host.
    Bytes(Bytes),
    /// A file of the controller, streamed.
    File {
        /// The file.
        path: &'a Path,
        /// Told how many bytes have gone out.
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    },
}

impl<'a> Script<'a> {
    /// A script without input.
    #[must_use]
    pub fn new(what: &'a str, text: &'a str) -> Self {
        Self { what, text, stdin: Stdin::Empty, silence: IDLE }
    }

    /// The same, but it may be silent for `limit` longer.
    #[must_use]
    pub fn silent_for(self, limit: Duration) -> Self {
        Self { silence: self.silence + limit, ..self }
    }

    /// The same with bytes on stdin.
    #[must_use]
    pub fn with_bytes(self, bytes: Bytes) -> Self {
        Self { stdin: Stdin::Bytes(bytes), ..self }
    }

    /// The same with a file on stdin.
    #[must_use]
    pub fn with_file(self, path: &'a Path, progress: Arc<dyn Fn(u64) + Send + Sync>) -> Self {
        Self { stdin: Stdin::File { path, progress }, ..self }
    }
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// SSH's own.
    pub async fn open(connector: &Connector, host: &Host) -> Result<Self, HostError> {
        let session = connector.connect(&host.ssh).await;
        let session = session.map_err(|source| HostError::Ssh { host: host.name.clone(), source })?;
        Ok(Self { user: session.user().into(), session, host: host.name.as_str().into(), r#become: host.r#become })
    }

    /// The SSH session, for tunnels.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn r#become(&self) -> bool {
        self.r#become
    }

    /// Ends the connection politely.
    pub async fn close(&self) {
        self.session.close().await;
    }

    /// Runs a script with the host's privilege and gives what it wrote to stdout.
    ///
    /// # Errors
    /// The script failed, could not be run, or the connection broke.
    pub async fn run(&self, script: Script<'_>) -> Result<Vec<u8>, HostError> {
        let framed = frame(script.text, self.r#become);
        let head = Bytes::from(framed.head.clone());
        let input = match script.stdin {
            Stdin::Empty => Input::Bytes(head),
            Stdin::Bytes(bytes) => Input::Bytes([head, bytes].concat().into()),
            Stdin::File { path, progress } => Input::File { head, path: path.to_owned(), progress: Some(progress) },
        };
        let limits = Limits { timeout: None, idle: Some(script.silence), max_output: MAX_OUTPUT };
        let output = self.session.exec(&framed.command, input, &limits).await;
        let output = output.map_err(|source: SshError| HostError::Ssh { host: self.host.to_string(), source })?;
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let garbled = |problem: &str| HostError::Garbled {
            host: self.host.to_string(),
            what: script.what.to_owned(),
            problem: problem.to_owned(),
        };
        match framed.reply(&output.stdout) {
            Reply::Ended { status: 0, body } => Ok(body),
            Reply::Ended { status, .. } => {
                Err(HostError::Script { host: self.host.to_string(), what: script.what.to_owned(), status, stderr })
            }
            Reply::Cut => Err(garbled("it ends early")),
            Reply::NeverRan
                if self.r#become && (stderr.contains("sudo") || stderr.contains("a password is required")) =>
            {
                Err(HostError::Sudo {
                    host: self.host.to_string(),
                    user: self.user.to_string(),
                    message: last_line(&stderr),
                })
            }
            Reply::NeverRan => {
                let said = format!("{} {stderr}", String::from_utf8_lossy(&output.stdout));
                Err(HostError::NoShell {
                    host: self.host.to_string(),
                    user: self.user.to_string(),
                    status: output.status.to_string(),
                    output: shorten(said.trim()),
                })
            }
        }
    }
}

fn last_line(text: &str) -> String {
    text.lines().next_back().unwrap_or_default().to_owned()
}

/// The first 300 characters, control characters left out: what a host prints is not trusted.
fn shorten(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    if clean.is_empty() { "it said nothing".to_owned() } else { clean }
}
