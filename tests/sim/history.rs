//! A history: a cluster, what the user wants of it, what goes wrong meanwhile, and how it ends.

use crate::chance::Chance;
use crate::draw::{Book, Drawn, book};
use crate::fault::Trigger;
use crate::goods::{Store, Variant};
use crate::judge::Broken;
use crate::machine::{Machine, Stage};
use crate::site::{Controller, Site};
use crate::world::{Clock, Deciding, Shared, Sim};
use etcd_ha::error::{ExitStatus, Explain, line};
use etcd_ha::etcd::bootstrap::membership;
use etcd_ha::etcd::config::{CLUSTER_ID, Membership, value_of};
use etcd_ha::etcd::gate::{Gating, gate};
use etcd_ha::plan::{Engine, Run};
use etcd_ha::playbook::Playbook;
use etcd_ha::report::Reporter;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future as _;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longer than any run may take.
const LONGEST: Duration = Duration::from_secs(1800);
/// More calls than any run may make.
const MOST_CALLS: usize = 200_000;
/// How many further runs may be needed once all faults are over.
const FURTHER: usize = 4;

/// What runs histories in a thread.
pub struct Player {
    store: Store,
    reporter: Reporter,
    /// Its clock stands still while anything can be done.
    runtime: Runtime,
    /// Clusters that were deployed without any fault, by size.
    deployed: RefCell<HashMap<usize, Site>>,
    pub gate: Gating,
    pub decide: Deciding,
    /// The playbooks that are used.
    pub books: fn(Book) -> &'static Playbook,
}

impl Player {
    pub fn new() -> Self {
        Self {
            store: Store::default(),
            reporter: Reporter::new(Vec::new()),
            runtime: Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"),
            deployed: RefCell::default(),
            gate,
            decide: membership,
            books: book,
        }
    }

    /// Plays the history of `seed`; gives what was broken, and the story if it is wanted.
    pub fn play(&self, seed: u64, tell: bool) -> (Option<Broken>, String) {
        let mut chance = Chance::new(seed);
        let drawn = Drawn::new(&mut chance);
        let mut site = if drawn.first { Site::new(drawn.hosts, chance.clone()) } else { self.deployed(drawn.hosts) };
        drawn.lay_out(&mut site, &mut chance);
        site.chance = chance;
        site.trace = tell.then(|| format!("{drawn:?}\n"));
        let site = self.within(|clock| self.goes(site, &drawn, clock), drawn.now());
        (site.judge.broken, site.trace.unwrap_or_default())
    }

    /// A cluster of so many members that does well.
    fn deployed(&self, hosts: usize) -> Site {
        if let Some(site) = self.deployed.borrow().get(&hosts) {
            return site.clone();
        }
        let site = Site::new(hosts, Chance::new(hosts as u64));
        let site = self.within(
            |clock| async move {
                let site = RefCell::new(site);
                let shared = self.shared(Duration::from_secs(6), clock);
                let run = self.run(&site, Variant::Base, 0, &shared, book(Book::Deploy)).await;
                assert!(run.is_some_and(|run| run.failures.is_empty()), "a deploy without any fault");
                site.into_inner()
            },
            0,
        );
        assert!(site.now < crate::draw::BEGIN, "{}", site.now);
        self.deployed.borrow_mut().insert(hosts, site.clone());
        site
    }

    fn shared(&self, patience: Duration, clock: Clock) -> Shared<'_> {
        Shared { reporter: &self.reporter, decide: self.decide, patience, clock }
    }

    fn within<T, F: Future<Output = T>>(&self, work: impl FnOnce(Clock) -> F, at: u64) -> T {
        self.runtime.block_on(async { work(Clock::new(at)).await })
    }

    async fn goes(&self, site: Site, drawn: &Drawn, clock: Clock) -> Site {
        let site = RefCell::new(site);
        let shared = self.shared(drawn.patience, clock);
        site.borrow_mut().advance(clock.now());
        site.borrow_mut().arm_faults();
        for (number, pause) in drawn.runs.iter().enumerate() {
            let book = (self.books)(drawn.book);
            let run = self.run(&site, drawn.change, number + 1, &shared, book).await;
            if site.borrow().judge.broken.is_some() {
                return site.into_inner();
            }
            tokio::time::sleep(Duration::from_millis(*pause)).await;
            site.borrow_mut().advance(clock.now());
            if run.is_some_and(|run| run.failures.is_empty() && run.stopped_in.is_none()) {
                break;
            }
        }
        site.borrow_mut().heals();
        drawn.settle_foreign(&mut site.borrow_mut());
        tokio::time::sleep(Duration::from_millis(drawn.rest)).await;
        site.borrow_mut().advance(clock.now());
        self.converges(&site, drawn, &shared).await;
        site.into_inner()
    }

    /// With all faults over, a few further runs bring the cluster to what is wanted, and the next one
    /// has nothing to do.
    async fn converges(&self, site: &RefCell<Site>, drawn: &Drawn, shared: &Shared<'_>) {
        let book = (self.books)(Book::Deploy);
        let lost = |site: &Site| {
            let gone = |machine: &Machine| match &machine.disk.data {
                None => machine.had_data,
                Some(data) => data.amnesia || data.foreign,
            };
            site.machines.iter().any(gone)
        };
        let mut last = String::new();
        for further in 0..FURTHER {
            let run = self.run(site, drawn.then, 100 + further, shared, book).await;
            let Some(run) = run else { return };
            // To replace a member is another operation.
            if site.borrow().judge.broken.is_some() || lost(&site.borrow()) {
                return;
            }
            if run.failures.is_empty() {
                let again = self.run(site, drawn.then, 200, shared, book).await;
                let mut site = site.borrow_mut();
                match again {
                    Some(run) if run.changes == 0 && run.failures.is_empty() => {
                        self.is_as_wanted(&mut site, drawn.then)
                    }
                    Some(run) => {
                        let failures: Vec<String> = run.failures.iter().map(|failure| line(failure)).collect();
                        let what = format!("one more run made {} changes {failures:?}", run.changes);
                        site.judge.breaks(5, what);
                    }
                    None => {}
                }
                return;
            }
            let spares_none = site.borrow().machines.len() == 2;
            if spares_none && run.failures.iter().all(|failure| failure.exit() == ExitStatus::Refused) {
                return;
            }
            last = run.failures.iter().map(|failure| line(failure)).collect::<Vec<_>>().join("; ");
            tokio::time::sleep(Duration::from_secs(5)).await;
            site.borrow_mut().advance(shared.clock.now());
        }
        site.borrow_mut().judge.breaks(5, format!("{FURTHER} further runs did not get there: {last}"));
    }

    fn is_as_wanted(&self, site: &mut Site, variant: Variant) {
        let hosts = site.machines.len();
        for place in 0..hosts {
            let machine = &site.machines[place];
            let environment =
                machine.disk.in_force.environment.as_ref().map(|text| text.text.clone()).unwrap_or_default();
            let token = value_of(&environment, "ETCD_INITIAL_CLUSTER_TOKEN").unwrap_or_default().to_owned();
            let mut membership = Membership::bootstrap(&self.store.inventory(hosts, variant), token);
            membership.established = value_of(&environment, CLUSTER_ID).and_then(|id| id.parse().ok());
            let wanted = self.store.wanted(hosts, variant, place, &membership);
            let cluster = site.takes_part(place).map(|cluster| &site.clusters[cluster]);
            let why = if machine.stage() != Some(Stage::Ready) || !site.well(place) {
                "is not healthy"
            } else if environment != wanted.environment || machine.runs() != Some(&wanted.generation) {
                "does not run with what is wanted"
            } else if machine.unconfirmed() || machine.timer.is_some() {
                "still has its way back armed"
            } else if machine.disk.next.is_some() {
                "still has something staged"
            } else if site.clusters.len() != 1
                || cluster.map(|cluster| cluster.members[place]) != machine.disk.data.as_ref().map(|data| data.member)
            {
                "is another member"
            } else {
                continue;
            };
            site.judge.breaks(5, format!("all is said to be done, and node{:02} {why}", place + 1));
        }
    }

    /// Runs the program once; `None` if it was killed.
    async fn run(
        &self,
        site: &RefCell<Site>,
        variant: Variant,
        number: usize,
        shared: &Shared<'_>,
        playbook: &Playbook,
    ) -> Option<Run> {
        let began = {
            let mut site = site.borrow_mut();
            site.controller = Controller::default();
            site.say(|| format!("RUN {number}: {}, {variant:?}", playbook.name));
            site.now
        };
        let sim = Sim::new(site, &self.store, variant, number, shared);
        let stop = sim.stop.subscribe();
        let engine =
            Engine { world: &sim, gate: self.gate, playbook, dry: false, forks: 64, limit: &[], ask: None, stop };
        let mut work = pin!(engine.run());
        let mut limit = pin!(tokio::time::sleep(LONGEST));
        let ended = std::future::poll_fn(|context| {
            if let Poll::Ready(ended) = work.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            let mut site = site.borrow_mut();
            if site.controller.calls > MOST_CALLS || limit.as_mut().poll(context).is_ready() {
                site.judge.breaks(4, "the run does not end".to_owned());
            }
            if site.controller.dead || site.judge.broken.is_some() { Poll::Ready(None) } else { Poll::Pending }
        });
        let run = ended.await.map(|run| run.expect("the playbook fits"));
        let mut site = site.borrow_mut();
        site.advance(shared.clock.now());
        // What was drawn for this run does not strike in the next one.
        site.faults.iter_mut().for_each(|(trigger, _)| *trigger = Trigger::At(0));
        match &run {
            None => site.say(|| "the controller is dead".to_owned()),
            Some(run) => ends_well(&mut site, run, began, playbook),
        }
        run
    }
}

/// Every run ends in done, rolled back, refused or failed, with a reason.
fn ends_well(site: &mut Site, run: &Run, began: u64, playbook: &Playbook) {
    for failure in &run.failures {
        site.say(|| format!("failed: {} (exit {})", line(failure), failure.exit().code()));
    }
    site.say(|| format!("the run ends, {} changes, stopped in {:?}", run.changes, run.stopped_in));
    let interrupted = site.controller.interrupted;
    // What ends by itself after the last look was well as far as anybody could see.
    let odd = |machine: &Machine| machine.slow || machine.died > site.controller.looked;
    let quiet = site.struck.is_none_or(|struck| struck < began) && !site.machines.iter().any(odd);
    for failure in &run.failures {
        let fits = match failure.exit() {
            ExitStatus::Failed | ExitStatus::Unhealthy | ExitStatus::Refused | ExitStatus::RolledBack => true,
            ExitStatus::Interrupted => interrupted,
            _ => false,
        };
        // A sentence that ends before its reason has none.
        let said = failure.source.to_string();
        let reason = said.rsplit(": ").next().is_some_and(|reason| !reason.trim().is_empty());
        if !fits || !reason || failure.host.is_empty() {
            site.judge.breaks(4, format!("a run ended with {:?}: `{}`", failure.exit(), line(failure)));
        }
    }
    if run.failures.is_empty() && run.stopped_in.is_some() && !interrupted {
        site.judge.breaks(4, "a run stopped without a reason".to_owned());
    }
    if run.failures.is_empty() && run.stopped_in.is_none() && quiet && playbook.name == "deploy" {
        for place in 0..site.machines.len() {
            if !site.well(place) || site.machines[place].unconfirmed() {
                site.judge.breaks(4, format!("a run was done, and node{:02} was not", place + 1));
            }
        }
    }
}
