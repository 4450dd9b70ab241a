//! `etcd-ha deploy`, `plan` and `run`.

use super::Context;
use super::hops::Way;
use super::operation::{Acting, How, Operation, Supplies, nothing_more, own_or};
use crate::error::{Error, ExitStatus};
use crate::playbook::Playbook;
use clap::Args;
use std::path::PathBuf;

/// `etcd-ha deploy`
#[derive(Debug, Args)]
pub(super) struct Deploy {
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    supplies: Supplies,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    acting: Acting,
    /// Say what would change, and touch nothing; the same as `plan`.
    #[arg(long, conflicts_with_all = ["probe", "pause"])]
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
pub(super) struct Plan {
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    supplies: Supplies,
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
pub(super) struct Run {
    /// The playbook file.
    #[arg(value_name = "PLAYBOOK")]
    playbook: PathBuf,
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    supplies: Supplies,
    #[command(flatten)]
    acting: Acting,
    /// Say what would change, and touch nothing.
    #[arg(long, conflicts_with_all = ["probe", "pause"])]
    dry_run: bool,
}

impl Deploy {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = own_or("deploy", self.playbook)?;
        let how = How {
            command: if self.dry_run { "plan" } else { "deploy" },
            dry: self.dry_run,
            detailed: self.detailed_exitcode,
            acting: self.acting,
            supplies: Some(self.supplies),
            giving_up: None,
            way: Some(self.way),
            up: true,
            at_the_end: &nothing_more,
        };
        let inventory = self.operation.target.load()?;
        self.operation.run(&context, &playbook, inventory, how)
    }
}

impl Plan {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = own_or("deploy", self.playbook)?;
        let how = How {
            command: "plan",
            dry: true,
            detailed: self.detailed_exitcode,
            acting: Acting::default(),
            supplies: Some(self.supplies),
            giving_up: None,
            way: Some(self.way),
            up: true,
            at_the_end: &nothing_more,
        };
        let inventory = self.operation.target.load()?;
        self.operation.run(&context, &playbook, inventory, how)
    }
}

impl Run {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let playbook = Playbook::load(&self.playbook)?;
        let how = How {
            command: "run",
            dry: self.dry_run,
            detailed: false,
            acting: self.acting,
            supplies: Some(self.supplies),
            giving_up: None,
            way: None,
            up: true,
            at_the_end: &nothing_more,
        };
        let inventory = self.operation.target.load()?;
        self.operation.run(&context, &playbook, inventory, how)
    }
}
