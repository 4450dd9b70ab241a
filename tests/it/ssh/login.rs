//! Logging in by certificates, passwords and answers to questions, and by several of these at once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use etcd_ha::ssh::{ConfigFile, Connector, Credentials, Means, Outcome, Prompt, Question, Secret, Target, Unusable};
use futures::future::BoxFuture;
use russh::MethodKind::{KeyboardInteractive, Password, PublicKey};
use zeroize::Zeroizing;

use super::agent::{Agent, failure, keygen, public};
use super::door::{Door, Round};
use super::server::{Behaviour, new_key};
use super::{Fixture, installed, write_key};

/// Somebody at a terminal who types these answers, one after another, and then nothing more.
#[derive(Default)]
struct Typist {
    answers: Mutex<Vec<&'static str>>,
    seen: Mutex<Vec<String>>,
}

impl Typist {
    fn new(answers: &[&'static str]) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.iter().rev().copied().collect()), seen: Mutex::default() })
    }

    /// What was shown: lines of a notice as they are, questions with `?` or, if the answer can be seen, `!` before them.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Prompt for Typist {
    fn ask<'a>(
        &'a self,
        notice: &'a [String],
        questions: &'a [Question],
    ) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>> {
        Box::pin(async {
            let marked = |question: &Question| format!("{}{}", if question.echo { '!' } else { '?' }, question.text);
            self.seen.lock().unwrap().extend(notice.iter().cloned().chain(questions.iter().map(marked)));
            let mut answers = self.answers.lock().unwrap();
            questions.iter().map(|_| answers.pop().map(|answer| Zeroizing::new(answer.to_owned()))).collect()
        })
    }
}

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(Zeroizing::new(text.to_owned())))
}

/// A server with this door, and somebody without a key.
async fn at(door: Door) -> Fixture {
    let mut fixture = Fixture::new(Behaviour { door, max_auth_tries: Some(20), ..Behaviour::default() }).await;
    fixture.target.identity.clear();
    fixture
}

fn heard(fixture: &Fixture) -> Vec<String> {
    fixture.server.seen.secrets.lock().unwrap().clone()
}

#[tokio::test]
async fn a_password_that_was_given_is_tried_once() {
    let door = || Door { password: Some("right"), offers: &[PublicKey, Password], ..Door::default() };
    let mut fixture = at(door()).await;
    fixture.credentials.password = secret("right");
    fixture.connect().await.unwrap();
    assert_eq!(heard(&fixture), ["password right"]);

    let mut fixture = at(door()).await;
    let typist = Typist::new(&["right"]);
    fixture.credentials =
        Credentials { password: secret("wr\u{f6}ng"), prompt: Some(typist.clone()), ..fixture.credentials };
    let (failed, text, hint) = failure(fixture.connect().await);
    assert_eq!(heard(&fixture), ["password wr\u{f6}ng"]);
    assert_eq!(failed.tried.iter().map(|attempt| &attempt.means).collect::<Vec<_>>(), [&Means::Password]);
    assert!(text.ends_with(": password refused; the server accepts publickey, password"), "{text}");
    assert!(hint.starts_with("check the password"), "{hint}");
    assert!(typist.seen().is_empty(), "{:?}", typist.seen());
    assert!(!format!("{failed:?}{:?}", fixture.credentials).contains("ng"), "{:?}", fixture.credentials);
}

#[tokio::test]
async fn a_password_is_asked_for_where_somebody_is_there() {
    let door = || Door { password: Some("right"), offers: &[Password], ..Door::default() };
    for (answers, tries, expected) in [
        (&["right"][..], 1, None),
        (&["wrong", "right"], 2, None),
        (&["a", "b", "c", "right"], 3, Some("password refused (3 times)")),
        (&["wrong", ""], 1, Some("password refused; password not answered: none was typed")),
        (&[], 0, Some("password not answered: none was typed")),
    ] {
        let mut fixture = at(door()).await;
        let typist = Typist::new(answers);
        fixture.credentials.prompt = Some(typist.clone());
        let outcome = fixture.connect().await;
        assert_eq!(heard(&fixture).len(), tries, "{answers:?}");
        assert_eq!(typist.seen()[0], "?ops@127.0.0.1's password: ");
        match expected {
            None => drop(outcome.unwrap()),
            Some(expected) => {
                let (_, text, _) = failure(outcome);
                assert!(text.contains(&format!(": {expected}; the server accepts password")), "{text}");
            }
        }
    }
    // Nobody there: nothing is tried, and the way to go on is named.
    let fixture = at(door()).await;
    let (failed, text, hint) = failure(fixture.connect().await);
    assert!(failed.tried.is_empty(), "{failed:?}");
    assert!(text.ends_with("there is no key to try; the server accepts password"), "{text}");
    assert!(hint.contains("--ask-pass"), "{hint}");
}

#[tokio::test]
async fn a_jump_host_is_not_given_the_hosts_password() {
    let bastion = at(Door { password: Some("right"), offers: &[Password], ..Door::default() }).await;
    let mut behind = at(Door { password: Some("right"), offers: &[Password], ..Door::default() }).await;
    behind.target.jump =
        Some(vec![etcd_ha::ssh::JumpHost::parse(&format!("ops@127.0.0.1:{}", bastion.server.address.port())).unwrap()]);
    let known = behind.server.known_hosts_line() + &bastion.server.known_hosts_line();
    std::fs::write(&behind.target.known_hosts[0], known).unwrap();
    behind.credentials.password = secret("right");
    let error = behind.connect().await.unwrap_err();
    assert!(heard(&bastion).is_empty() && heard(&behind).is_empty());
    let hint = etcd_ha::error::Explain::hint(&error).unwrap_or_default();
    assert!(hint.contains("jump host's password is asked for"), "{hint}");

    let typist = Typist::new(&["right"]);
    behind.credentials.prompt = Some(typist.clone());
    behind.connect().await.unwrap();
    assert_eq!(typist.seen(), ["?ops@127.0.0.1's password: "]);
}

#[tokio::test]
async fn questions_are_answered_with_the_password_or_asked() {
    let rounds = vec![Round::new("Password: ", "right")];
    let door = || Door { rounds: rounds.clone(), offers: &[Password, KeyboardInteractive], ..Door::default() };
    let mut fixture = at(door()).await;
    fixture.credentials.password = secret("right");
    fixture.connect().await.unwrap();
    assert_eq!(heard(&fixture), ["answers right"]);

    // Wrong: it is not sent a second time as a password, and not asked for.
    let mut fixture = at(door()).await;
    let typist = Typist::new(&["right"]);
    fixture.credentials.password = secret("wrong");
    fixture.credentials.prompt = Some(typist.clone());
    let (_, text, _) = failure(fixture.connect().await);
    assert_eq!(heard(&fixture), ["answers wrong"]);
    assert!(text.contains(": keyboard-interactive refused; the server accepts"), "{text}");
    assert!(typist.seen().is_empty());

    // A second factor goes to the terminal, the password does not.
    let code = Round {
        name: "Two \u{1b}[2Jfactors",
        instructions: "Look at\nyour \u{202e}phone",
        questions: vec![("Code:\n".to_owned(), true), ("PIN".to_owned(), false)],
        answers: vec!["123456", "0000"],
    };
    let both = || Door { rounds: vec![Round::new("Password: ", "right"), code.clone()], ..door() };
    let mut fixture = at(both()).await;
    let typist = Typist::new(&["123456", "0000"]);
    fixture.credentials.password = secret("right");
    fixture.credentials.prompt = Some(typist.clone());
    fixture.connect().await.unwrap();
    let seen = [
        "(ops@127.0.0.1) Two  [2Jfactors",
        "(ops@127.0.0.1) Look at",
        "(ops@127.0.0.1) your  phone",
        "!(ops@127.0.0.1) Code: ",
        "?(ops@127.0.0.1) PIN ",
    ];
    assert_eq!(typist.seen(), seen);

    // Nobody there for it: said, with what was asked.
    let mut fixture = at(both()).await;
    fixture.credentials.password = secret("right");
    let (failed, text, _) = failure(fixture.connect().await);
    assert_eq!(failed.tried[0].outcome, Outcome::Unanswered("it asked `Code:`, `PIN`".to_owned()));
    assert!(text.contains("keyboard-interactive not answered: it asked `Code:`, `PIN`"), "{text}");

    // Without a password given, all is asked; a new password is nothing to answer by itself.
    let mut fixture = at(Door { rounds: vec![Round::new("New password:", "x")], ..door() }).await;
    fixture.credentials.password = secret("right");
    failure(fixture.connect().await);
    assert_eq!(heard(&fixture), ["answers ", "password right"]);
}

#[tokio::test]
async fn a_server_that_asks_for_ever_is_given_up() {
    for (questions, answers, expected) in [
        (vec![], 10, "it asked more than 10 times"),
        (vec![("more?".to_owned(), true)], 10, "it asked more than 10 times"),
        (vec![("?".to_owned(), false); 5000], 0, "it asked 5000 questions at once"),
    ] {
        let rounds = vec![Round { questions, ..Round::default() }];
        let mut fixture = at(Door { rounds, endless: true, offers: &[KeyboardInteractive], ..Door::default() }).await;
        fixture.credentials.prompt = Some(Typist::new(&["yes"; 100]));
        let (failed, text, _) = failure(fixture.connect().await);
        assert_eq!(failed.tried[0].outcome, Outcome::Endless(expected.to_owned()));
        assert!(text.contains(&format!("keyboard-interactive given up: {expected}")), "{text}");
        assert_eq!(heard(&fixture).len(), answers);
        assert_eq!(fixture.server.seen.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn several_things_may_be_wanted() {
    let key = new_key();
    let other = new_key();
    let opens = || Some(vec![key.public_key().clone(), other.public_key().clone()]);
    let with_keys = async |door: Door| {
        let mut fixture = Fixture::new(Behaviour { door, ..Behaviour::default() }).await;
        for (name, key) in [("stranger", &new_key()), ("key", &key), ("other", &other)] {
            write_key(&fixture.path(name), key);
        }
        fixture.target.identity = ["stranger", "key", "other"].map(|name| fixture.path(name)).to_vec();
        fixture
    };
    // A key, then a password; the key before its turn is refused and has another.
    for wants in [&[PublicKey, Password][..], &[Password, PublicKey], &[PublicKey, PublicKey, Password]] {
        let mut fixture =
            with_keys(Door { authorized: opens(), password: Some("right"), wants, ..Door::default() }).await;
        fixture.credentials.password = secret("right");
        if wants[0] == Password {
            // The only key there is, shown before anybody knew what is wanted.
            fixture.target.identity = vec![fixture.path("key")];
        }
        fixture.connect().await.unwrap_or_else(|error| panic!("{wants:?}: {error}"));
        assert_eq!(heard(&fixture), ["password right"], "{wants:?}");
    }
    let rounds = vec![Round::new("Password: ", "right")];
    let door = Door { authorized: opens(), rounds, wants: &[PublicKey, KeyboardInteractive], ..Door::default() };
    let mut fixture = with_keys(door).await;
    fixture.credentials.password = secret("right");
    fixture.connect().await.unwrap();

    // Only the key is there.
    let fixture = with_keys(Door { authorized: opens(), wants: &[PublicKey, Password], ..Door::default() }).await;
    let (failed, text, hint) = failure(fixture.connect().await);
    assert_eq!(failed.tried[1].outcome, Outcome::Partial);
    assert!(text.contains("accepted, but not enough by itself; the server accepts password"), "{text}");
    assert!(hint.contains("--ask-pass"), "{hint}");
}

#[tokio::test]
async fn a_passphrase_is_asked_for_once_and_only_if_the_server_would_take_the_key() {
    if !installed("ssh-keygen") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for kind in
        [&["ed25519"][..], &["rsa", "-b", "2048"], &["rsa", "-b", "2048", "-m", "PEM"], &["ecdsa", "-m", "PKCS8"]]
    {
        let path = folder.path().join(kind.join(""));
        let key = keygen(&path, kind, "secret");
        let stranger = folder.path().join(format!("{}-stranger", kind.join("")));
        keygen(&stranger, kind, "another");
        let typist = Typist::new(&["secret"]);
        let credentials = Credentials { prompt: Some(typist.clone()), ..Credentials::default() };
        let connector = Connector::new(credentials);
        let mut fixtures = Vec::new();
        for _ in 0..3 {
            let mut fixture = Fixture::new(Behaviour::opened_by(vec![key.clone()])).await;
            fixture.target.identity = vec![stranger.clone(), path.clone()];
            fixtures.push(fixture);
        }
        let connecting = fixtures.iter().map(|fixture| connector.connect(&fixture.target));
        for outcome in futures::future::join_all(connecting).await {
            outcome.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        }
        assert_eq!(typist.seen(), [format!("?Passphrase for the key `{}`: ", path.display())], "{kind:?}");
    }
    // What hides its public half as well is opened without asking the server, after all else.
    let path = folder.path().join("hidden");
    let key = keygen(&path, &["rsa", "-b", "2048", "-m", "PEM"], "secret");
    std::fs::remove_file(path.with_extension("pub")).unwrap();
    let mut fixture = Fixture::new(Behaviour::opened_by(vec![key])).await;
    let typist = Typist::new(&["mistyped", "secret"]);
    fixture.credentials.prompt = Some(typist.clone());
    fixture.target.identity = vec![path, fixture.path("id")];
    fixture.connect().await.unwrap();
    assert_eq!(typist.seen().len(), 3);
    assert!(typist.seen()[1].contains("wrong"), "{:?}", typist.seen());
}

/// Signs a certificate for a key; `NAME-cert.pub` lies beside it then.
fn certify(authority: &Path, key: &Path, options: &[&str]) -> PathBuf {
    let mut command = Command::new("ssh-keygen");
    let made =
        command.arg("-q").arg("-s").arg(authority).args(["-I", "an id"]).args(options).arg(key.with_extension("pub"));
    assert!(made.status().unwrap().success());
    PathBuf::from(format!("{}-cert.pub", key.display()))
}

#[tokio::test]
async fn certificates_log_in_with_keys_of_files_and_of_the_agent() {
    if !["ssh-keygen", "ssh-agent", "ssh-add"].into_iter().all(installed) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca");
    let ca = keygen(&authority, &["ed25519"], "");
    let door = || Door { authorized: Some(vec![]), authority: Some(ca.clone()), ..Door::default() };
    let server = async || Fixture::new(Behaviour { door: door(), ..Behaviour::default() }).await;
    for (index, kind) in [&["ed25519"][..], &["rsa", "-b", "2048"], &["ecdsa", "-b", "384"]].into_iter().enumerate() {
        let path = folder.path().join(index.to_string());
        keygen(&path, kind, "");
        let certificate = certify(&authority, &path, &["-n", "ops"]);

        // Beside its key.
        let mut fixture = server().await;
        fixture.target.identity = vec![path.clone()];
        fixture.connect().await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));

        // Beside its key, which only the agent has.
        let agent = Agent::start(fixture.folder.path());
        let elsewhere = fixture.path("moved");
        std::fs::copy(&path, &elsewhere).unwrap();
        agent.add(&elsewhere);
        let half = fixture.path("half");
        std::fs::copy(path.with_extension("pub"), half.with_extension("pub")).unwrap();
        std::fs::copy(&certificate, fixture.path("half-cert.pub")).unwrap();
        fixture.target.identity = vec![half];
        fixture.credentials.agent = Some(agent.socket.clone());
        fixture.connect().await.unwrap_or_else(|error| panic!("{kind:?}, agent's key: {error}"));
        drop(agent);

        // In the agent, and nothing named.
        let mut fixture = server().await;
        let agent = Agent::start(fixture.folder.path());
        agent.add(&path);
        fixture.target.identity.clear();
        fixture.credentials.agent = Some(agent.socket.clone());
        fixture.connect().await.unwrap_or_else(|error| panic!("{kind:?}, agent's certificate: {error}"));
    }
}

#[tokio::test]
async fn a_certificate_that_ssh_config_names_needs_no_key_beside_it() {
    if !["ssh", "ssh-keygen"].into_iter().all(installed) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca");
    let ca = keygen(&authority, &["ed25519"], "");
    let path = folder.path().join("key");
    keygen(&path, &["ed25519"], "");
    let certificate = folder.path().join("elsewhere.pub");
    std::fs::rename(certify(&authority, &path, &["-n", "ops"]), &certificate).unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, format!("CertificateFile {}\nCertificateFile /nowhere\n", certificate.display())).unwrap();
    let door = Door { authorized: Some(vec![]), authority: Some(ca), ..Door::default() };
    let mut fixture = Fixture::new(Behaviour { door, ..Behaviour::default() }).await;
    fixture.target.identity = vec![path];
    fixture.target.config = ConfigFile::File(config);
    fixture.connect().await.unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_do_are_not_shown() {
    if !installed("ssh-keygen") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca");
    let ca = keygen(&authority, &["ed25519"], "");
    let (path, certificate) = (folder.path().join("key"), folder.path().join("key-cert.pub"));
    keygen(&path, &["ed25519"], "");
    for (options, expected, hint_has) in [
        (&["-V", "20200101:20200102"][..], "not used: it expired on 2020-01-0", "new certificate"),
        (&["-V", "20990101:20990102"], "not used: it is not valid before 20", "clock"),
        (&["-h", "-n", "node01"], "not used: it is a host's certificate, not a user's", "authorized_keys"),
    ] {
        certify(&authority, &path, options);
        let door = Door { authorized: Some(vec![]), authority: Some(ca.clone()), ..Door::default() };
        let mut fixture = Fixture::new(Behaviour { door, ..Behaviour::default() }).await;
        fixture.target.identity = vec![path.clone()];
        let (failed, text, hint) = failure(fixture.connect().await);
        assert_eq!(failed.tried.len(), 2, "{failed:?}");
        assert_eq!(failed.tried[0].means, Means::Certificate(certificate.clone()));
        assert!(text.contains("ssh-ed25519-cert-v01@openssh.com SHA256:") && text.contains("ID `an id`"), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(hint.contains(hint_has), "{hint}");
    }
    // One that lies beside its public key alone.
    certify(&authority, &path, &[]);
    std::fs::remove_file(&path).unwrap();
    let mut fixture = Fixture::new(Behaviour::opened_by(vec![])).await;
    fixture.target.identity = vec![path.clone()];
    let (failed, text, _) = failure(fixture.connect().await);
    assert_eq!(failed.tried[0].outcome, Outcome::Unusable(Unusable::NoKey));
    assert!(text.contains("neither the agent nor an identity file has its key"), "{text}");
    assert!(public(&path).to_openssh().is_ok());
}

#[tokio::test]
async fn the_time_limit_waits_for_whoever_types() {
    /// Somebody who is slow.
    struct Slow;
    impl Prompt for Slow {
        fn ask<'a>(&'a self, _: &'a [String], _: &'a [Question]) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>> {
            Box::pin(async {
                tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
                Some(vec![Zeroizing::new("right".to_owned())])
            })
        }
    }
    let mut fixture = at(Door { password: Some("right"), offers: &[Password], ..Door::default() }).await;
    fixture.credentials.prompt = Some(Arc::new(Slow));
    fixture.target = Target { connect_timeout: Some(std::time::Duration::from_secs(1)), ..fixture.target };
    fixture.connect().await.unwrap();
}
