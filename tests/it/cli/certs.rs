//! Client certificates: issued, exported, and handed to a shell.

use super::{Desk, Said, json, said};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const NO_PKI: &str = "error: there are no usable certificates in `prod.pki`\n\n\
     hint: `etcd-ha deploy` makes them; on another controller, copy the PKI folder from the one that deployed\n";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Runs a script in the working folder that has to succeed; what it prints.
fn sh(desk: &Desk, shell: &str, script: &str) -> String {
    let output = Command::new(shell).args(["-c", script]).current_dir(desk.path("")).output().unwrap();
    assert!(output.status.success(), "{shell} {script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A desk with the certificates of a cluster and of `app1`.
fn issued() -> Desk {
    let desk = Desk::with_inventory();
    desk.make_certificates();
    let ended = desk.run("certs issue -i prod.yaml --client --name app1 --lifetime 90d");
    let (before, end) = ended.stderr.split_once("valid until ").unwrap();
    assert_eq!(
        (ended.status, ended.stdout.as_str(), before),
        (0, "", "wrote prod.pki/clients/app1.pem and prod.pki/clients/app1-key.pem: common name `app1`, ")
    );
    assert_eq!(
        end.split_once('\n').unwrap().1,
        "next: `etcd-ha certs export -i prod.yaml --name app1` for one file with the CA\n"
    );
    desk
}

#[test]
fn a_client_certificate_is_what_openssl_takes_for_one() {
    let desk = issued();
    assert_eq!(mode(&desk.path("prod.pki/clients")), 0o700);
    assert_eq!(mode(&desk.path("prod.pki/clients/app1-key.pem")), 0o600);
    let file = "prod.pki/clients/app1.pem";
    sh(&desk, "sh", &format!("openssl verify -x509_strict -purpose sslclient -CAfile prod.pki/ca.pem {file}"));
    let text = sh(&desk, "sh", &format!("openssl x509 -in {file} -noout -text -nameopt RFC2253"));
    assert!(text.contains("Subject: CN=app1\n"), "{text}");
    assert!(text.contains("TLS Web Client Authentication") && !text.contains("TLS Web Server"), "{text}");
    assert!(!text.contains("Subject Alternative Name"), "{text}");
    let day = 86_400;
    sh(&desk, "sh", &format!("openssl x509 -in {file} -noout -checkend {}", 90 * day - 600));
    sh(&desk, "sh", &format!("! openssl x509 -in {file} -noout -checkend {}", 90 * day + 600));

    let shown = desk.run("certs show -i prod.yaml");
    assert_eq!(shown.status, 0);
    let last = shown.stdout.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(last[..3], ["clients/app1.pem", "CN=app1", "-"]);
    let lines = json(&desk.run("-o json certs show -i prod.yaml").stdout);
    let line = lines.last().unwrap();
    assert_eq!((&line["kind"], &line["client"]), (&"client".into(), &"app1".into()));
    assert_eq!((&lines[3]["kind"], &lines[3]["member"]), (&"server".into(), &"node01".into()));
}

#[test]
fn a_client_certificate_takes_no_other_s_place_unasked() {
    let desk = issued();
    let file = "prod.pki/clients/app1.pem";
    let before = desk.read(file);
    let exists = "error: there is a client certificate `app1` already: `prod.pki/clients/app1.pem`\n\n\
                  hint: `--force` puts a new one with a new key in its place; the old one is accepted until it expires\n";
    assert_eq!(desk.run("certs issue -i prod.yaml --client --name app1"), said(2, "", exists));
    assert_eq!(desk.read(file), before);

    // The common name of the one before is kept, and the key is new.
    desk.run("certs issue -i prod.yaml --client --name app2 --cn writer");
    let key = desk.read("prod.pki/clients/app2-key.pem");
    let ended = desk.run("-o json certs issue -i prod.yaml --client --name app2 --force --lifetime 100000d");
    assert_eq!(ended.status, 0);
    let words: Vec<&str> = ended.stderr.lines().map(|line| line.split(", on ").next().unwrap()).collect();
    assert_eq!(words[0], "warning: it ends with its CA");
    assert!(words[1].starts_with("warning: the certificate in whose place it was put is accepted until "), "{words:?}");
    let line = &json(&ended.stdout)[0];
    assert_eq!((&line["v"], &line["name"], &line["common_name"]), (&1.into(), &"app2".into(), &"writer".into()));
    assert_eq!(line["certificate"], "prod.pki/clients/app2.pem");
    assert!(key != desk.read("prod.pki/clients/app2-key.pem"));
}

#[test]
fn what_is_not_issued() {
    let desk = Desk::with_inventory();
    assert_eq!(desk.run("certs issue -i prod.yaml --client --name app1"), said(1, "", NO_PKI));
    assert_eq!(desk.names(), ["prod.yaml"]);
    desk.make_certificates();
    let only = "error: only client certificates are issued by hand\n\n\
                hint: say `--client`; the members' certificates come with `etcd-ha deploy`\n";
    assert_eq!(desk.run("certs issue -i prod.yaml --name app1"), said(2, "", only));
    let admin = "error: `admin` is the name of the administrator's own certificate\n\n\
                 hint: `etcd-ha deploy` issues and renews it; `etcd-ha certs export` exports it\n";
    assert_eq!(desk.run("certs issue -i prod.yaml --client --name admin"), said(2, "", admin));
    let root = "error: a client certificate with the common name `root` has all rights once authentication is enabled\n\n\
                hint: give it a common name of its own with `--cn`, or say `--cn root` if that is meant\n";
    assert_eq!(desk.run("certs issue -i prod.yaml --client --name root"), said(2, "", root));
    for (flags, words) in [
        ("--name ../x", "letters, digits, `-`, `_` and `.` make a name, and the first is a letter or a digit"),
        ("--name x-key", "a name does not end in `-key`: so do the files of keys"),
        ("--name x --lifetime 90", "a whole number and a unit are wanted: `30m`, `12h`, `90d`"),
    ] {
        let ended = desk.run(&format!("certs issue -i prod.yaml --client {flags}"));
        assert!(ended.status == 2 && ended.stderr.contains(words), "{flags}: {ended:?}");
    }
    assert!(!desk.path("prod.pki/clients").exists());
    let ended = desk.run("certs issue -i prod.yaml --client --name boss --cn root");
    assert_eq!(ended.status, 0);
    assert!(ended.stderr.starts_with("warning: etcd takes who shows this certificate for `root`, "), "{ended:?}");
}

#[test]
fn a_ca_is_not_made_anew_while_clients_have_certificates_of_the_old() {
    let desk = issued();
    for file in std::fs::read_dir(desk.path("prod.pki")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let ended = desk.run("health -i prod.yaml");
    assert_eq!(ended.status, 4);
    let words = "error: `prod.pki/ca-key.pem` is missing while `prod.pki/clients/app1-key.pem` is there\n";
    assert!(ended.stderr.starts_with(words), "{}", ended.stderr);
}

#[test]
fn a_pem_bundle_is_written_once_and_for_its_owner() {
    let desk = issued();
    let wrote = "wrote app1.pem: certificate, key and CA of `app1`; its key is not encrypted\n";
    assert_eq!(desk.run("certs export -i prod.yaml --name app1"), said(0, "", wrote));
    assert_eq!(mode(&desk.path("app1.pem")), 0o600);
    let parts =
        ["clients/app1.pem", "clients/app1-key.pem", "ca.pem"].map(|file| desk.read(&format!("prod.pki/{file}")));
    assert_eq!(desk.read("app1.pem"), parts.concat());
    sh(&desk, "sh", "openssl x509 -in app1.pem -noout && openssl pkey -in app1.pem -noout");

    let exists = "error: `app1.pem` is there already\n\n\
                  hint: nothing was overwritten; `--force` does so, `--to` names another file\n";
    assert_eq!(desk.run("certs export -i prod.yaml --name app1"), said(2, "", exists));
    assert_eq!(desk.run("certs export -i prod.yaml --name app1 --force"), said(0, "", wrote));
    // Nothing half written is left.
    assert_eq!(desk.names(), ["app1.pem", "prod.pki", "prod.yaml"]);
    assert_eq!(desk.run("certs export -i prod.yaml --name app1 --to -"), said(0, &parts.concat(), ""));
    let admin = ["admin.pem", "admin-key.pem", "ca.pem"].map(|file| desk.read(&format!("prod.pki/{file}")));
    assert_eq!(desk.run("certs export -i prod.yaml --to -"), said(0, &admin.concat(), ""));
}

#[test]
fn a_pkcs12_file_is_read_by_others() {
    let desk = issued();
    let export = |flags: &str| {
        let words = format!("certs export -i prod.yaml --name app1 --format pkcs12 {flags}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-ha"));
        command.args(words.split_whitespace()).arg("--export-pass-command=echo 'hunter 2'");
        let output = command.current_dir(desk.path("")).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(export(""), (Some(0), "wrote app1.p12: certificate, key and CA of `app1`\n".to_owned()));
    assert_eq!(mode(&desk.path("app1.p12")), 0o600);
    // The certificate with its key, and the CA; the key is the very one.
    let read = "openssl pkcs12 -in app1.p12 -nodes -passin 'pass:hunter 2' 2>&1";
    let text = sh(&desk, "sh", read);
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "{text}");
    let key = sh(&desk, "sh", &format!("{read} -nocerts | openssl pkey"));
    assert_eq!(key, sh(&desk, "sh", "openssl pkey -in prod.pki/clients/app1-key.pem"));
    let leaf = sh(&desk, "sh", &format!("{read} -clcerts -nokeys | openssl x509 -noout -serial"));
    assert_eq!(leaf, sh(&desk, "sh", "openssl x509 -in prod.pki/clients/app1.pem -noout -serial"));
    sh(&desk, "sh", "! openssl pkcs12 -in app1.p12 -nodes -passin pass:wrong >/dev/null 2>&1");

    let ended = desk.run("certs export -i prod.yaml --format pkcs12 --no-export-pass");
    let wrote = "wrote admin.p12: certificate, key and CA of `admin`; its key is not encrypted\n";
    assert_eq!(ended, said(0, "", wrote));
    sh(&desk, "sh", "openssl pkcs12 -in admin.p12 -nodes -passin pass: >/dev/null");

    // Nobody is there to be asked.
    let ended = desk.run("certs export -i prod.yaml --format pkcs12 --force");
    assert_eq!((ended.status, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("say `--export-pass-command` or `--export-pass-fd`"), "{}", ended.stderr);
}

#[test]
fn what_is_not_exported() {
    let desk = Desk::with_inventory();
    assert_eq!(desk.run("certs export -i prod.yaml"), said(1, "", NO_PKI));
    desk.make_certificates();
    let unknown = "error: there is no client certificate `app9`\n\n\
                   hint: there is `admin`; `etcd-ha certs issue --client --name app9` issues one\n";
    assert_eq!(desk.run("certs export -i prod.yaml --name app9"), said(2, "", unknown));
    let password = "error: a password goes with `--format pkcs12` only\n\n\
                    hint: PEM files with encrypted keys are not written: few programs take them\n";
    assert_eq!(desk.run("certs export -i prod.yaml --ask-export-pass"), said(2, "", password));
    std::fs::copy(desk.path("prod.pki/node01-peer-key.pem"), desk.path("prod.pki/admin-key.pem")).unwrap();
    let mixed = "error: `prod.pki/admin.pem` cannot be used: its key belongs to another certificate\n\n\
                 hint: `etcd-ha deploy` makes the admin's anew, `etcd-ha certs issue --force` a client's\n";
    assert_eq!(desk.run("certs export -i prod.yaml"), said(1, "", mixed));
    assert_eq!(desk.names(), ["prod.pki", "prod.yaml"]);
}

#[test]
fn a_shell_is_told_what_etcdctl_wants() {
    let desk = issued();
    let folder = desk.home.path().join(".local/state/etcd-ha/prod/client");
    let at = folder.display();
    let endpoints = "https://192.0.2.1:2379,https://192.0.2.2:2379,https://192.0.2.3:2379";
    let sets = format!(
        "export ETCDCTL_API=3\nexport ETCDCTL_ENDPOINTS={endpoints}\nexport ETCDCTL_CACERT={at}/ca.pem\n\
         export ETCDCTL_CERT={at}/admin.pem\nexport ETCDCTL_KEY={at}/admin-key.pem\n"
    );
    assert_eq!(desk.run("env -i prod.yaml"), said(0, &sets, ""));
    assert_eq!(mode(&folder), 0o700);
    for (kept, from) in [("ca.pem", "ca.pem"), ("admin.pem", "admin.pem"), ("admin-key.pem", "admin-key.pem")] {
        assert_eq!(mode(&folder.join(kept)), 0o600, "{kept}");
        assert_eq!(std::fs::read_to_string(folder.join(kept)).unwrap(), desk.read(&format!("prod.pki/{from}")));
    }
    // What others could read since is theirs no more, and what was changed is put right.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(folder.join("ca.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(folder.join("admin-key.pem"), "old").unwrap();
    assert_eq!(desk.run("env -i prod.yaml"), said(0, &sets, ""));
    assert_eq!((mode(&folder), mode(&folder.join("ca.pem"))), (0o700, 0o600));
    assert_eq!(std::fs::read_to_string(folder.join("admin-key.pem")).unwrap(), desk.read("prod.pki/admin-key.pem"));

    let line = &json(&desk.run("-o json env -i prod.yaml --name app1").stdout)[0];
    assert_eq!((&line["cluster"], &line["name"]), (&"prod".into(), &"app1".into()));
    assert_eq!(line["env"]["ETCDCTL_CERT"], format!("{at}/app1.pem"));
    assert_eq!(line["env"]["ETCDCTL_ENDPOINTS"], endpoints);
    let names: Vec<&str> = vec!["API", "ENDPOINTS", "CACERT", "CERT", "KEY"];
    let unset: String = names.iter().map(|name| format!("unset ETCDCTL_{name}\n")).collect();
    assert_eq!(desk.run("env --unset"), said(0, &unset, ""));
    let fresh = Desk::with_inventory();
    assert_eq!(fresh.run("env -i prod.yaml"), said(1, "", NO_PKI));
    assert_eq!(fresh.run("env").status, 2);
}

/// A state folder with a name that every shell has to be told apart.
#[test]
fn every_shell_reads_it() {
    let desk = issued();
    let state = desk.path("a b'c!d$e\\f;g");
    let said: Vec<(&str, &str, Said)> = [
        ("sh", "sh", "eval \"$(cat vars)\"; printf '%s' \"$ETCDCTL_KEY\"; eval \"$(cat gone)\"; printf '|%s' \"$ETCDCTL_KEY\""),
        ("zsh", "sh", "eval \"$(cat vars)\"; printf '%s' \"$ETCDCTL_KEY\"; eval \"$(cat gone)\"; printf '|%s' \"$ETCDCTL_KEY\""),
        ("fish", "fish", "cat vars | source; printf '%s' \"$ETCDCTL_KEY\"; cat gone | source; printf '|%s' \"$ETCDCTL_KEY\""),
        ("fish", "fish", "eval (cat vars); printf '%s' \"$ETCDCTL_KEY\"; eval (cat gone); printf '|%s' \"$ETCDCTL_KEY\""),
        ("tcsh", "csh", "eval \"`cat vars`\"; printf '%s' \"$ETCDCTL_KEY:q\"; eval \"`cat gone`\"; printf '|'; printenv ETCDCTL_KEY; true"),
    ]
    .into_iter()
    .map(|(shell, kind, script)| {
        let state = state.to_str().unwrap();
        let ended = desk.run_with(&format!("env -i prod.yaml --shell {kind}"), &[("XDG_STATE_HOME", state)]);
        desk.write("vars", &ended.stdout);
        desk.write("gone", &desk.run(&format!("env --unset --shell {kind}")).stdout);
        let stdout = sh(&desk, shell, script);
        (shell, script, Said { stdout, ..ended })
    })
    .collect();
    let want = format!("{}/etcd-ha/prod/client/admin-key.pem|", state.display());
    for (shell, script, said) in said {
        assert_eq!(
            (said.status, said.stdout.as_str(), said.stderr.as_str()),
            (0, want.as_str(), ""),
            "{shell}: {script}"
        );
    }
}

#[test]
fn verify_of_members_that_cannot_be_reached() {
    let desk = Desk::with_inventory();
    assert_eq!(desk.run("certs verify -i prod.yaml"), said(1, "", NO_PKI));
    desk.make_certificates();
    let ended = desk.run("certs verify -i prod.yaml --timeout 2");
    let row = |n: u32, port: &str| format!("node0{n}  {port}  -        -          -    not reached\n");
    let rows: String = (1..=3).map(|n| row(n, "client 2379") + &row(n, "peer 2380  ")).collect();
    let problem = |n: u32, port: &str| {
        format!(
            "\nnode0{n}, {port}:\n  ssh: host `node0{n}`: `127.0.0.1:{n}` refused the connection\n  \
             hint: `etcd-ha ssh-config` shows how the host is reached; `--direct` asks members without SSH\n"
        )
    };
    let problems: String = (1..=3).map(|n| problem(n, "client port 2379") + &problem(n, "peer port 2380")).collect();
    let head = "HOST    PORT         SUBJECT  DAYS LEFT  TLS  VERDICT\n";
    let want = format!("{head}{rows}{problems}\n0 of 6 ports as they should be, 6 not reached\n");
    assert_eq!(ended, said(1, &want, ""));
    let lines = json(&desk.run("-o json certs verify -i prod.yaml --timeout 2").stdout);
    assert_eq!(
        lines[0],
        serde_json::json!({
            "v": 1, "host": "node01", "role": "client", "port": 2379, "verdict": "not reached", "tls": null,
            "problems": ["ssh: host `node01`: `127.0.0.1:1` refused the connection"],
            "hints": ["`etcd-ha ssh-config` shows how the host is reached; `--direct` asks members without SSH"],
        })
    );
    assert_eq!(lines[6], serde_json::json!({ "v": 1, "ports": 6, "good": 0 }));
}
