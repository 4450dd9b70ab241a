//! `wait_healthy`: nothing goes on before the member is up, healthy and caught up.

use super::{Decision, Hands, HostTask, Needs, SeenIn, TaskError, View};
use crate::error::ExitStatus;
use crate::etcd::gate::MAX_LAG;
use crate::tasks::crash::{crashed, unsteady};
use serde::Deserialize;
use std::time::Duration;

/// How long a process has to be seen unchanged after a restart: a member that crashes right after it was
/// ready is not one to go on behind. One pause of a wait and another look at the host take as long.
const STEADY: Duration = Duration::from_millis(150);

/// Wait until the member is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitHealthy {}

impl HostTask for WaitHealthy {
    fn needs(&self, view: &View<'_>) -> Needs {
        Needs { cluster: view.seen.unit.runs(), ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        crashed(view)?;
        let not_yet = |reason: String, seen_in| Ok(Decision::NotYet { reason, seen_in, exit: ExitStatus::Unhealthy });
        if !view.seen.unit.runs() {
            return not_yet("etcd does not run".to_owned(), SeenIn::Host);
        }
        let cluster = view.cluster()?;
        let Some(own) = cluster.members.iter().find(|member| member.look.host == view.host.name) else {
            return not_yet("the member is not known".to_owned(), SeenIn::Cluster);
        };
        if let Some(ailment) = &own.ailment {
            return not_yet(format!("{} ({})", ailment, view.seen.unit.describe()), SeenIn::Cluster);
        }
        let applied = |member: &crate::etcd::health::MemberHealth| {
            member.look.report.as_ref().ok().map_or(0, |report| report.status.applied_index)
        };
        let front = cluster.members.iter().map(applied).max().unwrap_or_default();
        let lag = front.saturating_sub(applied(own));
        if lag > MAX_LAG {
            return not_yet(format!("catching up: {lag} raft entries behind"), SeenIn::Cluster);
        }
        if !view.seen.unit.ready() {
            return not_yet(format!("etcd serves, systemd still says {}", view.seen.unit.describe()), SeenIn::Host);
        }
        let Some(disturbed) = view.disturbed else { return Ok(Decision::Nothing) };
        if let Some(left) = disturbed.front.checked_sub(applied(own)).filter(|left| *left > 0) {
            return not_yet(format!("catching up: {left} raft entries to go"), SeenIn::Cluster);
        }
        let unit = &view.seen.unit;
        if unit.restarts > disturbed.restarts || (disturbed.pid != 0 && unit.main_pid != disturbed.pid) {
            return Err(unsteady(view));
        }
        if disturbed.seen_for < STEADY {
            return not_yet("steady for a moment".to_owned(), SeenIn::Host);
        }
        Ok(Decision::Nothing)
    }

    async fn apply(&self, _view: &View<'_>, _hands: &Hands<'_>) -> Result<(), TaskError> {
        Ok(())
    }
}
