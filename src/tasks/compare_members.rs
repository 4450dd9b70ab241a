//! `compare_members`: before another version runs on the data, all members have to hold the same.

use super::version_change::pending;
use super::{ControllerTask, Decision, Fleet, Needs, Overview, SeenIn, TaskError};
use crate::error::ExitStatus;
use crate::etcd::compare::unsound;
use crate::etcd::problem::Problem;
use crate::inventory::Inventory;
use serde::Deserialize;

/// If the version is about to change, look whether all members hold the same data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareMembers {}

impl ControllerTask for CompareMembers {
    fn needs(&self, _inventory: &Inventory) -> Needs {
        Needs { living: true, comparison: true, ..Needs::default() }
    }

    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        let (Some(_), Some(cluster)) = (pending(overview), &overview.cluster) else { return Ok(Decision::Nothing) };
        let mut problems = unsound(cluster);
        if let Some(compared) = &overview.comparison {
            if let Some(hashes) = compared.differing() {
                return Err(TaskError::Diverged(hashes));
            }
            problems.extend(compared.behind.iter().map(|(host, own)| {
                format!(
                    "member `{host}` stays at revision {own}, and others are at {}: it lags, or holds other data",
                    compared.revision
                )
            }));
        }
        if !problems.is_empty() {
            return Err(TaskError::Unsound(problems));
        }
        // A change of members that was just made is on its way to all of them.
        Ok(match cluster.problems.iter().find(|problem| **problem == Problem::Lists) {
            Some(lists) => {
                Decision::NotYet { reason: lists.to_string(), seen_in: SeenIn::Cluster, exit: ExitStatus::Unhealthy }
            }
            None => Decision::Nothing,
        })
    }

    fn warnings(&self, overview: &Overview<'_>) -> Vec<String> {
        overview.comparison.iter().flat_map(|compared| compared.unknown.clone()).collect()
    }

    async fn apply(&self, _overview: &Overview<'_>, _fleet: &Fleet) -> Result<(), TaskError> {
        Ok(())
    }
}
