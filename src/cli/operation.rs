//! Subcommands that run a playbook.

use super::options::{Binaries, OutputFormat, Target, Waits};
use super::probe::Probe;
use super::{Context, interrupt, render};
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::gate::gate;
use crate::inventory::Inventory;
use crate::plan::{Engine, Run};
use crate::playbook::{Playbook, embedded};
use crate::report::{Activity, Color, Event, HostRecap, count};
use crate::tasks::Fleet;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Flags of every operation.
#[derive(Debug, Args)]
struct Operation {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    waits: Waits,
    /// How many hosts are worked on at once.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    forks: u16,
}

/// The flag of every operation that does something.
#[derive(Debug, Args)]
struct Probing {
    /// Write to the cluster all the while, and say in the end what a client noticed.
    ///
    /// A key below `_etcd-ha/probe/` is written every 20 ms through all members in turn, and once more
    /// through another member if that fails. The key is deleted in the end; after a run that was killed
    /// it goes away within a minute or so.
    #[arg(long)]
    probe: bool,
}

/// `etcd-ha deploy`
#[derive(Debug, Args)]
pub(super) struct Deploy {
    #[command(flatten)]
    operation: Operation,
    /// Say what would change, and touch nothing; the same as `plan`.
    #[arg(long, conflicts_with = "probe")]
    dry_run: bool,
    /// With `--dry-run`: exit with 10 if changes are pending.
    #[arg(long, requires = "dry_run")]
    detailed_exitcode: bool,
    /// A playbook in the place of deploy's own.
    #[arg(long, value_name = "FILE")]
    playbook: Option<PathBuf>,
    #[command(flatten)]
    probing: Probing,
}

/// `etcd-ha plan`
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    operation: Operation,
    /// Exit with 10 if changes are pending.
    #[arg(long)]
    detailed_exitcode: bool,
    /// A playbook in the place of deploy's own.
    #[arg(long, value_name = "FILE")]
    playbook: Option<PathBuf>,
}

/// `etcd-ha run`
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The playbook file.
    #[arg(value_name = "PLAYBOOK")]
    playbook: PathBuf,
    #[command(flatten)]
    operation: Operation,
    /// Say what would change, and touch nothing.
    #[arg(long, conflicts_with = "probe")]
    dry_run: bool,
    #[command(flatten)]
    probing: Probing,
}

impl Deploy {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = own_or("deploy", self.playbook)?;
        let how = How {
            command: if self.dry_run { "plan" } else { "deploy" },
            dry: self.dry_run,
            detailed: self.detailed_exitcode,
            probe: self.probing.probe,
        };
        self.operation.run(&context, &playbook, how)
    }
}

impl PlanArgs {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = own_or("deploy", self.playbook)?;
        self.operation.run(
            &context,
            &playbook,
            How { command: "plan", dry: true, detailed: self.detailed_exitcode, probe: false },
        )
    }
}

impl RunArgs {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = Playbook::load(&self.playbook)?;
        self.operation.run(
            &context,
            &playbook,
            How { command: "run", dry: self.dry_run, detailed: false, probe: self.probing.probe },
        )
    }
}

fn own_or(name: &str, file: Option<PathBuf>) -> Result<Playbook, Error> {
    Ok(match file {
        Some(file) => Playbook::load(&file)?,
        None => Playbook::parse(&format!("playbooks/{name}.yaml"), embedded(name).unwrap_or_default())?,
    })
}

struct How {
    command: &'static str,
    dry: bool,
    detailed: bool,
    probe: bool,
}

/// The runtime could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start")]
pub(super) struct CannotStart(#[source] pub(super) std::io::Error);

impl Explain for CannotStart {}

impl Operation {
    fn run(self, context: &Context, playbook: &Playbook, how: How) -> Result<ExitStatus, Error> {
        let begun = Instant::now();
        let mut inventory = self.target.load()?;
        self.binaries.lay_over(&mut inventory);
        let inventory = Arc::new(inventory);
        let activity = Activity::default();
        let reporter = context.reporter(how.command, &inventory.cluster, how.probe.then(|| activity.clone()));
        reporter.emit(Event::RunStarted {
            command: how.command.to_owned(),
            cluster: inventory.cluster.clone(),
            hosts: inventory.hosts.iter().map(|host| host.name.clone()).collect(),
        });
        for message in &inventory.warnings {
            reporter.emit(Event::Warning { host: None, message: message.clone() });
        }
        let fleet = Arc::new(Fleet::new(inventory.clone(), reporter.clone(), self.waits.fleet_options()));
        let ended = interrupt::run(Some(reporter.clone()), |stop| async {
            let probe = how.probe.then(|| Probe::start(fleet.clone(), activity));
            let engine = Engine { world: &*fleet, gate, playbook, dry: how.dry, forks: self.forks.into(), stop };
            let run = engine.run().await;
            let healthy = match &run {
                Ok(run) if run.failures.is_empty() && !how.dry && run.stopped_in.is_none() => {
                    fleet.cluster(None).await.ok().map(|cluster| (cluster.healthy(), cluster.members.len()))
                }
                _ => None,
            };
            if let Some(probe) = probe {
                probe.end(&reporter).await;
            }
            fleet.close().await;
            (run, healthy)
        });
        let finish = |exit: ExitStatus, message: String, recap: Vec<HostRecap>| {
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
        let (run, healthy) = match ended.map_err(CannotStart)? {
            interrupt::Ended::Work(done) => done,
            interrupt::Ended::AtOnce(exit) => {
                finish(exit, "left at once; run the same command again to go on".to_owned(), Vec::new());
                return Ok(exit);
            }
        };
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                let message = format!("cluster {}: {error}; nothing was touched", inventory.cluster);
                finish(error.exit(), message, Vec::new());
                return Ok(error.exit());
            }
        };
        let exit = exit_of(&run, &how);
        for event in render::pending(&run.plan) {
            reporter.emit(event);
        }
        let recap = if how.dry { Vec::new() } else { run.recap.hosts() };
        finish(exit, message(&run, &how, exit, &inventory, healthy), recap);
        if how.dry && run.failures.is_empty() && context.global.output == OutputFormat::Text {
            let style = context.around.stdout_style(Color::Auto);
            context.output.out(&render::plan(&run.plan, &inventory, style))?;
        }
        Ok(exit)
    }
}

/// The exit code: of the gravest failure, where several hosts failed in different ways.
fn exit_of(run: &Run, how: &How) -> ExitStatus {
    let failures = run.failures.iter().map(Explain::exit);
    // What was refused for the data's sake outweighs a plain failure beside it.
    match failures.max() {
        Some(exit) => exit,
        None if run.stopped_in.is_some() => ExitStatus::Interrupted,
        None if how.detailed && !run.plan.is_empty() => ExitStatus::Pending,
        None => ExitStatus::Done,
    }
}

/// The words of the run's last line.
fn message(run: &Run, how: &How, exit: ExitStatus, inventory: &Inventory, healthy: Option<(usize, usize)>) -> String {
    let cluster = &inventory.cluster;
    if let Some(play) = &run.stopped_in {
        let next = match exit {
            ExitStatus::Interrupted => "run the same command again to go on",
            _ => "later plays were not begun; mend the cause and run the same command again",
        };
        let failed = match &run.failures[..] {
            [] => String::new(),
            [one] => format!(" on {}", one.host),
            [_, ..] => format!(" on {}", count(run.failures.len(), "host")),
        };
        return format!("cluster {cluster}: stopped{failed} in `{play}`; {next}");
    }
    if how.dry {
        return if run.plan.is_empty() {
            format!("cluster {cluster}: no changes")
        } else {
            format!("cluster {cluster}: {} pending, nothing was touched", count(run.plan.pending.len(), "change"))
        };
    }
    let changes = if run.changes == 0 { "nothing to do".to_owned() } else { count(run.changes, "change") };
    match healthy {
        Some((healthy, all)) if healthy == all => {
            format!("cluster {cluster} is healthy, {healthy} of {all} members, {changes}")
        }
        Some((healthy, all)) => format!("cluster {cluster}: {healthy} of {all} members healthy, {changes}"),
        None => format!("cluster {cluster}: {changes}"),
    }
}
