//! What the members say, asked through their hosts' tunnels or directly.

use super::Fleet;
use crate::etcd::client::{Access, CallError, KeyHash, MemberClient};
use crate::etcd::health::{ClusterHealth, Look};
use crate::inventory::Host;
use crate::pki;
use crate::tasks::TaskError;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;
use zeroize::Zeroizing;

impl Fleet {
    /// What every member says. An answer that is not older than `since` is taken as it is.
    ///
    /// # Errors
    /// There is no PKI to ask with.
    pub async fn cluster(&self, since: Option<Instant>) -> Result<Arc<ClusterHealth>, TaskError> {
        let mut slot = self.cluster.lock().await;
        if let Some((asked, health)) = &*slot
            && since.is_none_or(|since| *asked >= since)
        {
            return Ok(health.clone());
        }
        let asked = Instant::now();
        let access = self.access().await?;
        let looks = self.inventory.hosts.iter().map(|host| self.look(host, &access));
        let health = Arc::new(ClusterHealth::assess(join_all(looks).await));
        *slot = Some((asked, health.clone()));
        Ok(health)
    }

    /// What every member says, asked with the certificates that are in the PKI folder.
    ///
    /// # Errors
    /// There are none.
    pub async fn standing_cluster(&self) -> Result<Arc<ClusterHealth>, TaskError> {
        let pki = self.pki().await?;
        if !Self::can_ask(&pki) {
            return Err(TaskError::NoPki { dir: self.inventory.pki.dir.clone() });
        }
        self.cluster(None).await
    }

    /// Whether the PKI folder has what members are asked with.
    pub(super) fn can_ask(pki: &pki::Pki) -> bool {
        let missing = |change: &pki::Change| {
            matches!(change, pki::Change::Issue { kind: pki::Kind::Authority | pki::Kind::Admin, .. })
        };
        !pki.changes().iter().any(missing)
    }

    /// The members' hashes of all keys at one revision, by host, if something was changed in this run;
    /// members that cannot be asked are left out, and so are those that are before or behind the first
    /// one in dropping history, since their hashes are others.
    ///
    /// A stale data dir can join as a healthy member with other data: nothing but this comparison
    /// shows it.
    pub(super) async fn hashes(&self) -> BTreeMap<String, u32> {
        let mut hashes = BTreeMap::new();
        if !self.changed.load(Ordering::Relaxed) {
            return hashes;
        }
        let mut first = None;
        for host in &self.inventory.hosts {
            if let Ok(member) = self.member(host).await
                && let Ok(own) = member.hash_kv(first.map_or(0, |first: KeyHash| first.newest)).await
            {
                // The first answer says which revision the others are asked for.
                if own.compacted == first.get_or_insert(own).compacted {
                    hashes.insert(host.name.clone(), own.hash);
                }
            }
        }
        hashes
    }

    /// Looks at all hosts and, if there are certificates to ask with, asks all members meanwhile, so
    /// that a run with nothing to do is not longer than the slower of the two. What fails is told
    /// when it is needed.
    pub async fn look_around(&self) {
        let hosts = join_all(self.inventory.hosts.iter().map(|host| self.seen(host)));
        let _ = tokio::join!(hosts, self.standing_cluster());
    }

    async fn look(&self, host: &Host, access: &Access) -> Look {
        let report = match self.client(host, access).await {
            Ok(client) => client.report().await,
            Err(error) => Err(error),
        };
        if report.is_err()
            && let Some(state) = self.state(host)
        {
            *state.client.lock().await = None;
        }
        Look::new(host, report)
    }

    async fn client(&self, host: &Host, access: &Access) -> Result<MemberClient, CallError> {
        let Some(state) = self.state(host) else { return Err(CallError::Ssh(format!("no host `{}`", host.name))) };
        let mut slot = state.client.lock().await;
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let limit = self.options.call_limit;
        let client = if self.options.direct {
            MemberClient::direct(host, access, limit).await?
        } else {
            let connection = self.connection(host).await;
            let connection = connection.map_err(|error| CallError::Ssh(crate::error::line(&error)))?;
            MemberClient::through(connection.session(), host, access, limit).await?
        };
        *slot = Some(client.clone());
        Ok(client)
    }

    /// A connection to the host's member, for a task that calls it.
    ///
    /// # Errors
    /// How far it got.
    pub async fn member(&self, host: &Host) -> Result<MemberClient, TaskError> {
        let access = self.access().await?;
        let client = self.client(host, &access).await;
        client.map_err(|source| TaskError::Member { member: host.name.clone(), source })
    }

    /// What the admin shows to members, and trusts.
    pub(super) async fn access(&self) -> Result<Access, TaskError> {
        let pki = self.pki().await?;
        Ok(Access {
            ca: pki.ca_pem().to_owned(),
            certificate: pki.admin().certificate.clone(),
            key: Zeroizing::new(pki.admin().key.expose().to_owned()),
        })
    }
}
