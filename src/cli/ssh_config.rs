//! `etcd-ha ssh-config HOST`: how a host is reached, and who says so.

use super::operation::check_hosts;
use super::options::{OutputFormat, Target};
use super::timings::Timings;
use super::{Context, interrupt};
use crate::error::{Error, ExitStatus};
use crate::report::table;
use crate::ssh::{Connector, Route};
use clap::Args;
use serde_json::json;

/// `etcd-ha ssh-config`
#[derive(Debug, Args)]
pub(super) struct SshConfig {
    #[command(flatten)]
    target: Target,
    /// A host of the inventory.
    #[arg(value_name = "HOST")]
    host: String,
}

impl SshConfig {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.target.load()?;
        check_hosts(&inventory, std::slice::from_ref(&self.host))?;
        let Some(host) = inventory.hosts.iter().find(|host| host.name == self.host) else {
            return Ok(ExitStatus::Usage);
        };
        let connector = Connector::default();
        let ended = interrupt::run(None, None, &Timings::none(), |_| async { connector.route(&host.ssh).await });
        let route = match ended.map_err(super::operation::CannotStart)? {
            interrupt::Ended::Work(route) => route?,
            interrupt::Ended::AtOnce(exit) => return Ok(exit),
        };
        context.output.out(&match context.global.output {
            OutputFormat::Json => as_json(&self.host, &route),
            _ => as_text(&self.host, &route),
        })?;
        Ok(ExitStatus::Done)
    }
}

/// A table for the host, and one for every jump host before it.
fn as_text(host: &str, route: &Route) -> String {
    let mut text = String::new();
    let jumps = route.settings.len().saturating_sub(1);
    for (index, (name, settings)) in route.settings.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text += &if index < jumps { format!("jump host {name}\n") } else { format!("host {host}, as `ssh {name}`\n") };
        let rows: Vec<Vec<String>> = settings
            .iter()
            .map(|setting| {
                vec![format!("  {}", setting.keyword), setting.value.clone(), format!("# {}", setting.source)]
            })
            .collect();
        text += &table(&rows);
    }
    text
}

fn as_json(host: &str, route: &Route) -> String {
    let jumps = route.settings.len().saturating_sub(1);
    let line = |(index, (name, settings)): (usize, &(String, Vec<crate::ssh::Setting>))| {
        let settings: Vec<_> = settings
            .iter()
            .map(|setting| {
                json!({
                    "keyword": setting.keyword,
                    "value": setting.value,
                    "source": setting.source.to_string(),
                })
            })
            .collect();
        format!("{}\n", json!({ "v": 1, "host": host, "name": name, "jump": index < jumps, "settings": settings }))
    };
    route.settings.iter().enumerate().map(line).collect()
}
