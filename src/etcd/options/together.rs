//! What options mean together.

use super::table::{EtcdOption, OPTIONS, Successor};
use super::{first_patch, gates_known, is_known};
use crate::inventory::{Contradiction, Finding};
use semver::Version;
use std::collections::BTreeMap;

/// etcd's default of `heartbeat-interval`, in milliseconds.
pub const DEFAULT_HEARTBEAT_MS: u64 = 100;
/// etcd's default of `election-timeout`, in milliseconds.
pub const DEFAULT_ELECTION_MS: u64 = 1000;
/// The size at which a database takes no more writes, if nobody says otherwise: etcd's default of `quota-backend-bytes`.
pub const DEFAULT_QUOTA_BYTES: u64 = 2 << 30;
/// The largest database that etcd's own guide advises (docs, "System limits"): 8 GiB.
pub const ADVISED_QUOTA_BYTES: u64 = 8 << 30;

/// What contradicts itself among one member's options. Each of these ends etcd at its start (embed.Config.Validate), or
/// is silently misread by it.
#[must_use]
pub(super) fn contradictions(version: &Version, settings: &BTreeMap<String, String>) -> Vec<Contradiction> {
    let get = |name: &str| settings.get(name).map(String::as_str);
    let is_true = |name: &str| get(name) == Some("true");
    let gate = |name: &str| {
        get("feature-gates").and_then(|gates| {
            gates
                .split(',')
                .filter_map(|gate| gate.split_once('='))
                .find(|(gate, _)| *gate == name)
                .map(|(_, state)| state)
        })
    };
    let mut found = Vec::new();
    let mut add = |options: &[&str], finding: Finding| {
        found.push(Contradiction { options: options.iter().map(|&option| option.to_owned()).collect(), finding });
    };

    let milliseconds = |name: &str, default| get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(default);
    let heartbeat = milliseconds("heartbeat-interval", DEFAULT_HEARTBEAT_MS);
    let election = milliseconds("election-timeout", DEFAULT_ELECTION_MS);
    if election < heartbeat.saturating_mul(5) {
        let message =
            format!("election-timeout of {election} ms is less than 5 x heartbeat-interval of {heartbeat} ms");
        let help = format!(
            "etcd refuses to start then; {} or more, and at least 10 x the round trip between members",
            heartbeat.saturating_mul(5)
        );
        add(&["election-timeout", "heartbeat-interval"], Finding::new(message).help(help));
    }
    if get("tls-min-version") == Some("TLS1.3") {
        if get("tls-max-version") == Some("TLS1.2") {
            let finding = Finding::new("tls-min-version is above tls-max-version");
            add(&["tls-min-version", "tls-max-version"], finding);
        }
        if get("cipher-suites").is_some_and(|suites| !suites.is_empty()) {
            let finding = Finding::new("cipher-suites cannot be chosen when only TLS 1.3 is allowed");
            add(&["cipher-suites", "tls-min-version"], finding.help("leave cipher-suites out"));
        }
    }
    if get("auto-compaction-mode") == Some("revision")
        && get("auto-compaction-retention").is_some_and(|value| value.parse::<u64>().is_err())
    {
        let finding =
            Finding::new("auto-compaction-retention is a length of time, but auto-compaction-mode is revision");
        let help = "etcd would take the nanoseconds for revisions: give a number of revisions, or choose periodic";
        add(&["auto-compaction-retention", "auto-compaction-mode"], finding.help(help));
    }
    if is_true("enable-log-rotation") {
        let outputs: Vec<&str> = get("log-outputs").unwrap_or("default").split(',').collect();
        let files = outputs.iter().filter(|output| !["default", "stderr", "stdout"].contains(output)).count();
        if files > 1 || (files == 0 && outputs.len() == 1) {
            let finding = Finding::new("enable-log-rotation needs exactly one file in log-outputs");
            add(
                &["enable-log-rotation", "log-outputs"],
                finding.help("for example `log-outputs: /var/log/etcd/etcd.log`"),
            );
        }
    }
    let checkpoint = is_true("experimental-enable-lease-checkpoint") || gate("LeaseCheckpoint") == Some("true");
    let persist = "experimental-enable-lease-checkpoint-persist";
    if !checkpoint && (is_true(persist) || gate("LeaseCheckpointPersist") == Some("true")) {
        let finding = Finding::new("lease checkpoints cannot be persisted without being made");
        let help = if gates_known(version) {
            "add LeaseCheckpoint=true"
        } else {
            "add `experimental-enable-lease-checkpoint: true`"
        };
        add(&[persist, "feature-gates"], finding.help(help));
    }
    for option in OPTIONS.iter().filter(|option| get(option.name).is_some()) {
        let twin = match option.successor {
            Some(Successor::Option(name)) if get(name).is_some() && option.name.starts_with("experimental-") => name,
            Some(Successor::Gate(name)) if gate(name).is_some() => "feature-gates",
            _ => continue,
        };
        let finding = Finding::new(format!("`{}` and `{twin}` say the same thing", option.name));
        add(&[option.name, twin], finding.help(format!("etcd refuses both together: leave `{}` out", option.name)));
    }
    found
}

/// What is allowed but should be known.
#[must_use]
pub(super) fn advice(version: &Version, settings: &BTreeMap<String, String>) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(quota) = settings.get("quota-backend-bytes").and_then(|value| value.parse::<u64>().ok())
        && quota > ADVISED_QUOTA_BYTES
    {
        let size =
            if quota.is_multiple_of(1 << 30) { format!("{} GiB", quota >> 30) } else { format!("{quota} bytes") };
        advice.push(format!(
            "quota-backend-bytes is {size}; etcd advises 8 GiB at most: a larger database makes starts, snapshots and recovery slow"
        ));
    }
    if settings.get("strict-reconfig-check").is_some_and(|value| value == "false") {
        advice
            .push("strict-reconfig-check is off: etcd then allows membership changes that cost the quorum".to_owned());
    }
    for option in OPTIONS.iter().filter(|option| settings.contains_key(option.name)) {
        let Some(instead) = replacement(version, option) else {
            continue;
        };
        advice.push(format!("option `{}` is gone after 3.{}; `{instead}` replaces it", option.name, version.minor));
    }
    advice
}

/// What replaces an option that this version knows, but the next one does not.
fn replacement(version: &Version, option: &EtcdOption) -> Option<String> {
    if first_patch(&option.known, version.minor + 1).is_some() {
        return None;
    }
    match option.successor.as_ref()? {
        Successor::Option(name) => {
            let successor = OPTIONS.iter().find(|known| known.name == *name)?;
            is_known(&successor.known, version).then(|| (*name).to_owned())
        }
        Successor::Instead(name) => Some((*name).to_owned()),
        Successor::Gate(gate) => gates_known(version).then(|| format!("feature-gates: {gate}=…")),
    }
}
