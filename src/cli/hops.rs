//! The way to another version of etcd: the playbook once for every version in between.

use super::options::release_version;
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::gate::gate;
use crate::etcd::{options, upgrade};
use crate::inventory::{Finding, Inventory};
use crate::plan::{Engine, PlanError, Run};
use crate::playbook::Playbook;
use crate::report::{Event, Outcome};
use crate::tasks::Fleet;
use clap::Args;
use semver::Version;
use std::sync::Arc;
use tokio::sync::watch;

/// Flags about the way to another version.
#[derive(Debug, Clone, Args)]
pub(super) struct Way {
    /// A release to stop over at on the way to a later minor version, instead of the newest known patch;
    /// once for each minor version in between.
    #[arg(long, value_name = "VERSION", value_parser = release_version)]
    via: Vec<Version>,
    /// Refuse to go to a version that takes a stopover.
    #[arg(long)]
    one_pass: bool,
}

/// The stopovers of the command line do not fit the wanted version.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(super) struct NoStopover(Finding);

impl Explain for NoStopover {
    fn hint(&self) -> Option<String> {
        self.0.help.clone()
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBegun {
    #[error(transparent)]
    Playbook(PlanError),
    /// There is no way to the wanted version.
    #[error("etcd {0} is not deployed")]
    NoWay(Version),
}

impl Explain for NotBegun {
    fn exit(&self) -> ExitStatus {
        match self {
            Self::Playbook(error) => error.exit(),
            Self::NoWay(_) => ExitStatus::Refused,
        }
    }
}

impl Way {
    /// Checks the flags before anything is known of the members.
    pub fn check(&self, inventory: &Inventory) -> Result<(), Error> {
        Ok(upgrade::check_stopovers(&self.via, &inventory.version).map_err(NoStopover)?)
    }

    /// From what the members run to what the inventory wants.
    async fn route(&self, fleet: &Fleet) -> Result<upgrade::Route, Finding> {
        let fixed = fleet.inventory.release.fixed_by().map(upgrade::OnePass::FixedRelease);
        let one_pass = if self.one_pass { Some(upgrade::OnePass::Asked) } else { fixed };
        let choice = upgrade::Choice { via: self.via.clone(), one_pass };
        fleet.look_around().await;
        upgrade::route(&fleet.versions().await, &fleet.inventory.version, &choice)
    }
}

/// Runs of one playbook, until the members run the wanted version.
pub(super) struct Hops<'a> {
    pub playbook: &'a Playbook,
    pub way: Option<&'a Way>,
    pub dry: bool,
    pub forks: usize,
    pub stop: watch::Receiver<bool>,
}

impl Hops<'_> {
    /// Runs the playbook once per hop, a dry run for the first one only; a hop that fails is the last.
    /// Gives back the hosts as they were reached, and beside the last run the versions of all hops.
    pub async fn run(self, mut fleet: Fleet) -> (Fleet, Result<(Run, Vec<Version>), NotBegun>) {
        let wanted = fleet.inventory.clone();
        let route = match self.way {
            Some(way) => way.route(&fleet).await,
            None => Ok(upgrade::Route { hops: vec![wanted.version.clone()], warnings: Vec::new() }),
        };
        // All inventories before anything is touched: one that cannot be is no surprise half-way.
        let planned = route.and_then(|route| {
            let hops = route.hops.iter().map(|version| at(&wanted, version)).collect::<Result<Vec<_>, _>>()?;
            Ok((route, hops))
        });
        let (route, hops) = match planned {
            Ok(planned) => planned,
            Err(finding) => {
                refuse(&fleet, finding);
                return (fleet, Err(NotBegun::NoWay(wanted.version.clone())));
            }
        };
        for message in route.warnings {
            fleet.reporter.emit(Event::Warning { host: None, message });
        }
        let all = hops.len();
        let mut run = Run::default();
        for (hop, (inventory, warnings)) in (1..).zip(hops) {
            if all > 1 {
                let version = inventory.version.to_string();
                fleet.reporter.emit(Event::HopStarted { hop, hops: all, version });
                for message in warnings {
                    fleet.reporter.emit(Event::Warning { host: None, message });
                }
                fleet = fleet.wanting(inventory);
            }
            let Self { playbook, dry, forks, .. } = self;
            let engine = Engine { world: &fleet, gate, playbook, dry, forks, stop: self.stop.clone() };
            let mut done = match engine.run().await {
                Ok(done) => done,
                Err(error) => return (fleet, Err(NotBegun::Playbook(error))),
            };
            done.changes += run.changes;
            run.recap.add(&done.recap);
            done.recap = run.recap;
            run = done;
            if dry || !run.failures.is_empty() || run.stopped_in.is_some() {
                break;
            }
        }
        (fleet, Ok((run, route.hops)))
    }
}

/// The inventory with another version, and what has to be known of its settings there.
fn at(wanted: &Arc<Inventory>, version: &Version) -> Result<(Arc<Inventory>, Vec<String>), Finding> {
    if wanted.version == *version {
        return Ok((wanted.clone(), Vec::new()));
    }
    let mut inventory = Inventory::clone(wanted);
    let mut warnings = Vec::new();
    for host in &mut inventory.hosts {
        let (settings, said) = options::for_stopover(version, &host.settings)?;
        host.settings = settings;
        for message in said {
            if !warnings.contains(&message) {
                warnings.push(message);
            }
        }
    }
    inventory.version = version.clone();
    Ok((Arc::new(inventory), warnings))
}

/// Tells why there is no way, and what to do.
fn refuse(fleet: &Fleet, finding: Finding) {
    fleet.reporter.emit(Event::TaskFinished {
        host: "controller".to_owned(),
        task: "version".to_owned(),
        outcome: Outcome::Failed { error: finding.message, hint: finding.help },
        seconds: 0.0,
    });
}
