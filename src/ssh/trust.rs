//! Host keys before anybody logs in: what a machine shows, and writing it down.

use russh::keys::PublicKey;

use super::connect::look;
use super::connector::Connector;
use super::error::SshError;
use super::facts::{HostKeyFacts, RevokedPart};
use super::hop::Hop;
use super::judge::{Standing, changed, revoked};
use super::known_hosts::{Learnt, Verdict, fingerprint, learn};

/// A host key as a machine shows it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The key, and the name that it is written under.
    pub key: HostKeyFacts,
    /// What is known of it.
    pub standing: Standing,
    public: PublicKey,
}

impl Found {
    pub(super) fn new(hop: &Hop, public: PublicKey, standing: Standing) -> Self {
        let name = hop.host_keys.names.first().map(|name| name.text.clone()).unwrap_or_default();
        let (algorithm, fingerprint) = (public.algorithm().to_string(), fingerprint(&public));
        let certificate = match &standing {
            Standing::New(fault) => fault.clone(),
            Standing::Known(..) | Standing::Certified(..) | Standing::Pinned | Standing::Unchecked => None,
        };
        Self { key: HostKeyFacts { name, algorithm, fingerprint, certificate }, standing, public }
    }
}

impl Connector {
    /// The key that a machine shows, and what is known of it. Nobody logs in there, but on the jump hosts before it.
    ///
    /// # Errors
    /// As for [`Connector::connect`]; a key that has changed, is revoked or is not the pinned one is an error, too.
    pub async fn host_key(&self, hop: &Hop) -> Result<Found, SshError> {
        let through = self.through(hop).await?;
        look(hop, through.as_ref(), &self.0.known_files).await
    }

    /// Writes the key down for those who come after, into the first of the user's known_hosts files, as OpenSSH would.
    ///
    /// # Errors
    /// The file cannot be written, or has another key for the machine by now.
    pub fn trust(&self, hop: &Hop, found: &Found) -> Result<Standing, SshError> {
        let keys = &hop.host_keys;
        let unknown =
            || SshError::HostKeyUnknown { peer: hop.peer(), key: Box::new(found.key.clone()), files: keys.all_files() };
        let file = keys.files.first().ok_or_else(unknown)?;
        match learn(&Learnt { file, names: &keys.names, hashed: keys.hashed }, &found.public)? {
            Verdict::Trusted(known) => Ok(Standing::Known(known.file, known.line)),
            Verdict::Changed(known) => Err(changed(hop.peer(), found.key.clone(), known)),
            Verdict::Revoked(known) => Err(revoked(hop.peer(), found.key.clone(), RevokedPart::Key, known)),
            Verdict::Unknown => Err(unknown()),
        }
    }
}
