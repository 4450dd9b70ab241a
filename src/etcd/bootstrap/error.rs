//! Why the hosts' data dirs do not fit together, and what to do about it.

use super::{ClusterId, MemberId};
use crate::error::{ExitStatus, Explain};

/// Why the hosts' data dirs do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// A data dir holds something, but no WAL that can be read.
    #[error("host `{host}`: data dir `{data_dir}` is not empty, but is no etcd data dir")]
    NotEtcd {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
    },
    /// A data dir holds a member that this tool did not set up there.
    #[error("host `{host}`: data dir `{data_dir}` holds a member of cluster {cluster} that etcd-ha did not set up")]
    Foreign {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster that it belongs to.
        cluster: ClusterId,
    },
    /// A data dir holds a member of the cluster that the others are of, and what we wrote beside it is gone.
    #[error(
        "host `{host}`: data dir `{data_dir}` holds a member of cluster {cluster}, as that of `{other_host}` does, but its \
         etcd.conf is gone"
    )]
    Unrecorded {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster that it belongs to.
        cluster: ClusterId,
        /// A host with a member of that cluster that was set up by this tool.
        other_host: String,
    },
    /// Two data dirs belong to different clusters.
    #[error(
        "host `{host}`: data dir `{data_dir}` belongs to cluster {cluster}, but that of `{other_host}` to cluster {other}"
    )]
    Different {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster that it belongs to.
        cluster: ClusterId,
        /// The host that it is compared with.
        other_host: String,
        /// That host's cluster.
        other: ClusterId,
    },
    /// Two hosts hold the data of one member.
    #[error("hosts `{host}` and `{other_host}` both hold the data of member {member}")]
    SameMember {
        /// One host.
        host: String,
        /// The other.
        other_host: String,
        /// The member.
        member: MemberId,
    },
    /// A bootstrap that never had a quorum was begun with other members than the inventory has now.
    #[error(
        "host `{host}`: data dir `{data_dir}` is left from a bootstrap that never had a quorum, with other members ({began})"
    )]
    Abandoned {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The members that it was begun with.
        began: String,
    },
    /// The cluster stands, and the inventory has other members than it.
    #[error("cluster {cluster} has other members than the inventory: {}", difference(.added, .removed))]
    Members {
        /// The host whose record of the members was read.
        host: String,
        /// The cluster.
        cluster: ClusterId,
        /// What only the inventory has, `name=URL` each.
        added: Vec<String>,
        /// What only the cluster has, `name=URL` each.
        removed: Vec<String>,
    },
    /// The member was set up with something else that cannot be changed under it.
    #[error("host `{host}`: its member was set up with {what} `{was}`, the inventory says `{now}`")]
    Moved {
        /// The host.
        host: String,
        /// What it is about: `data dir`.
        what: &'static str,
        /// What its environment file says.
        was: String,
        /// What the inventory says.
        now: String,
    },
    /// The member was set up for a cluster of another name.
    #[error("host `{host}`: its member was set up for cluster `{was}`, the inventory is of cluster `{now}`")]
    OtherName {
        /// The host.
        host: String,
        /// The name in its environment file.
        was: String,
        /// The name in the inventory.
        now: String,
    },
    /// The host's own environment file says that a cluster stood here, but nobody has data of it.
    #[error("host `{host}`: data dir `{data_dir}` is empty, but its etcd.conf says that cluster {cluster} stood here")]
    Gone {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster of its environment file.
        cluster: ClusterId,
    },
    /// The data dir and the environment file, which is ours, are of different clusters.
    #[error("host `{host}`: data dir `{data_dir}` belongs to cluster {cluster}, its etcd.conf to another")]
    Mismatch {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster that the data belongs to.
        cluster: ClusterId,
    },
    /// The cluster lives, but this host has no data.
    #[error(
        "host `{host}`: data dir `{data_dir}` is empty, but cluster {cluster} exists (`{other_host}` holds a member of it)"
    )]
    Lost {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster that the others belong to.
        cluster: ClusterId,
        /// A host that has data.
        other_host: String,
    },
}

impl BootstrapError {
    /// Whether it is about the host `name`.
    #[must_use]
    pub fn concerns(&self, name: &str) -> bool {
        match self {
            Self::NotEtcd { host, .. }
            | Self::Foreign { host, .. }
            | Self::Unrecorded { host, .. }
            | Self::Different { host, .. }
            | Self::Abandoned { host, .. }
            | Self::Members { host, .. }
            | Self::Moved { host, .. }
            | Self::OtherName { host, .. }
            | Self::Gone { host, .. }
            | Self::Mismatch { host, .. }
            | Self::Lost { host, .. } => host == name,
            Self::SameMember { host, other_host, .. } => host == name || other_host == name,
        }
    }
}

fn difference(added: &[String], removed: &[String]) -> String {
    let side = |sign: char, peers: &[String]| peers.iter().map(|peer| format!("{sign}{peer}")).collect::<Vec<_>>();
    [side('+', added), side('-', removed)].concat().join(" ")
}

impl Explain for BootstrapError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Members { .. } => {
                "members are not added, removed, renamed or moved by a deploy: put the inventory back to \
                 the members that the cluster has (`+` is only in the inventory, `-` only in the cluster)"
                    .to_owned()
            }
            Self::Gone { data_dir, .. } => format!(
                "is the data disk mounted at `{data_dir}`? If the cluster is really to be given up and made anew, empty, \
                 remove etcd.conf from every host's config folder and run again"
            ),
            Self::Mismatch { host, data_dir, .. } => format!(
                "do not delete `{data_dir}` on `{host}`: it may be the only good copy. Compare with the other hosts, and with \
                 `.previous/etcd.conf` in the config folder, which cluster is the right one"
            ),
            Self::OtherName { was, .. } => {
                format!("is it the right inventory? If only the name was changed, put `cluster` back to `{was}`")
            }
            Self::Moved { what, was, .. } => {
                format!("put the inventory's {what} back to `{was}`: a deploy does not move a member")
            }
            Self::NotEtcd { host, data_dir } => format!(
                "a deploy never deletes data: look at `{data_dir}` on `{host}`, move it aside or set another `paths.data`"
            ),
            Self::Foreign { host, data_dir, .. } | Self::Different { host, data_dir, .. } => format!(
                "a deploy never deletes data: if it is no longer needed, move `{data_dir}` on `{host}` aside and run again"
            ),
            Self::Unrecorded { host, data_dir, other_host, .. } => format!(
                "leave `{data_dir}` on `{host}` as it is, and put etcd.conf back in its config folder; without a copy, the \
                 lines of `{other_host}`'s that begin with `#`, `ETCD_INITIAL_CLUSTER` or `HA_CLUSTER_ID` will do, and the \
                 next deploy writes the rest"
            ),
            Self::Abandoned { host, data_dir, .. } => format!(
                "no data was ever written to it: move `{data_dir}` on `{host}` aside and run again, or restore the inventory"
            ),
            Self::SameMember { .. } => {
                "do not start either: one of the data dirs is a copy; move the copy aside".to_owned()
            }
            Self::Lost { host, .. } => format!(
                "if `{host}` lost its disk, its member has to be removed and added anew \
                 (`etcdctl member remove`, `etcdctl member add`); if the disk is only not mounted, mount it"
            ),
        })
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Refused
    }
}
