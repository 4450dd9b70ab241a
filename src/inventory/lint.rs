//! What the inventory must ask about etcd without knowing it.

use semver::Version;
use std::collections::BTreeMap;

/// Why a version, an option or its value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do instead, or why it is a rule.
    pub help: Option<String>,
}

impl Finding {
    /// A finding without help.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// With what to do instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Options that cannot stand together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The options that it is about, the one to point at first; those that are not set have their defaults.
    pub options: Vec<String>,
    /// What is wrong with them.
    pub finding: Finding,
}

/// One member's options as a version takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// The options by the names that the version has for them, with values as etcd wants them written
    /// (`8GiB` in bytes).
    pub settings: BTreeMap<String, String>,
    /// Options that cannot be used as they are written: the version does not know them under any name,
    /// they are not the user's to set, or the value is not of their kind.
    pub refused: Vec<(String, Finding)>,
    /// What contradicts itself among the others, by the names that were written.
    pub contradictions: Vec<Contradiction>,
    /// What is allowed but should be known, a sentence each: also which options go by another name.
    pub advice: Vec<String>,
}

/// etcd's own rules, asked while an inventory is validated. The rooms beneath `inventory` do not know
/// etcd, so its knowledge comes in from the side (`etcd::lint` has it).
pub trait Lint {
    /// The version to run where the inventory names none.
    fn default_version(&self) -> Version;

    /// Why `version` cannot be run.
    fn version(&self, version: &Version) -> Option<Finding>;

    /// Whether the options of `version` are known, even if it cannot be run.
    fn knows(&self, version: &Version) -> bool;

    /// One member's options as `version` takes them; `written` has their values by name.
    fn settle(&self, version: &Version, written: &BTreeMap<String, String>) -> Settled;
}
