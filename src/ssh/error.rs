//! What can go wrong between us and a machine, each cause in words of its own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::auth::hint;
use super::facts::{AuthFailure, CertificateFault, ChangedHostKey, HostKeyFacts, Loss, Peer, RevokedHostKey};
use crate::error::{ExitStatus, Explain};

/// The reason of a machine that gives none.
pub(super) const NO_ANSWER: &str = "no answer";

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
    /// Nothing that ssh_config allows is known here.
    #[error("no algorithm is left for `{peer}`: {keyword} allows {allowed}, and known here are {known}")]
    NoAlgorithmAllowed {
        /// The machine.
        peer: Peer,
        /// The keyword of ssh_config(5).
        keyword: &'static str,
        /// What it allows, separated by commas.
        allowed: String,
        /// What would do here, separated by commas.
        known: String,
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
        "the host key of `{peer}` is unknown: {} {} is {}{}",
        key.algorithm, key.fingerprint, nowhere(files), useless(key.certificate.as_ref())
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
        "the host key of `{peer}` has changed: it presents {} {}, but `{}:{}` has {} {}{}",
        key.presented.algorithm, key.presented.fingerprint, key.file.display(), key.line,
        key.known_algorithm, key.known_fingerprint, useless(key.presented.certificate.as_ref())
    )]
    HostKeyChanged {
        /// The machine.
        peer: Peer,
        /// Both keys.
        key: Box<ChangedHostKey>,
    },
    /// The host's key, or the authority that certified it, is revoked.
    #[error("the host key of `{peer}`, {key}")]
    HostKeyRevoked {
        /// The machine.
        peer: Peer,
        /// Its key, and who revoked it.
        key: Box<RevokedHostKey>,
    },
    /// Whether the host's key is revoked cannot be found out.
    #[error("`{}` does not tell whether the host key of `{peer}` is revoked: {why}", path.display())]
    RevokedKeys {
        /// The machine.
        peer: Peer,
        /// The file of RevokedHostKeys.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The host has none of the keys that the inventory names.
    #[error("the host key of `{peer}` is not the one of the inventory: it presents {}, and pinned is {}",
        keys(presented), pinned.join(", "))]
    HostKeyNotPinned {
        /// The machine.
        peer: Peer,
        /// Its keys.
        presented: Vec<HostKeyFacts>,
        /// The fingerprints in the inventory.
        pinned: Vec<String>,
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
    /// The input had gone, or did not go on, and the command did not end for too long.
    #[error("the command on `{peer}` took nothing more and did not end for {}", seconds(*after))]
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
            Self::HostKeyUnknown { .. } => "compare the fingerprint with `ssh-keygen -lf` of the key on the host \
                 itself, then run `etcd-ha trust -i …`, or set `host_key_checking: accept-new`"
                .to_owned(),
            Self::RevokedKeys { .. } => "mend the file that RevokedHostKeys in ssh_config names".to_owned(),
            Self::HostKeyNotPinned { .. } => "if the host was installed anew, compare the fingerprint on its console \
                 and change `host_key` in the inventory; otherwise somebody may be in between"
                .to_owned(),
            Self::NoAlgorithmAllowed { keyword, .. } => {
                format!("allow one of them by {keyword} in ssh_config, or set `ssh.config: none`")
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
            Self::ChannelRefused { reason: NO_ANSWER, .. } => {
                "see to the host and the way to it, then run the same command again".to_owned()
            }
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
            Self::KeyFile { .. } | Self::Config { .. } | Self::NoAlgorithmAllowed { .. } => ExitStatus::Usage,
            Self::JumpHost { source, .. } => source.exit(),
            _ => ExitStatus::Failed,
        }
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

fn useless(certificate: Option<&CertificateFault>) -> String {
    certificate.map_or_else(String::new, |fault| format!("; its certificate does not count: {fault}"))
}

fn keys(keys: &[HostKeyFacts]) -> String {
    keys.iter().map(|key| format!("{} {}", key.algorithm, key.fingerprint)).collect::<Vec<_>>().join(", ")
}

fn nowhere(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| format!("`{}`", file.display())).collect();
    if names.is_empty() {
        "on no file, since none is set".to_owned()
    } else {
        format!("in none of {}", names.join(", "))
    }
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
