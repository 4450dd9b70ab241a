//! Logging in, in ssh's order: certificates and keys, answers to the server's questions, a password.
//!
//! Whatever the order says, the server decides what it takes; when it has taken one thing and wants another on top
//! (AuthenticationMethods of sshd_config(5)), what it then takes is gone through anew.

mod agent;
mod certificate;
mod hint;
mod interactive;
mod order;
mod publickey;
mod signer;
mod unlock;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use russh::client::Handle;
use russh::{MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::client::Client;
use super::error::SshError;
use super::facts::{Attempt, AuthFailure, Means, Outcome};
use super::hop::{AgentSocket, Login, Method};
use super::keys::{DEFAULT_NAMES, KeyFile};
use super::prompt::{Patience, Prompt, Secret};
use agent::Agent;
use certificate::CertificateFile;
pub(super) use hint::hint;
use order::Candidate;
pub(super) use unlock::Unlocked;

/// How often a server may say that what it took was not enough. There are not so many ways to log in.
const MAX_PARTIAL: usize = 8;

/// What this machine holds for logging in to others.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The home folder: `.ssh` in it has the default keys and known hosts.
    pub home: Option<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// The password for the inventory's hosts. Jump hosts are not given it: who gives a password for the cluster's hosts
    /// has not said that a bastion, which may be somebody else's, is to see it.
    pub password: Option<Secret>,
    /// Who asks for passphrases and passwords; none where there is nobody to ask.
    pub prompt: Option<Arc<dyn Prompt>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { home, agent, password, prompt } = self;
        let (password, prompt) = (password.is_some(), prompt.is_some());
        f.debug_struct("Credentials")
            .field("home", home)
            .field("agent", agent)
            .field("password", &password)
            .field("prompt", &prompt)
            .finish()
    }
}

impl Credentials {
    /// The home folder and `SSH_AUTH_SOCK` of this process.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            agent: std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from),
            password: None,
            prompt: None,
        }
    }

    /// Reads the key files, those asked for by name or else the default ones that exist, and the certificates named or
    /// beside them. What only ssh_config names need not be there, as for OpenSSH.
    pub(super) fn keys(&self, login: &Login) -> Result<Keys, SshError> {
        let named = &login.identity;
        let files: Vec<KeyFile> = if login.identity_is_required {
            let load =
                |path: &PathBuf| KeyFile::load(path).map_err(|source| SshError::KeyFile { path: path.clone(), source });
            named.iter().map(load).collect::<Result<_, _>>()?
        } else if !named.is_empty() {
            named.iter().filter_map(|path| KeyFile::load(path).ok()).collect()
        } else if let Some(home) = &self.home {
            DEFAULT_NAMES.iter().filter_map(|name| KeyFile::load(&home.join(".ssh").join(name)).ok()).collect()
        } else {
            Vec::new()
        };
        let certificates = CertificateFile::all(&login.certificates, files.iter().map(|file| file.path.as_path()));
        Ok(Keys { files, certificates })
    }
}

/// The files to log in with.
pub(super) struct Keys {
    files: Vec<KeyFile>,
    certificates: Vec<CertificateFile>,
}

/// What a log-in may draw on beside the files.
pub(super) struct Resources<'a> {
    pub(super) agent: Option<&'a Path>,
    /// The password that was given, if it is for this machine.
    pub(super) password: Option<&'a Secret>,
    pub(super) prompt: Option<&'a dyn Prompt>,
    pub(super) unlocked: &'a Unlocked,
    /// What questions call the machine.
    pub(super) name: &'a str,
    /// Whether it is a jump host.
    pub(super) jump: bool,
    /// The password that was typed last and not yet answered: a server may have closed the connection meanwhile.
    pub(super) typed: &'a Mutex<Option<Zeroizing<String>>>,
}

/// Logs in on a fresh connection. The error's inside is boxed by the caller, who knows the host.
pub(super) async fn log_in(
    handle: &mut Handle<Client>,
    user: &str,
    how: &Login,
    keys: &Keys,
    resources: &Resources<'_>,
    patience: &Patience,
) -> Result<(), Refusal> {
    let mut remark = None;
    let socket = match &how.agent {
        AgentSocket::Environment => resources.agent,
        AgentSocket::Path(path) => Some(path.as_path()),
        AgentSocket::None => None,
    };
    let agent = match socket {
        Some(path) if how.methods.contains(&Method::PublicKey) => {
            Agent::open(path, handle).await.map_err(|why| remark = Some(why)).ok()
        }
        _ => None,
    };
    let candidates = publickey::candidates(how, keys, agent.as_ref());
    let mut login = LogIn {
        handle,
        user,
        how,
        keys,
        resources,
        patience,
        agent,
        candidates,
        accepted: None,
        tried: Vec::new(),
        refused: Vec::new(),
        taken: Vec::new(),
        refusals: 0,
        untried: 0,
        mistyped: 0,
        given_is_wrong: false,
    };
    match login.run().await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal { failure: login.failure(remark), gone: false }),
        Err(Gone) => Err(Refusal { failure: login.failure(remark), gone: true }),
    }
}

/// A log-in that failed, and whether the server closed the connection meanwhile.
pub(super) struct Refusal {
    pub(super) failure: AuthFailure,
    pub(super) gone: bool,
}

/// The connection ended in the midst of it.
struct Gone;

/// How far a method has led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// We are in.
    In,
    /// The server wants something else on top.
    Partial,
    /// There is nothing more to try by this method.
    Exhausted,
}

struct LogIn<'a> {
    handle: &'a mut Handle<Client>,
    user: &'a str,
    how: &'a Login,
    keys: &'a Keys,
    resources: &'a Resources<'a>,
    patience: &'a Patience,
    agent: Option<Agent>,
    /// The keys in the order in which they are tried.
    candidates: Vec<Candidate>,
    /// What the server would take, as of its last answer.
    accepted: Option<MethodSet>,
    tried: Vec<Attempt>,
    /// The keys and certificates that the server has refused since it took something last.
    refused: Vec<Vec<u8>>,
    /// Those that it has taken.
    taken: Vec<Vec<u8>>,
    /// How often it has refused a key.
    refusals: usize,
    /// How many keys had no turn.
    untried: usize,
    /// How often a password was typed that the server refused.
    mistyped: u32,
    /// Whether the server has refused the password that was given.
    given_is_wrong: bool,
}

impl LogIn<'_> {
    /// Goes through the methods until one leads in or none is left.
    async fn run(&mut self) -> Result<bool, Gone> {
        for _ in 0..MAX_PARTIAL {
            match self.round().await? {
                Step::In => return Ok(true),
                Step::Partial => {}
                Step::Exhausted => break,
            }
        }
        // Nothing has made the server say what it takes.
        Ok(self.accepted.is_none() && self.ask_for_methods().await?)
    }

    async fn round(&mut self) -> Result<Step, Gone> {
        for method in &self.how.methods {
            // A key is shown straight away, which spares a round trip; for the rest it is worth knowing first.
            if *method != Method::PublicKey && self.accepted.is_none() && self.ask_for_methods().await? {
                return Ok(Step::In);
            }
            if !self.takes(*method) {
                continue;
            }
            let step = match method {
                Method::PublicKey => self.public_keys().await?,
                Method::KeyboardInteractive => self.keyboard_interactive().await?,
                Method::Password => self.password().await?,
            };
            if step != Step::Exhausted {
                return Ok(step);
            }
        }
        Ok(Step::Exhausted)
    }

    /// Whether the server takes a method, as far as is known.
    fn takes(&self, method: Method) -> bool {
        let kind = match method {
            Method::PublicKey => MethodKind::PublicKey,
            Method::KeyboardInteractive => MethodKind::KeyboardInteractive,
            Method::Password => MethodKind::Password,
        };
        self.accepted.as_ref().is_none_or(|accepted| accepted.contains(&kind))
    }

    /// Asks without any credential (RFC 4252, 5.2). True if the server wants none.
    async fn ask_for_methods(&mut self) -> Result<bool, Gone> {
        match self.handle.authenticate_none(self.user).await {
            Ok(russh::client::AuthResult::Success) => Ok(true),
            Ok(russh::client::AuthResult::Failure { remaining_methods, partial_success }) => {
                self.heard(&remaining_methods, partial_success)?;
                Ok(false)
            }
            Err(_) => Err(Gone),
        }
    }

    /// Notes what the server takes now.
    fn heard(&mut self, remaining: &MethodSet, partial: bool) -> Result<(), Gone> {
        if partial {
            // What was refused may do now: it may have come before its turn.
            self.refused.clear();
        }
        // The library reports the end of the connection as a refusal, too.
        if self.handle.is_closed() {
            return Err(Gone);
        }
        self.accepted = Some(remaining.clone());
        Ok(())
    }

    fn note(&mut self, means: Means, key: Option<String>, outcome: Outcome) {
        self.tried.push(Attempt { means, key, outcome });
    }

    /// Notes that the server refused something, or took it and wants more.
    fn answered(
        &mut self,
        means: Means,
        key: Option<String>,
        remaining: &MethodSet,
        partial: bool,
    ) -> Result<Step, Gone> {
        self.note(means, key, if partial { Outcome::Partial } else { Outcome::Refused });
        self.heard(remaining, partial)?;
        Ok(if partial { Step::Partial } else { Step::Exhausted })
    }

    fn failure(self, remark: Option<String>) -> AuthFailure {
        let names = |methods: MethodSet| methods.iter().map(String::from).collect();
        AuthFailure {
            user: self.user.to_owned(),
            tried: self.tried,
            untried: self.untried,
            accepted: self.accepted.map_or_else(Vec::new, names),
            remark,
            jump: self.resources.jump,
        }
    }
}
