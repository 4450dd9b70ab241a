//! Logging in: key files, the agent, and what is said when none of them will do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_ha::error::Explain as _;
use etcd_ha::ssh::{AuthFailure, Credentials, Means, Outcome, Session, SshError, Unusable};
use russh::keys::{PrivateKey, PublicKey};

use super::server::{Behaviour, new_key};
use super::{Fixture, installed, write_key};

/// OpenSSH's agent, ended when dropped.
pub struct Agent {
    process: Child,
    pub socket: PathBuf,
}

impl Agent {
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        // The socket is in the folder before anybody listens at it.
        while UnixStream::connect(&socket).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { process, socket }
    }

    pub fn add(&self, key: &Path) {
        let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).status().unwrap();
        assert!(added.success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn public(path: &Path) -> PublicKey {
    PublicKey::from_openssh(&fs::read_to_string(path.with_extension("pub")).unwrap()).unwrap()
}

/// Makes a key pair with `ssh-keygen`.
pub fn keygen(path: &Path, kind: &[&str], passphrase: &str) -> PublicKey {
    let mut command = Command::new("ssh-keygen");
    let made = command.args(["-q", "-N", passphrase, "-C", "a comment", "-f"]).arg(path).arg("-t").args(kind).status();
    assert!(made.unwrap().success());
    public(path)
}

pub fn failure(outcome: Result<Session, SshError>) -> (AuthFailure, String, String) {
    let error = outcome.unwrap_err();
    let (text, hint) = (error.to_string(), error.hint().unwrap_or_default());
    match error {
        SshError::AuthFailed { failure, .. } => (*failure, text, hint),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_of_every_kind_log_in() {
    if !installed("ssh-keygen") {
        return;
    }
    let kinds: &[&[&str]] = &[
        &["ed25519"],
        &["rsa", "-b", "2048"],
        &["rsa", "-b", "2048", "-m", "PEM"],
        &["rsa", "-b", "2048", "-m", "PKCS8"],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "384", "-m", "PEM"],
        &["ecdsa", "-b", "521", "-m", "PKCS8"],
    ];
    let folder = tempfile::tempdir().unwrap();
    for (index, kind) in kinds.iter().enumerate() {
        let path = folder.path().join(index.to_string());
        let mut key = keygen(&path, kind, "");
        // The library cannot read one such key in 256: its number begins with a zero byte.
        while kind[..] == ["ecdsa", "-b", "256"] && PrivateKey::read_openssh_file(&path).is_err() {
            fs::remove_file(&path).unwrap();
            key = keygen(&path, kind, "");
        }
        let mut fixture = Fixture::new(Behaviour::opened_by(vec![key])).await;
        fixture.target.identity = vec![path];
        fixture.connect().await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    }
}

#[tokio::test]
async fn a_refusal_says_what_was_tried_in_order() {
    let mut fixture = Fixture::new(Behaviour::opened_by(vec![])).await;
    let (open, second) = (fixture.path("open"), fixture.path("second"));
    write_key(&open, &new_key());
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    write_key(&second, &new_key());
    fixture.target.identity = vec![fixture.path("id"), open.clone(), second.clone()];
    let (failure, text, hint) = failure(fixture.connect().await);
    let origins: Vec<_> = failure.tried.iter().map(|attempt| attempt.means.clone()).collect();
    assert_eq!(origins, [fixture.path("id"), open.clone(), second].map(Means::File));
    assert_eq!(failure.tried[0].outcome, Outcome::Refused);
    assert_eq!(failure.tried[1].outcome, Outcome::Unusable(Unusable::Permissions(0o644)));
    assert!(failure.accepted.contains(&"publickey".to_owned()), "{failure:?}");
    let port = fixture.server.address.port();
    assert!(
        text.starts_with(&format!(
            "cannot log in as `ops` on `127.0.0.1:{port}`: `{}` (ssh-ed25519 SHA256:",
            fixture.path("id").display()
        )),
        "{text}"
    );
    assert!(text.contains("its mode 0644 lets others read it"), "{text}");
    assert_eq!(hint, format!("run `chmod 600 {}`", open.display()));
}

#[tokio::test]
async fn without_any_key_the_server_is_asked_what_it_takes() {
    let mut fixture = Fixture::new(Behaviour { banner: Some("Go away\n"), ..Behaviour::default() }).await;
    fixture.target.identity.clear();
    fixture.credentials.home = Some(fixture.path("nobody"));
    let (failure, text, hint) = failure(fixture.connect().await);
    assert!(failure.tried.is_empty() && failure.accepted.contains(&"publickey".to_owned()), "{failure:?}");
    assert!(text.contains("there is no key to try") && text.ends_with("it says `Go away`"), "{text}");
    assert!(hint.contains("ssh-add"), "{hint}");
}

#[tokio::test]
async fn default_keys_are_found_in_the_home_folder() {
    let mut fixture = Fixture::new(Behaviour::default()).await;
    fixture.target.identity.clear();
    fixture.target.known_hosts.clear();
    let home = fixture.path("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    fs::rename(fixture.path("id"), home.join(".ssh/id_ed25519")).unwrap();
    fs::rename(fixture.path("known_hosts"), home.join(".ssh/known_hosts")).unwrap();
    fixture.credentials.home = Some(home);
    fixture.connect().await.unwrap();
}

#[tokio::test]
async fn a_key_with_a_passphrase_needs_the_agent() {
    if !["ssh-keygen", "ssh-agent", "ssh-add"].into_iter().all(installed) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for kind in [&["ed25519"][..], &["rsa", "-b", "2048", "-m", "PEM"]] {
        let path = folder.path().join(format!("key-{}", kind[0]));
        let key = keygen(&path, kind, "secret");
        let mut fixture = Fixture::new(Behaviour::opened_by(vec![key.clone()])).await;
        fixture.target.identity = vec![path.clone()];
        let (failed, text, hint) = failure(fixture.connect().await);
        assert_eq!(failed.tried[0].outcome, Outcome::Unusable(Unusable::Encrypted));
        assert!(text.contains("it has a passphrase and is not in the agent"), "{text}");
        assert_eq!(hint, format!("hand the key to your agent with `ssh-add {}`", path.display()));

        // The agent has it, without its passphrase and under another name.
        let agent = Agent::start(fixture.folder.path());
        let plain = fixture.path("plain");
        fs::copy(&path, &plain).unwrap();
        let opened = Command::new("ssh-keygen").args(["-q", "-p", "-P", "secret", "-N", "", "-f"]).arg(&plain).status();
        assert!(opened.unwrap().success());
        agent.add(&plain);
        fixture.credentials.agent = Some(agent.socket.clone());
        fixture.connect().await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_full_of_keys_does_not_use_up_the_tries() {
    if !["ssh-agent", "ssh-add"].into_iter().all(installed) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path());
    let mut keys = Vec::new();
    for number in 0..8 {
        let (path, key) = (folder.path().join(number.to_string()), new_key());
        write_key(&path, &key);
        agent.add(&path);
        keys.push((path, key.public_key().clone()));
    }
    let credentials = Credentials { agent: Some(agent.socket.clone()), ..Credentials::default() };

    // The right key is the seventh of the agent, and it is named, be it by its public half alone.
    let (path, key) = &keys[6];
    let mut fixture = Fixture::new(Behaviour::opened_by(vec![key.clone()])).await;
    fixture.credentials = credentials.clone();
    fixture.target.identity = vec![path.clone()];
    fixture.connect().await.unwrap();
    let half = fixture.path("half");
    fs::write(half.with_extension("pub"), key.to_openssh().unwrap()).unwrap();
    for named in [half.clone(), half.with_extension("pub")] {
        fixture.target.identity = vec![named];
        fixture.connect().await.unwrap();
    }

    // Not named: five are tried, and then we stop, before the server cuts us off.
    fixture.target.identity.clear();
    let (failed, text, hint) = failure(fixture.connect().await);
    assert_eq!((failed.tried.len(), failed.untried), (5, 3));
    assert!(text.contains("; 3 more not tried; the server accepts "), "{text}");
    assert!(hint.contains("identity"), "{hint}");

    // A server with less patience than most.
    let strict = Behaviour { max_auth_tries: Some(2), ..Behaviour::opened_by(vec![]) };
    let mut fixture = Fixture::new(strict).await;
    fixture.credentials = credentials;
    fixture.target.identity.clear();
    let (failed, ..) = failure(fixture.connect().await);
    assert!(failed.tried.len() < 5 && failed.untried > 3, "{failed:?}");
}

#[tokio::test]
async fn an_agent_that_is_gone_is_mentioned_and_harmless() {
    let mut fixture = Fixture::new(Behaviour::default()).await;
    fixture.credentials.agent = Some(fixture.path("no agent"));
    fixture.connect().await.unwrap();

    let mut fixture = Fixture::new(Behaviour::opened_by(vec![])).await;
    fixture.credentials.agent = Some(fixture.path("no agent"));
    let (_, text, _) = failure(fixture.connect().await);
    assert!(text.contains("no agent` is of no use: No such file or directory"), "{text}");
}
