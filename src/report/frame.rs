//! One host's line under the last heading: what it does, how far it is, how long it takes.

use super::Look;
use super::human::{human_bytes, human_ratio, percent, whole_seconds};
use super::live::{Row, Running, State};
use super::rate::Transfer;
use super::text::{cut, one_line, pad, pad_left, width};
use time::OffsetDateTime;

/// The shortest and the longest bar.
const BAR: (usize, usize) = (8, 30);

/// The measures that the lines of one picture share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub look: Look,
    /// Columns of the whole line.
    pub columns: usize,
    /// Columns for the host's name.
    pub name: usize,
    /// The widest task and message beside a bar.
    pub task: usize,
    pub message: usize,
}

impl Frame {
    /// The line for one host.
    pub fn line(self, row: &Row, now: OffsetDateTime) -> String {
        let Look { style, symbols } = self.look;
        let name = pad(&cut(&one_line(&row.host), self.name, symbols.cut), self.name);
        let line = match &row.state {
            State::Waiting => style.dim(format!("{} {name}  waiting", symbols.waiting)),
            State::Idle { task } => style.dim(format!("{} {name}  {} done", symbols.waiting, one_line(task))),
            State::Failed { task } => style.bad(format!("{} {name}  {} failed", symbols.failed, one_line(task))),
            State::Running(running) => {
                let sign = style.busy(spinner(symbols.spinner, now));
                let room = self.columns.saturating_sub(1 + 1 + self.name + 2);
                let text = match &running.transfer {
                    Some(transfer) => self.transfer(running, transfer, now, room),
                    None => self.wait(running, now, room),
                };
                format!("{sign} {name}  {text}")
            }
        };
        cut(&line, self.columns, symbols.cut)
    }

    /// `wait_healthy  waiting for a leader  12 s`; the task goes first where room is short.
    fn wait(self, running: &Running, now: OffsetDateTime, room: usize) -> String {
        let seconds = (now - running.since).as_seconds_f64();
        let elapsed = if seconds >= 1.0 { format!("  {}", whole_seconds(seconds.floor())) } else { String::new() };
        let full = match running.message.as_str() {
            "" => running.task.clone(),
            message => format!("{}  {message}", running.task),
        };
        let room = room.saturating_sub(width(&elapsed));
        let text = if width(&full) <= room || running.message.is_empty() { full } else { running.message.clone() };
        let text = cut(&text, room, self.look.symbols.cut);
        format!("{text}{}", self.look.style.dim(elapsed))
    }

    /// `stage_release  uploading etcd 3.5.16  ━━━━━━━━━───── 12.4/19.8 MiB  41.2 MiB/s  1 s left`,
    /// or the first of its shorter forms that fits.
    fn transfer(self, running: &Running, transfer: &Transfer, now: OffsetDateTime, room: usize) -> String {
        // A rate is never negative and far below the largest number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rate = transfer.rate(now).map(|rate| format!("{}/s", human_bytes(rate as u64)));
        // Rate and rest come and go; their room stays, or the bar would jump.
        let rate = pad_left(&rate.unwrap_or_default(), 10);
        let left = transfer.remaining(now).map(|rest| format!("{} left", whole_seconds(rest.ceil())));
        let left = pad(&left.unwrap_or_default(), 9);
        let whole = self.message;
        let forms = match transfer.total {
            Some(total) => {
                let ratio = human_ratio(transfer.done, total);
                let share = format!("{:>3} %", percent(transfer.done, total));
                vec![
                    Form::new(self.task, BAR.0, [&ratio, &rate, &left], whole),
                    Form::new(0, BAR.0, [&ratio, &rate, &left], whole),
                    Form::new(0, BAR.0, [&ratio, &rate, ""], whole.min(12)),
                    Form::new(0, 0, [&share, &rate, ""], whole.min(8)),
                    Form::new(0, 0, [&share, "", ""], 0),
                ]
            }
            None => {
                let moved = human_bytes(transfer.done);
                vec![
                    Form::new(self.task, 0, [&moved, &rate, ""], whole),
                    Form::new(0, 0, [&moved, &rate, ""], whole.min(8)),
                    Form::new(0, 0, [&moved, "", ""], 0),
                ]
            }
        };
        let fits = forms.iter().find(|form| form.columns() + form.message <= room);
        let Some(form) = fits.or(forms.last()) else {
            return String::new();
        };
        let free = room.saturating_sub(form.columns());
        let message = whole.min(free);
        let mut text = String::new();
        if form.task > 0 {
            text.push_str(&format!("{}  ", pad(&running.task, form.task)));
        }
        text.push_str(&pad(&cut(&running.message, message, self.look.symbols.cut), message));
        text.push_str("  ");
        if let (Some(total), true) = (transfer.total, form.bar > 0) {
            let columns = (form.bar + free - message).min(BAR.1);
            text.push_str(&format!("{} ", self.bar(transfer.done, total, columns)));
        }
        text.push_str(&self.look.style.dim(form.figures.trim_end()));
        text
    }

    fn bar(self, done: u64, total: u64, columns: usize) -> String {
        let share = u128::from(done.min(total)) * columns as u128;
        let full = match total {
            0 => columns,
            total => usize::try_from(share / u128::from(total)).unwrap_or(columns),
        };
        let Look { style, symbols } = self.look;
        let (full, empty) = (symbols.full.repeat(full), symbols.empty.repeat(columns - full));
        format!("{}{}", style.busy(full), style.dim(empty))
    }
}

/// One way to write a transfer's line.
#[derive(Debug)]
struct Form {
    /// Columns for the task, or none.
    task: usize,
    /// Columns that the bar has at least, or none.
    bar: usize,
    figures: String,
    /// Columns that the message must have.
    message: usize,
}

impl Form {
    fn new(task: usize, bar: usize, figures: [&str; 3], message: usize) -> Self {
        let figures = figures.into_iter().filter(|figure| !figure.is_empty());
        let figures = figures.collect::<Vec<_>>().join("  ");
        Self { task, bar, figures, message }
    }

    /// The columns of all but the message, spaces between the parts included.
    fn columns(&self) -> usize {
        let after = |columns: usize, space: usize| if columns > 0 { columns + space } else { 0 };
        after(self.task, 2) + 2 + after(self.bar, 1) + width(&self.figures)
    }
}

/// Ten pictures a second.
fn spinner(pictures: &[&'static str], now: OffsetDateTime) -> &'static str {
    let tenths = usize::try_from(now.unix_timestamp_nanos() / 100_000_000).unwrap_or_default();
    pictures.get(tenths % pictures.len().max(1)).copied().unwrap_or_default()
}
