//! One task in one place: look, check, apply, look again.

use super::failure::Failure;
use super::pending::Plan;
use crate::error::ExitStatus;
use crate::host::Observation;
use crate::inventory::Host;
use crate::report::{Event, Outcome, Recap};
use crate::tasks::{
    Change, ControllerTaskKind, Decision, Fleet, Hands, HostTaskKind, Mode, Needs, Overview, SeenIn, TaskError, View,
    Wanted, probe,
};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The pause between two looks of a wait.
const PAUSE: Duration = Duration::from_millis(100);
/// How old what the members said may be in a wait: several hosts that wait share one question.
const FRESH: Duration = Duration::from_millis(80);
/// How often a wait for the cluster looks at the host, too: a crash shows there only.
const HOST_PAUSE: Duration = Duration::from_millis(1500);

/// What every step of a run shares.
pub(super) struct Steps<'a> {
    pub fleet: &'a Fleet,
    pub dry: bool,
    pub plan: std::sync::Mutex<Plan>,
    pub warned: std::sync::Mutex<Vec<(String, String)>>,
    pub recap: std::sync::Mutex<Recap>,
    /// Tasks that were done aside and are verified with the next look at their host.
    pub unverified: std::sync::Mutex<Vec<(String, HostTaskKind, Mode)>>,
    pub stop: watch::Receiver<bool>,
}

/// What was found at one look of a task at its host.
struct Looked<'f> {
    overview: Overview<'f>,
    seen: Arc<Observation>,
    wanted: Option<Wanted>,
    probe: Option<i64>,
}

impl Looked<'_> {
    fn view<'a>(&'a self, host: &'a Host, mode: Mode) -> View<'a> {
        View { overview: &self.overview, host, seen: &self.seen, wanted: self.wanted.as_ref(), mode, probe: self.probe }
    }
}

impl Steps<'_> {
    /// Whether the user asked to stop.
    pub fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Counts an event for the recap.
    pub fn note(&self, event: &Event) {
        self.recap.lock().unwrap_or_else(std::sync::PoisonError::into_inner).note(event);
    }

    fn started(&self, host: &str, task: &str) -> Instant {
        self.fleet.reporter.emit(Event::TaskStarted { host: host.to_owned(), task: task.to_owned() });
        Instant::now()
    }

    fn finished(&self, host: &str, task: &str, begun: Instant, result: &Result<Vec<Change>, TaskError>) {
        let outcome = match result {
            Ok(changes) if changes.is_empty() => Outcome::Ok,
            Ok(changes) => Outcome::Changed { changes: changes.iter().map(|change| change.summary.clone()).collect() },
            Err(error) => {
                Outcome::Failed { error: crate::error::line(error), hint: crate::error::Explain::hint(error) }
            }
        };
        let event = Event::TaskFinished {
            host: host.to_owned(),
            task: task.to_owned(),
            outcome,
            seconds: begun.elapsed().as_secs_f64(),
        };
        self.note(&event);
        // A dry run changes nothing, so there is nothing to tell but what fails; the plan says the rest.
        if !self.dry || result.is_err() {
            self.fleet.reporter.emit(event);
        }
    }

    /// Tells of a failure that is no task's own.
    pub fn failed(&self, host: &str, task: &str, error: TaskError) -> Failure {
        let result = Err(error);
        self.finished(host, task, Instant::now(), &result);
        let source = result.err().unwrap_or(TaskError::Interrupted);
        Failure { host: host.to_owned(), task: task.to_owned(), source }
    }

    fn warn(&self, host: &str, messages: Vec<String>) {
        for message in messages {
            let said = (host.to_owned(), message);
            let mut warned = self.warned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !warned.contains(&said) {
                self.fleet.reporter.emit(Event::Warning { host: Some(said.0.clone()), message: said.1.clone() });
                warned.push(said);
            }
        }
    }

    fn pending(&self, host: &str, task: &str, changes: &[Change]) {
        self.plan.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(host, task, changes.to_vec());
    }

    fn progress(&self, host: &str, task: &str, message: &str) {
        self.fleet.reporter.emit(Event::TaskProgress {
            host: host.to_owned(),
            task: task.to_owned(),
            message: message.to_owned(),
            done: None,
            total: None,
        });
    }

    async fn look(
        &self,
        host: &Host,
        task: &HostTaskKind,
        mode: Mode,
        since: Option<Instant>,
    ) -> Result<Looked<'_>, TaskError> {
        let seen = self.fleet.seen(host).await?;
        let bare =
            Looked { overview: self.fleet.overview(&Needs::default(), None).await?, seen, wanted: None, probe: None };
        let needs = task.needs(&bare.view(host, mode));
        let overview = self.fleet.overview(&needs, since).await?;
        let wanted = if needs.wanted { Some(self.fleet.wanted(host).await?) } else { None };
        let probe = match &needs.probe {
            Some(script) => Some(probe(&self.fleet.connection(host).await?, script).await?),
            None => None,
        };
        Ok(Looked { overview, seen: bare.seen, wanted, probe })
    }

    /// Whether a dry run may pass the host over in a rolling play: a member that does not run is
    /// started by an earlier play, and what that would change is in the plan already.
    pub async fn planned_before(&self, host: &Host) -> bool {
        self.dry && self.fleet.seen(host).await.is_ok_and(|seen| !seen.unit.runs())
    }

    /// What the task would change on the host now, without a word to anybody.
    pub async fn would_change(&self, host: &Host, task: &HostTaskKind, mode: Mode) -> Result<Vec<Change>, TaskError> {
        let looked = self.look(host, task, mode, None).await?;
        Ok(match task.check(&looked.view(host, mode))? {
            Decision::Changes(changes) => changes,
            Decision::Nothing | Decision::NotYet { .. } => Vec::new(),
        })
    }

    /// Runs a task on a host and says what it changed.
    pub async fn on_host(&self, host: &Host, task: &HostTaskKind, mode: Mode) -> Result<Vec<Change>, Failure> {
        if !task.aside() {
            self.verify_aside(host).await?;
        }
        let begun = self.started(&host.name, task.name());
        let result = self.work_on_host(host, task, mode).await;
        self.finished(&host.name, task.name(), begun, &result);
        result.map_err(|source| Failure { host: host.name.clone(), task: task.name().to_owned(), source })
    }

    /// Looks at the host anew, if anything was done aside there, and verifies all of that.
    pub async fn verify_aside(&self, host: &Host) -> Result<(), Failure> {
        let done: Vec<_> = {
            let mut unverified = self.unverified.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            unverified.extract_if(.., |(name, ..)| *name == host.name).collect()
        };
        if done.is_empty() {
            return Ok(());
        }
        self.fleet.forget(host).await;
        for (_, task, mode) in done {
            let begun = Instant::now();
            let confirmed = self.confirm(host, &task, mode).await;
            if confirmed.is_err() {
                let result = confirmed.map(|()| Vec::new());
                self.finished(&host.name, task.name(), begun, &result);
                let failed = |source| Failure { host: host.name.clone(), task: task.name().to_owned(), source };
                result.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn work_on_host(&self, host: &Host, task: &HostTaskKind, mode: Mode) -> Result<Vec<Change>, TaskError> {
        let looked = self.look(host, task, mode, None).await?;
        let view = looked.view(host, mode);
        self.warn(&host.name, task.warnings(&view));
        match task.check(&view)? {
            Decision::Nothing => Ok(Vec::new()),
            Decision::Changes(changes) if self.dry => {
                self.pending(&host.name, task.name(), &changes);
                Ok(changes)
            }
            Decision::Changes(changes) => {
                let connection = self.fleet.connection(host).await?;
                let hands = Hands {
                    connection: &connection,
                    host,
                    task: task.name(),
                    reporter: &self.fleet.reporter,
                    fleet: self.fleet,
                    look_now: Cell::new(false),
                };
                let applied = task.apply(&view, &hands).await;
                if task.aside() && applied.is_ok() && !hands.look_now.get() {
                    let done = (host.name.clone(), task.clone(), mode);
                    self.unverified.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(done);
                    return Ok(changes);
                }
                self.fleet.forget(host).await;
                applied?;
                self.confirm(host, task, mode).await?;
                Ok(changes)
            }
            Decision::NotYet { .. } if self.dry => Ok(Vec::new()),
            Decision::NotYet { reason, seen_in, exit } => {
                self.wait_on_host(host, task, mode, Waiting { reason, seen_in, exit }).await?;
                Ok(Vec::new())
            }
        }
    }

    /// After an apply there must be nothing left to do.
    async fn confirm(&self, host: &Host, task: &HostTaskKind, mode: Mode) -> Result<(), TaskError> {
        let looked = self.look(host, task, mode, None).await?;
        match task.verify(&looked.view(host, mode))? {
            Decision::Nothing => Ok(()),
            Decision::Changes(left) => {
                Err(TaskError::DidNotTake(left.into_iter().map(|change| change.summary).collect()))
            }
            Decision::NotYet { reason, seen_in, exit } => {
                self.wait_on_host(host, task, mode, Waiting { reason, seen_in, exit }).await
            }
        }
    }

    async fn wait_on_host(
        &self,
        host: &Host,
        task: &HostTaskKind,
        mode: Mode,
        mut waiting: Waiting,
    ) -> Result<(), TaskError> {
        let begun = Instant::now();
        let mut host_seen = Instant::now();
        loop {
            self.progress(&host.name, task.name(), &format!("waiting: {}", waiting.reason));
            self.pause(begun, &waiting).await?;
            let now = Instant::now();
            if waiting.seen_in == SeenIn::Host || host_seen.elapsed() > HOST_PAUSE {
                self.fleet.look_again(host).await;
                host_seen = now;
            }
            let looked = self.look(host, task, mode, now.checked_sub(FRESH)).await?;
            match task.verify(&looked.view(host, mode))? {
                Decision::Nothing => return Ok(()),
                Decision::NotYet { reason, seen_in, exit } => waiting = Waiting { reason, seen_in, exit },
                Decision::Changes(left) => {
                    return Err(TaskError::DidNotTake(left.into_iter().map(|change| change.summary).collect()));
                }
            }
        }
    }

    /// The pause between two looks; fails if the time is up or the user asked to stop.
    async fn pause(&self, begun: Instant, waiting: &Waiting) -> Result<(), TaskError> {
        if self.stopped() {
            return Err(TaskError::Interrupted);
        }
        let limit = self.fleet.options.health_timeout;
        if begun.elapsed() > limit {
            return Err(TaskError::TimedOut { waited_for: waiting.reason.clone(), limit, exit: waiting.exit });
        }
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => Ok(()),
            _ = stop.wait_for(|stop| *stop) => Err(TaskError::Interrupted),
        }
    }

    /// Waits until `gate` lets the host through, and says with what margin.
    pub async fn pass_gate(&self, host: &Host) -> Result<String, TaskError> {
        use crate::etcd::gate::{Gate, gate};
        let begun = Instant::now();
        let mut since = Instant::now();
        loop {
            let cluster = self.fleet.cluster(Some(since)).await?;
            match gate(&cluster, &host.name) {
                Gate::Go(margin) => return Ok(margin.to_string()),
                Gate::Refuse(reason) => return Err(TaskError::Gate { reason }),
                Gate::Wait(reason) => {
                    self.progress(&host.name, "gate", &format!("waiting before it is touched: {reason}"));
                    let waiting = Waiting { reason, seen_in: SeenIn::Cluster, exit: ExitStatus::Refused };
                    self.pause(begun, &waiting).await?;
                }
            }
            since = Instant::now();
        }
    }

    /// Runs a task on the controller and says what it changed.
    pub async fn on_controller(&self, task: &ControllerTaskKind) -> Result<Vec<Change>, TaskError> {
        let begun = self.started("controller", task.name());
        let result = self.work_on_controller(task).await;
        self.finished("controller", task.name(), begun, &result);
        result
    }

    async fn work_on_controller(&self, task: &ControllerTaskKind) -> Result<Vec<Change>, TaskError> {
        let mut needs = task.needs(&self.fleet.inventory);
        // Trying the peer ports opens them for a moment: more than a look.
        needs.reach &= !self.dry;
        // And for a hash a member reads all of its data.
        needs.comparison &= !self.dry;
        let overview = self.fleet.overview(&needs, None).await?;
        self.warn("controller", task.warnings(&overview));
        match task.check(&overview)? {
            Decision::Nothing => Ok(Vec::new()),
            Decision::Changes(changes) if self.dry => {
                self.pending("controller", task.name(), &changes);
                Ok(changes)
            }
            Decision::Changes(changes) => {
                task.apply(&overview, self.fleet).await?;
                let overview = self.fleet.overview(&needs, None).await?;
                match task.verify(&overview)? {
                    Decision::Changes(left) => {
                        Err(TaskError::DidNotTake(left.into_iter().map(|change| change.summary).collect()))
                    }
                    Decision::Nothing | Decision::NotYet { .. } => Ok(changes),
                }
            }
            Decision::NotYet { .. } if self.dry => Ok(Vec::new()),
            Decision::NotYet { reason, seen_in, exit } => {
                let begun = Instant::now();
                let mut waiting = Waiting { reason, seen_in, exit };
                loop {
                    self.progress("controller", task.name(), &format!("waiting: {}", waiting.reason));
                    self.pause(begun, &waiting).await?;
                    let overview = self.fleet.overview(&needs, Some(Instant::now())).await?;
                    match task.verify(&overview)? {
                        Decision::NotYet { reason, seen_in, exit } => waiting = Waiting { reason, seen_in, exit },
                        Decision::Nothing | Decision::Changes(_) => return Ok(Vec::new()),
                    }
                }
            }
        }
    }
}

struct Waiting {
    reason: String,
    seen_in: SeenIn,
    exit: ExitStatus,
}
