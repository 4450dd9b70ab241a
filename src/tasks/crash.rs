//! A member that was started and ended: what it said last.

use super::{TaskError, View};
use crate::etcd::config::UNIT;

/// Fails if etcd was started and ended since.
pub(crate) fn crashed(view: &View<'_>) -> Result<(), TaskError> {
    let unit = &view.seen.unit;
    if !unit.crashed() {
        return Ok(());
    }
    Err(unsteady(view))
}

/// The failure of a member whose process does not stay.
pub(crate) fn unsteady(view: &View<'_>) -> TaskError {
    let state = view.seen.unit.describe();
    TaskError::Crashed { state, said: last_words(&view.seen.journal), unit: UNIT.to_owned() }
}

/// The line of etcd's journal that says why it ended: the last fatal one, or the last that is an error, or
/// what it said outside of its log, or why systemd could not start it, or the last one.
#[must_use]
pub fn last_words(journal: &str) -> Option<String> {
    let lines: Vec<&str> = journal.lines().filter(|line| !line.trim().is_empty()).collect();
    let level =
        |line: &str, levels: &[&str]| levels.iter().any(|level| line.contains(&format!("\"level\":\"{level}\"")));
    let pick = |levels: &[&str]| lines.iter().rev().find(|line| level(line, levels)).copied();
    let line = pick(&["fatal", "panic"]).or_else(|| pick(&["error"]));
    let find = |says: &dyn Fn(&str) -> bool| lines.iter().rev().find(|line| says(line)).copied();
    let line = line
        .or_else(|| find(&|line| line.contains("failed to verify flags")))
        .or_else(|| find(&|line| line.starts_with("panic: ") || line.starts_with("fatal error: ")))
        .or_else(|| find(&|line| !line.starts_with('{') && !is_systemd_s(line)))
        .or_else(|| find(&|line| is_systemd_s(line) && !says_that_it_ended(line)))
        .or_else(|| lines.last().copied())?;
    // A line may carry a stack trace, which is longer than all the rest.
    let words = match serde_json::from_str(line) {
        Ok(serde_json::Value::Object(fields)) => {
            let text = |name: &str| fields.get(name).and_then(|value| value.as_str());
            match (text("msg"), text("error")) {
                (Some(msg), Some(error)) => format!("{msg}: {error}"),
                (Some(msg), None) => msg.to_owned(),
                _ => line.to_owned(),
            }
        }
        _ => line.to_owned(),
    };
    Some(words.chars().filter(|c| !c.is_control()).take(600).collect())
}

/// Whether a line was said by systemd of the unit, not by the unit's process.
fn is_systemd_s(line: &str) -> bool {
    let of_a_job = ["Starting ", "Started ", "Stopping ", "Stopped ", "Failed to start "];
    line.starts_with(&format!("{UNIT}: ")) || (of_a_job.iter().any(|job| line.starts_with(job)) && line.contains(UNIT))
}

/// Whether a line of systemd's says only that the process ended and what became of the unit, not why.
fn says_that_it_ended(line: &str) -> bool {
    let ends = ["Main process exited", "Failed with result", "Scheduled restart job", "Deactivated", "Consumed "];
    line.strip_prefix(&format!("{UNIT}: ")).is_none_or(|said| ends.iter().any(|end| said.starts_with(end)))
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn what_etcd_said_outside_of_its_log_and_what_systemd_says() {
        let ended = "etcd.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED\n\
            etcd.service: Failed with result 'exit-code'.\nFailed to start etcd.service - etcd.\n\
            etcd.service: Scheduled restart job, restart counter is at 1.\nStopped etcd.service - etcd.\n";
        let before = "{\"level\":\"info\",\"msg\":\"closed etcd server\"}\nStarting etcd.service - etcd...\n";
        for (said, want) in [
            ("this etcd is broken\n", "this etcd is broken"),
            (
                "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n",
                "panic: runtime error: index out of range",
            ),
            (
                "etcd.service: Failed to execute /usr/local/bin/etcd: Permission denied\n",
                "etcd.service: Failed to execute /usr/local/bin/etcd: Permission denied",
            ),
            ("", "Stopped etcd.service - etcd."),
        ] {
            assert_eq!(last_words(&format!("{before}{said}{ended}")).as_deref(), Some(want));
        }
    }

    #[test]
    fn the_line_that_says_why_is_found() {
        let journal = "{\"level\":\"info\",\"msg\":\"starting\"}\n\
            {\"level\":\"fatal\",\"ts\":\"x\",\"msg\":\"discovery failed\",\"error\":\"listen tcp 10.19.4.57:2380: bind: address already in use\"}\n\
            {\"level\":\"info\",\"msg\":\"closed\"}\n";
        let words = "discovery failed: listen tcp 10.19.4.57:2380: bind: address already in use";
        assert_eq!(last_words(journal).as_deref(), Some(words));
        assert_eq!(
            last_words("etcd.service: Failed at step EXEC\n").as_deref(),
            Some("etcd.service: Failed at step EXEC")
        );
        assert_eq!(last_words("\n"), None);
        let long = format!(
            "{{\"level\":\"error\",\"msg\":\"creating peer listener failed\",\"error\":\"in use\",\"stacktrace\":\"{}\"}}",
            "go.etcd.io/etcd/server/embed.StartEtcd\\n\\t".repeat(40)
        );
        assert_eq!(last_words(&long).as_deref(), Some("creating peer listener failed: in use"));
        assert_eq!(last_words(&"x".repeat(1000)).map(|words| words.len()), Some(600));
        assert_eq!(last_words("{\"msg\":\"a\\u001b[31mb\"}").as_deref(), Some("a[31mb"));
    }
}
