//! From the version that members run to another: which releases have to come between, one minor
//! version at a time, each deployed to all members before the next.
//!
//! etcd supports members of two minor versions side by side only while the cluster passes from the one
//! to the next (<https://etcd.io/docs/v3.5/upgrades/upgrading-etcd/>). Down it refuses to start once the
//! cluster's version was raised, which happens when the last member runs the new one; from 3.6 on the
//! cluster can agree on a downgrade first ([`super::downgrade`]).

use super::version::newest_patch;
use crate::inventory::Finding;
use semver::Version;

/// What the members of a minor version have to run before any of them goes on to the next.
struct Before {
    minor: u64,
    /// Below this patch going on is refused.
    least: u64,
    /// Below this patch a stopover is made, unless it is refused to.
    advised: u64,
}

/// The first minor version whose clusters can agree on a downgrade
/// (<https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/>).
const DOWNGRADES_FROM: u64 = 6;

const BEFORE: &[Before] = &[
    // 3.5.26 writes the members into the store that 3.6 reads them from (etcd's announcement on zombie
    // members, 2025); the 3.6 upgrade guide asks for 3.5.32, which can tell whether it was done.
    Before { minor: 5, least: 26, advised: 32 },
    // The 3.7 upgrade guide.
    Before { minor: 6, least: 11, advised: 11 },
];

fn before(minor: u64) -> Option<&'static Before> {
    BEFORE.iter().find(|before| before.minor == minor)
}

/// What is known of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// The version that it runs or, if it does not answer, ran last.
    pub version: Version,
    /// Whether it said so itself, and so is part of the cluster now.
    pub answers: bool,
}

/// What the user wants of the way.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Releases to stop over at, one of a minor version, instead of the newest known.
    pub via: Vec<Version>,
    /// Why there can be no stopover, and what to do instead of it, if there cannot.
    pub one_pass: Option<OnePass>,
    /// Whether the members may go down a minor version by etcd's own downgrade.
    pub downgrade: bool,
}

/// Why a change has to do with one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnePass {
    /// It was asked for.
    Asked,
    /// The binaries come from a place that has one version; the key of the inventory.
    FixedRelease(&'static str),
}

/// The way to a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The versions to deploy to all members, one after the other; the last is the wanted one.
    pub hops: Vec<Version>,
    /// What should be known of it, a sentence each.
    pub warnings: Vec<String>,
}

/// The way of the members from what they run to `wanted`. Members of which nothing is known are left
/// out of account: they have no data, or are looked at again before they are touched.
///
/// # Errors
/// There is none, with what to do instead.
pub fn route(members: &[Runs], wanted: &Version, choice: &Choice) -> Result<Route, Finding> {
    let mut route = Route::default();
    let versions = || members.iter().map(|member| &member.version);
    let (Some(lowest), Some(highest)) = (versions().min(), versions().max()) else {
        route.hops.push(wanted.clone());
        return Ok(route);
    };
    let answering: Vec<Version> =
        members.iter().filter(|member| member.answers).map(|member| member.version.clone()).collect();
    if minors_up(lowest, highest).is_none_or(|minors| minors > 1) {
        let message = format!("the members run etcd {lowest} and {highest}, which do not form one cluster");
        return Err(Finding::new(message).help("bring them to one version by hand first"));
    }
    if let Some(finding) = down(highest, wanted, &answering, choice.downgrade, "the members run") {
        return Err(finding);
    }
    let under_way = lowest.minor < highest.minor;
    if wanted.minor > lowest.minor
        && let Some(before) = before(lowest.minor)
        && lowest.patch < before.advised
    {
        let next = lowest.minor + 1;
        let stop = stopover(lowest.minor, highest, choice)?;
        if under_way && lowest.patch < before.least {
            let message = format!(
                "members run etcd {lowest} beside {highest}, and 3.{next} wants all of them to run 3.{}.{} first",
                before.minor, before.least
            );
            let help = format!("deploy {stop} first: while one member runs 3.{}, all can go back to it", before.minor);
            return Err(Finding::new(message).help(help));
        }
        let must = lowest.patch < before.least;
        if !under_way && stop > *lowest && (must || choice.one_pass.is_none()) {
            route.hops.push(stop);
        }
    }
    for minor in lowest.minor + 1..wanted.minor {
        route.hops.push(stopover(minor, highest, choice)?);
    }
    route.hops.push(wanted.clone());
    let from = std::iter::once(lowest).chain(&route.hops);
    route.warnings = from.zip(&route.hops).filter_map(|(from, to)| departure(from, to)).collect();
    if let Some(why) = &choice.one_pass
        && let [first, _, ..] = &route.hops[..]
    {
        return Err(more_than_one_pass(lowest, wanted, first, why));
    }
    Ok(route)
}

/// The release to stop over at in a series.
fn stopover(minor: u64, highest: &Version, choice: &Choice) -> Result<Version, Finding> {
    let Some(via) = choice.via.iter().find(|via| via.minor == minor) else {
        let newest = newest_patch(minor).unwrap_or_else(|| Version::new(3, minor, 0));
        // Members that run a later patch than was known when this was written keep it.
        return Ok(if highest.minor == minor { newest.max(highest.clone()) } else { newest });
    };
    match before(minor) {
        Some(before) if via.patch < before.least => {
            let message = format!("etcd {via} is no stopover on the way to 3.{}", minor + 1);
            let (least, advised) = (before.least, before.advised);
            let help = format!("choose 3.{minor}.{least} or later; etcd advises 3.{minor}.{advised} or later");
            Err(Finding::new(message).help(help))
        }
        _ => Ok(via.clone()),
    }
}

/// What etcd advises of the version that a pass to the next minor version starts from.
fn departure(from: &Version, to: &Version) -> Option<String> {
    let before = before(from.minor).filter(|before| to.minor > from.minor && from.patch < before.advised)?;
    let (minor, advised) = (before.minor, before.advised);
    Some(format!("etcd advises 3.{minor}.{advised} or later before 3.{}; the members go there from {from}", to.minor))
}

fn more_than_one_pass(lowest: &Version, wanted: &Version, stop: &Version, why: &OnePass) -> Finding {
    let message = format!("from etcd {lowest} to {wanted} is more than one pass: {stop} comes between");
    Finding::new(message).help(match why {
        OnePass::Asked => format!("deploy {stop} first, or leave `--one-pass` out"),
        OnePass::FixedRelease(key) => {
            format!(
                "deploy {stop} first: `{key}` has the binaries of one version, and a mirror (`release.url`) has all"
            )
        }
    })
}

/// Checks the user's choice of stopovers before anything is known of the members.
///
/// # Errors
/// One cannot be on the way to `wanted`.
pub fn check_stopovers(via: &[Version], wanted: &Version) -> Result<(), Finding> {
    for (index, stop) in via.iter().enumerate() {
        if stop.minor >= wanted.minor {
            let message = format!("etcd {stop} is no stopover on the way to {wanted}");
            return Err(Finding::new(message).help("a stopover is a release of an earlier minor version"));
        }
        if let Some(other) = via[..index].iter().find(|other| other.minor == stop.minor) {
            let message = format!("etcd {other} and {stop} are stopovers of the same minor version");
            return Err(Finding::new(message).help("one patch release of each minor version is enough"));
        }
    }
    Ok(())
}

/// Why a member that runs `from` must not be restarted with `to`; `answering` is what all members that
/// answer run, `downgrade` whether etcd's own downgrade may be used. The last safeguard before a pass,
/// whoever planned it.
#[must_use]
pub fn unreachable(from: &Version, to: &Version, answering: &[Version], downgrade: bool) -> Option<Finding> {
    if let Some(finding) = down(from, to, answering, downgrade, "its member runs") {
        return Some(finding);
    }
    let too_far = minors_up(from, to).is_some_and(|minors| minors > 1);
    if too_far || from.major != to.major {
        let message = format!("its member runs etcd {from}; {to} is more than one minor version away");
        let stop = newest_patch(from.minor + 1).unwrap_or_else(|| Version::new(3, from.minor + 1, 0));
        return Some(
            Finding::new(message).help(format!("deploy {stop} first: etcd upgrades one minor version at a time")),
        );
    }
    let before = before(from.minor).filter(|before| to.minor > from.minor && from.patch < before.least)?;
    let message =
        format!("its member runs etcd {from}; before {to} it has to run 3.{}.{} or later", from.minor, before.least);
    let stop = newest_patch(from.minor).unwrap_or_else(|| Version::new(3, from.minor, before.advised));
    Some(Finding::new(message).help(format!("deploy {stop} first")))
}

/// How many minor versions `to` is above `from`; none if it is below or of another etcd altogether.
fn minors_up(from: &Version, to: &Version) -> Option<u64> {
    (from.major == to.major).then(|| to.minor.checked_sub(from.minor))?
}

/// Why going down from `from` to `to` is not possible, if it is down and is not.
///
/// While one member runs the lower minor version, the cluster's version is no higher, and every member
/// can go back: that is how an upgrade that was broken off is taken back.
fn down(from: &Version, to: &Version, answering: &[Version], downgrade: bool, who: &str) -> Option<Finding> {
    if (to.major, to.minor) >= (from.major, from.minor) {
        return None;
    }
    let by_one = to.major == from.major && to.minor + 1 == from.minor;
    let begun = answering.iter().any(|version| version.minor == to.minor);
    let offered = from.minor >= DOWNGRADES_FROM;
    if by_one && (begun || (offered && downgrade)) {
        return None;
    }
    let stay = format!("set `etcd.version` to {from} or a later patch of it");
    let (message, back) = if offered && by_one {
        (
            format!("{who} etcd {from}; going down to {to} takes a downgrade of the whole cluster"),
            "`--allow-downgrade` has the cluster agree on it first, and what only the later version can do is lost"
                .to_owned(),
        )
    } else if offered {
        let next = from.minor - 1;
        let stop = newest_patch(next).unwrap_or_else(|| Version::new(from.major, next, 0));
        (
            format!("{who} etcd {from}; {to} is more than one minor version down"),
            format!("deploy {stop} first, with `--allow-downgrade`: etcd goes down one minor version at a time"),
        )
    } else {
        (
            format!("{who} etcd {from}; going down to {to} is not possible by exchanging the binary"),
            "etcd does not start below its cluster's version, so the way back is a new cluster from a snapshot"
                .to_owned(),
        )
    };
    Some(Finding::new(message).help(format!("{stay}; {back}")))
}

#[cfg(test)]
mod tests;
