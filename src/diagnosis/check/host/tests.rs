use super::*;
use crate::etcd::lint::Rules;
use crate::host::{DataDir, Mount, Space};
use crate::inventory::Inventory;
use std::path::Path;

fn host(settings: &str) -> Host {
    let text =
        format!("cluster: prod\netcd: {{ settings: {{ {settings} }} }}\nhosts: [{{ name: a, address: 192.0.2.1 }}]\n");
    Inventory::parse(Path::new("prod.yaml"), &text, &Rules).unwrap().hosts.remove(0)
}

fn seen(host: &Host) -> Observation {
    let space = Space { free: 60 << 30, mount: "/".into(), free_inodes: None };
    Observation {
        kernel: "Linux".into(),
        machine: "x86_64".into(),
        clock: Some(1.8e9),
        clock_skew: Some(0.01),
        uid: Some(0),
        booted_by_systemd: true,
        systemd: Some(252),
        space: [&host.paths.install, &host.paths.data].map(|path| (path.clone(), space.clone())).into(),
        ..Observation::default()
    }
}

fn resources(host: &Host) -> Resources {
    let mount = Mount { point: "/".into(), kind: "ext4".into(), options: vec!["rw".into()] };
    Resources {
        memory: Some(8 << 30),
        swap: Some(0),
        open_files: Some(OPEN_FILES),
        zone: Some("+0000".into()),
        no_temporary: false,
        mounts: [&host.paths.install, &host.paths.data].map(|path| (path.clone(), mount.clone())).into(),
    }
}

/// What is found on a good host that was changed in one point: everything that is not ok.
fn found(
    settings: &str,
    change: impl FnOnce(&mut Observation, &mut Resources),
) -> Vec<(&'static str, Verdict, String)> {
    let host = host(settings);
    let (mut seen, mut resources) = (seen(&host), resources(&host));
    change(&mut seen, &mut resources);
    let facts = Facts {
        host: &host,
        seen: &seen,
        objections: Vec::new(),
        resources: Ok(resources),
        disk: None,
        compared: true,
        valid_from: Some(1.7e9),
    };
    let bad = |finding: Finding| {
        (finding.verdict != Verdict::Ok).then_some((finding.subject, finding.verdict, finding.measured))
    };
    facts.judge().into_iter().filter_map(bad).collect()
}

#[test]
fn a_good_host() {
    assert_eq!(found("", |_, _| {}), []);
    let host = host("");
    let (seen, resources) = (seen(&host), resources(&host));
    let disk = Some(Ok(vec![0.001; 100]));
    let facts = Facts {
        host: &host,
        seen: &seen,
        objections: vec![],
        resources: Ok(resources),
        disk,
        compared: true,
        valid_from: None,
    };
    let lines: Vec<_> = facts.judge().into_iter().map(|one| (one.subject, one.measured)).collect();
    let lines: Vec<_> = lines.iter().map(|(subject, measured)| (*subject, measured.as_str())).collect();
    assert_eq!(
        lines,
        [
            ("system", "Linux x86_64"),
            ("systemd", "252"),
            ("privilege", "root"),
            ("commands", "all there"),
            ("machine", "one of its own"),
            ("others' files", "none"),
            ("ports", "2380 and 2379 are free"),
            ("data", "empty"),
            ("clock", "0.01 s ahead"),
            ("time zone", "+0000"),
            ("memory", "8.0 GiB"),
            ("swap", "off"),
            ("quota", "2.0 GiB"),
            ("release space", "60.0 GiB free on /"),
            ("data space", "60.0 GiB free on /"),
            ("writing", "all paths and /tmp"),
            ("install dir", "ext4 on /"),
            ("data dir", "ext4 on /"),
            ("open files", "65536"),
            ("disk", "p50 1.0 ms, p99 1.0 ms of 100 writes"),
        ]
    );
}

#[test]
fn where_each_verdict_begins() {
    use Verdict::{Failed, Warning};
    type Case = (&'static str, fn(&mut Observation, &mut Resources), Option<(&'static str, Verdict, &'static str)>);
    let cases: [Case; 24] = [
        ("", |_, r| r.memory = Some(3_000_000_000), None),
        (
            "",
            |_, r| r.memory = Some(2_000_000_000),
            Some(("memory", Warning, "1.9 GiB, less than quota-backend-bytes")),
        ),
        ("", |_, r| r.memory = Some(1_799_999_999), Some(("memory", Warning, "1.7 GiB"))),
        ("quota-backend-bytes: 1GiB", |_, r| r.memory = Some(1_800_000_000), None),
        ("quota-backend-bytes: 8GiB", |_, r| r.memory = Some(16 << 30), None),
        ("quota-backend-bytes: 8GiB", |_, r| r.memory = Some(8 << 30), None),
        ("quota-backend-bytes: 8589934593", |_, r| r.memory = Some(16 << 30), Some(("quota", Warning, "8.0 GiB"))),
        ("", |_, r| r.swap = Some(1 << 30), Some(("swap", Warning, "on, 1.0 GiB"))),
        ("", |_, r| r.open_files = Some(OPEN_FILES - 1), Some(("open files", Warning, "65535"))),
        ("", |_, r| r.open_files = Some(151), Some(("open files", Warning, "151"))),
        ("", |_, r| r.open_files = Some(150), Some(("open files", Failed, "150"))),
        ("", |_, r| r.open_files = Some(u64::MAX), None),
        ("", |_, r| r.no_temporary = true, Some(("writing", Failed, "no temporary file can be made (`mktemp`)"))),
        ("", |_, r| r.zone = Some("+0530".into()), None),
        (
            "",
            |s, _| s.clock_skew = Some(7200.4),
            Some(("time zone", Warning, "+0000, and its clock is 2 h ahead: is local time set as UTC?")),
        ),
        (
            "",
            |s, _| s.clock_skew = Some(-3541.0),
            Some(("time zone", Warning, "+0000, and its clock is 1 h behind: is local time set as UTC?")),
        ),
        ("", |s, _| s.clock_skew = Some(3660.0), None),
        ("", |s, _| s.clock_skew = Some(59.0), None),
        ("", |s, _| s.clock = Some(1.7e9), None),
        ("", |s, _| s.clock = Some(1.7e9 - 90.0), Some(("certificates", Failed, "not valid there for another 90 s"))),
        (
            "quota-backend-bytes: 4GiB",
            |s, _| s.space.get_mut("/var/lib/etcd").unwrap().free = (4 << 30) - 1,
            Some(("data space", Warning, "4.0 GiB free on /")),
        ),
        ("quota-backend-bytes: 4GiB", |s, _| s.space.get_mut("/var/lib/etcd").unwrap().free = 4 << 30, None),
        (
            "",
            |s, _| {
                s.space.get_mut("/var/lib/etcd").unwrap().free = 1 << 30;
                s.data = Some(DataDir::default());
            },
            None,
        ),
        (
            "",
            |_, r| r.mounts.get_mut("/opt/etcd").unwrap().options.push("noexec".into()),
            Some(("install dir", Failed, "ext4 on /: noexec: etcd could not be run from there")),
        ),
    ];
    for (number, (settings, change, want)) in cases.into_iter().enumerate() {
        let want: Vec<_> =
            want.into_iter().map(|(subject, verdict, text)| (subject, verdict, text.to_owned())).collect();
        assert_eq!(found(settings, change), want, "case {number}");
    }
}

#[test]
fn what_a_deploy_objects_to_is_found() {
    let host = host("");
    let (seen, resources) = (seen(&host), resources(&host));
    let objection = |subject, weight, message: &str, hint: Option<&str>| Objection {
        subject,
        weight,
        message: message.into(),
        hint: hint.map(str::to_owned),
    };
    let subjects = [
        (Subject::System, "system"),
        (Subject::Architecture, "system"),
        (Subject::Systemd, "systemd"),
        (Subject::Privilege, "privilege"),
        (Subject::Commands, "commands"),
        (Subject::Writing, "writing"),
        (Subject::ReleaseSpace, "release space"),
        (Subject::DataSpace, "data space"),
        (Subject::Clock, "clock"),
        (Subject::Machine, "machine"),
        (Subject::Data, "data"),
        (Subject::Version, "version"),
        (Subject::Foreign, "others' files"),
        (Subject::ClientPort, "ports"),
        (Subject::PeerPort, "ports"),
        (Subject::LastChange, "last change"),
    ];
    for (subject, name) in subjects {
        for (weight, verdict) in [(Weight::Warning, Verdict::Warning), (Weight::Failed, Verdict::Failed)] {
            let objections = vec![objection(subject, weight, "it is so", Some("do this"))];
            let facts = Facts {
                host: &host,
                seen: &seen,
                objections,
                resources: Ok(resources.clone()),
                disk: None,
                compared: true,
                valid_from: None,
            };
            let bad: Vec<_> = facts.judge().into_iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
            assert_eq!(bad.len(), 1, "{name}: {bad:?}");
            assert_eq!((bad[0].subject, bad[0].verdict, bad[0].measured.as_str()), (name, verdict, "it is so"));
            assert_eq!(bad[0].hint.as_deref(), Some("do this"), "{name}");
        }
    }
    // Both of a kind are told; what is only noted gives way.
    let objections = vec![
        objection(Subject::ClientPort, Weight::Failed, "2379 is taken", None),
        objection(Subject::PeerPort, Weight::Failed, "2380 is taken", Some("move it")),
        objection(Subject::Clock, Weight::Failed, "too far off", None),
        objection(Subject::Clock, Weight::Warning, "off", None),
    ];
    let facts = Facts {
        host: &host,
        seen: &seen,
        objections,
        resources: Err("why".into()),
        disk: None,
        compared: true,
        valid_from: None,
    };
    let bad = facts.judge().into_iter().filter(|finding| finding.verdict != Verdict::Ok);
    let bad: Vec<_> = bad.map(|one| (one.subject, one.measured, one.hint)).collect();
    assert_eq!(
        bad,
        [
            ("ports", "2379 is taken; 2380 is taken".to_owned(), Some("move it".to_owned())),
            ("clock", "too far off".to_owned(), None),
            ("resources", "not measured: why".to_owned(), None),
        ]
    );
}

#[test]
fn of_no_linux_nothing_else_is_asked() {
    let host = host("");
    let seen = Observation { kernel: "FreeBSD".into(), machine: "amd64".into(), ..Observation::default() };
    let facts = Facts {
        host: &host,
        seen: &seen,
        objections: vec![],
        resources: Err("no".into()),
        disk: None,
        compared: true,
        valid_from: None,
    };
    assert_eq!(facts.judge().len(), 1);
}

#[test]
fn data_is_called_the_cluster_s_only_where_that_is_known() {
    let host = host("");
    let mut seen = seen(&host);
    seen.data = Some(DataDir::default());
    for (compared, want) in
        [(true, "there, and of this cluster"), (false, "there, but not all hosts were looked at to compare")]
    {
        let resources = Ok(resources(&host));
        let facts =
            Facts { host: &host, seen: &seen, objections: vec![], resources, disk: None, compared, valid_from: None };
        let data = facts.judge().into_iter().find(|finding| finding.subject == "data");
        assert_eq!(data.unwrap().measured, want);
    }
}
