//! The cluster: what etcd wants to be told, what it says, and what follows from that.

pub mod bootstrap;
pub mod client;
pub mod compare;
pub mod config;
pub mod downgrade;
pub mod etcdctl;
pub mod gate;
pub mod handshake;
pub mod health;
pub mod identity;
pub mod journal;
pub mod lint;
pub mod log;
pub mod options;
pub mod problem;
pub mod signature;
pub mod snapshot;
pub mod upgrade;
pub mod version;

#[cfg(test)]
pub(crate) mod testing;
