//! In what a host differs from the inventory, as far as a look tells without fetching a release.

use crate::etcd::config::{self, MARK, Membership, USER};
use crate::etcd::options::option_name;
use crate::host::Observation;
use crate::inventory::{Host, Inventory};
use crate::pki::Pki;
use crate::tasks::{linked_version, places, runs_what_is_in_force};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt;

/// One thing in which a host differs from the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Nothing of etcd-ha's is there.
    NotDeployed,
    /// Another version is linked into the `bin` folder.
    Version {
        /// The one that is there, if it is one of our releases.
        there: Option<String>,
        /// The inventory's.
        wanted: String,
    },
    /// These options have other values, or are missing, or stand beside the wanted ones.
    Options(Vec<String>),
    /// The environment file was not written by etcd-ha.
    Foreign,
    /// The unit file.
    Unit,
    /// Drop-ins add to the unit.
    DropIns(String),
    /// The CA that the member trusts.
    Authority,
    /// The member's own certificates.
    Certificates,
    /// A reboot would not start the member.
    NotEnabled(String),
    /// The process runs with other files than those in force.
    Outdated,
    /// The process runs with other options than those in the environment file.
    Altered,
    /// systemd has not read the unit file since it was changed.
    NeedsReload,
    /// An interrupted run left something staged.
    Staged,
    /// The last change is in force, and nobody has confirmed that the member came up with it.
    Unconfirmed,
    /// The host took the last change back by itself.
    TakenBack,
}

impl Drift {
    /// Its key in JSON.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::NotDeployed => "not_deployed",
            Self::Version { .. } => "version",
            Self::Options(_) => "options",
            Self::Foreign => "foreign_environment",
            Self::Unit => "unit",
            Self::DropIns(_) => "drop_ins",
            Self::Authority => "ca",
            Self::Certificates => "certificates",
            Self::NotEnabled(_) => "not_enabled",
            Self::Outdated => "outdated_process",
            Self::Altered => "altered_process",
            Self::NeedsReload => "needs_reload",
            Self::Staged => "staged",
            Self::Unconfirmed => "unconfirmed",
            Self::TakenBack => "taken_back",
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDeployed => write!(f, "nothing is deployed here yet"),
            Self::Version { there: Some(there), wanted } => write!(f, "version {there} instead of {wanted}"),
            Self::Version { there: None, wanted } => write!(f, "the linked etcd is none of ours instead of {wanted}"),
            Self::Options(names) => write!(f, "options {}", names.join(", ")),
            Self::Foreign => write!(f, "an environment file that etcd-ha did not write"),
            Self::Unit => write!(f, "the unit file"),
            Self::DropIns(files) => write!(f, "drop-ins of the unit ({files})"),
            Self::Authority => write!(f, "the CA"),
            Self::Certificates => write!(f, "the certificates, or their owners and modes"),
            Self::NotEnabled(state) => write!(f, "the unit is {state}, so a reboot does not start it"),
            Self::Outdated => write!(f, "the process runs with older files than those in force"),
            Self::Altered => write!(f, "the process runs with other options than those in force"),
            Self::NeedsReload => write!(f, "systemd has not read the unit file since it was changed"),
            Self::Staged => write!(f, "files that an interrupted run left staged"),
            Self::Unconfirmed => write!(f, "the last change is not confirmed yet"),
            Self::TakenBack => write!(f, "the host took the last change back"),
        }
    }
}

/// In what `host` differs from the inventory. Without a PKI certificates are not compared.
#[must_use]
pub fn drift(inventory: &Inventory, host: &Host, pki: Option<&Pki>, seen: &Observation) -> Vec<Drift> {
    let places = places(host);
    let ours = |path: &str| seen.files.contains_key(path);
    if !ours(&places.unit_file()) && !ours(&places.environment_file()) && seen.releases.is_empty() {
        return vec![Drift::NotDeployed];
    }
    let mut drift = Vec::new();
    let there = linked_version(host, seen);
    if there.as_ref() != Some(&inventory.version) {
        let there = there.map(|version| version.to_string());
        drift.push(Drift::Version { there, wanted: inventory.version.to_string() });
    }
    // What the token and the initial members are is the cluster's own affair once it has data.
    let membership = Membership::bootstrap(inventory, String::new());
    let wanted = config::environment(host, &inventory.version, &membership);
    let in_force = seen.environment.as_deref().unwrap_or_default();
    if !in_force.is_empty() && !in_force.starts_with(MARK) {
        drift.push(Drift::Foreign);
    }
    let names = options_that_differ(in_force, &wanted);
    if !names.is_empty() {
        drift.push(Drift::Options(names));
    }
    if seen.unit_text.as_deref() != Some(&config::unit(host)) {
        drift.push(Drift::Unit);
    }
    if !seen.unit.drop_ins.is_empty() {
        drift.push(Drift::DropIns(seen.unit.drop_ins.clone()));
    }
    if let Some(pki) = pki {
        drift.extend(certificates(host, pki, seen));
    }
    if !matches!(seen.unit.enabled.as_str(), "enabled" | "") {
        drift.push(Drift::NotEnabled(seen.unit.enabled.clone()));
    }
    if let Some(process) = &seen.process {
        let options = config::options_in(in_force);
        if !runs_what_is_in_force(seen) {
            drift.push(Drift::Outdated);
        } else if config::runs_with_others(&process.variables, &options, !seen.unit.drop_ins.is_empty()) {
            drift.push(Drift::Altered);
        }
    }
    for (is, what) in [
        (seen.unit.needs_reload, Drift::NeedsReload),
        (seen.staged, Drift::Staged),
        (seen.unconfirmed, Drift::Unconfirmed),
        (seen.taken_back.is_some(), Drift::TakenBack),
    ] {
        if is {
            drift.push(what);
        }
    }
    drift
}

/// The options, by their flags' names, that two environment files do not share.
fn options_that_differ(there: &str, wanted: &str) -> Vec<String> {
    let (there, wanted) = (config::options_in(there), config::options_in(wanted));
    let name = |line: &String| line.split_once('=').map(|(name, _)| option_name(name));
    let names: BTreeSet<String> = there.symmetric_difference(&wanted).filter_map(name).collect();
    names.into_iter().collect()
}

fn certificates(host: &Host, pki: &Pki, seen: &Observation) -> Vec<Drift> {
    let owner = format!("{USER}:{USER}");
    let same = |name: &str, text: &str| {
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(text));
        let path = format!("{}/ssl/{name}.pem", host.paths.config);
        let mode = if name.ends_with("-key") { 0o600 } else { 0o644 };
        let state = seen.files.get(&path);
        seen.sha256(&path) == Some(&digest) && state.is_some_and(|state| state.mode == mode && state.owner == owner)
    };
    let mut drift = Vec::new();
    if !same("ca", pki.ca_pem()) {
        drift.push(Drift::Authority);
    }
    let whole = pki.member(&host.name).is_some_and(|leaves| {
        same("server", &leaves.server.certificate)
            && same("peer", &leaves.peer.certificate)
            && same("server-key", leaves.server.key.expose())
            && same("peer-key", leaves.peer.key.expose())
    });
    if !whole {
        drift.push(Drift::Certificates);
    }
    drift
}
