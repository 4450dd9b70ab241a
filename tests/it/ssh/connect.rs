//! Reaching a server: every way in which that fails has its own words.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use etcd_ha::error::Explain as _;
use etcd_ha::ssh::{HostKeyChecking, Input, Limits, SshError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::Fixture;
use super::server::Behaviour;

/// A listener that says `words` to whoever comes, and then nothing; or closes, if told to.
async fn speaker(words: &'static str, close: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(words.as_bytes()).await.unwrap();
            if !close {
                held.push(stream);
            }
        }
    });
    port
}

#[tokio::test]
async fn each_cause_has_its_own_words() {
    let mut fixture = Fixture::new(Behaviour::default()).await;
    fixture.target.connect_timeout = Some(Duration::from_millis(500));
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (port, expected) in [
        (free, "refused the connection"),
        (speaker("", false).await, "took the connection, but sent no SSH banner within 0.5 s"),
        (speaker("SSH-2.0-Frozen_1.0\r\n", false).await, "did not finish the key exchange within 0.5 s"),
        (
            speaker(&"220 mail.example ESMTP\r\n".repeat(30).leak()[..], false).await,
            "does not speak SSH, saying `220 mail.example ESMTP`",
        ),
    ] {
        fixture.target.port = Some(port);
        let error = fixture.connect().await.unwrap_err();
        assert_eq!(error.to_string(), format!("`127.0.0.1:{port}` {expected}"));
        assert!(error.hint().is_some() && !error.is_retryable(), "{error:?}");
    }
    // Addresses for documentation (RFC 5737): no answer, or no route, depending on the network.
    fixture.target.ssh_address = Some("192.0.2.1".to_owned());
    let error = fixture.connect().await.unwrap_err();
    assert!(
        matches!(
            error,
            SshError::TcpTimeout { .. }
                | SshError::NoRoute { .. }
                | SshError::Refused { .. }
                | SshError::Connect { .. }
        ),
        "{error:?}"
    );
    fixture.target.ssh_address = Some("x".repeat(300));
    let error = fixture.connect().await.unwrap_err();
    assert!(matches!(error, SshError::Resolve { .. }), "{error:?}");
}

#[tokio::test]
async fn being_turned_away_at_first_is_no_failure() {
    let turn_away = (3, "Exceeded MaxStartups\r\n");
    let fixture = Fixture::new(Behaviour { turn_away, ..Behaviour::default() }).await;
    let output = fixture.session().await.exec("echo in", Input::None, &Limits::default()).await.unwrap();
    assert_eq!(output.stdout, b"in\n");
    assert_eq!(fixture.server.seen.connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn being_turned_away_for_good_is_one() {
    let turn_away = (1000, "Exceeded MaxStartups\r\n");
    let fixture = Fixture::new(Behaviour { turn_away, ..Behaviour::default() }).await;
    let started = Instant::now();
    let error = fixture.connect().await.unwrap_err();
    let port = fixture.server.address.port();
    assert_eq!(
        error.to_string(),
        format!("`127.0.0.1:{port}` closed the connection before log-in, saying `Exceeded MaxStartups`")
    );
    assert!(error.is_retryable());
    assert_eq!(fixture.server.seen.connections.load(Ordering::SeqCst), 6);
    assert!(started.elapsed() > Duration::from_secs(2) && started.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn noise_around_the_log_in_is_not_output() {
    let fixture = Fixture::new(Behaviour {
        noise: "Welcome to this fine host\r\nAll is logged\r\n",
        banner: Some("Authorized use only\nSSH-2.0-not really\n"),
        ..Behaviour::default()
    })
    .await;
    let output = fixture.session().await.exec("echo out", Input::None, &Limits::default()).await.unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b""[..]));
}

#[tokio::test]
async fn a_named_key_file_that_is_missing_is_found_before_anything_is_sent() {
    let mut fixture = Fixture::new(Behaviour::default()).await;
    fixture.target.identity.push(fixture.path("missing"));
    let error = fixture.connect().await.unwrap_err();
    assert!(matches!(&error, SshError::KeyFile { path, .. } if *path == fixture.path("missing")), "{error:?}");
    assert_eq!(error.exit(), etcd_ha::error::ExitStatus::Usage);
    assert_eq!(fixture.server.seen.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn closing_is_prompt_and_final() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    assert!(!session.is_closed());
    assert_eq!(session.peer().to_string(), format!("127.0.0.1:{}", fixture.server.address.port()));
    let started = Instant::now();
    session.close().await;
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    assert!(session.is_closed());
    session.close().await;
}

#[tokio::test]
async fn a_name_is_reported_with_its_address() {
    let mut fixture = Fixture::new(Behaviour::default()).await;
    fixture.target.ssh_address = Some("localhost".to_owned());
    fixture.target.host_key_checking = Some(HostKeyChecking::Off);
    let session = fixture.session().await;
    assert_eq!(session.peer().to_string(), format!("localhost:{} (127.0.0.1)", fixture.server.address.port()));
}
