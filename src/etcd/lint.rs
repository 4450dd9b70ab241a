//! etcd's rules as the inventory asks for them.

use super::{options, version};
use crate::inventory::{Finding, Lint, Settled};
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

    fn settle(&self, version: &Version, written: &BTreeMap<String, String>) -> Settled {
        let mut settled = options::settle(version, written);
        settled.advice.extend(version::faults(version));
        settled
    }
}
