//! The lines under a terminal's last heading that change while a play goes on: one a host.

use super::frame::Frame;
use super::human::count;
use super::rate::Transfer;
use super::story::name_room;
use super::text::{cut, one_line, width};
use super::{Event, Look, Outcome};
use time::OffsetDateTime;

/// Beyond this many columns a line gets no longer: the eye would lose it, and a terminal that is
/// made narrower would break it in two.
const WIDEST: usize = 120;

/// What every host of the play does at the moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub host: String,
    pub state: State,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    /// Its turn comes.
    Waiting,
    /// A task goes on.
    Running(Running),
    /// The last task ended well.
    Idle { task: String },
    /// The last task failed.
    Failed { task: String },
}

#[derive(Debug, Clone)]
pub(super) struct Running {
    pub task: String,
    pub since: OffsetDateTime,
    pub message: String,
    pub transfer: Option<Transfer>,
}

impl Live {
    /// Takes an event into account.
    pub fn note(&mut self, at: OffsetDateTime, event: &Event) {
        match event {
            Event::PlayStarted { hosts, .. } => {
                let waiting = hosts.iter().map(|host| Row { host: host.clone(), state: State::Waiting });
                self.rows = waiting.collect();
            }
            Event::TaskStarted { host, task } => {
                self.row(host).state = State::Running(Running::new(task, at));
            }
            Event::TaskProgress { host, task, message, done, total } => {
                let state = &mut self.row(host).state;
                let mut running = match std::mem::replace(state, State::Waiting) {
                    State::Running(running) if running.task == *task => running,
                    _ => Running::new(task, at),
                };
                let message = one_line(message);
                running.transfer = done.map(|done| match running.transfer.take() {
                    Some(mut transfer) if message == running.message => {
                        transfer.note(at, done, *total);
                        transfer
                    }
                    _ => Transfer::new(at, done, *total),
                });
                running.message = message;
                *state = State::Running(running);
            }
            Event::TaskFinished { host, task, outcome, .. } => {
                let task = task.clone();
                self.row(host).state = match outcome {
                    Outcome::Failed { .. } => State::Failed { task },
                    Outcome::Ok | Outcome::Changed { .. } | Outcome::Skipped { .. } => State::Idle { task },
                };
            }
            Event::RunFinished { .. } => self.rows.clear(),
            Event::RunStarted { .. }
            | Event::HopStarted { .. }
            | Event::HopPending { .. }
            | Event::ChangePending { .. }
            | Event::TurnPending { .. }
            | Event::HostState { .. }
            | Event::Warning { .. }
            | Event::RoundTrip { .. }
            | Event::RoundTrips { .. }
            | Event::Probed { .. } => {}
        }
    }

    /// The lines, each within `columns` and all within two thirds of `height`; the busy and the failed
    /// hosts are shown, and the others counted, where not all have room.
    pub fn lines(&self, now: OffsetDateTime, columns: usize, height: usize, look: Look) -> Vec<String> {
        let shown = self.shown(height);
        let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or_default();
        let all = shown.iter().copied();
        let columns = columns.min(WIDEST);
        let names = widest(&mut self.rows.iter().map(|row| width(&row.host)));
        let frame = Frame {
            look,
            columns,
            name: name_room(names, columns),
            task: widest(&mut all.clone().filter_map(Row::transfer).map(|(running, _)| width(&running.task))),
            message: widest(&mut all.clone().filter_map(Row::transfer).map(|(running, _)| width(&running.message))),
        };
        let mut lines: Vec<String> = all.map(|row| frame.line(row, now)).collect();
        if shown.len() < self.rows.len() {
            lines.push(self.rest(&shown, frame));
        }
        lines
    }

    /// The rows that have room, in their order.
    fn shown(&self, height: usize) -> Vec<&Row> {
        // What was said before must stay in sight.
        let room = (height * 2 / 3).max(1);
        if self.rows.len() <= room {
            return self.rows.iter().collect();
        }
        // Where not all are shown, those that rest are only counted.
        let rank = |index: &usize| self.rows[*index].state.rank();
        let mut chosen: Vec<usize> = (0..self.rows.len()).filter(|index| rank(index) <= 1).collect();
        chosen.sort_by_key(rank);
        chosen.truncate(room - 1);
        chosen.sort_unstable();
        chosen.into_iter().map(|index| &self.rows[index]).collect()
    }

    /// `  27 more hosts: 20 idle, 7 waiting`
    fn rest(&self, shown: &[&Row], frame: Frame) -> String {
        let words = ["running", "failed", "idle", "waiting"];
        let counts = words.iter().enumerate().filter_map(|(rank, word)| {
            let of_rank = |rows: &mut dyn Iterator<Item = &Row>| rows.filter(|row| row.state.rank() == rank).count();
            let hidden = of_rank(&mut self.rows.iter()) - of_rank(&mut shown.iter().copied());
            (hidden > 0).then(|| format!("{hidden} {word}"))
        });
        let counts: Vec<String> = counts.collect();
        let more = count(self.rows.len() - shown.len(), "more host");
        let line = frame.look.style.dim(format!("  {more}: {}", counts.join(", ")));
        cut(&line, frame.columns, frame.look.symbols.cut)
    }

    fn row(&mut self, host: &str) -> &mut Row {
        let known = self.rows.iter().position(|row| row.host == host);
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row { host: host.to_string(), state: State::Waiting });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }
}

impl Row {
    fn transfer(&self) -> Option<(&Running, &Transfer)> {
        match &self.state {
            State::Running(running) => Some((running, running.transfer.as_ref()?)),
            State::Waiting | State::Idle { .. } | State::Failed { .. } => None,
        }
    }
}

impl State {
    /// The order in which states claim room.
    fn rank(&self) -> usize {
        match self {
            Self::Running(_) => 0,
            Self::Failed { .. } => 1,
            Self::Idle { .. } => 2,
            Self::Waiting => 3,
        }
    }
}

impl Running {
    fn new(task: &str, since: OffsetDateTime) -> Self {
        Self { task: task.to_string(), since, message: String::new(), transfer: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Style, Symbols};
    use proptest::prelude::*;
    use time::Duration;
    use time::macros::datetime;

    const BARE: Look = Look { style: Style::new(false), symbols: Symbols::UNICODE };
    const ETCD: u64 = 20_761_804;

    fn at(seconds: f64) -> OffsetDateTime {
        datetime!(2026-11-22 10:14:30 UTC) + Duration::seconds_f64(seconds)
    }

    fn play(hosts: &[&str]) -> Event {
        Event::PlayStarted {
            play: "Stage".into(),
            mode: "parallel".into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        }
    }

    fn progress(host: &str, message: &str, done: Option<u64>, total: Option<u64>) -> Event {
        Event::TaskProgress { host: host.into(), task: "stage_release".into(), message: message.into(), done, total }
    }

    fn finished(host: &str, outcome: Outcome) -> Event {
        Event::TaskFinished { host: host.into(), task: "preflight".into(), outcome, seconds: 0.4 }
    }

    /// Six hosts, each in another state.
    fn six() -> Live {
        let mut live = Live::default();
        let upload = "uploading etcd 3.5.16";
        let failed = Outcome::Failed { error: "no".into(), hint: None };
        for (second, event) in [
            (0.0, play(&["node01", "節点二", "node03", "node04", "node05", "node06"])),
            (0.0, progress("node01", upload, Some(0), Some(ETCD))),
            (1.0, progress("node01", upload, Some(ETCD / 4), Some(ETCD))),
            (0.0, progress("節点二", upload, Some(0), Some(ETCD))),
            (1.0, progress("節点二", upload, Some(ETCD), Some(ETCD))),
            (0.0, progress("node03", "waiting until the member has caught up", None, None)),
            (0.0, finished("node04", Outcome::Ok)),
            (0.0, finished("node05", failed)),
        ] {
            live.note(at(second), &event);
        }
        live
    }

    fn picture(live: &Live, columns: usize, height: usize) -> String {
        live.lines(at(2.0), columns, height, BARE).join("\n")
    }

    #[test]
    fn at_80_columns() {
        let expected = "\
⠋ node01  uploading etcd 3.5.16  ━━────────  4.9/19.8 MiB   2.5 MiB/s  6 s left
⠋ 節点二  uploading etcd 3.5.16  ━━━━━━━━━━ 19.8/19.8 MiB  19.8 MiB/s
⠋ node03  stage_release  waiting until the member has caught up  2 s
· node04  preflight done
✗ node05  preflight failed
· node06  waiting";
        assert_eq!(picture(&six(), 80, 24), expected);
    }

    #[test]
    fn at_40_columns() {
        let expected = "\
⠋ node01  uploading …   25 %   2.5 MiB/s
⠋ 節点二  uploading …  100 %  19.8 MiB/s
⠋ node03  waiting until the member…  2 s
· node04  preflight done
✗ node05  preflight failed
· node06  waiting";
        assert_eq!(picture(&six(), 40, 24), expected);
    }

    #[test]
    fn at_200_columns() {
        let expected = "\
⠋ node01  stage_release  uploading etcd 3.5.16  ━━━━━━━───────────────────────  4.9/19.8 MiB   2.5 MiB/s  6 s left
⠋ 節点二  stage_release  uploading etcd 3.5.16  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 19.8/19.8 MiB  19.8 MiB/s
⠋ node03  stage_release  waiting until the member has caught up  2 s
· node04  preflight done
✗ node05  preflight failed
· node06  waiting";
        assert_eq!(picture(&six(), 200, 24), expected);
    }

    #[test]
    fn busy_hosts_come_first_where_room_is_short() {
        assert_eq!(
            picture(&six(), 80, 6),
            "\
⠋ node01  uploading etcd 3.5.16  ━━────────  4.9/19.8 MiB   2.5 MiB/s  6 s left
⠋ 節点二  uploading etcd 3.5.16  ━━━━━━━━━━ 19.8/19.8 MiB  19.8 MiB/s
⠋ node03  stage_release  waiting until the member has caught up  2 s
  3 more hosts: 1 failed, 1 idle, 1 waiting"
        );
        assert_eq!(picture(&six(), 80, 1), "  6 more hosts: 3 running, 1 failed, 1 idle, 1 waiting");
    }

    #[test]
    fn without_unicode_and_without_a_total() {
        let look = Look { symbols: Symbols::ASCII, ..BARE };
        let mut live = Live::default();
        live.note(at(0.0), &progress("a", "up", Some(0), Some(100)));
        live.note(at(1.0), &progress("a", "up", Some(50), Some(100)));
        live.note(at(0.0), &progress("b", "streaming", Some(0), None));
        live.note(at(1.0), &progress("b", "streaming", Some(2048), None));
        assert_eq!(
            live.lines(at(1.0), 100, 24, look),
            [
                "- a  stage_release  up         ###############---------------  50/100 B      50 B/s  1 s left",
                "- b  stage_release  streaming  2.0 KiB   2.0 KiB/s",
            ]
        );
    }

    #[test]
    fn a_run_that_is_over_leaves_no_line() {
        let mut live = six();
        live.note(at(3.0), &play(&["controller"]));
        assert_eq!(picture(&live, 80, 24), "· controller  waiting");
        live.note(
            at(4.0),
            &Event::RunFinished {
                command: "deploy".into(),
                cluster: "prod".into(),
                exit: crate::error::ExitStatus::Done,
                message: "done".into(),
                recap: vec![],
                seconds: 4.0,
            },
        );
        assert_eq!(picture(&live, 80, 24), "");
    }

    proptest! {
        #[test]
        fn no_line_is_ever_wider_than_the_screen(
            columns in 1usize..220,
            height in 0usize..20,
            names in prop::collection::vec("[a-z\u{7bc0}.-]{1,70}", 1..12),
            message in "[a-z\u{70b9} ]{0,90}",
            done in prop::option::of(any::<u64>()),
            total in prop::option::of(any::<u64>()),
            later in 0.0f64..1e6,
            color in any::<bool>(),
        ) {
            let mut live = Live::default();
            for name in &names {
                live.note(at(0.0), &progress(name, &message, done.map(|done| done / 2), total));
                live.note(at(1.0), &progress(name, &message, done, total));
            }
            let look = Look { style: Style::new(color), ..BARE };
            let lines = live.lines(at(later), columns, height, look);
            prop_assert!(lines.len() <= (height * 2 / 3).max(1));
            for line in lines {
                prop_assert!(width(&line) <= columns, "{} > {columns}: {line}", width(&line));
            }
        }
    }
}
