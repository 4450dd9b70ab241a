//! One machine as SSH will reach it: everything decided.

use std::path::PathBuf;
use std::time::Duration;

use super::facts::Peer;
use super::target::HostKeyChecking;

/// One machine as SSH will reach it, be it the goal or a jump host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hop {
    /// What `ssh` would be called with.
    pub name: String,
    /// Where to connect (HostName).
    pub host: String,
    /// Port of sshd.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// What to log in with.
    pub login: Login,
    /// How the machine is known again.
    pub host_keys: HostKeys,
    /// The algorithms that the user has restricted.
    pub algorithms: Algorithms,
    /// How long TCP connect, key exchange and log-in may take, each.
    pub connect_timeout: Duration,
    /// How often a silent connection is probed.
    pub keepalive: Duration,
    /// After how many unanswered probes it is given up.
    pub keepalive_max: u32,
    /// What lies in between.
    pub proxy: Proxy,
}

impl Hop {
    /// The machine for messages, before anything is known of its address.
    pub(super) fn peer(&self) -> Peer {
        let via = match &self.proxy {
            Proxy::None => None,
            Proxy::Jump(jump) => Some(jump.name.as_str().into()),
            Proxy::Command(_) => Some("its ProxyCommand".into()),
        };
        Peer { host: self.host.as_str().into(), port: self.port, address: None, via }
    }
}

impl HostKeys {
    /// All files in which the machine's key may stand.
    pub(super) fn all_files(&self) -> Vec<PathBuf> {
        self.files.iter().chain(&self.global_files).cloned().collect()
    }
}

/// What a machine is reached through.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Proxy {
    /// Nothing.
    None,
    /// A jump host (ProxyJump), which may have one of its own.
    Jump(Box<Hop>),
    /// A command whose stdin and stdout lead there (ProxyCommand), its tokens filled in.
    Command(String),
}

/// What to log in with (ssh_config(5)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// IdentityFile; none: OpenSSH's default names in `~/.ssh`.
    pub identity: Vec<PathBuf>,
    /// Whether the identity files are the inventory's, so that one which is not there is an error.
    pub identity_is_required: bool,
    /// IdentitiesOnly: of the agent's keys, only those that are named as files.
    pub identities_only: bool,
    /// CertificateFile, beside those that lie next to the identity files.
    pub certificates: Vec<PathBuf>,
    /// IdentityAgent.
    pub agent: AgentSocket,
    /// PreferredAuthentications, without those that are switched off; names of RFC 4252 and RFC 4256.
    pub methods: Vec<Method>,
    /// NumberOfPasswordPrompts.
    pub password_prompts: u32,
}

/// Where the agent listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AgentSocket {
    /// Where `SSH_AUTH_SOCK` says.
    Environment,
    /// There.
    Path(PathBuf),
    /// No agent is asked.
    None,
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Keys and certificates.
    PublicKey,
    /// Questions of the server.
    KeyboardInteractive,
    /// A password.
    Password,
}

impl Method {
    /// All of them, in OpenSSH's order.
    pub const ALL: [Self; 3] = [Self::PublicKey, Self::KeyboardInteractive, Self::Password];

    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PublicKey => "publickey",
            Self::KeyboardInteractive => "keyboard-interactive",
            Self::Password => "password",
        }
    }
}

/// How a machine is known again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostKeys {
    /// The names to look for in the files, the first being the one under which a new key is written.
    pub names: Vec<KnownName>,
    /// UserKnownHostsFile; new keys are written to the first.
    pub files: Vec<PathBuf>,
    /// GlobalKnownHostsFile.
    pub global_files: Vec<PathBuf>,
    /// RevokedHostKeys.
    pub revoked: Option<PathBuf>,
    /// StrictHostKeyChecking.
    pub checking: HostKeyChecking,
    /// Fingerprints, one of which the key must have; if there are any, no file counts.
    pub pinned: Vec<String>,
    /// HashKnownHosts: whether names are written as hashes.
    pub hashed: bool,
}

/// A name in known_hosts files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnownName {
    /// `host`, `[host]:port`, or what HostKeyAlias says.
    pub text: String,
    /// Whether a key under this name that is another counts as no key at all: a name that was not asked for.
    pub weak: bool,
}

impl KnownName {
    /// The name alone, as certificates have it.
    pub(super) fn principal(&self) -> &str {
        let inside = self.text.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:"));
        inside.map_or(&self.text, |(host, _)| host)
    }
}

/// Algorithms by the names of the protocol, in the order in which they are preferred. Empty: no restriction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Algorithms {
    /// Ciphers.
    pub ciphers: Vec<String>,
    /// KexAlgorithms.
    pub kex: Vec<String>,
    /// MACs.
    pub macs: Vec<String>,
    /// HostKeyAlgorithms.
    pub host_keys: Vec<String>,
}
