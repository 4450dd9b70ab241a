//! `etcd-ha health`: every member is asked, through its own SSH tunnel.

use super::Context;
use super::options::OutputFormat;
use super::query::{Patience, Query};
use crate::error::{Error, ExitStatus};
use crate::etcd::health::{ClusterHealth, MemberHealth, Verdict};
use crate::etcd::signature::known;
use crate::report;
use crate::ssh::quote;
use clap::Args;
use serde_json::json;
use std::time::Duration;

/// `etcd-ha health`
#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    query: Query,
    /// Ask members straight from this machine instead of through SSH.
    #[arg(long)]
    direct: bool,
    /// How long one call to a member may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

impl Health {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let limit = Duration::from_secs(self.timeout);
        let inventory = self.query.target.load()?;
        let path = inventory.path.display().to_string();
        // A dead host shall not make the question about the others longer than was asked for.
        let patience = Patience { call: limit, connect: Some(limit), direct: self.direct };
        let asked =
            self.query.ask(&context, inventory, patience, |fleet, _| async move { fleet.standing_cluster().await })?;
        let health = match asked {
            Ok(health) => health?,
            Err(exit) => return Ok(exit),
        };
        context.output.out(&match context.global.output {
            OutputFormat::Json => as_json(&health),
            _ => as_text(&health),
        })?;
        if context.global.output == OutputFormat::Text {
            context.output.err(&beside(&health, &path));
        }
        Ok(if health.verdict == Verdict::Healthy { ExitStatus::Done } else { ExitStatus::Unhealthy })
    }
}

fn as_text(health: &ClusterHealth) -> String {
    let lines = health.members.iter().map(|member| member.line()).chain([health.summary()]);
    lines.map(|line| line + "\n").collect()
}

/// What is known of the causes, and where there is more; nothing, if all is well.
fn beside(health: &ClusterHealth, inventory: &str) -> String {
    if health.verdict == Verdict::Healthy {
        return String::new();
    }
    let cause = |member: &MemberHealth| {
        let known = known(&member.ailment.as_ref()?.to_string())?;
        Some(format!("{}: {}\n", member.look.host, known.cause))
    };
    let causes: String = health.members.iter().filter_map(cause).collect();
    format!("{causes}hint: `etcd-ha explain -i {}` says why, and what to do\n", quote(inventory))
}

/// One line a member, then one for the cluster.
fn as_json(health: &ClusterHealth) -> String {
    let members = health.members.iter().map(|member| {
        let status = member.look.report.as_ref().ok().map(|report| &report.status);
        json!({
            "v": 1,
            "member": member.id.map(|id| id.to_string()),
            "host": member.look.host,
            "endpoint": member.look.endpoint,
            "healthy": member.ailment.is_none(),
            "cause": member.ailment.as_ref().map(ToString::to_string),
            "leader": status.map(|status| status.leader == Some(status.member)),
            "learner": status.map(|status| status.learner),
            "version": status.map(|status| status.version.clone()),
            "raft_term": status.map(|status| status.term),
            "raft_index": status.map(|status| status.raft_index),
            "raft_applied_index": status.map(|status| status.applied_index),
            "db_size": status.map(|status| status.db_size),
        })
    });
    let verdict = match health.verdict {
        Verdict::Healthy => "healthy",
        Verdict::Degraded => "degraded",
        Verdict::Unhealthy => "unhealthy",
    };
    let cluster = json!({
        "v": 1,
        "cluster": verdict,
        "healthy_members": health.healthy(),
        "members": health.members.len(),
        "problems": health.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    members.chain([cluster]).map(|line| report::json(&line)).collect()
}
