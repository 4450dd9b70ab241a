//! No error, no `Debug` output and no message shows a byte of a private key.

#![allow(clippy::panic, clippy::unwrap_used)]

use etcd_ha::error::{Error, Explain};
use etcd_ha::etcd::client::{Access, MemberClient};
use etcd_ha::etcd::lint::Rules;
use etcd_ha::host::Script;
use etcd_ha::inventory::Inventory;
use etcd_ha::pki::{KeyAlgorithm, Member, Pki, PkiError, SecretPem, Settings, Subject};
use etcd_ha::ssh::Input;
use etcd_ha::tasks::{CertificateFile, TaskError, Wanted};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A PKI of one member in a folder.
struct Fixture {
    folder: TempDir,
    settings: Settings,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            dir: folder.path().join("prod.pki"),
            ca_cert: None,
            ca_key: None,
            encrypt_ca_key: false,
            key: KeyAlgorithm::EcdsaP256,
            subject: Subject::default(),
            ca_lifetime: Duration::from_secs(87_600 * 3600),
            leaf_lifetime: Duration::from_secs(87_600 * 3600),
            renew_before: Duration::from_secs(30 * 86_400),
        };
        Self { folder, settings }
    }

    fn load(&self) -> Result<Pki, PkiError> {
        let members = [Member { name: "node01".into(), names: vec!["10.19.0.55".into()] }];
        Pki::load_or_issue(&self.settings, "prod", &members, time::OffsetDateTime::now_utc())
    }

    fn persisted(&self) -> Pki {
        let pki = self.load().unwrap();
        pki.persist().unwrap();
        pki
    }
}

/// The secret in a key on the curve P-256 as it stands in PEM (PKCS #8, RFC 5958): the bytes 36 to 67,
/// of which the first line of base64 holds 12. What surrounds them is also in the certificate.
fn secrets(pem: &str) -> [&str; 2] {
    let lines: Vec<&str> = pem.lines().filter(|line| !line.contains("-----")).collect();
    assert_eq!(lines.iter().map(|line| line.len()).collect::<Vec<_>>(), [64, 64, 56], "no key on P-256");
    [&lines[0][48..], &lines[1][..24]]
}

/// Fails if 8 characters in a row of a key's base64, or of its bytes as numbers, are in `text`.
fn assert_clean(what: &str, text: &str, key: &str) {
    for secret in secrets(key) {
        for start in 0..=secret.len() - 8 {
            assert!(!text.contains(&secret[start..start + 8]), "{what} shows a part of a key");
        }
        let bytes: Vec<String> = secret.bytes().take(8).map(|byte| byte.to_string()).collect();
        assert!(!text.contains(&bytes.join(", ")), "{what} shows a part of a key as numbers");
    }
}

#[test]
fn a_crash_writes_no_keys_to_a_core_file() {
    let folder = tempfile::tempdir().unwrap();
    let say = "sh -c 'ulimit -S -c; ulimit -H -c' >limits; false";
    let script =
        "ulimit -S -c $(ulimit -H -c); ulimit -c >before; exec \"$0\" health -i prod.yaml --pass-command \"$1\"";
    std::fs::write(folder.path().join("prod.yaml"), "cluster: prod\nhosts: [{ name: node01, address: 192.0.2.1 }]\n")
        .unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_etcd-ha"), say]).current_dir(folder.path());
    assert_eq!(command.output().unwrap().status.code(), Some(2));
    let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    let (before, limits) = (read("before"), read("limits"));
    // What it runs has its limits: none of its own, and the hard one as it was.
    assert_eq!(limits, format!("0\n{before}"));
    if before == "0\n" {
        eprintln!("the control is missing: core files are forbidden here");
    }
}

#[test]
fn debug_output_holds_no_key() {
    let fixture = Fixture::new();
    let pki = fixture.persisted();
    let member = pki.member("node01").unwrap();
    for key in [&pki.admin().key, &member.server.key, &member.peer.key] {
        let shown = [
            format!("{key:?}"),
            format!("{key:#?}"),
            format!("{:?}", pki.admin()),
            format!("{member:?}"),
            format!("{pki:?}"),
            format!("{pki:#?}"),
        ];
        for text in shown {
            assert_clean("debug output", &text, key.expose());
            assert!(!text.contains("PRIVATE KEY"), "{text}");
        }
    }
    assert_eq!(format!("{:?}", pki.admin().key), "SecretPem(redacted)");
    let ca = std::fs::read_to_string(fixture.settings.dir.join("ca-key.pem")).unwrap();
    assert_clean("debug output", &format!("{pki:?}"), &ca);
    let input = Input::Bytes(pki.admin().key.expose().to_owned().into());
    assert_clean("the debug output of a command's input", &format!("{input:?}"), pki.admin().key.expose());
}

/// Whether a type has a `Debug` at all: the inherent constant wins where it applies.
struct Has<T>(PhantomData<T>);

trait NoDebug {
    const DEBUG: bool = false;
}

impl<T> NoDebug for T {}

impl<T: Debug> Has<T> {
    const DEBUG: bool = true;
}

#[test]
fn what_carries_keys_in_plain_has_no_debug_output() {
    // The trick itself works.
    const { assert!(Has::<SecretPem>::DEBUG) };
    const { assert!(!Has::<Access>::DEBUG) };
    const { assert!(!Has::<Wanted>::DEBUG) };
    const { assert!(!Has::<CertificateFile>::DEBUG) };
    const { assert!(!Has::<Script<'static>>::DEBUG) };
}

/// All that an error shows in one way or another.
fn shown<E: Explain>(error: E) -> String {
    let debug = format!("{error:?} {error:#?}");
    let error = Error::from(error);
    format!("{debug} {} {}", error.render(), error.line())
}

#[test]
fn errors_over_damaged_keys_hold_nothing_of_them() {
    let sound = Fixture::new();
    sound.persisted();
    let key_of = |name: &str| std::fs::read_to_string(sound.settings.dir.join(name)).unwrap();
    let (ca, leaf) = (key_of("ca-key.pem"), key_of("node01-server-key.pem"));
    let middle = ca.len() / 2;
    let mut refused = 0;
    for (what, damaged) in [
        ("cut", ca[..middle].to_owned()),
        ("without its head", ca[30..].to_owned()),
        ("with a wrong letter", format!("{}!{}", &ca[..middle], &ca[middle + 1..])),
        ("with another letter", format!("{}A{}", &ca[..middle], &ca[middle + 1..])),
        ("of another kind", ca.replace("PRIVATE KEY", "SOMETHING ELSE")),
        ("encrypted, it says", ca.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
        ("on one line", ca.replace('\n', " ")),
        ("of somebody else", leaf.clone()),
        ("twice", format!("{ca}{ca}")),
        ("with words before it", format!("Bag Attributes\n    friendlyName: x\n{}", &ca[..middle])),
    ] {
        let fixture = Fixture::new();
        fixture.persisted();
        for name in ["ca-key.pem", "ca.pem"] {
            std::fs::copy(sound.settings.dir.join(name), fixture.settings.dir.join(name)).unwrap();
        }
        std::fs::write(fixture.settings.dir.join("ca-key.pem"), &damaged).unwrap();
        if let Err(error) = fixture.load() {
            refused += 1;
            let text = shown(error);
            assert_clean(what, &text, &ca);
            assert_clean(what, &text, &leaf);
            let error = fixture.load().map(|_| ()).unwrap_err();
            assert_clean(what, &shown(TaskError::from(error)), &ca);
        }
        // A damaged leaf is made anew, and that is said without a word of the old one.
        let fixture = Fixture::new();
        fixture.persisted();
        std::fs::write(fixture.settings.dir.join("node01-server-key.pem"), &damaged).unwrap();
        match fixture.load() {
            Ok(pki) => assert_clean(what, &format!("{:?} {:?}", pki.changes(), pki.warnings()), &ca),
            Err(error) => assert_clean(what, &shown(error), &ca),
        }
    }
    assert!(refused >= 7, "only {refused} damaged keys were refused");
}

#[tokio::test]
async fn errors_over_calls_with_a_damaged_key_hold_nothing_of_it() {
    let fixture = Fixture::new();
    let pki = fixture.persisted();
    let key = pki.admin().key.expose();
    let text = "cluster: prod\nhosts:\n  - { name: node01, address: 127.0.0.1, etcd: { client_port: 1 } }\n";
    let inventory = Inventory::parse(Path::new("prod.yaml"), text, &Rules).unwrap();
    for damaged in [key.to_owned(), key[..key.len() / 2].to_owned(), key.replace("PRIVATE", "PUBLIC"), String::new()] {
        let access =
            Access { ca: pki.ca_pem().to_owned(), certificate: pki.admin().certificate.clone(), key: damaged.into() };
        let Err(error) = MemberClient::direct(&inventory.hosts[0], &access, Duration::from_secs(5)).await else {
            panic!("connected");
        };
        assert_clean("a failed call", &format!("{error} {error:?}"), key);
        let error = TaskError::Member { member: "node01".into(), source: error };
        assert_clean("a failed call", &shown(error), key);
    }
}

/// What the program writes, keeps and logs while it has certificates at hand.
#[test]
fn the_program_shows_no_key() {
    let fixture = Fixture::new();
    let pki = fixture.persisted();
    std::fs::write(
        fixture.folder.path().join("prod.yaml"),
        "cluster: prod\nhosts:\n  - { name: node01, address: 192.0.2.1, ssh: { address: 127.0.0.1, port: 1 } }\n",
    )
    .unwrap();
    for line in [
        "deploy -i prod.yaml",
        "-o json plan -i prod.yaml",
        "health -i prod.yaml",
        "-o json certs show -i prod.yaml",
        "certs show -i prod.yaml",
        "certs verify -i prod.yaml",
        "env -i prod.yaml",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_etcd-ha"))
            .args(line.split(' '))
            .current_dir(fixture.folder.path())
            .env_clear()
            .env("HOME", fixture.folder.path())
            .output()
            .unwrap();
        let text = format!("{} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.len() > 100, "{line}: {text}");
        assert_clean(line, &text, pki.admin().key.expose());
        assert!(!text.contains("PRIVATE KEY"), "{line}");
    }
    let runs = fixture.folder.path().join(".local/state/etcd-ha/prod/runs");
    let logs: Vec<_> = std::fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(logs.len(), 2);
    for log in logs {
        let text = std::fs::read_to_string(&log).unwrap();
        assert_clean("a run log", &text, pki.admin().key.expose());
        assert!(!text.contains("PRIVATE KEY"));
    }
}
