//! What the members say, asked through their hosts' tunnels or directly.

use super::Fleet;
use crate::etcd::client::{Access, CallError, MemberClient};
use crate::etcd::compare::{Answer, Comparison};
use crate::etcd::health::{ClusterHealth, Look};
use crate::inventory::Host;
use crate::pki;
use crate::report::Event;
use crate::tasks::TaskError;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// The pause before members are compared again.
const AGAIN: Duration = Duration::from_millis(300);

/// Whether it is for want of this that members cannot be asked; a certificate that ends soon still holds.
fn keeps_from_asking(change: &pki::Change) -> bool {
    use pki::{Change, Kind, Reason};
    matches!(change, Change::Issue { kind: Kind::Authority | Kind::Admin, reason, .. }
        if !matches!(reason, Reason::ExpiresSoon(_)))
}

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
        self.standing_access().await?;
        self.cluster(None).await
    }

    /// What the admin shows to members, and trusts, if the PKI folder has it.
    ///
    /// # Errors
    /// It does not.
    pub async fn standing_access(&self) -> Result<Access, TaskError> {
        let pki = self.pki().await?;
        if !Self::can_ask(&pki) {
            return Err(TaskError::NoPki { dir: self.inventory.pki.dir.clone() });
        }
        self.access().await
    }

    /// Whether the PKI folder has what members are asked with.
    pub(super) fn can_ask(pki: &pki::Pki) -> bool {
        !pki.changes().iter().any(keeps_from_asking)
    }

    /// The members' hashes of all keys at one revision, by host, if something was changed in this run;
    /// those that cannot be compared are left out.
    pub(super) async fn hashes(&self) -> BTreeMap<String, u32> {
        if self.changed.load(Ordering::Relaxed) { self.compare().await.hashes } else { BTreeMap::new() }
    }

    /// Compares all members' data at one revision, again after a while if that may tell more.
    pub(super) async fn compare(&self) -> Comparison {
        let begun = Instant::now();
        loop {
            // What the foremost one has, the others have, too, or are about to.
            let revisions = join_all(self.inventory.hosts.iter().map(|host| self.revision(host))).await;
            let revision = revisions.into_iter().flatten().max().unwrap_or_default();
            let mut answers: Vec<(String, Answer)> = Vec::new();
            // One after the other: a member reads all of its data for this.
            for host in &self.inventory.hosts {
                answers.push((host.name.clone(), self.hash_at(host, revision).await));
            }
            let comparison = Comparison::of(revision, &answers);
            let hopeless = !comparison.passing || comparison.differing().is_some();
            if hopeless || begun.elapsed() > self.options.call_limit {
                return comparison;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn revision(&self, host: &Host) -> Option<i64> {
        self.member(host).await.ok()?.revision().await.ok()
    }

    async fn hash_at(&self, host: &Host, revision: i64) -> Answer {
        let member = match self.member(host).await {
            Ok(member) => member,
            Err(TaskError::Member { source, .. }) => return Answer::Failed(source),
            Err(error) => return Answer::Failed(CallError::Ssh(crate::error::line(&error))),
        };
        match member.hash_kv(revision).await {
            Ok(hash) => Answer::Hash(hash),
            Err(error) if error.is_future_revision() => match member.revision().await {
                Ok(own) => Answer::Behind(own),
                Err(error) => Answer::Failed(error),
            },
            Err(error) => Answer::Failed(error),
        }
    }

    /// Looks at all hosts and, if there are certificates to ask with, asks all members meanwhile, so
    /// that a run with nothing to do is not longer than the slower of the two. What fails is told
    /// when it is needed. Only the first call does anything.
    pub async fn look_around(&self) {
        if self.looked.swap(true, Ordering::Relaxed) {
            return;
        }
        for host in &self.inventory.hosts {
            self.reporter.emit(Event::TaskProgress {
                host: host.name.clone(),
                task: "connect".to_owned(),
                message: "connecting".to_owned(),
                done: None,
                total: None,
            });
        }
        // Each host waits for its turn.
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

#[cfg(test)]
mod tests {
    use super::*;
    use pki::{Kind, Reason};

    #[test]
    fn members_are_asked_with_a_certificate_that_ends_soon() {
        let soon = time::OffsetDateTime::UNIX_EPOCH;
        for (kind, reason, keeps) in [
            (Kind::Admin, Reason::Missing, true),
            (Kind::Authority, Reason::Missing, true),
            (Kind::Admin, Reason::Expired(soon), true),
            (Kind::Admin, Reason::ExpiresSoon(soon), false),
            (Kind::Server("node01".to_owned()), Reason::Missing, false),
        ] {
            let change = pki::Change::Issue { kind, file: "admin.pem".into(), reason };
            assert_eq!(keeps_from_asking(&change), keeps, "{change}");
        }
    }
}
