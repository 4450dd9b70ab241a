//! What a task is shown, put together by hand.

use crate::etcd::bootstrap::BootstrapError;
use crate::etcd::compare::Comparison;
use crate::etcd::config::{Membership, options_in};
use crate::etcd::health::ClusterHealth;
use crate::etcd::snapshot::Manifest;
use crate::etcd::testing::{State, cluster, inventory};
use crate::host::{DataDir, FileKind, FileState, Observation, Process, Release, Space, UnitState};
use crate::inventory::{Host, Inventory, Paths};
use crate::pki::{KeyAlgorithm, Member, Pki, Settings, Subject};
use crate::release::{Arch, Archive, Binary};
use crate::tasks::fleet::places;
use crate::tasks::{Disturbed, Mode, Overview, Reach, Remains, SnapshotPlace, View, Wanted};
use semver::Version;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use time::macros::datetime;

const INVENTORY: &str = "
cluster: prod
etcd:
  version: 3.5.16
hosts:
  - { name: node01, address: 10.19.0.55 }
  - { name: node02, address: 10.19.0.56 }
  - { name: node03, address: 10.19.0.57 }
";

/// All that the tasks on `node01` are shown.
pub(crate) struct Scene {
    pub inventory: Inventory,
    pub seen: BTreeMap<String, Arc<Observation>>,
    pub wanted: Option<Wanted>,
    pub mode: Mode,
    pub probe: Option<i64>,
    pub disturbed: Option<Disturbed>,
    pub membership: Option<Result<Membership, Vec<BootstrapError>>>,
    pub cluster: Option<Arc<ClusterHealth>>,
    pub reach: Option<Arc<Reach>>,
    pub issue: Vec<String>,
    pub ca: String,
    pub pki_warnings: Vec<String>,
    pub hashes: BTreeMap<String, u32>,
    pub missing_releases: Vec<Arch>,
    pub comparison: Option<Comparison>,
    pub cluster_version: Option<Version>,
    pub downgrade: bool,
    pub snapshots: SnapshotPlace,
    pub snapshot: Option<PathBuf>,
    pub kept: Vec<Manifest>,
    pub remains: Option<Remains>,
}

impl Scene {
    /// Three hosts that nobody has touched.
    pub fn fresh() -> Self {
        let inventory = inventory(INVENTORY);
        let seen = (1..).zip(&inventory.hosts).map(|(n, host)| (host.name.clone(), Arc::new(untouched(host, n))));
        Self {
            seen: seen.collect(),
            wanted: Some(wanted(&inventory, "3.5.16", false)),
            membership: Some(Ok(membership(&inventory, false))),
            inventory,
            mode: Mode::Parallel,
            probe: None,
            disturbed: None,
            cluster: None,
            reach: None,
            issue: Vec::new(),
            ca: pki().ca_pem().to_owned(),
            pki_warnings: Vec::new(),
            hashes: BTreeMap::new(),
            missing_releases: Vec::new(),
            comparison: None,
            cluster_version: None,
            downgrade: false,
            snapshots: SnapshotPlace::Folder("/state/snapshots".into()),
            snapshot: None,
            kept: Vec::new(),
            remains: None,
        }
    }

    /// Three hosts that are as they should be, and a healthy cluster that `node02` leads.
    pub fn deployed() -> Self {
        let mut scene = Self::fresh();
        let wanted = wanted(&scene.inventory, "3.5.16", true);
        for (host, seen) in scene.inventory.hosts.iter().zip(scene.seen.values_mut()) {
            put_in_force(Arc::make_mut(seen), host, &wanted, "ssl");
        }
        scene.membership = Some(Ok(membership(&scene.inventory, true)));
        scene.wanted = Some(wanted);
        scene.members(&[State::Follows, State::Leads, State::Follows])
    }

    /// The same with another look of `node01`.
    pub fn seen(mut self, change: impl FnOnce(&mut Observation)) -> Self {
        if let Some(seen) = self.seen.get_mut("node01") {
            change(Arc::make_mut(seen));
        }
        self
    }

    /// The same with members in these states.
    pub fn members(mut self, states: &[State]) -> Self {
        self.cluster = Some(Arc::new(cluster(states)));
        self
    }

    /// The same after the member was restarted in its turn: how far the cluster was then, the process that was seen
    /// first, how often systemd had started it again, and for how many milliseconds it was seen.
    pub fn disturbed(self, front: u64, pid: u32, restarts: u32, seen_for: u64) -> Self {
        let seen_for = Duration::from_millis(seen_for);
        Self { disturbed: Some(Disturbed { front, pid, restarts, seen_for }), ..self }
    }

    /// The same in a rolling play.
    pub fn rolling(self) -> Self {
        Self { mode: Mode::Rolling, ..self }
    }

    /// The same, with a heartbeat that the running members do not have.
    pub fn wanting_another_setting(mut self) -> Self {
        for host in &mut self.inventory.hosts {
            host.settings.insert("heartbeat-interval".into(), "150".into());
        }
        self.wanted = Some(wanted(&self.inventory, "3.5.16", true));
        self
    }

    /// The same with this version in the inventory.
    pub fn wanting_version(mut self, version: &str) -> Self {
        self.inventory.version = version.parse().unwrap();
        self
    }

    /// The same with members that run these versions.
    pub fn running(mut self, versions: [&str; 3]) -> Self {
        for (member, version) in Arc::make_mut(self.cluster.as_mut().unwrap()).members.iter_mut().zip(versions) {
            member.look.report.as_mut().unwrap().status.version = version.to_owned();
        }
        self
    }

    /// The same with members that have agreed on this version.
    pub fn agreed(mut self, version: &str) -> Self {
        self.cluster_version = Some(version.parse().unwrap());
        self
    }

    /// The same with `install`, `config`, `data` and `bin` of `node01` elsewhere.
    pub fn below(mut self, [install, config, data, bin]: [String; 4]) -> Self {
        self.inventory.hosts[0].paths = Paths { install, config, data, bin };
        let deployed = self.seen["node01"].account;
        let wanted = wanted(&self.inventory, "3.5.16", deployed);
        if deployed {
            let host = self.inventory.hosts[0].clone();
            self = self.seen(|seen| {
                seen.files.clear();
                put_in_force(seen, &host, &wanted, "ssl");
            });
        }
        self.wanted = Some(wanted);
        self
    }

    /// Wants certificates of another PKI.
    pub fn renew(&mut self) {
        let membership = membership(&self.inventory, false);
        self.wanted = Wanted::of(&self.inventory.hosts[0], &membership, &other_pki(), archive("3.5.16"));
    }

    pub fn overview(&self) -> Overview<'_> {
        Overview {
            inventory: &self.inventory,
            seen: self.seen.iter().map(|(host, seen)| (host.as_str(), seen.clone())).collect(),
            membership: self.membership.clone(),
            cluster: self.cluster.clone(),
            reach: self.reach.clone(),
            issue: self.issue.clone(),
            pki_warnings: self.pki_warnings.clone(),
            ca: self.ca.clone(),
            hashes: self.hashes.clone(),
            missing_releases: self.missing_releases.clone(),
            comparison: self.comparison.clone(),
            cluster_version: self.cluster_version.clone(),
            snapshots: &self.snapshots,
            downgrade: self.downgrade,
            snapshot: self.snapshot.clone(),
            kept: self.kept.clone(),
            begun: datetime!(2026-11-24 02:15:00 UTC),
        }
    }

    pub fn view<'a>(&'a self, overview: &'a Overview<'a>) -> View<'a> {
        let (mode, probe, disturbed) = (self.mode, self.probe, self.disturbed);
        let host = &self.inventory.hosts[0];
        let (wanted, remains) = (self.wanted.as_ref(), self.remains.as_ref());
        View { overview, host, seen: &self.seen[&host.name], wanted, mode, probe, remains, disturbed }
    }

    pub fn wanted(&self) -> &Wanted {
        self.wanted.as_ref().unwrap()
    }
}

fn membership(inventory: &Inventory, established: bool) -> Membership {
    let membership = Membership::bootstrap(inventory, "prod-0123456789abcdef".into());
    Membership { established: established.then(|| membership.cluster_id()), ..membership }
}

/// One PKI for all scenes, never written anywhere.
pub(crate) fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(other_pki)
}

/// A PKI with a CA of its own.
pub(crate) fn other_pki() -> Pki {
    let settings = Settings {
        dir: "/nonexistent/prod.pki".into(),
        ca_cert: None,
        ca_key: None,
        encrypt_ca_key: false,
        key: KeyAlgorithm::EcdsaP256,
        subject: Subject::default(),
        ca_lifetime: Duration::from_secs(87_600 * 3600),
        leaf_lifetime: Duration::from_secs(87_600 * 3600),
        renew_before: Duration::from_secs(30 * 86_400),
    };
    let members: Vec<Member> =
        (1..=3).map(|n| Member { name: format!("node0{n}"), names: vec![format!("10.19.0.{}", 54 + n)] }).collect();
    Pki::load_or_issue(&settings, "prod", &members, time::OffsetDateTime::now_utc()).unwrap()
}

fn wanted(inventory: &Inventory, version: &str, established: bool) -> Wanted {
    let host = &inventory.hosts[0];
    Wanted::of(host, &membership(inventory, established), pki(), archive(version)).unwrap()
}

pub(crate) fn archive(version: &str) -> Archive {
    Archive {
        version: version.parse().unwrap(),
        arch: Arch::Amd64,
        path: format!("/cache/etcd-v{version}-linux-amd64.tar.gz").into(),
        sha256: if version == "3.5.16" { "5" } else { "6" }.repeat(64),
        size: 21 << 20,
        binaries: ["etcd", "etcdctl", "etcdutl"]
            .map(|name| Binary { name: name.into(), sha256: "b".repeat(64), size: 20 << 20 })
            .to_vec(),
    }
}

fn untouched(host: &Host, number: u32) -> Observation {
    let Host { paths, .. } = host;
    let space = Space { free: 60 << 30, mount: "/".into(), free_inodes: Some(16_000_000) };
    Observation {
        kernel: "Linux".into(),
        machine: "x86_64".into(),
        machine_id: format!("machine{number}"),
        boot_id: format!("boot{number}"),
        clock: Some(1.8e9),
        clock_skew: Some(0.01),
        uid: Some(0),
        booted_by_systemd: true,
        systemd: Some(252),
        unit: UnitState {
            load: "not-found".into(),
            active: "inactive".into(),
            sub: "dead".into(),
            result: "success".into(),
            ..UnitState::default()
        },
        space: [&paths.install, &paths.config, &paths.data, &paths.bin]
            .map(|path| (path.clone(), space.clone()))
            .into(),
        ..Observation::default()
    }
}

pub(crate) fn file(content: &str, mode: u32, owner: &str) -> FileState {
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(content));
    FileState { kind: FileKind::File { sha256 }, mode, owner: owner.into() }
}

pub(crate) fn folder(mode: u32, owner: &str) -> FileState {
    FileState { kind: FileKind::Folder, mode, owner: owner.into() }
}

pub(crate) fn link(target: &str) -> FileState {
    FileState { kind: FileKind::Link { target: target.into() }, mode: 0o777, owner: "root:root".into() }
}

/// The certificates of `wanted`, in a folder of the configuration.
pub(crate) fn put_certificates(seen: &mut Observation, host: &Host, wanted: &Wanted, within: &str) {
    for one in &wanted.certificates {
        let path = format!("{}/{within}/{}", host.paths.config, one.name);
        seen.files.insert(path, file(&one.content, one.mode, "etcd:etcd"));
    }
}

/// Everything that `wanted` says, in force and running.
pub(crate) fn put_in_force(seen: &mut Observation, host: &Host, wanted: &Wanted, within: &str) {
    let (paths, places) = (&host.paths, places(host));
    seen.account = true;
    for path in [&paths.install, &format!("{}/releases", paths.install), &paths.config] {
        seen.files.insert(path.clone(), folder(0o755, "root:root"));
    }
    seen.files.insert(paths.data.clone(), folder(0o700, "etcd:etcd"));
    put_certificates(seen, host, wanted, within);
    for name in &wanted.binaries {
        let target = format!("{}/{name}", wanted.release_folder(host, seen));
        seen.files.insert(format!("{}/{name}", paths.bin), link(&target));
    }
    seen.files.insert(places.environment_file(), file(&wanted.environment, 0o644, "root:root"));
    seen.files.insert(places.unit_file(), file(&wanted.unit, 0o644, "root:root"));
    seen.environment = Some(wanted.environment.clone());
    seen.unit_text = Some(wanted.unit.clone());
    let release = Release { archive_sha256: wanted.archive.sha256.clone(), whole: true };
    seen.releases.insert(wanted.archive.version.to_string(), release);
    seen.data = Some(DataDir { wal: Vec::new() });
    seen.listening = [host.client_port, host.peer_port].into();
    run(seen, Some(&wanted.generation));
    if let Some(process) = &mut seen.process {
        process.variables = options_in(&wanted.environment);
    }
}

/// A process of the unit, with this generation.
pub(crate) fn run(seen: &mut Observation, generation: Option<&str>) {
    seen.unit = UnitState {
        load: "loaded".into(),
        active: "active".into(),
        sub: "running".into(),
        result: "success".into(),
        main_pid: 292,
        enabled: "enabled".into(),
        fragment: "/etc/systemd/system/etcd.service".into(),
        ..UnitState::default()
    };
    let environment = seen.environment.clone().unwrap_or_default();
    let variables = environment.lines().filter(|line| line.starts_with("ETCD_")).map(str::to_owned).collect();
    seen.process = Some(Process { generation: generation.map(str::to_owned), variables });
}

/// The unit stays enabled, but nothing runs.
pub(crate) fn stop(seen: &mut Observation) {
    run(seen, None);
    seen.unit.main_pid = 0;
    seen.unit.active = "inactive".into();
    seen.unit.sub = "dead".into();
    seen.process = None;
    seen.listening.clear();
}

/// The process runs, but systemd has not heard that it is ready.
pub(crate) fn starting(seen: &mut Observation, generation: Option<&str>) {
    run(seen, generation);
    seen.unit.active = "activating".into();
    seen.unit.sub = "start".into();
}

/// The process ended with an error, and systemd will try again.
pub(crate) fn crash(seen: &mut Observation) {
    stop(seen);
    seen.unit.active = "activating".into();
    seen.unit.sub = "auto-restart".into();
    seen.unit.result = "exit-code".into();
    seen.unit.exit_status = 1;
    seen.unit.restarts = 3;
    seen.journal =
        "{\"level\":\"fatal\",\"msg\":\"discovery failed\",\"error\":\"listen tcp 10.19.0.55:2380: bind: address already in use\"}\n"
            .into();
}
