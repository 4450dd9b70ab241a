//! Our side of it, through the crate's public API.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use bytes::Bytes;
use etcd_ha::ssh::{ConfigFile, Connector, Credentials, Input, Limits, Session, Target, quote};
use futures::future::join_all;

use crate::sshd::Place;

/// How the hosts are logged in to.
#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub key: PathBuf,
    pub known_hosts: PathBuf,
    pub hosts: Vec<String>,
    pub port: u16,
}

impl Login {
    async fn session(&self, host: &str) -> Session {
        let target = Target {
            port: Some(self.port),
            user: Some(self.user.clone()),
            identity: vec![self.key.clone()],
            known_hosts: vec![self.known_hosts.clone()],
            config: ConfigFile::None,
            connect_timeout: Some(Duration::from_secs(30)),
            keepalive: Some(Duration::from_secs(15)),
            ..Target::new(host, host)
        };
        Connector::new(Credentials::default()).connect(&target).await.unwrap()
    }
}

/// As the program has it.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

/// Connects, logs in, runs a command and takes its leave.
pub fn connect(login: &Login, host: &str) {
    run(async {
        let session = login.session(host).await;
        let output = session.exec("true", Input::None, &Limits::default()).await.unwrap();
        assert!(output.success(), "{output:?}");
        session.close().await;
    });
}

/// Connects to all hosts at once and uploads a file to each.
pub fn upload(login: &Login, hosts: &[String], file: &Path, to: impl Fn(&str) -> PathBuf) {
    run(join_all(hosts.iter().map(|host| {
        let command = format!("cat >{}", quote(&to(host).display().to_string()));
        async move {
            let session = login.session(host).await;
            let input = Input::File { head: Bytes::new(), path: file.to_owned(), progress: None };
            let output = session.exec(&command, input, &Limits::default()).await.unwrap();
            assert!(output.success(), "{output:?}");
            session.close().await;
        }
    })));
}

/// The most memory that a process takes that does nothing but our side of an upload.
pub fn peak_memory(login: &Login, hosts: &[String], file: &Path, place: &Place) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.arg("memory").args([&login.user, &login.port.to_string()]);
    child.args([&login.key, &login.known_hosts, file, &place.path("to-")]).args(hosts);
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    hosts.iter().for_each(|host| drop(fs::remove_file(place.path(&format!("to-{host}")))));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The other end of [`peak_memory`].
pub fn memory(words: &[String]) -> ExitCode {
    let [user, port, key, known_hosts, file, to, hosts @ ..] = words else { panic!("{words:?}") };
    let login = Login {
        user: user.clone(),
        key: key.into(),
        known_hosts: known_hosts.into(),
        hosts: hosts.to_vec(),
        port: port.parse().unwrap(),
    };
    upload(&login, hosts, Path::new(file), |host| format!("{to}{host}").into());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    let kib: u64 = peak.unwrap();
    println!("{}", kib << 10);
    ExitCode::SUCCESS
}
