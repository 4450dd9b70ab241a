//! The cluster: what etcd wants to be told, what it says, and what follows from that.

pub mod bootstrap;
pub mod client;
pub mod config;
pub mod gate;
pub mod health;
pub mod identity;
pub mod lint;
pub mod options;
pub mod problem;
pub mod version;

#[cfg(test)]
pub(crate) mod testing;
