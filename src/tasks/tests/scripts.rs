//! The scripts that hosts are given, run by a real shell in a folder of this machine; what would touch
//! the machine itself (`systemctl`, `chown`) is a stand-in that writes down how it was called.

use super::scene::{Scene, crash, run, starting, stop};
use crate::tasks::activate::{self, Differences};
use crate::tasks::{prepare_host, stage_certificates, stage_config, stage_release, start};
use sha2::{Digest, Sha256};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// How a script ended.
pub(crate) struct Ran {
    pub status: i32,
    pub stderr: String,
}

/// Runs a script as a host does, with `programs` before the machine's own.
pub(crate) fn sh(script: &str, stdin: &[u8], programs: Option<&Path>) -> Ran {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("set -eu\n{script}")]).stdin(Stdio::piped()).stderr(Stdio::piped());
    if let Some(programs) = programs {
        command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    }
    let mut child = command.spawn().unwrap();
    // A script that ends early closes its stdin.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Ran { status: output.status.code().unwrap_or(-1), stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// A host's file system, below a folder.
struct Root {
    folder: TempDir,
    programs: PathBuf,
}

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = folder.path().join("programs");
        for name in ["programs", "etc", "units", "opt/releases/3.5.16"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let root = Self { folder, programs };
        root.program("systemctl", "");
        root.program("chown", "");
        // The mode that a file was born with is only to be seen before it is changed.
        root.program(
            "chmod",
            "eval \"last=\\${$#}\"; stat -c \"born %a $last\" \"$last\" >>\"$log\"; exec /bin/chmod \"$@\"",
        );
        root
    }

    /// A program that writes down how it was called, then does `body`.
    fn program(&self, name: &str, body: &str) {
        let log = self.at("log");
        let script = format!("#!/bin/sh\nlog='{}'\necho \"{name} $*\" >>\"$log\"\n{body}\n", log.display());
        let path = self.programs.join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn link(&self, name: &str) -> String {
        let target = std::fs::read_link(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        target.display().to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What the stand-ins were called with since the last time.
    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.at("log")).unwrap_or_default();
        std::fs::write(self.at("log"), "").unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The scene's host, with its paths below this folder.
    fn host_of(&self, scene: Scene) -> Scene {
        let below = |name: &str| self.at(name).display().to_string();
        scene.below([below("opt"), below("etc"), below("data"), below("bin")])
    }

    fn run(&self, script: &str, stdin: &[u8]) -> Ran {
        let units = self.at("units").display().to_string();
        sh(&script.replace("/etc/systemd/system", &units), stdin, Some(&self.programs))
    }

    fn stage(&self, scene: &Scene) {
        let overview = scene.overview();
        let view = scene.view(&overview);
        let (text, data) = stage_certificates::script(&view.host.paths.config, scene.wanted());
        let ran = self.run(&text, &data);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        let (text, data) = stage_config::script(&view, scene.wanted());
        let ran = self.run(&text, &data);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    }

    fn activate(&self, scene: &Scene) -> Ran {
        let overview = scene.overview();
        let view = scene.view(&overview);
        let script = activate::script(&view, scene.wanted(), &Differences::between(&view, scene.wanted()), None);
        self.run(&script, b"")
    }
}

#[test]
fn keys_are_never_readable_to_others() {
    let root = Root::new();
    let scene = root.host_of(Scene::fresh());
    root.stage(&scene);
    let log = root.log();
    for name in ["server-key.pem", "peer-key.pem"] {
        assert!(log.contains(&format!("born 600 .next/ssl/{name}")), "{log:?}");
        assert!(log.contains(&format!("chown etcd:etcd .next/ssl/{name}")), "{log:?}");
    }
    for file in &scene.wanted().certificates {
        let staged = format!("etc/.next/ssl/{}", file.name);
        assert_eq!(root.read(&staged), *file.content);
        assert_eq!(std::fs::metadata(root.at(&staged)).unwrap().permissions().mode() & 0o7777, file.mode);
    }
    assert_eq!(root.read("etc/.next/etcd.conf"), scene.wanted().environment);
    assert_eq!(root.read("etc/.next/etcd.service"), scene.wanted().unit);
    // No key in what a process list or a log would show.
    let (text, _) = stage_certificates::script("/etc/etcd", scene.wanted());
    assert!(!text.contains("PRIVATE") && !text.contains("BEGIN"), "{text}");
}

#[test]
fn staging_is_done_again_where_it_broke_off() {
    let root = Root::new();
    let scene = root.host_of(Scene::fresh());
    let (text, data) = stage_certificates::script(&scene.inventory.hosts[0].paths.config, scene.wanted());
    root.run(&text, &data[..data.len() / 2]);
    root.stage(&scene);
    assert_eq!(root.activate(&scene).status, 0);
}

#[test]
fn what_is_staged_takes_the_place_of_what_is_in_force() {
    let root = Root::new();
    let scene = root.host_of(Scene::fresh());
    root.stage(&scene);
    root.log();
    let ran = root.activate(&scene);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(root.log(), ["systemctl enable --quiet etcd.service"]);
    let ssl = format!(".ssl-{}", scene.wanted().certificates_digest);
    assert_eq!(root.names("etc"), [".previous", &ssl, "etcd.conf", "ssl"]);
    assert_eq!(root.names("etc/.previous"), Vec::<String>::new());
    assert_eq!(root.link("etc/ssl"), ssl);
    assert_eq!(root.read("etc/ssl/server-key.pem"), *scene.wanted().certificates[2].content);
    assert_eq!(root.read("etc/etcd.conf"), scene.wanted().environment);
    assert_eq!(root.names("units"), ["etcd.service"]);
    assert_eq!(root.read("units/etcd.service"), scene.wanted().unit);
    assert_eq!(root.names("bin"), ["etcd", "etcdctl", "etcdutl"]);
    assert_eq!(root.link("bin/etcd"), "opt/releases/3.5.16/etcd");

    // Another setting: only that is moved, and the way back holds all that was in force.
    let second = root.host_of(Scene::deployed()).wanting_another_setting();
    root.stage(&second);
    root.log();
    let ran = root.activate(&second);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(root.log(), Vec::<String>::new());
    assert_eq!(root.read("etc/etcd.conf"), second.wanted().environment);
    assert_eq!(root.names("etc/.previous"), ["binary", "etcd.conf", "etcd.service", "ssl"]);
    assert_eq!(root.read("etc/.previous/etcd.conf"), scene.wanted().environment);
    assert_eq!(root.link("etc/.previous/binary"), "opt/releases/3.5.16/etcd");
    assert_eq!(root.link("etc/.previous/ssl"), ssl);
}

#[test]
fn certificates_flip_by_one_link_and_the_ones_before_are_kept_once() {
    let root = Root::new();
    let mut digests = Vec::new();
    for _ in 0..3 {
        let mut scene = root.host_of(Scene::fresh());
        scene.renew();
        root.stage(&scene);
        let ran = root.activate(&scene);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        let ssl = format!(".ssl-{}", scene.wanted().certificates_digest);
        assert_eq!(root.link("etc/ssl"), ssl);
        assert_eq!(root.read("etc/ssl/ca.pem"), *scene.wanted().certificates[0].content);
        digests.push(ssl);
    }
    let mut folders: Vec<String> = root.names("etc").into_iter().filter(|name| name.starts_with(".ssl-")).collect();
    let mut kept = digests[1..].to_vec();
    folders.sort();
    kept.sort();
    assert_eq!(folders, kept);
    assert_eq!(root.link("etc/.previous/ssl"), digests[1]);
}

#[test]
fn nothing_is_moved_if_what_is_staged_is_not_what_is_wanted() {
    for staged in ["etc/.next/etcd.conf", "etc/.next/etcd.service", "etc/.next/ssl/peer-key.pem"] {
        for damage in ["", "cut"] {
            let root = Root::new();
            let scene = root.host_of(Scene::fresh());
            root.stage(&scene);
            root.log();
            match damage {
                "" => std::fs::remove_file(root.at(staged)).unwrap(),
                damage => std::fs::write(root.at(staged), damage).unwrap(),
            }
            let ran = root.activate(&scene);
            assert_eq!(ran.status, 1, "{staged}");
            assert!(ran.stderr.ends_with("what is staged is not what is wanted\n"), "{}", ran.stderr);
            assert_eq!(root.names("etc"), [".next"], "{staged}");
            assert_eq!((root.names("units"), root.log()), (vec![], vec![]), "{staged}");
            assert!(!root.at("bin").exists());
        }
    }
}

/// The first script that fails leaves a state from which the next run goes on.
#[test]
fn an_activation_that_breaks_off_can_be_done_again() {
    let root = Root::new();
    let scene = root.host_of(Scene::fresh());
    root.stage(&scene);
    root.program("systemctl", "exit 1");
    assert_ne!(root.activate(&scene).status, 0);
    root.program("systemctl", "");
    root.stage(&scene);
    assert_eq!(root.activate(&scene).status, 0);
    assert_eq!(root.read("etc/etcd.conf"), scene.wanted().environment);
}

/// A release archive whose `etcd` says to be `says`, and its digest.
fn release(root: &Root, says: &str) -> (Vec<u8>, String) {
    let top = root.at("archive/etcd-v3.5.16-linux-amd64");
    std::fs::create_dir_all(&top).unwrap();
    for name in ["etcd", "etcdctl", "etcdutl"] {
        let script = format!("#!/bin/sh\necho 'etcd Version: {says}'\necho 'Git SHA: x'\n");
        std::fs::write(top.join(name), script).unwrap();
        std::fs::set_permissions(top.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let archive = root.at("archive.tar.gz");
    let packed = Command::new("tar")
        .args(["-czf", archive.to_str().unwrap(), "-C", root.at("archive").to_str().unwrap(), "."])
        .status();
    assert!(packed.unwrap().success());
    let bytes = std::fs::read(archive).unwrap();
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    (bytes, sha256)
}

fn unpack(root: &Root, sha256: &str, bytes: &[u8]) -> Ran {
    let archive = crate::release::Archive { sha256: sha256.to_owned(), ..super::scene::archive("3.5.16") };
    let releases = root.at("opt/releases").display().to_string();
    sh(&stage_release::script(&releases, &archive, &archive.version.to_string(), true), bytes, None)
}

#[test]
fn a_release_is_unpacked_beside_the_others() {
    let root = Root::new();
    std::fs::remove_dir_all(root.at("opt/releases/3.5.16")).unwrap();
    let (bytes, sha256) = release(&root, "3.5.16");
    let ran = unpack(&root, &sha256, &bytes);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(root.names("opt/releases"), ["3.5.16"]);
    assert_eq!(root.names("opt/releases/3.5.16"), [".archive", "etcd", "etcdctl", "etcdutl"]);
    let mode = std::fs::metadata(root.at("opt/releases/3.5.16/etcd")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o755);
    let noted = root.read("opt/releases/3.5.16/.archive");
    let lines: Vec<&str> = noted.lines().collect();
    assert_eq!(lines[0], sha256);
    let names: Vec<&str> = lines[1..].iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["etcd", "etcdctl", "etcdutl"]);
    assert!(lines[1..].iter().all(|line| line.ends_with(" 755")), "{noted}");
}

#[test]
fn what_does_not_arrive_as_it_was_sent_leaves_nothing() {
    let root = Root::new();
    let (bytes, sha256) = release(&root, "3.5.16");
    let (other, other_sha256) = release(&root, "3.5.160");
    let longer = [&bytes[..], b"more"].concat();
    for (what, sent, digest, want) in [
        ("cut", &bytes[..bytes.len() / 2], &sha256, "the archive arrived incomplete or cannot be unpacked"),
        ("empty", &b""[..], &sha256, "the archive arrived incomplete or cannot be unpacked"),
        ("another one", &other, &sha256, "the archive arrived with digest "),
        ("another version", &other, &other_sha256, "the unpacked etcd is another version: etcd Version: 3.5.160"),
        ("with more behind it", &longer, &sha256, "the archive arrived"),
    ] {
        let ran = unpack(&root, digest, sent);
        assert_eq!(ran.status, 1, "{what}");
        assert!(ran.stderr.lines().any(|line| line.starts_with(want)), "{what}: {}", ran.stderr);
        assert_eq!(root.names("opt/releases"), ["3.5.16"], "{what}");
        assert_eq!(root.names("opt/releases/3.5.16"), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn old_releases_and_killed_uploads_are_cleared_away() {
    let root = Root::new();
    let aged = |name: &str, days: u32| {
        let path = root.at(&format!("opt/releases/{name}"));
        std::fs::create_dir_all(&path).unwrap();
        let touched = Command::new("touch").args(["-d", &format!("{days} days ago")]).arg(path).status();
        assert!(touched.unwrap().success());
    };
    for (name, days) in [("3.4.23", 40), ("3.5.9", 30), ("3.5.10", 20), ("3.5.16", 50), (".incoming.killed", 1)] {
        aged(name, days);
    }
    std::fs::create_dir(root.at("opt/releases/.incoming.running")).unwrap();
    std::fs::create_dir(root.at("opt/releases/notes")).unwrap();
    let (bytes, sha256) = release(&root, "3.5.16");
    let ran = unpack(&root, &sha256, &bytes);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(root.names("opt/releases"), [".incoming.running", "3.5.10", "3.5.16", "3.5.9", "notes"]);
}

#[test]
fn starting_is_asked_for_without_waiting() {
    let reset = "systemctl reset-failed etcd.service 2>/dev/null || :\n";
    let enable = "systemctl enable --quiet etcd.service\n";
    let end_it = "config=/etc/etcd bin=/usr/local/bin endpoint=https://10.19.0.55:2379
serves() { (cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | (while read -r _ local _ state _; do \
case $state/$local in 0A/*:094B) exit 0;; esac; done; exit 1)) && (cd \"$config\" && \
ETCDCTL_API=3 timeout 2 \"$bin/etcdctl\" --endpoints \"$endpoint\" --cacert ssl/ca.pem \\
    --cert ssl/server.pem --key ssl/server-key.pem endpoint health >/dev/null 2>&1); }
if [ \"$(systemctl is-active etcd.service)\" != active ] && ! serves; then systemctl stop etcd.service; fi
";
    let start_it = "systemctl start --no-block etcd.service\n";
    for (what, scene, want) in [
        ("fresh", Scene::fresh(), format!("{enable}{reset}{start_it}")),
        ("stopped", Scene::deployed().seen(stop), format!("{reset}{start_it}")),
        ("crashed", Scene::deployed().seen(crash), format!("{end_it}{reset}{start_it}")),
        (
            "stopped, and its unit was changed",
            Scene::deployed().seen(|seen| {
                stop(seen);
                seen.unit.needs_reload = true;
            }),
            format!("systemctl daemon-reload\n{reset}{start_it}"),
        ),
        (
            "still starting",
            Scene::deployed().seen(|seen| starting(seen, Some("older"))),
            format!("{end_it}{reset}{start_it}"),
        ),
        (
            "it serves, but is not enabled",
            Scene::deployed().seen(|seen| {
                run(seen, None);
                seen.unit.enabled = "disabled".into();
            }),
            enable.to_owned(),
        ),
    ] {
        assert_eq!(start::script(&scene.inventory.hosts[0], &scene.seen["node01"].unit), want, "{what}");
    }
}

#[test]
fn the_user_and_the_folders() {
    assert_eq!(
        prepare_host::script(&Scene::fresh().inventory.hosts[0]),
        "if ! id -u etcd >/dev/null 2>&1; then
  if command -v useradd >/dev/null 2>&1; then
    useradd --system --user-group --no-create-home --home-dir /var/lib/etcd --shell /usr/sbin/nologin etcd
  else
    printf 'u etcd - \"etcd\" /var/lib/etcd\\n' | systemd-sysusers -
  fi
fi
[ -d /opt/etcd ] || { mkdir -p /opt/etcd; chmod 755 /opt/etcd; chown root:root /opt/etcd; }
chown root /opt/etcd; chmod go-w /opt/etcd
[ -d /opt/etcd/releases ] || { mkdir -p /opt/etcd/releases; chmod 755 /opt/etcd/releases; chown root:root /opt/etcd/releases; }
chown root /opt/etcd/releases; chmod go-w /opt/etcd/releases
[ -d /etc/etcd ] || { mkdir -p /etc/etcd; chmod 755 /etc/etcd; chown root:root /etc/etcd; }
chown root /etc/etcd; chmod go-w /etc/etcd
[ -d /var/lib/etcd ] || { mkdir -p /var/lib/etcd; chmod 700 /var/lib/etcd; chown etcd:etcd /var/lib/etcd; }
chmod 700 /var/lib/etcd; chown etcd:etcd /var/lib/etcd
mkdir -p /usr/local/bin
"
    );
}
