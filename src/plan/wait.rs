//! Waiting for what comes by itself: bounded, told, and ended by Ctrl-C.

use super::step::Steps;
use super::world::World;
use crate::error::ExitStatus;
use crate::inventory::Host;
use crate::tasks::{ControllerTaskKind, Decision, HostTaskKind, Mode, Needs, SeenIn, TaskError};
use std::time::Duration;
use tokio::time::Instant;

/// The pause between two looks of a wait.
const PAUSE: Duration = Duration::from_millis(100);
/// How old what the members said may be in a wait: several hosts that wait share one question.
const FRESH: Duration = Duration::from_millis(80);
/// How often a wait for the cluster looks at the host, too: a crash shows there only.
const HOST_PAUSE: Duration = Duration::from_millis(1500);

/// What is being waited for.
pub(super) struct Waiting {
    pub reason: String,
    pub seen_in: SeenIn,
    pub exit: ExitStatus,
}

impl<W: World> Steps<'_, W> {
    /// Waits until the task has nothing more to say.
    pub async fn wait_on_host(
        &self,
        host: &Host,
        task: &HostTaskKind,
        mode: Mode,
        mut waiting: Waiting,
    ) -> Result<(), TaskError> {
        let limit = self.limit();
        let mut host_seen = Instant::now();
        loop {
            self.record.progress(&host.name, task.name(), &format!("waiting: {}", waiting.reason));
            if let Err(error) = self.pause(limit, &waiting).await {
                return Err(self.with_why(host, error).await);
            }
            let now = Instant::now();
            if waiting.seen_in == SeenIn::Host || host_seen.elapsed() > HOST_PAUSE {
                self.world.look_again(host).await;
                host_seen = now;
            }
            let looked = self.look(host, task, mode, now.checked_sub(FRESH)).await?;
            match task.verify(&looked.view(host, mode))? {
                Decision::Nothing => return Ok(()),
                Decision::NotYet { reason, seen_in, exit } => waiting = Waiting { reason, seen_in, exit },
                Decision::Changes(left) => return Err(TaskError::did_not_take(left)),
            }
        }
    }

    /// What was waited for in vain, with what journals say of it: those of its peers, too, which may know more.
    async fn with_why(&self, host: &Host, error: TaskError) -> TaskError {
        match error {
            TaskError::TimedOut { waited_for, limit, exit: ExitStatus::Unhealthy, why: None } => {
                let why = self.world.why(host).await.map(Box::new);
                TaskError::TimedOut { waited_for, limit, exit: ExitStatus::Unhealthy, why }
            }
            error => error,
        }
    }

    /// The same for a task on the controller.
    pub async fn wait_on_controller(
        &self,
        task: &ControllerTaskKind,
        needs: &Needs,
        mut waiting: Waiting,
    ) -> Result<(), TaskError> {
        let limit = self.limit();
        loop {
            self.record.progress("controller", task.name(), &format!("waiting: {}", waiting.reason));
            self.pause(limit, &waiting).await?;
            let overview = self.world.overview(needs, Some(Instant::now())).await?;
            match task.verify(&overview)? {
                Decision::NotYet { reason, seen_in, exit } => waiting = Waiting { reason, seen_in, exit },
                Decision::Nothing | Decision::Changes(_) => return Ok(()),
            }
        }
    }

    /// When a wait that begins now is over. What was restarted in a turn has its time from then on, however
    /// many tasks wait for it.
    fn limit(&self) -> Instant {
        let began = self.turn.get().map_or_else(Instant::now, |turn| turn.since);
        began + self.world.health_timeout()
    }

    /// The pause between two looks; fails if the time is up or the user asked to stop. A member's turn is not
    /// broken off: it ends well or is taken back, and that is seen to its end, too.
    pub async fn pause(&self, limit: Instant, waiting: &Waiting) -> Result<(), TaskError> {
        let to_the_end = self.turn.get().is_some() || self.going_back.get() > 0;
        if self.stopped() && !to_the_end {
            return Err(TaskError::Interrupted);
        }
        if Instant::now() > limit {
            let limit = self.world.health_timeout();
            return Err(TaskError::TimedOut {
                waited_for: waiting.reason.clone(),
                limit,
                exit: waiting.exit,
                why: None,
            });
        }
        if to_the_end {
            tokio::time::sleep(PAUSE).await;
            return Ok(());
        }
        let mut stop = self.stop.clone();
        tokio::select! {
            // In an order of their own, so that a simulated history can be played again.
            biased;
            () = tokio::time::sleep(PAUSE) => Ok(()),
            _ = stop.wait_for(|stop| *stop) => Err(TaskError::Interrupted),
        }
    }
}
