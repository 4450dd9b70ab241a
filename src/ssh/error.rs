//! What can go wrong between us and a machine, each cause in words of its own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::auth::hint;
use super::facts::{AuthFailure, ChangedHostKey, HostKeyFacts, Loss, Peer};
use crate::error::{ExitStatus, Explain};

/// A failure between us and one machine.
#[derive(Debug, Error)]
pub enum SshError {
    /// ssh_config does not say how to reach a host.
    #[error("ssh_config cannot be used for `{host}`: {why}")]
    Config {
        /// The host as `ssh` would be called with.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The jump host before the machine could not be reached.
    #[error("the jump host before `{peer}` cannot be used")]
    JumpHost {
        /// The machine.
        peer: Peer,
        /// What happened on the way.
        #[source]
        source: Arc<SshError>,
    },
    /// The command that should lead to the machine ended, or could not be started.
    #[error("the ProxyCommand to `{peer}` is of no use: {why}")]
    ProxyCommand {
        /// The machine.
        peer: Peer,
        /// How it ended, and what it said.
        why: String,
    },
    /// The name has no address.
    #[error("cannot resolve `{}`", peer.host)]
    Resolve {
        /// The machine.
        peer: Peer,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// Nothing came back for the TCP connect: off, cut off, or a firewall that drops.
    #[error("no answer from `{peer}` within {}", seconds(*after))]
    TcpTimeout {
        /// The machine.
        peer: Peer,
        /// How long we waited.
        after: Duration,
    },
    /// The machine is there, and nothing listens on the port.
    #[error("`{peer}` refused the connection")]
    Refused {
        /// The machine.
        peer: Peer,
    },
    /// The network knows no way, or no machine answers to the address.
    #[error("no route to `{peer}`")]
    NoRoute {
        /// The machine.
        peer: Peer,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TCP connect failed in another way.
    #[error("cannot connect to `{peer}`")]
    Connect {
        /// The machine.
        peer: Peer,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TCP connected, and then sshd kept silent.
    #[error("`{peer}` took the connection, but sent no SSH banner within {}", seconds(*after))]
    BannerTimeout {
        /// The machine.
        peer: Peer,
        /// How long we waited.
        after: Duration,
    },
    /// sshd began to talk and did not go on.
    #[error("`{peer}` did not finish the key exchange within {}", seconds(*after))]
    KexTimeout {
        /// The machine.
        peer: Peer,
        /// How long we waited.
        after: Duration,
    },
    /// Closed before anybody logged in, as sshd does beyond MaxStartups. Trying again helps.
    #[error("`{peer}` closed the connection before log-in{}", saying(said.as_deref()))]
    ClosedEarly {
        /// The machine.
        peer: Peer,
        /// What it said before, in place of or beside SSH.
        said: Option<String>,
    },
    /// Something else than SSH listens there.
    #[error("`{peer}` does not speak SSH{}", saying(said.as_deref()))]
    NotSsh {
        /// The machine.
        peer: Peer,
        /// The beginning of what it said.
        said: Option<String>,
    },
    /// The two sides have no algorithm of one kind in common.
    #[error("no common {kind} algorithm with `{peer}`: it offers {theirs}, and here {ours} would do")]
    NoCommonAlgorithm {
        /// The machine.
        peer: Peer,
        /// Key exchange, host key, cipher or MAC.
        kind: &'static str,
        /// Ours, separated by commas.
        ours: String,
        /// Theirs, separated by commas.
        theirs: String,
    },
    /// The key exchange failed in another way.
    #[error("the key exchange with `{peer}` failed")]
    Handshake {
        /// The machine.
        peer: Peer,
        /// What was wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No known_hosts file has a key of this host.
    #[error(
        "the host key of `{peer}` is unknown: {} {} is in none of {}",
        key.algorithm, key.fingerprint, paths(files)
    )]
    HostKeyUnknown {
        /// The machine.
        peer: Peer,
        /// Its key.
        key: Box<HostKeyFacts>,
        /// The files searched.
        files: Vec<PathBuf>,
    },
    /// The host's key is not the one on file: another machine, a new installation, or an attack.
    #[error(
        "the host key of `{peer}` has changed: it presents {} {}, but `{}:{}` has {} {}",
        key.presented.algorithm, key.presented.fingerprint, key.file.display(), key.line,
        key.known_algorithm, key.known_fingerprint
    )]
    HostKeyChanged {
        /// The machine.
        peer: Peer,
        /// Both keys.
        key: Box<ChangedHostKey>,
    },
    /// The host's key is marked `@revoked`.
    #[error(
        "the host key of `{peer}`, {} {}, is revoked by `{}:{line}`",
        key.algorithm, key.fingerprint, file.display()
    )]
    HostKeyRevoked {
        /// The machine.
        peer: Peer,
        /// Its key.
        key: Box<HostKeyFacts>,
        /// The known_hosts file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// A known_hosts file could not be read or written.
    #[error("cannot {action} the known hosts file `{}`", path.display())]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A key file that was asked for by name is not there.
    #[error("cannot read the identity file `{}`", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Log-in did not come to an end.
    #[error("the log-in as `{user}` on `{peer}` was not answered within {}", seconds(*after))]
    AuthTimeout {
        /// The machine.
        peer: Peer,
        /// The user.
        user: String,
        /// How long we waited.
        after: Duration,
    },
    /// Nothing that there was to log in with was good enough.
    #[error("cannot log in as `{}` on `{peer}`: {failure}", failure.user)]
    AuthFailed {
        /// The machine.
        peer: Peer,
        /// What was tried.
        failure: Box<AuthFailure>,
    },
    /// The connection ended while it was in use; whether the command was carried out is not known.
    #[error("lost the connection to `{peer}`: {loss}")]
    ConnectionLost {
        /// The machine.
        peer: Peer,
        /// How it ended.
        loss: Loss,
    },
    /// The command ended and nobody said how.
    #[error("`{peer}` ended the command without an exit status")]
    NoExitStatus {
        /// The machine.
        peer: Peer,
    },
    /// The machine would not open another channel on the connection.
    #[error("`{peer}` opens no session for a command: {reason}")]
    ChannelRefused {
        /// The machine.
        peer: Peer,
        /// Its reason.
        reason: &'static str,
    },
    /// The machine would not run the command.
    #[error("`{peer}` refused to run the command")]
    ExecRefused {
        /// The machine.
        peer: Peer,
    },
    /// The machine gives no terminal to a command that wants one.
    #[error("`{peer}` gives no terminal")]
    TerminalRefused {
        /// The machine.
        peer: Peer,
    },
    /// The command holds a NUL, which no shell can be given.
    #[error("the command for `{peer}` holds a NUL byte")]
    NulInCommand {
        /// The machine.
        peer: Peer,
    },
    /// The command took longer than it may.
    #[error("the command on `{peer}` was not done within {}", seconds(*after))]
    CommandTimeout {
        /// The machine.
        peer: Peer,
        /// How long we waited.
        after: Duration,
    },
    /// No byte moved for too long.
    #[error("nothing moved to or from the command on `{peer}` for {}", seconds(*after))]
    IdleTimeout {
        /// The machine.
        peer: Peer,
        /// How long we waited.
        after: Duration,
    },
    /// The command wrote more than we are ready to keep.
    #[error("the command on `{peer}` wrote more than {limit} bytes")]
    OutputTooLong {
        /// The machine.
        peer: Peer,
        /// The limit.
        limit: usize,
    },
    /// The file to send could not be read.
    #[error("cannot read `{}` to send it to `{peer}`", path.display())]
    Input {
        /// The machine.
        peer: Peer,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The machine would not connect us on.
    #[error("`{peer}` opens no tunnel to `{to}`: {reason}")]
    TunnelRefused {
        /// The machine.
        peer: Peer,
        /// Where to.
        to: String,
        /// Whether its settings forbid it, so that no other tunnel will work either.
        prohibited: bool,
        /// Its reason.
        reason: &'static str,
    },
    /// The machine did not say whether it could connect us on.
    #[error("`{peer}` opened no tunnel to `{to}` within {}", seconds(*after))]
    TunnelTimeout {
        /// The machine.
        peer: Peer,
        /// Where to.
        to: String,
        /// How long we waited.
        after: Duration,
    },
}

impl SshError {
    /// Whether connecting again a moment later may work without anybody changing anything. Never so
    /// for an error after log-in: a command may have been carried out.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::ClosedEarly { .. })
    }

    /// Whether the machine is there, but nothing answered at the other end of a tunnel.
    #[must_use]
    pub fn is_tunnel_refused(&self) -> bool {
        matches!(self, Self::TunnelRefused { prohibited: false, .. } | Self::TunnelTimeout { .. })
    }

    /// Whether the machine's sshd forbids tunnels.
    #[must_use]
    pub fn is_tunnel_prohibited(&self) -> bool {
        matches!(self, Self::TunnelRefused { prohibited: true, .. })
    }
}

impl Explain for SshError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Config { .. } => "see what `ssh -G` says of the host, or set `ssh.config: none`".to_owned(),
            Self::JumpHost { source, .. } => return source.hint(),
            Self::ProxyCommand { .. } => "run the command by hand, as `etcd-ha ssh-config` shows it".to_owned(),
            Self::Resolve { .. } => "check the name, or give the host's IP address".to_owned(),
            Self::TcpTimeout { peer, .. } => {
                format!("check that the host is up and that no firewall drops port {}", peer.port)
            }
            Self::Refused { peer } => format!("check that sshd runs there and listens on port {}", peer.port),
            Self::NoRoute { .. } => "check the address, that the host is up, and the network between".to_owned(),
            Self::BannerTimeout { .. } | Self::KexTimeout { .. } => {
                "sshd there hangs or the host is overloaded: look at its console".to_owned()
            }
            Self::ClosedEarly { .. } => {
                "see sshd's log on the host; MaxStartups, PerSourcePenalties, hosts.deny and fail2ban all do this"
                    .to_owned()
            }
            Self::NotSsh { .. } => "check the port".to_owned(),
            Self::HostKeyUnknown { peer, key, files } => {
                let file = files.first().map_or_else(String::new, |file| format!(" >> {}", file.display()));
                format!(
                    "compare the fingerprint with `ssh-keygen -lf` of the key on the host itself, then run \
                     `ssh-keyscan -p {} -t {} {}{file}`, or set `host_key_checking: accept-new`",
                    peer.port,
                    keyscan_type(&key.algorithm),
                    peer.host,
                )
            }
            Self::HostKeyChanged { key, .. } => format!(
                "if the host was installed anew, compare the fingerprint on its console and remove the old key \
                 with `ssh-keygen -R '{}' -f {}`; otherwise somebody may be in between",
                key.presented.name,
                key.file.display()
            ),
            Self::HostKeyRevoked { .. } => "this key must not be used again: give the host a new one".to_owned(),
            Self::KeyFile { .. } => "check `identity` in the inventory".to_owned(),
            Self::AuthFailed { failure, .. } => hint(failure),
            Self::ChannelRefused { .. } => "check MaxSessions in the host's sshd_config".to_owned(),
            Self::ExecRefused { .. } => "check ForceCommand and the user's login shell on the host".to_owned(),
            Self::TerminalRefused { .. } => {
                "check PermitTTY in the host's sshd_config, and `no-pty` in the user's authorized_keys".to_owned()
            }
            Self::NoExitStatus { .. } => "the command may or may not have been carried out".to_owned(),
            Self::TunnelRefused { prohibited: true, .. } => {
                "check AllowTcpForwarding and PermitOpen in the host's sshd_config".to_owned()
            }
            Self::Connect { .. }
            | Self::NoCommonAlgorithm { .. }
            | Self::Handshake { .. }
            | Self::KnownHosts { .. }
            | Self::AuthTimeout { .. }
            | Self::ConnectionLost { .. }
            | Self::NulInCommand { .. }
            | Self::CommandTimeout { .. }
            | Self::IdleTimeout { .. }
            | Self::OutputTooLong { .. }
            | Self::Input { .. }
            | Self::TunnelRefused { .. }
            | Self::TunnelTimeout { .. } => return None,
        })
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::KeyFile { .. } | Self::Config { .. } => ExitStatus::Usage,
            Self::JumpHost { source, .. } => source.exit(),
            _ => ExitStatus::Failed,
        }
    }
}

/// The name by which `ssh-keyscan -t` knows a key type.
fn keyscan_type(algorithm: &str) -> &str {
    match algorithm {
        "ssh-ed25519" => "ed25519",
        name if name.starts_with("ecdsa-") => "ecdsa",
        _ => "rsa",
    }
}

/// A length of time for people.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds.fract() == 0.0 { format!("{seconds:.0} s") } else { format!("{seconds:.1} s") }
}

fn saying(said: Option<&str>) -> String {
    said.map_or_else(String::new, |said| format!(", saying `{said}`"))
}

fn paths(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| format!("`{}`", file.display())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{SshError, seconds};

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(Duration::from_secs(10)), "10 s");
        assert_eq!(seconds(Duration::from_millis(1500)), "1.5 s");
    }

    #[test]
    fn an_error_is_small_enough_to_be_returned_everywhere() {
        assert!(size_of::<SshError>() <= 128, "{}", size_of::<SshError>());
    }
}
