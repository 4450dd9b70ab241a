//! `certificates`: the CA and the leaves are made on the controller.

use super::{Change, ControllerTask, Decision, Fleet, Needs, Overview, TaskError};
use crate::inventory::Inventory;
use serde::Deserialize;

/// Make the certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {}

impl ControllerTask for Certificates {
    fn needs(&self, _inventory: &Inventory) -> Needs {
        Needs { pki: true, ..Needs::default() }
    }

    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        Ok(Decision::changes(overview.issue.iter().map(Change::new).collect()))
    }

    fn warnings(&self, overview: &Overview<'_>) -> Vec<String> {
        overview.pki_warnings.clone()
    }

    async fn apply(&self, _overview: &Overview<'_>, fleet: &Fleet) -> Result<(), TaskError> {
        let pki = fleet.pki().await?;
        let written = tokio::task::spawn_blocking(move || pki.persist()).await;
        written.map_err(|_| TaskError::Interrupted)??;
        // What is used from here on is what is in the folder.
        fleet.forget_pki().await;
        Ok(())
    }
}
