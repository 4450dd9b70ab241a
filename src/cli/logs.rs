//! `etcd-ha logs`: the journals of all members, merged by time.

mod follow;
mod paper;

use super::options::OutputFormat;
use super::query::{Patience, Query};
use super::when::{FORMS, When};
use super::{Context, operation::check_hosts};
use crate::diagnosis::logs::{Form, Shown, Told, Wanted};
use crate::error::{self, Error, ExitStatus, Explain};
use crate::etcd::config::UNIT;
use crate::etcd::log::Level;
use crate::host::{Begin, Entry, PATIENCE, Part};
use crate::inventory::Host;
use crate::report::{Color, Output, ReportError};
use crate::tasks::{Fleet, TaskError};
use clap::{Args, ValueEnum};
use futures::future::{join, join_all};
use paper::Paper;
use std::collections::BTreeSet;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};

/// How many of its last lines are read of each host, if nobody says otherwise.
const LINES: u32 = 200;
/// The same where not all of them are shown.
const LINES_TO_CHOOSE_FROM: u32 = 10_000;
/// How many entries of a host wait for those of the others.
const AHEAD: usize = 4096;

/// `etcd-ha logs`
#[derive(Debug, Args)]
#[command(after_help = "\
Lines of all hosts are put in the order of the times at which their journals took them in, and shown
in UTC. What is left out by --grep and --level was read all the same: -n and --since say how much is.
With --raw and several hosts each line has its host's name before it; one host's lines are bare.

Exit codes: 1 if a host's journal could not be read, 130 if Ctrl-C ended it, with --follow, too.")]
pub(super) struct Logs {
    #[command(flatten)]
    query: Query,
    /// Only these hosts; without any, all of the inventory.
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Go on with what is written from now on, until Ctrl-C; hosts that are lost are tried again.
    #[arg(short, long)]
    follow: bool,
    /// Read from then on: `30m`, `1h`, `2d`, `today`, `10:14`, `2026-11-26T10:14:30Z` (UTC unless it says otherwise),
    /// or `boot` for the host's last boot.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// Read up to then.
    #[arg(long, value_name = "WHEN", value_parser = When::read, conflicts_with = "follow")]
    until: Option<When>,
    /// Read no more than so many of each host's last lines: 200, or 10000 with --grep or --level, unless --since is
    /// given.
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    /// Only lines with this text, in capitals or not. It is no regular expression.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    grep: Option<String>,
    /// Only lines of this level and graver ones, and those without a level, such as stack traces.
    #[arg(long, value_enum)]
    level: Option<LevelName>,
    /// Messages as they were written.
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelName {
    Debug,
    Info,
    Warn,
    Error,
    Panic,
    Fatal,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Debug => Self::Debug,
            LevelName::Info => Self::Info,
            LevelName::Warn => Self::Warn,
            LevelName::Error => Self::Error,
            LevelName::Panic => Self::Panic,
            LevelName::Fatal => Self::Fatal,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Boot,
    Time(When),
}

fn since(text: &str) -> Result<Since, String> {
    if text == "boot" {
        return Ok(Since::Boot);
    }
    When::read(text).map(Since::Time).map_err(|_| format!("{FORMS} or `boot` is wanted; without an offset it is UTC"))
}

/// What was come to of a host's journal.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// The last entry that was read.
    cursor: Option<String>,
    entries: u32,
    error: Option<TaskError>,
}

impl Reached {
    /// Whether there is any sense in following it.
    fn is_there(&self) -> bool {
        self.error.as_ref().is_none_or(TaskError::is_connection_lost)
    }
}

impl Logs {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.query.target.load()?;
        check_hosts(&inventory, &self.hosts)?;
        let wanted = |host: &&Host| self.hosts.is_empty() || self.hosts.contains(&host.name);
        let hosts: Vec<Host> = inventory.hosts.iter().filter(wanted).cloned().collect();
        let part = self.part(OffsetDateTime::now_utc());
        let chosen = Wanted::new(self.level.map(Level::from), self.grep.as_deref());
        let form = match (context.global.output, self.raw) {
            (OutputFormat::Json, raw) => Form::Json { raw },
            (_, true) => Form::Raw,
            (_, false) => Form::Text,
        };
        let around = &context.around;
        let terminal = around.stdout_tty.then(|| around.columns.map_or(80, usize::from));
        let names = hosts.iter().map(|host| host.name.clone()).collect();
        let shown = Shown::new(form, around.stdout_style(Color::Auto), terminal, names);
        let (paper, writer) = Paper::new(context.output.clone(), shown, chosen);
        let (follow, hides) = (self.follow, self.lines == Some(0));
        let limited = self.lines.is_none() && paper.chooses();
        let output = context.output.clone();
        let patience = Patience { call: Duration::from_secs(5), connect: None, direct: false };
        let asked = self.query.ask(&context, inventory, patience, |fleet, stop| async move {
            let writer = writer.begin();
            let work = async {
                let mut reading = Reading { fleet: &fleet, hosts: &hosts, output: &output, paper };
                let reached = reading.all(&part, hides).await;
                if limited && part.last.is_some_and(|last| reached.iter().any(|host| host.entries >= last)) {
                    let many = part.last.unwrap_or_default();
                    output.err(&format!(
                        "note: only the last {many} lines of each host were looked through; --since or -n goes further back\n"
                    ));
                }
                let failed = reached.iter().filter(|host| host.error.is_some()).count();
                if follow && reached.iter().any(Reached::is_there) {
                    reading.follow(&part, reached).await;
                }
                failed
            };
            let failed = tokio::select! {
                failed = work => Some(failed),
                () = stopped(stop) => None,
            };
            // What is on its way is shown yet, if anybody reads it.
            let limit = if failed.is_some() { Duration::MAX } else { Duration::from_secs(1) };
            let written: Result<(), ReportError> = match tokio::time::timeout(limit, writer).await {
                Ok(Ok(written)) => written,
                Ok(Err(_)) | Err(_) => Ok(()),
            };
            written.map(|()| failed)
        })?;
        match asked {
            Ok(ended) => Ok(match ended? {
                Some(0) => ExitStatus::Done,
                Some(_) => ExitStatus::Failed,
                None => ExitStatus::Interrupted,
            }),
            Err(exit) => Ok(exit),
        }
    }

    /// What is read before anything is followed.
    fn part(&self, now: OffsetDateTime) -> Part {
        let begin = match self.since {
            None => Begin::Oldest,
            Some(Since::Boot) => Begin::Boot,
            Some(Since::Time(when)) => Begin::Since(when.at(now)),
        };
        let some = if self.grep.is_some() || self.level.is_some() { LINES_TO_CHOOSE_FROM } else { LINES };
        // Of nothing there is no last entry, behind which to follow.
        let last = self.lines.map(|lines| lines.max(1)).or(self.since.is_none().then_some(some));
        Part { begin, until: self.until.map(|when| when.at(now)), last, follow: false }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

/// The journals of the hosts, and where they are shown.
struct Reading<'a> {
    fleet: &'a Fleet,
    hosts: &'a [Host],
    output: &'a Output,
    paper: Paper,
}

impl Reading<'_> {
    /// Reads all hosts' journals to their ends, and shows them in order.
    async fn all(&mut self, part: &Part, hides: bool) -> Vec<Reached> {
        let (senders, sources): (Vec<_>, Vec<_>) = self.hosts.iter().map(|_| mpsc::channel(AHEAD)).unzip();
        let (fleet, output) = (self.fleet, self.output);
        let readers = self.hosts.iter().zip(senders).map(|(host, sender)| read(fleet, host, part, sender));
        let merged = merge(sources, &mut self.paper, hides);
        let (reached, ()) = join(join_all(readers), merged).await;
        let mut hints = BTreeSet::new();
        for error in reached.iter().filter_map(|host| host.error.as_ref()) {
            output.err(&format!("error: {}\n", error::line(error)));
            hints.extend(error.hint());
        }
        for (at, hint) in hints.iter().enumerate() {
            output.err(&format!("{}hint: {hint}\n", if at == 0 { "\n" } else { "" }));
        }
        reached
    }
}

/// Reads a host's journal to its end, or until nobody wants it any more.
async fn read(fleet: &Fleet, host: &Host, part: &Part, sender: mpsc::Sender<Entry>) -> Reached {
    let mut reached = Reached::default();
    let reading = async {
        let mut journal = fleet.connection(host).await?.journal(UNIT, part, PATIENCE).await?;
        while let Some(entry) = journal.next().await? {
            reached.cursor = Some(entry.cursor.clone());
            reached.entries = reached.entries.saturating_add(1);
            if sender.send(entry).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let ended: Result<(), TaskError> = reading.await;
    reached.error = ended.err();
    reached
}

/// Takes the oldest entry of those that the hosts have next, as long as there are any and somebody reads them.
async fn merge(mut sources: Vec<mpsc::Receiver<Entry>>, paper: &mut Paper, hides: bool) {
    let mut next: Vec<Option<Entry>> = sources.iter().map(|_| None).collect();
    loop {
        for (next, source) in next.iter_mut().zip(&mut sources) {
            if next.is_none() {
                *next = source.recv().await;
            }
        }
        let oldest = (0..next.len()).filter_map(|host| Some((next[host].as_ref()?.micros, host))).min();
        let Some((host, entry)) = oldest.and_then(|(_, host)| Some((host, next[host].take()?))) else { return };
        if !hides && !paper.put(&Told::new(host, entry)).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn which_part_is_read() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            logs: Logs,
        }
        let now = datetime!(2026-11-26 10:14:30 UTC);
        let since = || Begin::Since(datetime!(2026-11-26 09:14:30 UTC));
        for (line, begin, last) in [
            ("", Begin::Oldest, Some(200)),
            ("-f", Begin::Oldest, Some(200)),
            ("--grep slow", Begin::Oldest, Some(10_000)),
            ("--level warn -n 7", Begin::Oldest, Some(7)),
            ("-n 0", Begin::Oldest, Some(1)),
            ("--since 1h", since(), None),
            ("--since 1h -n 5 --grep x", since(), Some(5)),
            ("--since boot", Begin::Boot, None),
        ] {
            let words = ["logs", "-i", "x.yaml"].into_iter().chain(line.split_whitespace());
            let logs = <Line as clap::Parser>::try_parse_from(words).unwrap().logs;
            let want = Part { begin, until: None, last, follow: false };
            assert_eq!(logs.part(now), want, "{line}");
        }
    }
}
