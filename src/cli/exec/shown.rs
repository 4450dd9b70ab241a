//! What `exec` keeps and shows of a command.

use crate::error::{self, Explain as _};
use crate::report::{self, Style, human_bytes, visible};
use crate::tasks::TaskError;
use serde_json::json;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// How much is kept of a host's stdout, and of its stderr.
const MOST: usize = 4 << 20;
/// The longest line that a terminal waits for.
const LONGEST_LINE: usize = 64 << 10;

/// How a command ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With this exit status, or 128 and the signal's number.
    Exited(u32),
    /// By us, when its time was up.
    TimeUp,
    /// The host did not say how.
    Unknown,
    /// It could not be run, or the connection broke.
    Failed(TaskError),
}

impl Outcome {
    /// What it makes of the exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Exited(status) => u8::try_from(*status).unwrap_or(u8::MAX),
            // As with timeout(1) and ssh(1).
            Self::TimeUp => 124,
            Self::Unknown | Self::Failed(_) => 255,
        }
    }

    /// What is to be said of it beside an exit status.
    pub fn words(&self, host: &str, limit: Option<Duration>) -> Option<String> {
        match self {
            Self::Exited(_) => None,
            Self::TimeUp => {
                let limit = limit.unwrap_or_default().as_secs();
                Some(format!("error: host `{host}`: the command was ended after {limit} s (--timeout)\n"))
            }
            Self::Unknown => Some(format!("error: host `{host}`: it is not known how the command ended\n")),
            Self::Failed(error) => {
                let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
                Some(format!("error: {}\n{hint}", error::line(error)))
            }
        }
    }
}

/// Output that is kept, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// How much there was beyond.
    left_out: u64,
}

impl Kept {
    pub fn add(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(MOST - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        self.left_out += (bytes.len() - taken) as u64;
    }

    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// A command that has ended on one of several hosts.
#[derive(Debug)]
pub(super) struct Ran {
    pub host: String,
    pub outcome: Outcome,
    pub stdout: Kept,
    pub stderr: Kept,
    pub seconds: f64,
}

impl Ran {
    /// For stdout: the host's name, and what the command wrote there.
    pub fn stdout(&self, style: Style, terminal: bool) -> Vec<u8> {
        let took = format!("{:.2} s", self.seconds);
        let head = match &self.outcome {
            Outcome::Failed(_) => return Vec::new(),
            Outcome::Exited(0) => format!("{} ({took})\n", style.bold(&self.host)),
            Outcome::Exited(status) => {
                format!("{}: {} ({took})\n", style.bold(&self.host), style.bad(format!("exited with status {status}")))
            }
            Outcome::TimeUp => format!("{}: {} ({took})\n", style.bold(&self.host), style.bad("its time was up")),
            Outcome::Unknown => format!("{}: {} ({took})\n", style.bold(&self.host), style.bad("ended somehow")),
        };
        let mut shown = head.into_bytes();
        if terminal {
            shown.extend_from_slice(visible(&self.stdout.text()).as_bytes());
        } else {
            shown.extend_from_slice(&self.stdout.bytes);
        }
        if shown.last() != Some(&b'\n') {
            shown.push(b'\n');
        }
        shown
    }

    /// For stderr: what the command wrote there, what was left out, and why it did not run.
    pub fn stderr(&self, limit: Option<Duration>) -> String {
        let Self { host, .. } = self;
        let mut shown = String::new();
        for line in visible(&self.stderr.text()).lines() {
            let _ = writeln!(shown, "{host}: {line}");
        }
        for (name, kept) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if kept.left_out > 0 {
                let (most, more) = (human_bytes(MOST as u64), human_bytes(kept.left_out));
                let _ = writeln!(shown, "warning: host `{host}`: {name} is cut off after {most}, {more} are left out");
            }
        }
        shown += &self.outcome.words(host, limit).unwrap_or_default();
        shown
    }

    /// In a few words, for a command that failed.
    pub fn failure(&self) -> String {
        let Self { host, outcome, .. } = self;
        match outcome {
            Outcome::Exited(status) => format!("{host} ({status})"),
            Outcome::TimeUp => format!("{host} (time up)"),
            Outcome::Unknown => format!("{host} (unknown)"),
            Outcome::Failed(_) => format!("{host} (not run to its end)"),
        }
    }

    pub fn json(&self) -> String {
        let (status, error) = match &self.outcome {
            Outcome::Exited(status) => (Some(*status), None),
            Outcome::TimeUp => (None, Some("its time was up".to_owned())),
            Outcome::Unknown => (None, Some("it is not known how the command ended".to_owned())),
            Outcome::Failed(error) => (None, Some(error::line(error))),
        };
        let object = json!({
            "v": 1,
            "host": self.host,
            "status": status,
            "error": error,
            "stdout": self.stdout.text(),
            "stderr": self.stderr.text(),
            "left_out": self.stdout.left_out + self.stderr.left_out,
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
        });
        report::json(&object)
    }
}

/// Output that is passed on: to a terminal line by line and without what could paint it, elsewhere as it is.
pub(super) struct Passing {
    terminal: bool,
    begun: Vec<u8>,
}

impl Passing {
    pub fn new(terminal: bool) -> Self {
        Self { terminal, begun: Vec::new() }
    }

    /// What can be passed on now.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        if !self.terminal {
            return bytes.to_vec();
        }
        self.begun.extend_from_slice(bytes);
        let end = self.begun.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
        let Some(end) = end.or((self.begun.len() > LONGEST_LINE).then_some(self.begun.len())) else {
            return Vec::new();
        };
        let rest = self.begun.split_off(end);
        let lines = std::mem::replace(&mut self.begun, rest);
        lines.split_inclusive(|byte| *byte == b'\n').flat_map(shown).collect()
    }

    /// What is left at the end.
    pub fn rest(self) -> Vec<u8> {
        if self.begun.is_empty() { Vec::new() } else { shown(&self.begun) }
    }
}

fn shown(line: &[u8]) -> Vec<u8> {
    let mut shown = visible(&String::from_utf8_lossy(line)).into_bytes();
    if line.ends_with(b"\n") {
        shown.push(b'\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostError;

    fn ran(outcome: Outcome, stdout: &[u8], stderr: &[u8]) -> Ran {
        let kept = |bytes: &[u8]| Kept { bytes: bytes.to_vec(), left_out: 0 };
        Ran { host: "node02".to_owned(), outcome, stdout: kept(stdout), stderr: kept(stderr), seconds: 0.123_456 }
    }

    fn failed() -> Outcome {
        let (host, what, problem) = ("node02".to_owned(), "run the command".to_owned(), "it ends early".to_owned());
        Outcome::Failed(TaskError::from(HostError::Garbled { host, what, problem }))
    }

    #[test]
    fn a_host_s_part() {
        for (ran, stdout, stderr, failure) in [
            (ran(Outcome::Exited(0), b"one\ntwo", b""), "node02 (0.12 s)\none\ntwo\n", "", "node02 (0)"),
            (
                ran(Outcome::Exited(3), b"", b"oops\n\x1b[2Jmore\n"),
                "node02: exited with status 3 (0.12 s)\n",
                "node02: oops\nnode02: more\n",
                "node02 (3)",
            ),
            (
                ran(Outcome::TimeUp, b"half", b""),
                "node02: its time was up (0.12 s)\nhalf\n",
                "error: host `node02`: the command was ended after 7 s (--timeout)\n",
                "node02 (time up)",
            ),
            (
                ran(failed(), b"lost", b""),
                "",
                "error: host `node02`: run the command: the answer cannot be understood: it ends early\n",
                "node02 (not run to its end)",
            ),
        ] {
            let limit = Some(Duration::from_secs(7));
            assert_eq!(String::from_utf8(ran.stdout(Style::new(false), false)).unwrap(), stdout);
            assert_eq!((ran.stderr(limit).as_str(), ran.failure().as_str()), (stderr, failure));
        }
        let painted = ran(Outcome::Exited(0), b"a\x1b[2J\xff", b"");
        assert_eq!(painted.stdout(Style::new(false), false), b"node02 (0.12 s)\na\x1b[2J\xff\n");
        assert_eq!(painted.stdout(Style::new(true), true), "\u{1b}[1mnode02\u{1b}[0m (0.12 s)\na\u{fffd}\n".as_bytes());
    }

    #[test]
    fn exit_codes() {
        for (outcome, code) in [
            (Outcome::Exited(0), 0),
            (Outcome::Exited(137), 137),
            (Outcome::Exited(70_000), 255),
            (Outcome::TimeUp, 124),
            (Outcome::Unknown, 255),
            (failed(), 255),
        ] {
            assert_eq!(outcome.code(), code);
        }
    }

    #[test]
    fn in_json() {
        assert_eq!(
            ran(Outcome::Exited(3), b"a\xff", b"b").json(),
            "{\"v\":1,\"host\":\"node02\",\"status\":3,\"error\":null,\"stdout\":\"a\u{fffd}\",\"stderr\":\"b\",\"left_out\":0,\"seconds\":0.123}\n"
        );
        assert!(
            ran(failed(), b"", b"").json().contains("\"status\":null,\"error\":\"host `node02`: run the command: ")
        );
    }

    #[test]
    fn what_is_kept_is_bounded_and_told() {
        let mut ran = ran(Outcome::Exited(0), b"", b"");
        for _ in 0..5 {
            ran.stdout.add(&vec![b'x'; 1 << 20]);
        }
        assert_eq!((ran.stdout.bytes.len(), ran.stdout.left_out), (4 << 20, 1 << 20));
        let told = ran.stderr(None);
        assert_eq!(told, "warning: host `node02`: stdout is cut off after 4.0 MiB, 1.0 MiB are left out\n");
    }

    #[test]
    fn a_terminal_gets_whole_lines_without_what_could_paint_it() {
        let mut passing = Passing::new(true);
        assert_eq!(passing.take(b"on"), b"");
        assert_eq!(passing.take("e\n\u{1b}[31mtwo\n\ntr\u{e9}".as_bytes()), b"one\ntwo\n\n");
        assert_eq!(passing.rest(), "tr\u{e9}".as_bytes());
        let mut passing = Passing::new(false);
        assert_eq!(passing.take(b"\x1b[2J\xff"), b"\x1b[2J\xff");
        assert_eq!(passing.rest(), b"");
    }
}
