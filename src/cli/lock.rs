//! `etcd-ha lock`: who is at work on the cluster, and how to get rid of a run that hangs.

use super::Context;
use super::moment;
use super::options::OutputFormat;
use super::pause::{consent, somebody_there};
use super::query::{Patience, Query};
use crate::error::{self, Error, ExitStatus};
use crate::host::LockHolder;
use crate::report::{one_line, table};
use crate::tasks::{Fleet, TaskError};
use clap::{Args, Subcommand};
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// How long connecting to a host may take, where the inventory does not say less.
const CONNECT: Duration = Duration::from_secs(10);

/// `etcd-ha lock`
#[derive(Debug, Args)]
pub(super) struct Lock {
    #[command(subcommand)]
    command: LockCommand,
}

#[derive(Debug, Subcommand)]
enum LockCommand {
    /// Say who is at work on the cluster: since when, from where, with which command.
    #[command(after_help = "Exit code: 0 if nobody is, 5 if somebody is, 1 if a host could not be asked.")]
    Status(Query),
    /// Take the lock away from whoever holds it. That run stops before its next step on a host.
    #[command(after_help = "\
A run that has ended holds no lock, however it ended: the lock goes with the process, and within a
minute where only the way to it broke. This is for a run that hangs and cannot be ended where it is.
What it was doing on a host at this moment may still come to its end.")]
    Release(Release),
}

#[derive(Debug, Args)]
struct Release {
    #[command(flatten)]
    query: Query,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// What each host said of its lock.
type Said = Vec<(String, Result<Option<LockHolder>, TaskError>)>;

impl Lock {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let patience = Patience { call: CONNECT, connect: Some(CONNECT), direct: false };
        match self.command {
            LockCommand::Status(query) => {
                let inventory = query.target.load()?;
                let cluster = inventory.cluster.clone();
                let asked = query.ask(&context, inventory, patience, |fleet, _| async move { ask(&fleet).await })?;
                asked.map_or_else(Ok, |said| told(&context, &cluster, &said))
            }
            LockCommand::Release(Release { query, yes }) => {
                if !yes {
                    somebody_there(&context, "lock release", "say `--yes` where nobody is there to answer")?;
                }
                let inventory = query.target.load()?;
                let cluster = inventory.cluster.clone();
                let asked = query.ask(&context, inventory, patience, |fleet, stop| {
                    let (context, cluster) = (&context, &cluster);
                    async move { release(context, cluster, &fleet, yes, stop).await }
                })?;
                asked.unwrap_or_else(Ok)
            }
        }
    }
}

async fn ask(fleet: &Fleet) -> Said {
    let hosts = fleet.inventory.hosts.iter();
    join_all(hosts.map(|host| async { (host.name.clone(), fleet.lock_holder(host).await) })).await
}

/// Tells who holds the lock, on stdout, and of hosts that could not be asked, on stderr.
fn told(context: &Context, cluster: &str, said: &Said) -> Result<ExitStatus, Error> {
    let now = OffsetDateTime::now_utc();
    context.output.out(&match context.global.output {
        OutputFormat::Json => as_json(said, now),
        _ => as_text(cluster, said, now),
    })?;
    let mut failed = false;
    for (host, answer) in said {
        if let Err(error) = answer {
            failed = true;
            context.output.err(&format!("{host} could not be asked: {}\n", one_line(&error::line(error))));
        }
    }
    let held = said.iter().any(|(_, answer)| matches!(answer, Ok(Some(_))));
    Ok(match (held, failed) {
        (true, _) => ExitStatus::Locked,
        (false, true) => ExitStatus::Failed,
        (false, false) => ExitStatus::Done,
    })
}

fn as_text(cluster: &str, said: &Said, now: OffsetDateTime) -> String {
    let held: Vec<_> = said.iter().filter_map(|(host, answer)| Some((host, answer.as_ref().ok()?.as_ref()?))).collect();
    if held.is_empty() {
        let asked = said.iter().filter(|(_, answer)| answer.is_ok()).count();
        let all = said.len();
        return match all - asked {
            0 => format!("cluster {cluster}: nobody holds the lock, {asked} of {all} hosts asked\n"),
            _ if asked == 0 => format!("cluster {cluster}: who holds the lock is not known, no host could be asked\n"),
            rest => format!(
                "cluster {cluster}: nobody holds the lock of {asked} of {all} hosts; of {rest} it is not known\n"
            ),
        };
    }
    let some = |text: &str| if text.is_empty() { "-".to_owned() } else { one_line(text) };
    let row = |(host, holder): &(&String, &LockHolder)| {
        let since = now - holder.age;
        let since = format!("{} ({})", moment::local(since), moment::age(now - since));
        vec![(*host).clone(), some(&holder.run.command), some(&holder.run.by), some(&holder.from), since]
    };
    let head = ["HOST", "COMMAND", "BY", "FROM", "SINCE"].map(str::to_owned).to_vec();
    table(&std::iter::once(head).chain(held.iter().map(row)).collect::<Vec<_>>())
}

fn as_json(said: &Said, now: OffsetDateTime) -> String {
    let line = |(host, answer): &(String, Result<Option<LockHolder>, TaskError>)| {
        let line = match answer {
            Err(error) => json!({ "v": 1, "host": host, "error": one_line(&error::line(error)) }),
            Ok(None) => json!({ "v": 1, "host": host, "held": false }),
            Ok(Some(LockHolder { run, from, age })) => {
                let since = moment::rfc3339(now - *age);
                json!({
                    "v": 1, "host": host, "held": true, "run": run.id, "command": run.command, "by": run.by,
                    "from": from, "since": since, "seconds": age.as_secs(),
                })
            }
        };
        format!("{line}\n")
    };
    said.iter().map(line).collect()
}

/// Takes the lock away wherever it is held, once somebody has agreed.
async fn release(
    context: &Context,
    cluster: &str,
    fleet: &Fleet,
    yes: bool,
    mut stop: watch::Receiver<bool>,
) -> Result<ExitStatus, Error> {
    let said = ask(fleet).await;
    let exit = told(context, cluster, &said)?;
    if exit != ExitStatus::Locked {
        return Ok(exit);
    }
    let question = "Take the lock away? The run that holds it stops before its next step. [y/N] ";
    if !yes && !consent(&context.output, question, &mut stop).await {
        context.output.err("nothing was changed\n");
        return Ok(if *stop.borrow() { ExitStatus::Interrupted } else { ExitStatus::Locked });
    }
    let mut exit = ExitStatus::Done;
    for (host, answer) in said {
        let host = fleet.inventory.hosts.iter().find(|other| other.name == host);
        let (Some(host), Ok(Some(holder))) = (host, answer) else { continue };
        let (name, holder_is) = (&host.name, one_line(&holder.to_string()));
        match fleet.break_lock(host, &holder.run).await {
            Ok(true) => context.output.err(&format!("{name}: taken away from {holder_is}\n")),
            Ok(false) => context.output.err(&format!("{name}: already let go by {holder_is}\n")),
            Err(error) => {
                exit = ExitStatus::Failed;
                context.output.err(&format!("{name}: {}\n", one_line(&error::line(&error))));
            }
        }
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RunName;
    use time::macros::datetime;

    fn said() -> Said {
        let holder = |from: &str| LockHolder {
            run: RunName { id: "r1".into(), by: "ada@desk\u{202e}".into(), command: "deploy".into() },
            from: from.into(),
            age: Duration::from_secs(40),
        };
        vec![
            ("node01".into(), Ok(Some(holder("10.19.0.1")))),
            ("node02".into(), Ok(None)),
            ("node03".into(), Err(TaskError::Interrupted)),
            ("node04".into(), Ok(Some(holder("")))),
        ]
    }

    #[test]
    fn who_holds_it() {
        let now = datetime!(2026-11-22 10:15:10 UTC);
        let text = as_text("prod", &said(), now);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "HOST    COMMAND  BY        FROM       SINCE");
        assert!(lines[1].starts_with("node01  deploy   ada@desk  10.19.0.1  2026-11-22 "), "{text}");
        assert!(lines[1].ends_with(" (40 s ago)"), "{text}");
        assert!(lines[2].starts_with("node04  deploy   ada@desk  -          2026-11-22 "), "{text}");
        assert_eq!(lines.len(), 3);
        let mut free = said();
        free.retain(|(host, _)| ["node02", "node03"].contains(&host.as_str()));
        assert_eq!(
            as_text("prod", &free, now),
            "cluster prod: nobody holds the lock of 1 of 2 hosts; of 1 it is not known\n"
        );
        let json: Vec<serde_json::Value> =
            as_json(&said(), now).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&json[0]["since"], &json[0]["seconds"]), (&"2026-11-22T10:14:30Z".into(), &40.into()));
        assert_eq!((&json[1]["held"], &json[2]["error"]), (&false.into(), &"interrupted".into()));
    }
}
