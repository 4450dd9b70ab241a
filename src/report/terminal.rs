//! The display for a terminal: lines that stay, and under them one line a host that changes.

use super::live::Live;
use super::story::Story;
use super::text::width;
use super::{Detail, Event, Look, ReportError, Sink};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use time::OffsetDateTime;

/// Pictures a second at most.
const REFRESH: u8 = 20;

/// Draws a run on a terminal.
#[derive(Debug)]
pub struct Terminal<T: TermLike + Clone + 'static = Term> {
    look: Look,
    /// Whether nothing is drawn that moves.
    still: bool,
    story: Story,
    live: Live,
    term: T,
    /// All live lines are one bar's message, so that a picture changes as a whole.
    block: ProgressBar,
}

impl Terminal {
    /// On stderr.
    #[must_use]
    pub fn stderr(look: Look, detail: Detail) -> Self {
        Self::new(Term::buffered_stderr(), look, detail)
    }
}

impl<T: TermLike + Clone + 'static> Terminal<T> {
    /// On any terminal.
    pub fn new(term: T, look: Look, detail: Detail) -> Self {
        let canvas = ProgressDrawTarget::term_like_with_hz(Box::new(Canvas::new(term.clone())), REFRESH);
        let block = ProgressBar::with_draw_target(None, canvas);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            block.set_style(style);
        }
        let still = detail.quiet;
        Self { look, still, story: Story::new(look, detail), live: Live::default(), term, block }
    }

    fn columns(&self) -> usize {
        usize::from(self.term.width())
    }

    fn draw(&self, now: OffsetDateTime) {
        let height = usize::from(self.term.height());
        let lines = self.live.lines(now, self.columns(), height, self.look);
        self.block.set_message(lines.join("\n"));
    }

    /// Puts lines that stay above the block.
    fn print(&self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        self.block.suspend(|| {
            // A terminal that went away is no reason to stop; the run log has it all.
            let _ = lines.iter().try_for_each(|line| self.term.write_line(line));
            let _ = self.term.flush();
        });
    }
}

impl<T: TermLike + Clone + 'static> Sink for Terminal<T> {
    fn event(&mut self, at: OffsetDateTime, event: &Event) -> Result<(), ReportError> {
        let lines = self.story.tell(at, event, self.columns());
        if !self.still {
            self.live.note(at, event);
        }
        match event {
            Event::RunFinished { .. } => {
                self.block.finish_and_clear();
                self.print(&lines);
            }
            // Bytes are counted more often than a picture can change.
            Event::TaskProgress { .. }
            | Event::HopPending { .. }
            | Event::ChangePending { .. }
            | Event::TurnPending { .. } => {}
            Event::RunStarted { .. }
            | Event::HopStarted { .. }
            | Event::PlayStarted { .. }
            | Event::TaskStarted { .. }
            | Event::TaskFinished { .. }
            | Event::HostState { .. }
            | Event::RoundTrip { .. }
            | Event::RoundTrips { .. }
            | Event::Warning { .. }
            | Event::Probed { .. } => {
                self.draw(at);
                self.print(&lines);
            }
        }
        Ok(())
    }

    fn tick(&mut self, now: OffsetDateTime) -> Result<(), ReportError> {
        self.draw(now);
        Ok(())
    }

    fn hold(&mut self) {
        // The cursor waits at the picture's first line.
        let _ = self.term.write_str("\r\x1b[J").and_then(|()| self.term.flush());
    }

    fn finish(&mut self) {
        self.block.finish_and_clear();
    }
}

/// A terminal whose picture survives another size.
///
/// indicatif fills each line with spaces to the right edge, leaves the cursor under the picture and
/// climbs back by the number of lines it wrote. A terminal that is made narrower breaks these lines
/// in two, so that the climb ends too low and half a picture stays for good. Here lines end where
/// their text ends, the cursor waits at the picture's first line, which a terminal keeps it on, and
/// the picture is cleared from there to the end of the screen, however many lines it has become.
#[derive(Debug)]
struct Canvas<T> {
    term: T,
    /// A line break is due before the next text.
    due: AtomicBool,
    /// Rows below the picture's first that were written since the cursor was there.
    below: AtomicUsize,
}

impl<T: TermLike> Canvas<T> {
    fn new(term: T) -> Self {
        Self { term, due: AtomicBool::new(false), below: AtomicUsize::new(0) }
    }
}

impl<T: TermLike> TermLike for Canvas<T> {
    fn width(&self) -> u16 {
        self.term.width()
    }

    fn height(&self) -> u16 {
        self.term.height()
    }

    /// The cursor is at the first line already.
    fn move_cursor_up(&self, _lines: usize) -> io::Result<()> {
        Ok(())
    }

    /// The lines below are cleared with the first.
    fn move_cursor_down(&self, _lines: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.due.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte == b' ') {
            self.due.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.due.swap(false, Ordering::Relaxed) {
            self.term.write_line("")?;
            self.below.fetch_add(1, Ordering::Relaxed);
        }
        let broken = width(text).saturating_sub(1) / usize::from(self.term.width()).max(1);
        self.below.fetch_add(broken, Ordering::Relaxed);
        self.term.write_str(text)
    }

    /// ECMA-48, Erase in Page: from the cursor to the end of the screen.
    fn clear_line(&self) -> io::Result<()> {
        self.term.write_str("\r\x1b[J")
    }

    /// A picture is done: the cursor goes back to its first line.
    fn flush(&self) -> io::Result<()> {
        self.due.store(false, Ordering::Relaxed);
        self.term.write_str("\r")?;
        match self.below.swap(0, Ordering::Relaxed) {
            0 => {}
            rows => self.term.move_cursor_up(rows)?,
        }
        self.term.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitStatus;
    use crate::report::{HostRecap, Outcome, Style, Symbols};
    use indicatif::InMemoryTerm;
    use time::Duration;
    use time::macros::datetime;

    fn at(seconds: f64) -> OffsetDateTime {
        datetime!(2026-11-22 10:14:30 UTC) + Duration::seconds_f64(seconds)
    }

    fn terminal(rows: u16, columns: u16) -> (Terminal<InMemoryTerm>, InMemoryTerm) {
        let term = InMemoryTerm::new(rows, columns);
        let look = Look { style: Style::new(true), symbols: Symbols::UNICODE };
        (Terminal::new(term.clone(), look, Detail::default()), term)
    }

    fn tell(terminal: &mut Terminal<InMemoryTerm>, seconds: f64, event: Event) {
        assert!(terminal.event(at(seconds), &event).is_ok());
    }

    fn play(title: &str) -> Event {
        Event::PlayStarted {
            play: title.into(),
            mode: "parallel".into(),
            hosts: vec!["node01".into(), "node02".into()],
        }
    }

    fn progress(host: &str, done: u64) -> Event {
        Event::TaskProgress {
            host: host.into(),
            task: "stage_release".into(),
            message: "uploading".into(),
            done: Some(done),
            total: Some(1 << 20),
        }
    }

    fn finished(host: &str, outcome: Outcome) -> Event {
        Event::TaskFinished { host: host.into(), task: "stage_release".into(), outcome, seconds: 1.0 }
    }

    fn end() -> Event {
        Event::RunFinished {
            command: "deploy".into(),
            cluster: "prod".into(),
            exit: ExitStatus::Done,
            message: "cluster prod is healthy".into(),
            recap: vec![HostRecap { host: "node01".into(), ok: 1, changed: 1, failed: 0, seconds: 1.0 }],
            seconds: 1.2,
        }
    }

    #[test]
    fn what_stays_is_above_what_changes_and_the_end_is_tidy() {
        let (mut terminal, term) = terminal(24, 64);
        let changed = Outcome::Changed { changes: vec!["uploaded".into()] };
        tell(&mut terminal, 0.0, play("Stage"));
        tell(&mut terminal, 0.0, progress("node01", 0));
        tell(&mut terminal, 0.5, progress("node01", 1 << 19));
        tell(&mut terminal, 0.5, progress("node02", 0));
        assert!(terminal.tick(at(0.5)).is_ok());
        assert_eq!(
            term.contents(),
            "\
▸ Stage (2 hosts, parallel)
⠴ node01  uploading  ━━━━──── 0.5/1.0 MiB   1.0 MiB/s  1 s left
⠴ node02  uploading  ──────── 0.0/1.0 MiB"
        );
        tell(&mut terminal, 1.0, finished("node01", changed));
        assert_eq!(
            term.contents(),
            "\
▸ Stage (2 hosts, parallel)
✓ node01  stage_release  changed: uploaded
· node01  stage_release done
⠋ node02  uploading  ──────── 0.0/1.0 MiB       0 B/s"
        );
        tell(&mut terminal, 1.1, finished("node02", Outcome::Ok));
        tell(&mut terminal, 1.2, end());
        terminal.finish();
        assert_eq!(
            term.contents(),
            "\
▸ Stage (2 hosts, parallel)
✓ node01  stage_release  changed: uploaded

node01   ok 1  changed 1  failed 0   1.0 s

✓ done: cluster prod is healthy (1.2 s)"
        );
    }

    #[test]
    fn lines_end_where_their_text_ends() {
        let (mut terminal, term) = terminal(24, 60);
        tell(&mut terminal, 0.0, play("Stage"));
        tell(&mut terminal, 0.0, progress("node01", 0));
        assert!(terminal.tick(at(0.5)).is_ok());
        tell(&mut terminal, 1.0, play("Start"));
        let written = term.moves_since_last_check();
        assert!(written.contains("node01"), "{written}");
        assert!(!written.contains("   \")"), "{written}");
    }

    #[test]
    fn more_hosts_than_rows_leave_the_screen_whole() {
        let (mut terminal, term) = terminal(8, 60);
        let hosts: Vec<String> = (1..=30).map(|number| format!("node{number:02}")).collect();
        tell(
            &mut terminal,
            0.0,
            Event::PlayStarted { play: "Stage".into(), mode: "parallel".into(), hosts: hosts.clone() },
        );
        for round in 0..40u32 {
            for host in hosts.iter().skip(27) {
                tell(&mut terminal, f64::from(round) / 10.0, progress(host, u64::from(round)));
            }
            assert!(terminal.tick(at(f64::from(round) / 10.0)).is_ok());
        }
        let contents = term.contents();
        let lines: Vec<&str> = contents.lines().collect();
        assert_eq!(lines[0], "▸ Stage (30 hosts, parallel)");
        assert_eq!(lines.len(), 5);
        assert!(lines[3].contains("node30"), "{contents}");
        assert_eq!(lines[4], "  27 more hosts: 27 waiting");
    }

    /// What the clearing relies on when the terminal was made narrower and broke the lines.
    #[test]
    fn the_cursor_waits_at_the_first_changing_line() {
        let (mut terminal, term) = terminal(24, 60);
        tell(&mut terminal, 0.0, play("Stage"));
        tell(&mut terminal, 0.0, progress("node01", 0));
        assert!(terminal.tick(at(0.5)).is_ok());
        assert_eq!(term.contents().lines().count(), 3);
        assert!(term.write_str("\x1b[J").is_ok());
        assert_eq!(term.contents(), "▸ Stage (2 hosts, parallel)");
    }

    #[test]
    fn a_question_has_the_terminal_to_itself() {
        let (mut terminal, term) = terminal(24, 60);
        tell(&mut terminal, 0.0, play("Stage"));
        tell(&mut terminal, 0.0, progress("node01", 0));
        assert!(terminal.tick(at(0.5)).is_ok());
        terminal.hold();
        assert!(term.write_line("Passphrase: ").is_ok());
        assert_eq!(term.contents(), "▸ Stage (2 hosts, parallel)\nPassphrase:");
        tell(&mut terminal, 5.0, progress("node01", 1 << 19));
        assert!(terminal.tick(at(5.0)).is_ok());
        let contents = term.contents();
        let lines: Vec<&str> = contents.lines().collect();
        assert_eq!(lines[..2], ["▸ Stage (2 hosts, parallel)", "Passphrase:"], "{contents}");
        assert_eq!(lines.len(), 4, "{contents}");
    }

    #[test]
    fn a_run_that_breaks_off_leaves_no_bar() {
        let (mut terminal, term) = terminal(24, 60);
        tell(&mut terminal, 0.0, play("Stage"));
        tell(&mut terminal, 0.0, progress("node01", 0));
        terminal.finish();
        assert_eq!(term.contents(), "▸ Stage (2 hosts, parallel)");
    }
}
