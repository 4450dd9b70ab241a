//! The run log: every run's events, kept where a user's state belongs.

use super::json::json_line;
use super::{Event, ReportError, Sink};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// The folder for this user's state: `$XDG_STATE_HOME`, or `.local/state` in the home folder.
/// What is not absolute is ignored, as the XDG Base Directory Specification wants it.
#[must_use]
pub fn state_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))
}

/// Where a run logs: `STATE/etcd-ha/CLUSTER/runs/TIME-COMMAND-PID.jsonl`, the time in UTC, so that
/// the names sort by it.
#[must_use]
pub fn run_log_path(state: &Path, cluster: &str, command: &str, at: OffsetDateTime, pid: u32) -> PathBuf {
    let format = format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");
    let time = at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default();
    let name = format!("{time}-{}-{pid}.jsonl", component(command));
    cluster_folder(state, cluster).join("runs").join(name)
}

/// Where all that is kept of a cluster belongs: `STATE/etcd-ha/CLUSTER`.
#[must_use]
pub fn cluster_folder(state: &Path, cluster: &str) -> PathBuf {
    state.join("etcd-ha").join(component(cluster))
}

/// `name` as one path component: it cannot leave its folder or hide.
fn component(name: &str) -> String {
    let safe = name.chars().map(|c| match c {
        '/' | '\\' => '_',
        c if c.is_control() => '_',
        c => c,
    });
    let safe: String = safe.collect();
    match safe.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if safe.is_empty() => "_".to_string(),
        None => safe,
    }
}

/// Appends every event as a JSON line to a file that only its owner can read. Each line is written
/// at once, so that a killed run leaves whole lines but for the last: a kernel may break off a write within it. Of a task's progress only the last state is kept.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: File,
    /// The last progress of each task that goes on.
    progress: Vec<(OffsetDateTime, Event)>,
}

impl RunLog {
    /// Creates the file and the folders above it.
    ///
    /// # Errors
    ///
    /// [`ReportError::RunLog`] if that cannot be done; it names the folder or file.
    pub fn create(path: PathBuf) -> Result<Self, ReportError> {
        let fault = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ReportError::RunLog { path, source }
        };
        if let Some(folder) = path.parent() {
            let mut private = DirBuilder::new();
            private.recursive(true).mode(0o700);
            private.create(folder).map_err(fault(folder))?;
        }
        let mut private = OpenOptions::new();
        private.append(true).create_new(true).mode(0o600);
        let file = private.open(&path).map_err(fault(&path))?;
        Ok(Self { path, file, progress: Vec::new() })
    }

    fn write(&mut self, at: OffsetDateTime, event: &Event) -> Result<(), ReportError> {
        let line = json_line(at, event);
        self.file.write_all(line.as_bytes()).map_err(|source| ReportError::RunLog { path: self.path.clone(), source })
    }

    /// Writes the progress that is held back for the tasks that `chosen` names.
    fn release(&mut self, chosen: impl Fn(&Event) -> bool) -> Result<(), ReportError> {
        let held = std::mem::take(&mut self.progress);
        let (out, keep) = held.into_iter().partition(|(_, event)| chosen(event));
        self.progress = keep;
        let out: Vec<(OffsetDateTime, Event)> = out;
        out.iter().try_for_each(|(at, event)| self.write(*at, event))
    }
}

/// The host and task that a progress event is about.
fn subject(event: &Event) -> Option<(&str, &str)> {
    match event {
        Event::TaskProgress { host, task, .. } => Some((host, task)),
        _ => None,
    }
}

impl Sink for RunLog {
    fn event(&mut self, at: OffsetDateTime, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::TaskProgress { .. } => {
                self.progress.retain(|(_, held)| subject(held) != subject(event));
                self.progress.push((at, event.clone()));
                return Ok(());
            }
            Event::TaskFinished { host, task, .. } => {
                self.release(|held| subject(held) == Some((host, task)))?;
            }
            Event::RunFinished { .. } => self.release(|_| true)?,
            Event::RunStarted { .. }
            | Event::PlayStarted { .. }
            | Event::TaskStarted { .. }
            | Event::HopStarted { .. }
            | Event::HopPending { .. }
            | Event::ChangePending { .. }
            | Event::TurnPending { .. }
            | Event::HostState { .. }
            | Event::Warning { .. }
            | Event::RoundTrip { .. }
            | Event::RoundTrips { .. }
            | Event::Probed { .. } => {}
        }
        self.write(at, event)
    }

    fn finish(&mut self) {
        // The last words of a run that broke off; there is nobody left to tell of a failure.
        let _ = self.release(|_| true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn state_folders() {
        let folder = |xdg: Option<&str>, home: Option<&str>| {
            state_folder(|name| match name {
                "XDG_STATE_HOME" => xdg.map(OsString::from),
                _ => home.map(OsString::from),
            })
        };
        assert_eq!(folder(Some("/s"), Some("/h")), Some("/s".into()));
        assert_eq!(folder(Some("s"), Some("/h")), Some("/h/.local/state".into()));
        assert_eq!(folder(Some(""), Some("/h")), Some("/h/.local/state".into()));
        assert_eq!(folder(None, Some("")), None);
        assert_eq!(folder(None, None), None);
    }

    #[test]
    fn names_stay_in_their_folder() {
        let at = datetime!(2026-11-22 11:14:30.12 +1);
        let path = |cluster| run_log_path(Path::new("/s"), cluster, "deploy", at, 7);
        let name = "20261122T101430.120Z-deploy-7.jsonl";
        for (cluster, folder) in [("prod", "prod"), ("..", "_."), ("a/../b", "a_.._b"), ("", "_")] {
            assert_eq!(path(cluster), Path::new("/s/etcd-ha").join(folder).join("runs").join(name));
        }
    }
}
