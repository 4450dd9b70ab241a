//! Running a playbook on an inventory's hosts, and telling of it: what all such subcommands share.

use super::become_password::BecomePassword;
use super::ca_passphrase::CaPassphrase;
use super::giving_up::{GivingUp, consent};
use super::hops::{Hops, NotBegun, Passed, Way};
use super::last_line::{exit_of, message};
use super::login::{LoginPassword, connector};
use super::options::{Binaries, FORKS, OutputFormat, Safeguards, Target, Waits, bandwidth, fleet_options};
use super::pause::Pause;
use super::probe::Probe;
use super::timings::Timings;
use super::who::{run_id, who};
use super::{Context, descriptors, interrupt, render};
use crate::error::{self, Error, ExitStatus, Explain};
use crate::host::RunName;
use crate::inventory::{Inventory, nearest, quoted};
use crate::plan::Failure;
use crate::playbook::{Playbook, embedded};
use crate::report::{Activity, Color, Event, HostRecap};
use crate::ssh::Bandwidth;
use crate::tasks::{Fleet, FleetOptions, SnapshotPlace};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Flags of every operation.
#[derive(Debug, Args)]
pub(super) struct Operation {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    become_password: BecomePassword,
    #[command(flatten)]
    login: LoginPassword,
    #[command(flatten)]
    waits: Waits,
    /// How many hosts are connected to and worked on at once.
    #[arg(long, value_name = "N", default_value_t = FORKS, value_parser = clap::value_parser!(u16).range(1..))]
    forks: u16,
    /// Act upon these hosts only; the others are looked at where that is needed.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub limit: Vec<String>,
}

/// Flags of operations that do something.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct Acting {
    /// Write to the cluster all the while, and say in the end what a client noticed.
    ///
    /// A key below `_etcd-ha/probe/` is written every 20 ms through all members in turn, and once more
    /// through another member if that fails. The key is deleted in the end; after a run that was killed
    /// it goes away within a minute or so.
    #[arg(long)]
    pub probe: bool,
    /// Ask on the terminal before the next member of a rolling play is touched.
    #[arg(long)]
    pub pause: bool,
}

/// Flags of operations that bring files to the hosts.
#[derive(Debug, Args)]
pub(super) struct Supplies {
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    safeguards: Safeguards,
    #[command(flatten)]
    ca_passphrase: CaPassphrase,
    /// Send files to all hosts together no faster than this: bytes a second, such as `20MiB` or `500KiB`.
    #[arg(long, value_name = "RATE", value_parser = bandwidth)]
    bandwidth: Option<Bandwidth>,
}

/// The playbook in `file`, or else the embedded one of this name.
pub(super) fn own_or(name: &str, file: Option<PathBuf>) -> Result<Playbook, Error> {
    Ok(match file {
        Some(file) => Playbook::load(&file)?,
        None => Playbook::parse(&format!("playbooks/{name}.yaml"), embedded(name).unwrap_or_default())?,
    })
}

/// How a playbook is run.
pub(super) struct How<'a> {
    pub command: &'static str,
    pub dry: bool,
    pub detailed: bool,
    pub acting: Acting,
    /// What is brought to the hosts, where something is.
    pub supplies: Option<Supplies>,
    /// What is wanted before a cluster is given up, if that is what is done.
    pub giving_up: Option<GivingUp>,
    /// How the members go to another version; without it the playbook is run once, whatever they run.
    pub way: Option<Way>,
    /// Whether the members are to be up in the end.
    pub up: bool,
    /// What is done once all went well, and the words for it, if it did anything.
    pub at_the_end: &'a dyn Fn(&Ending) -> Result<Option<String>, Error>,
}

/// How a run that went well has ended.
pub(super) struct Ending {
    /// Whether every member is healthy and runs the wanted version.
    pub everywhere: bool,
    /// Whether those do that `--limit` names, if it names any.
    pub within_limit: bool,
    /// How many changes were made.
    pub changes: usize,
}

/// Nothing is left to be done.
pub(super) fn nothing_more(_: &Ending) -> Result<Option<String>, Error> {
    Ok(None)
}

/// The runtime could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start")]
pub(super) struct CannotStart(#[source] pub(super) std::io::Error);

impl Explain for CannotStart {}

/// A host that `--limit` names is not in the inventory.
#[derive(Debug, thiserror::Error)]
#[error("there is no host {} in the inventory", quoted(.0))]
pub(super) struct NoSuchHost(String, Option<String>);

impl Explain for NoSuchHost {
    fn hint(&self) -> Option<String> {
        self.1.as_ref().map(|near| format!("did you mean `{near}`?"))
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

/// Whether every host that is named is in the inventory.
pub(super) fn check_hosts(inventory: &Inventory, hosts: &[String]) -> Result<(), Error> {
    let names = || inventory.hosts.iter().map(|host| host.name.as_str());
    match hosts.iter().find(|name| names().all(|other| other != name.as_str())) {
        Some(name) => Err(NoSuchHost(name.clone(), nearest(name, names()).map(str::to_owned)).into()),
        None => Ok(()),
    }
}

impl Operation {
    /// Runs a playbook on an inventory, and tells of it.
    pub fn run(
        self,
        context: &Context,
        playbook: &Playbook,
        mut inventory: Inventory,
        how: How<'_>,
    ) -> Result<ExitStatus, Error> {
        let begun = Instant::now();
        check_hosts(&inventory, &self.limit)?;
        descriptors::make_room(inventory.hosts.len())?;
        if let Some(way) = &how.way {
            way.check(&inventory)?;
        }
        let become_password = self.become_password.read(context)?;
        let password = self.login.read(context)?;
        let pause = if how.acting.pause { Some(Pause::new(context)?) } else { None };
        let (mut snapshots, mut bandwidth) = (SnapshotPlace::Unwanted, None);
        if let Some(giving_up) = &how.giving_up {
            snapshots = giving_up.snapshots.clone();
        }
        if let Some(supplies) = &how.supplies {
            supplies.binaries.lay_over(&mut inventory);
            snapshots = supplies.safeguards.snapshots(&inventory.cluster);
            bandwidth.clone_from(&supplies.bandwidth);
        }
        let inventory = Arc::new(inventory);
        let activity = Activity::default();
        let remember = how.acting.probe.then(|| activity.clone());
        let by = who();
        let reporter = context.reporter(how.command, &inventory.cluster, remember, pause.is_some());
        reporter.emit(Event::RunStarted {
            command: how.command.to_owned(),
            cluster: inventory.cluster.clone(),
            hosts: inventory.hosts.iter().map(|host| host.name.clone()).collect(),
            by: Some(by.clone()),
        });
        for message in &inventory.warnings {
            reporter.emit(Event::Warning { host: None, message: message.clone() });
        }
        let timings = Timings::new(context, &reporter);
        let downgrade = how.way.as_ref().is_some_and(|way| way.allow_downgrade);
        let (connector, asker) = connector(context, password, &reporter);
        let run = RunName { id: run_id(), by, command: how.command.to_owned() };
        let keeper = how.supplies.as_ref().map(|supplies| supplies.ca_passphrase.clone());
        let options = FleetOptions {
            direct: self.waits.direct,
            health_timeout: Duration::from_secs(self.waits.health_timeout),
            snapshots,
            downgrade,
            forks: self.forks.into(),
            run: Some(run),
            bandwidth,
            keeper: keeper.map(|flags| flags.keeper(asker.clone(), reporter.clone())),
            ..fleet_options(connector, become_password)
        };
        let fleet = Arc::new(Fleet::new(inventory.clone(), reporter.clone(), options));
        let ended = interrupt::run(Some(reporter.clone()), asker.as_deref(), &timings, |stop| async {
            let stop = stop;
            let ask = pause.map(|pause| pause.ask(reporter.clone(), stop.clone()));
            let hops = |dry| Hops {
                playbook,
                way: how.way.as_ref(),
                dry,
                forks: self.forks.into(),
                limit: &self.limit,
                ask: ask.as_deref(),
                stop: stop.clone(),
            };
            let looked = match &how.giving_up {
                Some(giving_up) if !how.dry => {
                    let (_, looked) = hops(true).run(fleet.clone()).await;
                    let consented = match &looked {
                        Ok(Passed { run, .. }) if !run.plan.hosts().iter().all(|host| *host == "controller") => {
                            consent(context, giving_up, run, &inventory, &reporter, stop.clone()).await
                        }
                        // It was refused, or nothing is left to be done.
                        Ok(_) | Err(_) => Ok(false),
                    };
                    match consented {
                        Ok(true) => {
                            // Whatever was seen before somebody had to think may have changed since.
                            fleet.refresh().await;
                            None
                        }
                        Ok(false) => Some(looked),
                        Err(declined) => Some(Err(declined)),
                    }
                }
                Some(_) | None => None,
            };
            let dry = how.dry || looked.is_some();
            // Nobody else's while somebody is asked, and nobody's while it is only looked.
            let locked = if dry { Ok(()) } else { fleet.lock().await };
            let probe = (how.acting.probe && locked.is_ok()).then(|| Probe::start(fleet.clone(), activity));
            let (fleet, run) = match (looked, locked) {
                (_, Err(error)) => (fleet, Err(NotBegun::NotLocked(error))),
                (Some(looked), Ok(())) => (fleet, looked),
                (None, Ok(())) => hops(dry).run(fleet).await,
            };
            let cluster = match &run {
                Ok(Passed { run, .. }) if how.up && run.failures.is_empty() && !dry && run.stopped_in.is_none() => {
                    fleet.cluster(None).await.ok()
                }
                _ => None,
            };
            if let Some(probe) = probe {
                probe.end(&reporter).await;
            }
            if let Ok(Passed { run, .. }) = &run {
                let of = |failure: &Failure| {
                    (failure.exit(), format!("`{}`: {}", failure.task, error::line(&failure.source)))
                };
                let failed = |host: &str| run.failures.iter().find(|failure| failure.host == host).map(of);
                fleet.note_end(exit_of(run, how.detailed), failed).await;
            }
            fleet.close().await;
            (run, cluster, fleet.snapshot(), dry)
        });
        let finish = |exit: ExitStatus, message: String, recap: Vec<HostRecap>| {
            timings.sum_up(&reporter, &inventory);
            reporter.emit(Event::RunFinished {
                command: how.command.to_owned(),
                cluster: inventory.cluster.clone(),
                exit,
                message,
                recap,
                seconds: begun.elapsed().as_secs_f64(),
            });
            reporter.finish();
        };
        let (run, cluster, snapshot, dry) = match ended.map_err(CannotStart)? {
            interrupt::Ended::Work(done) => done,
            interrupt::Ended::AtOnce(exit) => {
                finish(exit, "left at once; run the same command again to go on".to_owned(), Vec::new());
                return Ok(exit);
            }
        };
        let passed = match run {
            Ok(passed) => passed,
            Err(error) => {
                let next = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                let message = format!("cluster {}: {error}; nothing was touched{next}", inventory.cluster);
                finish(error.exit(), message, Vec::new());
                return Ok(error.exit());
            }
        };
        let run = &passed.run;
        let mut exit = exit_of(run, how.detailed);
        if dry {
            for event in render::hops(&passed.hops).into_iter().chain(render::pending(&run.plan)) {
                reporter.emit(event);
            }
        }
        let recap = if dry { Vec::new() } else { run.recap.hosts() };
        let healthy = cluster.as_ref().map(|cluster| (cluster.healthy(), cluster.members.len()));
        let mut message = message(&passed, dry, exit, &inventory, healthy);
        if exit == ExitStatus::Done && !dry {
            let runs = |hosts| cluster.as_ref().is_some_and(|cluster| cluster.all_run(&inventory.version, hosts));
            let ending = Ending {
                everywhere: runs(&[]),
                within_limit: !self.limit.is_empty() && runs(&self.limit),
                changes: run.changes,
            };
            match (how.at_the_end)(&ending) {
                Ok(done) => message.extend(done.map(|done| format!("; {done}"))),
                Err(error) => {
                    exit = error.exit();
                    let hint = error.hint().map(|hint| format!("; {hint}"));
                    message += &format!("; {}{}", error.line(), hint.unwrap_or_default());
                }
            }
        }
        if let Some(path) = snapshot {
            message += &format!("; the data of before is in `{}`", path.display());
        }
        finish(exit, message, recap);
        if dry && run.failures.is_empty() && context.global.output == OutputFormat::Text {
            let style = context.around.stdout_style(Color::Auto);
            let text = match (run.plan.is_empty(), &how.supplies) {
                // Nobody asked whether the members are as the inventory says.
                (true, None) => render::nothing(&inventory),
                _ => render::route(&passed.hops) + &render::plan(&run.plan, &inventory, style),
            };
            context.output.out(&text)?;
        }
        Ok(exit)
    }
}
