//! What the state of hosts and members means, put together for whoever looks at a cluster between
//! deployments. Facts are gathered at the rim of each file; what follows from them is decided by pure
//! functions.

pub mod explain;
