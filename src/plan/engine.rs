//! Runs a playbook: play after play, the hosts of a play as its mode says.

use super::failure::{Failure, PlanError};
use super::pending::Plan;
use super::record::Record;
use super::step::Steps;
use super::world::World;
use crate::etcd::gate::{Gating, Margin};
use crate::inventory::Host;
use crate::playbook::{Play, Playbook, Tasks, Titled};
use crate::report::{Event, Recap};
use crate::tasks::{Change, HostTaskKind, Mode, Needs, TaskError};
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use tokio::sync::{Mutex, watch};

/// What it takes to run a playbook.
pub struct Engine<'a, W> {
    /// The hosts and members.
    pub world: &'a W,
    /// What decides whether a member may be touched; [`crate::etcd::gate::gate`]. The simulation puts broken
    /// ones in its place, to see that they are caught.
    pub gate: Gating,
    /// What is to be done.
    pub playbook: &'a Playbook,
    /// Whether it is only looked what would be done.
    pub dry: bool,
    /// How many hosts are worked on at once in a parallel play.
    pub forks: usize,
    /// The hosts that may be acted upon; all of them, if none are named. The others are only looked at.
    pub limit: &'a [String],
    /// Is asked before every member of a rolling play but the first, if at all.
    pub ask: Option<&'a Ask>,
    /// Becomes true when the user asks to stop.
    pub stop: watch::Receiver<bool>,
}

/// Asks whether the next member's turn may begin.
pub type Ask = dyn Fn(Between) -> LocalBoxFuture<'static, bool>;

/// The moment between two members of a rolling play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Between {
    /// The host whose turn has ended.
    pub done: String,
    /// The host whose turn comes next.
    pub next: String,
    /// What the gate says of it.
    pub margin: Margin,
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Run {
    /// What failed; the run stopped after the play in which it did.
    pub failures: Vec<Failure>,
    /// The play in which it stopped, if it did not come to its end.
    pub stopped_in: Option<String>,
    /// Whose turn it was in rolling plays.
    pub turns: Turns,
    /// What would be done, of a dry run.
    pub plan: Plan,
    /// How many changes were made, or would be.
    pub changes: usize,
    /// What happened on each host.
    pub recap: Recap,
}

/// How far rolling plays came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    /// The hosts that had something to be done.
    pub due: Vec<String>,
    /// Those of them whose turn ended well.
    pub through: Vec<String>,
}

impl Turns {
    pub(super) fn due(&mut self, hosts: &[String]) {
        for host in hosts {
            if !self.due.contains(host) {
                self.due.push(host.clone());
            }
        }
    }
}

impl<W: World> Engine<'_, W> {
    /// Runs the playbook.
    ///
    /// # Errors
    /// The playbook does not fit the inventory; nothing was touched. What fails on hosts is in the
    /// [`Run`].
    pub async fn run(&self) -> Result<Run, PlanError> {
        let hosts_of: Vec<Vec<&Host>> =
            self.playbook.plays.iter().map(|play| self.hosts(play)).collect::<Result<_, _>>()?;
        let steps = Steps {
            world: self.world,
            dry: self.dry,
            gate: self.gate,
            record: Record::new(self.world.reporter(), self.dry),
            unverified: RefCell::default(),
            turn: Cell::default(),
            armed: Cell::default(),
            going_back: Cell::default(),
            disturbing: Mutex::default(),
            declined: Cell::default(),
            stop: self.stop.clone(),
        };
        steps.record.recap.borrow_mut().note(&Event::RunStarted {
            command: String::new(),
            cluster: String::new(),
            hosts: self.world.inventory().hosts.iter().map(|host| host.name.clone()).collect(),
            by: None,
        });
        let mut run = Run::default();
        let mut looked = false;
        for (play, hosts) in self.playbook.plays.iter().zip(hosts_of) {
            let (mode, names) = match &play.tasks {
                Tasks::Controller(_) => ("controller", vec!["controller".to_owned()]),
                Tasks::Hosts { mode, .. } => (mode.name(), hosts.iter().map(|host| host.name.clone()).collect()),
            };
            if !self.dry {
                let play = play.name.clone();
                self.world.reporter().emit(Event::PlayStarted { play, mode: mode.to_owned(), hosts: names });
            }
            if !looked && matches!(play.tasks, Tasks::Hosts { .. }) {
                self.world.look_around().await;
                looked = true;
                self.suits_limit().await?;
            }
            match &play.tasks {
                Tasks::Controller(tasks) => {
                    for Titled { task, .. } in tasks {
                        if run.note("controller", task.name(), steps.on_controller(task).await) || steps.stopped() {
                            break;
                        }
                    }
                }
                Tasks::Hosts { mode: Mode::Parallel, tasks, .. } => {
                    let work = hosts.iter().map(|host| self.host(&steps, host, tasks, Mode::Parallel));
                    let mut work = futures::stream::iter(work).buffer_unordered(self.forks.max(1));
                    while let Some(done) = work.next().await {
                        run.take(done);
                    }
                }
                Tasks::Hosts { mode: Mode::Sequence, tasks, .. } => {
                    for host in hosts {
                        run.take(self.host(&steps, host, tasks, Mode::Sequence).await);
                        if !run.failures.is_empty() || steps.stopped() {
                            break;
                        }
                    }
                }
                Tasks::Hosts { mode: Mode::Rolling, tasks, hooks, .. } => {
                    self.rolling(&steps, &hosts, tasks, hooks, &mut run).await;
                }
            }
            if !run.failures.is_empty() || steps.stopped() {
                run.stopped_in = Some(play.name.clone());
                break;
            }
        }
        // What was done aside in the last play is looked at, too.
        for host in &self.world.inventory().hosts {
            // A host that failed has said why.
            if !run.failures.iter().any(|failure| failure.host == host.name) {
                run.failures.extend(steps.verify_aside(host).await.err());
            }
        }
        let hosts = &self.world.inventory().hosts;
        let place = |failure: &Failure| hosts.iter().position(|host| host.name == failure.host);
        run.failures.sort_by_key(place);
        run.recap = steps.record.recap.into_inner();
        let mut plan = steps.record.plan.into_inner();
        plan.rolling = std::mem::take(&mut run.plan.rolling);
        run.plan = plan;
        Ok(run)
    }

    fn hosts(&self, play: &Play) -> Result<Vec<&Host>, PlanError> {
        let all = &self.world.inventory().hosts;
        let limited = |host: &&Host| self.limit.is_empty() || self.limit.contains(&host.name);
        match &play.tasks {
            Tasks::Hosts { hosts: Some(names), .. } => names
                .iter()
                .map(|name| {
                    let unknown = || PlanError::UnknownHost { play: play.name.clone(), host: name.clone() };
                    all.iter().find(|host| &host.name == name).ok_or_else(unknown)
                })
                .filter(|host| host.as_ref().is_err() || host.as_ref().is_ok_and(limited))
                .collect(),
            Tasks::Hosts { hosts: None, .. } | Tasks::Controller(_) => Ok(all.iter().filter(limited).collect()),
        }
    }

    /// A cluster that does not stand yet cannot be set up in parts: without its quorum no member becomes ready.
    async fn suits_limit(&self) -> Result<(), PlanError> {
        if self.limit.is_empty() {
            return Ok(());
        }
        let needs = Needs { membership: true, ..Needs::default() };
        let overview = self.world.overview(&needs, None).await;
        let stands = match overview.ok().and_then(|overview| overview.membership) {
            Some(Ok(membership)) => membership.established.is_some(),
            // What does not fit together is told by the tasks.
            Some(Err(_)) | None => true,
        };
        if stands { Ok(()) } else { Err(PlanError::LimitedBootstrap) }
    }

    /// All tasks of a play on one host; the first failure ends them.
    pub(super) async fn host(
        &self,
        steps: &Steps<'_, W>,
        host: &Host,
        tasks: &[Titled<HostTaskKind>],
        mode: Mode,
    ) -> Done {
        let mut done = Done::default();
        for Titled { task, .. } in tasks {
            match steps.on_host(host, task, mode).await {
                Ok(changes) => done.changes += changes.len(),
                // What does not come up is taken back, where it can be.
                Err(failure)
                    if !self.dry
                        && (mode == Mode::Rolling || task.brings_up())
                        && steps.may_be_the_change_s(&failure) =>
                {
                    done.failure = Some(steps.way_back(host, failure).await);
                    break;
                }
                Err(failure) => {
                    done.failure = Some(failure);
                    break;
                }
            }
            // A member's turn is not broken off.
            if steps.stopped() && mode != Mode::Rolling {
                break;
            }
        }
        done
    }
}

/// What came of a host's tasks in a play.
#[derive(Default)]
pub(super) struct Done {
    pub changes: usize,
    pub failure: Option<Failure>,
}

impl Run {
    pub(super) fn take(&mut self, done: Done) {
        self.changes += done.changes;
        self.failures.extend(done.failure);
    }

    /// Notes how a task ended; true if it failed.
    fn note(&mut self, host: &str, task: &str, result: Result<Vec<Change>, TaskError>) -> bool {
        match result {
            Ok(changes) => self.changes += changes.len(),
            Err(source) => {
                self.failures.push(Failure { host: host.to_owned(), task: task.to_owned(), source });
                return true;
            }
        }
        false
    }
}
