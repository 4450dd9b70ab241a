//! Bytes to and from one machine over SSH: session, authentication, host keys, commands, tunnels.
//!
//! ```text
//! Target ─▶ route ─▶ connect ─▶ Session ──▶ exec    a command: input in, output and exit status out
//!  (ssh_config,  (TCP or jump host,   ├─▶ pipe    a command as a stream, for as long as it is held
//!   defaults)     key exchange,       └─▶ tunnel  a TCP connection from the machine to anywhere
//!                 host key, log-in)
//! ```
//!
//! One [`Session`] is one TCP connection and is kept for a whole run: commands and tunnels are
//! channels on it. Nothing here waits for ever: a connection that died is found out by keepalives,
//! also while data is being sent, and every step of connecting has a time limit of its own.

mod algorithms;
mod auth;
mod bandwidth;
mod certificate;
mod channels;
mod client;
mod config;
mod connect;
mod connector;
mod dial;
mod dialogue;
mod error;
mod exec;
mod facts;
mod hop;
mod input;
mod judge;
mod keys;
mod known_hosts;
mod prompt;
mod proxy;
mod quote;
mod revoked;
mod route;
mod running;
mod session;
mod stream;
mod target;
#[cfg(test)]
pub(crate) mod testing;
mod trust;
mod wire;

pub use auth::Credentials;
pub use bandwidth::Bandwidth;
pub use connector::Connector;
pub use dialogue::{Dialogue, Turn};
pub use error::SshError;
pub use exec::{Limits, Manner, Output, Status};
pub use facts::{
    Attempt, AuthFailure, CertificateFault, ChangedHostKey, HostKeyFacts, Loss, Means, Outcome, Peer, RevokedHostKey,
    RevokedPart,
};
pub use hop::{AgentSocket, Algorithms, Hop, HostKeys, KnownName, Login, Method, Proxy};
pub use input::{Input, Progress};
pub use judge::Standing;
pub use keys::Unusable;
pub use known_hosts::known_lines;
pub use prompt::{Prompt, Question, Secret};
pub use quote::quote;
pub use route::{Route, Setting, Source};
pub use running::{Running, Said};
pub use session::Session;
pub use stream::{Pipe, Tunnel};
pub use target::{ConfigFile, HostKeyChecking, JumpHost, Target};
pub use trust::Found;
