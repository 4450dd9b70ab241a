//! The way to another version of etcd: the playbook once for every version in between.

use super::options::release_version;
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::gate::gate;
use crate::etcd::{options, upgrade};
use crate::host::HostError;
use crate::inventory::{Finding, Inventory};
use crate::plan::{Ask, Engine, PlanError, Run};
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
    /// Let the members go down a minor version, by etcd's own downgrade; from 3.6 on.
    #[arg(long)]
    pub allow_downgrade: bool,
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
    /// Somebody was asked, and did not type the cluster's name.
    #[error("that is not the cluster's name")]
    Declined,
    /// Somebody was asked, and pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Another run is at work, or a host cannot be locked.
    #[error(transparent)]
    NotLocked(Arc<HostError>),
    /// There is no way to the wanted version.
    #[error("etcd {0} is not deployed")]
    NoWay(Version),
}

impl Explain for NotBegun {
    fn exit(&self) -> ExitStatus {
        match self {
            Self::Playbook(error) => error.exit(),
            Self::Declined => ExitStatus::Usage,
            Self::Interrupted => ExitStatus::Interrupted,
            Self::NotLocked(error) => error.exit(),
            Self::NoWay(_) => ExitStatus::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Playbook(error) => error.hint(),
            Self::NotLocked(error) => error.hint(),
            Self::Declined | Self::Interrupted | Self::NoWay(_) => None,
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
        let choice = upgrade::Choice { via: self.via.clone(), one_pass, downgrade: self.allow_downgrade };
        fleet.look_around().await;
        upgrade::route(&fleet.versions().await, &fleet.inventory.version, &choice)
    }
}

/// How a run went, over one hop or several.
pub(super) struct Passed {
    /// The last run; its changes and its recap are those of all.
    pub run: Run,
    /// The versions of all hops.
    pub hops: Vec<Version>,
    /// How many were begun.
    pub begun: usize,
}

impl Passed {
    /// The hop that was begun last, if there is more than one.
    pub fn hop(&self) -> Option<String> {
        let version = self.hops.get(self.begun.checked_sub(1)?)?;
        let all = self.hops.len();
        (all > 1).then(|| format!("hop {} of {all} (etcd {version})", self.begun))
    }

    /// Whether it is a stopover's release that could not be had.
    pub fn lacks_a_stopover(&self) -> bool {
        self.begun < self.hops.len() && self.run.failures.iter().any(|failure| failure.task == "fetch_release")
    }
}

/// Runs of one playbook, until the members run the wanted version.
pub(super) struct Hops<'a> {
    pub playbook: &'a Playbook,
    pub way: Option<&'a Way>,
    pub dry: bool,
    pub forks: usize,
    pub limit: &'a [String],
    pub ask: Option<&'a Ask>,
    pub stop: watch::Receiver<bool>,
}

impl Hops<'_> {
    /// Runs the playbook once per hop, a dry run for the first one only; a hop that fails is the last.
    /// Gives back the hosts as they were reached.
    pub async fn run(self, mut fleet: Arc<Fleet>) -> (Arc<Fleet>, Result<Passed, NotBegun>) {
        let wanted = fleet.inventory.clone();
        let route = match self.way {
            Some(way) => way.route(&fleet).await,
            None => Ok(upgrade::Route { hops: vec![wanted.version.clone()], warnings: Vec::new() }),
        };
        // All inventories before anything is touched: one that cannot be is no surprise half-way.
        let planned = route.and_then(|route| {
            suits_limit(&route.hops, &wanted, self.limit)?;
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
        let mut passed = Passed { run: Run::default(), hops: route.hops, begun: 0 };
        for (hop, (inventory, warnings)) in (1..).zip(hops) {
            if all > 1 {
                let version = inventory.version.to_string();
                fleet.reporter.emit(Event::HopStarted { hop, hops: all, version });
                for message in warnings {
                    fleet.reporter.emit(Event::Warning { host: None, message });
                }
                fleet = Arc::new(fleet.wanting(inventory));
            }
            let Self { playbook, dry, forks, .. } = self;
            let engine = Engine {
                world: &*fleet,
                gate,
                playbook,
                dry,
                forks,
                limit: self.limit,
                ask: self.ask,
                stop: self.stop.clone(),
            };
            let mut done = match engine.run().await {
                Ok(done) => done,
                Err(error) => return (fleet, Err(NotBegun::Playbook(error))),
            };
            done.changes += passed.run.changes;
            passed.run.recap.add(&done.recap);
            done.recap = passed.run.recap;
            (passed.run, passed.begun) = (done, hop);
            if dry || !passed.run.failures.is_empty() || passed.run.stopped_in.is_some() {
                break;
            }
        }
        (fleet, Ok(passed))
    }
}

/// A hop begins once all members are through the one before, so that none may be left out where there is more than one.
fn suits_limit(hops: &[Version], inventory: &Inventory, limit: &[String]) -> Result<(), Finding> {
    let left_out = |name: &&str| !limit.is_empty() && limit.iter().all(|other| other != name);
    let left_out: Vec<&str> = inventory.hosts.iter().map(|host| host.name.as_str()).filter(left_out).collect();
    let ([first, _, ..], [_, ..]) = (hops, &left_out[..]) else { return Ok(()) };
    let names: Vec<String> = hops.iter().map(ToString::to_string).collect();
    let mut finding = Finding::new(format!(
        "{} hops (etcd {}) take all members, each of them before the next, and `--limit` leaves out {}",
        hops.len(),
        names.join(", then "),
        left_out.join(", ")
    ));
    finding.help =
        Some(format!("leave `--limit` out, or begin with the first stopover alone: `etcd-ha upgrade --to {first}`"));
    Err(finding)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::inventory;
    use crate::plan::Failure;
    use crate::tasks::TaskError;

    fn wanted(settings: &str) -> Arc<Inventory> {
        Arc::new(inventory(&format!(
            "cluster: prod\netcd: {{ version: 3.7.1, settings: {{ {settings} }} }}\nhosts:\n  \
             - {{ name: node01, address: 10.19.0.55 }}\n  \
             - {{ name: node02, address: 10.19.0.56, etcd: {{ settings: {{ max-learners: 3 }} }} }}\n"
        )))
    }

    #[test]
    fn the_inventory_of_a_stopover() {
        let wanted = wanted("corrupt-check-time: 1h, max-learners: 2");
        let (same, said) = at(&wanted, &Version::new(3, 7, 1)).unwrap();
        assert!(Arc::ptr_eq(&same, &wanted) && said.is_empty());

        let (older, said) = at(&wanted, &Version::new(3, 5, 33)).unwrap();
        assert_eq!(older.version, Version::new(3, 5, 33));
        for host in &older.hosts {
            let settings: Vec<_> = host.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(settings, ["experimental-corrupt-check-time=1h"], "{}", host.name);
        }
        // Once, though it is so on both hosts.
        assert_eq!(said.len(), 2, "{said:?}");
        let unchanged = Inventory { version: wanted.version.clone(), hosts: wanted.hosts.clone(), ..(*older).clone() };
        assert_eq!(unchanged, *wanted);
    }

    #[test]
    fn several_hops_are_refused_to_a_part_of_the_members() {
        let wanted = wanted("max-learners: 2");
        let hops = [Version::new(3, 6, 14), Version::new(3, 7, 1)];
        let limit = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        for (hops, names) in [(&hops[..], &[][..]), (&hops[..], &["node02", "node01"]), (&hops[..1], &["node01"])] {
            assert_eq!(suits_limit(hops, &wanted, &limit(names)), Ok(()), "{names:?}");
        }
        let finding = suits_limit(&hops, &wanted, &limit(&["node01"])).unwrap_err();
        let words = "2 hops (etcd 3.6.14, then 3.7.1) take all members, each of them before the next, and `--limit` leaves out node02";
        let help = "leave `--limit` out, or begin with the first stopover alone: `etcd-ha upgrade --to 3.6.14`";
        assert_eq!((finding.message.as_str(), finding.help.as_deref()), (words, Some(help)));
    }

    #[test]
    fn what_is_said_of_a_hop() {
        let hops = [Version::new(3, 5, 33), Version::new(3, 6, 14)];
        let failed = |task: &str| Failure {
            host: "controller".to_owned(),
            task: task.to_owned(),
            source: TaskError::Interrupted,
        };
        for (hops, begun, task, hop, lacks) in [
            (&hops[..], 1, "fetch_release", Some("hop 1 of 2 (etcd 3.5.33)"), true),
            (&hops[..], 1, "health", Some("hop 1 of 2 (etcd 3.5.33)"), false),
            (&hops[..], 2, "fetch_release", Some("hop 2 of 2 (etcd 3.6.14)"), false),
            (&hops[..1], 1, "fetch_release", None, false),
        ] {
            let run = Run { failures: vec![failed(task)], ..Run::default() };
            let passed = Passed { run, hops: hops.to_vec(), begun };
            assert_eq!((passed.hop().as_deref(), passed.lacks_a_stopover()), (hop, lacks), "{begun} {task}");
        }
    }
}
