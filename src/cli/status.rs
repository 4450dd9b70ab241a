//! `etcd-ha status`: the cluster at a glance.

mod data;
mod table;

use super::Context;
use super::options::OutputFormat;
use super::query::{Patience, Query};
use crate::diagnosis::{ClusterStatus, gather};
use crate::error::{Error, ExitStatus};
use crate::etcd::health::Verdict;
use crate::report::{self, Color, yaml};
use clap::Args;
use std::time::Duration;
use tokio::sync::watch;

/// `etcd-ha status`
///
/// STATE is the unit's and the member's own word together. DB is the size of its database and the quota at which it
/// takes no more writes. LAG is how many raft entries it has yet to apply. CERTS is how long the first of its
/// certificates is still good for. RTT is how long the slowest of the questions to it took. DRIFT says whether its host
/// differs from the inventory; what `etcd-ha deploy` would do about it says `etcd-ha plan`.
///
/// Exit code 0 if the cluster is healthy, 3 if it is not.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    query: Query,
    /// How to show it: `wide` has more columns, `json` is one object on one line, `yaml` the same for people.
    #[arg(short, long, value_enum, default_value = "text")]
    output: OutputFormat,
    /// Ask members straight from this machine instead of through SSH.
    #[arg(long)]
    direct: bool,
    /// How long a host that is dead, or does not go on answering, is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Look again every so many seconds, until Ctrl-C.
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

impl Status {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let limit = Duration::from_secs(self.timeout);
        let inventory = self.query.target.load()?;
        let file = inventory.path.display().to_string();
        let patience = Patience { call: limit, connect: Some(limit), direct: self.direct };
        let show = async |status: &ClusterStatus, again: bool| {
            let text = shown(status, self.output, &context);
            let clear = if again && context.around.stdout_tty { "\x1b[H\x1b[2J" } else { "" };
            context.output.out(&format!("{clear}{text}"))
        };
        let asked =
            self.query.ask(&context, inventory, patience, |fleet, mut stop: watch::Receiver<bool>| async move {
                loop {
                    let status = gather(&fleet, limit).await;
                    show(&status, self.watch.is_some()).await?;
                    let Some(seconds) = self.watch else { return Ok::<_, Error>(status) };
                    let pause = tokio::time::timeout(Duration::from_secs(seconds), stop.wait_for(|stop| *stop));
                    if pause.await.is_ok() {
                        return Ok(status);
                    }
                    fleet.refresh().await;
                }
            })?;
        let status = match asked {
            Ok(status) => status?,
            Err(exit) => return Ok(exit),
        };
        if status.verdict == Some(Verdict::Healthy) {
            return Ok(ExitStatus::Done);
        }
        if self.watch.is_none()
            && !context.global.quiet
            && matches!(self.output, OutputFormat::Text | OutputFormat::Wide)
        {
            context.output.err(&match status.verdict {
                Some(_) => format!("hint: `etcd-ha explain -i {file}` says why\n"),
                None => format!("hint: `etcd-ha plan -i {file}` says what `deploy` would do\n"),
            });
        }
        Ok(ExitStatus::Unhealthy)
    }
}

fn shown(status: &ClusterStatus, format: OutputFormat, context: &Context) -> String {
    let style = context.around.stdout_style(Color::Auto);
    match format {
        OutputFormat::Json => report::json(&data::of(status)),
        OutputFormat::Yaml => yaml(&data::of(status)),
        OutputFormat::Text | OutputFormat::Wide => {
            let columns = context.around.columns.map_or(usize::MAX, usize::from);
            table::of(status, format == OutputFormat::Wide, style, columns)
        }
    }
}
