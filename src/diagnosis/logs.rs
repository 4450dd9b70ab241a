//! The journals of all members as one: what is shown of them, in which order, and how it looks.

mod shown;
mod window;

pub use shown::{Form, Shown};
pub use window::Window;

use crate::etcd::config::UNIT;
use crate::etcd::log::{Level, Line};
use crate::host::Entry;

/// An entry of a host's journal, as etcd meant it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The host's place among those that are shown.
    pub host: usize,
    /// The entry.
    pub entry: Entry,
    /// The entry's text.
    pub text: String,
    /// What the text says.
    pub line: Line,
}

impl Told {
    /// Reads an entry.
    #[must_use]
    pub fn new(host: usize, entry: Entry) -> Self {
        let text = String::from_utf8_lossy(&entry.message).into_owned();
        let mut line = Line::read(&text);
        line.level = line.level.or(entry.priority.map(Level::of_priority));
        Self { host, entry, text, line }
    }

    /// Whether another than etcd wrote it, systemd for one.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.entry.from != UNIT.trim_end_matches(".service") && !self.entry.from.is_empty()
    }
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of this level and graver ones. What has no level, as a stack trace's lines, is wanted always.
    pub level: Option<Level>,
    /// Those with this text, in capitals or not, as they were written or as they are shown.
    words: Option<String>,
}

impl Wanted {
    /// Entries of a level at least, with these words.
    #[must_use]
    pub fn new(level: Option<Level>, words: Option<&str>) -> Self {
        Self { level, words: words.map(str::to_lowercase) }
    }

    /// Whether anything is left out.
    #[must_use]
    pub fn chooses(&self) -> bool {
        self.level.is_some() || self.words.is_some()
    }

    /// Whether an entry is wanted.
    #[must_use]
    pub fn takes(&self, told: &Told) -> bool {
        let grave = self.level.is_none_or(|least| told.line.level.is_none_or(|level| level >= least));
        let has = |words: &String| {
            told.text.to_lowercase().contains(words) || shown::words(told).to_lowercase().contains(words)
        };
        grave && self.words.as_ref().is_none_or(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3.4.23 with capnslog writes to the journal itself, and gives it the level.
    #[test]
    fn the_journal_knows_some_levels() {
        for (from, priority, foreign, level) in [
            ("etcd", Some(6), false, Some(Level::Info)),
            ("etcd", Some(4), false, Some(Level::Warn)),
            ("etcd", None, false, None),
            ("systemd", Some(3), true, Some(Level::Error)),
            ("(etcd)", Some(3), true, Some(Level::Error)),
        ] {
            let (from, message) = (from.to_owned(), b"recognized and used environment variable ETCD_LOGGER=capnslog");
            let entry =
                Entry { micros: 0, cursor: String::new(), from, priority, message: message.to_vec(), cut: false };
            let told = Told::new(0, entry);
            assert_eq!((told.is_foreign(), told.line.level), (foreign, level), "{told:?}");
        }
    }

    #[test]
    fn what_is_wanted() {
        let slow = r#"{"level":"warn","msg":"slow fdatasync","took":"1.2s"}"#;
        for (level, words, from, priority, text, want) in [
            (None, None, "etcd", None, slow, true),
            (Some(Level::Warn), None, "etcd", None, slow, true),
            (Some(Level::Error), None, "etcd", None, slow, false),
            (Some(Level::Error), None, "etcd", None, "goroutine 1 [running]:", true),
            (Some(Level::Warn), None, "systemd", Some(6), "Started etcd.service.", false),
            (Some(Level::Warn), None, "systemd", Some(4), "etcd.service: Failed with result 'exit-code'.", true),
            (None, Some("FDATASYNC"), "etcd", None, slow, true),
            (None, Some("took=1.2"), "etcd", None, slow, true),
            (None, Some(r#""took":"1"#), "etcd", None, slow, true),
            (None, Some("slow.*sync"), "etcd", None, slow, false),
            (None, Some("systemd: started"), "systemd", Some(6), "Started etcd.service.", true),
            (Some(Level::Error), Some("slow"), "etcd", None, slow, false),
        ] {
            let entry = Entry {
                micros: 0,
                cursor: String::new(),
                from: from.to_owned(),
                priority,
                message: text.into(),
                cut: false,
            };
            let wanted = Wanted::new(level, words);
            assert_eq!(wanted.takes(&Told::new(0, entry)), want, "{level:?} {words:?} {text}");
            assert_eq!(wanted.chooses(), level.is_some() || words.is_some());
        }
    }
}
