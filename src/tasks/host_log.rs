//! What is noted on the hosts of runs that changed something there: a line when it begins and one when it ends, so that
//! a run that was killed is seen as one that has no end. Written whatever the controller, and only ever appended to.

use crate::error::ExitStatus;
use crate::host::{ORIGIN, RunName};
use crate::report::{cluster_folder, cut, ending_word, one_line};
use crate::ssh::quote;
use serde::{Deserialize, Serialize};
use std::path::Path;
use time::OffsetDateTime;

/// The most that is read of a host's notes, from their end.
const MOST: usize = 256 << 10;
/// The widest that a text in a note may be.
const WIDEST: usize = 300;

/// A line on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, by the controller's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// The run's id.
    pub run: String,
    /// Who ran it, `user@host`.
    pub by: String,
    /// The subcommand.
    pub command: String,
    /// The version of etcd that the inventory had.
    pub version: String,
    /// How it ended here, the exit code; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The address that the host saw it come from.
    #[serde(default, skip_serializing)]
    pub from: String,
}

impl Note {
    /// The notes in a host's file, whatever stands there: what is none is left out, since a host is not trusted.
    #[must_use]
    pub fn all(file: &[u8]) -> Vec<Self> {
        read(file)
    }

    /// That a run begins to change things.
    #[must_use]
    pub fn begins(run: &RunName, version: &str, time: OffsetDateTime) -> Self {
        let short = |text: &str| cut(&one_line(text), WIDEST, "…");
        Self {
            time,
            run: short(&run.id),
            by: short(&run.by),
            command: short(&run.command),
            version: short(version),
            exit: None,
            result: None,
            from: String::new(),
        }
    }

    /// The same at its end: with what failed on that host, if anything did.
    #[must_use]
    pub fn ends(self, time: OffsetDateTime, exit: ExitStatus, failure: Option<&str>) -> Self {
        let result = failure.map_or_else(|| ending_word(exit).to_owned(), |text| cut(&one_line(text), WIDEST, "…"));
        Self { time, exit: Some(exit.code()), result: Some(result), ..self }
    }
}

/// Where a cluster's notes are on its hosts.
#[must_use]
pub fn file(cluster: &str) -> String {
    format!("{}.log", cluster_folder(Path::new("/var/log"), cluster).display())
}

/// Appends a note.
pub(super) fn append(file: &str, note: &Note) -> String {
    // It holds no map with keys that JSON cannot write.
    let json = serde_json::to_string(note).unwrap_or_default();
    let head = json.strip_suffix('}').unwrap_or_default();
    format!(
        r#"file={file} folder={folder}
{ORIGIN}umask 077
if [ ! -d "$folder" ]; then mkdir -p "$folder"; chmod 750 "$folder"; fi
if [ ! -e "$file" ]; then : >>"$file"; chmod 640 "$file"; fi
printf '%s,"from":"%s"}}\n' {head} "$from" >>"$file"
"#,
        file = quote(file),
        folder = quote(file.rsplit_once('/').map_or("/", |(folder, _)| folder)),
        head = quote(head),
    )
}

/// Prints the last notes.
pub(super) fn tail(file: &str) -> String {
    let file = quote(file);
    format!("if [ -f {file} ]; then tail -c {MOST} {file}; fi\n")
}

pub(super) fn read(answer: &[u8]) -> Vec<Note> {
    let short = |text: &str| cut(&one_line(text), WIDEST, "…");
    let notes = answer.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Note>(line).ok());
    let notes = notes.map(|note| Note {
        time: note.time,
        run: short(&note.run),
        by: short(&note.by),
        command: short(&note.command),
        version: short(&note.version),
        exit: note.exit,
        result: note.result.as_deref().map(short),
        from: short(&note.from),
    });
    notes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::scripts::sh;
    use time::macros::datetime;

    const AT: OffsetDateTime = datetime!(2026-11-22 10:14:30 UTC);

    fn note() -> Note {
        let run = RunName { id: "20261122T101430Z-7f".into(), by: "ada@desk".into(), command: "deploy".into() };
        Note::begins(&run, "3.5.16", AT)
    }

    /// Appended by a real shell, and read again.
    #[test]
    fn what_is_noted_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("etcd-ha/it's.log").display().to_string();
        let end = note().ends(AT, ExitStatus::Failed, Some("it \"broke\"\n'$(id)' `x` \u{1b}[31m"));
        for (connection, note) in [("10.19.0.1 4 10.19.0.55 22", &note()), ("$(id)' 1 2 3", &end)] {
            let script = format!("SSH_CONNECTION={}\n{}", quote(connection), append(&file, note));
            let ran = sh(&script, b"", None);
            assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        }
        let text = std::fs::read(&file).unwrap();
        let from = |from: &str, note: Note| Note { from: from.into(), ..note };
        assert_eq!(read(&text), [from("10.19.0.1", note()), from("", end.clone())]);
        assert_eq!(end.result.as_deref(), Some("it \"broke\" / '$(id)' `x`"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o640);
        let ran = sh(&format!("{{\n{}}} >{}", tail(&file), quote(&format!("{file}.tail"))), b"", None);
        assert_eq!((ran.status, std::fs::read(format!("{file}.tail")).unwrap()), (0, text));
    }

    #[test]
    fn what_hosts_say_is_not_trusted() {
        for bytes in [&b""[..], b"\n\n", b"{}", b"\xff", b"{\"time\":1}", &[b'{'; 5000]] {
            assert_eq!(read(bytes), [], "{bytes:?}");
        }
        let evil = Note { by: "\u{1b}[2Jx".into(), command: "y".repeat(5000), ..note() };
        let read = read(serde_json::to_string(&evil).unwrap().as_bytes());
        assert_eq!((read[0].by.as_str(), read[0].command.chars().count()), ("x", WIDEST));
        assert_eq!(file("../x"), "/var/log/etcd-ha/_._x.log");
    }
}
