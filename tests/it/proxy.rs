//! `etcd-ha proxy`, through an SSH server in this process.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::ssh::server::{Behaviour, Server, new_key};
use russh::keys::ssh_key::LineEnding;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Something in the place of a member, which says all back once it has heard the end of it.
async fn member() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.unwrap();
                stream.write_all(&heard).await.unwrap();
            });
        }
    });
    port
}

async fn echo(port: u16, data: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut heard = Vec::new();
    let (sent, _) = tokio::join!(
        async {
            let sent = write.write_all(data).await;
            let _ = write.shutdown().await;
            sent
        },
        timeout(Duration::from_secs(20), read.read_to_end(&mut heard))
    );
    // Whoever is not let through need not be able to send.
    let _ = sent;
    heard
}

async fn end(child: Child) -> (Option<i32>, String) {
    Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().await.unwrap();
    let output = timeout(Duration::from_secs(20), child.wait_with_output()).await.unwrap().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn ports_lead_to_members_as_long_as_it_runs() {
    let member = member().await;
    let neighbours = [("192.0.2.1".to_owned(), member)].into();
    let server = Server::start(Behaviour { neighbours, ..Behaviour::default() }).await;
    let closed = Server::start(Behaviour { no_tunnels: true, ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("id");
    fs::write(&identity, new_key().to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
    let known = server.known_hosts_line() + &closed.known_hosts_line();
    fs::write(folder.path().join("known_hosts"), known).unwrap();
    let inventory = format!(
        "cluster: prod\nssh: {{ identity: ./id, known_hosts: ./known_hosts, user: ops, config: none }}\nhosts:
  - {{ name: node01, address: 192.0.2.1, ssh: {{ address: 127.0.0.1, port: {} }} }}
  - {{ name: node02, address: 192.0.2.2, ssh: {{ address: 127.0.0.1, port: {} }} }}
  - {{ name: node03, address: 192.0.2.3, ssh: {{ address: 127.0.0.1, port: 3 }} }}\n",
        server.address.port(),
        closed.address.port(),
    );
    fs::write(folder.path().join("prod.yaml"), inventory).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_etcd-ha"))
        .args(["proxy", "-i", "prod.yaml", "--port", "0", "-o", "json"])
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines: Lines<BufReader<ChildStdout>> = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ports = Vec::new();
    for (name, remote, problem) in [
        ("node01", "https://192.0.2.1:2379", None),
        ("node02", "https://192.0.2.2:2379", Some("opens no tunnel to")),
        ("node03", "https://192.0.2.3:2379", Some("refused the connection")),
    ] {
        let said = timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        let port = said["port"].as_u64().unwrap();
        ports.push(u16::try_from(port).unwrap());
        assert_eq!((&said["member"], &said["remote"]), (&Value::from(name), &Value::from(remote)), "{said}");
        assert_eq!(said["local"], Value::from(format!("https://127.0.0.1:{port}")), "{said}");
        assert_eq!(said["reachable"], Value::from(problem.is_none()), "{said}");
        assert!(said["problem"].as_str().unwrap_or_default().contains(problem.unwrap_or_default()), "{said}");
    }
    // More than fits on the way, both ways, and several at once on one connection to the host.
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let all = tokio::join!(echo(ports[0], &data), echo(ports[0], b"short"), echo(ports[0], b""));
    assert!(all.0 == data, "{} bytes came back", all.0.len());
    assert_eq!((&all.1[..], &all.2[..]), (&b"short"[..], &b""[..]));
    assert_eq!(server.seen.connections.load(Ordering::SeqCst), 1);
    // A member that is not there is asked for at every connection, and the others do not mind.
    for port in [ports[1], ports[2], ports[1]] {
        assert_eq!(echo(port, b"x").await, b"");
    }
    assert_eq!(echo(ports[0], b"still").await, b"still");

    let (code, said) = end(child).await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(TcpStream::connect(("127.0.0.1", ports[0])).await.is_err(), "somebody listens yet");
}
