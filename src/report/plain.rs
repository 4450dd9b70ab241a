//! A line an event, for CI logs, pipes and those who want no bars.

use super::closing::{last_line, probe_line, recap_rows};
use super::human::{count, human_bytes, human_ratio, human_seconds, percent};
use super::rate::Transfer;
use super::round_trips::{rows, trip};
use super::text::{one_line, visible};
use super::{Detail, Event, Look, Outcome, ReportError, Sink, Style, Symbols};
use crate::error::ExitStatus;
use std::io::{self, Write};
use time::macros::format_description;
use time::{Duration, OffsetDateTime, UtcOffset};

/// Between two lines of progress of one host lies at least this much.
const PROGRESS: Duration = Duration::seconds(5);

/// A task that says nothing for so long gets a line of its own, so that a log shows where a run hangs.
const SILENCE: Duration = Duration::seconds(30);

/// Turns events into lines. All times are in UTC, as on most machines that keep such logs.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    detail: Detail,
    running: Vec<Running>,
}

#[derive(Debug, Clone)]
struct Running {
    host: String,
    task: String,
    began: OffsetDateTime,
    /// When the last line about it was said, or when it began.
    said: OffsetDateTime,
    message: String,
    transfer: Option<Transfer>,
    /// Whether the end of this transfer was said.
    complete: bool,
}

impl Lines {
    pub fn new(detail: Detail) -> Self {
        Self { detail, running: Vec::new() }
    }

    /// The lines for `event`, mostly one.
    pub fn tell(&mut self, at: OffsetDateTime, event: &Event) -> Vec<String> {
        if self.detail.quiet && !event.is_grave() {
            return Vec::new();
        }
        match event {
            Event::RunStarted { command, cluster, hosts, .. } => {
                let hosts = count(hosts.len(), "host");
                stamped(at, &format!("{command}: cluster {cluster}, {hosts}"))
            }
            Event::PlayStarted { play, mode, hosts } => {
                let whom = match hosts.as_slice() {
                    [only] => only.clone(),
                    hosts => format!("{}, {mode}", count(hosts.len(), "host")),
                };
                stamped(at, &format!("play: {} ({whom})", one_line(play)))
            }
            Event::TaskStarted { host, task } => {
                self.begin(at, host, task);
                if self.detail.verbose { about(at, host, task, "started") } else { Vec::new() }
            }
            Event::TaskProgress { host, task, message, done, total } => {
                self.progress(at, host, task, message, done.map(|done| (done, *total)))
            }
            Event::TaskFinished { host, task, outcome, seconds } => {
                self.running.retain(|running| running.host != *host);
                ending(at, host, task, outcome, *seconds)
            }
            Event::HopStarted { hop, hops, version } => stamped(at, &format!("hop {hop} of {hops}: etcd {version}")),
            Event::HopPending { .. } | Event::ChangePending { .. } | Event::TurnPending { .. } => Vec::new(),
            Event::HostState { host, state } => stamped(at, &format!("{host} is left: {}", one_line(state))),
            Event::Warning { host, message } => {
                let host = host.as_ref().map(|host| format!("{host} ")).unwrap_or_default();
                stamped(at, &format!("{host}warning: {}", one_line(message)))
            }
            Event::RoundTrip { host, .. } => {
                let told = trip(event).map(|trip| format!("{} {}  {trip}", fine_clock(at), one_line(host)));
                told.into_iter().collect()
            }
            Event::RoundTrips { hosts } => rows(hosts),
            Event::Probed { .. } => probe_line(event).map(|line| stamped(at, &line)).unwrap_or_default(),
            Event::RunFinished { exit, message, recap, seconds, .. } => {
                self.running.clear();
                let look = Look { style: Style::new(false), symbols: Symbols::ASCII };
                let recap = if self.detail.quiet { &[][..] } else { recap };
                let mut lines = recap_rows(look, recap, usize::MAX);
                if let Some(path) = &self.detail.run_log
                    && !matches!(exit, ExitStatus::Done | ExitStatus::Pending)
                {
                    lines.push(format!("run log: {}", path.display()));
                }
                lines.push(last_line(*exit, message, *seconds));
                lines
            }
        }
    }

    /// The lines that are due because time went by.
    pub fn tick(&mut self, now: OffsetDateTime) -> Vec<String> {
        let mut lines = Vec::new();
        if self.detail.quiet {
            return lines;
        }
        for running in &mut self.running {
            if now - running.said < SILENCE {
                continue;
            }
            running.said = now;
            let message = match running.message.as_str() {
                "" => "still running",
                message => message,
            };
            let span = human_seconds((now - running.began).as_seconds_f64());
            lines.extend(about(now, &running.host, &running.task, &format!("{message} ({span} so far)")));
        }
        lines
    }

    fn begin(&mut self, at: OffsetDateTime, host: &str, task: &str) -> &mut Running {
        self.running.retain(|running| running.host != host);
        let index = self.running.len();
        self.running.push(Running {
            host: host.to_string(),
            task: task.to_string(),
            began: at,
            said: at,
            message: String::new(),
            transfer: None,
            complete: false,
        });
        &mut self.running[index]
    }

    fn progress(
        &mut self,
        at: OffsetDateTime,
        host: &str,
        task: &str,
        message: &str,
        moved: Option<(u64, Option<u64>)>,
    ) -> Vec<String> {
        let message = one_line(message);
        let known = self.running.iter().position(|running| running.host == host && running.task == task);
        let running = match known {
            Some(index) => &mut self.running[index],
            None => self.begin(at, host, task),
        };
        if running.message != message {
            (running.transfer, running.complete) = (None, false);
            running.message = message;
        }
        if let Some((done, total)) = moved {
            let transfer = running.transfer.get_or_insert_with(|| Transfer::new(at, done, total));
            transfer.note(at, done, total);
        }
        let complete = running.transfer.as_ref().is_some_and(Transfer::is_complete);
        let just_complete = complete && !running.complete;
        running.complete = complete;
        if !just_complete && at - running.said < PROGRESS {
            return Vec::new();
        }
        running.said = at;
        let moved = running.transfer.as_ref().map(|transfer| moved_so_far(transfer, at));
        let text = match moved {
            Some(moved) => format!("{}: {moved}", running.message),
            None => running.message.clone(),
        };
        about(at, host, task, &text)
    }
}

/// `12.4/19.8 MiB (62 %), 41.2 MiB/s`
fn moved_so_far(transfer: &Transfer, at: OffsetDateTime) -> String {
    // A rate is never negative and far below the largest number.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rate = transfer.rate(at).map(|rate| format!(", {}/s", human_bytes(rate as u64)));
    let rate = rate.unwrap_or_default();
    match transfer.total {
        Some(total) => {
            let ratio = human_ratio(transfer.done, total);
            format!("{} ({} %){rate}", ratio.trim_start(), percent(transfer.done, total))
        }
        None => format!("{}{rate}", human_bytes(transfer.done)),
    }
}

fn ending(at: OffsetDateTime, host: &str, task: &str, outcome: &Outcome, seconds: f64) -> Vec<String> {
    // Shorter tasks would only fill the log with numbers.
    let span = if seconds >= 1.0 { format!(" ({})", human_seconds(seconds)) } else { String::new() };
    match outcome {
        Outcome::Ok => about(at, host, task, &format!("ok{span}")),
        Outcome::Changed { changes } if changes.is_empty() => about(at, host, task, &format!("changed{span}")),
        Outcome::Changed { changes } => {
            let changes: Vec<String> = changes.iter().map(|change| one_line(change)).collect();
            about(at, host, task, &format!("changed: {}{span}", changes.join("; ")))
        }
        Outcome::Skipped { reason } => about(at, host, task, &format!("skipped: {}", one_line(reason))),
        Outcome::Failed { error, hint } => {
            let mut lines = about(at, host, task, &format!("failed{span}: {}", visible(error)));
            if let Some(hint) = hint {
                lines.extend(about(at, host, task, &format!("hint: {}", visible(hint))));
            }
            lines
        }
    }
}

/// `10:14:31Z node01 stage_release: TEXT`; every line of a longer text says again whose it is.
fn about(at: OffsetDateTime, host: &str, task: &str, text: &str) -> Vec<String> {
    let (host, task) = (one_line(host), one_line(task));
    let lines = text.lines().enumerate().map(|(number, line)| {
        let indent = if number == 0 { "" } else { "  " };
        format!("{} {host} {task}: {indent}{line}", clock(at))
    });
    lines.collect()
}

fn stamped(at: OffsetDateTime, text: &str) -> Vec<String> {
    vec![format!("{} {}", clock(at), one_line(text))]
}

fn clock(at: OffsetDateTime) -> String {
    let format = format_description!("[hour]:[minute]:[second]Z");
    // Formatting a time of day cannot fail.
    at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default()
}

/// To the millisecond, for what takes milliseconds.
fn fine_clock(at: OffsetDateTime) -> String {
    let format = format_description!("[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default()
}

/// Writes plain lines, to stderr as a rule.
#[derive(Debug)]
pub struct Plain<W> {
    lines: Lines,
    out: Option<W>,
}

impl Plain<io::Stderr> {
    /// On stderr.
    #[must_use]
    pub fn stderr(detail: Detail) -> Self {
        Self::new(io::stderr(), detail)
    }
}

impl<W: Write> Plain<W> {
    /// On any writer.
    pub fn new(out: W, detail: Detail) -> Self {
        Self { lines: Lines::new(detail), out: Some(out) }
    }

    fn write(&mut self, lines: &[String]) -> Result<(), ReportError> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        if lines.is_empty() {
            return Ok(());
        }
        let text = format!("{}\n", lines.join("\n"));
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(source) => {
                self.out = None;
                match source.kind() {
                    io::ErrorKind::BrokenPipe => Ok(()),
                    _ => Err(ReportError::Stream { stream: "stderr", source }),
                }
            }
        }
    }
}

impl<W: Write + Send> Sink for Plain<W> {
    fn event(&mut self, at: OffsetDateTime, event: &Event) -> Result<(), ReportError> {
        let lines = self.lines.tell(at, event);
        self.write(&lines)
    }

    fn tick(&mut self, now: OffsetDateTime) -> Result<(), ReportError> {
        let lines = self.lines.tick(now);
        self.write(&lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const ETCD: u64 = 20_761_804;

    fn at(seconds: f64) -> OffsetDateTime {
        datetime!(2026-11-22 11:14:30 +1) + Duration::seconds_f64(seconds)
    }

    fn progress(message: &str, moved: Option<(u64, Option<u64>)>) -> Event {
        Event::TaskProgress {
            host: "node01".into(),
            task: "stage_release".into(),
            message: message.into(),
            done: moved.map(|(done, _)| done),
            total: moved.and_then(|(_, total)| total),
        }
    }

    fn finished(outcome: Outcome, seconds: f64) -> Event {
        Event::TaskFinished { host: "node01".into(), task: "stage_release".into(), outcome, seconds }
    }

    fn started() -> Event {
        Event::TaskStarted { host: "node01".into(), task: "stage_release".into() }
    }

    #[test]
    fn one_line_an_event() {
        let changes = vec!["etcd 3.5.16 uploaded (19.8 MiB)\nand unpacked".into(), "links".into()];
        let failed = Outcome::Failed {
            error: "`tar` exited with status 2:\ntar: \x1b[31mno space".into(),
            hint: Some("free 120 MiB".into()),
        };
        let cases: Vec<(Event, &[&str])> = vec![
            (
                Event::RunStarted {
                    command: "deploy".into(),
                    cluster: "prod".into(),
                    hosts: vec!["node01".into()],
                    by: None,
                },
                &["10:14:30Z deploy: cluster prod, 1 host"],
            ),
            (
                Event::PlayStarted {
                    play: "Stage all".into(),
                    mode: "parallel".into(),
                    hosts: vec!["node01".into(), "node02".into()],
                },
                &["10:14:30Z play: Stage all (2 hosts, parallel)"],
            ),
            (
                Event::PlayStarted { play: "Verify".into(), mode: "parallel".into(), hosts: vec!["controller".into()] },
                &["10:14:30Z play: Verify (controller)"],
            ),
            (Event::HopStarted { hop: 1, hops: 2, version: "3.5.33".into() }, &["10:14:30Z hop 1 of 2: etcd 3.5.33"]),
            (Event::HopPending { hop: 1, hops: 2, version: "3.5.33".into() }, &[]),
            (started(), &[]),
            (finished(Outcome::Ok, 0.99), &["10:14:30Z node01 stage_release: ok"]),
            (finished(Outcome::Ok, 1.0), &["10:14:30Z node01 stage_release: ok (1.0 s)"]),
            (
                finished(Outcome::Changed { changes }, 2.1),
                &[
                    "10:14:30Z node01 stage_release: changed: etcd 3.5.16 uploaded (19.8 MiB) / and unpacked; links (2.1 s)",
                ],
            ),
            (finished(Outcome::Changed { changes: vec![] }, 0.1), &["10:14:30Z node01 stage_release: changed"]),
            (
                finished(Outcome::Skipped { reason: "not its turn".into() }, 0.0),
                &["10:14:30Z node01 stage_release: skipped: not its turn"],
            ),
            (
                finished(failed, 0.1),
                &[
                    "10:14:30Z node01 stage_release: failed: `tar` exited with status 2:",
                    "10:14:30Z node01 stage_release:   tar: no space",
                    "10:14:30Z node01 stage_release: hint: free 120 MiB",
                ],
            ),
            (
                Event::HostState { host: "node01".into(), state: "etcd 3.5.16, healthy, not touched".into() },
                &["10:14:30Z node01 is left: etcd 3.5.16, healthy, not touched"],
            ),
            (
                Event::Warning { host: Some("node01".into()), message: "the clock is behind".into() },
                &["10:14:30Z node01 warning: the clock is behind"],
            ),
            (
                Event::Warning { host: None, message: "an even number of members".into() },
                &["10:14:30Z warning: an even number of members"],
            ),
            (
                Event::Probed { writes: 0, failed: 0, retried: 0, longest_gap: 0.0, during: None, leader_changes: 0 },
                &["10:14:30Z probe: no member took a write"],
            ),
        ];
        let mut lines = Lines::new(Detail::default());
        for (event, expected) in cases {
            assert_eq!(lines.tell(at(0.0), &event), expected);
        }
        let mut verbose = Lines::new(Detail { verbose: true, ..Detail::default() });
        assert_eq!(verbose.tell(at(0.0), &started()), ["10:14:30Z node01 stage_release: started"]);
    }

    #[test]
    fn progress_is_rare_but_the_end_is_said() {
        let mut lines = Lines::new(Detail::default());
        lines.tell(at(0.0), &started());
        let mut said = Vec::new();
        for tenth in 0..=120u32 {
            let done = (ETCD / 120 * u64::from(tenth)).min(ETCD);
            let done = if tenth == 120 { ETCD } else { done };
            said.extend(lines.tell(at(f64::from(tenth) / 10.0), &progress("uploading", Some((done, Some(ETCD))))));
        }
        said.extend(lines.tell(at(12.1), &progress("uploading", Some((ETCD, Some(ETCD))))));
        said.extend(lines.tell(at(12.2), &progress("unpacking", None)));
        said.extend(lines.tell(at(17.5), &progress("unpacking", None)));
        assert_eq!(
            said,
            [
                "10:14:35Z node01 stage_release: uploading: 8.2/19.8 MiB (41 %), 1.6 MiB/s",
                "10:14:40Z node01 stage_release: uploading: 16.5/19.8 MiB (83 %), 1.6 MiB/s",
                "10:14:42Z node01 stage_release: uploading: 19.8/19.8 MiB (100 %), 1.6 MiB/s",
                "10:14:47Z node01 stage_release: unpacking",
            ]
        );
    }

    #[test]
    fn a_silent_task_is_mentioned_now_and_then() {
        let mut lines = Lines::new(Detail::default());
        lines.tell(at(0.0), &started());
        assert!(lines.tick(at(29.9)).is_empty());
        assert_eq!(lines.tick(at(30.0)), ["10:15:00Z node01 stage_release: still running (30 s so far)"]);
        assert!(lines.tick(at(30.1)).is_empty());
        lines.tell(at(31.0), &progress("waiting for a leader", None));
        assert_eq!(lines.tick(at(65.0)), ["10:15:35Z node01 stage_release: waiting for a leader (1 min 05 s so far)"]);
        lines.tell(at(66.0), &finished(Outcome::Ok, 66.0));
        assert!(lines.tick(at(200.0)).is_empty());
    }

    #[test]
    fn the_end_names_the_run_log_only_when_needed() {
        let end = |exit| {
            let recap = crate::report::HostRecap { host: "node01".into(), ok: 4, changed: 3, failed: 0, seconds: 2.1 };
            let event = Event::RunFinished {
                command: "deploy".into(),
                cluster: "prod".into(),
                exit,
                message: "cluster prod is healthy, 3 of 3 members".into(),
                recap: vec![recap],
                seconds: 4.2,
            };
            let run_log = Some("/s/run.jsonl".into());
            Lines::new(Detail { run_log, ..Detail::default() }).tell(at(4.2), &event)
        };
        let recap = "node01   ok 4  changed 3  failed 0   2.1 s";
        assert_eq!(end(ExitStatus::Done), [recap, "done: cluster prod is healthy, 3 of 3 members (4.2 s)"]);
        assert_eq!(
            end(ExitStatus::Unhealthy),
            [recap, "run log: /s/run.jsonl", "unhealthy: cluster prod is healthy, 3 of 3 members (4.2 s)"]
        );
    }
}
