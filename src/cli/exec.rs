//! `etcd-ha exec`: a command on hosts, as root and in parallel.

mod shown;

use super::options::{FORKS, OutputFormat};
use super::query::{Patience, Query};
use super::{Context, operation::check_hosts};
use crate::error::{Error, ExitStatus};
use crate::host::{Connection, HostError};
use crate::inventory::Host;
use crate::ssh::{Said, quote};
use crate::tasks::{Fleet, TaskError};
use clap::Args;
use futures::StreamExt as _;
use shown::{Kept, Outcome, Passing, Ran};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// `etcd-ha exec`
#[derive(Debug, Args)]
#[command(after_help = "\
The words behind `--` are the command as it is, which no shell reads unless the command is one:
`-- sh -c 'ls /var/lib/etcd | wc -l'`. It runs as root, and there is nothing on its stdin.

Of one host stdout and stderr are passed on as they come. Of several, stdout comes host by host in
the inventory's order, below a line with the host's name, and at most 4 MiB of each; stderr goes to
stderr, each line with the host's name before it.

Exit code: the highest that the command had on a host; 124 where --timeout ended it, 255 where a
host could not be reached or did not say how it ended, 130 after Ctrl-C, which ends it on all hosts.")]
pub(super) struct Exec {
    #[command(flatten)]
    query: Query,
    /// Only these hosts; without any, all of the inventory.
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// On how many hosts at once.
    #[arg(long, value_name = "N", default_value_t = FORKS, value_parser = clap::value_parser!(u16).range(1..))]
    forks: u16,
    /// How long the command may take on a host, before it is ended there.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    timeout: Option<u64>,
    /// The command, and what it is given.
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.query.target.load()?;
        check_hosts(&inventory, &self.hosts)?;
        let wanted = |host: &&Host| self.hosts.is_empty() || self.hosts.contains(&host.name);
        let hosts: Vec<Host> = inventory.hosts.iter().filter(wanted).cloned().collect();
        let (script, limit, forks) = (script(&self.command), self.timeout.map(Duration::from_secs), self.forks.into());
        let patience = Patience { call: Duration::from_secs(5), connect: None, direct: false };
        let json = context.global.output == OutputFormat::Json;
        let asked = self.query.ask(&context, inventory, patience, |fleet, mut stop| {
            let context = &context;
            async move {
                let work = async {
                    match &hosts[..] {
                        [host] if !json => one(&fleet, host, &script, limit, context).await,
                        hosts => several(&fleet, hosts, &script, limit, forks, context).await,
                    }
                };
                tokio::select! {
                    worst = work => worst.map(ExitStatus::Command),
                    Ok(_) = stop.wait_for(|stop| *stop) => Ok(ExitStatus::Interrupted),
                }
            }
        })?;
        match asked {
            Ok(exit) => exit,
            Err(exit) => Ok(exit),
        }
    }
}

/// The script that becomes the command.
fn script(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| quote(word)).collect();
    format!("exec {} </dev/null", words.join(" "))
}

/// On one host, whose output is passed on as it comes.
async fn one(
    fleet: &Fleet,
    host: &Host,
    script: &str,
    limit: Option<Duration>,
    context: &Context,
) -> Result<u8, Error> {
    let (mut out, mut err) = (Passing::new(context.around.stdout_tty), Passing::new(context.around.stderr_tty));
    let mut closed = None;
    let outcome = run(fleet, host, script, limit, |said| match said {
        Said::Out(bytes) => match context.output.pass(&out.take(&bytes)) {
            Ok(true) => true,
            ended => {
                closed = Some(ended);
                false
            }
        },
        Said::Err(bytes) => {
            context.output.err_bytes(&err.take(&bytes));
            true
        }
    })
    .await;
    if let Some(ended) = closed {
        // Nobody reads it any more: it is ended, and that is as it should be.
        ended?;
        return Ok(0);
    }
    context.output.pass(&out.rest())?;
    context.output.err_bytes(&err.rest());
    if let Some(words) = outcome.words(&host.name, limit) {
        context.output.err(&words);
    }
    Ok(outcome.code())
}

/// On several, whose output is shown host by host.
async fn several(
    fleet: &Fleet,
    hosts: &[Host],
    script: &str,
    limit: Option<Duration>,
    forks: usize,
    context: &Context,
) -> Result<u8, Error> {
    let running = hosts.iter().enumerate().map(|(place, host)| async move {
        let begun = Instant::now();
        let (mut stdout, mut stderr) = (Kept::default(), Kept::default());
        let outcome = run(fleet, host, script, limit, |said| {
            match said {
                Said::Out(bytes) => stdout.add(&bytes),
                Said::Err(bytes) => stderr.add(&bytes),
            }
            true
        })
        .await;
        let host = host.name.clone();
        (place, Ran { host, outcome, stdout, stderr, seconds: begun.elapsed().as_secs_f64() })
    });
    let mut running = futures::stream::iter(running).buffer_unordered(forks);
    let (mut ended, mut next, mut worst, mut failed) = (BTreeMap::new(), 0, 0, Vec::new());
    while let Some((place, ran)) = running.next().await {
        ended.insert(place, ran);
        while let Some(ran) = ended.remove(&next) {
            next += 1;
            worst = worst.max(ran.outcome.code());
            if ran.outcome.code() != 0 {
                failed.push(ran.failure());
            }
            if context.global.output == OutputFormat::Json {
                context.output.out(&ran.json())?;
                continue;
            }
            context
                .output
                .pass(&ran.stdout(context.around.stdout_style(Default::default()), context.around.stdout_tty))?;
            context.output.err(&ran.stderr(limit));
        }
    }
    if !failed.is_empty() && hosts.len() > 1 {
        context.output.err(&format!("failed on {} of {} hosts: {}\n", failed.len(), hosts.len(), failed.join(", ")));
    }
    Ok(worst)
}

/// Runs the script on a host and hands on what it says, until it ends, its time is up, or nobody wants to hear more.
async fn run(
    fleet: &Fleet,
    host: &Host,
    script: &str,
    limit: Option<Duration>,
    mut hear: impl FnMut(Said) -> bool,
) -> Outcome {
    let connection = match fleet.connection(host).await {
        Ok(connection) => connection,
        Err(error) => return Outcome::Failed(error),
    };
    let running = listen(&connection, script, &mut hear);
    let ended = match limit {
        Some(limit) => match tokio::time::timeout(limit, running).await {
            Ok(ended) => ended,
            Err(_) => return Outcome::TimeUp,
        },
        None => running.await,
    };
    match ended {
        Ok(Some(status)) => Outcome::Exited(status),
        Ok(None) => Outcome::Unknown,
        Err(error) => Outcome::Failed(TaskError::from(error)),
    }
}

async fn listen(
    connection: &Connection,
    script: &str,
    hear: &mut impl FnMut(Said) -> bool,
) -> Result<Option<u32>, HostError> {
    let mut stream = connection.stream("run the command", script).await?;
    while let Some(said) = stream.next().await? {
        if !hear(said) {
            break;
        }
    }
    Ok(stream.status())
}

#[cfg(test)]
mod tests {
    use super::script;

    #[test]
    fn words_stay_words() {
        for (command, want) in [
            (&["uptime"][..], "exec uptime </dev/null"),
            (&["sh", "-c", "ls /tmp | wc -l"], "exec sh -c 'ls /tmp | wc -l' </dev/null"),
            (&["echo", "", "it's", "$HOME; reboot"], "exec echo '' 'it'\\''s' '$HOME; reboot' </dev/null"),
            (&["-n", "--help"], "exec -n --help </dev/null"),
        ] {
            let command: Vec<String> = command.iter().map(ToString::to_string).collect();
            assert_eq!(script(&command), want);
        }
    }
}
