//! A member's options as a version takes them: under the names that it has for them.
//!
//! etcd renamed its `experimental-` options in 3.6, some to feature gates, and dropped the old names in
//! 3.7 (its 3.6 upgrade guide). An inventory may name either: what a version knows is taken as it is,
//! what it knows under another name is written under that one. So an inventory for one version also
//! serves the versions on the way to it.

use super::table::{EtcdOption, OPTIONS, Successor};
use super::together::{advice, contradictions};
use super::{elsewhere, gates_known, is_known, unknown, values};
use crate::inventory::{Contradiction, Finding, Settled, quoted};
use semver::Version;
use std::collections::BTreeMap;

const GATES: &str = "feature-gates";

/// Puts one member's options, by name as they are `written`, into the words of a version.
#[must_use]
pub fn settle(version: &Version, written: &BTreeMap<String, String>) -> Settled {
    let mut settled = Settled::default();
    // Whom each option of the result came from: contradictions are told by the names that were written.
    let mut origins: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in written {
        for part in parts(version, name, value) {
            let Part { option, value, note } = match part {
                Ok(part) => part,
                Err(finding) => {
                    settled.refused.push((name.clone(), finding));
                    continue;
                }
            };
            let from = origins.entry(option.to_owned()).or_default();
            match settled.settings.get_mut(option) {
                None => {
                    settled.settings.insert(option.to_owned(), value);
                }
                Some(gates) if option == GATES && gate_in(gates, &value).is_none() => {
                    gates.push(',');
                    gates.push_str(&value);
                }
                Some(_) => {
                    let other = from.first().copied().unwrap_or(option);
                    settled.contradictions.push(twins(name, other));
                    continue;
                }
            }
            from.push(name);
            settled.advice.extend(note);
        }
    }
    for mut contradiction in contradictions(version, &settled.settings) {
        let mut options: Vec<String> = Vec::new();
        for option in contradiction.options {
            let names = origins.get(&option).cloned().unwrap_or_else(|| vec![&option]);
            for name in names {
                if !options.iter().any(|other| other == name) {
                    options.push(name.to_owned());
                }
            }
        }
        contradiction.options = options;
        settled.contradictions.push(contradiction);
    }
    settled.advice.extend(advice(version, &settled.settings));
    settled
}

/// A member's options for a version that is passed through on the way to the one that they were
/// written for, and what has to be known of it: what only the later version knows is left out.
///
/// # Errors
/// What is left contradicts itself.
pub fn for_stopover(
    version: &Version,
    settings: &BTreeMap<String, String>,
) -> Result<(BTreeMap<String, String>, Vec<String>), Finding> {
    let settled = settle(version, settings);
    if let Some(contradiction) = settled.contradictions.into_iter().next() {
        return Err(contradiction.finding);
    }
    let left_out = settled.refused.into_iter().map(|(name, finding)| {
        let what = if name == GATES { format!("a part of `{name}`") } else { format!("option `{name}`") };
        format!("{what} is left out on the way: {}", finding.message)
    });
    Ok((settled.settings, left_out.chain(settled.advice).collect()))
}

/// What an option, or a gate among several, is in a version.
struct Part {
    option: &'static str,
    value: String,
    /// That it is not written as it was, if so.
    note: Option<String>,
}

/// Each gate of `feature-gates` is a part of its own, every other option one part.
fn parts(version: &Version, name: &str, value: &str) -> Vec<Result<Part, Finding>> {
    if name == GATES && !value.is_empty() {
        return value.split(',').map(|gate| part(version, name, gate)).collect();
    }
    vec![part(version, name, value)]
}

fn part(version: &Version, name: &str, value: &str) -> Result<Part, Finding> {
    let Some(known) = OPTIONS.iter().find(|known| known.name == name) else {
        return Err(unknown(version, name));
    };
    if let Some(why) = known.owned {
        return Err(Finding::new(format!("option `{name}` is not set by hand")).help(why));
    }
    if let Some(control) = value.chars().find(|c| c.is_control()) {
        return Err(Finding::new(format!("the value of `{name}` contains {}", quoted(&control.to_string())))
            .help("a value is one line of text"));
    }
    if is_known(&known.known, version) {
        return Ok(Part { option: known.name, value: values::canonical(version, known, value)?, note: None });
    }
    if name == GATES {
        return option_of_gate(version, known, value);
    }
    let Some(other) = elsewhere_named(version, known) else {
        return Err(elsewhere(version, known));
    };
    // In its own words first, so that a wrong value is refused under the name that the user wrote.
    let value = values::canonical(version, known, value)?;
    Ok(match other {
        Other::Gate(gate) => {
            let gates = format!("{gate}={value}");
            let note = format!("option `{name}: {value}` is written as `{GATES}: {gates}` for etcd {version}");
            Part { option: GATES, value: gates, note: Some(note) }
        }
        Other::Option(other) => {
            let note = format!("option `{name}` is written as `{}` for etcd {version}", other.name);
            Part { option: other.name, value: values::canonical(version, other, &value)?, note: Some(note) }
        }
    })
}

/// What a version has in the place of an option that it does not know.
enum Other {
    Option(&'static EtcdOption),
    Gate(&'static str),
}

fn elsewhere_named(version: &Version, known: &EtcdOption) -> Option<Other> {
    if let Some(Successor::Gate(gate)) = known.successor {
        return gates_known(version).then_some(Other::Gate(gate));
    }
    let other = OPTIONS.iter().find(|other| {
        let newer = matches!(known.successor, Some(Successor::Option(name)) if name == other.name);
        let older = matches!(other.successor, Some(Successor::Option(name)) if name == known.name);
        (newer || older) && is_known(&other.known, version)
    });
    other.map(Other::Option)
}

/// The option that a gate was before there were gates.
fn option_of_gate(version: &Version, gates: &EtcdOption, value: &str) -> Result<Part, Finding> {
    let Some((gate, state)) = value.split_once('=') else {
        return Err(elsewhere(version, gates));
    };
    let older = OPTIONS.iter().find(|option| {
        matches!(option.successor, Some(Successor::Gate(name)) if name == gate) && is_known(&option.known, version)
    });
    let Some(older) = older else {
        let message = format!("etcd {version} has no feature gates, and no option in the place of {}", quoted(gate));
        return Err(Finding::new(message));
    };
    let value = values::canonical(version, older, state)?;
    let note = format!("feature gate `{gate}={value}` is written as `{}: {value}` for etcd {version}", older.name);
    Ok(Part { option: older.name, value, note: Some(note) })
}

/// The state of `gate` (`Name=true`) among `gates`, if it is there.
fn gate_in<'a>(gates: &'a str, gate: &str) -> Option<&'a str> {
    let (name, _) = gate.split_once('=')?;
    gates.split(',').find_map(|other| other.strip_prefix(name)?.strip_prefix('='))
}

/// Two ways to say the same thing.
fn twins(one: &str, other: &str) -> Contradiction {
    if one == other {
        let finding = Finding::new(format!("`{one}` says the same thing twice"));
        return Contradiction { options: vec![one.to_owned()], finding };
    }
    let finding = Finding::new(format!("`{one}` and `{other}` say the same thing")).help("leave one of them out");
    Contradiction { options: vec![one.to_owned(), other.to_owned()], finding }
}

#[cfg(test)]
mod tests;
