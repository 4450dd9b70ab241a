//! `preflight`: can this host run a member, and does it hold nothing that is not ours?

use super::{Decision, Hands, HostTask, Needs, SeenIn, TaskError, View, way_back};
use crate::error::ExitStatus;
use crate::etcd::{config, upgrade};
use crate::etcd::health::MemberHealth;
use crate::host::{FileKind, Observation};
use crate::release::Arch;
use crate::tasks::fleet::{linked_version, places};
use semver::Version;
use serde::Deserialize;

/// The oldest systemd whose units understand what ours relies on (`ProtectSystem=strict`).
const OLDEST_SYSTEMD: u32 = 232;
/// What an unpacked release takes, with room for the archive's blocks.
const RELEASE_SPACE: u64 = 150 << 20;
/// A fresh member's two WAL files take 123 MB; less than this is soon full.
const DATA_SPACE: u64 = 512 << 20;
/// Certificates are valid from an hour before they are issued; a clock that is further behind
/// would not take them.
const MAX_SKEW: f64 = 1800.0;
/// A skew that makes journals of several members hard to read beside each other.
const NOTED_SKEW: f64 = 2.0;

/// Look whether the host can run a member, and holds nothing that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preflight {}

impl HostTask for Preflight {
    fn needs(&self, view: &View<'_>) -> Needs {
        let ready = view.seen.unit.ready();
        let wanted = &view.overview.inventory.version;
        let other = linked_version(view.host, view.seen).is_some_and(|linked| linked.minor != wanted.minor);
        Needs { membership: true, cluster: ready, cluster_version: ready && other, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let name = &view.host.name;
        if let Some(Err(errors)) = &view.overview.membership {
            let own: Vec<_> = errors.iter().filter(|error| error.concerns(name)).cloned().collect();
            if !own.is_empty() {
                return Err(TaskError::Bootstrap(own));
            }
        }
        if let Some(change) = version_change(view) {
            return Err(change);
        }
        let (problems, hint) = unfit(view);
        if !problems.is_empty() {
            return Err(TaskError::Unfit { problems, hint, refused: false });
        }
        let foreign = foreign(view);
        if foreign.is_empty() {
            return Ok(behind(view).map_or(Decision::Nothing, |reason| Decision::NotYet {
                reason,
                seen_in: SeenIn::Cluster,
                exit: ExitStatus::Refused,
            }));
        }
        let hint = "etcd-ha touches nothing that it did not set up: stop and move aside what is there, \
                    or choose other `paths` and ports";
        Err(TaskError::Unfit { problems: foreign, hint: Some(hint.to_owned()), refused: true })
    }

    fn warnings(&self, view: &View<'_>) -> Vec<String> {
        let seen = view.seen;
        let mut warnings = Vec::new();
        if let Some(skew) = seen.clock_skew.filter(|skew| skew.abs() > NOTED_SKEW) {
            let (off, way) = off(skew);
            warnings.push(format!("its clock is {off:.1} s {way} the controller's"));
        }
        if seen.own_name_unknown {
            warnings.push("sudo does not find the host's own name, and may wait for DNS every time: put it into /etc/hosts".to_owned());
        }
        warnings.extend(seen.taken_back.as_deref().and_then(way_back::taken_back));
        if seen.data.is_none()
            && let Some(space) = seen.space.get(&view.host.paths.data)
            && space.free < 4 * DATA_SPACE
        {
            let mib = space.free >> 20;
            warnings.push(format!("only {mib} MiB are free on {} for etcd's data, whose quota is 2 GiB by default", space.mount));
        }
        warnings
    }

    async fn apply(&self, _view: &View<'_>, _hands: &Hands<'_>) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Why the member must not go from the version that it runs to the wanted one.
fn version_change(view: &View<'_>) -> Option<TaskError> {
    let cluster = view.overview.cluster.as_ref()?;
    let own = cluster.members.iter().find(|member| member.look.host == view.host.name)?;
    let version = |member: &MemberHealth| member.look.report.as_ref().ok()?.status.version.parse().ok();
    let answering: Vec<Version> = cluster.members.iter().filter_map(version).collect();
    let wanted = &view.overview.inventory.version;
    let why = upgrade::unreachable(&version(own)?, wanted, &answering, view.overview.downgrade)?;
    Some(TaskError::Unfit { problems: vec![why.message], hint: why.help, refused: true })
}

/// What is waited for before the next minor version: members that have agreed on theirs. They do so
/// some seconds after the last of them runs it; 3.6 on a cluster that still counts as 3.4 is a jump.
fn behind(view: &View<'_>) -> Option<String> {
    let agreed = view.overview.cluster_version.as_ref()?;
    let wanted = &view.overview.inventory.version;
    let needed = wanted.minor.saturating_sub(1);
    let behind = (agreed.major, agreed.minor) < (wanted.major, needed);
    behind.then(|| format!("the members have agreed on etcd {}.{}, not on 3.{needed} yet", agreed.major, agreed.minor))
}

/// How far a clock is off, and to which side.
fn off(skew: f64) -> (f64, &'static str) {
    (skew.abs(), if skew > 0.0 { "ahead of" } else { "behind" })
}

/// What keeps the host from running a member at all, and the next step.
fn unfit(view: &View<'_>) -> (Vec<String>, Option<String>) {
    let (seen, host) = (view.seen, view.host);
    let mut problems = Vec::new();
    let mut hint = None;
    if seen.kernel != "Linux" {
        problems.push(format!("it runs `{}`; etcd-ha deploys to Linux", seen.kernel));
        return (problems, hint);
    }
    if Arch::from_uname(&seen.machine).is_none() {
        problems.push(format!("there is no etcd release for its architecture `{}`", seen.machine));
    }
    if !seen.booted_by_systemd {
        problems.push("it was not booted by systemd (/run/systemd/system is not there)".to_owned());
    } else if let Some(version) = seen.systemd.filter(|version| *version < OLDEST_SYSTEMD) {
        problems.push(format!("its systemd {version} is older than {OLDEST_SYSTEMD}"));
    }
    if seen.uid != Some(0) {
        problems.push("who logs in there is not root".to_owned());
        hint = Some("log in as root, or set `become: sudo` or `become: doas`".to_owned());
    }
    if !seen.missing.is_empty() {
        problems.push(format!("commands are missing: {}", seen.missing.join(", ")));
    }
    for path in &seen.read_only {
        problems.push(format!("`{path}` cannot be written"));
    }
    let mut space = |path: &str, needed: u64, what: &str| {
        let Some(space) = seen.space.get(path) else { return };
        if space.free < needed {
            let (free, needed) = (space.free >> 20, needed >> 20);
            problems.push(format!("{free} MiB are free on {} for {what}, {needed} MiB are needed", space.mount));
        } else if space.free_inodes.is_some_and(|inodes| inodes < 1000) {
            problems.push(format!("inodes are nearly used up on {}", space.mount));
        }
    };
    if !seen.releases.contains_key(&view.overview.inventory.version.to_string()) {
        space(&host.paths.install, RELEASE_SPACE, "the release");
    }
    if seen.data.is_none() {
        space(&host.paths.data, DATA_SPACE, "etcd's data");
    }
    if let Some(skew) = seen.clock_skew.filter(|skew| skew.abs() > MAX_SKEW) {
        let (off, way) = off(skew);
        problems.push(format!("its clock is {off:.0} s {way} the controller's; certificates would not be valid there"));
        hint.get_or_insert("set the clocks by NTP".to_owned());
    }
    let twin = view.overview.seen.iter().find(|(other, there)| **other != host.name.as_str() && same_machine(seen, there));
    if let Some((other, _)) = twin {
        problems.push(format!("it is the same machine as `{other}`"));
    }
    (problems, hint)
}

/// Clones may share a machine id, and containers a boot id; one machine has both.
fn same_machine(one: &Observation, other: &Observation) -> bool {
    !one.machine_id.is_empty() && one.machine_id == other.machine_id && one.boot_id == other.boot_id
}

/// What is there that we did not set up.
fn foreign(view: &View<'_>) -> Vec<String> {
    let (seen, host) = (view.seen, view.host);
    let places = places(host);
    let mut foreign = Vec::new();
    let unit_file = places.unit_file();
    if seen.unit.runs() && seen.unit.fragment != unit_file {
        foreign.push(format!("another etcd runs there, from `{}`", seen.unit.fragment));
    }
    let texts = [(&unit_file, &seen.unit_text), (&places.environment_file(), &seen.environment)];
    for (path, text) in texts {
        if text.as_ref().is_some_and(|text| !text.starts_with(config::MARK)) {
            foreign.push(format!("`{path}` is there and was not written by etcd-ha"));
        }
    }
    let reads = format!("EnvironmentFile={}", places.environment_file());
    if seen.unit_text.as_ref().is_some_and(|text| text.starts_with(config::MARK) && !text.contains(&reads)) {
        foreign.push(format!("`{unit_file}` belongs to a member with another `paths.config` than `{}`", host.paths.config));
    }
    for path in &seen.odd {
        foreign.push(format!("`{path}` is not a file (is the unit masked?)"));
    }
    for binary in ["etcd", "etcdctl", "etcdutl"] {
        let path = format!("{}/{binary}", host.paths.bin);
        let ours = format!("{}/releases/", host.paths.install);
        match seen.files.get(&path).map(|state| &state.kind) {
            None => {}
            Some(FileKind::Link { target }) if target.starts_with(&ours) => {}
            Some(_) => foreign.push(format!("`{path}` is there and does not belong to a release of etcd-ha")),
        }
    }
    if !seen.unit.runs() {
        let metrics = host.metrics.map(|metrics| (metrics.port, "metrics"));
        for (port, whose) in [(host.client_port, "client"), (host.peer_port, "peer")].into_iter().chain(metrics) {
            if seen.listening.contains(&port) {
                foreign.push(format!("something else listens on the {whose} port {port}"));
            }
        }
    }
    foreign
}
