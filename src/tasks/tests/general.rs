//! The tasks for steps of the user's own: what they decide, and their probes run by a real shell.

use super::scene::{Scene, stop};
use super::{Case, Want, case, changes, fails, not_yet, nothing, said, task};
use crate::error::{ExitStatus, Explain as _};
use crate::tasks::{Entry, TaskKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const COMMAND: &str = r#"{"command": {"argv": ["touch", "/tmp/{{ host.name }} of {{cluster}}"], "creates": "/tmp/x"}}"#;
const ANY: &str = r#"{"command": {"argv": ["echo", "it's", "$HOME"]}}"#;
const STARTED: &str = r#"{"systemd": {"unit": "chrony.service", "state": "started"}}"#;
const ENABLED: &str = r#"{"systemd": {"unit": "chrony.service", "state": "started", "enabled": true}}"#;
const STOPPED: &str = r#"{"systemd": {"unit": "swap.target", "state": "stopped", "enabled": false}}"#;
const RESTARTED: &str = r#"{"systemd": {"unit": "{{ host.name }}.service", "state": "restarted"}}"#;
const PORT: &str = r#"{"wait_for": {"port": 2379}}"#;
const BOTH: &str = r#"{"wait_for": {"port": 2379, "path": "{{ paths.data }}/member"}}"#;

const NOT_ETCD: &str = "`systemd` is not for etcd.service: a member could go down that the others cannot spare";

fn etcd(unit: &str, state: &str) -> String {
    format!(r#"{{"systemd": {{"unit": "{unit}", "state": "{state}"}}}}"#)
}

/// `Cargo.toml` of this project is a file that every controller of a test has.
fn copy() -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    format!(r#"{{"copy": {{"src": "{}", "dest": "/etc/motd"}}}}"#, src.display())
}

fn probed(status: i64) -> Scene {
    Scene { probe: Some(status), ..Scene::fresh() }
}

pub(super) fn cases() -> Vec<Case> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    vec![
        case(COMMAND, "its file is not there", probed(1), changes(["run `touch '/tmp/node01 of prod'`"])),
        case(COMMAND, "its file is there", probed(0), nothing()),
        case(ANY, "always", Scene::fresh(), changes(["run `echo 'it'\\''s' '$HOME'`"])),
        case(&copy(), "another file is there", probed(1), changes([&format!("copy {} to /etc/motd", src.display())])),
        case(&copy(), "it is there", probed(0), nothing()),
        case(
            r#"{"copy": {"src": "/nonexistent/{{ host.name }}", "dest": "/etc/motd"}}"#,
            "there is no such file here",
            Scene::fresh(),
            fails("cannot read `/nonexistent/node01`: No such file or directory (os error 2)"),
        ),
        case(STARTED, "it does not run", probed(3), changes(["start chrony.service"])),
        case(STARTED, "it runs", probed(0), nothing()),
        case(ENABLED, "it is not enabled", probed(1), changes(["start and enable chrony.service"])),
        case(STOPPED, "it runs", probed(1), changes(["stop and disable swap.target"])),
        case(RESTARTED, "always", probed(1), changes(["restart node01.service"])),
        case(&etcd("{{ cluster }}.service", "restarted"), "another unit", probed(1), changes(["restart prod.service"])),
        case(&etcd("etcd.service", "restarted"), "etcd's own unit", probed(1), fails(NOT_ETCD)),
        case(PORT, "nobody listens", probed(1), not_yet("port 2379 is not there")),
        case(PORT, "somebody listens", probed(0), nothing()),
        case(BOTH, "one is missing", probed(1), not_yet("port 2379 or /var/lib/etcd/member is not there")),
    ]
}

/// The exit status of the task's probe, run by a shell of this machine with `path` before its own programs.
fn probe(written: &str, path: Option<&Path>) -> Option<i32> {
    let scene = Scene::fresh();
    let overview = scene.overview();
    let TaskKind::Host(task) = task(written) else { panic!("{written}") };
    let script = task.needs(&scene.view(&overview)).probe?;
    let mut command = Command::new("sh");
    command.args(["-uc", &format!("{{ {script}; }} >/dev/null 2>&1")]);
    if let Some(path) = path {
        command.env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap()));
    }
    command.status().unwrap().code()
}

#[test]
fn a_command_looks_for_its_file_and_runs_its_test() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it's there");
    let creates = format!(r#"{{"command": {{"argv": ["true"], "creates": "{}"}}}}"#, file.display());
    let unless = |argv: &str| format!(r#"{{"command": {{"argv": ["true"], "unless": {argv}}}}}"#);
    let both = format!(r#"{{"command": {{"argv": ["true"], "creates": "{}", "unless": ["false"]}}}}"#, file.display());
    assert_eq!((probe(&creates, None), probe(&both, None)), (Some(1), Some(1)));
    std::fs::write(&file, "").unwrap();
    assert_eq!((probe(&creates, None), probe(&both, None)), (Some(0), Some(0)));
    assert_eq!(probe(&unless(r#"["test", "a b", "=", "a b"]"#), None), Some(0));
    assert_eq!(probe(&unless(r#"["sh", "-c", "exit 7"]"#), None), Some(7));
    assert_eq!(probe(&unless(r#"["no-such-program-anywhere"]"#), None), Some(127));
    assert_eq!(probe(ANY, None), None);
}

#[test]
fn a_copy_looks_at_contents_mode_and_owner() {
    let folder = tempfile::tempdir().unwrap();
    let (src, dest) = (folder.path().join("src"), folder.path().join("de st"));
    std::fs::write(&src, "contents\n").unwrap();
    let me = |format: &str| {
        let output = Command::new("stat").args(["-c", format]).arg(&src).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let written = |mode: &str, owner: &str| {
        let (src, dest) = (src.display(), dest.display());
        format!(r#"{{"copy": {{"src": "{src}", "dest": "{dest}", "mode": "{mode}", "owner": "{owner}"}}}}"#)
    };
    let own = me("%U:%G");
    let is = |mode: &str, owner: &str| probe(&written(mode, owner), None) == Some(0);
    assert!(!is("0640", &own), "it is not there");
    std::fs::write(&dest, "contents\n").unwrap();
    std::fs::set_permissions(&dest, std::fs::Permissions::from_mode(0o640)).unwrap();
    for owner in [own.clone(), me("%u:%g"), me("%U:%g"), me("%U"), me("%u")] {
        assert!(is("0640", &owner), "{owner}");
    }
    assert!(is("640", &own) && is("00640", &own));
    assert!(!is("0644", &own), "another mode");
    assert!(!is("0640", "nobody-at-all") && !is("0640", &format!("{}:nobody-at-all", me("%U"))), "another owner");
    std::fs::write(&dest, "other contents\n").unwrap();
    assert!(!is("0640", &own), "other contents");
}

#[test]
fn a_copy_arrives_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (src, dest) = (folder.path().join("src"), folder.path().join("dest"));
    std::fs::write(&src, "contents\n").unwrap();
    let me = Command::new("stat").args(["-c", "%U:%G"]).arg(&src).output().unwrap();
    let me = String::from_utf8(me.stdout).unwrap();
    let written = format!(
        r#"{{"copy": {{"src": "{}", "dest": "{}", "mode": "0600", "owner": "{}"}}}}"#,
        src.display(),
        dest.display(),
        me.trim()
    );
    let TaskKind::Host(crate::tasks::HostTaskKind::Copy(task)) = task(&written) else { panic!() };
    let scene = Scene::fresh();
    let overview = scene.overview();
    let script = task.script(&scene.view(&overview)).unwrap();
    let ran = super::scripts::sh(&script, b"conten", None);
    assert_eq!((ran.status, ran.stderr.trim()), (1, "it arrived incomplete"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something is left of a copy that was cut");
    let ran = super::scripts::sh(&script, b"contents\n", None);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "contents\n");
    assert_eq!(std::fs::metadata(&dest).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn systemd_is_asked_for_both_state_and_enabling() {
    let folder = tempfile::tempdir().unwrap();
    let systemctl = folder.path().join("systemctl");
    let unit = |active: bool, enabled: bool| {
        let script = format!("#!/bin/sh\ncase $1 in is-active) {active};; is-enabled) {enabled};; *) exit 9;; esac\n");
        std::fs::write(&systemctl, script).unwrap();
        std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    for (active, enabled, done) in [
        (true, true, [true, true, false, false]),
        (true, false, [true, false, false, false]),
        (false, true, [false, false, false, false]),
        (false, false, [false, false, true, false]),
    ] {
        unit(active, enabled);
        let found = [STARTED, ENABLED, STOPPED, RESTARTED].map(|task| probe(task, Some(folder.path())) == Some(0));
        assert_eq!(found, done, "active {active}, enabled {enabled}");
    }
}

/// Not even if it is in that state already: the next host may not be.
#[test]
fn systemd_is_refused_for_etcd_s_own_unit_whatever_the_state() {
    let mut scene = Scene::deployed();
    scene.inventory.cluster = "etcd".to_owned();
    for unit in ["etcd", "etcd.service", "{{ cluster }}", "{{cluster}}.service"] {
        for (state, probe) in [("started", 0), ("stopped", 1), ("restarted", 1)] {
            scene.probe = Some(probe);
            let overview = scene.overview();
            let TaskKind::Host(task) = task(&etcd(unit, state)) else { panic!() };
            let error = task.check(&scene.view(&overview)).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit()), (NOT_ETCD, ExitStatus::Refused), "{unit} {state}");
            let hint = "use the tasks `restart` and, in a rolling play, `stop`, which ask the quorum gate, or `start`";
            assert_eq!(error.hint().as_deref(), Some(hint));
        }
    }
}

#[test]
fn a_wait_for_a_port_or_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = folder.path().join("there");
    let both = format!(r#"{{"wait_for": {{"port": {port}, "path": "{}"}}}}"#, path.display());
    let alone = format!(r#"{{"wait_for": {{"port": {port}}}}}"#);
    assert_eq!(probe(&alone, None), Some(0));
    assert_ne!(probe(&both, None), Some(0));
    std::fs::write(&path, "").unwrap();
    assert_eq!(probe(&both, None), Some(0));
    drop(listener);
    // Other tests take ports from the same stock, and may have taken this one.
    let free = || {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        probe(&format!(r#"{{"wait_for": {{"port": {port}}}}}"#), None) != Some(0)
    };
    assert!((0..5).any(|_| free()));
}

/// What always changes something is not asked whether it took.
#[test]
fn what_is_always_done_is_done_once() {
    let verified = |written: &str, scene: &Scene| {
        let overview = scene.overview();
        let TaskKind::Host(task) = task(written) else { panic!() };
        said(task.verify(&scene.view(&overview)))
    };
    assert_eq!(verified(ANY, &Scene::fresh()), Want::Nothing);
    assert_eq!(verified(RESTARTED, &probed(1)), Want::Nothing);
    assert_eq!(verified(COMMAND, &probed(1)), changes(["run `touch '/tmp/node01 of prod'`"]));
    assert_eq!(verified(STARTED, &probed(3)), changes(["start chrony.service"]));
}

#[test]
fn parameters_that_mean_nothing_are_refused() {
    for (written, want) in [
        (r#"{"command": {"argv": []}}"#, "there is no program in the list"),
        (r#"{"command": {"argv": ["true"], "unless": []}}"#, "there is no program in the list"),
        (r#"{"command": {}}"#, "missing field `argv`"),
        (
            r#"{"command": {"argv": ["true"], "create": "/x"}}"#,
            "unknown field `create`, expected one of `argv`, `on`, `creates`, `unless`",
        ),
        (r#"{"wait_for": {}}"#, "there is nothing to wait for; give `port`, `path` or both"),
        (r#""wait_for""#, "there is nothing to wait for; give `port`, `path` or both"),
        (r#"{"wait_for": {"port": 70000}}"#, "invalid value: integer `70000`, expected u16"),
        (
            r#"{"copy": {"src": "a", "dest": "b", "mode": "rw-r--r--"}}"#,
            "`rw-r--r--` is no mode; write it in octal, as \"0644\"",
        ),
        (r#"{"copy": {"src": "a", "dest": "b", "mode": "0888"}}"#, "`0888` is no mode; write it in octal, as \"0644\""),
        (
            r#"{"copy": {"src": "a", "dest": "b", "mode": "17777"}}"#,
            "`17777` is no mode; write it in octal, as \"0644\"",
        ),
        (r#"{"copy": {"src": "a", "dest": "b", "owner": "a b"}}"#, "`a b` is no owner; write `user` or `user:group`"),
        (r#"{"copy": {"src": "a", "dest": "b", "owner": "a:"}}"#, "`a:` is no owner; write `user` or `user:group`"),
        (r#"{"systemd": {"unit": "a"}}"#, "missing field `state`"),
        (
            r#"{"systemd": {"unit": "a", "state": "up"}}"#,
            "unknown variant `up`, expected one of `started`, `stopped`, `restarted`",
        ),
        (
            r#"{"command": {"argv": ["{{ host }}"]}}"#,
            "there is no variable `host`; there are: cluster, version, host.name, host.address, paths.install, paths.config, paths.data, paths.bin",
        ),
        (r#"{"command": {"argv": ["{{ host.name"]}}"#, "`{{` without `}}` in `{{ host.name`"),
        (r#"{"start": {"now": true}}"#, "unknown field `now`, expected `in_force`"),
        (r#"{"start": {}, "restart": {}}"#, "a second task `restart` in one entry"),
        (r#"{"title": "only a title"}"#, "an entry without a task"),
        (r#""strat""#, "there is no task `strat`; did you mean `start`?"),
    ] {
        let error = serde_json::from_str::<Entry>(written).unwrap_err().to_string();
        let words = error.split(" at line ").next().unwrap();
        assert_eq!(words, want, "{written}");
    }
}

#[test]
fn variables_are_filled_in() {
    let scene = Scene::fresh().seen(stop);
    let overview = scene.overview();
    let view = scene.view(&overview);
    for (text, want) in [
        ("", ""),
        ("no variable", "no variable"),
        ("{{cluster}}/{{ version }}", "prod/3.5.16"),
        ("{{ host.name }}={{host.address}}", "node01=10.19.0.55"),
        (
            "{{ paths.install }}:{{ paths.config }}:{{ paths.data }}:{{ paths.bin }}",
            "/opt/etcd:/etc/etcd:/var/lib/etcd:/usr/local/bin",
        ),
        ("}} {single} {{ cluster }}}", "}} {single} prod}"),
    ] {
        assert_eq!(crate::tasks::template::expand(text, &view), want);
        assert_eq!(crate::tasks::template::validate(text), Ok(()));
    }
    for name in crate::tasks::VARIABLES {
        assert_ne!(crate::tasks::template::expand(&format!("{{{{{name}}}}}"), &view), "", "{name}");
    }
}
