//! Who signs when the server would take a key: the library asks for it only then (RFC 4252, 7).

use std::path::Path;
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{self, Signature};
use russh::keys::{HashAlg, PrivateKey};
use thiserror::Error;
use tokio::net::UnixStream;

use super::unlock::Unlocked;
use crate::ssh::keys::Unusable;
use crate::ssh::prompt::{Patience, Prompt};

/// Who signs.
pub(super) enum Signer<'a> {
    /// The agent, with what it holds under this name.
    Agent { client: &'a mut AgentClient<UnixStream>, identity: Box<AgentIdentity> },
    /// A key of ours.
    Key(Arc<PrivateKey>),
    /// A key file that has a passphrase.
    Locked { path: &'a Path, unlocked: &'a Unlocked, prompt: Option<&'a dyn Prompt>, patience: &'a Patience },
}

/// Why nothing was signed.
#[derive(Debug, Error)]
pub(super) enum NotSigned {
    #[error("the connection ended")]
    Gone,
    #[error("{0}")]
    Agent(String),
    #[error("{0}")]
    Key(#[from] ssh_key::Error),
    #[error("{0}")]
    Unusable(Unusable),
}

impl From<russh::SendError> for NotSigned {
    fn from(_: russh::SendError) -> Self {
        Self::Gone
    }
}

impl Signer<'_> {
    /// The key that signs, if it is one of ours; a passphrase is asked for now.
    async fn key(&self) -> Result<Option<Arc<PrivateKey>>, NotSigned> {
        match self {
            Self::Agent { .. } => Ok(None),
            Self::Key(key) => Ok(Some(Arc::clone(key))),
            Self::Locked { path, unlocked, prompt, patience } => {
                let opened = patience.while_asking(unlocked.open(path, *prompt)).await;
                opened.map(Some).map_err(NotSigned::Unusable)
            }
        }
    }
}

impl russh::Signer for Signer<'_> {
    type Error = NotSigned;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, NotSigned> {
        if let Some(key) = self.key().await? {
            signature(&key, hash, &to_sign)?.encode_prefixed(&mut to_sign).map_err(ssh_key::Error::from)?;
            return Ok(to_sign);
        }
        let Self::Agent { client, identity } = self else {
            return Ok(to_sign);
        };
        // The agent knows a key by the name under which it holds it, which may be the plain key of a certificate.
        client.sign_request(identity, hash, to_sign).await.map_err(|error| NotSigned::Agent(error.to_string()))
    }
}

fn signature(key: &PrivateKey, hash: Option<HashAlg>, to_sign: &[u8]) -> Result<Signature, ssh_key::Error> {
    match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(to_sign).map_err(Into::into),
        other => other.try_sign(to_sign).map_err(Into::into),
    }
}
