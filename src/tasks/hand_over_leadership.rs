//! `hand_over_leadership`: a leader that is about to be restarted passes leadership on first, so
//! that clients do not wait for an election.

use super::restart::due;
use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::etcd::health::ClusterHealth;
use crate::etcd::identity::MemberId;
use serde::Deserialize;

/// Move leadership to another member if this one is about to be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandOverLeadership {
    /// Move it even if no restart is due.
    #[serde(default)]
    pub always: bool,
    /// Judge whether a restart is due by what is in force on the host, whatever the inventory says.
    #[serde(default)]
    pub in_force: bool,
}

/// The healthy voter that has applied most, other than `host`; the first in order of ids among equals.
#[must_use]
pub fn successor(cluster: &ClusterHealth, host: &str) -> Option<(String, MemberId)> {
    let others = cluster.members.iter().filter(|member| member.look.host != host && member.ailment.is_none());
    let reports = others.filter_map(|member| Some((&member.look.host, &member.look.report.as_ref().ok()?.status)));
    let best = reports.max_by_key(|(_, status)| (status.applied_index, std::cmp::Reverse(status.member)));
    best.map(|(host, status)| (host.clone(), status.member))
}

/// Whether the member on `host` leads.
fn leads(cluster: &ClusterHealth, host: &str) -> bool {
    let own = cluster.members.iter().find(|member| member.look.host == host);
    let status = own.and_then(|member| member.look.report.as_ref().ok()).map(|report| &report.status);
    status.is_some_and(|status| status.leader == Some(status.member))
}

impl HostTask for HandOverLeadership {
    fn needs(&self, view: &View<'_>) -> Needs {
        // A member that is not up leads nobody.
        Needs { wanted: !(self.in_force || self.always), cluster: view.seen.unit.runs(), ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let due = self.always || due(view, self.in_force)?.is_some();
        let Some(cluster) = view.overview.cluster.as_deref().filter(|_| due) else { return Ok(Decision::Nothing) };
        if !leads(cluster, &view.host.name) {
            return Ok(Decision::Nothing);
        }
        Ok(match successor(cluster, &view.host.name) {
            Some((host, _)) => Decision::change(format!("move leadership to `{host}`")),
            None => Decision::Nothing,
        })
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let Some((_, id)) = successor(view.cluster()?, &view.host.name) else { return Ok(()) };
        hands.connection.check_lock().await?;
        let member = hands.fleet.member(view.host).await?;
        let moved = member.move_leader(id).await;
        moved.map_err(|source| TaskError::Member { member: view.host.name.clone(), source })
    }
}
