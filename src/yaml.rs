//! What a YAML library's refusals mean to somebody who wrote an inventory or a playbook.

use serde_saphyr::Error;
use serde_saphyr::budget::BudgetBreach;

/// A refusal of the library, and where it is better to look than where the library stopped.
pub(crate) struct Refusal {
    /// What is wrong: lower case, no full stop.
    pub(crate) words: &'static str,
    /// The byte of the text that is to blame, where that is known better than by the library.
    pub(crate) at: Option<usize>,
}

/// What is wrong in `text`, where the library's own words help nobody: its limits, and tabs, which it finds at the end
/// of what came before.
pub(crate) fn refusal(error: &Error, text: &str) -> Option<Refusal> {
    let words = match error {
        Error::AliasError { error, .. } => return refusal(error, text),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => "it is nested more deeply than could be meant",
        Error::Budget { .. } => "it has more parts than could be meant",
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => "its aliases (`*name`) stand for more than could be meant",
        Error::ExternalMessage { msg, .. } if msg.contains("tab") => {
            // What stands before the place where the library stopped it has taken.
            let line = error.location()?.line();
            let at = Some(indenting_tab(text, usize::try_from(line).ok()?)?);
            return Some(Refusal { words: "a line is indented by a tab, and YAML knows spaces only", at });
        }
        _ => return None,
    };
    Some(Refusal { words, at: None })
}

/// A file's text, or the first byte that is none of UTF-8 and its line, counted from 1.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, (usize, usize)> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..offset).unwrap_or_default();
        (offset, before.iter().filter(|byte| **byte == b'\n').count() + 1)
    })
}

/// Line and column of a byte, counted from 1; the column counts characters.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The first tab before anything else on its line, from a line on, counted from 1.
fn indenting_tab(text: &str, from: usize) -> Option<usize> {
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number + 1 < from {
            start += line.len();
            continue;
        }
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..indent].find('\t') {
            return Some(start + tab);
        }
        start += line.len();
    }
    None
}

/// A window of a line around a column (from 1), for files without line ends: what is shown, and the column therein.
pub(crate) fn window(line: &str, column: usize) -> (String, usize) {
    const WIDEST: usize = 160;
    const BEFORE: usize = 60;
    if line.chars().nth(WIDEST).is_none() {
        return (line.to_owned(), column);
    }
    let skipped = column.saturating_sub(1 + BEFORE);
    let mut shown: String = line.chars().skip(skipped).take(WIDEST).collect();
    if line.chars().nth(skipped + WIDEST).is_some() {
        shown.push('…');
    }
    if skipped == 0 { (shown, column) } else { (format!("…{shown}"), column - skipped + 1) }
}

#[cfg(test)]
mod tests {
    use crate::yaml::{indenting_tab, window};

    #[test]
    fn tabs_that_indent() {
        for (text, from, at) in [
            ("a: b\n\tc: d\n", 1, Some(5)),
            ("a: b\n\tc: d\n", 3, None),
            ("a: |\n  b\n\tc\nd:\n\te", 4, Some(15)),
            ("a:\n  b: c\n  \td: e\n", 2, Some(12)),
            ("a: b\tc\n", 1, None),
            ("a:\tb", 1, None),
            ("", 1, None),
            ("\r\n\t", 1, Some(2)),
        ] {
            assert_eq!(indenting_tab(text, from), at, "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_shown_around_the_place() {
        assert_eq!(window("short", 3), ("short".to_owned(), 3));
        let long: String = ('a'..='z').cycle().take(10_000).collect();
        for column in [1, 61, 62, 5_000, 9_999, 10_000, 10_001] {
            let (shown, at) = window(&long, column);
            assert!(shown.chars().count() <= 162, "{shown}");
            assert_eq!(
                shown.chars().nth(at - 1),
                long.chars().nth(column - 1).or(shown.chars().nth(at - 1)),
                "{column}"
            );
            assert_eq!(long.chars().nth(column - 1).is_some(), shown.chars().nth(at - 1).is_some(), "{column}");
        }
    }
}
