//! What the state of hosts and members means, put together for whoever looks at a cluster between
//! deployments. Facts are gathered at the rim of each file; what follows from them is decided by pure
//! functions.

pub mod certificates;
pub mod check;
mod drift;
pub mod explain;
pub mod logs;
mod status;

#[cfg(test)]
pub(crate) mod tests;

pub use drift::{Drift, drift};
pub use status::{ClusterStatus, Known, MemberStatus, Role, State, gather};
