//! What can go wrong on a host.

use super::lock::{Holder, SILENCE};
use super::privilege::Refusal;
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
    #[error("host `{host}`: commands cannot be run as `{user}` (the login shell {status}): {output}")]
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
    /// sudo or doas said no.
    #[error("host `{host}`: {}", denial(command, user, *refusal, message))]
    Privilege {
        /// The host.
        host: String,
        /// Who asked.
        user: String,
        /// What was asked for, `sudo -n sh`.
        command: &'static str,
        /// Why not.
        refusal: Refusal,
        /// The program's words.
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
    /// Another run holds the host's lock.
    #[error("host `{host}`: another run holds the lock: {holder}")]
    Locked {
        /// The host.
        host: String,
        /// Which one.
        holder: Box<Holder>,
    },
    /// The run's own lock was taken away, or the host took the controller for gone.
    #[error("host `{host}`: this run no longer holds the lock, so it may not go on there")]
    LockLost {
        /// The host.
        host: String,
    },
    /// Nothing can be changed there without root's rights.
    #[error("host `{host}`: who logs in there is not root")]
    NotRoot {
        /// The host.
        host: String,
    },
    /// The host cannot be locked.
    #[error("host `{host}` cannot be locked: {why}")]
    NoLock {
        /// The host.
        host: String,
        /// Why, a phrase.
        why: String,
    },
}

impl HostError {
    /// Whether nothing at all can be done on the host: it cannot be reached, or gives no rights.
    #[must_use]
    pub fn is_of_access(&self) -> bool {
        matches!(self, Self::Ssh { .. } | Self::NoShell { .. } | Self::Privilege { .. } | Self::NotRoot { .. })
    }

    /// Whether the run may not go on, since the lock is not its own.
    #[must_use]
    pub fn is_of_lock(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::LockLost { .. })
    }

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

fn denial(command: &str, user: &str, refusal: Refusal, message: &str) -> String {
    match refusal {
        Refusal::PasswordWanted => format!("`{command}` wants a password for `{user}`"),
        Refusal::PasswordRefused => format!("`{command}` refused the password for `{user}`"),
        Refusal::Missing => format!("`{command}` cannot be run for `{user}`: {message}"),
        Refusal::NotAllowed | Refusal::TerminalWanted | Refusal::Other => {
            format!("`{command}` was refused for `{user}`: {message}")
        }
    }
}

/// What helps where sudo or doas said no.
fn next_step(command: &str, user: &str, refusal: Refusal) -> String {
    let (program, rule) = if command.starts_with("doas") {
        ("doas", "a `permit nopass` rule in /etc/doas.conf")
    } else {
        ("sudo", "a NOPASSWD rule in /etc/sudoers.d")
    };
    match refusal {
        Refusal::PasswordWanted => format!(
            "say `--ask-become-pass` (without a terminal `--become-pass-fd` or `--become-pass-command`), or give \
             `{user}` {rule}"
        ),
        Refusal::PasswordRefused => format!(
            "it was tried once and will not be tried again in this run, lest the account be locked; where hosts have \
             passwords of their own, `--limit` takes them one by one, or give `{user}` {rule}"
        ),
        Refusal::Missing => format!(
            "install {program}, set `become` to the one that is there (`sudo` or `doas`), or log in as root \
             (`ssh.user: root`)"
        ),
        Refusal::NotAllowed => {
            format!("let `{user}` run `sh` as root by {rule}, or log in as root (`ssh.user: root`)")
        }
        Refusal::TerminalWanted | Refusal::Other => {
            format!("see {program}'s settings on the host, or log in as root (`ssh.user: root`)")
        }
    }
}

impl Explain for HostError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Ssh { source, .. } => source.hint(),
            Self::NoShell { user, output, .. } if output.contains("password has expired") => Some(format!(
                "log in there as `{user}` by `ssh` and set another password, or have root do so: `passwd {user}`"
            )),
            Self::NoShell { user, .. } => Some(format!(
                "`{user}` needs a login shell that runs `sh`; look at /etc/passwd and sshd's ForceCommand"
            )),
            Self::Privilege { user, command, refusal, .. } => Some(next_step(command, user, *refusal)),
            Self::Script { stderr, .. } if stderr.contains("No space left on device") => {
                Some("free space or inodes on that host (`df -h`, `df -i`) and run again".to_owned())
            }
            Self::Script { stderr, .. } if stderr.contains("Read-only file system") => {
                Some("remount it writable, or set other `paths`, and run again".to_owned())
            }
            Self::Locked { .. } => Some(
                "wait for it to end, then run the same command again; `etcd-ha lock status` says who has it, and \
                 `etcd-ha lock release` takes it away from one that hangs"
                    .to_owned(),
            ),
            Self::LockLost { .. } => Some(format!(
                "it was taken away by `etcd-ha lock release`, or this machine was not heard of for {} s: run the same \
                 command again, which goes on from what is there",
                SILENCE.as_secs()
            )),
            Self::NotRoot { .. } => Some("log in as root, or set `become: sudo` or `become: doas`".to_owned()),
            Self::NoLock { .. } => {
                Some("a run has to keep others away; mend that on the host (a process that cannot be ended goes with a reboot) and run again".to_owned())
            }
            Self::Script { .. } | Self::Garbled { .. } => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::Locked { .. } | Self::LockLost { .. } => ExitStatus::Locked,
            Self::Ssh { .. }
            | Self::NoShell { .. }
            | Self::Privilege { .. }
            | Self::Script { .. }
            | Self::Garbled { .. }
            | Self::NotRoot { .. }
            | Self::NoLock { .. } => ExitStatus::Failed,
        }
    }
}
