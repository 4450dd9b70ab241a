//! Whether members are about to run another version than they do.

use super::Overview;
use semver::Version;
use std::fmt;

/// From which version to which the members are about to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionChange {
    /// The oldest version that a member runs.
    pub from: Version,
    /// The inventory's.
    pub to: Version,
}

impl fmt::Display for VersionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd goes from {} to {}", self.from, self.to)
    }
}

/// Whether a member that answers runs a later version than the inventory's.
pub(crate) fn down(overview: &Overview<'_>) -> bool {
    running(overview).any(|version| version > overview.inventory.version)
}

/// The change of version that is pending: a member that answers runs another one than the inventory's.
pub(crate) fn pending(overview: &Overview<'_>) -> Option<VersionChange> {
    let to = &overview.inventory.version;
    let from = running(overview).filter(|version| version != to).min()?;
    Some(VersionChange { from, to: to.clone() })
}

/// The oldest version that a member runs, as a change to itself.
pub(crate) fn standing(overview: &Overview<'_>) -> Option<VersionChange> {
    let from = running(overview).min()?;
    Some(VersionChange { to: from.clone(), from })
}

/// What the members that answer run.
fn running(overview: &Overview<'_>) -> impl Iterator<Item = Version> {
    let reports = overview.cluster.iter().flat_map(|cluster| &cluster.members);
    reports.filter_map(|member| member.look.report.as_ref().ok()?.status.version.parse().ok())
}
