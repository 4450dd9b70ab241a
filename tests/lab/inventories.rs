//! The inventory of the README's three machines, as it stands.

use crate::fixture::releases;
use crate::members::{Members, node};
use crate::site::{Site, eventually};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

pub fn prod_yaml_deploys_as_it_stands() {
    let site = Site::up(3);
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/inventories/prod.yaml")).unwrap();
    // The network of this lab in the place of that of lab 0, which is the user's.
    let here = site.lab.address(1).replace(".55", ".");
    assert!(text.contains("10.19.0.55") && text.contains("/app/allblue/etcddata"));
    site.write_file("inventories/prod.yaml", &text.replace("10.19.0.", &here));
    // Keys and known hosts where OpenSSH has them.
    fs::create_dir_all(site.path("home/.ssh")).unwrap();
    fs::copy(site.lab.identity(), site.path("home/.ssh/id_ed25519")).unwrap();
    fs::set_permissions(site.path("home/.ssh/id_ed25519"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(site.lab.known_hosts(), site.path("home/.ssh/known_hosts")).unwrap();
    let release = format!("file://{}/v{{version}}/etcd-v{{version}}-linux-{{arch}}.tar.gz", releases().display());
    let run = |words: &str| {
        let begun = Instant::now();
        let words = format!("{words} -i inventories/prod.yaml");
        let output = site.command(&words).env("ETCD_HA_RELEASE", &release).output().unwrap();
        crate::site::Ran::new(&words, &output, begun.elapsed())
    };
    run("deploy").exits(0).ends("done: cluster prod is healthy, 3 of 3 members, ");
    let members = Members {
        bin: "/app/allblue/etcd/bin",
        config: "/app/allblue/etcd/config",
        pki: site.path("inventories/prod.pki"),
        ..Members::of(&site, 3)
    };
    members.assert_whole();
    run("deploy").exits(0).ends("done: cluster prod is healthy, 3 of 3 members, nothing to do");
    run("health").exits(0).says(&["cluster is healthy"]);
    for host in 1..=3 {
        assert_eq!(members.variable(host, "ETCD_QUOTA_BACKEND_BYTES").as_deref(), Some("8589934592"));
        assert_eq!(members.variable(host, "ETCD_AUTO_COMPACTION_RETENTION").as_deref(), Some("1h"));
        let files =
            "ls /app/allblue/etcddata; ls -d /var/lib/etcd /opt/etcd /etc/etcd /usr/local/bin/etcd 2>/dev/null || true";
        assert_eq!(site.lab.read(&node(host), files), "member", "{}", node(host));
    }
    for file in ["ca.pem", "node01-server.pem", "node03-peer.pem", "admin.pem"] {
        let openssl =
            Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(members.pki.join(file)).output();
        let text = String::from_utf8(openssl.unwrap().stdout).unwrap();
        assert!(text.contains("Public-Key: (2048 bit)") && text.contains("rsaEncryption"), "{file}: {text}");
        assert!(text.contains("C = CN, L = Shenzhen, O = allblue"), "{file}: {text}");
        // 87600 hours are 3650 days.
        for (days, valid) in [(3648, true), (3651, false)] {
            let mut check = Command::new("openssl");
            check
                .args(["x509", "-noout", "-checkend", &format!("{}", days * 86_400), "-in"])
                .arg(members.pki.join(file));
            assert_eq!(check.output().unwrap().status.success(), valid, "{file} in {days} days");
        }
    }
    // And after a reboot of any host.
    site.lab.run(&["reboot", "node02"]);
    eventually("healthy after a reboot", Duration::from_secs(60), || run("health").code == Some(0));
}
