//! Bytes to and from one machine over SSH: session, authentication, host keys, commands, tunnels.
//!
//! ```text
//! Target ─▶ connect ─▶ Session ──▶ exec    a command: input in, output and exit status out
//!           (TCP, key exchange,├─▶ pipe    a command as a stream, for as long as it is held
//!            host key, log-in) └─▶ tunnel  a TCP connection from the machine to anywhere
//! ```
//!
//! One [`Session`] is one TCP connection and is kept for a whole run: commands and tunnels are
//! channels on it. Nothing here waits for ever: a connection that died is found out by keepalives,
//! also while data is being sent, and every step of connecting has a time limit of its own.

use std::path::PathBuf;
use std::time::Duration;

mod auth;
mod bandwidth;
mod channels;
mod client;
mod connect;
mod dial;
mod error;
mod exec;
mod facts;
mod input;
mod keys;
mod known_hosts;
mod quote;
mod session;
mod stream;
mod wire;

pub use auth::Credentials;
pub use bandwidth::Bandwidth;
pub use error::SshError;
pub use exec::{Limits, Output, Status};
pub use facts::{Attempt, AuthFailure, ChangedHostKey, HostKeyFacts, KeyOrigin, Loss, Outcome, Peer};
pub use input::{Input, Progress};
pub use keys::Unusable;
pub use quote::quote;
pub use session::Session;
pub use stream::{Pipe, Tunnel};

/// One machine as SSH reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name or address to connect to.
    pub address: String,
    /// Port of sshd.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// Private key files, each asked of the agent first; the agent's other keys come last. Empty: the
    /// agent's keys, then OpenSSH's default names in `~/.ssh`.
    pub identity: Vec<PathBuf>,
    /// Files with host keys; empty: `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`.
    /// New keys (`accept-new`) are written to the first.
    pub known_hosts: Vec<PathBuf>,
    /// What to do about a host key that no file has.
    pub host_key_checking: HostKeyChecking,
    /// How long TCP connect, key exchange and log-in may take, each.
    pub connect_timeout: Duration,
    /// How often a silent connection is probed; after three unanswered probes it is given up.
    pub keepalive: Duration,
}

/// What to do about a host key that no known_hosts file has. A key that differs from a known one,
/// or that is revoked, is refused whatever is chosen, but for `Off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKeyChecking {
    /// Refuse it.
    #[default]
    Strict,
    /// Take it and write it down.
    AcceptNew,
    /// Check nothing.
    Off,
}
