//! etcd's options: which version knows which, and what values they take.
//!
//! etcd itself cannot be relied on to object: it only warns of an environment variable that it does
//! not know, and a YAML configuration file is not read strictly. So a typo, or an option that is gone
//! in the next version, is caught here, before any host is touched; one that a version knows under
//! another name is written under that name.

mod settle;
mod table;
mod together;
mod values;

pub use settle::{for_stopover, settle};
pub use together::{ADVISED_QUOTA_BYTES, DEFAULT_ELECTION_MS, DEFAULT_HEARTBEAT_MS, DEFAULT_QUOTA_BYTES};
pub(crate) use values::bytes as size;

use crate::inventory::{Finding, nearest, quoted};
use semver::Version;
use table::{Availability, EtcdOption, FIRST_MINOR, OPTIONS, Successor};

/// The environment variable that sets an option: `heartbeat-interval` is `ETCD_HEARTBEAT_INTERVAL`.
#[must_use]
pub fn environment_name(option: &str) -> String {
    format!("ETCD_{}", option.to_ascii_uppercase().replace('-', "_"))
}

/// The option that an environment variable sets: the other way round.
#[must_use]
pub fn option_name(variable: &str) -> String {
    variable.trim_start_matches("ETCD_").to_ascii_lowercase().replace('_', "-")
}

fn is_known(known: &Availability, version: &Version) -> bool {
    first_patch(known, version.minor).is_some_and(|patch| version.patch >= patch)
}

fn first_patch(known: &Availability, minor: u64) -> Option<u64> {
    let index = usize::try_from(minor.checked_sub(FIRST_MINOR)?).ok()?;
    known.get(index).copied().flatten()
}

/// An option that no version knows.
fn unknown(version: &Version, option: &str) -> Finding {
    let finding = Finding::new(format!("etcd has no option {}", quoted(option)));
    // People copy options from command lines and environment files.
    let lower = option.to_ascii_lowercase();
    let bare = lower.trim_start_matches('-').trim_start_matches("etcd_").replace('_', "-");
    let settable = || {
        let candidates = OPTIONS.iter().filter(|known| known.owned.is_none() && is_known(&known.known, version));
        candidates.map(|known| known.name)
    };
    let meant = settable().find(|name| *name == bare || bare.strip_prefix("experimental-") == Some(*name));
    match meant.or_else(|| nearest(&bare, settable())) {
        Some(name) => finding.help(format!("did you mean `{name}`?")),
        None => finding.help(format!("`etcd --help` of {version} lists them; write them without dashes in front")),
    }
}

/// An option that other versions know, and that this one has under no other name.
fn elsewhere(version: &Version, option: &EtcdOption) -> Finding {
    let finding = Finding::new(format!(
        "etcd {version} has no option `{}`, which is known {}",
        option.name,
        range(&option.known)
    ));
    match option.successor {
        Some(Successor::Instead(name)) => finding.help(format!("use `{name}`")),
        Some(Successor::Option(_) | Successor::Gate(_)) | None => finding,
    }
}

fn gates_known(version: &Version) -> bool {
    OPTIONS.iter().any(|option| option.name == "feature-gates" && is_known(&option.known, version))
}

/// The versions that know something, in words.
fn range(known: &Availability) -> String {
    let minors: Vec<(u64, u64)> =
        (FIRST_MINOR..).zip(known).filter_map(|(minor, patch)| Some((minor, (*patch)?))).collect();
    let series = |minor: u64, patch: u64| {
        if patch == 0 { format!("3.{minor}") } else { format!("3.{minor}.{patch}") }
    };
    let newest = FIRST_MINOR + known.len() as u64 - 1;
    match minors.as_slice() {
        [] => "nowhere".to_owned(),
        // A backport is part of the answer: "from 3.4.25 and 3.5.8 on".
        [.., (last, _)] if *last == newest => {
            let starts: Vec<String> = minors
                .iter()
                .enumerate()
                .filter(|(index, (_, patch))| *index == 0 || *patch > 0)
                .map(|(_, (minor, patch))| series(*minor, *patch))
                .collect();
            format!("from {} on", starts.join(" and "))
        }
        [(minor, patch)] => format!("in {} only", series(*minor, *patch)),
        [(first, 0), .., (last, _)] if *first == FIRST_MINOR => format!("until 3.{last}"),
        [(first, patch), .., (last, _)] => {
            format!("from {} until 3.{last}", series(*first, *patch))
        }
    }
}

/// The names of all options that a version knows, those that users cannot set included.
pub fn names(version: &Version) -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().filter(|option| is_known(&option.known, version)).map(|option| option.name)
}

#[cfg(test)]
mod tests;
