//! `etcd-ha check`: whether the hosts can run members, with numbers.

mod json;
mod text;

use super::Context;
use super::operation::check_hosts;
use super::options::OutputFormat;
use super::query::{Patience, Query};
use crate::diagnosis::check::{Verdict, check};
use crate::error::{Error, ExitStatus};
use crate::inventory::Host;
use crate::report::Color;
use clap::Args;
use std::time::Duration;

/// How long a disk is measured.
const DISK: Duration = Duration::from_secs(3);

/// `etcd-ha check`
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is installed or left on the hosts. For three seconds each writes a small file beside its
data dir, 8 KiB at a time, to time its disk; `--no-disk` leaves that out. Where no member runs,
systemd-socket-activate listens on both ports for a moment, so that the others can knock there;
a running member may note these connections in its log.

A warning is something that works, but worse than it could, or not for long; a failure is what a
deploy would refuse or come to grief on. The exit code is 0 if nothing failed, also with warnings,
and 1 otherwise.

Thresholds come from:
  etcd hardware guide  https://etcd.io/docs/latest/op-guide/hardware/
  etcd FAQ             https://etcd.io/docs/latest/faq/
  etcd tuning guide    https://etcd.io/docs/latest/tuning/
  etcd system limits   https://etcd.io/docs/latest/dev-guide/limit/
  etcd platforms       https://etcd.io/docs/latest/op-guide/supported-platform/"
)]
pub(super) struct Check {
    #[command(flatten)]
    query: Query,
    /// Only these hosts of the inventory, and the ways between them.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    limit: Vec<String>,
    /// Do not write to the disks to time them.
    #[arg(long)]
    no_disk: bool,
}

impl Check {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.query.target.load()?;
        check_hosts(&inventory, &self.limit)?;
        let patience = Patience { call: Duration::from_secs(5), connect: None, direct: false };
        let disk = (!self.no_disk).then_some(DISK);
        let limit = self.limit;
        // Who waits at a terminal is told for what; a pipe has no use for it.
        let tells = context.around.stderr_tty;
        let output = context.output.clone();
        let asked = self.query.ask(&context, inventory, patience, |fleet, mut stop| async move {
            let wanted = |host: &&Host| limit.is_empty() || limit.contains(&host.name);
            let hosts: Vec<&Host> = fleet.inventory.hosts.iter().filter(wanted).collect();
            let tell = |told| {
                if tells {
                    output.err(&format!("{told}\n"));
                }
            };
            tokio::select! {
                report = check(&fleet, &hosts, disk, tell) => Some(report),
                _ = stop.wait_for(|stop| *stop) => None,
            }
        })?;
        let report = match asked {
            Ok(Some(report)) => report,
            Ok(None) => return Ok(ExitStatus::Interrupted),
            Err(exit) => return Ok(exit),
        };
        let around = &context.around;
        let columns = around.columns.filter(|_| around.stdout_tty).map(usize::from);
        context.output.out(&match context.global.output {
            OutputFormat::Json => json::lines(&report),
            _ => text::page(&report, around.stdout_style(Color::Auto), columns),
        })?;
        Ok(if report.verdict() == Verdict::Failed { ExitStatus::Failed } else { ExitStatus::Done })
    }
}

#[cfg(test)]
mod tests;
