//! `certificates`: the CA and the leaves are made on the controller.

use super::{Change, ControllerTask, Decision, Fleet, Needs, Overview, TaskError, Wanted};
use crate::host::Observation;
use crate::inventory::{Host, Inventory};
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
        for host in &overview.inventory.hosts {
            if let Some(seen) = overview.seen.get(host.name.as_str()) {
                same_ca(host, seen, &overview.ca)?;
            }
        }
        Ok(Decision::changes(overview.issue.iter().map(Change::new).collect()))
    }

    fn warnings(&self, overview: &Overview<'_>) -> Vec<String> {
        overview.pki_warnings.clone()
    }

    async fn apply(&self, _overview: &Overview<'_>, fleet: &Fleet) -> Result<(), TaskError> {
        let pki = fleet.issued_pki().await?;
        let written = tokio::task::spawn_blocking(move || pki.persist()).await;
        written.map_err(|_| TaskError::Interrupted)??;
        // What is used from here on is what is in the folder.
        fleet.forget_pki().await;
        Ok(())
    }
}

/// Refuses a CA that is not the one that the host's member trusts.
///
/// Members that trust different CAs refuse each other: put in force one at a time, another CA would
/// cost the cluster its quorum without a word from any health check.
pub(crate) fn same_ca(host: &Host, seen: &Observation, ca_pem: &str) -> Result<(), TaskError> {
    let path = format!("{}/ssl/ca.pem", host.paths.config);
    let trusts_other = seen.files.contains_key(&path) && !Wanted::text_at(&path, ca_pem, seen);
    if seen.data.is_none() || !trusts_other {
        return Ok(());
    }
    let hint = "put back the PKI folder that the cluster was made with (`pki.dir`, `pki.ca_cert`); to exchange the CA of a \
                living cluster takes a rotation in three passes, which a deploy does not do";
    Err(TaskError::Unfit {
        problems: vec![format!("the member on `{}` trusts another CA than the one in the PKI folder", host.name)],
        hint: Some(hint.to_owned()),
        refused: true,
    })
}
