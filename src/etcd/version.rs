//! Which versions of etcd can be run, and which had better not.

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

/// A fault of a series that a patch release mended.
struct Fault {
    minor: u64,
    /// The first patch without it.
    mended: u64,
    what: &'static str,
}

/// Sources: etcd's operations guide, "Data inconsistency", and the changelogs of 3.5 and 3.6; the
/// members that come back are those of its announcement on zombie members and upgrades to 3.6.
#[rustfmt::skip]
const FAULTS: &[Fault] = &[
    Fault { minor: 5, mended: 6, what: "a crash while it defragments can corrupt its data" },
    Fault { minor: 5, mended: 14, what: "a crash while it compacts can take its revision back" },
    Fault { minor: 5, mended: 23, what: "defragmenting a member that receives a snapshot can corrupt its data" },
    Fault { minor: 5, mended: 26, what: "members that were removed can come back with the upgrade to 3.6" },
    Fault { minor: 5, mended: 30, what: "no member can be added to five while one of them is down" },
    Fault { minor: 6, mended: 5, what: "defragmenting a member that receives a snapshot can corrupt its data" },
    Fault { minor: 6, mended: 11, what: "no member can be added to five while one of them is down" },
];

/// The known faults of a version that can be run all the same, in a sentence.
#[must_use]
pub fn faults(version: &Version) -> Option<String> {
    let has = |fault: &&Fault| fault.minor == version.minor && version.patch < fault.mended;
    let faults: Vec<String> = FAULTS
        .iter()
        .filter(has)
        .map(|fault| format!("{} (until 3.{}.{})", fault.what, fault.minor, fault.mended))
        .collect();
    let newest = newest_patch(version.minor)?;
    (!faults.is_empty())
        .then(|| format!("etcd {version} has known faults: {}; {newest} has none of them", faults.join("; ")))
}

/// The newest known patch release of a series.
#[must_use]
pub fn newest_patch(minor: u64) -> Option<Version> {
    let series = SERIES.iter().find(|series| series.minor == minor)?;
    Some(Version::new(3, minor, series.newest_patch))
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
    fn faults_that_are_told() {
        let (add, back) = (
            "no member can be added to five while one of them is down",
            "members that were removed can come back with the upgrade to 3.6",
        );
        let snapshot = "defragmenting a member that receives a snapshot can corrupt its data";
        for (version, want) in [
            ("3.4.23", None),
            (
                "3.5.25",
                Some(format!(
                    "etcd 3.5.25 has known faults: {back} (until 3.5.26); {add} (until 3.5.30); 3.5.33 has none of them"
                )),
            ),
            ("3.5.29", Some(format!("etcd 3.5.29 has known faults: {add} (until 3.5.30); 3.5.33 has none of them"))),
            ("3.5.30", None),
            (
                "3.6.4",
                Some(format!(
                    "etcd 3.6.4 has known faults: {snapshot} (until 3.6.5); {add} (until 3.6.11); 3.6.14 has none of them"
                )),
            ),
            ("3.7.0", None),
        ] {
            assert_eq!(faults(&version.parse().unwrap()), want, "{version}");
        }
        let all = faults(&Version::new(3, 5, 3)).unwrap();
        assert_eq!(all.matches("(until 3.5.").count(), 5, "{all}");
    }

    /// The newest known patch has none of the known faults, or the advice would be no help.
    #[test]
    fn the_newest_patch_has_no_known_fault() {
        for series in SERIES {
            let newest = newest_patch(series.minor).unwrap();
            assert_eq!((faults(&newest), supported(&newest)), (None, Ok(())), "{newest}");
        }
    }
}
