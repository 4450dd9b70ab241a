//! Keys and certificates (RFC 4252, 7).

use std::sync::Arc;

use russh::MethodSet;
use russh::client::{AuthResult as Answer, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey};

use super::agent::Agent;
use super::certificate::{self, useless};
use super::order::{AtHand, Candidate, order};
use super::signer::{NotSigned, Signer};
use super::{Gone, Keys, LogIn, Step};
use crate::ssh::client::Client;
use crate::ssh::facts::{Means, Outcome};
use crate::ssh::hop::{Login, Method};
use crate::ssh::keys::{KeyFile, Unusable};
use crate::ssh::known_hosts::fingerprint;

/// How many keys the server may refuse. sshd ends the connection at the sixth refusal (MaxAuthTries).
const MAX_TRIES: usize = 5;

/// What there is to try, in order.
pub(super) fn candidates(how: &Login, keys: &Keys, agent: Option<&Agent>) -> Vec<Candidate> {
    let is_blind = |file: &KeyFile| file.public.is_none() && matches!(file.private, Err(Unusable::Encrypted));
    order(&AtHand {
        named: !how.identity.is_empty(),
        only: how.identities_only,
        files: keys.files.iter().map(|file| file.public.as_ref()).collect(),
        blind: (0..keys.files.len()).filter(|index| is_blind(&keys.files[*index])).collect(),
        certificates: keys
            .certificates
            .iter()
            .map(|file| file.certificate.as_ref().ok().map(Certificate::public_key))
            .collect(),
        agent: agent.iter().flat_map(|agent| &agent.keys).map(|(key, _)| key).collect(),
        agent_certificates: agent
            .iter()
            .flat_map(|agent| &agent.certificates)
            .map(|(certificate, _)| certificate.public_key())
            .collect(),
    })
}

/// What is shown to the server.
#[derive(Clone)]
enum Shown {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl Shown {
    fn blob(&self) -> Vec<u8> {
        let blob = match self {
            Self::Key(key) => key.to_bytes(),
            Self::Certificate(certificate) => certificate.to_bytes(),
        };
        blob.unwrap_or_default()
    }

    fn describe(&self) -> String {
        match self {
            Self::Key(key) => describe(key),
            Self::Certificate(certificate) => certificate::describe(certificate),
        }
    }
}

/// Who is to sign.
enum By {
    Agent(Box<AgentIdentity>),
    File(usize),
    Key(Arc<PrivateKey>),
}

impl LogIn<'_> {
    /// Tries one key after another.
    pub(super) async fn public_keys(&mut self) -> Result<Step, Gone> {
        let candidates = self.candidates.clone();
        for (index, candidate) in candidates.iter().enumerate() {
            if self.refusals >= MAX_TRIES {
                self.untried = candidates.len() - index;
                break;
            }
            let step = match self.try_candidate(*candidate).await {
                Ok(step) => step,
                Err(Gone) => {
                    self.untried = candidates.len() - index - 1;
                    return Err(Gone);
                }
            };
            if step != Step::Exhausted {
                return Ok(step);
            }
            if !self.takes(Method::PublicKey) {
                break;
            }
        }
        Ok(Step::Exhausted)
    }

    async fn try_candidate(&mut self, candidate: Candidate) -> Result<Step, Gone> {
        match candidate {
            Candidate::Agent(index) => {
                let key = self.agent.as_ref().and_then(|agent| agent.keys.get(index)).cloned();
                let Some((key, comment)) = key else { return Ok(Step::Exhausted) };
                let by = By::Agent(Box::new(key.clone().into()));
                self.show(Means::AgentKey(comment), Shown::Key(key), by).await
            }
            Candidate::AgentCertificate(index) => {
                let held = self.agent.as_ref().and_then(|agent| agent.certificates.get(index)).cloned();
                let Some((certificate, comment)) = held else { return Ok(Step::Exhausted) };
                let means = Means::AgentCertificate(comment);
                if let Some(why) = useless(&certificate) {
                    return Ok(self.leave_out(means, Some(certificate::describe(&certificate)), why));
                }
                let by = By::Agent(Box::new(certificate.clone().into()));
                self.show(means, Shown::Certificate(Box::new(certificate)), by).await
            }
            Candidate::Certificate(index) => self.try_certificate(index).await,
            Candidate::File(index) => self.try_file(index).await,
        }
    }

    /// A certificate from a file, with its key in the agent or in another file.
    async fn try_certificate(&mut self, index: usize) -> Result<Step, Gone> {
        let Some(file) = self.keys.certificates.get(index) else { return Ok(Step::Exhausted) };
        let certificate = match &file.certificate {
            Ok(certificate) => certificate,
            Err(why) => return Ok(self.leave_out(file.means(), None, why.clone())),
        };
        let description = certificate::describe(certificate);
        if let Some(why) = useless(certificate) {
            return Ok(self.leave_out(file.means(), Some(description), why));
        }
        let shown = Shown::Certificate(Box::new(certificate.clone()));
        let in_agent = self.agent.as_ref().and_then(|agent| agent.key(certificate.public_key())).cloned();
        if let Some(key) = in_agent {
            let step = self.show(file.means(), shown.clone(), By::Agent(Box::new(key.into()))).await?;
            if step != Step::Exhausted || self.is_settled(&shown) {
                return Ok(step);
            }
        }
        match self.file_of(certificate.public_key()) {
            Some(key) => self.show(file.means(), shown, By::File(key)).await,
            None => Ok(self.leave_out(file.means(), Some(description), Unusable::NoKey)),
        }
    }

    /// The key file that has, or may be made to have, a key.
    fn file_of(&self, key: &KeyData) -> Option<usize> {
        let usable = |file: &KeyFile| matches!(file.private, Ok(_) | Err(Unusable::Encrypted));
        let is_it = |file: &KeyFile| file.public.as_ref().is_some_and(|public| public.key_data() == key);
        self.keys.files.iter().position(|file| is_it(file) && usable(file))
    }

    async fn try_file(&mut self, index: usize) -> Result<Step, Gone> {
        let Some(file) = self.keys.files.get(index) else { return Ok(Step::Exhausted) };
        let means = Means::File(file.path.clone());
        match (&file.private, &file.public) {
            (Ok(private), _) => self.show(means, Shown::Key(private.public_key().clone()), By::File(index)).await,
            (Err(_), Some(public)) if self.is_settled(&Shown::Key(public.clone())) => Ok(Step::Exhausted),
            (Err(Unusable::Encrypted), Some(public)) if self.resources.prompt.is_some() => {
                self.show(means, Shown::Key(public.clone()), By::File(index)).await
            }
            (Err(Unusable::Encrypted), None) => {
                // The server cannot be asked first: what the file has inside is not to be seen.
                let opening = self.resources.unlocked.open(&file.path, self.resources.prompt);
                match self.patience.while_asking(opening).await {
                    Ok(key) => self.show(means, Shown::Key(key.public_key().clone()), By::Key(key)).await,
                    Err(why) => Ok(self.leave_out(means, None, why)),
                }
            }
            (Err(why), public) => Ok(self.leave_out(means, public.as_ref().map(describe), why.clone())),
        }
    }

    /// Whether the server's answer to a key is known.
    fn is_settled(&self, shown: &Shown) -> bool {
        let blob = shown.blob();
        self.refused.contains(&blob) || self.taken.contains(&blob)
    }

    /// Shows a key or a certificate to the server and signs if it would take it.
    async fn show(&mut self, means: Means, shown: Shown, by: By) -> Result<Step, Gone> {
        if self.is_settled(&shown) {
            return Ok(Step::Exhausted);
        }
        let is_rsa = match &shown {
            Shown::Key(key) => key.algorithm().is_rsa(),
            Shown::Certificate(certificate) => certificate::is_rsa(certificate),
        };
        let hash = if is_rsa { rsa_hash(self.handle).await } else { None };
        let signer = match by {
            By::Agent(identity) => {
                let Some(agent) = &mut self.agent else { return Ok(Step::Exhausted) };
                Signer::Agent { client: &mut agent.client, identity }
            }
            By::Key(key) => Signer::Key(key),
            By::File(index) => match self.keys.files.get(index) {
                Some(KeyFile { private: Ok(key), .. }) => Signer::Key(Arc::clone(key)),
                Some(file) => Signer::Locked {
                    path: &file.path,
                    unlocked: self.resources.unlocked,
                    prompt: self.resources.prompt,
                    patience: self.patience,
                },
                None => return Ok(Step::Exhausted),
            },
        };
        let answer = offer(self.handle, self.user, shown.clone(), hash, signer).await;
        let description = Some(shown.describe());
        match answer {
            Ok(Answer::Success) => Ok(Step::In),
            Ok(Answer::Failure { remaining_methods, partial_success }) => {
                self.judged(means, shown, &remaining_methods, partial_success)
            }
            Err(_) if self.handle.is_closed() => Err(Gone),
            Err(NotSigned::Gone) => Err(Gone),
            Err(NotSigned::Unusable(why)) => Ok(self.leave_out(means, description, why)),
            Err(NotSigned::Key(why)) => Ok(self.leave_out(means, description, Unusable::Malformed(why.to_string()))),
            Err(NotSigned::Agent(why)) => {
                // The key's file, if there is one, still has its turn.
                self.note(means, description, Outcome::NotSigned(why));
                Ok(Step::Exhausted)
            }
        }
    }

    fn judged(&mut self, means: Means, shown: Shown, remaining: &MethodSet, partial: bool) -> Result<Step, Gone> {
        let blob = shown.blob();
        let step = self.answered(means, Some(shown.describe()), remaining, partial)?;
        if partial {
            self.taken.push(blob);
        } else {
            self.refused.push(blob);
            self.refusals += 1;
        }
        Ok(step)
    }

    /// Notes, once, that something cannot be used.
    fn leave_out(&mut self, means: Means, key: Option<String>, why: Unusable) -> Step {
        let outcome = Outcome::Unusable(why);
        if !self.tried.iter().any(|attempt| attempt.means == means && attempt.outcome == outcome) {
            self.note(means, key, outcome);
        }
        Step::Exhausted
    }
}

async fn offer(
    handle: &mut Handle<Client>,
    user: &str,
    shown: Shown,
    hash: Option<HashAlg>,
    mut signer: Signer<'_>,
) -> Result<Answer, NotSigned> {
    match shown {
        Shown::Key(key) => handle.authenticate_publickey_with(user, key, hash, &mut signer).await,
        Shown::Certificate(certificate) => {
            handle.authenticate_certificate_with(user, *certificate, hash, &mut signer).await
        }
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
