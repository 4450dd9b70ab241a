//! Host keys, judged by us and by OpenSSH's client over the same files.

use std::fs;
use std::process::Command;

use etcd_ha::error::Explain as _;
use etcd_ha::ssh::{ConfigFile, Connector, HostKeyChecking, SshError, Standing};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey, key::safe_rng};

use super::server::{Behaviour, new_key};
use super::{Fixture, installed};

/// What a client makes of a host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Unknown,
    Changed,
    Revoked,
    /// Whether the key is revoked cannot be found out.
    Undecided,
}

pub async fn our_answer(fixture: &Fixture) -> Answer {
    match fixture.connect().await {
        Ok(_) => Answer::Accepted,
        Err(SshError::HostKeyUnknown { .. }) => Answer::Unknown,
        Err(SshError::HostKeyChanged { .. }) => Answer::Changed,
        Err(SshError::HostKeyRevoked { .. }) => Answer::Revoked,
        Err(SshError::RevokedKeys { .. }) => Answer::Undecided,
        Err(error) => panic!("{error:?}"),
    }
}

/// The answer of `ssh`.
pub async fn their_answer(fixture: &Fixture) -> Answer {
    let target = &fixture.target;
    let mut command = tokio::process::Command::new("ssh");
    match &target.config {
        ConfigFile::File(path) => _ = command.arg("-F").arg(path),
        ConfigFile::Usual | ConfigFile::None => _ = command.args(["-F", "none"]),
    }
    command
        .args(["-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
        .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", target.known_hosts[0].display()))
        .arg("-i")
        .arg(&target.identity[0])
        .args(["-p", &target.port.unwrap().to_string(), &format!("ops@{}", target.address), "true"]);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Answer::Accepted
    } else if said.contains("Error checking host key") {
        Answer::Undecided
    } else if said.contains("REVOKED") || said.contains("revoked") {
        Answer::Revoked
    } else if said.contains("IDENTIFICATION HAS CHANGED") {
        Answer::Changed
    } else if said.contains("host key is known for") {
        Answer::Unknown
    } else {
        panic!("ssh says {said}")
    }
}

/// A line with its host name hashed by `ssh-keygen -H`.
pub fn hashed(fixture: &Fixture, line: &str) -> String {
    let path = fixture.path("to_hash");
    fs::write(&path, line).unwrap();
    assert!(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&path).output().unwrap().status.success());
    fs::read_to_string(&path).unwrap()
}

#[tokio::test]
async fn we_and_openssh_answer_alike() {
    use Answer::{Accepted, Changed, Revoked, Unknown};
    if !["ssh", "ssh-keygen"].into_iter().all(installed) {
        return;
    }
    let fixture = Fixture::new(Behaviour::default()).await;
    let text = |key: &PublicKey| key.to_openssh().unwrap();
    let ours = text(&fixture.server.host_keys[0]);
    let other = text(new_key().public_key());
    let ecdsa = Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP256 };
    let ecdsa = text(PrivateKey::random(&mut safe_rng(), ecdsa).unwrap().public_key());
    let host = format!("[127.0.0.1]:{}", fixture.server.address.port());
    let tabs = ours.replace(' ', "\t");
    for (file, expected) in [
        (String::new(), Unknown),
        (format!("{host} {ours}\n"), Accepted),
        (format!("{host} {ours}"), Accepted),
        (format!("{host} {ours} with a comment\r\n"), Accepted),
        (format!(" \t{host}\t{tabs}\n"), Accepted),
        (format!("#{host} {ours}\n"), Unknown),
        (format!("{host} {other}\n"), Changed),
        (format!("{host} {other}\n{host} {ours}\n"), Accepted),
        (format!("{host} {ecdsa}\n"), Changed),
        (format!("{host} {ecdsa}\n{host} {ours}\n"), Accepted),
        (hashed(&fixture, &format!("{host} {ours}\n")), Accepted),
        (hashed(&fixture, &format!("{host} {other}\n")), Changed),
        (hashed(&fixture, &format!("[127.0.0.1]:1 {ours}\n")), Unknown),
        (format!("@revoked {host} {ours}\n{host} {ours}\n"), Revoked),
        (format!("{host} {ours}\n@revoked * {ours}\n"), Revoked),
        (format!("@revoked {host} {other}\n{host} {ours}\n"), Accepted),
        (format!("@revoked {host} {other}\n"), Unknown),
        (format!("@cert-authority {host} {ours}\n"), Unknown),
        (format!("@cert-authority * {other}\n{host} {ours}\n"), Accepted),
        (format!("@nonsense {host} {ours}\n"), Unknown),
        (format!("[127.0.0.*]:* {ours}\n"), Accepted),
        (format!("[127.0.0.?]:* {ours}\n"), Accepted),
        (format!("[127.0.0.??]:* {ours}\n"), Unknown),
        (format!("* {ours}\n"), Accepted),
        (format!("[127.0.0.1]:*,!{host} {ours}\n"), Unknown),
        (format!("!{host},[127.0.0.1]:* {ours}\n"), Unknown),
        // The name without the port is not ruled out.
        (format!("*,!{host} {ours}\n"), Accepted),
        (format!("*,!10.* {ours}\n"), Accepted),
        (format!("example,{host} {ours}\n"), Accepted),
        (format!("127.0.0.1 {ours}\n"), Accepted),
        (format!("127.0.0.1 {other}\n"), Unknown),
        (format!("127.0.0.1 {ours}\n{host} {other}\n"), Changed),
        (format!("{host} ssh-ed25519 AAAAbroken\n{host}\n\n@revoked\n{host} ssh-ed25519\n"), Unknown),
        (format!("{host} ssh-rsa {}\n", ours.split(' ').nth(1).unwrap()), Unknown),
        (format!("|1|broken {ours}\n|1|a|b {ours}\n"), Unknown),
        (format!("{host} {ours}\n{host} {other}\n"), Accepted),
    ] {
        fs::write(&fixture.target.known_hosts[0], &file).unwrap();
        let ours = our_answer(&fixture).await;
        assert_eq!(their_answer(&fixture).await, ours, "ssh has the left answer for\n{file}");
        assert_eq!(ours, expected, "{file}");
    }
}

#[tokio::test]
async fn the_errors_show_fingerprints_and_lines() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let known_hosts = &fixture.target.known_hosts[0];
    let (port, file, print) = (fixture.server.address.port(), known_hosts.display(), fixture.server.fingerprint());

    fs::write(known_hosts, "# nothing\n").unwrap();
    let error = fixture.connect().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the host key of `127.0.0.1:{port}` is unknown: ssh-ed25519 {print} is in none of `{file}`")
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("`ssh-keygen -lf`") && hint.contains("`etcd-ha trust -i …`"), "{hint}");
    assert!(hint.contains("host_key_checking: accept-new"), "{hint}");
    assert!(!error.is_retryable());

    let other = new_key().public_key().clone();
    let line = format!("# a comment\n\n[127.0.0.1]:{port} {}\n", other.to_openssh().unwrap());
    fs::write(known_hosts, line).unwrap();
    let error = fixture.connect().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the host key of `127.0.0.1:{port}` has changed: it presents ssh-ed25519 {print}, but `{file}:3` has \
             ssh-ed25519 {}",
            other.fingerprint(HashAlg::Sha256)
        )
    );
    assert!(error.hint().unwrap().contains(&format!("ssh-keygen -R '[127.0.0.1]:{port}' -f {file}")));
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_host_known_by_another_type_of_key_shows_that_one() {
    let rsa = PrivateKey::random(&mut safe_rng(), Algorithm::Rsa { hash: None }).unwrap();
    let ecdsa = Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP256 };
    let host_keys = vec![new_key(), PrivateKey::random(&mut safe_rng(), ecdsa).unwrap(), rsa];
    let fixture = Fixture::new(Behaviour { host_keys, ..Behaviour::default() }).await;
    for key in &fixture.server.host_keys {
        let line = format!("[127.0.0.1]:{} {}\n", fixture.server.address.port(), key.to_openssh().unwrap());
        fs::write(&fixture.target.known_hosts[0], line).unwrap();
        fixture.connect().await.unwrap_or_else(|error| panic!("{}: {error}", key.algorithm()));
    }
}

#[tokio::test]
async fn new_keys_are_accepted_and_written_down_where_that_is_asked_for() {
    let mut fixture = Fixture::new(Behaviour::default()).await;
    let file = fixture.path("new/known_hosts");
    fixture.target.known_hosts = vec![file.clone()];
    fixture.target.host_key_checking = Some(HostKeyChecking::AcceptNew);
    let (one, two) = tokio::join!(fixture.connect(), fixture.connect());
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(fs::read_to_string(&file).unwrap(), fixture.server.known_hosts_line());

    // From now on it is known, and another key would be refused.
    fixture.target.host_key_checking = Some(HostKeyChecking::Strict);
    assert_eq!(our_answer(&fixture).await, Answer::Accepted);
    let other = new_key().public_key().to_openssh().unwrap();
    fs::write(&file, format!("[127.0.0.1]:{} {other}\n", fixture.server.address.port())).unwrap();
    fixture.target.host_key_checking = Some(HostKeyChecking::AcceptNew);
    assert_eq!(our_answer(&fixture).await, Answer::Changed);
    fixture.target.host_key_checking = Some(HostKeyChecking::Off);
    assert_eq!(our_answer(&fixture).await, Answer::Accepted);
}

#[tokio::test]
async fn openssh_finds_a_name_that_we_have_hashed() {
    if !["ssh", "ssh-keygen"].into_iter().all(installed) {
        return;
    }
    let mut fixture = Fixture::new(Behaviour::default()).await;
    let file = fixture.path("new/known_hosts");
    fixture.target.known_hosts = vec![file.clone()];
    fixture.target.host_key_checking = Some(HostKeyChecking::AcceptNew);
    fixture.configure("HashKnownHosts yes\n");
    assert_eq!(our_answer(&fixture).await, Answer::Accepted);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("127.0.0.1") && text.lines().count() == 1, "{text}");
    assert_eq!(their_answer(&fixture).await, Answer::Accepted);
    let name = format!("[127.0.0.1]:{}", fixture.server.address.port());
    let found = Command::new("ssh-keygen").args(["-F", &name, "-f"]).arg(&file).output().unwrap();
    assert!(String::from_utf8_lossy(&found.stdout).contains("found: line 1"), "{found:?}");
    // It is known from now on.
    fixture.target.host_key_checking = Some(HostKeyChecking::Strict);
    assert_eq!(our_answer(&fixture).await, Answer::Accepted);
}

#[tokio::test]
async fn a_key_is_written_down_unless_the_file_has_another_by_now() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let file = &fixture.target.known_hosts[0];
    let other = new_key().public_key().to_openssh().unwrap();
    let own = fixture.server.host_keys[0].to_openssh().unwrap();
    for (line, changed) in [(format!("[127.0.0.1]:PORT {other}\n"), true), (format!("@revoked * {own}\n"), false)] {
        fs::remove_file(file).unwrap();
        let connector = Connector::new(fixture.credentials.clone());
        let hop = connector.route(&fixture.target).await.unwrap().hop;
        let found = connector.host_key(&hop).await.unwrap();
        assert_eq!((&found.standing, &found.key.fingerprint), (&Standing::New(None), &fixture.server.fingerprint()));
        // Somebody else writes while the user thinks.
        let line = line.replace("PORT", &fixture.server.address.port().to_string());
        fs::write(file, &line).unwrap();
        let error = connector.trust(&hop, &found).unwrap_err();
        assert_eq!(matches!(error, SshError::HostKeyChanged { .. }), changed, "{error}");
        assert_eq!(matches!(error, SshError::HostKeyRevoked { .. }), !changed, "{error}");
        assert_eq!(fs::read_to_string(file).unwrap(), line);
    }
    // Nobody has logged in for that.
    assert!(fixture.server.seen.client_ids.lock().unwrap().is_empty());
}
