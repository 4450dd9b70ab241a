//! Whether hosts can run members, and how well: every fact beside its threshold and where that comes from.

mod disk;
mod file_systems;
mod gather;
mod host;
mod network;
mod source;
mod timing;

pub use gather::{Told, check};
pub use network::Cell;
pub use source::Source;
pub use timing::Suggestion;

use std::collections::BTreeSet;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but worse than it could, or not for long.
    Warning,
    /// No member should run like this; a deploy would refuse it or fail.
    Failed,
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The host; `None` if it is about all of them.
    pub host: Option<String>,
    /// What was looked at.
    pub subject: &'static str,
    /// How it is to be taken.
    pub verdict: Verdict,
    /// What was found.
    pub measured: String,
    /// What is wanted; empty where there is nothing to compare with.
    pub threshold: String,
    /// Where the threshold comes from.
    pub source: Source,
    /// The next step.
    pub hint: Option<String>,
    /// What was measured, as numbers by a name that ends with the unit.
    pub numbers: Vec<(&'static str, f64)>,
}

impl Finding {
    fn new(subject: &'static str, verdict: Verdict, measured: impl Into<String>) -> Self {
        Self {
            host: None,
            subject,
            verdict,
            measured: measured.into(),
            threshold: String::new(),
            source: Source::EtcdHa,
            hint: None,
            numbers: Vec::new(),
        }
    }

    fn wants(self, threshold: impl Into<String>, source: Source) -> Self {
        Self { threshold: threshold.into(), source, ..self }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn number(mut self, name: &'static str, number: f64) -> Self {
        self.numbers.push((name, number));
        self
    }

    /// A count or a size: what of it a float cannot hold is not worth telling.
    #[allow(clippy::cast_precision_loss)]
    fn whole(self, name: &'static str, number: u64) -> Self {
        self.number(name, number as f64)
    }

    fn on(self, host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..self }
    }
}

/// All that was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The hosts that were reached, in the inventory's order.
    pub hosts: Vec<String>,
    /// What was found, by host and then of all of them.
    pub findings: Vec<Finding>,
    /// The ways between the hosts' peer ports, a row for each host that goes, a column for each that is gone to.
    pub trips: Vec<Vec<Cell>>,
    /// What etcd's timing should be, if any round trip was measured.
    pub suggestion: Option<Suggestion>,
}

impl Report {
    /// How many hosts were looked at, or should have been.
    #[must_use]
    pub fn looked_at(&self) -> usize {
        self.findings.iter().filter_map(|finding| finding.host.as_ref()).collect::<BTreeSet<_>>().len()
    }

    /// The worst of all.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// How many findings have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// A span in milliseconds, as exact as it is short: `0.04`, `4.2`, `42`.
#[must_use]
pub fn milliseconds(seconds: f64) -> String {
    let ms = seconds * 1000.0;
    match ms {
        ..0.0995 => format!("{ms:.2}"),
        ..9.95 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

/// A round trip in milliseconds; finer than a tenth none was measured.
#[must_use]
pub fn trip(seconds: f64) -> String {
    if seconds < 0.0001 { "<0.1".to_owned() } else { milliseconds(seconds) }
}

#[cfg(test)]
mod tests {
    use super::{milliseconds, trip};

    #[test]
    fn spans() {
        for (seconds, text) in [
            (0.0, "0.00"),
            (0.000_04, "0.04"),
            (0.000_099_4, "0.10"),
            (0.000_1, "0.1"),
            (0.004_21, "4.2"),
            (0.009_94, "9.9"),
            (0.009_96, "10"),
            (1.5, "1500"),
        ] {
            assert_eq!(milliseconds(seconds), text, "{seconds}");
        }
        assert_eq!((trip(0.0), trip(0.000_2)), ("<0.1".to_owned(), "0.2".to_owned()));
    }
}
