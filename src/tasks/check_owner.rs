//! `check_owner`: before anything is deleted, all of it has to be this cluster's.

use super::{ControllerTask, Decision, Fleet, Needs, Overview, TaskError};
use crate::etcd::bootstrap::{Found, of_others};
use crate::etcd::config::{MARK, Membership};
use crate::inventory::Inventory;
use crate::tasks::fleet::{found, places};
use serde::Deserialize;

/// Look whether all that is to be deleted is this cluster's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckOwner {
    /// The data is to be deleted, too.
    #[serde(default)]
    pub data: bool,
}

impl ControllerTask for CheckOwner {
    fn needs(&self, _inventory: &Inventory) -> Needs {
        // All hosts are looked at for that.
        Needs { living: true, ..Needs::default() }
    }

    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        let inventory = overview.inventory;
        let hosts = inventory.hosts.iter().filter_map(|host| Some((host, overview.seen.get(host.name.as_str())?)));
        let mut problems = Vec::new();
        let mut all: Vec<Found> = Vec::new();
        for (host, seen) in hosts {
            all.push(found(host, seen));
            let places = places(host);
            let file = places.unit_file();
            let reads = format!("EnvironmentFile={}", places.environment_file());
            let name = &host.name;
            match &seen.unit_text {
                Some(text) if !text.starts_with(MARK) => {
                    problems.push(format!("host `{name}`: `{file}` was not written by etcd-ha"));
                }
                Some(text) if !text.contains(&reads) => problems.push(format!(
                    "host `{name}`: `{file}` belongs to a member with another `paths.config` than `{}`",
                    host.paths.config
                )),
                _ if seen.unit.runs() && seen.unit.fragment != file => {
                    problems.push(format!("host `{name}`: another etcd runs there, from `{}`", seen.unit.fragment));
                }
                Some(_) | None => {}
            }
        }
        let fresh = Membership::bootstrap(inventory, String::new());
        problems.extend(of_others(&all, &inventory.cluster, &fresh, self.data).iter().map(ToString::to_string));
        if problems.is_empty() {
            return Ok(Decision::Nothing);
        }
        let hint = "nothing was touched: only what etcd-ha set up for this cluster is ever deleted. Is it the right inventory? \
                    What is not this cluster's has to be moved aside by hand";
        Err(TaskError::Unfit { problems, hint: Some(hint.to_owned()), refused: true })
    }

    async fn apply(&self, _overview: &Overview<'_>, _fleet: &Fleet) -> Result<(), TaskError> {
        Ok(())
    }
}
