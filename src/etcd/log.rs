//! What etcd writes into its log: zap's JSON and its lines for consoles, what 3.4 writes with capnslog, and what Go
//! itself says when it ends a program.

use serde_json::{Map, Value};

/// How grave a line is, in etcd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of use to developers.
    Debug,
    /// All is as it should be.
    Info,
    /// Something may need a look.
    Warn,
    /// Something went wrong.
    Error,
    /// The program ends with a stack trace.
    Panic,
    /// The program ends.
    Fatal,
}

impl Level {
    /// In etcd's words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Fatal => "fatal",
        }
    }

    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            "dpanic" | "panic" => Self::Panic,
            "fatal" => Self::Fatal,
            _ => return None,
        })
    }

    /// The level that syslog's priority stands for (RFC 5424, 6.2.1).
    #[must_use]
    pub fn of_priority(priority: u8) -> Self {
        match priority {
            0..=2 => Self::Fatal,
            3 => Self::Error,
            4 => Self::Warn,
            5 | 6 => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// A line of etcd's log, understood as far as it can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// How grave it is; a stack trace's lines do not say.
    pub level: Option<Level>,
    /// What it says.
    pub message: String,
    /// What goes with it, the error first; without the time, and with the place in etcd's source as `caller`.
    pub fields: Map<String, Value>,
}

impl Line {
    /// Reads a line. What cannot be understood is its own message.
    #[must_use]
    pub fn read(text: &str) -> Self {
        json(text).or_else(|| console(text)).or_else(|| capnslog(text)).or_else(|| raft(text)).unwrap_or_else(|| Self {
            level: None,
            message: text.to_owned(),
            fields: Map::new(),
        })
    }
}

fn json(text: &str) -> Option<Line> {
    let mut fields: Map<String, Value> = text.starts_with('{').then(|| serde_json::from_str(text).ok())??;
    let level = Level::read(fields.get("level")?.as_str()?)?;
    let Some(Value::String(message)) = fields.shift_remove("msg") else { return None };
    fields.shift_remove("level");
    fields.shift_remove("ts");
    if let Some(error) = fields.shift_remove("error") {
        fields.shift_insert(0, "error".to_owned(), error);
    }
    Some(Line { level: Some(level), message, fields })
}

/// `TIME<tab>LEVEL<tab>CALLER<tab>MESSAGE<tab>{…}`, the last of which may not be there.
fn console(text: &str) -> Option<Line> {
    let mut parts = text.splitn(5, '\t');
    let (_, level, caller, message) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let level = Level::read(&level.to_ascii_lowercase())?;
    let mut fields: Map<String, Value> = match parts.next() {
        Some(rest) => serde_json::from_str(rest).ok()?,
        None => Map::new(),
    };
    if let Some(error) = fields.shift_remove("error") {
        fields.shift_insert(0, "error".to_owned(), error);
    }
    fields.insert("caller".to_owned(), Value::from(caller));
    Some(Line { level: Some(level), message: message.to_owned(), fields })
}

/// `2026-11-26 02:53:25.997157 W | etcdserver: …`
fn capnslog(text: &str) -> Option<Line> {
    let (head, message) = text.split_once(" | ")?;
    let (time, level) = head.rsplit_once(' ')?;
    let is_time = time.len() == 26 && time.bytes().all(|byte| byte.is_ascii_digit() || b"- :.".contains(&byte));
    let level = match level {
        "C" => Level::Fatal,
        "E" => Level::Error,
        "W" => Level::Warn,
        "N" | "I" => Level::Info,
        "D" | "T" => Level::Debug,
        _ => return None,
    };
    is_time.then(|| Line { level: Some(level), message: message.to_owned(), fields: Map::new() })
}

/// `raft2026/11/26 03:22:22 INFO: …`, of 3.4 where it does not write JSON.
fn raft(text: &str) -> Option<Line> {
    let (time, rest) = text.strip_prefix("raft")?.split_at_checked("2026/11/26 03:22:22 ".len())?;
    let (level, message) = rest.split_once(": ")?;
    let is_time = time.bytes().all(|byte| byte.is_ascii_digit() || b"/: ".contains(&byte));
    let level = Level::read(&level.to_ascii_lowercase())?;
    is_time.then(|| Line { level: Some(level), message: format!("raft: {message}"), fields: Map::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_etcd_writes() {
        for (text, level, message, fields) in [
            // 3.5.16
            (
                r#"{"level":"warn","ts":"2026-11-26T02:53:25.997157Z","caller":"rafthttp/probing_status.go:68","msg":"prober detected unhealthy status","round-tripper-name":"ROUND_TRIPPER_SNAPSHOT","remote-peer-id":"cd0ab370561694fe","rtt":"0s","error":"dial tcp 10.19.4.56:2380: connect: connection refused"}"#,
                Some(Level::Warn),
                "prober detected unhealthy status",
                json!({"error": "dial tcp 10.19.4.56:2380: connect: connection refused", "caller": "rafthttp/probing_status.go:68", "round-tripper-name": "ROUND_TRIPPER_SNAPSHOT", "remote-peer-id": "cd0ab370561694fe", "rtt": "0s"}),
            ),
            (
                "2026-11-26T02:53:25.997Z\tinfo\tembed/etcd.go:308\tstarting an etcd server\t{\"etcd-version\": \"3.6.14\"}",
                Some(Level::Info),
                "starting an etcd server",
                json!({"etcd-version": "3.6.14", "caller": "embed/etcd.go:308"}),
            ),
            ("2026-11-26T02:53:25Z\tINFO\ta.go:1\tready", Some(Level::Info), "ready", json!({"caller": "a.go:1"})),
            // 3.4.23
            (
                r#"{"level":"warn","ts":"2026-11-26T03:22:14.441Z","caller":"auth/store.go:1380","msg":"simple token is not cryptographically signed"}"#,
                Some(Level::Warn),
                "simple token is not cryptographically signed",
                json!({"caller": "auth/store.go:1380"}),
            ),
            // 3.4.23 with capnslog, without the journal, and its raft, which never speaks to the journal.
            (
                "raft2026/11/26 03:22:23 INFO: 95228affaeb63364 became leader at term 2",
                Some(Level::Info),
                "raft: 95228affaeb63364 became leader at term 2",
                json!({}),
            ),
            ("raft2026/11/26 é: x", None, "raft2026/11/26 é: x", json!({})),
            (
                "2026-11-26 02:53:25.997157 W | etcdserver: read-only range request took too long",
                Some(Level::Warn),
                "etcdserver: read-only range request took too long",
                json!({}),
            ),
            ("panic: runtime error: index out of range", None, "panic: runtime error: index out of range", json!({})),
            ("goroutine 1 [running]:", None, "goroutine 1 [running]:", json!({})),
            ("a W | b", None, "a W | b", json!({})),
            (r#"{"level":"loud","msg":"x"}"#, None, r#"{"level":"loud","msg":"x"}"#, json!({})),
            (r#"{"level":"info","msg":7}"#, None, r#"{"level":"info","msg":7}"#, json!({})),
            (r#"{"level":"info","msg":"cut o"#, None, r#"{"level":"info","msg":"cut o"#, json!({})),
            ("", None, "", json!({})),
        ] {
            let line = Line::read(text);
            assert_eq!((line.level, line.message.as_str()), (level, message), "{text}");
            assert_eq!(Value::from(line.fields).to_string(), fields.to_string(), "{text}");
        }
    }

    #[test]
    fn levels_are_in_order_and_read_as_they_are_named() {
        let all = [Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Panic, Level::Fatal];
        assert!(all.is_sorted());
        for level in all {
            assert_eq!(Level::read(level.name()), Some(level));
        }
        let of: Vec<_> = (0..8).map(|priority| Level::of_priority(priority).name()).collect();
        assert_eq!(of, ["fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug"]);
    }
}
