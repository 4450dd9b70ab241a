use super::*;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn places(root: &str) -> Places {
    Places {
        paths: Paths {
            install: format!("{root}/opt"),
            config: format!("{root}/conf"),
            data: format!("{root}/data"),
            bin: format!("{root}/bin"),
        },
        unit: "no-such-unit-of-etcd-ha.service".into(),
        account: "root".into(),
        generation: "HA_GENERATION".into(),
        variables: "ETCD_".into(),
        established: "HA_CLUSTER_ID".into(),
        ports: vec![2379],
        peers: vec![LOOPBACK],
    }
}

/// The script is run by a real shell on this machine: no host is needed to look at files.
#[test]
fn files_links_and_digests_are_seen() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for dir in ["opt/releases/3.5.16", "conf/.next/ssl", "data/member/wal", "bin"] {
        std::fs::create_dir_all(at(dir)).unwrap();
    }
    std::fs::write(at("conf/etcd.conf"), "ETCD_NAME=node01\n").unwrap();
    std::fs::create_dir_all(at("conf/ssl")).unwrap();
    std::fs::write(at("conf/ssl/server.pem"), "certificate\n").unwrap();
    std::fs::write(at("conf/.next/ssl/ca.pem"), "staged").unwrap();
    std::fs::write(at("data/member/wal/0000000000000000-0000000000000000.wal"), [1, 2, 3]).unwrap();
    std::os::unix::fs::symlink("../opt/releases/3.5.16/etcd", at("bin/etcd")).unwrap();
    std::fs::write(at("opt/releases/3.5.16/etcd"), "binary").unwrap();
    let stamp =
        Command::new("stat").args(["-c", "%n %s %Y %a", "etcd"]).current_dir(at("opt/releases/3.5.16")).output();
    let stamp = String::from_utf8(stamp.unwrap().stdout).unwrap();
    std::fs::write(at("opt/releases/3.5.16/.archive"), format!("abc\n{stamp}")).unwrap();
    let root = root.path().to_str().unwrap();
    for shell in ["sh", "bash"] {
        let output = Command::new(shell).args(["-euc", &script(&places(root))]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let seen = read(&output.stdout);
        assert_eq!(seen.kernel, "Linux");
        assert!(seen.account && seen.staged);
        assert_eq!(seen.environment.as_deref(), Some("ETCD_NAME=node01\n"));
        assert_eq!(seen.certificates, BTreeMap::from([("server".to_owned(), "certificate\n".to_owned())]));
        let staged = &seen.files[&format!("{root}/conf/.next/ssl/ca.pem")];
        let FileKind::File { sha256 } = &staged.kind else { panic!("{staged:?}") };
        assert_eq!(sha256, "8d906d61f92c9696387e566ecee255b733c79536074173a8eab915bad2d1fa28");
        let link = &seen.files[&format!("{root}/bin/etcd")];
        assert_eq!(link.kind, FileKind::Link { target: "../opt/releases/3.5.16/etcd".into() });
        assert_eq!(seen.data.as_ref().unwrap().wal, [1, 2, 3]);
        assert_eq!(seen.releases["3.5.16"], Release { archive_sha256: "abc".into(), whole: true });
        assert!(seen.space[&format!("{root}/data")].free > 0);
        assert_eq!(seen.clock.map(|clock| clock > 1.7e9), Some(true));
        assert!(!seen.unit.runs() && !seen.unit.crashed());
        // A machine without iproute2 cannot say.
        let can_say = Command::new("ip").arg("-V").output().is_ok();
        assert_eq!(seen.sources, can_say.then_some((LOOPBACK, LOOPBACK)).into_iter().collect());
    }
}

#[test]
fn routes_as_iproute2_tells_them() {
    for (line, want) in [
        ("10.19.0.55 dev eth0 src 10.19.0.56 uid 0 \\    cache ", Some(("10.19.0.55", "10.19.0.56"))),
        ("10.0.0.1 via 10.19.0.1 dev eth0 src 10.19.0.156 uid 0 \\    cache ", Some(("10.0.0.1", "10.19.0.156"))),
        ("local 10.19.0.56 dev lo src 10.19.0.56 uid 0 \\    cache <local> ", Some(("10.19.0.56", "10.19.0.56"))),
        ("fd19::55 from :: dev eth0 proto kernel src fd19::56 metric 256 pref medium", Some(("fd19::55", "fd19::56"))),
        ("10.0.0.1 dev tun0", None),
        ("unreachable 10.0.0.1 dev lo", None),
        ("10.0.0.1 src", None),
        ("", None),
    ] {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(route(line), want.map(|(to, from)| (address(to), address(from))), "{line}");
    }
}

#[test]
fn a_data_dir_with_nothing_but_lost_and_found_is_empty() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("data/lost+found")).unwrap();
    let root = root.path().to_str().unwrap();
    let output = Command::new("sh").args(["-euc", &script(&places(root))]).output().unwrap();
    assert_eq!(read(&output.stdout).data, None);
}

#[test]
fn nonsense_is_left_out() {
    let seen = read(b"\xff\xfe\nstat |||\nspace x\nclock soon\nwal !!!\nunit\nrelease a\nlisten zz\nsha256 a\n");
    assert_eq!(seen.files.len() + seen.space.len() + seen.releases.len() + seen.listening.len(), 0);
}

/// What the script printed on real hosts (Debian 12, systemd 252).
const FRESH: &str = include_str!("fresh.txt");
const FRESH_AS_A_USER: &str = include_str!("fresh-as-a-user.txt");
const RUNNING: &str = include_str!("running.txt");
const CRASHED: &str = include_str!("crashed.txt");

#[test]
fn a_fresh_host() {
    let seen = read(FRESH.as_bytes());
    let want = Observation {
        kernel: "Linux".into(),
        machine: "x86_64".into(),
        machine_id: "70ee7a82c21c432282a8e965818de7f0".into(),
        boot_id: "e23f76cc-cd13-4b59-8648-692f45a922c6".into(),
        clock: Some(1_795_346_344.399_166_4),
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
        space: ["/opt/etcd", "/etc/etcd", "/var/lib/etcd", "/usr/local/bin"]
            .map(|path| {
                let space = Space { free: 68_827_000 * 1024, mount: "/".into(), free_inodes: Some(16_303_729) };
                (path.to_owned(), space)
            })
            .into(),
        ..Observation::default()
    };
    assert_eq!(seen, want);
    assert_eq!((seen.unit.runs(), seen.unit.ready(), seen.unit.crashed()), (false, false, false));
    assert_eq!(seen.unit.describe(), "inactive (dead)");
}

#[test]
fn a_host_seen_by_a_user_without_privilege() {
    let seen = read(FRESH_AS_A_USER.as_bytes());
    assert_eq!(seen.uid, Some(1000));
    assert_eq!(seen.read_only, ["/opt/etcd", "/etc/etcd", "/var/lib/etcd", "/usr/local/bin"]);
}

#[test]
fn a_member_that_runs() {
    let seen = read(RUNNING.as_bytes());
    assert_eq!(
        seen.unit,
        UnitState {
            load: "loaded".into(),
            active: "active".into(),
            sub: "running".into(),
            result: "success".into(),
            main_pid: 292,
            enabled: "enabled".into(),
            fragment: "/etc/systemd/system/etcd.service".into(),
            ..UnitState::default()
        }
    );
    assert!(seen.unit.runs() && seen.unit.ready() && !seen.unit.crashed());
    assert_eq!(seen.unit.describe(), "active (running)");
    assert_eq!(seen.generation(), Some("0655e356ad99fea7528e001442ae1c69"));
    assert_eq!((seen.account, seen.staged, seen.systemd), (true, false, None));
    let key = &seen.files["/etc/etcd/ssl/server-key.pem"];
    assert_eq!((key.mode, key.owner.as_str()), (0o600, "etcd:etcd"));
    assert_eq!(
        seen.sha256("/etc/etcd/ssl/server-key.pem"),
        Some("f9fbb6fa6ec30e5059602f69529ab5b846a74bc84039dc962f1087284bc47098")
    );
    assert_eq!(seen.link("/usr/local/bin/etcdctl"), Some("/opt/etcd/releases/3.5.16/etcdctl"));
    assert_eq!(seen.link("/etc/etcd/ssl"), Some(".ssl-b2dec1fa0a99b397"));
    let data = &seen.files["/var/lib/etcd"];
    assert_eq!((&data.kind, data.mode, data.owner.as_str()), (&FileKind::Folder, 0o700, "etcd:etcd"));
    let archive = "b827ddc8a107beff9448eb66a57de22ded6357a49a2be6417d0a870735097c6d".to_owned();
    assert_eq!(seen.releases, [("3.5.16".to_owned(), Release { archive_sha256: archive, whole: true })].into());
    assert_eq!(seen.listening, [2379, 2380].into());
    assert_eq!(seen.data.as_ref().map(|data| data.wal.len()), Some(256));
    assert!(seen.environment.unwrap().ends_with("HA_GENERATION=0655e356ad99fea7528e001442ae1c69\n"));
    assert!(seen.unit_text.unwrap().ends_with("WantedBy=multi-user.target\n"));
    assert_eq!(seen.journal, "");
}

#[test]
fn a_member_that_crashed() {
    let seen = read(CRASHED.as_bytes());
    assert!(!seen.unit.runs() && !seen.unit.ready() && seen.unit.crashed());
    assert_eq!(
        seen.unit.describe(),
        "activating (auto-restart), last result exit-code with status 1, restarted once by systemd"
    );
    assert_eq!(seen.generation(), None);
    assert!(seen.journal.contains("bind: address already in use"), "{}", seen.journal);
}

#[test]
fn a_release_whose_files_were_altered_is_not_whole() {
    for (what, from, to) in [
        ("size", "3.5.16/etcd|regular file|755|root|root|25830992", "3.5.16/etcd|regular file|755|root|root|25830993"),
        ("mode", "3.5.16/etcdctl|regular file|755", "3.5.16/etcdctl|regular file|700"),
        ("time", "20202896|0|", "20202896|7|"),
        ("a binary that is gone", "/opt/etcd/releases/3.5.16/etcdutl|", "/opt/etcd/releases/3.5.15/etcdutl|"),
        ("no list", "release 3.5.16 etcd", "release 3.5.17 etcd"),
    ] {
        assert!(RUNNING.contains(from), "{what}");
        let seen = read(RUNNING.replace(from, to).as_bytes());
        assert!(!seen.releases["3.5.16"].whole, "{what}");
    }
}

#[test]
fn the_states_of_a_unit() {
    // Active, sub and result, main process; does it run, is it ready, did it crash?
    for (active, sub, result, pid, want) in [
        ("active", "running", "success", 7, (true, true, false)),
        ("activating", "start", "success", 7, (true, false, false)),
        ("activating", "auto-restart", "exit-code", 0, (false, false, true)),
        ("deactivating", "stop-sigterm", "success", 7, (true, false, false)),
        ("inactive", "dead", "success", 0, (false, false, false)),
        ("failed", "failed", "start-limit-hit", 0, (false, false, true)),
        ("", "", "", 0, (false, false, false)),
    ] {
        let text = format!(
            "unit ActiveState={active}\nunit SubState={sub}\nunit Result={result}\nunit MainPID={pid}\nunit NeedDaemonReload=yes\n"
        );
        let unit = read(text.as_bytes()).unit;
        assert_eq!((unit.runs(), unit.ready(), unit.crashed()), want, "{active} ({sub})");
        assert!(unit.needs_reload);
    }
}

proptest::proptest! {
    /// A host is not trusted: whatever it answers is read, or left out.
    #[test]
    fn no_answer_is_too_odd(answer in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = read(&answer);
    }

    #[test]
    fn no_damaged_answer_is_too_odd(at in 0usize..9000, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..40)) {
        let mut answer = RUNNING.as_bytes().to_vec();
        let at = at % answer.len();
        answer.splice(at..(at + bytes.len()).min(RUNNING.len()), bytes);
        let _ = read(&answer);
    }
}
