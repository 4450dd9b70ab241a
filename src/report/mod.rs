//! What the user sees: the engine emits [`Event`]s, and sinks turn them into bars, lines or JSON.
//!
//! Narration goes to stderr, data to stdout, and nothing but this room writes to either. What is
//! said is decided by pure functions over the events; the sinks only carry it out:
//!
//! ```text
//! emit ──▶ Reporter (own thread) ──┬──▶ Terminal   bars above, what stays below   stderr
//!                                  ├──▶ Plain      a line an event                stderr
//!                                  ├──▶ JsonLines  a JSON object an event         stdout
//!                                  └──▶ RunLog     the same, in the state folder
//! ```

mod activity;
mod closing;
mod diff;
mod event;
mod frame;
mod history;
mod human;
mod json;
mod live;
mod output;
mod plain;
mod rate;
mod recap;
mod reporter;
mod round_trips;
mod run_log;
mod screen;
mod story;
mod style;
mod terminal;
mod text;
mod yaml;

pub use activity::Activity;
pub use closing::ending_word;
pub use diff::diff;
pub use event::{Event, HostRecap, HostTrips, Outcome, TripPart};
pub use history::{End, LogFile, PastRun, logs, read, summary};
pub use human::{count, human_bytes, human_ratio, human_seconds};
pub use json::{JsonLines, json, json_line};
pub use output::Output;
pub use plain::Plain;
pub use recap::Recap;
pub use reporter::{Hold, Reporter, Sink};
pub use round_trips::TripTally;
pub use run_log::{RunLog, cluster_folder, run_log_path, state_folder};
pub use screen::{Format, Screen, Surroundings};
pub use style::{Color, Look, Style, Symbols};
pub use terminal::Terminal;
pub use text::{Taming, cut, one_line, pad, table, visible, width, wrap};
pub use yaml::yaml;

use std::path::PathBuf;

/// How much the displays say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// Also what had nothing to do (`--verbose`).
    pub verbose: bool,
    /// Only warnings, failures and how it ended (`--quiet`).
    pub quiet: bool,
    /// The run log, to be named when the run does not end well.
    pub run_log: Option<PathBuf>,
}

/// What can go wrong while reporting. None of it ends a run.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run log cannot be written.
    #[error("cannot write the run log `{path}`")]
    RunLog {
        /// The file or folder at fault.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The environment names no folder for state.
    #[error("no run log is kept: neither `XDG_STATE_HOME` nor `HOME` is an absolute path")]
    NoStateFolder,
    /// A standard stream cannot be written.
    #[error("cannot write to {stream}")]
    Stream {
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// Why; never a closed pipe, which is no error.
        #[source]
        source: std::io::Error,
    },
}

impl crate::error::Explain for ReportError {}

/// The event that tells the user of `error`.
impl From<ReportError> for Event {
    fn from(error: ReportError) -> Self {
        Self::Warning { host: None, message: crate::error::Error::from(error).line() }
    }
}
