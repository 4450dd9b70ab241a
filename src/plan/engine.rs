//! Runs a playbook: play after play, the hosts of a play as its mode says.

use super::failure::{Failure, PlanError};
use super::pending::{Plan, Rolling};
use super::rolling::order;
use super::step::Steps;
use crate::etcd::gate::{Gate, gate};
use crate::inventory::Host;
use crate::playbook::{Play, Playbook, Tasks, Titled};
use crate::report::{Event, Recap};
use crate::tasks::{Fleet, HostTaskKind, Mode, TaskError};
use futures::StreamExt as _;
use tokio::sync::watch;

/// What it takes to run a playbook.
pub struct Engine<'a> {
    /// The hosts.
    pub fleet: &'a Fleet,
    /// What is to be done.
    pub playbook: &'a Playbook,
    /// Whether it is only looked what would be done.
    pub dry: bool,
    /// How many hosts are worked on at once in a parallel play.
    pub forks: usize,
    /// Becomes true when the user asks to stop.
    pub stop: watch::Receiver<bool>,
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Run {
    /// What failed; the run stopped after the play in which it did.
    pub failures: Vec<Failure>,
    /// The play in which it stopped, if it did not come to its end.
    pub stopped_in: Option<String>,
    /// What would be done, of a dry run.
    pub plan: Plan,
    /// How many changes were made, or would be.
    pub changes: usize,
    /// What happened on each host.
    pub recap: Recap,
}

impl Engine<'_> {
    /// Runs the playbook.
    ///
    /// # Errors
    /// The playbook does not fit the inventory; nothing was touched. What fails on hosts is in the
    /// [`Run`].
    pub async fn run(&self) -> Result<Run, PlanError> {
        let hosts_of: Vec<Vec<&Host>> =
            self.playbook.plays.iter().map(|play| self.hosts(play)).collect::<Result<_, _>>()?;
        let steps = Steps {
            fleet: self.fleet,
            dry: self.dry,
            plan: std::sync::Mutex::default(),
            warned: std::sync::Mutex::default(),
            recap: std::sync::Mutex::default(),
            unverified: std::sync::Mutex::default(),
            stop: self.stop.clone(),
        };
        steps.note(&Event::RunStarted {
            command: String::new(),
            cluster: String::new(),
            hosts: self.fleet.inventory.hosts.iter().map(|host| host.name.clone()).collect(),
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
                self.fleet.reporter.emit(Event::PlayStarted { play, mode: mode.to_owned(), hosts: names });
            }
            if !looked && matches!(play.tasks, Tasks::Hosts { .. }) {
                self.fleet.look_around().await;
                looked = true;
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
                Tasks::Hosts { mode: Mode::Rolling, tasks, .. } => self.rolling(&steps, &hosts, tasks, &mut run).await,
            }
            if !run.failures.is_empty() || steps.stopped() {
                run.stopped_in = Some(play.name.clone());
                break;
            }
        }
        // What was done aside in the last play is looked at, too.
        for host in &self.fleet.inventory.hosts {
            // A host that failed has said why.
            if !run.failures.iter().any(|failure| failure.host == host.name) {
                run.failures.extend(steps.verify_aside(host).await.err());
            }
        }
        let hosts = &self.fleet.inventory.hosts;
        let place = |failure: &Failure| hosts.iter().position(|host| host.name == failure.host);
        run.failures.sort_by_key(place);
        run.recap = steps.recap.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut plan = steps.plan.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        plan.rolling = std::mem::take(&mut run.plan.rolling);
        run.plan = plan;
        Ok(run)
    }

    fn hosts(&self, play: &Play) -> Result<Vec<&Host>, PlanError> {
        let all = &self.fleet.inventory.hosts;
        match &play.tasks {
            Tasks::Hosts { hosts: Some(names), .. } => names
                .iter()
                .map(|name| {
                    let unknown = || PlanError::UnknownHost { play: play.name.clone(), host: name.clone() };
                    all.iter().find(|host| &host.name == name).ok_or_else(unknown)
                })
                .collect(),
            Tasks::Hosts { hosts: None, .. } | Tasks::Controller(_) => Ok(all.iter().collect()),
        }
    }

    /// All tasks of a play on one host; the first failure ends them.
    async fn host(&self, steps: &Steps<'_>, host: &Host, tasks: &[Titled<HostTaskKind>], mode: Mode) -> Done {
        let mut done = Done::default();
        for Titled { task, .. } in tasks {
            match steps.on_host(host, task, mode).await {
                Ok(changes) => done.changes += changes.len(),
                Err(failure) => {
                    done.failure = Some(failure);
                    break;
                }
            }
            if steps.stopped() {
                break;
            }
        }
        done
    }

    /// Host after host, each behind the quorum gate; the order is planned anew after every member.
    async fn rolling(&self, steps: &Steps<'_>, hosts: &[&Host], tasks: &[Titled<HostTaskKind>], run: &mut Run) {
        let mut waiting: Vec<&Host> = hosts.to_vec();
        while !waiting.is_empty() {
            let mut due = Vec::new();
            for host in std::mem::take(&mut waiting) {
                if steps.planned_before(host).await {
                    continue;
                }
                match self.is_due(steps, host, tasks).await {
                    Ok(true) => due.push(host.name.clone()),
                    // Nothing of weight: its tasks are gone through for the record, and to wait.
                    Ok(false) => run.take(self.host(steps, host, tasks, Mode::Rolling).await),
                    Err(source) => run.failures.push(steps.failed(&host.name, "gate", source)),
                }
            }
            if due.is_empty() || !run.failures.is_empty() || steps.stopped() {
                return;
            }
            let cluster = match self.fleet.cluster(None).await {
                Ok(cluster) => cluster,
                Err(source) => return run.failures.push(steps.failed(&hosts[0].name, "gate", source)),
            };
            let order = order(&due, &cluster);
            let mut ordered = order.iter().filter_map(|name| hosts.iter().find(|host| &host.name == name).copied());
            if self.dry {
                for host in ordered {
                    let gate = match gate(&cluster, &host.name) {
                        Gate::Go(margin) => margin.to_string(),
                        Gate::Wait(reason) => format!("would wait: {reason}"),
                        Gate::Refuse(reason) => format!("would be refused: {reason}"),
                    };
                    run.plan.rolling.push(Rolling { host: host.name.clone(), gate });
                    run.take(self.host(steps, host, tasks, Mode::Rolling).await);
                }
                return;
            }
            let Some(next) = ordered.next() else { return };
            match steps.pass_gate(next).await {
                Ok(_) => run.take(self.host(steps, next, tasks, Mode::Rolling).await),
                Err(source) => run.failures.push(steps.failed(&next.name, "gate", source)),
            }
            if !run.failures.is_empty() || steps.stopped() {
                return;
            }
            waiting = ordered.collect();
        }
    }

    /// Whether any task would change the host.
    async fn is_due(&self, steps: &Steps<'_>, host: &Host, tasks: &[Titled<HostTaskKind>]) -> Result<bool, TaskError> {
        for Titled { task, .. } in tasks {
            if !steps.would_change(host, task, Mode::Rolling).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What came of a host's tasks in a play.
#[derive(Default)]
struct Done {
    changes: usize,
    failure: Option<Failure>,
}

impl Run {
    fn take(&mut self, done: Done) {
        self.changes += done.changes;
        self.failures.extend(done.failure);
    }

    /// Notes how a task ended; true if it failed.
    fn note(&mut self, host: &str, task: &str, result: Result<Vec<crate::tasks::Change>, TaskError>) -> bool {
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
