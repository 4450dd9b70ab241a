//! `etcd-ha restart`, `stop`, `start` and `rollback`: what is done to members as they are, whatever the
//! inventory would have them be.

use super::Context;
use super::operation::{Acting, Ending, How, Operation, check_hosts, nothing_more, own_or};
use super::pause::confirm;
use crate::error::{Error, ExitStatus, Explain};
use clap::Args;
use std::collections::BTreeSet;

/// `etcd-ha restart`
#[derive(Debug, Args)]
pub(super) struct Restart {
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    acting: Acting,
    /// Say what would be done and what the quorum gate says now, and touch nothing.
    #[arg(long, conflicts_with_all = ["probe", "pause"])]
    dry_run: bool,
}

/// `etcd-ha rollback`
#[derive(Debug, Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    acting: Acting,
    /// Say what would be done and what the quorum gate says now, and touch nothing.
    #[arg(long, conflicts_with_all = ["probe", "pause"])]
    dry_run: bool,
}

/// `etcd-ha stop`
#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    operation: Operation,
    /// Do not ask for the cluster's name.
    #[arg(long)]
    yes: bool,
}

/// `etcd-ha start`
#[derive(Debug, Args)]
pub(super) struct Start {
    #[command(flatten)]
    operation: Operation,
}

/// More than one member is to be stopped, and not all.
#[derive(Debug, thiserror::Error)]
#[error("`stop --limit` is for one member, and {} are named; nothing was touched", .0.join(", "))]
struct SeveralToStop(Vec<String>);

impl Explain for SeveralToStop {
    fn hint(&self) -> Option<String> {
        // The gate would let the first one go down and refuse the second.
        Some("while one member is down no other may be touched; `etcd-ha stop` stops the whole cluster".to_owned())
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Refused
    }
}

/// How a playbook is run that comes with the program and brings no files along.
fn how(command: &'static str) -> How<'static> {
    How {
        command,
        dry: false,
        detailed: false,
        acting: Acting::default(),
        supplies: None,
        giving_up: None,
        way: None,
        up: command != "stop",
        at_the_end: &nothing_more,
    }
}

/// Runs a playbook that comes with the program.
fn embedded(operation: Operation, context: &Context, playbook: &str, how: How<'_>) -> Result<ExitStatus, Error> {
    let inventory = operation.target.load()?;
    operation.run(context, &own_or(playbook, None)?, inventory, how)
}

impl Restart {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let how = How { dry: self.dry_run, acting: self.acting, ..how("restart") };
        embedded(self.operation, &context, "restart", how)
    }
}

impl Rollback {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let remind = |ending: &Ending| {
            let words = "the inventory was not asked: if it says otherwise, the next deploy takes that over";
            Ok((ending.changes > 0).then(|| words.to_owned()))
        };
        let how = How { dry: self.dry_run, acting: self.acting, at_the_end: &remind, ..how("rollback") };
        embedded(self.operation, &context, "rollback", how)
    }
}

impl Stop {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.operation.target.load()?;
        check_hosts(&inventory, &self.operation.limit)?;
        let hosts = inventory.hosts.len();
        let named: BTreeSet<&String> = self.operation.limit.iter().collect();
        if named.len() > 1 {
            return Err(SeveralToStop(named.into_iter().cloned().collect()).into());
        }
        let whole = named.is_empty();
        if whole && !self.yes {
            let cluster = &inventory.cluster;
            let meaning = format!(
                "All {hosts} members of cluster {cluster} are stopped: nobody can read or write until `etcd-ha start`."
            );
            if !confirm(&context, &meaning, cluster)? {
                context.output.err("Not the cluster's name; nothing was touched.\n");
                return Ok(ExitStatus::Interrupted);
            }
        }
        let remind = |_: &Ending| Ok(Some("`etcd-ha start` starts what is stopped, and so does a reboot".to_owned()));
        let playbook = if whole { "stop" } else { "stop-some" };
        embedded(self.operation, &context, playbook, How { at_the_end: &remind, ..how("stop") })
    }
}

impl Start {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        embedded(self.operation, &context, "start", how("start"))
    }
}
