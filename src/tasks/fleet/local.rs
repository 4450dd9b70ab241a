//! What lies on the controller: the PKI and the release archives.

use super::Fleet;
use crate::inventory::Host;
use crate::pki::{self, Passphrase, Pki};
use crate::release::{self, Arch, Archive};
use crate::report::Event;
use crate::tasks::TaskError;
use std::sync::Arc;
use time::OffsetDateTime;

impl Fleet {
    /// The PKI: what is in its folder, and beside that what would have to be issued.
    ///
    /// # Errors
    /// The PKI's folder cannot be read, or the CA must not be used.
    pub async fn pki(&self) -> Result<Arc<Pki>, TaskError> {
        let mut slot = self.pki.lock().await;
        if let Some(pki) = &*slot {
            return Ok(pki.clone());
        }
        let pki = Arc::new(self.load_pki(None).await?);
        *slot = Some(pki.clone());
        Ok(pki)
    }

    /// The PKI with all that has to be issued. If that takes the CA's key and the key is encrypted, its passphrase is
    /// asked for.
    ///
    /// # Errors
    /// As [`Fleet::pki`], and if nobody hands over the right passphrase.
    pub async fn issued_pki(&self) -> Result<Arc<Pki>, TaskError> {
        let pki = self.pki().await?;
        let Some(occasion) = pki.occasion() else { return Ok(pki) };
        let keeper = self.options.keeper.as_ref().ok_or_else(|| occasion.refusal())?;
        let mut tries = 0;
        loop {
            let passphrase = keeper.hand_over(occasion, tries > 0).await;
            let passphrase = passphrase.map_err(|error| TaskError::Passphrase(Arc::new(error)))?;
            tries += 1;
            match self.load_pki(Some(passphrase)).await {
                Err(TaskError::Pki(error)) if error.is_wrong_passphrase() && tries < keeper.tries() => {}
                loaded => return Ok(Arc::new(loaded?)),
            }
        }
    }

    async fn load_pki(&self, passphrase: Option<Passphrase>) -> Result<Pki, TaskError> {
        let inventory = self.inventory.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let members: Vec<_> = inventory.hosts.iter().map(certificate_names).collect();
            let (settings, cluster, now) = (&inventory.pki, &inventory.cluster, OffsetDateTime::now_utc());
            match &passphrase {
                Some(passphrase) => Pki::open(settings, cluster, &members, passphrase, now),
                None => Pki::load_or_issue(settings, cluster, &members, now),
            }
        });
        Ok(loaded.await.map_err(|_| TaskError::Interrupted)??)
    }

    /// Forgets the PKI, since its folder was written.
    pub async fn forget_pki(&self) {
        *self.pki.lock().await = None;
    }

    /// The architectures of the hosts that were looked at.
    pub async fn architectures(&self) -> Vec<Arch> {
        let mut archs = Vec::new();
        for host in &self.inventory.hosts {
            if let Ok(seen) = self.seen(host).await {
                archs.extend(Arch::from_uname(&seen.machine));
            }
        }
        archs.sort();
        archs.dedup();
        archs
    }

    /// The checked release archive for an architecture, fetched if it is not at hand.
    ///
    /// # Errors
    /// There is none, or it is not what it should be.
    pub async fn archive(&self, arch: Arch) -> Result<Archive, TaskError> {
        let mut archives = self.archives.lock().await;
        if let Some(archive) = archives.get(&arch) {
            return Ok(archive.clone());
        }
        let (inventory, reporter, cache) = (self.inventory.clone(), self.reporter.clone(), self.options.cache.clone());
        let fetched = tokio::task::spawn_blocking(move || {
            let progress = |progress: release::Progress<'_>| {
                reporter.emit(Event::TaskProgress {
                    host: "controller".to_owned(),
                    task: "fetch_release".to_owned(),
                    message: progress.message.to_owned(),
                    done: Some(progress.done),
                    total: progress.total,
                });
            };
            release::obtain(&inventory.release, &inventory.version, arch, &cache, &progress)
        });
        let archive = fetched.await.map_err(|_| TaskError::Interrupted)??;
        archives.insert(arch, archive.clone());
        Ok(archive)
    }

    /// Whether the archive for an architecture is there without asking the network.
    pub(super) async fn at_hand(&self, arch: Arch) -> Result<bool, TaskError> {
        let mut archives = self.archives.lock().await;
        if archives.contains_key(&arch) {
            return Ok(true);
        }
        let (inventory, cache) = (self.inventory.clone(), self.options.cache.clone());
        let found =
            tokio::task::spawn_blocking(move || release::at_hand(&inventory.release, &inventory.version, arch, &cache));
        let found = found.await.map_err(|_| TaskError::Interrupted)??;
        let there = found.is_some();
        archives.extend(found.map(|archive| (arch, archive)));
        Ok(there)
    }
}

/// Every name and address by which a member is reached or from which it connects.
#[must_use]
pub fn certificate_names(host: &Host) -> pki::Member {
    let mut names = vec![host.address.clone(), host.name.clone()];
    names.extend(host.extra_names.iter().cloned());
    pki::Member { name: host.name.clone(), names }
}
