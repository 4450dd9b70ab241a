//! What speaks against a host as a member's: decided once, for the task that refuses it and for whoever only wants to
//! know. Pure.

use super::Overview;
use super::fleet::places;
use super::way_back;
use crate::error::Explain as _;
use crate::etcd::health::MemberHealth;
use crate::etcd::{config, upgrade};
use crate::host::{FileKind, Observation};
use crate::inventory::Host;
use crate::release::Arch;
use semver::Version;

/// The oldest systemd whose units understand what ours relies on (`ProtectSystem=strict`).
pub const OLDEST_SYSTEMD: u32 = 232;
/// What an unpacked release takes, with room for the archive's blocks.
pub const RELEASE_SPACE: u64 = 150 << 20;
/// A fresh member's two WAL files take 123 MB; less than this is soon full.
pub const DATA_SPACE: u64 = 512 << 20;
/// Certificates are valid from an hour before they are issued; a clock that is further behind
/// would not take them.
pub const MAX_SKEW: f64 = 1800.0;
/// A skew that makes journals of several members hard to read beside each other.
pub const NOTED_SKEW: f64 = 2.0;

/// What an objection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The operating system.
    System,
    /// The processor's architecture.
    Architecture,
    /// systemd.
    Systemd,
    /// Root's rights, and how they are come by.
    Privilege,
    /// The commands that scripts need.
    Commands,
    /// Whether the inventory's paths can be written.
    Writing,
    /// Room for the release.
    ReleaseSpace,
    /// Room for etcd's data.
    DataSpace,
    /// The clock.
    Clock,
    /// Whether it is a machine of its own.
    Machine,
    /// What is in the data dir.
    Data,
    /// The version that its member runs.
    Version,
    /// Units, files and links of others.
    Foreign,
    /// The client port.
    ClientPort,
    /// The peer port.
    PeerPort,
    /// What became of its last change.
    LastChange,
}

/// Whether an objection stops a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It is only worth a word.
    Warning,
    /// No member can run like this, or data would be at stake.
    Failed,
}

/// Something that speaks against a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// What it is about.
    pub subject: Subject,
    /// Whether it stops a deploy.
    pub weight: Weight,
    /// What is wrong, a sentence.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

impl Objection {
    fn new(subject: Subject, weight: Weight, message: impl Into<String>) -> Self {
        Self { subject, weight, message: message.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Everything that the task `preflight` would say of a host, each for itself.
#[must_use]
pub fn objections(overview: &Overview<'_>, host: &Host, seen: &Observation) -> Vec<Objection> {
    let mut all = Vec::new();
    if let Some(Err(errors)) = &overview.membership {
        for error in errors.iter().filter(|error| error.concerns(&host.name)) {
            let objection = Objection::new(Subject::Data, Weight::Failed, error.to_string());
            all.push(Objection { hint: error.hint(), ..objection });
        }
    }
    all.extend(version_change(overview, host));
    all.extend(unfit(overview, host, seen));
    all.extend(foreign(host, seen));
    all.extend(behind(overview).map(|reason| Objection::new(Subject::Version, Weight::Warning, reason)));
    all.extend(notes(host, seen));
    all
}

/// Why the member must not go from the version that it runs to the wanted one.
pub(super) fn version_change(overview: &Overview<'_>, host: &Host) -> Option<Objection> {
    let cluster = overview.cluster.as_ref()?;
    let own = cluster.members.iter().find(|member| member.look.host == host.name)?;
    let version = |member: &MemberHealth| member.look.report.as_ref().ok()?.status.version.parse().ok();
    let answering: Vec<Version> = cluster.members.iter().filter_map(version).collect();
    let wanted = &overview.inventory.version;
    let why = upgrade::unreachable(&version(own)?, wanted, &answering, overview.downgrade)?;
    let objection = Objection::new(Subject::Version, Weight::Failed, why.message);
    Some(Objection { hint: why.help, ..objection })
}

/// What is waited for before the next minor version: members that have agreed on theirs. They do so
/// some seconds after the last of them runs it; 3.6 on a cluster that still counts as 3.4 is a jump.
pub(super) fn behind(overview: &Overview<'_>) -> Option<String> {
    let agreed = overview.cluster_version.as_ref()?;
    let wanted = &overview.inventory.version;
    let needed = wanted.minor.saturating_sub(1);
    let behind = (agreed.major, agreed.minor) < (wanted.major, needed);
    behind.then(|| format!("the members have agreed on etcd {}.{}, not on 3.{needed} yet", agreed.major, agreed.minor))
}

/// What is only worth a word.
pub(super) fn notes(host: &Host, seen: &Observation) -> Vec<Objection> {
    let mut notes = Vec::new();
    let note = |subject, message| Objection::new(subject, Weight::Warning, message);
    if let Some(skew) = seen.clock_skew.filter(|skew| skew.abs() > NOTED_SKEW) {
        let (off, way) = off(skew);
        notes.push(note(Subject::Clock, format!("its clock is {off:.1} s {way} the controller's")));
    }
    if seen.own_name_unknown {
        let message = "sudo does not find the host's own name, and may wait for DNS every time: put it into /etc/hosts";
        notes.push(note(Subject::Privilege, message.to_owned()));
    }
    let taken_back = seen.taken_back.as_deref().and_then(way_back::taken_back);
    notes.extend(taken_back.map(|message| note(Subject::LastChange, message)));
    if seen.data.is_none()
        && let Some(space) = seen.space.get(&host.paths.data)
        && space.free < 4 * DATA_SPACE
    {
        let mib = space.free >> 20;
        let message =
            format!("only {mib} MiB are free on {} for etcd's data, whose quota is 2 GiB by default", space.mount);
        notes.push(note(Subject::DataSpace, message));
    }
    notes
}

/// How far a clock is off, and to which side.
fn off(skew: f64) -> (f64, &'static str) {
    (skew.abs(), if skew > 0.0 { "ahead of" } else { "behind" })
}

/// What keeps the host from running a member at all.
pub(super) fn unfit(overview: &Overview<'_>, host: &Host, seen: &Observation) -> Vec<Objection> {
    let failed = |subject, message| Objection::new(subject, Weight::Failed, message);
    if seen.kernel != "Linux" {
        return vec![failed(Subject::System, format!("it runs `{}`; etcd-ha deploys to Linux", seen.kernel))];
    }
    let mut unfit = Vec::new();
    if Arch::from_uname(&seen.machine).is_none() {
        let message = format!("there is no etcd release for its architecture `{}`", seen.machine);
        unfit.push(failed(Subject::Architecture, message));
    }
    if !seen.booted_by_systemd {
        let message = "it was not booted by systemd (/run/systemd/system is not there)";
        unfit.push(failed(Subject::Systemd, message.to_owned()));
    } else if let Some(version) = seen.systemd.filter(|version| *version < OLDEST_SYSTEMD) {
        unfit.push(failed(Subject::Systemd, format!("its systemd {version} is older than {OLDEST_SYSTEMD}")));
    }
    if seen.uid != Some(0) {
        let objection = failed(Subject::Privilege, "who logs in there is not root".to_owned());
        unfit.push(objection.hint("log in as root, or set `become: sudo` or `become: doas`"));
    }
    if !seen.missing.is_empty() {
        unfit.push(failed(Subject::Commands, format!("commands are missing: {}", seen.missing.join(", "))));
    }
    for path in &seen.read_only {
        unfit.push(failed(Subject::Writing, format!("`{path}` cannot be written")));
    }
    let mut space = |subject, path: &str, needed: u64, what: &str| {
        let Some(space) = seen.space.get(path) else { return };
        if space.free < needed {
            let (free, needed) = (space.free >> 20, needed >> 20);
            let message = format!("{free} MiB are free on {} for {what}, {needed} MiB are needed", space.mount);
            unfit.push(failed(subject, message));
        } else if space.free_inodes.is_some_and(|inodes| inodes < 1000) {
            unfit.push(failed(subject, format!("inodes are nearly used up on {}", space.mount)));
        }
    };
    if !seen.releases.contains_key(&overview.inventory.version.to_string()) {
        space(Subject::ReleaseSpace, &host.paths.install, RELEASE_SPACE, "the release");
    }
    if seen.data.is_none() {
        space(Subject::DataSpace, &host.paths.data, DATA_SPACE, "etcd's data");
    }
    if let Some(skew) = seen.clock_skew.filter(|skew| skew.abs() > MAX_SKEW) {
        let (off, way) = off(skew);
        let message = format!("its clock is {off:.0} s {way} the controller's; certificates would not be valid there");
        unfit.push(failed(Subject::Clock, message).hint("set the clocks by NTP"));
    }
    let twin = overview.seen.iter().find(|(other, there)| **other != host.name.as_str() && same_machine(seen, there));
    if let Some((other, _)) = twin {
        unfit.push(failed(Subject::Machine, format!("it is the same machine as `{other}`")));
    }
    unfit
}

/// Clones may share a machine id, and containers a boot id; one machine has both.
fn same_machine(one: &Observation, other: &Observation) -> bool {
    !one.machine_id.is_empty() && one.machine_id == other.machine_id && one.boot_id == other.boot_id
}

/// What is there that we did not set up.
pub(super) fn foreign(host: &Host, seen: &Observation) -> Vec<Objection> {
    let places = places(host);
    let mut foreign = Vec::new();
    let mut found = |subject, message| {
        let hint = "etcd-ha touches nothing that it did not set up: stop and move aside what is there, \
                    or choose other `paths` and ports";
        foreign.push(Objection::new(subject, Weight::Failed, message).hint(hint));
    };
    let unit_file = places.unit_file();
    match seen.unit.fragment.as_str() {
        _ if !seen.unit.runs() => {}
        // Ours was started from a file that is gone since; a deploy writes it anew.
        "" if seen.generation().is_some() => {}
        "" => found(Subject::Foreign, "another etcd runs there, whose unit file is gone".to_owned()),
        fragment if fragment == unit_file => {}
        fragment => found(Subject::Foreign, format!("another etcd runs there, from `{fragment}`")),
    }
    let texts = [(&unit_file, &seen.unit_text), (&places.environment_file(), &seen.environment)];
    for (path, text) in texts {
        if text.as_ref().is_some_and(|text| !text.starts_with(config::MARK)) {
            found(Subject::Foreign, format!("`{path}` is there and was not written by etcd-ha"));
        }
    }
    let reads = format!("EnvironmentFile={}", places.environment_file());
    if seen.unit_text.as_ref().is_some_and(|text| text.starts_with(config::MARK) && !text.contains(&reads)) {
        let config = &host.paths.config;
        let message = format!("`{unit_file}` belongs to a member with another `paths.config` than `{config}`");
        found(Subject::Foreign, message);
    }
    for path in &seen.odd {
        found(Subject::Foreign, format!("`{path}` is not a file (is the unit masked?)"));
    }
    for binary in ["etcd", "etcdctl", "etcdutl"] {
        let path = format!("{}/{binary}", host.paths.bin);
        let ours = format!("{}/releases/", host.paths.install);
        match seen.files.get(&path).map(|state| &state.kind) {
            None => {}
            Some(FileKind::Link { target }) if target.starts_with(&ours) => {}
            Some(_) => {
                let message = format!("`{path}` is there and does not belong to a release of etcd-ha");
                found(Subject::Foreign, message);
            }
        }
    }
    if !seen.unit.runs() {
        let ports = [(Subject::ClientPort, host.client_port, "client"), (Subject::PeerPort, host.peer_port, "peer")];
        let metrics = host.metrics.map(|metrics| (Subject::ClientPort, metrics.port, "metrics"));
        for (subject, port, whose) in ports.into_iter().chain(metrics) {
            if seen.listening.contains(&port) {
                found(subject, format!("something else listens on the {whose} port {port}"));
            }
        }
    }
    foreign
}
