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

/// The line of etcd's journal that says why it ended: the last fatal one, or the last that is an
/// error, or the last one.
fn last_words(journal: &str) -> Option<String> {
    let lines: Vec<&str> = journal.lines().filter(|line| !line.trim().is_empty()).collect();
    let level =
        |line: &str, levels: &[&str]| levels.iter().any(|level| line.contains(&format!("\"level\":\"{level}\"")));
    let pick = |levels: &[&str]| lines.iter().rev().find(|line| level(line, levels)).copied();
    let line = pick(&["fatal", "panic"]).or_else(|| pick(&["error"]));
    let line = line.or_else(|| lines.iter().rev().find(|line| line.contains("failed to verify flags")).copied());
    let line = line.or_else(|| lines.last().copied())?;
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

#[cfg(test)]
mod tests {
    use super::last_words;

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
