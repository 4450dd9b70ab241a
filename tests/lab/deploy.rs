//! The first deploy on fresh hosts, and the second run that has nothing to do.

use crate::members::{HEALTH, Members, node, plaintext};
use crate::site::{Site, assert_untouched, files_below};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A CA that nobody knows, and a client certificate of it; made by OpenSSL.
pub fn strangers_certificate(folder: &Path) -> (PathBuf, PathBuf) {
    fs::create_dir_all(folder).unwrap();
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
         -subj /CN=stranger -days 2 2>&1 && \
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.csr -subj /CN=root \
         2>&1 && openssl x509 -req -in root.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out root.pem -days 2 2>&1";
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    (folder.join("root.pem"), folder.join("root.key"))
}

/// A client certificate of the cluster's own CA that ended yesterday.
fn expired_certificate(site: &Site, members: &Members<'_>) -> (PathBuf, PathBuf) {
    let folder = site.path("expired");
    fs::create_dir_all(&folder).unwrap();
    let script = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.csr \
         -subj /CN=root 2>&1 && openssl x509 -req -in root.csr -CA \"$1/ca.pem\" -CAkey \"$1/ca-key.pem\" -set_serial 77 \
         -days -1 -out root.pem 2>&1";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&members.pki).current_dir(&folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    (folder.join("root.pem"), folder.join("root.key"))
}

pub fn a_first_deploy_makes_a_real_cluster() {
    let site = Site::up(3);
    site.run("deploy")
        .exits(0)
        .says(&["upload and unpack etcd 3.5.16", "issue CA certificate", "node03 start: changed: start etcd"])
        .ends("done: cluster lab is healthy, 3 of 3 members, ");
    let members = Members::of(&site, 3);
    members.assert_whole();
    only_tls_with_our_certificates(&site, &members);
    the_unit_is_hardened(&site);
    files_on_the_hosts(&site);
    files_on_the_controller(&site);
}

fn only_tls_with_our_certificates(site: &Site, members: &Members<'_>) {
    let stranger = strangers_certificate(&site.path("stranger"));
    let expired = expired_certificate(site, members);
    let peer = Some((members.pki.join("node01-peer.pem"), members.pki.join("node01-peer-key.pem")));
    for host in 1..=3 {
        let address = site.lab.address(host);
        // The control: with our certificate the same question is answered, and OpenSSL finds the chain right.
        let said = members.tls(host, 2379, members.admin(), HEALTH);
        assert!(said.contains("\"health\":\"true\"") && !said.contains("verify error"), "{said}");
        // A peer's certificate has to be that of the address which it is shown from, so etcd hangs up on the
        // controller; but the chain is right on both sides.
        let said = members.tls(host, 2380, peer.clone(), HEALTH);
        let verified = said.contains(&format!("depth=0 CN = {}\nverify return:1", node(host)));
        assert!(verified && !said.contains("alert") && !said.contains("verify error"), "{said}");
        for port in [2379, 2380] {
            for certificate in [None, Some(stranger.clone()), Some(expired.clone())] {
                let said = members.tls(host, port, certificate, HEALTH);
                assert!(!said.contains("200 OK") && said.contains("alert"), "port {port} let us in: {said}");
            }
            // Versions of TLS, of which OpenSSL speaks the older ones only if it is told that nothing matters.
            for (version, taken) in [("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
                let flags = [version, "-cipher", "DEFAULT@SECLEVEL=0"];
                let certificate = if port == 2379 { members.admin() } else { peer.clone() };
                let said = members.tls_of(&flags, host, port, certificate, HEALTH);
                let refused = said.contains("alert protocol version");
                assert_eq!(
                    (said.contains("verify return:1"), refused),
                    (taken, !taken),
                    "port {port} {version}: {said}"
                );
            }
            let said = plaintext(&address, port);
            assert!(!said.contains("200 OK") && !said.contains("health\""), "port {port} without TLS: {said}");
        }
        // Nothing else of etcd listens, be it on the loopback.
        let listening = site.lab.read(&node(host), "ss -Hltnp | grep '\"etcd\"' | awk '{print $4}' | sort");
        let wanted = [format!("{address}:2379"), format!("{address}:2380"), "127.0.0.1:2379".to_owned()];
        assert_eq!(listening.lines().collect::<Vec<_>>(), wanted, "{}", node(host));
        let script = "exec 3<>/dev/tcp/127.0.0.1/2379; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        let said = site.lab.read(&node(host), &format!("bash -c \"{}\"", script.replace('\\', "\\\\")));
        assert!(!said.contains("health\""), "on the host's own loopback, without TLS: {said}");
    }
}

/// systemd's own judgement, and a reason in the unit for everything that it finds left open.
fn the_unit_is_hardened(site: &Site) {
    let said = site.lab.read("node01", "systemd-analyze security --no-pager etcd.service 2>&1 || true");
    let (_, exposure) = said.split_once("exposure level for etcd.service: ").unwrap_or_else(|| panic!("{said}"));
    let exposure: f64 = exposure.split_whitespace().next().unwrap().parse().unwrap();
    assert!(exposure < 3.0, "{said}");
    // Large data takes its time to be read, and without a quorum nobody is ready.
    assert_eq!(site.lab.read("node01", "systemctl show etcd -p TimeoutStartUSec --value"), "infinity");
    let unit = site.lab.read("node01", "cat /etc/systemd/system/etcd.service");
    let open: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("✗ ")?.split(['=', ' ']).next()).collect();
    assert!(open.contains(&"PrivateNetwork"), "{said}");
    // The lines of a comment.
    let reasons: String = unit.lines().filter(|line| line.starts_with('#')).collect();
    for setting in open {
        assert!(
            reasons.contains(&format!("{setting}=")),
            "nothing in the unit says why {setting} is left open: {unit}"
        );
    }
}

fn files_on_the_hosts(site: &Site) {
    for host in 1..=3 {
        let node = node(host);
        let stat = |what: &str| site.lab.read(&node, &format!("stat -c '%A %U:%G' {what}"));
        for (path, wanted) in [
            ("/etc/etcd", "drwxr-xr-x root:root"),
            ("/etc/etcd/etcd.conf", "-rw-r--r-- root:root"),
            ("/etc/etcd/ssl/ca.pem", "-rw-r--r-- etcd:etcd"),
            ("/etc/etcd/ssl/server.pem", "-rw-r--r-- etcd:etcd"),
            ("/etc/etcd/ssl/server-key.pem", "-rw------- etcd:etcd"),
            ("/etc/etcd/ssl/peer.pem", "-rw-r--r-- etcd:etcd"),
            ("/etc/etcd/ssl/peer-key.pem", "-rw------- etcd:etcd"),
            ("/etc/systemd/system/etcd.service", "-rw-r--r-- root:root"),
            ("/opt/etcd/releases/3.5.16", "drwxr-xr-x root:root"),
            ("/opt/etcd/releases/3.5.16/etcd", "-rwxr-xr-x root:root"),
            ("/opt/etcd/releases/3.5.16/etcdctl", "-rwxr-xr-x root:root"),
            ("/opt/etcd/releases/3.5.16/etcdutl", "-rwxr-xr-x root:root"),
            ("/var/lib/etcd", "drwx------ etcd:etcd"),
        ] {
            assert_eq!(stat(path), wanted, "{node}: {path}");
        }
        for program in ["etcd", "etcdctl", "etcdutl"] {
            let target = site.lab.read(&node, &format!("readlink /usr/local/bin/{program}"));
            assert_eq!(target, format!("/opt/etcd/releases/3.5.16/{program}"), "{node}");
        }
        let ssl = site.lab.read(&node, "readlink /etc/etcd/ssl");
        assert!(ssl.starts_with(".ssl-"), "{node}: {ssl}");
        let left = site
            .lab
            .read(&node, "cd /etc/etcd; ls -A | tr '\\n' ' '; ls -A /opt/etcd /opt/etcd/releases | tr '\\n' ' '");
        let wanted = format!(".previous {ssl} etcd.conf ssl /opt/etcd: releases  /opt/etcd/releases: 3.5.16 ");
        assert_eq!(left, wanted, "{node}: something is left, or missing");
        let keys =
            site.lab.read(&node, "grep -rIl 'PRIVATE KEY' /etc /opt /home /tmp /var/tmp /usr/local 2>/dev/null | sort");
        let keys: Vec<_> = keys.lines().filter(|path| !path.starts_with("/etc/ssh/")).collect();
        assert_eq!(
            keys,
            [format!("/etc/etcd/{ssl}/peer-key.pem"), format!("/etc/etcd/{ssl}/server-key.pem")],
            "{node}"
        );
        let state = site.lab.read(&node, "grep -h ETCD_INITIAL_CLUSTER_STATE /etc/etcd/etcd.conf");
        assert_eq!(state, "ETCD_INITIAL_CLUSTER_STATE=existing", "{node}");
        let unit =
            site.lab.read(&node, "systemctl show etcd -p Type -p User -p LimitNOFILE -p Restart -p NeedDaemonReload");
        for property in ["Type=notify", "User=etcd", "LimitNOFILE=65536", "Restart=always", "NeedDaemonReload=no"] {
            assert!(unit.lines().any(|line| line == property), "{node}: {property} is not in {unit}");
        }
    }
}

fn files_on_the_controller(site: &Site) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&site.path("lab.pki")), 0o700);
    for file in files_below(&site.path("lab.pki")) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(mode(&file), if name.ends_with("-key.pem") { 0o600 } else { 0o644 }, "{name}");
    }
    let logs = files_below(&site.path("state/etcd-ha/lab/runs"));
    assert_eq!(logs.len(), 1);
    assert_eq!(mode(&logs[0]), 0o600);
    let log = fs::read_to_string(&logs[0]).unwrap();
    assert!(!log.contains("PRIVATE KEY"));
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(log.lines().last().unwrap().contains("\"run_finished\""), "{log}");
}

pub fn a_second_run_changes_nothing() {
    let site = Site::up(3);
    site.run("plan --detailed-exitcode").exits(10).says(&["53 changes on 3 hosts; nothing was touched"]);
    assert!(!site.path("lab.pki").exists(), "a plan made certificates");
    site.run("deploy").exits(0);
    let look = || (1..=3).map(|host| (site.pid(host), site.manifest(host))).collect::<Vec<_>>();
    let before = look();
    let pki = || files_below(&site.path("lab.pki")).into_iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>();
    let pki_before = pki();
    for _ in 0..2 {
        site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
        site.run("plan").exits(0).says(&["no changes: cluster lab is as lab.yaml says"]);
        site.run("plan --detailed-exitcode").exits(0);
        site.run("deploy --dry-run --detailed-exitcode").exits(0);
    }
    for ((pid, manifest), (pid_before, manifest_before)) in look().iter().zip(&before) {
        assert_eq!(pid, pid_before);
        assert_untouched(manifest_before, manifest);
    }
    assert!(pki() == pki_before, "the PKI folder was written");
    Members::of(&site, 3).assert_whole();
}
