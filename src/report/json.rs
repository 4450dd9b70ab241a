//! Events as JSON lines, for programs and for the run log.

use super::{Event, ReportError, Sink};
use serde::Serialize;
use std::io::{self, Write};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// The version of the line format; it changes when a field is taken away or gets another meaning.
const VERSION: u8 = 1;

/// RFC 3339 in UTC, to the millisecond, always of the same width.
const RFC3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    time: String,
    #[serde(flatten)]
    event: &'a Event,
}

/// `event` as one line of JSON with its line end: `{"v":1,"time":"…","event":"…",…}`.
#[must_use]
pub fn json_line(at: OffsetDateTime, event: &Event) -> String {
    let line = Line {
        v: VERSION,
        // Formatting fails for no date; a line without its time would still be a line.
        time: at.to_offset(UtcOffset::UTC).format(RFC3339).unwrap_or_default(),
        event,
    };
    // No event holds a map with keys that JSON cannot write.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes every event as a JSON line to stdout. The last is `run_finished`.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: Option<W>,
}

impl JsonLines<io::Stdout> {
    /// On stdout.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(io::stdout())
    }
}

impl<W: Write> JsonLines<W> {
    /// On any writer.
    pub const fn new(out: W) -> Self {
        Self { out: Some(out) }
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn event(&mut self, at: OffsetDateTime, event: &Event) -> Result<(), ReportError> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let written = out.write_all(json_line(at, event).as_bytes());
        match written.and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            // The reader has seen enough (`| head -1`); the run goes on.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.out = None;
                Ok(())
            }
            Err(source) => Err(ReportError::Stream { stream: "stdout", source }),
        }
    }
}
