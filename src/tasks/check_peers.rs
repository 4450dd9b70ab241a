//! `check_peers`: every host reaches every other's peer port, before a member is started.

use super::{ControllerTask, Decision, Fleet, Needs, Overview, Reaching, TaskError};
use crate::inventory::Inventory;
use serde::Deserialize;

/// Look whether every host reaches every other's peer port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckPeers {}

impl ControllerTask for CheckPeers {
    fn needs(&self, _inventory: &Inventory) -> Needs {
        Needs { reach: Reaching::Tried, ..Needs::default() }
    }

    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        match &overview.reach {
            Some(reach) if !reach.failures.is_empty() => Err(TaskError::Unreachable(reach.failures.clone())),
            _ => Ok(Decision::Nothing),
        }
    }

    fn warnings(&self, overview: &Overview<'_>) -> Vec<String> {
        overview.reach.as_ref().map_or_else(Vec::new, |reach| reach.unknown.clone())
    }

    async fn apply(&self, _overview: &Overview<'_>, _fleet: &Fleet) -> Result<(), TaskError> {
        Ok(())
    }
}
