//! `check_owner`: before anything is deleted, all of it has to be this cluster's.

use super::{ControllerTask, Decision, Fleet, Needs, Overview, TaskError};
use crate::etcd::bootstrap::{Found, of_others};
use crate::etcd::config::{MARK, Membership};
use crate::host::Observation;
use crate::inventory::{Host, Inventory};
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
        let hosts = inventory.hosts.iter().filter_map(|host| Some((host, &**overview.seen.get(host.name.as_str())?)));
        let problems = objections(inventory, hosts, self.data);
        if problems.is_empty() { Ok(Decision::Nothing) } else { Err(refused(problems)) }
    }

    async fn apply(&self, _overview: &Overview<'_>, _fleet: &Fleet) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Why something that is there is not the cluster's of the inventory, a sentence each; with `data`, the data dirs are
/// looked at, too.
pub(super) fn objections<'a>(
    inventory: &Inventory,
    hosts: impl Iterator<Item = (&'a Host, &'a Observation)>,
    data: bool,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut all: Vec<Found> = Vec::new();
    for (host, seen) in hosts {
        all.push(found(host, seen));
        let ours = |text: &Option<String>| text.as_ref().is_some_and(|text| text.starts_with(MARK));
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
            // What was begun by a run of ours leaves no such state: the unit goes before the record.
            Some(_) if !ours(&seen.environment) && (seen.unit.runs() || seen.data.is_some()) => {
                let record = places.environment_file();
                let why = format!("`{record}` is not there or was not written by etcd-ha");
                problems.push(format!("host `{name}`: nothing says whose its member is, since {why}"));
            }
            _ if seen.unit.runs() && seen.unit.fragment != file => {
                problems.push(format!("host `{name}`: another etcd runs there, from `{}`", seen.unit.fragment));
            }
            Some(_) | None => {}
        }
    }
    let fresh = Membership::bootstrap(inventory, String::new());
    problems.extend(of_others(&all, &inventory.cluster, &fresh, data).iter().map(ToString::to_string));
    problems
}

/// Nothing is deleted.
pub(super) fn refused(problems: Vec<String>) -> TaskError {
    let hint = "nothing was touched: only what etcd-ha set up for this cluster is ever deleted. Is it the right \
                    inventory? What is not this cluster's has to be moved aside by hand";
    TaskError::Unfit { problems, hint: Some(hint.to_owned()), refused: true }
}
