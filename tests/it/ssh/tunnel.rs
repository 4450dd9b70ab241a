//! Tunnels and pipes.

use std::time::Duration;

use etcd_ha::ssh::SshError;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::Fixture;
use super::server::Behaviour;

#[tokio::test]
async fn carries_bytes_both_ways_and_outlives_the_handle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    let tunnel = session.tunnel("127.0.0.1", port).await.unwrap();
    drop(session);
    let (mut read, mut write) = tokio::io::split(tunnel);
    let data = vec![7; 3_000_000];
    let sent = data.clone();
    let (_, received) = tokio::join!(
        async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        },
        async move {
            let mut received = Vec::new();
            read.read_to_end(&mut received).await.unwrap();
            received
        }
    );
    assert!(received == data, "{} bytes came back", received.len());
    timeout(Duration::from_secs(5), echo).await.unwrap().unwrap();
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (no_tunnels, text) in [
        (false, format!("opens no tunnel to `127.0.0.1:{free}`: connect failed")),
        (true, format!("opens no tunnel to `127.0.0.1:{free}`: administratively prohibited")),
    ] {
        let fixture = Fixture::new(Behaviour { no_tunnels, ..Behaviour::default() }).await;
        let session = fixture.session().await;
        let error = session.tunnel("127.0.0.1", free).await.unwrap_err();
        assert!(matches!(error, SshError::TunnelRefused { prohibited, .. } if prohibited == no_tunnels), "{error:?}");
        assert!(error.to_string().ends_with(&text), "{error}");
    }
}

#[tokio::test]
async fn the_end_of_the_connection_is_not_the_end_of_the_stream() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    let mut pipe = session.pipe("echo begun; exec cat", false).await.unwrap();
    let mut begun = [0; 6];
    pipe.read_exact(&mut begun).await.unwrap();
    session.close().await;
    assert!(session.is_closed());
    let error = pipe.read(&mut begun).await.unwrap_err();
    assert!(error.to_string().contains("lost the connection"), "{error}");
}

#[tokio::test]
async fn a_pipe_lives_as_long_as_it_is_held() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    let mark = fixture.path("held");
    let script = format!("touch {0}; echo locked; cat > /dev/null; rm {0}", mark.display());
    let mut pipe = BufReader::new(session.pipe(&script, false).await.unwrap());
    let mut line = String::new();
    pipe.read_line(&mut line).await.unwrap();
    assert_eq!(line, "locked\n");
    assert!(mark.exists());
    pipe.shutdown().await.unwrap();
    pipe.read_line(&mut line).await.unwrap();
    assert!(!mark.exists());
}
