//! Rolling plays: one member at a time, each behind the quorum gate, with a way back.

use super::engine::{Between, Done, Engine, Run};
use super::failure::Failure;
use super::pending::Rolling;
use super::rolling::order;
use super::step::Steps;
use super::wait::Waiting;
use super::world::World;
use crate::error::ExitStatus;
use crate::etcd::gate::{Gate, Margin, Process, Scene, too_few};
use crate::etcd::health::MemberHealth;
use crate::host::Observation;
use crate::inventory::Host;
use crate::playbook::{Hooks, Titled};
use crate::tasks::{
    Decision, GRACE, HostTaskKind, Mode, Needs, SeenIn, TaskError, in_force, previous_version, runs_what_is_in_force,
};
use semver::Version;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a unit may look crashed after it was started anew.
const SETTLES: Duration = Duration::from_secs(10);

impl<W: World> Engine<'_, W> {
    /// Host after host, each behind the quorum gate; the order is planned anew after every member.
    pub(super) async fn rolling(
        &self,
        steps: &Steps<'_, W>,
        hosts: &[&Host],
        tasks: &[Titled<HostTaskKind>],
        hooks: &Hooks,
        run: &mut Run,
    ) {
        let mut waiting: Vec<&Host> = hosts.to_vec();
        let mut idle: Vec<&Host> = Vec::new();
        let mut last: Option<&Host> = None;
        while !waiting.is_empty() {
            let mut due = Vec::new();
            for host in std::mem::take(&mut waiting) {
                if steps.planned_before(host).await {
                    continue;
                }
                match self.is_due(steps, host, tasks).await {
                    Ok(true) => due.push(host.name.clone()),
                    Ok(false) => idle.push(host),
                    Err(source) => run.failures.push(steps.record.failed(&host.name, "gate", source)),
                }
            }
            if !run.failures.is_empty() || steps.stopped() {
                return;
            }
            if due.is_empty() {
                break;
            }
            let cluster = match self.world.cluster(None).await {
                Ok(cluster) => cluster,
                Err(source) => return run.failures.push(steps.record.failed(&hosts[0].name, "gate", source)),
            };
            let order = order(&due, &cluster);
            run.turns.due(&order);
            let mut ordered = order.iter().filter_map(|name| hosts.iter().find(|host| &host.name == name).copied());
            if self.dry {
                let processes = steps.processes().await;
                for host in ordered {
                    let gate = match (self.gate)(&Scene { health: &cluster, processes: &processes }, &host.name) {
                        Gate::Go(margin) => margin.to_string(),
                        Gate::Wait(reason) => format!("would wait: {reason}"),
                        Gate::Refuse(reason) => format!("would be refused: {reason}"),
                    };
                    run.plan.rolling.push(Rolling { host: host.name.clone(), gate });
                    for tasks in [&hooks.before, tasks, &hooks.after] {
                        run.take(self.host(steps, host, tasks, Mode::Rolling).await);
                    }
                }
                break;
            }
            let Some(next) = ordered.next() else { break };
            match self.may_begin(steps, last, next).await {
                Ok(true) => {
                    let done = self.turn(steps, next, tasks, hooks).await;
                    if done.failure.is_none() {
                        run.turns.through.push(next.name.clone());
                    }
                    run.take(done);
                }
                Ok(false) => steps.declined.set(true),
                Err(source) => run.failures.push(steps.record.failed(&next.name, "gate", source)),
            }
            last = Some(next);
            if !run.failures.is_empty() || steps.stopped() {
                return;
            }
            waiting = ordered.collect();
        }
        // Nothing of weight: their tasks are gone through for the record, and to wait. Not before the others' turns,
        // for which the gate knows at once whether one that is down stands in their way.
        for host in idle {
            run.take(self.host(steps, host, tasks, Mode::Rolling).await);
        }
    }

    /// Whether any task would change the host.
    async fn is_due(
        &self,
        steps: &Steps<'_, W>,
        host: &Host,
        tasks: &[Titled<HostTaskKind>],
    ) -> Result<bool, TaskError> {
        for Titled { task, .. } in tasks {
            if !steps.would_change(host, task, Mode::Rolling).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All tasks on a member whose turn it is. Once begun, the turn ends well or is taken back: a first
    /// Ctrl-C waits for its end, so that no member is left between two states.
    async fn turn(&self, steps: &Steps<'_, W>, host: &Host, tasks: &[Titled<HostTaskKind>], hooks: &Hooks) -> Done {
        let mut done = self.host(steps, host, &hooks.before, Mode::Rolling).await;
        if let Some(Failure { source, .. }) = done.failure.take() {
            let untouched = TaskError::Untouched { cause: Box::new(source) };
            done.failure = Some(steps.record.failed(&host.name, "before", untouched));
            return done;
        }
        let own = self.host(steps, host, tasks, Mode::Rolling).await;
        steps.turn.set(None);
        steps.armed.set(false);
        let well = own.failure.as_ref().is_none_or(|failure| matches!(failure.source, TaskError::TakenBack { .. }));
        done.changes += own.changes;
        done.failure = own.failure;
        if well {
            let after = self.host(steps, host, &hooks.after, Mode::Rolling).await;
            done.changes += after.changes;
            done.failure = done.failure.or(after.failure);
        }
        done
    }

    /// Whether the gate and, if there is one to be asked, the user let the next turn begin.
    async fn may_begin(&self, steps: &Steps<'_, W>, last: Option<&Host>, next: &Host) -> Result<bool, TaskError> {
        let margin = steps.pass_gate(next).await?;
        if let (Some(ask), Some(last)) = (self.ask, last) {
            if !ask(Between { done: last.name.clone(), next: next.name.clone(), margin }).await {
                return Ok(false);
            }
            // An answer may take its time.
            steps.pass_gate(next).await?;
        }
        Ok(true)
    }
}

impl<W: World> Steps<'_, W> {
    /// What the hosts say of their members' processes, as far as they were looked at.
    async fn processes(&self) -> BTreeMap<String, Process> {
        let mut processes = BTreeMap::new();
        for host in &self.world.inventory().hosts {
            if let Ok(seen) = self.world.seen(host).await {
                let unit = &seen.unit;
                let process = Process { ready: unit.ready(), runs: unit.runs(), unit: unit.describe() };
                processes.insert(host.name.clone(), process);
            }
        }
        processes
    }

    /// Waits until the gate lets the host through, and says with what margin.
    pub async fn pass_gate(&self, host: &Host) -> Result<Margin, TaskError> {
        let limit = Instant::now() + self.world.health_timeout();
        loop {
            let cluster = self.world.cluster(Some(Instant::now())).await?;
            let processes = self.processes().await;
            match (self.gate)(&Scene { health: &cluster, processes: &processes }, &host.name) {
                Gate::Go(margin) => return Ok(margin),
                Gate::Refuse(reason) => return Err(TaskError::Gate { reason, too_few: too_few(&cluster) }),
                Gate::Wait(reason) => {
                    self.record.progress(&host.name, "gate", &format!("waiting before it is touched: {reason}"));
                    let waiting = Waiting { reason, seen_in: SeenIn::Cluster, exit: ExitStatus::Refused };
                    self.pause(limit, &waiting).await?;
                }
            }
            // What is waited for may be a unit's becoming ready, which only its host can tell.
            for other in self.world.inventory().hosts.iter().filter(|other| other.name != host.name) {
                if processes.get(&other.name).is_some_and(|process| !process.ready) {
                    self.world.look_again(other).await;
                }
            }
        }
    }

    /// Whether the failure may have to do with the member's last change. Who was interrupted only needed time; but what
    /// this turn has put in force, and the member was not restarted with, is not left behind. Who has lost the lock may
    /// do nothing more: the host decides by itself when its time is up, or the run that has it does.
    pub fn may_be_the_change_s(&self, failure: &Failure) -> bool {
        !failure.source.is_of_lock() && (self.armed.get() || !matches!(failure.source, TaskError::Interrupted))
    }

    /// After a failure: if the member's last change is not confirmed yet, and the member does not do well
    /// with it, it is taken back. Gives the failure that the run ends with.
    pub async fn way_back(&self, host: &Host, failure: Failure) -> Failure {
        let Failure { host: name, task, source } = failure;
        let failed = |source| Failure { host: name.clone(), task: task.clone(), source };
        self.world.forget(host).await;
        let seen = match self.world.seen(host).await {
            Ok(seen) => seen,
            Err(_) if self.armed.get() => {
                let within = self.world.health_timeout() + GRACE;
                return self.record.failed(
                    &name,
                    "way_back",
                    TaskError::OutOfReach { cause: Box::new(source), within },
                );
            }
            Err(_) => return failed(source),
        };
        if !seen.unconfirmed || (runs_what_is_in_force(&seen) && self.is_well(host).await) {
            return failed(source);
        }
        if let Some((version, cluster)) = self.cut_off(host, &seen).await {
            // Nor may the host try it by itself.
            let disarmed = self.work_on_host(host, &HostTaskKind::disarm(), Mode::Rolling).await;
            let cause = Box::new(disarmed.err().unwrap_or(source));
            return self.record.failed(&name, "way_back", TaskError::NoWayBack { cause, version, cluster });
        }
        // A process that was never restarted is left alone, so that nobody has to spare it.
        let untried = seen.previous.is_some() && seen.generation() == seen.previous.as_deref();
        if !untried && let Some(reason) = self.cannot_spare(host).await {
            return self.record.failed(&name, "way_back", TaskError::NotSpared { cause: Box::new(source), reason });
        }
        let begun = self.record.started(&name, "way_back");
        self.record.progress(&name, "way_back", "taking the change back");
        self.going_back.update(|members| members + 1);
        let taken = self.world.take_back(host).await;
        self.world.forget(host).await;
        let taken = match taken {
            Ok(()) => self.wait_until_well(host).await,
            Err(error) => Err(error),
        };
        self.going_back.update(|members| members - 1);
        // Where the members agreed on the newer version only now, the host has found it out, and goes on with that.
        let stays = match self.world.seen(host).await {
            Ok(now) => in_force(&now) == in_force(&seen) && in_force(&seen) != seen.previous.as_deref(),
            Err(_) => false,
        };
        let cut_off = if stays { self.cut_off(host, &seen).await } else { None };
        let cause = Box::new(source);
        let error = match (cut_off, taken) {
            (Some((version, cluster)), _) => TaskError::NoWayBack { cause, version, cluster },
            (None, Ok(())) => TaskError::TakenBack { cause },
            (None, Err(after)) => TaskError::TakenBackInVain { cause, after: Box::new(after) },
        };
        self.record.finished(&name, "way_back", begun, Err(&error));
        failed(error)
    }

    /// The version that was in force before, and that of the cluster, if the older one refuses to start with it: once the
    /// members have agreed on a newer minor version.
    async fn cut_off(&self, host: &Host, seen: &Observation) -> Option<(Version, Version)> {
        let version = previous_version(host, seen)?;
        let needs = Needs { cluster_version: true, ..Needs::default() };
        let cluster = self.world.overview(&needs, None).await.ok()?.cluster_version?;
        ((cluster.major, cluster.minor) > (version.major, version.minor)).then_some((version, cluster))
    }

    /// Why the member must not be taken down to take its change back, if it serves and the others cannot do without it.
    /// Its host is left to decide by itself when its time is up: a member that serves then keeps the change.
    async fn cannot_spare(&self, host: &Host) -> Option<String> {
        let cluster = self.world.cluster(Some(Instant::now())).await.ok()?;
        let serves = |member: &MemberHealth| member.look.host == host.name && member.ailment.is_none();
        if !cluster.members.iter().any(serves) {
            return None;
        }
        match (self.gate)(&Scene { health: &cluster, processes: &BTreeMap::new() }, &host.name) {
            Gate::Go(_) => None,
            Gate::Wait(reason) | Gate::Refuse(reason) => Some(reason),
        }
    }

    /// Whether the member is healthy now, as `wait_healthy` has it.
    async fn is_well(&self, host: &Host) -> bool {
        let task = HostTaskKind::wait_healthy();
        let Ok(looked) = self.look(host, &task, Mode::Rolling, Some(Instant::now())).await else { return false };
        matches!(task.check(&looked.view(host, Mode::Rolling)), Ok(Decision::Nothing))
    }

    /// Waits for the member that was started with what it had before.
    async fn wait_until_well(&self, host: &Host) -> Result<(), TaskError> {
        // It has its whole time again.
        self.turn.set(None);
        let begun = Instant::now();
        loop {
            match self.work_on_host(host, &HostTaskKind::wait_healthy(), Mode::Rolling).await {
                // systemd may still show how the process ended that was taken down.
                Err(TaskError::Crashed { .. }) if begun.elapsed() < SETTLES => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    self.world.look_again(host).await;
                }
                result => return result.map(drop),
            }
        }
    }
}
