//! How entries of journals look: for people, as they were written, and in JSON.

use super::Told;
use crate::etcd::log::Level;
use crate::report::{self, Style, pad, visible, width, wrap};
use serde_json::{Value, json};
use std::fmt::Write as _;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

const CLOCK: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
/// All that the journal knows of a time.
const FINE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
/// Where less than this is left for the text, what goes on in the next line begins further to the left.
const NARROWEST: usize = 40;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// The message as it was written.
    Raw,
    /// An object a line; with the message as it was written, or taken apart.
    Json {
        /// As it was written.
        raw: bool,
    },
}

/// Renders entries, one after the other.
#[derive(Debug)]
pub struct Shown {
    form: Form,
    style: Style,
    /// Whether a terminal shows it, and how wide it is.
    terminal: Option<usize>,
    hosts: Vec<String>,
    names: usize,
    day: Option<Date>,
}

impl Shown {
    /// For these hosts. On a terminal of so many columns lines are wrapped, and days have a line of their own.
    #[must_use]
    pub fn new(form: Form, style: Style, terminal: Option<usize>, hosts: Vec<String>) -> Self {
        let names = hosts.iter().map(|host| width(host)).max().unwrap_or_default();
        Self { form, style, terminal, hosts, names, day: None }
    }

    /// An entry, with its line end.
    #[must_use]
    pub fn entry(&mut self, told: &Told) -> Vec<u8> {
        let host = self.hosts.get(told.host).cloned().unwrap_or_default();
        match self.form {
            Form::Text => self.text(told, &host).into_bytes(),
            Form::Raw => self.raw(told, &host),
            Form::Json { raw } => json(told, &host, raw).into_bytes(),
        }
    }

    fn text(&mut self, told: &Told, host: &str) -> String {
        let mut shown = String::new();
        let time = time(told);
        let clock = if self.terminal.is_some() {
            if self.day.replace(time.date()) != Some(time.date()) {
                let day = format!("{} UTC", time.format(DAY).unwrap_or_default());
                shown += &format!("{}\n", self.style.dim(day));
            }
            time.format(CLOCK)
        } else {
            time.format(STAMP)
        };
        let clock = clock.unwrap_or_default();
        let level = told.line.level.map(|level| level.name().to_uppercase()).unwrap_or_default();
        let begin = width(&clock) + 1 + self.names + 2 + 5 + 2;
        let level = match told.line.level {
            Some(Level::Error | Level::Panic | Level::Fatal) => self.style.bad(pad(&level, 5)),
            Some(Level::Warn) => self.style.warn(pad(&level, 5)),
            Some(Level::Debug) => self.style.dim(pad(&level, 5)),
            Some(Level::Info) | None => pad(&level, 5),
        };
        let name = self.style.tint(told.host, pad(host, self.names));
        let words = words(told);
        let (indent, lines) = match self.terminal {
            Some(columns) if columns >= begin + NARROWEST => (begin, hang(&words, columns - begin, 0)),
            Some(columns) => (4, hang(&words, columns.saturating_sub(4).max(1), begin.saturating_sub(4))),
            None => (begin, words.lines().map(str::to_owned).collect()),
        };
        let _ = write!(shown, "{} {name}  {level}  ", self.style.dim(clock));
        shown += &lines.join(&format!("\n{}", " ".repeat(indent)));
        shown.truncate(shown.trim_end().len());
        shown.push('\n');
        shown
    }

    /// One host's are its alone, so that other programs can read them; of several each has its host's name before it.
    fn raw(&self, told: &Told, host: &str) -> Vec<u8> {
        let mut shown = Vec::new();
        if self.hosts.len() > 1 {
            shown.extend_from_slice(self.style.tint(told.host, pad(host, self.names)).as_bytes());
            shown.push(b' ');
        }
        if self.terminal.is_some() {
            shown.extend_from_slice(visible(&told.text).as_bytes());
        } else {
            shown.extend_from_slice(&told.entry.message);
        }
        shown.push(b'\n');
        shown
    }
}

fn time(told: &Told) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(told.entry.micros) * 1000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `text` in lines of so many columns, the first of them so much shorter.
fn hang(text: &str, columns: usize, shorter: usize) -> Vec<String> {
    // What cannot be used of the first line is taken for a part of its first word.
    let mut lines = wrap(&format!("{}{text}", "x".repeat(shorter)), columns);
    if let Some(first) = lines.first_mut() {
        first.drain(..shorter);
    }
    lines
}

/// What an entry says, for people.
pub(super) fn words(told: &Told) -> String {
    let mut words = String::new();
    if told.is_foreign() {
        let _ = write!(words, "{}: ", visible(&told.entry.from));
    }
    words += &visible(&told.line.message);
    let mut below = String::new();
    for (at, (name, value)) in told.line.fields.iter().filter(|(name, _)| *name != "caller").enumerate() {
        match value {
            Value::String(stack) if name == "stacktrace" => below = format!("\n{}", visible(stack)),
            value => {
                let _ =
                    write!(words, "{}{}={}", if at == 0 { "  " } else { " " }, visible(name), visible(&plain(value)));
            }
        }
    }
    words += &below;
    if told.entry.cut {
        words += " … (cut off)";
    }
    words
}

/// A value as it can be read at a glance, in quotes where it would run into the next one.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let runs = |c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=';
            if text.is_empty() || text.contains(runs) { value.to_string() } else { text.clone() }
        }
        value => value.to_string(),
    }
}

fn json(told: &Told, host: &str, raw: bool) -> String {
    let time = time(told).format(FINE).unwrap_or_default();
    let level = told.line.level.map(Level::name);
    let from = &told.entry.from;
    let entry = if raw {
        json!({ "v": 1, "time": time, "host": host, "from": from, "level": level, "message": told.text })
    } else {
        let (message, fields) = (&told.line.message, &told.line.fields);
        json!({
            "v": 1, "time": time, "host": host, "from": from, "level": level, "message": message, "fields": fields,
        })
    };
    report::json(&entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Entry;

    fn told(host: usize, micros: i64, from: &str, priority: Option<u8>, message: &[u8]) -> Told {
        let micros = 1_795_661_605_997_157 + micros;
        let (from, message, cursor) = (from.to_owned(), message.to_vec(), String::new());
        Told::new(host, Entry { micros, cursor, from, priority, message, cut: false })
    }

    /// Of 3.5.16 and systemd 252.
    fn entries() -> Vec<Told> {
        type Written = (usize, i64, &'static str, Option<u8>, &'static [u8]);
        let lines: [Written; 6] = [
            (0, 0, "systemd", Some(6), b"Started etcd.service - etcd."),
            (1, 3_000, "etcd", None, br#"{"level":"info","ts":"2026-11-26T02:53:25.999200Z","caller":"embed/etcd.go:600","msg":"serving peer traffic","address":"10.19.4.55:2380"}"#),
            (1, 3_000, "etcd", None, br#"{"level":"warn","ts":"2026-11-26T02:53:26.000357Z","caller":"wal/wal.go:805","msg":"slow fdatasync","took":"1.234567891s","expected-duration":"1s"}"#),
            (0, 5_000_000, "etcd", None, br#"{"level":"error","ts":"x","caller":"a.go:1","msg":"failed","tries":3,"empty":"","list":["a",1],"error":"dial tcp: refused","stacktrace":"main.main\n\t/a.go:12"}"#),
            (0, 5_000_001, "etcd", None, b"panic: \x1b[31mred\x07"),
            (1, 90_000_000_000, "systemd", Some(4), b"etcd.service: Failed with result 'exit-code'."),
        ];
        lines.into_iter().map(|(host, at, from, priority, text)| told(host, at, from, priority, text)).collect()
    }

    fn shown(form: Form, color: bool, terminal: Option<usize>, hosts: &[&str]) -> String {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        let mut shown = Shown::new(form, Style::new(color), terminal, hosts);
        String::from_utf8(entries().iter().flat_map(|told| shown.entry(told)).collect()).unwrap()
    }

    #[test]
    fn in_a_pipe_every_line_has_its_time() {
        assert_eq!(
            shown(Form::Text, false, None, &["node01", "n2"]),
            r#"2026-11-26T02:53:25.997Z node01  INFO   systemd: Started etcd.service - etcd.
2026-11-26T02:53:26.000Z n2      INFO   serving peer traffic  address=10.19.4.55:2380
2026-11-26T02:53:26.000Z n2      WARN   slow fdatasync  took=1.234567891s expected-duration=1s
2026-11-26T02:53:30.997Z node01  ERROR  failed  error="dial tcp: refused" tries=3 empty="" list=["a",1]
                                        main.main
                                         /a.go:12
2026-11-26T02:53:30.997Z node01         panic: red�
2026-11-27T03:53:25.997Z n2      WARN   systemd: etcd.service: Failed with result 'exit-code'.
"#
        );
    }

    #[test]
    fn on_a_terminal_days_have_a_line_and_long_lines_hang() {
        assert_eq!(
            shown(Form::Text, false, Some(72), &["node01", "n2"]),
            r#"2026-11-26 UTC
02:53:25.997 node01  INFO   systemd: Started etcd.service - etcd.
02:53:26.000 n2      INFO   serving peer traffic
                            address=10.19.4.55:2380
02:53:26.000 n2      WARN   slow fdatasync  took=1.234567891s
                            expected-duration=1s
02:53:30.997 node01  ERROR  failed  error="dial tcp: refused" tries=3
                            empty="" list=["a",1]
                            main.main
                             /a.go:12
02:53:30.997 node01         panic: red�
2026-11-27 UTC
03:53:25.997 n2      WARN   systemd: etcd.service: Failed with result
                            'exit-code'.
"#
        );
        let narrow = shown(Form::Text, false, Some(50), &["node01", "n2"]);
        assert!(
            narrow
                .contains("\n02:53:26.000 n2      WARN   slow fdatasync\n    took=1.234567891s expected-duration=1s\n"),
            "{narrow}"
        );
    }

    #[test]
    fn hosts_and_levels_have_colours() {
        let colored = shown(Form::Text, true, Some(200), &["node01", "n2"]);
        assert!(colored.contains(
            "\n\u{1b}[2m02:53:26.000\u{1b}[0m \u{1b}[35mn2    \u{1b}[0m  \u{1b}[33mWARN \u{1b}[0m  slow fdatasync  took"
        ), "{colored:?}");
        assert!(colored.contains("\u{1b}[36mnode01\u{1b}[0m  \u{1b}[31mERROR\u{1b}[0m  failed"), "{colored:?}");
    }

    #[test]
    fn as_they_were_written() {
        let several = shown(Form::Raw, false, None, &["node01", "n2"]);
        let lines: Vec<_> = several.lines().collect();
        assert_eq!(lines[0], "node01 Started etcd.service - etcd.");
        assert!(lines[2].starts_with(r#"n2     {"level":"warn","ts":"2026-11-26T02:53:26.000357Z","#), "{}", lines[2]);
        let one = shown(Form::Raw, false, None, &["node01"]);
        assert!(one.starts_with("Started etcd.service - etcd.\n{\"level\""), "{one}");
        // Whatever it is in a pipe, and what can be shown on a terminal.
        let odd = told(0, 0, "etcd", None, b"\x1b[2J\xff");
        let raw = |terminal| Shown::new(Form::Raw, Style::new(false), terminal, vec!["a".to_owned()]).entry(&odd);
        assert_eq!((raw(None), raw(Some(80))), (b"\x1b[2J\xff\n".to_vec(), "\u{fffd}\n".into()));
    }

    #[test]
    fn in_json() {
        let json = shown(Form::Json { raw: false }, true, Some(80), &["node01", "n2"]);
        let lines: Vec<_> = json.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"v":1,"time":"2026-11-26T02:53:25.997157Z","host":"node01","from":"systemd","level":"info","message":"Started etcd.service - etcd.","fields":{}}"#
        );
        assert_eq!(
            lines[2],
            r#"{"v":1,"time":"2026-11-26T02:53:26.000157Z","host":"n2","from":"etcd","level":"warn","message":"slow fdatasync","fields":{"caller":"wal/wal.go:805","took":"1.234567891s","expected-duration":"1s"}}"#
        );
        assert!(lines[4].contains(r#""level":null,"message":"panic: \u001b[31mred\u0007","#), "{}", lines[4]);
        let raw = shown(Form::Json { raw: true }, false, None, &["node01", "n2"]);
        assert!(
            raw.lines().nth(1).unwrap().contains(r#""level":"info","message":"{\"level\":\"info\",\"ts\""#),
            "{raw}"
        );
    }

    #[test]
    fn what_was_cut_off_is_told() {
        let mut long = told(0, 0, "etcd", None, b"much");
        long.entry.cut = true;
        assert_eq!(words(&long), "much … (cut off)");
    }
}
