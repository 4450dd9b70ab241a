//! `health`: every member is asked, and all of them have to be healthy.

use super::{ControllerTask, Decision, Fleet, Needs, Overview, SeenIn, TaskError};
use crate::error::ExitStatus;
use crate::etcd::health::Verdict;
use crate::inventory::Inventory;
use serde::Deserialize;

/// Ask every member for its health.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {}

impl ControllerTask for Health {
    fn needs(&self, _inventory: &Inventory) -> Needs {
        Needs { cluster: true, hashes: true, ..Needs::default() }
    }

    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        let Some(cluster) = &overview.cluster else { return Ok(Decision::Nothing) };
        if cluster.verdict == Verdict::Healthy {
            let mut hashes = overview.hashes.values();
            let first = hashes.next();
            if hashes.any(|hash| Some(hash) != first) {
                let each = overview.hashes.iter().map(|(host, hash)| format!("{host} {hash:08x}"));
                return Err(TaskError::Diverged(each.collect::<Vec<_>>().join(", ")));
            }
            return Ok(Decision::Nothing);
        }
        let ailing = cluster.members.iter().filter(|member| member.ailment.is_some());
        let lines: Vec<String> = ailing.map(|member| member.line()).chain([cluster.summary()]).collect();
        Ok(Decision::NotYet { reason: lines.join("\n    "), seen_in: SeenIn::Cluster, exit: ExitStatus::Unhealthy })
    }

    async fn apply(&self, _overview: &Overview<'_>, _fleet: &Fleet) -> Result<(), TaskError> {
        Ok(())
    }
}
