//! What the hosts noted of runs that changed something there.

use super::lines;
use crate::cli::Context;
use crate::cli::moment;
use crate::cli::options::OutputFormat;
use crate::cli::query::{Patience, Query};
use crate::error::{self, Error, ExitStatus};
use crate::inventory::Inventory;
use crate::report::{self, Color, one_line};
use crate::tasks::{Note, host_log_file};
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// How long connecting to a host may take, where the inventory does not say less.
const CONNECT: Duration = Duration::from_secs(10);

/// A run as the hosts noted it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Noted {
    /// The line of the host that it began on first.
    first: Note,
    /// How it ended on each host, if it did: exit code and words.
    hosts: BTreeMap<String, Option<(u8, String)>>,
}

pub(super) fn run(query: Query, context: &Context, inventory: Inventory) -> Result<ExitStatus, Error> {
    let cluster = inventory.cluster.clone();
    let patience = Patience { call: CONNECT, connect: Some(CONNECT), direct: false };
    let asked = query.ask(context, inventory, patience, |fleet, _| async move {
        let hosts = fleet.inventory.hosts.iter();
        let notes = hosts.map(|host| async { (host.name.clone(), fleet.notes(host).await) });
        join_all(notes).await
    })?;
    let answers = match asked {
        Ok(answers) => answers,
        Err(exit) => return Ok(exit),
    };
    let (mut notes, mut failed) = (Vec::new(), Vec::new());
    for (host, answer) in answers {
        match answer {
            Ok(own) => notes.push((host, own)),
            Err(error) => failed.push(format!("{host} could not be asked: {}\n", one_line(&error::line(&error)))),
        }
    }
    let runs = merge(notes);
    context.output.out(&match context.global.output {
        OutputFormat::Json => as_json(&runs),
        _ if runs.is_empty() => {
            format!("no run is noted in `{}` on the hosts that could be asked\n", host_log_file(&cluster))
        }
        _ => {
            let columns = context.around.columns.filter(|_| context.around.stdout_tty).map(usize::from);
            let rows = rows(&runs, OffsetDateTime::now_utc());
            lines(&rows, columns, context.around.stdout_style(Color::Auto))
        }
    })?;
    failed.iter().for_each(|line| context.output.err(line));
    Ok(if failed.is_empty() { ExitStatus::Done } else { ExitStatus::Failed })
}

/// The runs that the hosts noted, the newest first.
fn merge(notes: Vec<(String, Vec<Note>)>) -> Vec<Noted> {
    let mut runs: BTreeMap<String, Noted> = BTreeMap::new();
    for (host, notes) in notes {
        for note in notes {
            let run =
                runs.entry(note.run.clone()).or_insert_with(|| Noted { first: note.clone(), hosts: BTreeMap::new() });
            if note.time < run.first.time {
                run.first = note.clone();
            }
            let end = note.exit.map(|exit| (exit, note.result.unwrap_or_default()));
            let known = run.hosts.entry(host.clone()).or_default();
            if end.is_some() {
                *known = end;
            }
        }
    }
    let mut runs: Vec<Noted> = runs.into_values().collect();
    runs.sort_by(|a, b| (b.first.time, &b.first.run).cmp(&(a.first.time, &a.first.run)));
    runs
}

/// How it ended, and where: hosts of one ending together.
fn result(run: &Noted) -> String {
    let mut endings: Vec<(String, Vec<&str>)> = Vec::new();
    for (host, end) in &run.hosts {
        let words = end.as_ref().map_or("begun; it has not ended, or was killed", |(_, words)| words.as_str());
        match endings.iter_mut().find(|(other, _)| other == words) {
            Some((_, hosts)) => hosts.push(host),
            None => endings.push((words.to_owned(), vec![host])),
        }
    }
    let words = endings.into_iter().map(|(words, hosts)| format!("{words} ({})", hosts.join(", ")));
    words.collect::<Vec<_>>().join("; ")
}

fn rows(runs: &[Noted], now: OffsetDateTime) -> Vec<Vec<String>> {
    let head = ["WHEN", "AGE", "COMMAND", "BY", "FROM", "ETCD", "RESULT"].map(str::to_owned).to_vec();
    let some = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let row = |run: &Noted| {
        let Note { time, by, from, command, version, .. } = &run.first;
        let (when, age) = (moment::local(*time), moment::age(now - *time));
        vec![when, age, some(command), some(by), some(from), some(version), result(run)]
    };
    std::iter::once(head).chain(runs.iter().map(row)).collect()
}

fn as_json(runs: &[Noted]) -> String {
    let line = |run: &Noted| {
        let host = |(host, end): (&String, &Option<(u8, String)>)| {
            let end = end.as_ref();
            json!({ "host": host, "exit": end.map(|(exit, _)| exit), "result": end.map(|(_, words)| words) })
        };
        let Note { time, run: id, by, from, command, version, .. } = &run.first;
        let hosts: Vec<_> = run.hosts.iter().map(host).collect();
        let time = moment::rfc3339(*time);
        let line = json!({
            "v": 1, "run": id, "time": time, "command": command, "by": by, "from": from, "version": version, "hosts": hosts,
        });
        report::json(&line)
    };
    runs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn note(run: &str, minute: u8, end: Option<(u8, &str)>) -> Note {
        Note {
            time: datetime!(2026-11-22 10:00:00 UTC) + Duration::from_secs(60 * u64::from(minute)),
            run: run.into(),
            by: "ada@desk".into(),
            command: "deploy".into(),
            version: "3.5.16".into(),
            exit: end.map(|(exit, _)| exit),
            result: end.map(|(_, words)| words.into()),
            from: "10.0.0.1".into(),
        }
    }

    #[test]
    fn runs_are_put_together_of_what_their_hosts_noted() {
        let done = Some((0, "done"));
        let runs = merge(vec![
            ("node01".into(), vec![note("a", 1, None), note("a", 2, done), note("b", 5, None)]),
            ("node02".into(), vec![note("a", 1, None), note("a", 3, Some((1, "`start`: it broke")))]),
            // Its beginning is no longer among what is read.
            ("node03".into(), vec![note("a", 3, done)]),
        ]);
        let told: Vec<_> = runs.iter().map(|run| (run.first.run.as_str(), result(run))).collect();
        assert_eq!(
            told,
            [
                ("b", "begun; it has not ended, or was killed (node01)".to_owned()),
                ("a", "done (node01, node03); `start`: it broke (node02)".to_owned()),
            ]
        );
        let now = datetime!(2026-11-22 11:05:00 UTC);
        let ages: Vec<_> = rows(&runs, now).into_iter().map(|row| row[1..6].join(" ")).collect();
        let want = [
            "AGE COMMAND BY FROM ETCD",
            "1 h ago deploy ada@desk 10.0.0.1 3.5.16",
            "1 h ago deploy ada@desk 10.0.0.1 3.5.16",
        ];
        assert_eq!(ages, want);
        assert_eq!(
            as_json(&runs[..1]),
            "{\"v\":1,\"run\":\"b\",\"time\":\"2026-11-22T10:05:00Z\",\"command\":\"deploy\",\"by\":\"ada@desk\",\
             \"from\":\"10.0.0.1\",\"version\":\"3.5.16\",\"hosts\":[{\"host\":\"node01\",\"exit\":null,\"result\":null}]}\n"
        );
    }
}
