//! What systemd's journal has of a unit: asked for in JSON, which keeps apart what a terminal would run together.

use super::connection::Connection;
use super::error::HostError;
use super::stream::Stream;
use crate::ssh::{Said, quote};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;
use time::OffsetDateTime;

/// The longest message that is kept of one.
pub const LONGEST_MESSAGE: usize = 64 << 10;
/// The longest line of JSON that is read: a message that is no text takes four characters a byte there.
const LONGEST_LINE: usize = 512 << 10;
/// The most that is kept of what `journalctl` complains of.
const LONGEST_COMPLAINT: usize = 4 << 10;

/// Which part of a journal is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub begin: Begin,
    /// Where it ends, if not with what was written last.
    pub until: Option<OffsetDateTime>,
    /// No more than so many of its last entries.
    pub last: Option<u32>,
    /// Whether what is written from now on is wanted, too.
    pub follow: bool,
}

/// How long the next entry may be waited for where none is to be written yet.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a part of a journal begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest entry that there is.
    Oldest,
    /// At a time.
    Since(OffsetDateTime),
    /// With the host's last boot.
    Boot,
    /// Behind the entry with this [`Entry::cursor`].
    After(String),
}

/// An entry of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When the journal took it in, in microseconds since 1970.
    pub micros: i64,
    /// Where it stands.
    pub cursor: String,
    /// Who wrote it: `etcd`, `systemd`.
    pub from: String,
    /// Syslog's priority, 0 to 7, where the writer gave one; what comes from stdout or stderr has none.
    pub priority: Option<u8>,
    /// What it says, as it was written, but for what is longer than [`LONGEST_MESSAGE`].
    pub message: Vec<u8>,
    /// Whether the message was longer.
    pub cut: bool,
}

/// The script that prints the journal of `unit`, an object a line.
fn script(unit: &str, part: &Part) -> String {
    // systemd before 236 has no such option, and gives all fields.
    let mut script = "fields=--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_TRANSPORT\n\
         journalctl \"$fields\" --version >/dev/null 2>&1 || fields=\n\
         exec </dev/null journalctl -q -a --no-pager -o json $fields"
        .to_owned();
    let _ = write!(script, " -u {}", quote(unit));
    let _ = match &part.begin {
        Begin::Oldest => Ok(()),
        Begin::Since(time) => write!(script, " --since=@{}", time.unix_timestamp()),
        Begin::Boot => write!(script, " -b"),
        Begin::After(cursor) => write!(script, " {}", quote(&format!("--after-cursor={cursor}"))),
    };
    if let Some(time) = part.until {
        let _ = write!(script, " --until=@{}", time.unix_timestamp());
    }
    let _ = match (part.follow, part.last) {
        // Alone, `-f` leaves out all but the last ten.
        (true, None) => write!(script, " -f --no-tail"),
        (true, Some(last)) => write!(script, " -f -n {last}"),
        (false, Some(last)) => write!(script, " -n {last}"),
        (false, None) => Ok(()),
    };
    script
}

impl Entry {
    /// Reads an entry of `journalctl -o json`; `None` if it is none.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let micros = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
        let from = text("SYSLOG_IDENTIFIER").or(text("_COMM")).unwrap_or_default().to_owned();
        let meant = text("_TRANSPORT") != Some("stdout");
        let priority = text("PRIORITY").filter(|_| meant).and_then(|priority| priority.parse().ok());
        let mut message = fields.get("MESSAGE").map(bytes).unwrap_or_default();
        let cut = message.len() > LONGEST_MESSAGE;
        message.truncate(LONGEST_MESSAGE);
        let cursor = text("__CURSOR").unwrap_or_default().to_owned();
        Some(Self { micros, cursor, from, priority: priority.filter(|priority| *priority < 8), message, cut })
    }
}

/// A field's value: text, numbers where it is no text, or several of these where it was given more than once.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(values) if values.iter().all(Value::is_u64) => {
            values.iter().filter_map(|value| u8::try_from(value.as_u64()?).ok()).collect()
        }
        Value::Array(values) => values.first().map(bytes).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

/// Bytes as they come, taken apart into lines of a bounded length.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
    /// Whether the line that has begun is too long.
    skips: bool,
}

impl Lines {
    /// The lines that end with these bytes; `None` in the place of one that is too long.
    fn take(&mut self, mut bytes: &[u8], longest: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end], longest);
            let line = std::mem::take(&mut self.begun);
            lines.push(if std::mem::take(&mut self.skips) { None } else { Some(line) });
            bytes = &bytes[end + 1..];
        }
        self.add(bytes, longest);
        lines
    }

    fn add(&mut self, bytes: &[u8], longest: usize) {
        if self.skips || self.begun.len() + bytes.len() > longest {
            self.skips = true;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }
}

/// A journal that is being read.
pub struct Journal {
    stream: Stream,
    connection: Connection,
    lines: Lines,
    read: VecDeque<Entry>,
    complaints: Vec<u8>,
    /// How many entries are still wanted; none: all that come.
    wanted: Option<u64>,
    /// How long the next entry may be waited for; none: for ever.
    patience: Option<Duration>,
    /// How many entries were too long to be read.
    pub left_out: u64,
}

impl Connection {
    /// Reads a part of the journal of `unit`, the oldest entry first. Where it is not followed, no entry is waited for
    /// longer than `patience`.
    ///
    /// # Errors
    /// The host cannot be reached, or gives no rights.
    pub async fn journal(&self, unit: &str, part: &Part, patience: Duration) -> Result<Journal, HostError> {
        let stream = self.stream(WHAT, &script(unit, part)).await?;
        let (lines, read) = Default::default();
        Ok(Journal {
            stream,
            connection: self.clone(),
            lines,
            read,
            complaints: Vec::new(),
            wanted: part.last.filter(|_| !part.follow).map(u64::from),
            patience: Some(patience).filter(|_| !part.follow),
            left_out: 0,
        })
    }
}

/// What the script is to do.
const WHAT: &str = "read the journal";

impl Journal {
    /// The next entry; `None` once there are no more.
    ///
    /// # Errors
    /// The connection ended, `journalctl` failed, or the host says more than it was asked for, or nothing.
    pub async fn next(&mut self) -> Result<Option<Entry>, HostError> {
        let heard = match self.patience {
            Some(patience) => match tokio::time::timeout(patience, self.hear()).await {
                Ok(heard) => heard?,
                Err(_) => {
                    let problem = format!("no entry came for {} s", patience.as_secs_f64());
                    return Err(self.connection.garbled(WHAT, &problem));
                }
            },
            None => self.hear().await?,
        };
        if let Some(entry) = heard {
            return match &mut self.wanted {
                // A host that goes on and on would hold up all others.
                Some(0) => Err(self.connection.garbled(WHAT, "it gives more entries than it was asked for")),
                Some(wanted) => {
                    *wanted -= 1;
                    Ok(Some(entry))
                }
                None => Ok(Some(entry)),
            };
        }
        match self.stream.status() {
            Some(0) => Ok(None),
            Some(status) => {
                let said = String::from_utf8_lossy(&self.complaints).into_owned();
                Err(self.connection.failed(WHAT, status, &said))
            }
            None => Err(self.connection.garbled(WHAT, "it ends early")),
        }
    }

    /// The next entry of those that were read, or are.
    async fn hear(&mut self) -> Result<Option<Entry>, HostError> {
        while self.read.is_empty() {
            match self.stream.next().await? {
                Some(Said::Out(bytes)) => self.take(&bytes),
                Some(Said::Err(bytes)) => self.complain(&bytes),
                None => return Ok(None),
            }
        }
        Ok(self.read.pop_front())
    }

    fn take(&mut self, bytes: &[u8]) {
        for line in self.lines.take(bytes, LONGEST_LINE) {
            match line.as_deref().map(|line| (line, Entry::read(line))) {
                Some((_, Some(entry))) => self.read.push_back(entry),
                // On a terminal complaints come the same way.
                Some((line, None)) => self.complain(&[line, b"\n"].concat()),
                None => self.left_out += 1,
            }
        }
    }

    fn complain(&mut self, bytes: &[u8]) {
        let room = LONGEST_COMPLAINT - self.complaints.len();
        self.complaints.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn what_is_asked_for() {
        let part = |begin, last, follow| Part { begin, until: None, last, follow };
        let since = || Begin::Since(datetime!(2026-11-26 02:53:25 UTC));
        for (part, want) in [
            (part(Begin::Oldest, None, false), ""),
            (part(Begin::Oldest, Some(200), false), " -n 200"),
            (part(since(), Some(1), false), " --since=@1795661605 -n 1"),
            (part(Begin::Boot, None, false), " -b"),
            (
                Part { until: Some(datetime!(2026-11-26 03:00 UTC)), ..part(since(), None, false) },
                " --since=@1795661605 --until=@1795662000",
            ),
            (part(Begin::After("s=8a9e;i=6e".to_owned()), None, true), " '--after-cursor=s=8a9e;i=6e' -f --no-tail"),
            (part(Begin::After("' $(rm x)".to_owned()), None, true), " '--after-cursor='\\'' $(rm x)' -f --no-tail"),
            (part(Begin::Oldest, Some(3), true), " -f -n 3"),
        ] {
            let script = script("etcd.service", &part);
            let line = script.lines().last().unwrap();
            assert_eq!(
                line.strip_prefix("exec </dev/null journalctl -q -a --no-pager -o json $fields -u etcd.service"),
                Some(want)
            );
        }
    }

    fn entry(from: &str, priority: Option<u8>, message: &[u8]) -> Option<Entry> {
        let (micros, cursor) = (1_795_661_606_000_566, "s=8a9e;i=6e".to_owned());
        Some(Entry { micros, cursor, from: from.to_owned(), priority, message: message.to_vec(), cut: false })
    }

    #[test]
    fn entries_are_read_as_journalctl_gives_them() {
        let line = |fields: &str| {
            format!(r#"{{"__CURSOR":"s=8a9e;i=6e","__REALTIME_TIMESTAMP":"1795661606000566","_PID":"260",{fields}}}"#)
        };
        for (fields, want) in [
            (
                r#""MESSAGE":"{\"level\":\"info\"}","PRIORITY":"6","SYSLOG_IDENTIFIER":"etcd","_COMM":"etcd","_TRANSPORT":"stdout""#,
                entry("etcd", None, br#"{"level":"info"}"#),
            ),
            (
                r#""MESSAGE":"Started etcd.service.","PRIORITY":"6","SYSLOG_IDENTIFIER":"systemd","_TRANSPORT":"journal""#,
                entry("systemd", Some(6), b"Started etcd.service."),
            ),
            (
                r#""MESSAGE":[97,27,255],"PRIORITY":"3","_COMM":"etcd","_TRANSPORT":"journal""#,
                entry("etcd", Some(3), b"a\x1b\xff"),
            ),
            (r#""MESSAGE":["one","two"],"PRIORITY":"9""#, entry("", None, b"one")),
            (r#""MESSAGE":[[104,105],"two"]"#, entry("", None, b"hi")),
            (r#""MESSAGE":null"#, entry("", None, b"")),
            (r#""PRIORITY":6"#, entry("", None, b"")),
        ] {
            assert_eq!(Entry::read(line(fields).as_bytes()), want, "{fields}");
        }
        for line in ["", "{}", "-- No entries --", "[1]", r#"{"__REALTIME_TIMESTAMP":"soon"}"#, "{\"a\":\"\u{7f}"] {
            assert_eq!(Entry::read(line.as_bytes()), None, "{line}");
        }
        let long =
            Entry::read(line(&format!(r#""MESSAGE":"{}""#, "x".repeat(LONGEST_MESSAGE + 1))).as_bytes()).unwrap();
        assert_eq!((long.message.len(), long.cut), (LONGEST_MESSAGE, true));
    }

    #[test]
    fn lines_are_bounded_however_they_come() {
        let text = b"one\n\nthree\nfar too long\nfive\nsi";
        let want: Vec<Option<Vec<u8>>> = [Some("one"), Some(""), Some("three"), None, Some("five")]
            .map(|line| Some(line?.as_bytes().to_vec()))
            .into();
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let taken: Vec<_> = text.chunks(size).flat_map(|chunk| lines.take(chunk, 5)).collect();
            assert_eq!((taken, &lines.begun[..]), (want.clone(), &b"si"[..]), "in pieces of {size}");
        }
        let mut endless = Lines::default();
        for _ in 0..1000 {
            assert_eq!(endless.take(&[b'x'; 100], 250), []);
            assert!(endless.begun.len() <= 250);
        }
    }
}
