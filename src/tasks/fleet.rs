//! The hosts of a run, as far as they were reached: connections, observations, the members' words.
//!
//! Everything is fetched when it is first needed and kept until something was changed, so that a
//! run with nothing to do costs one connection, one observation and one report per host.

use super::error::TaskError;
use super::reach::Reach;
use super::view::Overview;
use super::wanted::Wanted;
use crate::etcd::bootstrap::{BootstrapError, Found, membership};
use crate::etcd::client::{Access, CallError, MemberClient};
use crate::etcd::config::{self, Membership};
use crate::etcd::health::{ClusterHealth, Look};
use crate::etcd::identity::read_wal_head;
use crate::host::{Connection, HostError, Observation, Places, Script, observe};
use crate::inventory::{Host, Inventory};
use crate::pki::{self, Pki};
use crate::release::{self, Arch, Archive};
use crate::report::{Event, Reporter};
use futures::future::join_all;
use rand::Rng as _;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// What the command line says about a run.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Where release archives are kept on the controller.
    pub cache: PathBuf,
    /// Whether members are asked straight from the controller instead of through SSH.
    pub direct: bool,
    /// How long one call to a member may take.
    pub call_limit: Duration,
    /// How long a member may take to become healthy.
    pub health_timeout: Duration,
}

/// The hosts of a run.
pub struct Fleet {
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// Where progress is told.
    pub reporter: Reporter,
    /// What the command line says.
    pub options: FleetOptions,
    hosts: Vec<HostState>,
    pki: Mutex<Option<Arc<Pki>>>,
    archives: Mutex<BTreeMap<Arch, Archive>>,
    /// The token of a bootstrap, should one be needed: the same for the whole run.
    fresh: Membership,
    cluster: Mutex<Option<(Instant, Arc<ClusterHealth>)>>,
    reach: Mutex<Option<Arc<Reach>>>,
    /// Whether this run has changed any host.
    changed: AtomicBool,
}

#[derive(Default)]
struct HostState {
    connection: Mutex<Option<Result<Connection, Arc<HostError>>>>,
    seen: Mutex<Option<Arc<Observation>>>,
    client: Mutex<Option<MemberClient>>,
}

impl Fleet {
    /// The inventory's hosts, none of them reached yet.
    #[must_use]
    pub fn new(inventory: Arc<Inventory>, reporter: Reporter, options: FleetOptions) -> Self {
        let token = format!("{}-{:016x}", inventory.cluster, rand::rng().random::<u64>());
        Self {
            hosts: inventory.hosts.iter().map(|_| HostState::default()).collect(),
            fresh: Membership::bootstrap(&inventory, token),
            inventory,
            reporter,
            options,
            pki: Mutex::default(),
            archives: Mutex::default(),
            cluster: Mutex::default(),
            reach: Mutex::default(),
            changed: AtomicBool::new(false),
        }
    }

    fn state(&self, host: &Host) -> Option<&HostState> {
        let index = self.inventory.hosts.iter().position(|other| other.name == host.name)?;
        self.hosts.get(index)
    }

    /// The connection to `host`, opened at the first call.
    ///
    /// # Errors
    /// The host cannot be reached. It is not tried again: every later call fails with the same cause.
    pub async fn connection(&self, host: &Host) -> Result<Connection, TaskError> {
        let state = self.state(host).ok_or_else(|| TaskError::blind(host))?;
        let mut slot = state.connection.lock().await;
        match &*slot {
            Some(Ok(connection)) if !connection.session().is_closed() => return Ok(connection.clone()),
            Some(Err(error)) => return Err(TaskError::Host(error.clone())),
            _ => {}
        }
        let opened = Connection::open(host).await.map_err(Arc::new);
        *slot = Some(opened.clone());
        opened.map_err(TaskError::Host)
    }

    /// The host as it was observed last; it is observed now if it was not yet, or was changed since.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub async fn seen(&self, host: &Host) -> Result<Arc<Observation>, TaskError> {
        let state = self.state(host).ok_or_else(|| TaskError::blind(host))?;
        let mut slot = state.seen.lock().await;
        if let Some(seen) = &*slot {
            return Ok(seen.clone());
        }
        let connection = self.connection(host).await?;
        let seen = Arc::new(observe(&connection, &places(host)).await?);
        *slot = Some(seen.clone());
        Ok(seen)
    }

    /// Forgets what is known of a host, since it was changed.
    pub async fn forget(&self, host: &Host) {
        self.changed.store(true, Ordering::Relaxed);
        if let Some(state) = self.state(host) {
            *state.seen.lock().await = None;
        }
        *self.cluster.lock().await = None;
    }

    /// Forgets only what the host looks like.
    pub async fn look_again(&self, host: &Host) {
        if let Some(state) = self.state(host) {
            *state.seen.lock().await = None;
        }
    }

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
        let pki = self.pki().await?;
        let access = Access {
            ca: pki.ca_pem().to_owned(),
            certificate: pki.admin().certificate.clone(),
            key: Zeroizing::new(pki.admin().key.expose().to_owned()),
        };
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
        let missing = |change: &pki::Change| {
            matches!(change, pki::Change::Issue { kind: pki::Kind::Authority | pki::Kind::Admin, .. })
        };
        if pki.changes().iter().any(missing) {
            return Err(TaskError::NoPki { dir: self.inventory.pki.dir.clone() });
        }
        self.cluster(None).await
    }

    /// The members' hashes of all keys at one revision, by host, if something was changed in this run;
    /// members that cannot be asked are left out.
    ///
    /// A stale data dir can join as a healthy member with other data: nothing but this comparison
    /// shows it.
    async fn hashes(&self) -> BTreeMap<String, u32> {
        let mut hashes = BTreeMap::new();
        if !self.changed.load(Ordering::Relaxed) {
            return hashes;
        }
        let mut at = 0;
        for host in &self.inventory.hosts {
            if let Ok(member) = self.member(host).await
                && let Ok((hash, revision)) = member.hash_kv(at).await
            {
                // The first answer says which revision the others are asked for.
                at = if at == 0 { revision } else { at };
                hashes.insert(host.name.clone(), hash);
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
        let pki = self.pki().await?;
        let access = Access {
            ca: pki.ca_pem().to_owned(),
            certificate: pki.admin().certificate.clone(),
            key: Zeroizing::new(pki.admin().key.expose().to_owned()),
        };
        let client = self.client(host, &access).await;
        client.map_err(|source| TaskError::Member { member: host.name.clone(), source })
    }

    /// The PKI: what is in its folder, and beside that what would have to be issued.
    ///
    /// # Errors
    /// The PKI's folder cannot be read, or the CA must not be used.
    pub async fn pki(&self) -> Result<Arc<Pki>, TaskError> {
        let mut slot = self.pki.lock().await;
        if let Some(pki) = &*slot {
            return Ok(pki.clone());
        }
        let inventory = self.inventory.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let members: Vec<_> = inventory.hosts.iter().map(certificate_names).collect();
            Pki::load_or_issue(&inventory.pki, &inventory.cluster, &members, OffsetDateTime::now_utc())
        });
        let pki = Arc::new(loaded.await.map_err(|_| TaskError::Interrupted)??);
        *slot = Some(pki.clone());
        Ok(pki)
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
    async fn at_hand(&self, arch: Arch) -> Result<bool, TaskError> {
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

    /// Which cluster the data dirs of all hosts belong to.
    ///
    /// # Errors
    /// A host cannot be looked at.
    pub async fn membership(&self) -> Result<Result<Membership, Vec<BootstrapError>>, TaskError> {
        let found = join_all(self.inventory.hosts.iter().map(|host| async {
            let seen = self.seen(host).await?;
            let ours = seen.environment.clone().filter(|text| text.starts_with(config::MARK));
            Ok::<_, TaskError>(Found {
                host: host.name.clone(),
                data_dir: host.paths.data.clone(),
                client_url: config::client_url(host),
                data: seen.data.is_some(),
                runs: seen.unit.runs(),
                wal: seen.data.as_ref().and_then(|data| read_wal_head(&data.wal)),
                environment: ours,
            })
        }));
        let found = found.await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(membership(&found, self.fresh.clone()))
    }

    /// What `host` should have.
    ///
    /// # Errors
    /// Anything that it is made of cannot be had.
    pub async fn wanted(&self, host: &Host) -> Result<Wanted, TaskError> {
        let seen = self.seen(host).await?;
        let arch = Arch::from_uname(&seen.machine).ok_or_else(|| TaskError::blind(host))?;
        let archive = self.archive(arch).await?;
        let membership = self.membership().await?.map_err(TaskError::Bootstrap)?;
        let pki = self.pki().await?;
        Wanted::of(host, &membership, &pki, archive).ok_or_else(|| TaskError::blind(host))
    }

    /// Who reaches whom; found out once.
    pub async fn reach(&self) -> Arc<Reach> {
        let mut slot = self.reach.lock().await;
        if let Some(reach) = &*slot {
            return reach.clone();
        }
        let reach = Arc::new(Reach::probe(self).await);
        *slot = Some(reach.clone());
        reach
    }

    /// What is known of all hosts, as far as `needs` asks for it.
    ///
    /// # Errors
    /// What is needed cannot be had.
    pub async fn overview(&self, needs: &super::Needs, since: Option<Instant>) -> Result<Overview<'_>, TaskError> {
        let mut overview = Overview {
            inventory: &self.inventory,
            seen: BTreeMap::new(),
            membership: None,
            cluster: None,
            reach: None,
            issue: Vec::new(),
            pki_warnings: Vec::new(),
            ca: String::new(),
            hashes: BTreeMap::new(),
            missing_releases: Vec::new(),
        };
        if needs.membership {
            // A host that cannot be looked at fails in its own place; the others go on without this.
            overview.membership = self.membership().await.ok();
        }
        if needs.pki {
            let pki = self.pki().await?;
            overview.issue = pki.changes().iter().map(ToString::to_string).collect();
            overview.pki_warnings = pki.warnings().to_vec();
            overview.ca = pki.ca_pem().to_owned();
            for host in &self.inventory.hosts {
                // A CA is never made anew beside members that trust another.
                self.seen(host).await?;
            }
        }
        if needs.release {
            for arch in self.architectures().await {
                if !self.at_hand(arch).await? {
                    overview.missing_releases.push(arch);
                }
            }
        }
        if needs.cluster {
            overview.cluster = Some(self.cluster(since).await?);
        }
        if needs.hashes {
            overview.hashes = self.hashes().await;
        }
        if needs.reach {
            overview.reach = Some(self.reach().await);
        }
        for (host, state) in self.inventory.hosts.iter().zip(&self.hosts) {
            if let Ok(slot) = state.seen.try_lock()
                && let Some(seen) = &*slot
            {
                overview.seen.insert(host.name.clone(), seen.clone());
            }
        }
        Ok(overview)
    }

    /// Ends all connections politely.
    pub async fn close(&self) {
        let closing = self.hosts.iter().map(|state| async {
            if let Some(Ok(connection)) = &*state.connection.lock().await {
                connection.close().await;
            }
        });
        join_all(closing).await;
    }
}

/// Where to look on a host.
#[must_use]
pub fn places(host: &Host) -> Places {
    Places {
        paths: host.paths.clone(),
        unit: config::UNIT.to_owned(),
        account: config::USER.to_owned(),
        generation: config::GENERATION.to_owned(),
        variables: config::PREFIX.to_owned(),
        established: config::CLUSTER_ID.to_owned(),
        ports: vec![host.client_port, host.peer_port],
    }
}

/// Every name and address by which a member is reached or from which it connects.
fn certificate_names(host: &Host) -> pki::Member {
    let mut names = vec![host.address.clone(), host.name.clone()];
    names.extend(host.extra_names.iter().cloned());
    pki::Member { name: host.name.clone(), names }
}

/// Runs a script that changes nothing and gives its exit status.
///
/// # Errors
/// The host cannot be reached.
pub async fn probe(connection: &Connection, script: &str) -> Result<i64, TaskError> {
    let text = format!("code=0; {{ {script}; }} >/dev/null 2>&1 || code=$?; echo \"$code\"\n");
    let answer = connection.run(Script::new("look", &text)).await?;
    Ok(String::from_utf8_lossy(&answer).trim().parse().unwrap_or(-1))
}
