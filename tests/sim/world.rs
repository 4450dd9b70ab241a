//! The simulated cluster as the engine sees it: what is kept and what is asked anew is as with the real
//! hosts (`Fleet`), what a call does is done to the [`Site`].

use crate::act::{Step, steps};
use crate::fault::Trigger;
use crate::goods::{Store, Variant, place};
use crate::machine::{Phase, Stage, Time};
use crate::raft::look_at;
use crate::site::Site;
use etcd_ha::etcd::bootstrap::{BootstrapError, Found};
use etcd_ha::etcd::config::Membership;
use etcd_ha::etcd::health::{ClusterHealth, Look};
use etcd_ha::host::{HostError, Observation};
use etcd_ha::inventory::{Host, Inventory};
use etcd_ha::plan::World;
use etcd_ha::release::Arch;
use etcd_ha::report::Reporter;
use etcd_ha::tasks::{
    ControllerTaskKind, HostTaskKind, Needs, Obstacle, Overview, Reach, Reaching, Remains, SnapshotPlace, TaskError,
    View, Wanted, found, successor,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a start waits for the process to listen.
const LISTEN_LIMIT: Time = 20_000;
/// How long it takes until a broken link is noticed.
const KEEPALIVE: Time = 1500;

/// Decides which cluster the members form; [`etcd_ha::etcd::bootstrap::membership`].
pub type Deciding = fn(&[Found], Membership) -> Decided;
pub type Decided = Result<Membership, Vec<BootstrapError>>;
type Looks = Vec<Arc<Observation>>;

/// A run's view of the site.
pub struct Sim<'a> {
    pub site: &'a RefCell<Site>,
    pub store: &'a Store,
    pub inventory: Rc<Inventory>,
    pub variant: Variant,
    pub reporter: &'a Reporter,
    pub patience: Duration,
    pub clock: Clock,
    pub stop: watch::Sender<bool>,
    decide: Deciding,
    fresh: Membership,
    /// What was decided last, and what that was decided by.
    decided: RefCell<Option<(Looks, Rc<Decided>)>>,
    hosts: Vec<HostState>,
    cluster: RefCell<Option<(Instant, Arc<ClusterHealth>)>>,
    reach: RefCell<Option<Arc<Reach>>>,
}

#[derive(Default)]
struct HostState {
    way: Cell<Way>,
    boot: Cell<u32>,
    seen: RefCell<Option<Arc<Observation>>>,
    last: RefCell<Option<Arc<Observation>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Way {
    #[default]
    Untried,
    Open,
    /// Not tried again in this run.
    Failed,
}

impl<'a> Sim<'a> {
    /// A run that has seen nothing yet.
    pub fn new(site: &'a RefCell<Site>, store: &'a Store, variant: Variant, run: usize, shared: &Shared<'a>) -> Self {
        let inventory = store.inventory(site.borrow().machines.len(), variant);
        Self {
            site,
            store,
            variant,
            reporter: shared.reporter,
            patience: shared.patience,
            clock: shared.clock,
            stop: watch::Sender::new(false),
            decide: shared.decide,
            decided: RefCell::default(),
            fresh: Membership::bootstrap(&inventory, format!("prod-{run:016x}")),
            hosts: inventory.hosts.iter().map(|_| HostState::default()).collect(),
            cluster: RefCell::default(),
            reach: RefCell::default(),
            inventory,
        }
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    /// A call of the engine: time has passed since the last one, and may pass in it.
    async fn call(&self, takes: Time) {
        self.let_pass(takes).await;
        let (dead, interrupted) = {
            let mut site = self.site.borrow_mut();
            site.controller.calls += 1;
            let calls = site.controller.calls;
            site.moment(Trigger::Call(calls));
            (site.controller.dead, site.controller.interrupted)
        };
        if interrupted {
            self.stop.send_replace(true);
        }
        if dead {
            // It is dropped here.
            std::future::pending::<()>().await;
        }
    }

    async fn let_pass(&self, takes: Time) {
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes)).await;
        }
        let now = self.now();
        self.site.borrow_mut().advance(now);
        if self.site.borrow().controller.dead {
            std::future::pending::<()>().await;
        }
    }

    fn reached(&self, place: usize) -> bool {
        let site = self.site.borrow();
        site.machines[place].up && site.wire[place]
    }

    fn lost(&self, place: usize, problem: &str) -> TaskError {
        let host = self.inventory.hosts[place].name.clone();
        HostError::Garbled { host, what: "a script".to_owned(), problem: problem.to_owned() }.into()
    }

    /// The connection to a host.
    async fn connect(&self, place: usize) -> Result<(), TaskError> {
        let state = &self.hosts[place];
        if state.way.get() == Way::Open {
            let same = |sim: &Self| sim.reached(place) && sim.site.borrow().machines[place].boot == state.boot.get();
            if !same(self) {
                self.let_pass(KEEPALIVE).await;
                if !same(self) {
                    state.way.set(Way::Untried);
                    return Err(self.lost(place, "the connection ended"));
                }
            }
            return Ok(());
        }
        if state.way.get() == Way::Untried {
            self.let_pass(20).await;
            state.way.set(if self.reached(place) { Way::Open } else { Way::Failed });
            state.boot.set(self.site.borrow().machines[place].boot);
        }
        match state.way.get() {
            Way::Open => Ok(()),
            _ => Err(self.lost(place, "it cannot be reached")),
        }
    }

    async fn see(&self, place: usize) -> Result<Arc<Observation>, TaskError> {
        let state = &self.hosts[place];
        if let Some(seen) = &*state.seen.borrow() {
            return Ok(seen.clone());
        }
        self.call(5).await;
        self.connect(place).await?;
        let seen = look_at(&mut self.site.borrow_mut(), &self.inventory, place);
        *state.seen.borrow_mut() = Some(seen.clone());
        *state.last.borrow_mut() = Some(seen.clone());
        Ok(seen)
    }

    /// What is decided by the same looks is the same.
    async fn membership(&self) -> Result<Rc<Decided>, TaskError> {
        let mut looks = Vec::new();
        for place in 0..self.hosts.len() {
            let seen = self.see(place).await;
            looks.push(seen.or_else(|error| self.hosts[place].last.borrow().clone().ok_or(error))?);
        }
        if let Some((by, decided)) = &*self.decided.borrow()
            && by.iter().zip(&looks).all(|(one, other)| Arc::ptr_eq(one, other))
        {
            return Ok(decided.clone());
        }
        let found = self.inventory.hosts.iter().zip(&looks).map(|(host, seen)| found(host, seen));
        let decided = Rc::new((self.decide)(&found.collect::<Vec<_>>(), self.fresh.clone()));
        *self.decided.borrow_mut() = Some((looks, decided.clone()));
        Ok(decided)
    }

    /// Runs a script on a host; what streams to it ends with its connection.
    async fn script(&self, place: usize, script: &[Step]) -> Result<(), TaskError> {
        self.connect(place).await?;
        let boot = self.site.borrow().machines[place].boot;
        let streams = script
            .iter()
            .any(|step| matches!(step, Step::Unpack(_) | Step::StageEnvironment(_) | Step::StageCertificates(_)));
        let (mut alone, mut cut) = (false, false);
        for step in script {
            let done = {
                let mut site = self.site.borrow_mut();
                site.controller.steps += 1;
                let steps = site.controller.steps;
                site.moment(Trigger::Step(steps));
                if !site.machines[place].up || site.machines[place].boot != boot {
                    cut = true;
                    break;
                }
                if (site.controller.dead || !site.wire[place]) && !alone {
                    // Nobody listens any more; the script may go on to its end.
                    if streams || site.chance.percent(50) {
                        cut = true;
                        break;
                    }
                    alone = true;
                }
                site.does(place, step)
            };
            if let Err(stderr) = done {
                let host = self.inventory.hosts[place].name.clone();
                let (what, stderr) = ("the script".to_owned(), stderr.to_owned());
                return Err(HostError::Script { host, what, status: 1, stderr }.into());
            }
        }
        self.call(20).await;
        self.connect(place).await?;
        if cut { Err(self.lost(place, "the connection ended")) } else { Ok(()) }
    }

    /// Waits on the host until its process is at a stage, has crashed, or the time is up.
    async fn until(&self, place: usize, stage: Stage, limit: Time) -> Result<bool, TaskError> {
        let end = self.now() + limit;
        loop {
            let next = {
                let site = self.site.borrow();
                let machine = &site.machines[place];
                if machine.stage().is_some_and(|now| now >= stage) {
                    return Ok(true);
                }
                if machine.unit.phase != Phase::Running || site.now >= end {
                    return Ok(false);
                }
                site.next().unwrap_or(end).min(end)
            };
            self.let_pass(next.saturating_sub(self.now()).max(1)).await;
            self.connect(place).await?;
        }
    }
}

/// What all runs of a history share.
pub struct Shared<'a> {
    pub reporter: &'a Reporter,
    pub decide: Deciding,
    pub patience: Duration,
    pub clock: Clock,
}

/// The history's time, by the runtime's paused clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    /// What the time was then.
    at: Time,
}

impl Clock {
    /// A clock that begins now.
    pub fn new(at: Time) -> Self {
        Self { began: Instant::now(), at }
    }

    pub fn now(self) -> Time {
        self.at + Time::try_from(self.began.elapsed().as_millis()).unwrap_or(Time::MAX)
    }
}

impl World for Sim<'_> {
    fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    fn reporter(&self) -> &Reporter {
        self.reporter
    }

    fn health_timeout(&self) -> Duration {
        self.patience
    }

    async fn look_around(&self) {
        for place in 0..self.hosts.len() {
            let _ = self.see(place).await;
        }
        let _ = World::cluster(self, None).await;
    }

    async fn seen(&self, host: &Host) -> Result<Arc<Observation>, TaskError> {
        self.see(place(&self.inventory, host)).await
    }

    async fn overview(&self, needs: &Needs, since: Option<Instant>) -> Result<Overview<'_>, TaskError> {
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
            comparison: None,
            cluster_version: None,
            snapshots: &SnapshotPlace::Unwanted,
            downgrade: false,
            snapshot: None,
            kept: Vec::new(),
            begun: time::OffsetDateTime::UNIX_EPOCH,
        };
        if needs.membership {
            overview.membership = self.membership().await.ok().map(|decided| (*decided).clone());
        }
        if needs.pki {
            overview.ca = crate::goods::pki(self.variant).ca_pem().to_owned();
            for place in 0..self.hosts.len() {
                self.see(place).await?;
            }
        }
        if needs.release && !self.site.borrow().fetched.contains(&self.inventory.version.to_string()) {
            overview.missing_releases.push(Arch::Amd64);
        }
        if needs.cluster_version {
            let site = self.site.borrow();
            let answers = (0..self.hosts.len()).find(|place| site.well(*place));
            let data = answers.and_then(|place| site.machines[place].disk.data.as_ref());
            let cluster = data.and_then(|data| site.clusters.iter().find(|cluster| cluster.id == data.cluster));
            overview.cluster_version = cluster.map(|cluster| semver::Version::new(3, cluster.minor, 0));
        }
        let mut lives = false;
        for host in self.inventory.hosts.iter().filter(|_| needs.living) {
            lives |= World::seen(self, host).await.is_ok_and(|seen| seen.unit.runs());
        }
        if needs.cluster || lives {
            overview.cluster = Some(World::cluster(self, since).await?);
        }
        if needs.reach == Reaching::Tried {
            overview.reach = Some(self.reach().await);
        }
        for (host, state) in self.inventory.hosts.iter().zip(&self.hosts) {
            if let Some(seen) = &*state.seen.borrow() {
                overview.seen.insert(&host.name, seen.clone());
            }
        }
        Ok(overview)
    }

    async fn wanted(&self, host: &Host) -> Result<Arc<Wanted>, TaskError> {
        let place = place(&self.inventory, host);
        self.see(place).await?;
        match &*self.membership().await? {
            Ok(membership) => Ok(self.store.wanted(self.hosts.len(), self.variant, place, membership)),
            Err(problems) => Err(TaskError::Bootstrap(problems.clone())),
        }
    }

    async fn cluster(&self, since: Option<Instant>) -> Result<Arc<ClusterHealth>, TaskError> {
        if let Some((asked, health)) = &*self.cluster.borrow()
            && since.is_none_or(|since| *asked >= since)
        {
            return Ok(health.clone());
        }
        let asked = Instant::now();
        self.call(5).await;
        let looks = {
            let mut site = self.site.borrow_mut();
            site.controller.looked = site.now;
            let looks = self.inventory.hosts.iter().enumerate();
            looks.map(|(place, host)| Look::new(host, site.report(place, &self.inventory))).collect()
        };
        let health = Arc::new(ClusterHealth::assess(looks));
        *self.cluster.borrow_mut() = Some((asked, health.clone()));
        Ok(health)
    }

    async fn probe(&self, host: &Host, _script: &str) -> Result<i64, TaskError> {
        self.connect(place(&self.inventory, host)).await?;
        Ok(1)
    }

    async fn remains(&self, host: &Host) -> Result<Remains, TaskError> {
        self.connect(place(&self.inventory, host)).await?;
        Ok(Remains::default())
    }

    async fn forget(&self, host: &Host) {
        let place = place(&self.inventory, host);
        *self.hosts[place].seen.borrow_mut() = None;
        *self.cluster.borrow_mut() = None;
    }

    async fn look_again(&self, host: &Host) {
        *self.hosts[place(&self.inventory, host)].seen.borrow_mut() = None;
    }

    async fn apply(&self, task: &HostTaskKind, view: &View<'_>) -> Result<bool, TaskError> {
        let place = place(&self.inventory, view.host);
        self.call(1).await;
        self.site.borrow_mut().controller.changes += 1;
        if let HostTaskKind::HandOverLeadership(_) = task {
            let Some((_, id)) = successor(view.cluster()?, &view.host.name) else { return Ok(false) };
            self.connect(place).await?;
            let moved = self.site.borrow_mut().move_leader(place, id);
            self.site.borrow_mut().settle();
            let call = "move leader";
            let source = etcd_ha::etcd::client::CallError::Refused { call, message: "not leader".to_owned() };
            let member = view.host.name.clone();
            return if moved { Ok(false) } else { Err(TaskError::Member { member, source }) };
        }
        let goods = view.wanted.map(|wanted| self.store.goods(wanted));
        self.script(place, &steps(task, view, goods, self.patience)).await?;
        let patience = Time::try_from(self.patience.as_millis()).unwrap_or(Time::MAX);
        match task {
            HostTaskKind::Start(_) => Ok(!self.until(place, Stage::Peers, LISTEN_LIMIT).await?),
            HostTaskKind::Restart(_) => self.until(place, Stage::Ready, patience).await.map(|_| false),
            _ => Ok(false),
        }
    }

    async fn apply_on_controller(&self, task: &ControllerTaskKind, _overview: &Overview<'_>) -> Result<(), TaskError> {
        self.call(1).await;
        if let ControllerTaskKind::FetchRelease(_) = task {
            self.site.borrow_mut().fetched.insert(self.inventory.version.to_string());
        }
        Ok(())
    }

    async fn take_back(&self, host: &Host) -> Result<(), TaskError> {
        self.script(place(&self.inventory, host), &[Step::TakeBack]).await
    }
}

impl Sim<'_> {
    async fn reach(&self) -> Arc<Reach> {
        if let Some(reach) = &*self.reach.borrow() {
            return reach.clone();
        }
        self.call(50).await;
        let mut reach = Reach::default();
        let site = self.site.borrow();
        for (place, host) in self.inventory.hosts.iter().enumerate() {
            let machine = &site.machines[place];
            if !self.reached(place) {
                reach.unknown.push(format!("host `{}` could not be looked at", host.name));
            } else if machine.unit.phase == Phase::Dead || machine.stage() == Some(Stage::Ready) {
                let cut = |from: &usize| *from != place && self.reached(*from) && !site.reaches(*from, place);
                for from in (0..self.hosts.len()).filter(cut) {
                    let from = &self.inventory.hosts[from].name;
                    reach.failures.push(Obstacle::Closed(format!("host `{from}` does not reach `{}`", host.name)));
                }
            }
        }
        drop(site);
        let reach = Arc::new(reach);
        *self.reach.borrow_mut() = Some(reach.clone());
        reach
    }
}
