//! What known_hosts files say, and what is written into them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};
use russh::keys::{Algorithm, PublicKey};

use super::{KnownHosts, Text, Verdict, glob, learn};

const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDRUNw3y6hnKPYNx/YekF6+MIHs/i5yjMIRetK2KefRpZqsOTg+IFagTy4Q\
    feodFU46gVgbUim4C2dIQ2GkqKSkX0bxc2flrf2uxn1+QRriZOdAHLVxMPKUjjWgR3V7qpPegvygZH6tWS/aPC3R\
    xO3mdo99mC2f24l3BSooN2sT5Q==";

fn key(number: u8) -> PublicKey {
    PublicKey::from(KeyData::Ed25519(Ed25519PublicKey([number; 32])))
}

fn line(key: &PublicKey) -> String {
    key.to_openssh().unwrap()
}

fn known(files: &[&str]) -> KnownHosts {
    let files = files.iter().enumerate();
    KnownHosts { files: files.map(|(n, text)| (PathBuf::from(format!("kh{n}")), Arc::new(Text::new(text)))).collect() }
}

fn verdict(files: &[&str], host: &str, port: u16) -> String {
    match known(files).check(host, port, &key(1)) {
        Verdict::Trusted => "trusted".to_owned(),
        Verdict::Unknown => "unknown".to_owned(),
        Verdict::Revoked(known) => format!("revoked {}:{}", known.file.display(), known.line),
        Verdict::Changed(known) => format!("changed {}:{}", known.file.display(), known.line),
    }
}

#[test]
fn what_a_file_says() {
    let (ours, other) = (line(&key(1)), line(&key(2)));
    for (text, host, port, expected) in [
        (String::new(), "node01", 22, "unknown"),
        (format!("node01 {ours}\n"), "node01", 22, "trusted"),
        (format!("node01 {ours}"), "NODE01", 22, "trusted"),
        (format!("Node01 {ours} a comment\r\n"), "node01", 22, "trusted"),
        (format!("  node01\t{}\tcomment", ours.replace(' ', "\t")), "node01", 22, "trusted"),
        (format!("# node01 {ours}\n\nnode02 {ours}"), "node01", 22, "unknown"),
        (format!("# a comment\n\n  \nnode01 {other}"), "node01", 22, "changed kh0:4"),
        (format!("node01 {other}\nnode01 {ours}"), "node01", 22, "trusted"),
        (format!("node01,10.0.0.1 {ours}"), "10.0.0.1", 22, "trusted"),
        (format!("10.0.0.* {ours}"), "10.0.0.1", 22, "trusted"),
        (format!("10.0.0.? {ours}"), "10.0.0.12", 22, "unknown"),
        (format!("10.0.0.*,!10.0.0.1 {ours}"), "10.0.0.1", 22, "unknown"),
        (format!("!10.0.0.1,10.0.0.* {ours}"), "10.0.0.2", 22, "trusted"),
        (format!("!node02 {ours}"), "node01", 22, "unknown"),
        (format!("@revoked node01 {ours}"), "node01", 22, "revoked kh0:1"),
        (format!("node01 {ours}\n@revoked * {ours}"), "node01", 22, "revoked kh0:2"),
        (format!("@revoked node01 {other}\nnode01 {ours}"), "node01", 22, "trusted"),
        (format!("@revoked node01 {other}"), "node01", 22, "unknown"),
        (format!("@cert-authority node01 {ours}"), "node01", 22, "unknown"),
        (format!("@cert-authority node01 {other}"), "node01", 22, "unknown"),
        (format!("@nonsense node01 {ours}"), "node01", 22, "unknown"),
        (format!("[node01]:2222 {ours}"), "node01", 2222, "trusted"),
        (format!("[node01]:2222 {ours}"), "node01", 22, "unknown"),
        (format!("[node01]:2222 {ours}"), "node01", 2223, "unknown"),
        (format!("node01 {ours}"), "node01", 2222, "trusted"),
        (format!("node01 {other}"), "node01", 2222, "unknown"),
        (format!("node01 {ours}\n[node01]:2222 {other}"), "node01", 2222, "changed kh0:2"),
        (format!("[node01]:* {ours}"), "node01", 2222, "trusted"),
        (format!("fd00::1 {ours}"), "fd00::1", 22, "trusted"),
        (format!("[fd00::1]:2222 {ours}"), "FD00::1", 2222, "trusted"),
        (format!("node01 {RSA}"), "node01", 22, "changed kh0:1"),
        (format!("node01 {RSA}\nnode01 {other}"), "node01", 22, "changed kh0:2"),
        ("node01 ssh-ed25519 AAAAbroken\nnode01\nnode01 ssh-ed25519\n@revoked".to_owned(), "node01", 22, "unknown"),
        (format!("node01 ssh-rsa {}", ours.split(' ').nth(1).unwrap()), "node01", 22, "unknown"),
        (format!("|1|broken {ours}\n|1|a|b {ours}\n|2|x|y {ours}"), "node01", 22, "unknown"),
    ] {
        assert_eq!(verdict(&[&text], host, port), expected, "{text:?} {host}:{port}");
    }
}

#[test]
fn hashed_names() {
    // HMAC-SHA1, as `ssh-keygen -H` writes it: for `node01` and for `[node01]:2222`.
    let ours = line(&key(1));
    let text = format!(
        "|1|{}|{} {ours}\n|1|{}|{} {ours}\n",
        "AAECAwQFBgcICQoLDA0ODxAREhM=",
        "JsP6xfMbTy4xbQzYCGJ3l2URm2s=",
        "AAECAwQFBgcICQoLDA0ODxAREhM=",
        "ys9rVTaJ3yYNICWx8uYNCQPBc0I=",
    );
    for (host, port, expected) in [("node01", 22, "trusted"), ("node01", 2222, "trusted"), ("node02", 22, "unknown")] {
        assert_eq!(verdict(&[&text], host, port), expected, "{host}:{port}");
    }
}

#[test]
fn several_files_count_together() {
    let (ours, other) = (format!("node01 {}", line(&key(1))), format!("node01 {}", line(&key(2))));
    assert_eq!(verdict(&["", &ours], "node01", 22), "trusted");
    assert_eq!(verdict(&[&other, &ours], "node01", 22), "trusted");
    assert_eq!(verdict(&["\n", &format!("#\n{other}")], "node01", 22), "changed kh1:2");
    assert_eq!(verdict(&[&ours, &format!("@revoked {ours}")], "node01", 22), "revoked kh1:1");
}

#[test]
fn the_types_on_file() {
    let text = format!("node01 {RSA}\n@revoked node01 {}\n[node02]:2222 {}", line(&key(1)), line(&key(1)));
    assert_eq!(known(&[&text]).algorithms("node01", 22), [Algorithm::Rsa { hash: None }]);
    assert_eq!(known(&[&text]).algorithms("node01", 2222), [Algorithm::Rsa { hash: None }]);
    assert_eq!(known(&[&text]).algorithms("node02", 2222), [Algorithm::Ed25519]);
    assert_eq!(known(&[&text]).algorithms("node02", 22), []);
}

#[test]
fn a_new_key_is_written_down_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/.ssh/known_hosts");
    assert_eq!(learn(&file, "Node01", 22, &key(1)).unwrap(), Verdict::Trusted);
    assert_eq!(learn(&file, "node01", 22, &key(1)).unwrap(), Verdict::Trusted);
    assert!(matches!(learn(&file, "node01", 22, &key(2)).unwrap(), Verdict::Changed(_)));
    let expected = format!("node01 {}\n", line(&key(1)));
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

    // A file that somebody edited and left without a line end.
    fs::write(&file, expected.trim_end()).unwrap();
    learn(&file, "node02", 2222, &key(2)).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{expected}[node02]:2222 {}\n", line(&key(2))));
}

#[test]
fn hosts_met_at_the_same_moment_tear_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    std::thread::scope(|scope| {
        for number in 0..32 {
            let file = &file;
            scope.spawn(move || learn(file, &format!("node{number}"), 22, &key(number)).unwrap());
        }
    });
    let known = KnownHosts::load(std::slice::from_ref(&file)).unwrap();
    for number in 0..32 {
        assert_eq!(known.check(&format!("node{number}"), 22, &key(number)), Verdict::Trusted);
    }
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 32);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    assert!(KnownHosts::load(&[folder.path().join("none")]).is_ok());
    assert!(KnownHosts::load(&[folder.path().to_path_buf()]).is_err());
}

/// The definition of a pattern, without thought for time.
fn glob_by_definition(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            glob_by_definition(rest, name) || (!name.is_empty() && glob_by_definition(pattern, &name[1..]))
        }
        ([b'?', pattern @ ..], [_, name @ ..]) => glob_by_definition(pattern, name),
        ([a, pattern @ ..], [b, name @ ..]) => a.eq_ignore_ascii_case(b) && glob_by_definition(pattern, name),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn patterns_match_as_defined(pattern in "[ab*?]{0,8}", name in "[abAB]{0,8}") {
        let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
        prop_assert_eq!(glob(pattern, name), glob_by_definition(pattern, name));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", host in "\\PC{0,20}") {
        let _ = known(&[&text]).check(&host, 22, &key(1));
    }
}
