//! The hosts of a run, as far as they were reached: connections, observations, the members' words.
//!
//! Everything is fetched when it is first needed and kept until something was changed, so that a
//! run with nothing to do costs one connection, one observation and one report per host.

mod local;
mod lock;
mod members;
mod membership;
mod noted;
mod versions;

pub use local::certificate_names;
pub use membership::found;
pub use versions::linked_version;
mod writer;

pub use writer::Writer;

use super::error::TaskError;
use super::reach::{Reach, Reaching};
use super::remains::{self, Remains};
use super::version_change;
use super::view::Overview;
use super::wanted::Wanted;
use crate::etcd::client::MemberClient;
use crate::etcd::config::{self, Membership};
use crate::etcd::health::ClusterHealth;
use crate::etcd::snapshot::Shelf;
use crate::host::{Connection, HostError, Observation, Password, Places, RunName, Script, observe};
use crate::inventory::{Host, Inventory};
use crate::pki::{Keeper, Pki};
use crate::release::{Arch, Archive};
use crate::report::Reporter;
use crate::ssh::{Bandwidth, Connector};
use futures::future::join_all;
use membership::Bootstrap;
use rand::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use tokio::time::Instant;

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
    /// Where snapshots are kept on the controller.
    pub snapshots: SnapshotPlace,
    /// Whether members may go down a minor version by etcd's own downgrade.
    pub downgrade: bool,
    /// The password for sudo or doas on the hosts.
    pub become_password: Option<Arc<Password>>,
    /// What connects to the hosts.
    pub connector: Connector,
    /// How many hosts are connected to and looked at, at once.
    pub forks: usize,
    /// Which run this is, where it is noted on the hosts that it changes.
    pub run: Option<RunName>,
    /// What uploads to all hosts together may take of the line.
    pub bandwidth: Option<Bandwidth>,
    /// Whoever hands over the passphrase of the CA's key.
    pub keeper: Option<Arc<dyn Keeper>>,
}

/// Where snapshots belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotPlace {
    /// In this folder.
    Folder(PathBuf),
    /// There is no folder for a user's state.
    Nowhere,
    /// The user wants none.
    Unwanted,
}

/// The hosts of a run.
pub struct Fleet {
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// Where progress is told.
    pub reporter: Reporter,
    /// What the command line says.
    pub options: FleetOptions,
    hosts: Arc<Vec<HostState>>,
    connector: Connector,
    /// The hosts' places in the inventory.
    places: BTreeMap<String, usize>,
    /// Taken while a host is connected to and looked at, so that a thousand are not all at once.
    in_hand: Arc<Semaphore>,
    /// How often anything became known of a host or was forgotten: what was made of it is stale then.
    glances: AtomicU64,
    membership: Mutex<Option<(u64, Bootstrap)>>,
    pki: Mutex<Option<Arc<Pki>>>,
    archives: Mutex<BTreeMap<Arch, Archive>>,
    /// The token of a bootstrap, should one be needed: the same for the whole run.
    fresh: Membership,
    cluster: Mutex<Option<(Instant, Arc<ClusterHealth>)>>,
    reach: Mutex<Option<Arc<Reach>>>,
    /// Held while a release is brought to a host whose member runs.
    staging: Mutex<()>,
    /// Whether all hosts were looked at.
    looked: AtomicBool,
    /// Whether this run has changed any host.
    changed: AtomicBool,
    /// The hosts on which it is noted that this run began to change something.
    noted: Arc<std::sync::Mutex<BTreeSet<String>>>,
    /// Whether a host has to be locked before anything is done there.
    locking: Arc<AtomicBool>,
    /// The snapshot that this run has taken.
    snapshot: std::sync::Mutex<Option<PathBuf>>,
    begun: OffsetDateTime,
}

#[derive(Default)]
struct HostState {
    connection: Mutex<Option<Result<Connection, Arc<HostError>>>>,
    seen: Mutex<Option<Arc<Observation>>>,
    /// The newest observation, kept when the host is changed.
    last: Mutex<Option<Arc<Observation>>>,
    /// Whether it was looked at in vain and never otherwise.
    away: AtomicBool,
    client: Mutex<Option<MemberClient>>,
    lock: Mutex<Option<lock::Lock>>,
    /// Whether this run has had the host's lock.
    locked: AtomicBool,
}

impl Fleet {
    /// The inventory's hosts, none of them reached yet.
    #[must_use]
    pub fn new(inventory: Arc<Inventory>, reporter: Reporter, options: FleetOptions) -> Self {
        let token = format!("{}-{:016x}", inventory.cluster, rand::rng().random::<u64>());
        Self {
            hosts: Arc::new(inventory.hosts.iter().map(|_| HostState::default()).collect()),
            places: inventory.hosts.iter().enumerate().map(|(place, host)| (host.name.clone(), place)).collect(),
            in_hand: Arc::new(Semaphore::new(options.forks.max(1))),
            glances: AtomicU64::new(0),
            membership: Mutex::default(),
            fresh: Membership::bootstrap(&inventory, token),
            inventory,
            reporter,
            connector: options.connector.clone(),
            options,
            pki: Mutex::default(),
            archives: Mutex::default(),
            cluster: Mutex::default(),
            reach: Mutex::default(),
            staging: Mutex::default(),
            looked: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            noted: Arc::default(),
            locking: Arc::default(),
            snapshot: std::sync::Mutex::default(),
            begun: OffsetDateTime::now_utc(),
        }
    }

    /// The same hosts, as far as they were reached, with another version to run.
    #[must_use]
    pub fn wanting(&self, inventory: Arc<Inventory>) -> Self {
        let fleet = Self::new(inventory, self.reporter.clone(), self.options.clone());
        Self {
            hosts: self.hosts.clone(),
            connector: self.connector.clone(),
            in_hand: self.in_hand.clone(),
            noted: self.noted.clone(),
            locking: self.locking.clone(),
            fresh: self.fresh.clone(),
            ..fleet
        }
    }

    fn state(&self, host: &Host) -> Option<&HostState> {
        self.hosts.get(*self.places.get(&host.name)?)
    }

    /// The turn to connect to a host or to look at it. It is taken before the host's connection is locked,
    /// and who holds one waits for no other.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.in_hand.acquire().await.ok()
    }

    /// The connection to `host`, opened at the first call.
    ///
    /// # Errors
    /// The host cannot be reached. It is not tried again: every later call fails with the same cause.
    pub async fn connection(&self, host: &Host) -> Result<Connection, TaskError> {
        let state = self.state(host).ok_or_else(|| TaskError::blind(host))?;
        if let Some(known) = known(&*state.connection.lock().await) {
            return known;
        }
        let _turn = self.turn().await;
        self.connected(state, host).await
    }

    /// The connection to `host`, opened in a turn that the caller has.
    async fn connected(&self, state: &HostState, host: &Host) -> Result<Connection, TaskError> {
        let mut slot = state.connection.lock().await;
        if let Some(known) = known(&slot) {
            return known;
        }
        let password = self.options.become_password.clone();
        let mut opened = Connection::open(&self.connector, host, password).await.map_err(Arc::new);
        if let Ok(connection) = &opened
            && let Err(error) = self.lock_late(host, connection).await
        {
            opened = Err(Arc::new(error));
        }
        if let (Ok(connection), Some(bandwidth)) = (&opened, &self.options.bandwidth) {
            connection.session().throttle(bandwidth);
        }
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
        let _turn = self.turn().await;
        let others = self.inventory.hosts.iter().filter(|other| other.name != host.name);
        let peers = others.filter_map(|other| other.address.parse().ok()).collect();
        let places = Places { peers, ..places(host) };
        let look = async || observe(&self.connected(state, host).await?, &places).await.map_err(TaskError::from);
        let seen = match look().await {
            // To look changes nothing, so it may be done again.
            Err(error) if error.is_connection_lost() => {
                look().await.map_err(|again| if again.is_of_lock() { again } else { error })?
            }
            seen => seen?,
        };
        let seen = Arc::new(seen);
        *slot = Some(seen.clone());
        self.glances.fetch_add(1, Ordering::SeqCst);
        *state.last.lock().await = Some(seen.clone());
        Ok(seen)
    }

    /// The host as it was observed last, if it was.
    pub(super) async fn seen_before(&self, host: &Host) -> Option<Arc<Observation>> {
        self.state(host)?.last.lock().await.clone()
    }

    /// What of a member lies on `host` now.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub async fn remains(&self, host: &Host) -> Result<Remains, TaskError> {
        let text = remains::script(host);
        let look = Script::look("look what lies there", &text);
        let answer = self.connection(host).await?.run(look).await?;
        Ok(remains::read(host, &answer))
    }

    /// Forgets what is known of a host, since it was changed.
    pub async fn forget(&self, host: &Host) {
        self.changed.store(true, Ordering::Relaxed);
        self.look_again(host).await;
        if let Some(state) = self.state(host) {
            // Its certificates may have changed, too: the next question shakes hands anew.
            *state.client.lock().await = None;
        }
        *self.cluster.lock().await = None;
    }

    /// Forgets only what the host looks like.
    pub async fn look_again(&self, host: &Host) {
        if let Some(state) = self.state(host) {
            *state.seen.lock().await = None;
            self.glances.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Forgets all that was seen and said, and which hosts could not be reached: the next questions are asked anew,
    /// over the connections that there are.
    pub async fn refresh(&self) {
        for (host, state) in self.inventory.hosts.iter().zip(self.hosts.iter()) {
            self.look_again(host).await;
            state.connection.lock().await.take_if(|connection| connection.is_err());
        }
        *self.cluster.lock().await = None;
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

    /// Waits until no release is brought to any other host whose member runs.
    pub(super) async fn staging(&self) -> MutexGuard<'_, ()> {
        self.staging.lock().await
    }

    /// The snapshot that was taken in this run.
    #[must_use]
    pub fn snapshot(&self) -> Option<PathBuf> {
        self.snapshot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Notes that a snapshot was taken.
    pub(super) fn note_snapshot(&self, path: PathBuf) {
        *self.snapshot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(path);
    }

    /// Whether a member runs on any of the hosts that can be looked at.
    async fn anyone_runs(&self) -> bool {
        let seen = join_all(self.inventory.hosts.iter().map(|host| self.seen(host))).await;
        seen.iter().flatten().any(|seen| seen.unit.runs())
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
            comparison: None,
            cluster_version: None,
            snapshots: &self.options.snapshots,
            downgrade: self.options.downgrade,
            snapshot: self.snapshot(),
            kept: Vec::new(),
            begun: self.begun,
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
            let looks = join_all(self.inventory.hosts.iter().map(|host| self.seen(host))).await;
            // A CA is never made anew beside members that may trust another; one that is there harms nobody.
            if pki.makes_authority() {
                looks.into_iter().collect::<Result<Vec<_>, _>>()?;
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
        if needs.living && self.anyone_runs().await {
            overview.cluster = Some(self.cluster(since).await?);
        }
        if needs.comparison && version_change::pending(&overview).is_some() {
            overview.comparison = Some(self.compare().await);
        }
        if needs.cluster_version || (needs.agreed_if_later && version_change::down(&overview)) {
            overview.cluster_version = self.cluster_version().await;
        }
        if needs.kept
            && let SnapshotPlace::Folder(folder) = &self.options.snapshots
        {
            // What cannot be read is no snapshot to rely on.
            overview.kept = Shelf::new(folder.clone()).kept().unwrap_or_default();
        }
        if needs.hashes {
            overview.hashes = self.hashes().await;
        }
        overview.reach = match needs.reach {
            Reaching::Untold => None,
            Reaching::Told => Some(Arc::new(Reach::told(self).await)),
            Reaching::Tried => Some(self.reach().await),
        };
        for (host, state) in self.inventory.hosts.iter().zip(self.hosts.iter()) {
            if let Ok(slot) = state.seen.try_lock()
                && let Some(seen) = &*slot
            {
                overview.seen.insert(&host.name, seen.clone());
            }
        }
        Ok(overview)
    }

    /// Lets go of all locks, and ends all connections politely.
    pub async fn close(&self) {
        self.unlock().await;
        let closing = self.hosts.iter().map(|state| async {
            if let Some(Ok(connection)) = &*state.connection.lock().await {
                connection.close().await;
            }
        });
        join_all(closing).await;
    }
}

/// The connection that there is, if it is still good, or why there is none.
fn known(slot: &Option<Result<Connection, Arc<HostError>>>) -> Option<Result<Connection, TaskError>> {
    match slot {
        Some(Ok(connection)) if !connection.session().is_closed() => Some(Ok(connection.clone())),
        Some(Err(error)) => Some(Err(TaskError::Host(error.clone()))),
        Some(Ok(_)) | None => None,
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
        ports: [host.client_port, host.peer_port].into_iter().chain(host.metrics.map(|metrics| metrics.port)).collect(),
        peers: Vec::new(),
    }
}

/// Runs a script that changes nothing and gives its exit status.
///
/// # Errors
/// The host cannot be reached.
pub async fn probe(connection: &Connection, script: &str) -> Result<i64, TaskError> {
    let text = format!("code=0; {{ {script}; }} >/dev/null 2>&1 || code=$?; echo \"$code\"\n");
    let answer = connection.run(Script::look("look", &text)).await?;
    Ok(String::from_utf8_lossy(&answer).trim().parse().unwrap_or(-1))
}
