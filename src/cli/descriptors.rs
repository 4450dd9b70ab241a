//! Whether there are file descriptors for all the hosts of a run.

use crate::error::{ExitStatus, Explain};
use crate::report::count;

/// What a run takes beside its connections: the runtime's own, files, pipes, the members' tunnels take none.
const BESIDE: u64 = 64;

/// The system allows fewer than are needed.
#[derive(Debug, thiserror::Error)]
#[error("a run on {} takes {needed} open files, and this process may have {limit}", count(*hosts, "host"))]
pub(super) struct TooFew {
    hosts: usize,
    needed: u64,
    limit: u64,
}

impl Explain for TooFew {
    fn hint(&self) -> Option<String> {
        Some(format!("raise the hard limit (`ulimit -H -n {}`, LimitNOFILE= of a service)", self.needed))
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

/// Sees to it that every host may have its connection for the whole run: raises the soft limit, which is
/// 1024 almost everywhere, as far as need be.
pub(super) fn make_room(hosts: usize) -> Result<(), TooFew> {
    let needed = hosts as u64 + BESIDE;
    match rlimit::increase_nofile_limit(needed) {
        Ok(limit) if limit < needed => Err(TooFew { hosts, needed, limit }),
        // A system that tells no limit may have none.
        Ok(_) | Err(_) => Ok(()),
    }
}
