//! What a look at a simulated host tells: the same [`Observation`] that a real one gives.

use crate::machine::{Data, Disk, Files, Machine, Phase, Stage};
use etcd_ha::host::{DataDir, FileKind, FileState, Observation, Process, Release, Space, UnitState};
use etcd_ha::inventory::Host;
use etcd_ha::tasks::places;

/// What a look at the host shows now.
pub fn observe(machine: &Machine, host: &Host, place: usize) -> Observation {
    let paths = &host.paths;
    let space = Space { free: 60 << 30, mount: "/".into(), free_inodes: Some(16_000_000) };
    let disk = &machine.disk;
    let mut seen = Observation {
        kernel: "Linux".into(),
        machine: "x86_64".into(),
        machine_id: format!("machine{place}"),
        boot_id: format!("boot{place}-{}", machine.boot),
        clock: Some(1.8e9),
        clock_skew: Some(0.01),
        uid: Some(0),
        account: disk.prepared,
        booted_by_systemd: true,
        systemd: Some(252),
        unit: unit(machine, host),
        space: [&paths.install, &paths.config, &paths.data, &paths.bin]
            .map(|path| (path.clone(), space.clone()))
            .into(),
        unconfirmed: machine.unconfirmed(),
        previous: disk.previous.as_ref().and_then(|previous| previous.files.generation()).map(str::to_owned),
        taken_back: disk.taken_back.as_ref().map(|generation| format!("0 {generation}")),
        staged: disk.next.is_some(),
        unit_text: disk.in_force.unit.as_ref().map(|text| text.text.clone()),
        environment: disk.in_force.environment.as_ref().map(|text| text.text.clone()),
        data: disk.data.as_ref().map(|data| DataDir { wal: wal(data) }),
        releases: disk
            .releases
            .iter()
            .map(|(version, release)| {
                (version.clone(), Release { archive_sha256: release.archive_sha256.clone(), whole: true })
            })
            .collect(),
        ..Observation::default()
    };
    if machine.unit.phase == Phase::Waiting || machine.unit.restarts > 0 {
        seen.journal = machine.unit.journal.to_owned();
    }
    if let Some(process) = &machine.process {
        let generation = process.environment.generation.clone();
        seen.process = Some(Process { generation, variables: process.environment.options.clone() });
        if process.stage >= Stage::Peers {
            seen.listening.insert(host.peer_port);
        }
        if process.stage >= Stage::Serves {
            seen.listening.insert(host.client_port);
        }
    }
    files(&mut seen, disk, host);
    seen
}

fn unit(machine: &Machine, host: &Host) -> UnitState {
    let unit = &machine.unit;
    let ready = machine.stage() == Some(Stage::Ready);
    let (active, sub) = match unit.phase {
        Phase::Dead => ("inactive", "dead"),
        Phase::Waiting => ("activating", "auto-restart"),
        Phase::Running if ready => ("active", "running"),
        Phase::Running => ("activating", "start"),
    };
    let there = machine.disk.in_force.unit.is_some();
    UnitState {
        load: if there { "loaded" } else { "not-found" }.into(),
        active: active.into(),
        sub: sub.into(),
        result: if unit.failed.is_some() { "exit-code" } else { "success" }.into(),
        exit_status: unit.failed.unwrap_or_default(),
        main_pid: machine.process.as_ref().map_or(0, |process| process.pid),
        restarts: unit.restarts,
        enabled: if unit.enabled {
            "enabled"
        } else if there {
            "disabled"
        } else {
            ""
        }
        .into(),
        fragment: if there { places(host).unit_file() } else { String::new() },
        needs_reload: machine.needs_reload(),
        drop_ins: String::new(),
    }
}

fn files(seen: &mut Observation, disk: &Disk, host: &Host) {
    let (paths, places) = (&host.paths, places(host));
    let folder = |mode, owner: &str| FileState { kind: FileKind::Folder, mode, owner: owner.into() };
    if disk.prepared {
        for path in [paths.install.clone(), format!("{}/releases", paths.install), paths.config.clone()] {
            seen.files.insert(path, folder(0o755, "root:root"));
        }
        seen.files.insert(paths.data.clone(), folder(0o700, "etcd:etcd"));
    }
    let mut put = |files: &Files, [environment, unit, ssl]: [String; 3]| {
        let mut file = |path, sha256: &String, mode, owner: &str| {
            let kind = FileKind::File { sha256: sha256.clone() };
            seen.files.insert(path, FileState { kind, mode, owner: owner.into() });
        };
        if let Some(text) = &files.environment {
            file(environment, &text.sha256, 0o644, "root:root");
        }
        if let Some(text) = &files.unit {
            file(unit, &text.sha256, 0o644, "root:root");
        }
        for (name, sha256, mode) in files.certificates.iter().flat_map(|certificates| &certificates.files) {
            file(format!("{ssl}/{name}"), sha256, *mode, "etcd:etcd");
        }
    };
    let config = &paths.config;
    put(&disk.in_force, [places.environment_file(), places.unit_file(), format!("{config}/ssl")]);
    if let Some(next) = &disk.next {
        put(
            next,
            [
                format!("{config}/.next/etcd.conf"),
                format!("{config}/.next/etcd.service"),
                format!("{config}/.next/ssl"),
            ],
        );
    }
    if let Some(release) = &disk.in_force.release {
        for name in ["etcd", "etcdctl", "etcdutl"] {
            let target = format!("{}/releases/{}/{name}", paths.install, release.version);
            let kind = FileKind::Link { target };
            let link = FileState { kind, mode: 0o777, owner: "root:root".into() };
            seen.files.insert(format!("{}/{name}", paths.bin), link);
        }
    }
}

/// The head of a WAL file: its metadata and, if a leader was elected once, an entry of term 2.
fn wal(data: &Data) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut metadata = vec![0x08];
    varint(&mut metadata, data.member.0);
    metadata.push(0x10);
    varint(&mut metadata, data.cluster.0);
    record(&mut bytes, 1, &metadata);
    if data.had_leader {
        record(&mut bytes, 2, &[0x10, 2]);
    }
    bytes
}

fn record(bytes: &mut Vec<u8>, kind: u8, data: &[u8]) {
    let mut record = vec![0x08, kind, 0x1a];
    varint(&mut record, data.len() as u64);
    record.extend_from_slice(data);
    bytes.extend_from_slice(&(record.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&record);
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
