//! The lines that stay on a terminal when the bars are gone.

use super::closing::{last_line_for_terminal, probe_line, recap_rows};
use super::human::{count, human_seconds};
use super::round_trips::{rows, trip};
use super::text::{cut, one_line, pad, visible, width, wrap};
use super::{Detail, Event, Look, Outcome};
use crate::error::ExitStatus;
use time::OffsetDateTime;

/// Of a longer error, the first line and this many of the last are shown; the run log has all.
const LAST_LINES: usize = 10;

/// Tells a run as it goes: what changed, what failed, what the user should know.
#[derive(Debug, Clone)]
pub(super) struct Story {
    look: Look,
    detail: Detail,
    /// Columns for host names, so that the lines of a run align.
    name_columns: usize,
    play: Option<Play>,
}

/// The play that goes on.
#[derive(Debug, Clone)]
struct Play {
    began: OffsetDateTime,
    /// Whether a line was said under its heading.
    told: bool,
    /// Hosts that ended a task in it.
    hosts: Vec<String>,
}

impl Story {
    pub fn new(look: Look, detail: Detail) -> Self {
        Self { look, detail, name_columns: 0, play: None }
    }

    /// The lines that `event` adds, each within `columns` but for words that are longer.
    pub fn tell(&mut self, at: OffsetDateTime, event: &Event, columns: usize) -> Vec<String> {
        if self.detail.quiet && !event.is_grave() {
            return Vec::new();
        }
        match event {
            Event::RunStarted { hosts, .. } => {
                self.align(hosts);
                Vec::new()
            }
            Event::HopStarted { hop, hops, version } => {
                let mut lines = self.end_of_play(at);
                self.play = None;
                let title = format!("hop {hop} of {hops}: etcd {}", one_line(version));
                lines.extend(wrap(&self.look.style.bold(title), columns));
                lines
            }
            Event::PlayStarted { play, mode, hosts } => {
                let mut lines = self.end_of_play(at);
                self.align(hosts);
                self.play = Some(Play { began: at, told: false, hosts: Vec::new() });
                lines.push(self.heading(play, mode, hosts, columns));
                lines
            }
            Event::TaskFinished { host, task, outcome, seconds } => {
                let lines = self.ending(host, task, outcome, *seconds, columns);
                if let Some(play) = &mut self.play {
                    play.told |= !lines.is_empty();
                    if !play.hosts.contains(host) {
                        play.hosts.push(host.clone());
                    }
                }
                lines
            }
            Event::HostState { host, state } => {
                let mut lines = self.end_of_play(at);
                self.play = None;
                lines.extend(hanging(&format!("{} is left: {}", one_line(host), visible(state)), "  ", columns));
                lines
            }
            Event::Warning { host, message } => {
                if let Some(play) = &mut self.play {
                    play.told = true;
                }
                self.warning(host.as_deref(), message, columns)
            }
            Event::RoundTrip { host, .. } => {
                if let Some(play) = &mut self.play {
                    play.told = true;
                }
                let told = trip(event).unwrap_or_default();
                let Look { style, symbols } = self.look;
                let line = format!("{} {}  {told}", symbols.waiting, self.name(host, columns));
                vec![cut(&style.dim(line), columns, symbols.cut)]
            }
            Event::RoundTrips { hosts } => {
                let mut lines = self.end_of_play(at);
                self.play = None;
                lines.push(String::new());
                lines.extend(rows(hosts).iter().map(|row| cut(row, columns, self.look.symbols.cut)));
                lines
            }
            Event::Probed { .. } => {
                let mut lines = self.end_of_play(at);
                self.play = None;
                lines.extend(self.probed(event, columns));
                lines
            }
            Event::RunFinished { exit, message, recap, seconds, .. } => {
                let mut lines = self.end_of_play(at);
                self.play = None;
                if !recap.is_empty() && !self.detail.quiet {
                    lines.push(String::new());
                    lines.extend(recap_rows(self.look, recap, columns));
                }
                if !self.detail.quiet {
                    lines.push(String::new());
                }
                if let Some(path) = &self.detail.run_log
                    && !matches!(exit, ExitStatus::Done | ExitStatus::Pending)
                {
                    lines.push(self.look.style.dim(format!("run log: {}", path.display())));
                }
                let last = last_line_for_terminal(self.look, *exit, message, *seconds);
                lines.extend(wrap(&last, columns));
                lines
            }
            Event::TaskStarted { .. }
            | Event::TaskProgress { .. }
            | Event::HopPending { .. }
            | Event::ChangePending { .. }
            | Event::TurnPending { .. } => Vec::new(),
        }
    }

    fn align(&mut self, hosts: &[String]) {
        let widest = hosts.iter().map(|host| width(host)).max().unwrap_or_default();
        self.name_columns = self.name_columns.max(widest);
    }

    /// `node01  `, cut where names would take more than a third of the line.
    fn name(&self, host: &str, columns: usize) -> String {
        let room = name_room(self.name_columns, columns);
        pad(&cut(&one_line(host), room, self.look.symbols.cut), room)
    }

    /// `▸ Stage binaries, certificates and units (3 hosts, parallel)`
    fn heading(&self, play: &str, mode: &str, hosts: &[String], columns: usize) -> String {
        let whom = match hosts {
            [only] if only == "controller" => "controller".to_string(),
            [_] => "1 host".to_string(),
            _ => format!("{}, {mode}", count(hosts.len(), "host")),
        };
        let style = self.look.style;
        let title = style.bold(format!("{} {}", self.look.symbols.play, one_line(play)));
        let line = format!("{title} {}", style.dim(format!("({whom})")));
        cut(&line, columns, self.look.symbols.cut)
    }

    /// A play without a line under its heading says so, or it would look as if it had been left out.
    fn end_of_play(&mut self, at: OffsetDateTime) -> Vec<String> {
        let Some(play) = self.play.take() else {
            return Vec::new();
        };
        if play.told || play.hosts.is_empty() {
            return Vec::new();
        }
        let whom = match play.hosts.as_slice() {
            [only] => one_line(only),
            hosts => count(hosts.len(), "host"),
        };
        let span = human_seconds((at - play.began).as_seconds_f64());
        let Look { style, symbols } = self.look;
        vec![style.dim(format!("{} {whom}  ok ({span})", symbols.done))]
    }

    fn ending(&self, host: &str, task: &str, outcome: &Outcome, seconds: f64, columns: usize) -> Vec<String> {
        let Look { style, symbols } = self.look;
        let name = self.name(host, columns);
        let task = one_line(task);
        let line = |line: String| vec![cut(&line, columns, symbols.cut)];
        match outcome {
            Outcome::Ok if self.detail.verbose => {
                let span = human_seconds(seconds);
                line(style.dim(format!("{} {name}  {task}  ok ({span})", symbols.done)))
            }
            Outcome::Skipped { reason } if self.detail.verbose => {
                let reason = one_line(reason);
                line(style.dim(format!("{} {name}  {task}  skipped: {reason}", symbols.waiting)))
            }
            Outcome::Ok | Outcome::Skipped { .. } => Vec::new(),
            Outcome::Changed { changes } => {
                let changes: Vec<String> = changes.iter().map(|change| one_line(change)).collect();
                let word = if changes.is_empty() { "changed" } else { "changed:" };
                line(format!(
                    "{} {name}  {task}  {} {}",
                    style.good(symbols.done),
                    style.warn(word),
                    changes.join("; ")
                ))
            }
            Outcome::Failed { error, hint } => {
                let span = style.dim(format!("({})", human_seconds(seconds)));
                let head = style.bad(format!("{} {name}  {task}  failed", symbols.failed));
                let mut lines = line(format!("{head} {span}"));
                lines.extend(labelled(&style.bad("error:"), &shortened(error), columns));
                if let Some(hint) = hint {
                    lines.extend(labelled(&style.bold("hint:"), &visible(hint), columns));
                }
                lines
            }
        }
    }

    fn probed(&self, event: &Event, columns: usize) -> Vec<String> {
        let Look { style, symbols } = self.look;
        let head = match event {
            Event::Probed { writes: 1.., failed: 0, .. } => style.good(symbols.done),
            _ => style.warn(symbols.attention),
        };
        hanging(&format!("{head} {}", probe_line(event).unwrap_or_default()), "  ", columns)
    }

    fn warning(&self, host: Option<&str>, message: &str, columns: usize) -> Vec<String> {
        let Look { style, symbols } = self.look;
        let about = host.map(|host| format!("{}  ", one_line(host))).unwrap_or_default();
        let head = style.warn(format!("{} {about}warning:", symbols.attention));
        hanging(&format!("{head} {}", visible(message)), "  ", columns)
    }
}

/// Columns that names of `widest` columns get on a line of `columns`.
pub(super) fn name_room(widest: usize, columns: usize) -> usize {
    widest.min((columns / 3).max(8))
}

/// A text in an indented block, its first line with a label.
fn labelled(label: &str, text: &str, columns: usize) -> Vec<String> {
    hanging(&format!("{label} {text}"), "    ", columns)
        .into_iter()
        .enumerate()
        .map(|(number, line)| if number == 0 { format!("    {line}") } else { line })
        .collect()
}

/// A wrapped text whose lines but the first are indented.
fn hanging(text: &str, indent: &str, columns: usize) -> Vec<String> {
    let lines = wrap(text, columns.saturating_sub(indent.len()));
    let indented = lines.into_iter().enumerate().map(|(number, line)| match number {
        0 => line,
        _ => format!("{indent}{line}"),
    });
    indented.collect()
}

/// The first line and the last ones of a long error, such as a command's whole stderr.
fn shortened(error: &str) -> String {
    let text = visible(error);
    let lines: Vec<&str> = text.lines().collect();
    // One line in the place of one line would gain nothing.
    let Some(left_out) = lines.len().checked_sub(LAST_LINES + 1).filter(|left_out| *left_out > 1) else {
        return text;
    };
    let mut shown = vec![lines[0].to_string(), format!("({left_out} lines left out)")];
    shown.extend(lines[1 + left_out..].iter().map(ToString::to_string));
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{HostRecap, Style, Symbols};
    use time::Duration;
    use time::macros::datetime;

    const BARE: Look = Look { style: Style::new(false), symbols: Symbols::UNICODE };

    fn at(seconds: f64) -> OffsetDateTime {
        datetime!(2026-11-22 10:14:30 UTC) + Duration::seconds_f64(seconds)
    }

    fn play(title: &str, mode: &str, hosts: &[&str]) -> Event {
        Event::PlayStarted {
            play: title.into(),
            mode: mode.into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        }
    }

    fn finished(host: &str, task: &str, outcome: Outcome) -> Event {
        Event::TaskFinished { host: host.into(), task: task.into(), outcome, seconds: 0.4 }
    }

    fn changed(changes: &[&str]) -> Outcome {
        Outcome::Changed { changes: changes.iter().map(ToString::to_string).collect() }
    }

    fn run() -> Vec<Event> {
        vec![
            Event::RunStarted {
                command: "deploy".into(),
                cluster: "prod".into(),
                hosts: vec!["node01".into(), "node02".into(), "節点三".into()],
                by: None,
            },
            play("Look at every host", "parallel", &["node01", "node02", "節点三"]),
            finished("node01", "preflight", Outcome::Ok),
            finished("node02", "preflight", Outcome::Skipped { reason: "not needed".into() }),
            play("Stage binaries, certificates and units", "parallel", &["node01", "node02", "節点三"]),
            finished("節点三", "stage_release", changed(&["etcd 3.5.16 uploaded (19.8 MiB) and unpacked", "links"])),
            Event::Warning {
                host: Some("node01".into()),
                message: "the clock is 2.4 s behind the controller's".into(),
            },
            finished(
                "node02",
                "stage_release",
                Outcome::Failed {
                    error:
                        "host `node02`: cannot unpack the release: tar exited with status 2: No space left on device"
                            .into(),
                    hint: Some("free 120 MiB below /opt/etcd on node02, then run the command again".into()),
                },
            ),
            play("Verify", "parallel", &["controller"]),
            finished("controller", "health", Outcome::Ok),
            Event::RunFinished {
                command: "deploy".into(),
                cluster: "prod".into(),
                exit: ExitStatus::Failed,
                message: "1 of 3 hosts failed".into(),
                recap: vec![HostRecap { host: "node01".into(), ok: 4, changed: 3, failed: 0, seconds: 2.1 }],
                seconds: 4.2,
            },
        ]
    }

    fn told(columns: usize, detail: Detail) -> String {
        let mut story = Story::new(BARE, detail);
        let events = run();
        let lines = events.iter().enumerate().flat_map(|(second, event)| {
            let at = at(second as f64 / 2.0);
            story.tell(at, event, columns)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn at_80_columns() {
        let expected = "\
▸ Look at every host (3 hosts, parallel)
✓ 2 hosts  ok (1.5 s)
▸ Stage binaries, certificates and units (3 hosts, parallel)
✓ 節点三  stage_release  changed: etcd 3.5.16 uploaded (19.8 MiB) and unpacked;…
! node01  warning: the clock is 2.4 s behind the controller's
✗ node02  stage_release  failed (0.4 s)
    error: host `node02`: cannot unpack the release: tar exited with status 2:
    No space left on device
    hint: free 120 MiB below /opt/etcd on node02, then run the command again
▸ Verify (controller)
✓ controller  ok (1.0 s)

node01   ok 4  changed 3  failed 0   2.1 s

run log: /s/run.jsonl
✗ failed: 1 of 3 hosts failed (4.2 s)";
        let detail = Detail { run_log: Some("/s/run.jsonl".into()), ..Detail::default() };
        assert_eq!(told(80, detail), expected);
    }

    #[test]
    fn a_probe_ends_the_last_play() {
        let mut story = Story::new(BARE, Detail::default());
        let probed = |failed| Event::Probed {
            writes: 412,
            failed,
            retried: failed,
            longest_gap: 0.024,
            during: None,
            leader_changes: 0,
        };
        story.tell(at(0.0), &play("Verify", "parallel", &["controller"]), 80);
        story.tell(at(0.5), &finished("controller", "health", Outcome::Ok), 80);
        let good = "\
✓ controller  ok (1.0 s)
✓ probe: 412 writes, 0 failed, 0 retried, longest gap 24 ms, 0 leader changes";
        assert_eq!(story.tell(at(1.0), &probed(0), 80).join("\n"), good);
        let bad = "\
! probe: 412 writes, 2 failed, 2 retried,
  longest gap 24 ms, 0 leader changes";
        assert_eq!(story.tell(at(1.1), &probed(2), 44).join("\n"), bad);
    }

    #[test]
    fn at_40_columns() {
        let expected = "\
▸ Look at every host (3 hosts, parallel)
✓ 2 hosts  ok (1.5 s)
▸ Stage binaries, certificates and unit…
✓ 節点三  stage_release  changed: etcd …
! node01  warning: the clock is 2.4 s
  behind the controller's
✗ node02  stage_release  failed (0.4 s)
    error: host `node02`: cannot unpack
    the release: tar exited with status
    2: No space left on device
    hint: free 120 MiB below /opt/etcd
    on node02, then run the command
    again
▸ Verify (controller)
✓ controller  ok (1.0 s)

node01   ok 4  changed 3  failed 0

✗ failed: 1 of 3 hosts failed (4.2 s)";
        assert_eq!(told(40, Detail::default()), expected);
    }

    #[test]
    fn at_200_columns_with_all_detail() {
        let expected = "\
▸ Look at every host (3 hosts, parallel)
✓ node01  preflight  ok (0.4 s)
· node02  preflight  skipped: not needed
▸ Stage binaries, certificates and units (3 hosts, parallel)
✓ 節点三  stage_release  changed: etcd 3.5.16 uploaded (19.8 MiB) and unpacked; links
! node01  warning: the clock is 2.4 s behind the controller's
✗ node02  stage_release  failed (0.4 s)
    error: host `node02`: cannot unpack the release: tar exited with status 2: No space left on device
    hint: free 120 MiB below /opt/etcd on node02, then run the command again
▸ Verify (controller)
✓ controller  health  ok (0.4 s)

node01   ok 4  changed 3  failed 0   2.1 s

✗ failed: 1 of 3 hosts failed (4.2 s)";
        let detail = Detail { verbose: true, ..Detail::default() };
        assert_eq!(told(200, detail), expected);
    }

    #[test]
    fn nothing_but_failures_is_wider_than_the_screen() {
        let long = "etcd-01.rack-7.eu-central.production.example.com";
        let mut story = Story::new(BARE, Detail { verbose: true, ..Detail::default() });
        for columns in 40..130 {
            for event in [
                play("A play with a rather long title, for a test", "rolling", &[long, "b"]),
                finished(long, "hand_over_leadership", changed(&["leadership went to etcd-02", "and more"])),
                finished(long, "hand_over_leadership", Outcome::Ok),
            ] {
                for line in story.tell(at(0.0), &event, columns) {
                    assert!(width(&line) <= columns, "{columns}: {line}");
                }
            }
        }
    }

    #[test]
    fn of_a_long_error_the_end_is_shown() {
        let error: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
        let shown = shortened(&error.join("\n"));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[..3], ["line 0", "(29 lines left out)", "line 30"]);
        assert_eq!(lines.last(), Some(&"line 39"));
        assert_eq!(lines.len(), 12);
        let short = error[..12].join("\n");
        assert_eq!(shortened(&short), short);
    }

    #[test]
    fn a_hop_ends_the_play_before_it() {
        let mut story = Story::new(BARE, Detail::default());
        let mut tell = |seconds, event: Event| story.tell(at(seconds), &event, 80).join("\n");
        tell(0.0, play("Verify", "parallel", &["controller"]));
        tell(0.2, finished("controller", "health", Outcome::Ok));
        let hop = Event::HopStarted { hop: 2, hops: 2, version: "3.6.14".into() };
        assert_eq!(tell(0.5, hop), "✓ controller  ok (0.5 s)\nhop 2 of 2: etcd 3.6.14");
    }
}
