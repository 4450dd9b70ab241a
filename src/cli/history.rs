//! `etcd-ha history`: past runs, from the logs on this machine or from the hosts that they touched.

mod hosts;

use super::Context;
use super::moment;
use super::options::OutputFormat;
use super::query::Query;
use crate::error::{Error, ExitStatus, Explain};
use crate::report::{
    Detail, LogFile, PastRun, Plain, ReportError, Sink as _, Style, cluster_folder, count, cut, ending_word,
    human_bytes, human_seconds, json_line, logs, pad, read, state_folder, summary, width, wrap,
};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// `etcd-ha history`
#[derive(Debug, Args)]
#[command(override_usage = "etcd-ha history [OPTIONS] --inventory <FILE> [show [N]]")]
pub(super) struct History {
    #[command(flatten)]
    query: Query,
    /// Tell a run again, line by line, instead of listing all of them.
    #[arg(value_enum, hide_possible_values = true)]
    show: Option<Show>,
    /// Which run, as the list has it; the last, if none is named.
    #[arg(value_name = "N", requires = "show")]
    number: Option<usize>,
    /// Ask the hosts what they noted of runs that changed something there, from whichever controller.
    #[arg(long, conflicts_with = "show")]
    hosts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Show {
    Show,
}

/// Why a past run cannot be told.
#[derive(Debug, thiserror::Error)]
enum NoHistory {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no run {number} of cluster `{cluster}`; {}", range(*all))]
    NoSuchRun { number: usize, cluster: String, all: usize },
}

impl Explain for NoHistory {
    fn exit(&self) -> ExitStatus {
        match self {
            Self::Read { .. } => ExitStatus::Failed,
            Self::NoSuchRun { .. } => ExitStatus::Usage,
        }
    }
}

fn range(all: usize) -> String {
    match all {
        0 => "none was logged on this machine".to_owned(),
        1 => "there is 1".to_owned(),
        all => format!("there are 1 to {all}"),
    }
}

impl History {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.query.target.load()?;
        if self.hosts {
            return hosts::run(self.query, &context, inventory);
        }
        let state = state_folder(|name| std::env::var_os(name)).ok_or(ReportError::NoStateFolder)?;
        let folder = cluster_folder(&state, &inventory.cluster).join("runs");
        let fault = |path: &Path| {
            let path = path.to_path_buf();
            move |source| NoHistory::Read { path, source }
        };
        let logs = logs(&folder).map_err(fault(&folder))?;
        if self.show.is_none() {
            let runs: Vec<(LogFile, PastRun, bool)> = logs
                .into_iter()
                .map(|log| {
                    let run = summary(&log).map_err(fault(&log.path))?;
                    let goes_on = run.end.is_none() && runs_now(log.pid);
                    Ok((log, run, goes_on))
                })
                .collect::<Result<_, NoHistory>>()?;
            context.output.out(&match context.global.output {
                OutputFormat::Json => as_json(&runs),
                _ => {
                    let columns = context.around.columns.filter(|_| context.around.stdout_tty).map(usize::from);
                    let style = context.around.stdout_style(crate::report::Color::Auto);
                    let now = OffsetDateTime::now_utc();
                    as_text(&runs, &inventory.cluster, &folder, now, columns, style)
                }
            })?;
            return Ok(ExitStatus::Done);
        }
        let number = self.number.unwrap_or(logs.len());
        let Some(log) = number.checked_sub(1).and_then(|place| logs.get(place)) else {
            return Err(NoHistory::NoSuchRun { number, cluster: inventory.cluster, all: logs.len() }.into());
        };
        let run = summary(log).map_err(fault(&log.path))?;
        let text = match context.global.output {
            OutputFormat::Json => {
                let mut text = String::new();
                read(&log.path, |at, event| text += &json_line(at, &event)).map_err(fault(&log.path))?;
                text
            }
            _ => told(log, &run, context.global.verbose).map_err(fault(&log.path))?,
        };
        context.output.out(&text)?;
        Ok(ExitStatus::Done)
    }
}

/// Whether the process of a log without an end still runs, here.
fn runs_now(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "etcd-ha")
}

/// A run as plain lines, as it was told when it ran, between who and when, and what is missing.
fn told(log: &LogFile, run: &PastRun, verbose: bool) -> std::io::Result<String> {
    let mut out = Vec::new();
    let by = run.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let head = format!("run {}: {}, {}{by}\n", log.number, run.command, moment::local(run.at));
    let mut lines = Plain::new(&mut out, Detail { verbose, ..Detail::default() });
    let unreadable = read(&log.path, |at, event| {
        // What is written to memory meets no fault.
        let _ = lines.event(at, &event);
    })?;
    let mut text = head + &String::from_utf8_lossy(&out);
    if run.end.is_none() {
        let what = if runs_now(log.pid) { "it still runs".to_owned() } else { broken_off(run) };
        text += &format!("{what}\n");
    }
    if unreadable > 0 {
        text += &format!("{} of `{}` could not be read\n", count(unreadable, "line"), log.path.display());
    }
    Ok(text)
}

/// How far a run came that has no end.
fn broken_off(run: &PastRun) -> String {
    match &run.last {
        Some((host, task)) => format!("broken off after `{task}` on {host}"),
        None => "broken off before anything was begun".to_owned(),
    }
}

/// The list, the newest first, and how much room it takes.
fn as_text(
    runs: &[(LogFile, PastRun, bool)],
    cluster: &str,
    folder: &Path,
    now: OffsetDateTime,
    columns: Option<usize>,
    style: Style,
) -> String {
    if runs.is_empty() {
        return format!("no run of cluster {cluster} was logged on this machine (in {})\n", folder.display());
    }
    let head = ["N", "WHEN", "AGE", "COMMAND", "BY", "CHANGES", "TOOK", "RESULT"].map(str::to_owned).to_vec();
    let row = |(log, run, goes_on): &(LogFile, PastRun, bool)| {
        let (took, result) = match &run.end {
            Some(end) => (human_seconds(end.seconds), format!("{}: {}", ending_word(end.exit), end.message)),
            None if *goes_on => ("-".to_owned(), "still runs".to_owned()),
            None => ("-".to_owned(), broken_off(run)),
        };
        let (number, age) = (log.number.to_string(), moment::age(now - run.at));
        let by = run.by.clone().unwrap_or_else(|| "-".to_owned());
        vec![number, moment::local(run.at), age, run.command.clone(), by, run.changes.to_string(), took, result]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(runs.iter().rev().map(row)).collect();
    let bytes = runs.iter().map(|(log, ..)| log.bytes).sum();
    let (logs, bytes) = (count(runs.len(), "run"), human_bytes(bytes));
    let rest = format!("{logs}, {bytes} in {}; nothing there is ever deleted", folder.display());
    lines(&rows, columns, style) + &rest + "\n"
}

/// With less room than this the last column has lines of its own.
const ROOM: usize = 40;

/// Rows as aligned columns. The last one is cut where a terminal ends or, if most of it would be lost, stands below.
pub(super) fn lines(rows: &[Vec<String>], columns: Option<usize>, style: Style) -> String {
    let cells = rows.first().map_or(0, Vec::len);
    let wide =
        |cell: usize| rows.iter().filter_map(|row| row.get(cell)).map(|text| width(text)).max().unwrap_or_default();
    let widths: Vec<usize> = (0..cells).map(wide).collect();
    let before: usize = widths.iter().rev().skip(1).map(|width| width + 2).sum();
    let last = widths.last().copied().unwrap_or_default();
    let below = columns.is_some_and(|columns| columns < before + last.min(ROOM));
    let mut text = String::new();
    for (place, row) in rows.iter().enumerate() {
        let (row, rest) = match row.split_last() {
            Some((rest, row)) if below => (row, Some(rest)),
            _ => (&row[..], None),
        };
        let all = row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect::<Vec<_>>().join("  ");
        let line = match columns {
            Some(columns) => cut(all.trim_end(), columns, "…"),
            None => all.trim_end().to_owned(),
        };
        text += &if place == 0 { style.bold(line) } else { line };
        text.push('\n');
        if let (Some(rest), Some(columns), 1..) = (rest, columns, place) {
            for line in wrap(rest, columns.saturating_sub(INDENT.len())) {
                text += &format!("{INDENT}{}\n", cut(&line, columns.saturating_sub(INDENT.len()), "…"));
            }
        }
    }
    text
}

/// Before a last column that stands below.
const INDENT: &str = "   ";

fn as_json(runs: &[(LogFile, PastRun, bool)]) -> String {
    let line = |(log, run, goes_on): &(LogFile, PastRun, bool)| {
        let end = run.end.as_ref();
        let last = run.last.as_ref().filter(|_| end.is_none());
        let line = json!({
            "v": 1,
            "run": log.number,
            "time": moment::rfc3339(run.at),
            "command": run.command,
            "by": run.by,
            "changes": run.changes,
            "exit": end.map(|end| end.exit.code()),
            "message": end.map(|end| &end.message),
            "seconds": end.map(|end| end.seconds),
            "goes_on": goes_on,
            "last_host": last.map(|(host, _)| host),
            "last_task": last.map(|(_, task)| task),
            "unreadable_lines": run.unreadable,
            "log": log.path,
            "bytes": log.bytes,
        });
        crate::report::json(&line)
    };
    runs.iter().rev().map(line).collect()
}

#[cfg(test)]
mod tests;
