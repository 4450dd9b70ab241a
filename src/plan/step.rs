//! One task in one place: look, check, apply, look again.

use super::failure::Failure;
use super::record::Record;
use super::wait::Waiting;
use super::world::World;
use crate::etcd::gate::Gating;
use crate::host::Observation;
use crate::inventory::Host;
use crate::tasks::{
    Change, ControllerTaskKind, Decision, Disturbed, HostTaskKind, Mode, Needs, Overview, Reaching, Remains, TaskError,
    View, Wanted,
};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// What every step of a run shares.
pub(super) struct Steps<'a, W> {
    pub world: &'a W,
    pub dry: bool,
    pub gate: Gating,
    pub record: Record<'a>,
    /// Tasks that were done aside and are verified with the next look at their host.
    pub unverified: RefCell<Vec<(String, HostTaskKind, Mode)>>,
    /// The member that has been disturbed in its turn.
    pub turn: Cell<Option<Turn>>,
    /// Whether the host may have a way back that is armed, since something went in force there in its turn.
    pub armed: Cell<bool>,
    /// How many members are on their way back to what they had before.
    pub going_back: Cell<usize>,
    /// Held while a member is brought down and up again, whatever the mode of the play: never two at once.
    pub disturbing: Mutex<()>,
    /// Whether the user said no to the next member.
    pub declined: Cell<bool>,
    pub stop: watch::Receiver<bool>,
}

/// What was seen of a member right after it had been disturbed in its turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// When it was disturbed.
    pub since: Instant,
    /// How far the cluster was then, as a raft index.
    pub front: Option<u64>,
    /// Its process, how often systemd had started it again, and when that was seen.
    pub process: Option<(u32, u32, Instant)>,
}

/// What was found at one look of a task at its host.
pub(super) struct Looked<'f> {
    overview: Overview<'f>,
    seen: Arc<Observation>,
    wanted: Option<Arc<Wanted>>,
    probe: Option<i64>,
    remains: Option<Remains>,
    disturbed: Option<Disturbed>,
}

impl Looked<'_> {
    pub fn view<'a>(&'a self, host: &'a Host, mode: Mode) -> View<'a> {
        View {
            overview: &self.overview,
            host,
            seen: &self.seen,
            wanted: self.wanted.as_deref(),
            mode,
            probe: self.probe,
            remains: self.remains.as_ref(),
            disturbed: self.disturbed,
        }
    }
}

impl<W: World> Steps<'_, W> {
    /// Whether the user asked to stop.
    pub fn stopped(&self) -> bool {
        self.declined.get() || *self.stop.borrow()
    }

    pub async fn look(
        &self,
        host: &Host,
        task: &HostTaskKind,
        mode: Mode,
        since: Option<Instant>,
    ) -> Result<Looked<'_>, TaskError> {
        let seen = self.world.seen(host).await?;
        let overview = self.world.overview(&Needs::default(), None).await?;
        let bare = Looked { overview, seen, wanted: None, probe: None, remains: None, disturbed: None };
        let needs = task.needs(&bare.view(host, mode));
        // What a host should have and a probe's answer stand beside the overview.
        let of_all = Needs { wanted: false, probe: None, remains: false, ..needs.clone() };
        let overview =
            if of_all == Needs::default() { bare.overview } else { self.world.overview(&of_all, since).await? };
        let wanted = if needs.wanted { Some(self.world.wanted(host).await?) } else { None };
        let probe = match &needs.probe {
            Some(script) => Some(self.world.probe(host, script).await?),
            None => None,
        };
        let remains = if needs.remains { Some(self.world.remains(host).await?) } else { None };
        let disturbed = self.disturbed(&overview, &bare.seen);
        Ok(Looked { overview, seen: bare.seen, wanted, probe, remains, disturbed })
    }

    /// How far the member is since it was disturbed, by what is seen now.
    fn disturbed(&self, overview: &Overview<'_>, seen: &Observation) -> Option<Disturbed> {
        let mut turn = self.turn.get()?;
        if turn.front.is_none() {
            turn.front = overview.cluster.as_deref().map(crate::etcd::health::ClusterHealth::front);
        }
        let (pid, restarts, since) =
            *turn.process.get_or_insert((seen.unit.main_pid, seen.unit.restarts, Instant::now()));
        self.turn.set(Some(turn));
        Some(Disturbed { front: turn.front.unwrap_or_default(), pid, restarts, seen_for: since.elapsed() })
    }

    /// Whether a dry run may pass the host over in a rolling play: a member that does not run, and is started by an
    /// earlier play; what that would change is in the plan already.
    pub async fn planned_before(&self, host: &Host) -> bool {
        let starts = || self.record.plan.borrow().has(&host.name, Some("start"));
        self.dry && starts() && self.world.seen(host).await.is_ok_and(|seen| !seen.unit.runs())
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
        let begun = self.record.started(&host.name, task.name());
        let result = self.work_on_host(host, task, mode).await;
        self.record.finished(&host.name, task.name(), begun, result.as_deref());
        result.map_err(|source| Failure { host: host.name.clone(), task: task.name().to_owned(), source })
    }

    /// Looks at the host anew, if anything was done aside there, and verifies all of that.
    pub async fn verify_aside(&self, host: &Host) -> Result<(), Failure> {
        let done: Vec<_> = self.unverified.borrow_mut().extract_if(.., |(name, ..)| *name == host.name).collect();
        if done.is_empty() {
            return Ok(());
        }
        self.world.forget(host).await;
        for (_, task, mode) in done {
            let begun = Instant::now();
            let confirmed = self.confirm(host, &task, mode).await;
            if confirmed.is_err() {
                let result = confirmed.map(|()| Vec::new());
                self.record.finished(&host.name, task.name(), begun, result.as_deref());
                let failed = |source| Failure { host: host.name.clone(), task: task.name().to_owned(), source };
                result.map_err(failed)?;
            }
        }
        Ok(())
    }

    pub async fn work_on_host(&self, host: &Host, task: &HostTaskKind, mode: Mode) -> Result<Vec<Change>, TaskError> {
        let looked = self.look(host, task, mode, None).await?;
        let view = looked.view(host, mode);
        self.record.warn(&host.name, task.warnings(&view));
        let decided = match task.check(&view) {
            // What is pending may be what mends it.
            Err(TaskError::Crashed { .. }) if self.dry && self.record.plan.borrow().has(&host.name, None) => {
                return Ok(Vec::new());
            }
            decided => decided?,
        };
        match decided {
            Decision::Nothing => Ok(Vec::new()),
            Decision::Changes(changes) if self.dry => {
                self.record.pending(&host.name, task.name(), &changes);
                Ok(changes)
            }
            Decision::Changes(changes) if task.disturbs(mode) => {
                let _alone = self.disturbing.lock().await;
                // The last look before it goes down: much may have changed since it was decided.
                self.pass_gate(host).await?;
                if mode == Mode::Rolling {
                    self.armed.set(self.armed.get() || view.seen.unconfirmed);
                    self.turn.set(Some(Turn { since: Instant::now(), front: None, process: None }));
                }
                self.apply(host, task, mode, &view).await.map(|()| changes)
            }
            Decision::Changes(changes) => {
                if mode == Mode::Rolling && task.puts_in_force() {
                    self.armed.set(true);
                }
                match self.apply(host, task, mode, &view).await {
                    Err(error) if error.is_connection_lost() && task.repeatable() && !self.stopped() => {
                        self.once_more(host, task, mode, error).await?;
                    }
                    applied => applied?,
                }
                Ok(changes)
            }
            Decision::NotYet { .. } if self.dry => Ok(Vec::new()),
            Decision::NotYet { reason, seen_in, exit } => {
                self.wait_on_host(host, task, mode, Waiting { reason, seen_in, exit }).await?;
                Ok(Vec::new())
            }
        }
    }

    /// Does a task again whose connection broke, by what is then found on the host. If that cannot be looked at, the
    /// break is what went wrong.
    async fn once_more(&self, host: &Host, task: &HostTaskKind, mode: Mode, broke: TaskError) -> Result<(), TaskError> {
        let again = format!("the connection broke in `{}`, which is done again by what is there then", task.name());
        self.record.warn(&host.name, vec![again]);
        let looked = match self.look(host, task, mode, None).await {
            Ok(looked) => looked,
            Err(error) if error.is_of_lock() => return Err(error),
            Err(_) => return Err(broke),
        };
        let view = looked.view(host, mode);
        match task.check(&view)? {
            Decision::Changes(_) => self.apply(host, task, mode, &view).await,
            Decision::Nothing | Decision::NotYet { .. } => Ok(()),
        }
    }

    async fn apply(&self, host: &Host, task: &HostTaskKind, mode: Mode, view: &View<'_>) -> Result<(), TaskError> {
        let applied = self.world.apply(task, view).await;
        if task.aside() && matches!(applied, Ok(false)) {
            self.unverified.borrow_mut().push((host.name.clone(), task.clone(), mode));
            return Ok(());
        }
        self.world.forget(host).await;
        applied?;
        self.confirm(host, task, mode).await
    }

    /// After an apply there must be nothing left to do.
    async fn confirm(&self, host: &Host, task: &HostTaskKind, mode: Mode) -> Result<(), TaskError> {
        let looked = self.look(host, task, mode, None).await?;
        match task.verify(&looked.view(host, mode))? {
            Decision::Nothing => Ok(()),
            Decision::Changes(left) => Err(TaskError::did_not_take(left)),
            Decision::NotYet { reason, seen_in, exit } => {
                self.wait_on_host(host, task, mode, Waiting { reason, seen_in, exit }).await
            }
        }
    }

    /// Runs a task on the controller and says what it changed.
    pub async fn on_controller(&self, task: &ControllerTaskKind) -> Result<Vec<Change>, TaskError> {
        let begun = self.record.started("controller", task.name());
        let result = self.work_on_controller(task).await;
        self.record.finished("controller", task.name(), begun, result.as_deref());
        result
    }

    async fn work_on_controller(&self, task: &ControllerTaskKind) -> Result<Vec<Change>, TaskError> {
        let mut needs = task.needs(self.world.inventory());
        // Trying the peer ports opens them for a moment: more than a look.
        if self.dry {
            needs.reach = needs.reach.min(Reaching::Told);
        }
        // And for a hash a member reads all of its data.
        needs.comparison &= !self.dry;
        let overview = self.world.overview(&needs, None).await?;
        self.record.warn("controller", task.warnings(&overview));
        match task.check(&overview)? {
            Decision::Nothing => Ok(Vec::new()),
            Decision::Changes(changes) if self.dry => {
                self.record.pending("controller", task.name(), &changes);
                Ok(changes)
            }
            Decision::Changes(changes) => {
                self.world.apply_on_controller(task, &overview).await?;
                let overview = self.world.overview(&needs, Some(Instant::now())).await?;
                match task.verify(&overview)? {
                    Decision::Changes(left) => Err(TaskError::did_not_take(left)),
                    Decision::Nothing => Ok(changes),
                    Decision::NotYet { reason, seen_in, exit } => {
                        self.wait_on_controller(task, &needs, Waiting { reason, seen_in, exit }).await?;
                        Ok(changes)
                    }
                }
            }
            Decision::NotYet { .. } if self.dry => Ok(Vec::new()),
            Decision::NotYet { reason, seen_in, exit } => {
                self.wait_on_controller(task, &needs, Waiting { reason, seen_in, exit }).await?;
                Ok(Vec::new())
            }
        }
    }
}
