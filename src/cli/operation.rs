//! Subcommands that run a playbook.

use super::hops::{Hops, Passed, Way};
use super::options::{Binaries, OutputFormat, Safeguards, Target, Waits};

use super::{Context, interrupt, render};
use crate::error::{Error, ExitStatus, Explain};
use crate::inventory::Inventory;
use crate::plan::Run;
use crate::playbook::{Playbook, embedded};
use crate::report::{Color, Event, HostRecap, count};
use crate::tasks::Fleet;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Flags of every operation.
#[derive(Debug, Args)]
pub(super) struct Operation {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    binaries: Binaries,
    #[command(flatten)]
    waits: Waits,
    #[command(flatten)]
    safeguards: Safeguards,
    /// How many hosts are worked on at once.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    forks: u16,
}

/// `etcd-ha deploy`
#[derive(Debug, Args)]
pub(super) struct Deploy {
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    way: Way,
    /// Say what would change, and touch nothing; the same as `plan`.
    #[arg(long)]
    dry_run: bool,
    /// With `--dry-run`: exit with 10 if changes are pending.
    #[arg(long, requires = "dry_run")]
    detailed_exitcode: bool,
    /// A playbook in the place of deploy's own.
    #[arg(long, value_name = "FILE")]
    playbook: Option<PathBuf>,
}

/// `etcd-ha plan`
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    way: Way,
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
    #[arg(long)]
    dry_run: bool,
}

impl Deploy {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = own_or("deploy", self.playbook)?;
        let how = How {
            command: if self.dry_run { "plan" } else { "deploy" },
            dry: self.dry_run,
            detailed: self.detailed_exitcode,
            way: Some(self.way),
            at_the_end: &nothing_more,
        };
        let inventory = self.operation.target.load()?;
        self.operation.run(&context, &playbook, inventory, how)
    }
}

impl PlanArgs {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = own_or("deploy", self.playbook)?;
        let how = How {
            command: "plan",
            dry: true,
            detailed: self.detailed_exitcode,
            way: Some(self.way),
            at_the_end: &nothing_more,
        };
        let inventory = self.operation.target.load()?;
        self.operation.run(&context, &playbook, inventory, how)
    }
}

impl RunArgs {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = Playbook::load(&self.playbook)?;
        let how = How { command: "run", dry: self.dry_run, detailed: false, way: None, at_the_end: &nothing_more };
        let inventory = self.operation.target.load()?;
        self.operation.run(&context, &playbook, inventory, how)
    }
}

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
    /// How the members go to another version; without it the playbook is run once, whatever they run.
    pub way: Option<Way>,
    /// What is done once all went well, and the words for it, if it did anything; it is told whether every
    /// member is healthy and runs the wanted version.
    pub at_the_end: &'a dyn Fn(bool) -> Result<Option<String>, Error>,
}

/// Nothing is left to be done.
fn nothing_more(_: bool) -> Result<Option<String>, Error> {
    Ok(None)
}

/// The runtime could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start")]
pub(super) struct CannotStart(#[source] pub(super) std::io::Error);

impl Explain for CannotStart {}

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
        if let Some(way) = &how.way {
            way.check(&inventory)?;
        }
        self.binaries.lay_over(&mut inventory);
        let inventory = Arc::new(inventory);
        let reporter = context.reporter(how.command, &inventory.cluster);
        reporter.emit(Event::RunStarted {
            command: how.command.to_owned(),
            cluster: inventory.cluster.clone(),
            hosts: inventory.hosts.iter().map(|host| host.name.clone()).collect(),
        });
        for message in &inventory.warnings {
            reporter.emit(Event::Warning { host: None, message: message.clone() });
        }
        let options = self.waits.fleet_options(self.safeguards.snapshots(&inventory.cluster));
        let fleet = Arc::new(Fleet::new(inventory.clone(), reporter.clone(), options));
        let ended = interrupt::run(Some(reporter.clone()), |stop| async {
            let hops = Hops {
                playbook,
                way: how.way.as_ref(),
                dry: how.dry,
                forks: self.forks.into(),
                limit: &[],
                ask: None,
                stop,
            };
            let (fleet, run) = hops.run(fleet).await;
            let cluster = match &run {
                Ok(Passed { run, .. }) if run.failures.is_empty() && !how.dry && run.stopped_in.is_none() => {
                    fleet.cluster(None).await.ok()
                }
                _ => None,
            };
            fleet.close().await;
            (run, cluster, fleet.snapshot())
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
        let (run, cluster, snapshot) = match ended.map_err(CannotStart)? {
            interrupt::Ended::Work(done) => done,
            interrupt::Ended::AtOnce(exit) => {
                finish(exit, "left at once; run the same command again to go on".to_owned(), Vec::new());
                return Ok(exit);
            }
        };
        let passed = match run {
            Ok(passed) => passed,
            Err(error) => {
                let message = format!("cluster {}: {error}; nothing was touched", inventory.cluster);
                finish(error.exit(), message, Vec::new());
                return Ok(error.exit());
            }
        };
        let run = &passed.run;
        let mut exit = exit_of(run, &how);
        if how.dry {
            for event in render::hops(&passed.hops).into_iter().chain(render::pending(&run.plan)) {
                reporter.emit(event);
            }
        }
        let recap = if how.dry { Vec::new() } else { run.recap.hosts() };
        let healthy = cluster.as_ref().map(|cluster| (cluster.healthy(), cluster.members.len()));
        let mut message = message(&passed, &how, exit, &inventory, healthy);
        if exit == ExitStatus::Done && !how.dry {
            let everywhere = cluster.is_some_and(|cluster| cluster.all_run(&inventory.version));
            match (how.at_the_end)(everywhere) {
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
        if how.dry && run.failures.is_empty() && context.global.output == OutputFormat::Text {
            let style = context.around.stdout_style(Color::Auto);
            context.output.out(&(render::route(&passed.hops) + &render::plan(&run.plan, &inventory, style)))?;
        }
        Ok(exit)
    }
}

/// The exit code: of the gravest failure, where several hosts failed in different ways.
fn exit_of(run: &Run, how: &How<'_>) -> ExitStatus {
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
fn message(
    passed: &Passed,
    how: &How<'_>,
    exit: ExitStatus,
    inventory: &Inventory,
    healthy: Option<(usize, usize)>,
) -> String {
    let (cluster, run) = (&inventory.cluster, &passed.run);
    if let Some(play) = &run.stopped_in {
        let next = match exit {
            ExitStatus::Interrupted => "run the same command again to go on",
            _ if passed.lacks_a_stopover() => "`--via VERSION` chooses another release to stop over at",
            _ => "later plays were not begun; mend the cause and run the same command again",
        };
        let failed = match &run.failures[..] {
            [] => String::new(),
            [one] => format!(" on {}", one.host),
            [_, ..] => format!(" on {}", count(run.failures.len(), "host")),
        };
        let hop = passed.hop().map(|hop| format!(" of {hop}")).unwrap_or_default();
        return format!("cluster {cluster}: stopped{failed} in `{play}`{hop}; {next}");
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
