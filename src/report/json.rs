//! Events as JSON lines, for programs and for the run log.

use super::{Event, ReportError, Sink};
use crate::error::paints;
use serde::Serialize;
use std::fmt::Write as _;
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
    json(&line)
}

/// `value` as one line of JSON with its line end. What hosts say is in it as they said it, but for what would paint a
/// terminal even there: JSON lets those characters stand as they are, and has another way to write them.
#[must_use]
pub fn json(value: &impl Serialize) -> String {
    // Nothing of ours holds a map with keys that JSON cannot write.
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if paints(c) {
            // They stand inside of texts only, and none is beyond the 16 bits of an escape.
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
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

#[cfg(test)]
mod tests {
    use super::json;

    #[test]
    fn what_would_paint_a_terminal_is_written_otherwise_and_means_the_same() {
        for (text, want) in [
            ("a\n\u{1b}[2J", r#""a\n\u001b[2J""#),
            ("\u{7f}\u{9b}31m\u{202e}\u{feff}é国", r#""\u007f\u009b31m\u202e\ufeffé国""#),
        ] {
            let line = json(&text);
            assert_eq!(line, format!("{want}\n"));
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
