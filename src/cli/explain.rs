//! `etcd-ha explain`: why the cluster is not well, and what to type next.

use super::Context;
use super::options::OutputFormat;
use super::query::{Patience, Query};
use crate::diagnosis::explain;
use crate::error::{Error, ExitStatus};
use crate::report::Color;
use clap::Args;
use std::time::Duration;

/// How long a dead host is waited for, unless the inventory says less.
const CONNECT: Duration = Duration::from_secs(3);

/// Columns of a text that nobody says the width of.
const COLUMNS: u16 = 80;

/// `etcd-ha explain`
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    query: Query,
    /// How long one call to a member may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

impl Explain {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.query.target.load()?;
        let patience = Patience { call: Duration::from_secs(self.timeout), connect: Some(CONNECT), direct: false };
        let asked =
            self.query.ask(&context, inventory, patience, |fleet, _| async move { explain::look(&fleet).await })?;
        let explanation = match asked {
            Ok(scene) => explain::explain(&scene?),
            Err(exit) => return Ok(exit),
        };
        let columns = context.around.columns.unwrap_or(COLUMNS).clamp(40, 120);
        context.output.out(&match context.global.output {
            OutputFormat::Json => explanation.json(),
            _ => explanation.text(columns.into(), context.around.stdout_style(Color::Auto)),
        })?;
        Ok(if explanation.well() { ExitStatus::Done } else { ExitStatus::Unhealthy })
    }
}
