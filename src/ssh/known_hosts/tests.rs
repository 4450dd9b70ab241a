//! What known_hosts files say, and what is written into them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};
use russh::keys::{Algorithm, PublicKey};

use super::file::KnownFile;
use super::{KnownFiles, KnownHosts, Learnt, Verdict, glob, learn, pattern};
use crate::ssh::hop::KnownName;
use crate::ssh::route::names;

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
    KnownHosts(files.map(|(n, text)| Arc::new(KnownFile::parse(Path::new(&format!("kh{n}")), text))).collect())
}

/// What becomes of a key that is to be written down: `trusted 1`, with the line where it stands.
fn learnt(file: &Path, names: &[KnownName], hashed: bool, key: &PublicKey) -> String {
    match learn(&Learnt { file, names, hashed }, key).unwrap() {
        Verdict::Trusted(known) => format!("trusted {}", known.line),
        Verdict::Changed(known) => format!("changed {}", known.line),
        verdict => panic!("{verdict:?}"),
    }
}

fn verdict(files: &[&str], host: &str, port: u16) -> String {
    match known(files).of(&names(host, port, None, None)).check(&key(1)) {
        Verdict::Trusted(_) => "trusted".to_owned(),
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
    assert_eq!(known(&[&text]).of(&names("node01", 22, None, None)).types(), [Algorithm::Rsa { hash: None }]);
    assert_eq!(known(&[&text]).of(&names("node01", 2222, None, None)).types(), [Algorithm::Rsa { hash: None }]);
    assert_eq!(known(&[&text]).of(&names("node02", 2222, None, None)).types(), [Algorithm::Ed25519]);
    assert_eq!(known(&[&text]).of(&names("node02", 22, None, None)).types(), []);
}

#[test]
fn a_new_key_is_written_down_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/.ssh/known_hosts");
    assert_eq!(learnt(&file, &names("Node01", 22, None, None), false, &key(1)), "trusted 1");
    assert_eq!(learnt(&file, &names("node01", 22, None, None), false, &key(1)), "trusted 1");
    assert_eq!(learnt(&file, &names("node01", 22, None, None), false, &key(2)), "changed 1");
    let expected = format!("node01 {}\n", line(&key(1)));
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

    // A file that somebody edited and left without a line end.
    fs::write(&file, expected.trim_end()).unwrap();
    assert_eq!(learnt(&file, &names("node02", 2222, None, None), false, &key(2)), "trusted 2");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{expected}[node02]:2222 {}\n", line(&key(2))));
}

#[test]
fn names_are_hashed_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    assert_eq!(learnt(&file, &names("Node01", 2222, None, None), true, &key(1)), "trusted 1");
    assert_eq!(learnt(&file, &names("node01", 2222, None, None), true, &key(1)), "trusted 1");
    assert_eq!(learnt(&file, &names("node02", 2222, None, None), true, &key(1)), "trusted 2");
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("node01") && text.starts_with("|1|") && text.ends_with(&format!("= {}\n", line(&key(1)))));
    // A salt each, of the hash's own length.
    let salts: Vec<&str> = text.lines().filter_map(|line| line.split('|').nth(2)).collect();
    assert!(salts.len() == 2 && salts[0] != salts[1] && salts.iter().all(|salt| salt.len() == 28), "{text}");
    assert!(pattern::matches(text.split(' ').next().unwrap(), "[node01]:2222"));
}

#[test]
fn hosts_met_at_the_same_moment_tear_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    std::thread::scope(|scope| {
        for number in 0..32 {
            let file = &file;
            scope.spawn(move || {
                let hashed = number % 2 == 0;
                learnt(file, &names(&format!("node{number}"), 22, None, None), hashed, &key(number))
            });
        }
    });
    let known = KnownFiles::default().load(std::slice::from_ref(&file)).unwrap();
    for number in 0..32 {
        let verdict = known.of(&names(&format!("node{number}"), 22, None, None)).check(&key(number));
        assert!(matches!(verdict, Verdict::Trusted(_)), "{number}: {verdict:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 32);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    assert!(KnownFiles::default().load(&[folder.path().join("none")]).is_ok());
    assert!(KnownFiles::default().load(&[folder.path().to_path_buf()]).is_err());
}

#[test]
fn a_file_is_read_once_until_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let files = KnownFiles::default();
    let paths = [file.clone(), folder.path().join("none")];
    let names = names("node01", 22, None, None);
    let verdict = || files.load(&paths).unwrap().of(&names).check(&key(1));
    assert_eq!(verdict(), Verdict::Unknown);
    fs::write(&file, format!("node02 {}\n", line(&key(1)))).unwrap();
    assert_eq!(verdict(), Verdict::Unknown);
    assert!(Arc::ptr_eq(&files.load(&paths).unwrap().0[0], &files.load(&paths).unwrap().0[0]));
    assert_eq!(learnt(&file, &names, false, &key(1)), "trusted 2");
    assert!(matches!(verdict(), Verdict::Trusted(known) if known.line == 2));
    fs::remove_file(&file).unwrap();
    assert_eq!(verdict(), Verdict::Unknown);
}

/// A thousand hosts in one file, half of them hashed: the bound is loose, since tests share their machine.
#[test]
fn a_thousand_hosts_are_found_in_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let text: String = (0..1000)
        .map(|number| {
            let name = format!("10.0.{}.{}", number / 250, number % 250);
            let name = if number % 2 == 0 { pattern::hash(&name).unwrap() } else { name };
            format!("{name} {}\n", line(&key(1)))
        })
        .collect();
    fs::write(&file, text).unwrap();
    let files = KnownFiles::default();
    let begun = Instant::now();
    for number in 0..1000 {
        let names = names(&format!("10.0.{}.{}", number / 250, number % 250), 22, None, None);
        let known = files.load(std::slice::from_ref(&file)).unwrap().of(&names);
        assert!(matches!(known.check(&key(1)), Verdict::Trusted(known) if known.line == number + 1));
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
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
        let _ = known(&[&text]).of(&names(&host, 22, None, None)).check(&key(1));
    }
}
