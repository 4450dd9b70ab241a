//! Which cluster the hosts belong to: made of all of them, and asked for by each.

use super::Fleet;
use crate::etcd::bootstrap::{BootstrapError, Found, membership, membership_of_some};
use crate::etcd::config::{self, Membership};
use crate::etcd::identity::read_wal_head;
use crate::host::Observation;
use crate::inventory::Host;
use crate::tasks::TaskError;
use futures::future::join_all;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Which cluster the hosts belong to, or why that cannot be.
pub(super) type Bootstrap = Result<Membership, Vec<BootstrapError>>;

impl Fleet {
    /// Which cluster the data dirs of all hosts belong to.
    ///
    /// # Errors
    /// A host cannot be looked at, and what the others have does not tell.
    pub async fn membership(&self) -> Result<Bootstrap, TaskError> {
        let mut slot = self.membership.lock().await;
        let glances = self.glances.load(Ordering::SeqCst);
        if let Some((made, membership)) = &*slot
            && *made == glances
        {
            return Ok(membership.clone());
        }
        let looks = join_all(self.inventory.hosts.iter().map(|host| self.last_seen(host))).await;
        let hosts = self.inventory.hosts.iter();
        let (mut known, mut all, mut blind) = (Vec::new(), true, None);
        for (host, look) in hosts.zip(looks) {
            match look {
                Ok((seen, now)) => {
                    known.push(found(host, &seen));
                    all &= now;
                }
                Err(error) => blind = blind.or(Some(error)),
            }
        }
        let membership = match blind {
            None => membership(&known, self.fresh.clone()),
            Some(error) => return membership_of_some(&known, self.fresh.clone()).ok_or(error),
        };
        // A host that could not be looked at now may be looked at the next time.
        if all {
            *slot = Some((glances, membership.clone()));
        }
        Ok(membership)
    }

    /// The host as it is (and true) or, if it cannot be looked at any more, as it was observed last: the
    /// others finish what they are at, and no further play begins.
    async fn last_seen(&self, host: &Host) -> Result<(Arc<Observation>, bool), TaskError> {
        let last = self.seen_before(host).await;
        // One that hangs would be waited for by each of the others, at every step.
        if last.is_none() && self.state(host).is_some_and(|state| state.away.load(Ordering::Relaxed)) {
            return Err(TaskError::blind(host));
        }
        match self.seen(host).await {
            Ok(seen) => Ok((seen, true)),
            Err(error) => {
                if let (None, Some(state)) = (&last, self.state(host)) {
                    state.away.store(true, Ordering::Relaxed);
                }
                last.map(|last| (last, false)).ok_or(error)
            }
        }
    }
}

/// What a host holds of a member, as it was observed.
#[must_use]
pub fn found(host: &Host, seen: &Observation) -> Found {
    Found {
        host: host.name.clone(),
        data_dir: host.paths.data.clone(),
        client_url: config::client_url(host),
        data: seen.data.is_some(),
        runs: seen.unit.runs(),
        wal: seen.data.as_ref().and_then(|data| read_wal_head(&data.wal)),
        environment: seen.environment.clone().filter(|text| text.starts_with(config::MARK)),
    }
}
