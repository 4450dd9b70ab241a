//! Logging in: which keys, in which order, and what became of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use russh::MethodSet;
use russh::client::{AuthResult as Answer, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey};
use tokio::net::UnixStream;

use super::client::Client;
use super::error::SshError;
use super::facts::{Attempt, AuthFailure, KeyOrigin, Outcome};
use super::hop::{AgentSocket, Login};
use super::keys::{DEFAULT_NAMES, KeyFile};
use super::known_hosts::fingerprint;
use super::wire::printable;

/// How many keys the server is shown. sshd ends the connection at the sixth refusal (MaxAuthTries).
const MAX_TRIES: usize = 5;

/// What this machine holds for logging in to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The home folder: `.ssh` in it has the default keys and known hosts.
    pub home: Option<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
}

impl Credentials {
    /// The home folder and `SSH_AUTH_SOCK` of this process.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            agent: std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from),
        }
    }

    /// Reads the key files: those asked for by name, or else the default ones that exist. One that only ssh_config
    /// names need not be there, as for OpenSSH.
    pub(super) fn key_files(&self, login: &Login) -> Result<Vec<KeyFile>, SshError> {
        let named = &login.identity;
        if login.identity_is_required {
            let load =
                |path: &PathBuf| KeyFile::load(path).map_err(|source| SshError::KeyFile { path: path.clone(), source });
            return named.iter().map(load).collect();
        }
        if !named.is_empty() {
            return Ok(named.iter().filter_map(|path| KeyFile::load(path).ok()).collect());
        }
        let Some(home) = &self.home else {
            return Ok(Vec::new());
        };
        let files = DEFAULT_NAMES.iter().map(|name| KeyFile::load(&home.join(".ssh").join(name)));
        Ok(files.filter_map(Result::ok).collect())
    }
}

/// A key that may be tried, by its place in the list it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Candidate {
    Agent(usize),
    File(usize),
}

/// The order in which keys are tried, as OpenSSH has it: the agent's copies of the files' keys come
/// first. Files that were asked for by name then come before the agent's other keys, since an agent
/// full of keys must not use up the tries; default files come after them.
fn order(named: bool, files: &[Option<PublicKey>], agent: &[PublicKey]) -> Vec<Candidate> {
    let in_agent = |file: &Option<PublicKey>| {
        let file = file.as_ref()?;
        agent.iter().position(|key| key.key_data() == file.key_data())
    };
    let mut order: Vec<Candidate> = files.iter().filter_map(in_agent).map(Candidate::Agent).collect();
    order.dedup();
    let others: Vec<Candidate> =
        (0..agent.len()).map(Candidate::Agent).filter(|candidate| !order.contains(candidate)).collect();
    let files = (0..files.len()).map(Candidate::File);
    if named {
        order.extend(files.chain(others));
    } else {
        order.extend(others.into_iter().chain(files));
    }
    order
}

/// The agent, and the keys that it holds.
struct Agent {
    client: AgentClient<UnixStream>,
    keys: Vec<(PublicKey, String)>,
}

impl Agent {
    async fn open(path: &PathBuf, handle: &Handle<Client>) -> Result<Self, String> {
        let why = |why: String| format!("the agent at `{}` is of no use: {why}", path.display());
        let stream = UnixStream::connect(path).await.map_err(|error: io::Error| why(error.to_string()))?;
        let mut client = AgentClient::connect(stream);
        // Keys that may only go to certain hosts are shown once the agent knows which host this is;
        // older agents know nothing of that and refuse, to no harm.
        if let Some(binding) = handle.agent_session_binding() {
            let _ = client.bind_session(binding, false).await;
        }
        let identities = client.request_identities().await.map_err(|error| why(error.to_string()))?;
        let keys = identities.into_iter().filter_map(|identity| match identity {
            AgentIdentity::PublicKey { key, comment } => Some((key, printable(&comment))),
            AgentIdentity::Certificate { .. } => None,
        });
        Ok(Self { client, keys: keys.collect() })
    }
}

/// Logs in on a fresh connection. The error's inside is boxed by the caller, who knows the host.
pub(super) async fn log_in(
    handle: &mut Handle<Client>,
    user: &str,
    how: &Login,
    files: &[KeyFile],
    credentials: &Credentials,
) -> Result<(), Refusal> {
    let mut remark = None;
    let socket = match &how.agent {
        AgentSocket::Environment => credentials.agent.as_ref(),
        AgentSocket::Path(path) => Some(path),
        AgentSocket::None => None,
    };
    let agent = match socket {
        Some(path) => Agent::open(path, handle).await.map_err(|why| remark = Some(why)).ok(),
        None => None,
    };
    let agent_keys: Vec<PublicKey> = agent.iter().flat_map(|agent| &agent.keys).map(|(key, _)| key.clone()).collect();
    let file_keys: Vec<Option<PublicKey>> = files.iter().map(|file| file.public.clone()).collect();
    let mut login = LogIn { handle, user, agent, accepted: None, tried: Vec::new(), shown: Vec::new() };
    let order = order(!how.identity.is_empty(), &file_keys, &agent_keys);
    for (index, candidate) in order.iter().enumerate() {
        if login.shown.len() == MAX_TRIES {
            return Err(login.refusal(order.len() - index, remark));
        }
        let accepted = match candidate {
            Candidate::Agent(key) => login.try_agent(*key).await,
            Candidate::File(file) => login.try_file(&files[*file]).await,
        };
        match accepted {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Gone) => return Err(login.refusal(order.len() - index - 1, remark).gone()),
        }
    }
    if login.accepted.is_none() {
        login.ask_for_methods().await;
    }
    Err(login.refusal(0, remark))
}

/// A log-in that failed, and whether the server closed the connection meanwhile.
pub(super) struct Refusal {
    pub(super) failure: AuthFailure,
    pub(super) gone: bool,
}

impl Refusal {
    fn gone(self) -> Self {
        Self { gone: true, ..self }
    }
}

/// The connection ended in the midst of it.
struct Gone;

struct LogIn<'a> {
    handle: &'a mut Handle<Client>,
    user: &'a str,
    agent: Option<Agent>,
    /// What the server would take, as of its last answer.
    accepted: Option<MethodSet>,
    tried: Vec<Attempt>,
    /// The keys that the server has answered for.
    shown: Vec<PublicKey>,
}

impl LogIn<'_> {
    async fn try_agent(&mut self, index: usize) -> Result<bool, Gone> {
        let Some(agent) = &mut self.agent else {
            return Ok(false);
        };
        let Some((key, comment)) = agent.keys.get(index).cloned() else {
            return Ok(false);
        };
        let origin = KeyOrigin::Agent(comment);
        let hash = match key.algorithm().is_rsa() {
            true => rsa_hash(self.handle).await,
            false => None,
        };
        let answer = self.handle.authenticate_publickey_with(self.user, key.clone(), hash, &mut agent.client).await;
        match answer {
            Ok(answer) => self.note(origin, key, &answer),
            Err(_) if self.handle.is_closed() => Err(Gone),
            Err(error) => {
                // The key's file, if there is one, still has its turn.
                let outcome = Outcome::NotSigned(error.to_string());
                self.tried.push(Attempt { origin, key: Some(describe(&key)), outcome });
                Ok(false)
            }
        }
    }

    async fn try_file(&mut self, file: &KeyFile) -> Result<bool, Gone> {
        if file.public.as_ref().is_some_and(|public| self.was_shown(public)) {
            return Ok(false);
        }
        let origin = KeyOrigin::File(file.path.clone());
        let private = match &file.private {
            Ok(private) => private.clone(),
            Err(why) => {
                let key = file.public.as_ref().map(describe);
                self.tried.push(Attempt { origin, key, outcome: Outcome::Unusable(why.clone()) });
                return Ok(false);
            }
        };
        let hash = match private.algorithm().is_rsa() {
            true => rsa_hash(self.handle).await,
            false => None,
        };
        let public = private.public_key().clone();
        let key = PrivateKeyWithHashAlg::new(Arc::new(private), hash);
        match self.handle.authenticate_publickey(self.user, key).await {
            Ok(answer) => self.note(origin, public, &answer),
            Err(_) => Err(Gone),
        }
    }

    fn was_shown(&self, key: &PublicKey) -> bool {
        self.shown.iter().any(|shown| shown.key_data() == key.key_data())
    }

    fn note(&mut self, origin: KeyOrigin, key: PublicKey, answer: &Answer) -> Result<bool, Gone> {
        let Answer::Failure { remaining_methods, partial_success } = answer else {
            return Ok(true);
        };
        let outcome = if *partial_success { Outcome::Partial } else { Outcome::Refused };
        self.tried.push(Attempt { origin, key: Some(describe(&key)), outcome });
        self.shown.push(key);
        // The library reports the end of the connection as a refusal, too.
        if self.handle.is_closed() {
            return Err(Gone);
        }
        self.accepted = Some(remaining_methods.clone());
        Ok(false)
    }

    /// Asks without any key (RFC 4252, 5.2), when no key has made the server say what it takes.
    async fn ask_for_methods(&mut self) {
        if let Ok(Answer::Failure { remaining_methods, .. }) = self.handle.authenticate_none(self.user).await {
            self.accepted = Some(remaining_methods);
        }
    }

    fn refusal(self, untried: usize, remark: Option<String>) -> Refusal {
        let names = |methods: MethodSet| methods.iter().map(String::from).collect();
        let failure = AuthFailure {
            user: self.user.to_owned(),
            tried: self.tried,
            untried,
            accepted: self.accepted.map_or_else(Vec::new, names),
            remark,
        };
        Refusal { failure, gone: false }
    }
}

/// RSA keys sign with SHA-2; SHA-1 only where the server says that it knows nothing else.
async fn rsa_hash(handle: &Handle<Client>) -> Option<HashAlg> {
    match handle.best_supported_rsa_hash().await {
        Ok(Some(hash)) => hash,
        Ok(None) | Err(_) => Some(HashAlg::Sha512),
    }
}

fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), fingerprint(key))
}

#[cfg(test)]
mod tests {
    use russh::keys::PublicKey;
    use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};

    use super::Candidate::{Agent, File};
    use super::order;

    fn key(number: u8) -> PublicKey {
        PublicKey::from(KeyData::Ed25519(Ed25519PublicKey([number; 32])))
    }

    #[test]
    fn the_order_of_keys() {
        let agent = [key(1), key(2), key(3)];
        for (named, files, expected) in [
            (false, vec![], vec![Agent(0), Agent(1), Agent(2)]),
            (false, vec![Some(key(9))], vec![Agent(0), Agent(1), Agent(2), File(0)]),
            (false, vec![Some(key(3)), None], vec![Agent(2), Agent(0), Agent(1), File(0), File(1)]),
            (true, vec![Some(key(9))], vec![File(0), Agent(0), Agent(1), Agent(2)]),
            (true, vec![None, Some(key(2))], vec![Agent(1), File(0), File(1), Agent(0), Agent(2)]),
            (true, vec![Some(key(2)), Some(key(2))], vec![Agent(1), File(0), File(1), Agent(0), Agent(2)]),
        ] {
            assert_eq!(order(named, &files, &agent), expected, "{named} {files:?}");
        }
        assert_eq!(order(true, &[Some(key(1))], &[]), [File(0)]);
        assert_eq!(order(false, &[], &[]), []);
    }
}
