//! The cluster: what etcd wants to be told, what it says, and what follows from that.

pub mod lint;
pub mod options;
pub mod version;
