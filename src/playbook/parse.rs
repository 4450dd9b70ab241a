//! Playbooks as written, and the errors that point into them.

use super::words::words;
use super::{Hooks, Play, Playbook, Tasks, Titled};
use crate::error::{ExitStatus, Explain};
use crate::tasks::{Entry, HostTaskKind, Mode, TaskKind};
use crate::yaml;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The most that a playbook may be; ours has a kilobyte.
const MAX_SIZE: u64 = 1 << 20;

/// Why a playbook cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    /// It cannot be read.
    #[error("cannot read playbook `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than a playbook can be.
    #[error("playbook `{}` is larger than 1 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not text.
    #[error("playbook `{}` is not UTF-8 text (byte {offset}, line {line})", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is none of UTF-8.
        offset: usize,
        /// The line that it is in, counted from 1.
        line: usize,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}:{column}: {message}")]
    Wrong {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
        /// The line itself.
        text: String,
    },
}

impl Explain for PlaybookError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("`etcd-ha playbook deploy` prints the one that `etcd-ha deploy` runs, to begin with".to_owned())
            }
            Self::NotText { .. } => Some("save the file as UTF-8, for example with `iconv -t UTF-8`".to_owned()),
            Self::Read { .. } | Self::TooLarge { .. } | Self::Wrong { .. } => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn excerpt(&self) -> Option<String> {
        let Self::Wrong { file, line, column, message, text } = self else { return None };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let (text, place) = yaml::window(text, usize::try_from(*column).unwrap_or(1));
        let caret = " ".repeat(place.saturating_sub(1).min(text.len()));
        Some(format!(
            "error: {message}\n{margin}--> {file}:{line}:{column}\n{margin} |\n{number} | {text}\n{margin} | {caret}^\n"
        ))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    plays: Vec<WrittenPlay>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPlay {
    name: String,
    #[serde(default, deserialize_with = "given")]
    hosts: Option<Spanned<Hosts>>,
    #[serde(default, deserialize_with = "given")]
    mode: Option<Spanned<Mode>>,
    tasks: Spanned<Vec<Spanned<Entry>>>,
    #[serde(default, deserialize_with = "given")]
    before: Option<Spanned<Vec<Spanned<Entry>>>>,
    #[serde(default, deserialize_with = "given")]
    after: Option<Spanned<Vec<Spanned<Entry>>>>,
}

/// A key that may be left out, but not left without a value: `hosts:` alone would mean all of them.
fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Clone, Default, PartialEq)]
enum Hosts {
    #[default]
    All,
    Controller,
    Named(Vec<String>),
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Hosts;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`all`, `controller`, the name of a host or a list of names")
            }

            fn visit_str<E>(self, word: &str) -> Result<Hosts, E> {
                Ok(match word {
                    "all" => Hosts::All,
                    "controller" => Hosts::Controller,
                    name => Hosts::Named(vec![name.to_owned()]),
                })
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut names: A) -> Result<Hosts, A::Error> {
                use serde::de::Error as _;
                let mut all: Vec<String> = Vec::new();
                while let Some(name) = names.next_element::<String>()? {
                    if name == "all" || name == "controller" {
                        return Err(A::Error::custom(format_args!(
                            "`{name}` stands alone, not in a list: `hosts: {name}`"
                        )));
                    }
                    if all.contains(&name) {
                        return Err(A::Error::custom(format_args!("host `{name}` is given twice")));
                    }
                    all.push(name);
                }
                if all.is_empty() {
                    return Err(A::Error::custom("there is no host in the list"));
                }
                Ok(Hosts::Named(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Playbook {
    /// Reads a playbook from a file.
    ///
    /// # Errors
    /// It cannot be read, or is wrong; the error says where.
    pub fn load(path: &Path) -> Result<Self, PlaybookError> {
        let unreadable = |source| PlaybookError::Read { path: path.to_owned(), source };
        let file = crate::files::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_SIZE {
            return Err(PlaybookError::TooLarge { path: path.to_owned() });
        }
        let text = yaml::text(bytes).map_err(|(offset, line)| PlaybookError::NotText {
            path: path.to_owned(),
            offset,
            line,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a playbook from its text; `file` is for messages.
    ///
    /// # Errors
    /// It is wrong; the error says where.
    pub fn parse(file: &str, text: &str) -> Result<Self, PlaybookError> {
        let wrong = |line: u64, column: u64, message: String| PlaybookError::Wrong {
            file: file.to_owned(),
            line,
            column,
            message,
            text: text
                .lines()
                .nth(usize::try_from(line.saturating_sub(1)).unwrap_or_default())
                .unwrap_or_default()
                .chars()
                // A file cannot play with the terminal.
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
        };
        if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
            return Err(wrong(1, 1, "the playbook is empty".to_owned()));
        }
        let written: Written =
            serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false }).map_err(
                |error| {
                    let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
                    let Some(refusal) = yaml::refusal(&error, text) else { return wrong(line, column, words(&error)) };
                    let (line, column) = refusal.at.map_or((line, column), |at| {
                        let (line, column) = yaml::position(text, at);
                        (line as u64, column as u64)
                    });
                    wrong(line, column, format!("not valid YAML: {}", refusal.words))
                },
            )?;
        if written.plays.is_empty() {
            return Err(wrong(1, 1, "there are no plays".to_owned()));
        }
        let plays = written.plays.into_iter().map(|play| {
            let at = |spot: serde_saphyr::Location, message: String| wrong(spot.line(), spot.column(), message);
            if play.tasks.value.is_empty() {
                return Err(at(play.tasks.referenced, format!("play `{}` has no tasks", play.name)));
            }
            let hosts = play.hosts.as_ref().map(|hosts| hosts.value.clone()).unwrap_or_default();
            let misplaced = |entry: &Spanned<Entry>| {
                let (name, place) =
                    (entry.value.task.name(), if hosts == Hosts::Controller { "hosts" } else { "the controller" });
                let fix = if hosts == Hosts::Controller { "all" } else { "controller" };
                at(entry.referenced, format!("`{name}` runs on {place}; put it into a play with `hosts: {fix}`"))
            };
            let rolling = play.mode.as_ref().is_some_and(|mode| mode.value == Mode::Rolling);
            for (name, hook) in [("before", &play.before), ("after", &play.after)] {
                if let Some(hook) = hook.as_ref().filter(|_| !rolling) {
                    return Err(at(hook.referenced, format!("`{name}` belongs into a play with `mode: rolling`")));
                }
            }
            let tasks = if hosts == Hosts::Controller {
                if let Some(mode) = &play.mode {
                    return Err(at(mode.referenced, "a play on the controller has no mode".to_owned()));
                }
                let tasks = play.tasks.value.iter().map(|entry| match &entry.value.task {
                    TaskKind::Controller(task) => Ok(Titled::from(&entry.value, task.clone())),
                    TaskKind::Host(_) => Err(misplaced(entry)),
                });
                Tasks::Controller(tasks.collect::<Result<_, _>>()?)
            } else {
                let on_hosts = |entries: &[Spanned<Entry>]| -> Result<Vec<Titled<HostTaskKind>>, PlaybookError> {
                    let tasks = entries.iter().map(|entry| match &entry.value.task {
                        TaskKind::Host(task) => Ok(Titled::from(&entry.value, task.clone())),
                        TaskKind::Controller(_) => Err(misplaced(entry)),
                    });
                    tasks.collect()
                };
                let hook =
                    |entries: &Option<Spanned<Vec<_>>>| on_hosts(entries.as_ref().map_or(&[], |list| &list.value));
                let hooks = Hooks { before: hook(&play.before)?, after: hook(&play.after)? };
                let tasks = on_hosts(&play.tasks.value)?;
                let hosts = match hosts.clone() {
                    Hosts::Named(names) => Some(names),
                    Hosts::All | Hosts::Controller => None,
                };
                let mode = play.mode.as_ref().map(|mode| mode.value).unwrap_or_default();
                Tasks::Hosts { hosts, mode, tasks, hooks }
            };
            Ok(Play { name: play.name, tasks })
        });
        Ok(Self { name: written.name, plays: plays.collect::<Result<_, PlaybookError>>()? })
    }
}
