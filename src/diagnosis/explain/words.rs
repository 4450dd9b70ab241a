//! How an explanation reads.

use super::{Explanation, Finding, Step, Weight};
use crate::report::{self, Style, human_bytes, one_line, wrap};
use serde_json::json;
use std::fmt::Write as _;

/// Sizes as people read them.
pub(super) fn bytes(bytes: u64) -> String {
    human_bytes(bytes)
}

/// A word as a shell reads it.
pub(super) fn shell(word: &str) -> String {
    crate::ssh::quote(word)
}

/// A span of time, in the unit that says enough.
pub(super) fn ago(seconds: f64) -> String {
    // A float that is too large or not a number becomes the nearest end of the range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = seconds.round() as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => "nobody".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl Explanation {
    /// For people: within `columns`, but for commands, which stay whole to be copied.
    #[must_use]
    pub fn text(&self, columns: usize, style: Style) -> String {
        let summary = if self.well() { style.good(&self.summary) } else { style.bad(&self.summary) };
        let mut text = summary + "\n";
        for (number, finding) in (1..).zip(&self.findings) {
            text.push('\n');
            text += &finding.text(number, columns, style);
        }
        text
    }

    /// One line a finding, then one for the cluster.
    #[must_use]
    pub fn json(&self) -> String {
        let findings = self.findings.iter().map(|finding| {
            let next = finding.next.iter().map(|step| match step {
                Step::Do(words) => json!({ "do": words }),
                Step::Type(command) => json!({ "type": command }),
            });
            json!({
                "v": 1,
                "host": finding.host,
                "kind": finding.kind,
                "fault": finding.weight == Weight::Fault,
                "cause": one_line(&finding.cause),
                "because": finding.evidence.iter().map(|evidence| one_line(evidence)).collect::<Vec<_>>(),
                "next": next.collect::<Vec<_>>(),
            })
        });
        let cluster = json!({ "v": 1, "cluster": self.summary, "well": self.well(), "findings": self.findings.len() });
        findings.chain([cluster]).map(|line| report::json(&line)).collect()
    }
}

impl Finding {
    fn text(&self, number: usize, columns: usize, style: Style) -> String {
        let mut text = String::new();
        let host = self.host.as_ref().map_or_else(String::new, |host| format!("{host}: "));
        let notice = if self.weight == Weight::Notice { "worth a look: " } else { "" };
        let lead = format!("{number}. ");
        let headline = hanging(&lead, &format!("{notice}{host}{}", one_line(&self.cause)), columns);
        for line in headline {
            let _ = writeln!(text, "{}", style.bold(line));
        }
        for evidence in &self.evidence {
            for line in hanging("   because: ", &one_line(evidence), columns) {
                let _ = writeln!(text, "{line}");
            }
        }
        let mut lead = "   do: ";
        for step in &self.next {
            match step {
                Step::Do(words) => {
                    for line in hanging(lead, &one_line(words), columns) {
                        let _ = writeln!(text, "{line}");
                    }
                }
                Step::Type(command) => {
                    let _ = writeln!(text, "{lead}{}", style.bold(command));
                }
            }
            lead = "       ";
        }
        text
    }
}

/// `words` behind `lead`, the other lines as far in.
fn hanging(lead: &str, words: &str, columns: usize) -> Vec<String> {
    let indent = " ".repeat(lead.len());
    let lines = wrap(words, columns.saturating_sub(lead.len()).max(20));
    let place = |(index, line): (usize, String)| format!("{}{line}", if index == 0 { lead } else { &indent });
    lines.into_iter().enumerate().map(place).collect()
}
