//! etcd's rules as the inventory asks for them.

use super::{options, version};
use crate::inventory::{Contradiction, Finding, Lint};
use semver::Version;
use std::collections::BTreeMap;

/// What is known of etcd's versions and options.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules;

impl Lint for Rules {
    fn default_version(&self) -> Version {
        version::recommended()
    }

    fn version(&self, version: &Version) -> Option<Finding> {
        let why = version::supported(version).err()?;
        Some(Finding::new(why.to_string()).help(why.help()))
    }

    fn knows(&self, version: &Version) -> bool {
        version::series(version).is_some()
    }

    fn option(&self, version: &Version, name: &str, value: &str) -> Result<String, Finding> {
        options::canonical_value(version, name, value)
    }

    fn contradictions(&self, version: &Version, settings: &BTreeMap<String, String>) -> Vec<Contradiction> {
        options::contradictions(version, settings)
    }

    fn advice(&self, version: &Version, settings: &BTreeMap<String, String>) -> Vec<String> {
        options::advice(version, settings)
    }
}
