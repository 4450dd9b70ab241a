//! The cluster: what etcd wants to be told, what it says, and what follows from that.
