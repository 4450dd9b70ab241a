//! What can go wrong on a host.

use crate::error::{ExitStatus, Explain};
use crate::ssh::SshError;

/// Something went wrong on a host; every variant names the host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// SSH failed.
    #[error("host `{host}`")]
    Ssh {
        /// The host.
        host: String,
        /// How.
        #[source]
        source: SshError,
    },
    /// The login works, but our script never ran.
    #[error("host `{host}`: commands cannot be run as `{user}` (status {status}): {output}")]
    NoShell {
        /// The host.
        host: String,
        /// Who logged in.
        user: String,
        /// How the login shell ended.
        status: String,
        /// What it said, shortened.
        output: String,
    },
    /// `sudo` said no.
    #[error("host `{host}`: `sudo -n sh` was refused for `{user}`: {message}")]
    Sudo {
        /// The host.
        host: String,
        /// Who asked.
        user: String,
        /// sudo's words.
        message: String,
    },
    /// A script failed.
    #[error("host `{host}`: {what} exited with status {status}{}", said(.stderr))]
    Script {
        /// The host.
        host: String,
        /// What the script was to do, for example `unpack etcd 3.5.16`.
        what: String,
        /// Its exit status.
        status: i64,
        /// All that it wrote to stderr.
        stderr: String,
    },
    /// A script's output ended early or is not what it should be.
    #[error("host `{host}`: {what}: the answer cannot be understood: {problem}")]
    Garbled {
        /// The host.
        host: String,
        /// What the script was to do.
        what: String,
        /// What is wrong with the answer.
        problem: String,
    },
}

impl HostError {
    /// Whether the connection broke while it was in use.
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        matches!(self, Self::Ssh { source: SshError::ConnectionLost { .. }, .. })
    }
}

fn said(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(10)..];
    if tail.is_empty() { String::new() } else { format!(": {}", tail.join("\n    ")) }
}

impl Explain for HostError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Ssh { source, .. } => source.hint(),
            Self::NoShell { user, .. } => Some(format!(
                "`{user}` needs a login shell that runs `sh`; look at /etc/passwd and sshd's ForceCommand"
            )),
            Self::Sudo { user, .. } => Some(format!(
                "give `{user}` a NOPASSWD rule in /etc/sudoers.d, or log in as root (`ssh.user: root`, `become: false`)"
            )),
            Self::Script { stderr, .. } if stderr.contains("No space left on device") => {
                Some("free space or inodes on that host (`df -h`, `df -i`) and run again".to_owned())
            }
            Self::Script { stderr, .. } if stderr.contains("Read-only file system") => {
                Some("remount it writable, or set other `paths`, and run again".to_owned())
            }
            Self::Script { .. } | Self::Garbled { .. } => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Failed
    }
}
