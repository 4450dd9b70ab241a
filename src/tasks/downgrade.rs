//! `downgrade`: before members run an earlier minor version, the cluster agrees on it.

use super::{Change, ControllerTask, Decision, Fleet, Needs, Overview, SeenIn, TaskError};
use crate::error::ExitStatus;
use crate::etcd::downgrade::{Due, due, settled};
use crate::etcd::upgrade::unreachable;
use crate::inventory::Inventory;
use serde::Deserialize;

/// If members are to run an earlier minor version, have the cluster agree on that first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downgrade {}

fn decision(due: Due, overview: &Overview<'_>) -> Decision {
    let wanted = &overview.inventory.version;
    match due {
        Due::Nothing => Decision::Nothing,
        Due::Enable { from } => Decision::Changes(vec![Change::new(format!(
            "have the cluster agree on a downgrade from etcd {}.{} to {}.{}",
            from.major, from.minor, wanted.major, wanted.minor
        ))]),
        Due::Cancel { target } => Decision::Changes(vec![Change::new(format!(
            "end the downgrade to etcd {}.{} that the cluster has agreed on",
            target.major, target.minor
        ))]),
        Due::Wait(reason) => Decision::NotYet { reason, seen_in: SeenIn::Cluster, exit: ExitStatus::Unhealthy },
    }
}

fn now_due(overview: &Overview<'_>) -> Due {
    let Some(cluster) = overview.cluster.as_deref() else { return Due::Nothing };
    due(cluster, overview.cluster_version.as_ref(), &overview.inventory.version)
}

impl ControllerTask for Downgrade {
    fn needs(&self, _inventory: &Inventory) -> Needs {
        Needs { living: true, agreed_if_later: true, ..Needs::default() }
    }

    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        let due = now_due(overview);
        if let Due::Enable { from } = &due
            && let Some(why) = unreachable(from, &overview.inventory.version, &[], overview.downgrade)
        {
            return Err(TaskError::Unfit { problems: vec![why.message], hint: why.help, refused: true });
        }
        let ill = overview.cluster.iter().flat_map(|cluster| &cluster.members).find(|member| member.ailment.is_some());
        if let (Due::Enable { .. }, Some(ill)) = (&due, ill) {
            // No member could be touched after it, and the cluster would be left between two versions.
            let reason = format!("a downgrade is begun while all members are well; {}", ill.line());
            return Ok(Decision::NotYet { reason, seen_in: SeenIn::Cluster, exit: ExitStatus::Unhealthy });
        }
        Ok(decision(due, overview))
    }

    fn verify(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        // etcd has acknowledged it; that a member still tells of it, or does not tell at all, is no matter.
        let settled = match now_due(overview) {
            Due::Cancel { .. } => Due::Nothing,
            _ => overview
                .cluster
                .as_deref()
                .map_or(Due::Nothing, |cluster| settled(cluster, &overview.inventory.version)),
        };
        Ok(decision(settled, overview))
    }

    async fn apply(&self, overview: &Overview<'_>, fleet: &Fleet) -> Result<(), TaskError> {
        let due = now_due(overview);
        let well = overview.cluster.iter().flat_map(|cluster| &cluster.members).find(|member| member.ailment.is_none());
        let host = well.and_then(|well| overview.inventory.hosts.iter().find(|host| host.name == well.look.host));
        let Some(host) = host else {
            return Err(TaskError::Unsound(vec![
                "no member is healthy that could be asked for a downgrade".to_owned(),
            ]));
        };
        fleet.connection(host).await?.check_lock().await?;
        let member = fleet.member(host).await?;
        let done = match due {
            Due::Enable { .. } => member.enable_downgrade(&overview.inventory.version).await,
            Due::Cancel { .. } => member.cancel_downgrade().await,
            Due::Nothing | Due::Wait(_) => Ok(()),
        };
        done.map_err(|source| TaskError::Member { member: host.name.clone(), source })
    }
}
