//! Which versions of etcd can be run.

use crate::inventory::Finding;
use semver::Version;
use std::fmt;

/// A minor series that this program knows, with its newest patch release as of November 2026
/// (etcd's release announcements of June and July 2026; 3.4 ended with 3.4.45).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// The minor number; the major one is 3.
    pub minor: u64,
    /// The newest patch that was known when this was written; newer ones are run, too.
    pub newest_patch: u64,
}

/// The series that can be run, oldest first.
pub const SERIES: &[Series] = &[
    Series { minor: 4, newest_patch: 45 },
    Series { minor: 5, newest_patch: 33 },
    Series { minor: 6, newest_patch: 14 },
    Series { minor: 7, newest_patch: 1 },
];

/// The version for an inventory that names none: the newest patch of the newest series that this
/// program is tested against with real binaries.
#[must_use]
pub fn recommended() -> Version {
    Version::new(3, 5, 33)
}

/// Releases that must not be run.
struct Withdrawn {
    minor: u64,
    patches: std::ops::RangeInclusive<u64>,
    reason: &'static str,
    /// The first release that is right.
    fixed: u64,
}

const WITHDRAWN: &[Withdrawn] = &[Withdrawn {
    minor: 5,
    patches: 0..=2,
    // etcd's operations guide, "Data inconsistency", and the 3.5 upgrade guide.
    reason: "3.5.0 to 3.5.2 can corrupt data when a member is killed under load",
    fixed: 3,
}];

/// Why a version cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsupported {
    /// A release candidate, or a build of someone's own.
    NotARelease {
        /// The version asked for.
        version: Version,
    },
    /// A series that this program does not know.
    UnknownSeries {
        /// The version asked for.
        version: Version,
    },
    /// A release that etcd's own documents warn of.
    Withdrawn {
        /// The version asked for.
        version: Version,
        /// What is wrong with it.
        reason: &'static str,
        /// The newest known patch of the series.
        instead: Version,
    },
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARelease { version } => write!(f, "etcd {version} is not a release"),
            Self::UnknownSeries { version } => write!(f, "etcd {version} is not supported"),
            Self::Withdrawn { version, .. } => write!(f, "etcd {version} must not be run"),
        }
    }
}

impl Unsupported {
    /// What to run instead, and why.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::NotARelease { version } => {
                format!("write a release, for example `{}.{}.{}`", version.major, version.minor, version.patch)
            }
            Self::UnknownSeries { .. } => {
                let known: Vec<String> = SERIES.iter().map(|series| format!("3.{}", series.minor)).collect();
                format!("supported are {}; newest known: {}", known.join(", "), newest_known().join(", "))
            }
            Self::Withdrawn { reason, instead, .. } => format!("{reason}; use {instead}"),
        }
    }
}

impl std::error::Error for Unsupported {}

fn newest_known() -> Vec<String> {
    SERIES.iter().map(|series| format!("3.{}.{}", series.minor, series.newest_patch)).collect()
}

/// The series that a version belongs to, if it is known.
#[must_use]
pub fn series(version: &Version) -> Option<&'static Series> {
    SERIES.iter().find(|series| version.major == 3 && version.minor == series.minor)
}

/// Whether a version can be run. A patch release newer than the known ones can.
///
/// # Errors
///
/// Why it cannot.
pub fn supported(version: &Version) -> Result<(), Unsupported> {
    let version = version.clone();
    if !version.pre.is_empty() || !version.build.is_empty() {
        return Err(Unsupported::NotARelease { version });
    }
    let Some(series) = series(&version) else {
        return Err(Unsupported::UnknownSeries { version });
    };
    match WITHDRAWN.iter().find(|bad| bad.minor == version.minor && bad.patches.contains(&version.patch)) {
        Some(bad) => Err(Unsupported::Withdrawn {
            version,
            reason: bad.reason,
            instead: Version::new(3, series.minor, series.newest_patch.max(bad.fixed)),
        }),
        None => Ok(()),
    }
}

/// Why members that run `from` cannot be brought to `to` by exchanging binaries one at a time.
///
/// One minor version at a time upwards, any patch of the same minor
/// (<https://etcd.io/docs/v3.5/upgrades/upgrading-etcd/>); downwards etcd refuses to start, or needs
/// its downgrade procedure (<https://etcd.io/docs/v3.6/downgrades/downgrading-etcd/>).
#[must_use]
pub fn unreachable(from: &Version, to: &Version) -> Option<Finding> {
    if (to.major, to.minor) < (from.major, from.minor) {
        let message =
            format!("its member runs etcd {from}; going down to {to} is not possible by exchanging the binary");
        return Some(Finding::new(message).help(format!("set `etcd.version` to {from} or a later patch of it")));
    }
    if to.major != from.major || to.minor > from.minor + 1 {
        let message = format!("its member runs etcd {from}; {to} is more than one minor version away");
        let next = Version::new(from.major, from.minor + 1, 0);
        let stop = self::series(&next)
            .map_or_else(|| format!("3.{}", next.minor), |next| format!("3.{}.{}", next.minor, next.newest_patch));
        return Some(
            Finding::new(message).help(format!("deploy {stop} first: etcd upgrades one minor version at a time")),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(version: &str) -> String {
        match supported(&version.parse().unwrap()) {
            Ok(()) => "ok".to_owned(),
            Err(why) => format!("{why}: {}", why.help()),
        }
    }

    #[test]
    fn versions() {
        let unknown = "supported are 3.4, 3.5, 3.6, 3.7; newest known: 3.4.45, 3.5.33, 3.6.14, 3.7.1";
        let withdrawn = "3.5.0 to 3.5.2 can corrupt data when a member is killed under load; use 3.5.33";
        for (version, want) in [
            ("3.4.0", "ok".to_owned()),
            ("3.4.23", "ok".to_owned()),
            ("3.5.3", "ok".to_owned()),
            ("3.5.16", "ok".to_owned()),
            ("3.5.99", "ok".to_owned()),
            ("3.6.0", "ok".to_owned()),
            ("3.7.1", "ok".to_owned()),
            ("3.5.0", format!("etcd 3.5.0 must not be run: {withdrawn}")),
            ("3.5.2", format!("etcd 3.5.2 must not be run: {withdrawn}")),
            ("3.3.27", format!("etcd 3.3.27 is not supported: {unknown}")),
            ("3.8.0", format!("etcd 3.8.0 is not supported: {unknown}")),
            ("2.4.0", format!("etcd 2.4.0 is not supported: {unknown}")),
            ("4.4.0", format!("etcd 4.4.0 is not supported: {unknown}")),
            ("3.6.0-rc.1", "etcd 3.6.0-rc.1 is not a release: write a release, for example `3.6.0`".to_owned()),
            ("3.5.16+deb", "etcd 3.5.16+deb is not a release: write a release, for example `3.5.16`".to_owned()),
        ] {
            assert_eq!(verdict(version), want, "{version}");
        }
    }

    #[test]
    fn the_recommended_version_is_the_newest_of_its_series() {
        let version = recommended();
        assert_eq!(supported(&version), Ok(()));
        assert!(SERIES.iter().any(|series| series.minor == version.minor && series.newest_patch == version.patch));
    }

    #[test]
    fn one_minor_version_at_a_time_and_never_down() {
        let cases = [
            ("3.5.16", "3.5.30", None),
            ("3.5.30", "3.5.16", None),
            ("3.4.23", "3.5.16", None),
            ("3.4.23", "3.6.14", Some("deploy 3.5.33 first: etcd upgrades one minor version at a time")),
            ("3.5.16", "3.4.45", Some("set `etcd.version` to 3.5.16 or a later patch of it")),
        ];
        for (from, to, help) in cases {
            let found = unreachable(&from.parse().unwrap(), &to.parse().unwrap());
            assert_eq!(found.and_then(|finding| finding.help).as_deref(), help, "{from} to {to}");
        }
    }
}
