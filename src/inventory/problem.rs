//! What can be wrong with an inventory, and how it is shown.

use crate::error::{ExitStatus, Explain};
use crate::yaml;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::PathBuf;

/// One thing that is wrong in an inventory's text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it, or why it is a rule.
    pub help: Option<String>,
    /// Where, as bytes of the text, each with a few words; the first one is the place itself.
    pub labels: Vec<(Range<usize>, String)>,
}

impl Problem {
    /// A problem at a place.
    #[must_use]
    pub fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { message: message.into(), help: None, labels: vec![(span, String::new())] }
    }

    /// With words at its place.
    #[must_use]
    pub fn label(mut self, words: impl Into<String>) -> Self {
        if let Some(first) = self.labels.first_mut() {
            first.1 = words.into();
        }
        self
    }

    /// With a second place that has to do with it.
    #[must_use]
    pub fn and(mut self, span: Range<usize>, words: impl Into<String>) -> Self {
        self.labels.push((span, words.into()));
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Line and column, counted from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, text: &str) -> (usize, usize) {
        yaml::position(text, self.labels.first().map_or(0, |(span, _)| span.start))
    }
}

/// Why an inventory cannot be used. Nothing has been touched then.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file cannot be read.
    #[error("cannot read inventory `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any inventory.
    #[error("inventory `{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// The file is not text.
    #[error("inventory `{}` is not UTF-8 text (byte {offset}, line {line})", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is none of UTF-8.
        offset: usize,
        /// The line that it is in, counted from 1.
        line: usize,
    },
    /// The text breaks rules.
    #[error("inventory `{}` has {}", path.display(), count(problems.len()))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its text, without a byte order mark.
        text: String,
        /// Everything that is wrong, in the order of the text.
        problems: Vec<Problem>,
    },
}

/// Nobody reads further, and a mistaken file could have tens of thousands.
const MOST_SHOWN: usize = 50;

impl Explain for InventoryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("`etcd-ha init --cluster NAME --host ADDRESS …` writes a starter inventory".to_owned())
            }
            Self::NotText { .. } => Some("save the file as UTF-8, for example with `iconv -t UTF-8`".to_owned()),
            Self::Read { .. } | Self::TooLarge { .. } | Self::Invalid { .. } => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn excerpt(&self) -> Option<String> {
        match self {
            Self::Invalid { path, text, problems } => {
                let mut excerpt = format!("error: {self}\n");
                let name = printable(&path.display().to_string());
                let text = printable(text);
                for problem in problems.iter().take(MOST_SHOWN) {
                    excerpt.push('\n');
                    render(&mut excerpt, problem, &name, &text);
                }
                if let Some(more @ 1..) = problems.len().checked_sub(MOST_SHOWN) {
                    let _ = writeln!(excerpt, "\n… and {more} more");
                }
                Some(excerpt)
            }
            Self::Read { .. } | Self::TooLarge { .. } | Self::NotText { .. } => None,
        }
    }
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

/// A line that is longer is no line that somebody wrote to be read.
const LONGEST_LINE: usize = 400;

/// Adds one problem with the lines around it, in plain characters without colour.
fn render(excerpt: &mut String, problem: &Problem, name: &str, text: &str) {
    let (line, column) = problem.position(text);
    let near = text.lines().skip(line.saturating_sub(2)).take(3);
    if near.map(str::len).max() > Some(LONGEST_LINE) {
        let (shown, _) = yaml::window(text.lines().nth(line - 1).unwrap_or_default(), column);
        let _ = writeln!(excerpt, "  × {}\n  {name}:{line}:{column}: {shown}", problem.message);
        if let Some(help) = &problem.help {
            let _ = writeln!(excerpt, "  help: {help}");
        }
        return;
    }
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_context_lines(1)
        .with_width(100)
        .with_links(false);
    let shown = Shown { problem, source: NamedSource::new(name, text.to_owned()) };
    let mut report = String::new();
    if handler.render_report(&mut report, &shown).is_err() {
        report = format!("{name}:{line}:{column}: {}\n", problem.message);
    }
    for line in report.lines() {
        let _ = writeln!(excerpt, "{}", line.trim_end());
    }
}

/// The text with every control character but line end and tab made visible, byte for byte, so that
/// places keep their numbers and a file cannot play with the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c.to_string(),
            '\r' => " ".to_owned(),
            c if c.is_control() => "?".repeat(c.len_utf8()),
            c => c.to_string(),
        })
        .collect()
}

/// A user's value for a message: in backticks, shortened, on one line.
pub(crate) fn quoted(value: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = value.chars().take(LONGEST).flat_map(escape).collect();
    if value.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn escape(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// The known word that is nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(lower.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A problem in the form that miette draws.
struct Shown<'a> {
    problem: &'a Problem,
    source: NamedSource<String>,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help: Box<dyn fmt::Display + 'a> = Box::new(self.problem.help.as_deref()?);
        Some(help)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.problem.labels.iter().enumerate().map(|(index, (span, words))| {
            let words = (!words.is_empty()).then(|| words.clone());
            // The first label is primary, so the header shows its line even if another place comes earlier.
            if index == 0 {
                LabeledSpan::new_primary_with_span(words, span.clone())
            } else {
                LabeledSpan::new_with_span(words, span.clone())
            }
        })))
    }
}
