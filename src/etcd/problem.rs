//! What can be wrong with a cluster as a whole.

use super::identity::{ClusterId, MemberId};
use std::fmt;

/// What is wrong with a cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The members list different members.
    Lists,
    /// The members belong to different clusters; two of those.
    Clusters(ClusterId, ClusterId),
    /// The members follow different leaders.
    Leaders,
    /// There is a member that the inventory does not know.
    Stranger {
        /// Its id.
        id: MemberId,
        /// Its name; empty before it first started.
        name: String,
    },
    /// A member is known to the others at other peer URLs than in the inventory.
    Moved {
        /// Its name.
        name: String,
        /// Where the others know it.
        known: Vec<String>,
        /// Where the inventory has it.
        wanted: String,
    },
    /// A host of the inventory is no member.
    NoMember {
        /// The host.
        host: String,
    },
}

impl Problem {
    /// Whether it is gone in a moment if all is well: an election, a change of members that spreads.
    #[must_use]
    pub fn settles(&self) -> bool {
        matches!(self, Self::Lists | Self::Leaders)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lists => write!(f, "the members do not agree on who is a member"),
            Self::Clusters(one, other) => write!(f, "the members belong to different clusters ({one} and {other})"),
            Self::Leaders => write!(f, "the members follow different leaders"),
            Self::Stranger { id, name } => {
                let name = if name.is_empty() { "without a name" } else { name };
                write!(f, "member {id} ({name}) is not in the inventory")
            }
            Self::Moved { name, known, wanted } => {
                write!(f, "the others know `{name}` at {}, not at {wanted}", known.join(", "))
            }
            Self::NoMember { host } => write!(f, "host `{host}` is no member of the cluster"),
        }
    }
}
