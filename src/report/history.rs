//! Past runs, as their logs tell them. A log may be of any size and shape: it was left by a run that was killed, by
//! another version, or by somebody else.

use super::text::{cut, one_line};
use super::{Event, Outcome};
use crate::error::ExitStatus;
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// The most that is read of a log.
const LARGEST: u64 = 256 << 20;
/// The longest line that is read; a plan's diff is far shorter.
const LONGEST_LINE: u64 = 4 << 20;
/// The widest that a name or a message from a log may be.
const WIDEST: usize = 400;

#[derive(Deserialize)]
struct Line {
    time: String,
    #[serde(flatten)]
    event: Event,
}

/// A run's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Which run it is; 1 is the oldest.
    pub number: usize,
    /// Where it is.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
    /// When the run began, by the file's name.
    pub at: OffsetDateTime,
    /// The subcommand, by the file's name.
    pub command: String,
    /// The process, by the file's name.
    pub pid: u32,
}

/// A run in short.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRun {
    /// The subcommand.
    pub command: String,
    /// When it began.
    pub at: OffsetDateTime,
    /// Who ran it, `user@host`, if that was noted.
    pub by: Option<String>,
    /// How many changes it made.
    pub changes: usize,
    /// How it ended, if it did.
    pub end: Option<End>,
    /// The task that had begun last and its host.
    pub last: Option<(String, String)>,
    /// Lines that could not be read.
    pub unreadable: usize,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// The exit code's meaning.
    pub exit: ExitStatus,
    /// The words of its last line.
    pub message: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// The logs in a folder of runs, the oldest first; none if there is no such folder.
///
/// # Errors
/// The folder cannot be read.
pub fn logs(folder: &Path) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut logs: Vec<LogFile> = entries.flatten().filter_map(|entry| log(&entry.path())).collect();
    logs.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
    for (number, log) in (1..).zip(&mut logs) {
        log.number = number;
    }
    Ok(logs)
}

/// A file with a name that the run log gives: `20261122T101430.120Z-deploy-7.jsonl`.
fn log(path: &Path) -> Option<LogFile> {
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    let (time, rest) = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.split_once('-')?;
    let (command, pid) = rest.rsplit_once('-')?;
    let format = format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");
    Some(LogFile {
        number: 0,
        path: path.to_owned(),
        bytes: meta.len(),
        at: PrimitiveDateTime::parse(time, format).ok()?.assume_utc(),
        command: one_line(command),
        pid: pid.parse().ok()?,
    })
}

/// Gives every event of a log to `take`; says how many lines could not be read. Events of a kind that this version
/// does not know are among those.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path, mut take: impl FnMut(OffsetDateTime, Event)) -> io::Result<usize> {
    let mut file = BufReader::new(File::open(path)?.take(LARGEST));
    let (mut line, mut unreadable) = (Vec::new(), 0);
    loop {
        line.clear();
        if (&mut file).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(unreadable);
        }
        let read = serde_json::from_slice::<Line>(&line).ok();
        match read.and_then(|Line { time, event }| Some((OffsetDateTime::parse(&time, &Rfc3339).ok()?, event))) {
            Some((at, event)) => take(at, event),
            None => unreadable += 1,
        }
    }
}

/// A run in short, by its log.
///
/// # Errors
/// The file cannot be read.
pub fn summary(log: &LogFile) -> io::Result<PastRun> {
    let mut run = PastRun {
        command: log.command.clone(),
        at: log.at,
        by: None,
        changes: 0,
        end: None,
        last: None,
        unreadable: 0,
    };
    run.unreadable = read(&log.path, |at, event| run.note(at, event))?;
    Ok(run)
}

impl PastRun {
    fn note(&mut self, at: OffsetDateTime, event: Event) {
        let short = |text: &str| cut(&one_line(text), WIDEST, "…");
        match event {
            Event::RunStarted { command, by, .. } => {
                (self.command, self.at) = (short(&command), at);
                self.by = by.as_deref().map(short);
            }
            Event::TaskStarted { host, task } => self.last = Some((short(&host), short(&task))),
            Event::TaskFinished { host, task, outcome, .. } => {
                if let Outcome::Changed { changes } = outcome {
                    self.changes += changes.len();
                }
                self.last = Some((short(&host), short(&task)));
            }
            Event::RunFinished { exit, message, seconds, .. } => {
                self.end = Some(End { exit, message: short(&message), seconds });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
