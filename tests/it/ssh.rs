//! SSH against a server in this process, and against OpenSSH's own programs where they are installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod agent;
mod connect;
mod door;
mod exec;
mod host_certificates;
mod known_hosts;
mod login;
mod pins;
mod route;
mod security_key;
pub mod server;
mod tunnel;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_ha::ssh::{ConfigFile, Connector, Credentials, Session, SshError, Target};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use tempfile::TempDir;

use server::{Behaviour, Line, Server, new_key};

/// A server, and a folder with what is needed to log in there.
struct Fixture {
    server: Server,
    folder: TempDir,
    target: Target,
    credentials: Credentials,
}

impl Fixture {
    async fn new(behaviour: Behaviour) -> Self {
        let server = Server::start(behaviour).await;
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("id");
        write_key(&identity, &new_key());
        let known_hosts = folder.path().join("known_hosts");
        fs::write(&known_hosts, server.known_hosts_line()).unwrap();
        let target = Target {
            port: Some(server.address.port()),
            user: Some("ops".to_owned()),
            identity: vec![identity],
            known_hosts: vec![known_hosts],
            config: ConfigFile::None,
            keepalive: Some(Duration::from_secs(15)),
            ..Target::new("127.0.0.1", "127.0.0.1")
        };
        Self { server, folder, target, credentials: Credentials::default() }
    }

    async fn connect(&self) -> Result<Session, SshError> {
        self.connect_to(&self.target).await
    }

    async fn connect_to(&self, target: &Target) -> Result<Session, SshError> {
        Connector::new(self.credentials.clone()).connect(target).await
    }

    async fn session(&self) -> Session {
        self.connect().await.unwrap()
    }

    /// The target at the other end of `line`; its host key is known there.
    fn target_over(&self, line: &Line) -> Target {
        let target = Target { port: Some(line.address.port()), ..self.target.clone() };
        let (direct, over) = (self.server.address.port().to_string(), line.address.port().to_string());
        let known = self.server.known_hosts_line().replace(&direct, &over);
        fs::write(&target.known_hosts[0], known).unwrap();
        target
    }

    /// Has the host reached by an ssh_config that says this.
    fn configure(&mut self, text: &str) {
        let path = self.path("ssh_config");
        fs::write(&path, text).unwrap();
        self.target.config = ConfigFile::File(path);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn write_key(path: &Path, key: &PrivateKey) {
    fs::write(path, key.to_openssh(LineEnding::LF).unwrap()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Whether a program is installed; says so where a test is left out for want of it.
fn installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()));
    if !found {
        eprintln!("left out: no {program} here");
    }
    found
}
