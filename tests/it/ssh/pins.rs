//! Fingerprints in the inventory, and algorithms in ssh_config.

use std::borrow::Cow;
use std::fs;
use std::sync::atomic::Ordering;

use etcd_ha::error::{ExitStatus, Explain as _};
use etcd_ha::ssh::{HostKeyChecking, SshError};
use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::{Preferred, cipher, mac};

use super::server::{Behaviour, new_key};
use super::{Fixture, installed};

async fn host_with_three_keys() -> Fixture {
    let random = |algorithm| PrivateKey::random(&mut safe_rng(), algorithm).unwrap();
    let ecdsa = random(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
    let host_keys = vec![random(Algorithm::Rsa { hash: None }), new_key(), ecdsa];
    let mut fixture = Fixture::new(Behaviour { host_keys, ..Behaviour::default() }).await;
    // A folder cannot be read as a file: nobody looks into it.
    fixture.target.known_hosts = vec![fixture.folder.path().to_owned()];
    fixture
}

#[tokio::test]
async fn a_pinned_key_of_whatever_type_is_asked_for() {
    let mut fixture = host_with_three_keys().await;
    let prints: Vec<String> =
        fixture.server.host_keys.iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect();
    let wrong = new_key().public_key().fingerprint(HashAlg::Sha256).to_string();
    // The server shows, in turn, its Ed25519, ECDSA and RSA key.
    for (pins, connections) in [
        (vec![prints[1].clone()], 1),
        (vec![prints[2].clone()], 2),
        (vec![prints[0].clone()], 3),
        (vec![wrong.clone(), prints[0].clone(), prints[2].clone()], 2),
    ] {
        for checking in [HostKeyChecking::Strict, HostKeyChecking::AcceptNew, HostKeyChecking::Off] {
            fixture.target.host_key.clone_from(&pins);
            fixture.target.host_key_checking = Some(checking);
            let before = fixture.server.seen.connections.load(Ordering::SeqCst);
            fixture.session().await;
            let after = fixture.server.seen.connections.load(Ordering::SeqCst);
            assert_eq!(after - before, connections, "{pins:?}");
        }
    }
    fixture.target.host_key = vec![wrong.clone()];
    let before = fixture.server.seen.connections.load(Ordering::SeqCst);
    let error = fixture.connect().await.unwrap_err();
    // The last one only learns that there are no more.
    assert_eq!(fixture.server.seen.connections.load(Ordering::SeqCst) - before, 4);
    assert_eq!(
        error.to_string(),
        format!(
            "the host key of `127.0.0.1:{}` is not the one of the inventory: it presents ssh-ed25519 {}, \
             ecdsa-sha2-nistp256 {}, ssh-rsa {}, and pinned is {wrong}",
            fixture.server.address.port(),
            prints[1],
            prints[2],
            prints[0]
        )
    );
    assert!(error.hint().unwrap().contains("`host_key` in the inventory") && !error.is_retryable());
}

#[tokio::test]
async fn ssh_config_says_which_algorithms_will_do() {
    if !installed("ssh") {
        return;
    }
    let algorithms = Preferred {
        cipher: Cow::Borrowed(&[cipher::AES_128_CTR]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA1]),
        ..Preferred::DEFAULT
    };
    let mut fixture = Fixture::new(Behaviour { algorithms: Some(algorithms), ..Behaviour::default() }).await;
    let error = fixture.connect().await.unwrap_err();
    assert!(matches!(&error, SshError::NoCommonAlgorithm { kind: "MAC", .. }), "{error}");
    // What we would not offer of our own accord is offered to those who ask for it.
    fixture.configure("MACs hmac-sha2-256,hmac-sha1\n");
    fixture.session().await;
    fixture.configure("MACs hmac-sha1\nCiphers aes256-ctr\n");
    let error = fixture.connect().await.unwrap_err();
    let want = format!(
        "no common cipher algorithm with `127.0.0.1:{}`: it offers aes128-ctr, and here aes256-ctr would do",
        fixture.server.address.port()
    );
    assert_eq!(error.to_string(), want);
    fixture.configure("MACs umac-64@openssh.com\nCiphers aes128-ctr\n");
    let before = fixture.server.seen.connections.load(Ordering::SeqCst);
    let error = fixture.connect().await.unwrap_err();
    let want = "MACs allows umac-64@openssh.com, and known here are hmac-sha1, hmac-sha2-256, ";
    assert!(error.to_string().contains(want), "{error}");
    assert_eq!(error.exit(), ExitStatus::Usage);
    assert_eq!(fixture.server.seen.connections.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn a_restricted_type_of_host_key_is_the_one_that_is_asked_for() {
    if !installed("ssh") {
        return;
    }
    let mut fixture = host_with_three_keys().await;
    fixture.target.known_hosts = vec![fixture.path("none")];
    fixture.configure("HostKeyAlgorithms rsa-sha2-256\n");
    let error = fixture.connect().await.unwrap_err();
    assert!(matches!(&error, SshError::HostKeyUnknown { key, .. } if key.algorithm == "ssh-rsa"), "{error}");
    let rsa = &fixture.server.host_keys[0];
    let line = format!("127.0.0.1 {}\n", rsa.to_openssh().unwrap());
    fs::write(&fixture.target.known_hosts[0], line).unwrap();
    fixture.session().await;
    fixture.configure("HostKeyAlgorithms ecdsa-sha2-nistp256\n");
    let error = fixture.connect().await.unwrap_err();
    assert!(matches!(&error, SshError::HostKeyUnknown { key, .. } if key.algorithm.starts_with("ecdsa")), "{error}");
}
