//! `fetch_release`: the release archives for the hosts' architectures, fetched and checked on the
//! controller before any host is changed.

use super::{Change, ControllerTask, Decision, Fleet, Needs, Overview, TaskError};
use crate::inventory::Inventory;
use serde::Deserialize;

/// Fetch and check the release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchRelease {}

impl ControllerTask for FetchRelease {
    fn needs(&self, _inventory: &Inventory) -> Needs {
        // The cache on the controller is no host: plans look into it, and fill it, too.
        Needs { release: true, ..Needs::default() }
    }

    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        let version = &overview.inventory.version;
        let missing = overview.missing_releases.iter();
        Ok(Decision::changes(missing.map(|arch| Change::new(format!("fetch etcd {version} for {arch}"))).collect()))
    }

    async fn apply(&self, overview: &Overview<'_>, fleet: &Fleet) -> Result<(), TaskError> {
        for arch in &overview.missing_releases {
            fleet.archive(*arch).await?;
        }
        Ok(())
    }
}
