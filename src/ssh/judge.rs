//! Whether a host key is the machine's own.

use std::path::PathBuf;
use std::time::SystemTime;

use russh::keys::PublicKeyOrCertificate;

use super::algorithms::{Expected, HOST_KEY, HOST_KEY_ALGORITHMS};
use super::error::SshError;
use super::facts::{CertificateFault, ChangedHostKey, HostKeyFacts, Peer, RevokedHostKey, RevokedPart};
use super::hop::HostKeys;
use super::known_hosts::{Known, KnownFiles, Learnt, OnFile, Verdict, Vouched, fingerprint, learn};
use super::revoked::{self, Revoked};
use super::target::HostKeyChecking;

/// Why a host key is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No file says anything about it; with the reason why its certificate does not count, if it came with one.
    New(Option<CertificateFault>),
    /// A known_hosts file has it, at this line, counted from 1.
    Known(PathBuf, usize),
    /// A known_hosts file has the authority that certified it, at this line, counted from 1.
    Certified(PathBuf, usize),
    /// The inventory has its fingerprint.
    Pinned,
    /// Nobody asked for a check.
    Unchecked,
}

/// Judges the key of one machine.
pub(super) struct Judge {
    peer: Peer,
    host_keys: HostKeys,
    known: OnFile,
    /// Whether nobody is going to log in: a new key is then neither refused nor written down.
    looking: bool,
}

impl Judge {
    /// Reads what there is to go by.
    pub(super) fn new(peer: Peer, host_keys: HostKeys, files: &KnownFiles, looking: bool) -> Result<Self, SshError> {
        let known = match host_keys.checking {
            _ if !host_keys.pinned.is_empty() => OnFile::default(),
            HostKeyChecking::Off if !looking => OnFile::default(),
            HostKeyChecking::Off | HostKeyChecking::Strict | HostKeyChecking::AcceptNew => {
                files.load(&host_keys.all_files())?.of(&host_keys.names)
            }
        };
        Ok(Self { peer, host_keys, known, looking })
    }

    /// What the machine is best asked for.
    pub(super) fn expected(&self) -> Expected {
        Expected { types: self.known.types(), certified: self.known.has_authority() }
    }

    /// Takes note of the machine's address, once it is known.
    pub(super) fn at(&mut self, peer: Peer) {
        self.peer = peer;
    }

    pub(super) async fn judge(&self, presented: &PublicKeyOrCertificate) -> Result<Standing, SshError> {
        let HostKeys { names, files, revoked: list, checking, pinned, hashed, .. } = &self.host_keys;
        let peer = || self.peer.clone();
        let key = presented.public_key();
        let mut facts = HostKeyFacts {
            name: names.first().map(|name| name.text.clone()).unwrap_or_default(),
            algorithm: key.algorithm().to_string(),
            fingerprint: fingerprint(&key),
            certificate: None,
        };
        if !pinned.is_empty() {
            return if pinned.contains(&facts.fingerprint) {
                Ok(Standing::Pinned)
            } else {
                Err(SshError::HostKeyNotPinned { peer: peer(), presented: vec![facts], pinned: pinned.clone() })
            };
        }
        if let Some(file) = list {
            let found = revoked::check(file, presented).await;
            let found = found.map_err(|why| SshError::RevokedKeys { peer: peer(), path: file.clone(), why })?;
            if let Some(found) = found {
                let (what, line) = match found {
                    Revoked::Key(line) => (RevokedPart::Key, line),
                    Revoked::Certificate => (RevokedPart::Certificate, None),
                    Revoked::Authority(line) => (authority(presented), Some(line)),
                };
                let key = RevokedHostKey { presented: facts, what, file: file.clone(), line };
                return Err(SshError::HostKeyRevoked { peer: peer(), key: Box::new(key) });
            }
        }
        if *checking == HostKeyChecking::Off && !self.looking {
            return Ok(Standing::Unchecked);
        }
        if let Some(certificate) = presented.certificate() {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            match self.known.vouch(certificate, now) {
                Vouched::Yes(known) => return Ok(Standing::Certified(known.file, known.line)),
                Vouched::Revoked(known) => {
                    let of_key = known.key.key_data() == key.key_data();
                    let what = if of_key { RevokedPart::Key } else { authority(presented) };
                    return Err(revoked(peer(), facts, what, known));
                }
                // The key in it may be known by itself, as with OpenSSH.
                Vouched::No(fault) => facts.certificate = Some(fault),
            }
        }
        let verdict = match (self.known.check(&key), checking, files.first()) {
            (Verdict::Unknown, HostKeyChecking::AcceptNew, Some(file)) if !self.looking => {
                learn(&Learnt { file, names, hashed: *hashed }, &key)?
            }
            (verdict, ..) => verdict,
        };
        match verdict {
            Verdict::Trusted(known) => Ok(Standing::Known(known.file, known.line)),
            Verdict::Unknown if self.looking => Ok(Standing::New(facts.certificate)),
            Verdict::Unknown => {
                Err(SshError::HostKeyUnknown { peer: peer(), key: Box::new(facts), files: self.host_keys.all_files() })
            }
            Verdict::Revoked(known) => Err(revoked(peer(), facts, RevokedPart::Key, known)),
            Verdict::Changed(known) => Err(changed(peer(), facts, known)),
        }
    }
}

pub(super) fn revoked(peer: Peer, presented: HostKeyFacts, what: RevokedPart, known: Known) -> SshError {
    let key = RevokedHostKey { presented, what, file: known.file, line: Some(known.line) };
    SshError::HostKeyRevoked { peer, key: Box::new(key) }
}

pub(super) fn changed(peer: Peer, presented: HostKeyFacts, known: Known) -> SshError {
    let key = ChangedHostKey {
        presented,
        known_algorithm: known.key.algorithm().to_string(),
        known_fingerprint: fingerprint(&known.key),
        file: known.file,
        line: known.line,
    };
    SshError::HostKeyChanged { peer, key: Box::new(key) }
}

fn authority(presented: &PublicKeyOrCertificate) -> RevokedPart {
    presented.certificate().map_or(RevokedPart::Certificate, |certificate| {
        let key = certificate.signature_key();
        let fingerprint = key.fingerprint(russh::keys::HashAlg::Sha256);
        RevokedPart::Authority(key.algorithm().to_string(), fingerprint.to_string())
    })
}

/// The keys that a machine has shown and that are not pinned. A machine shows one key a connection, of the first
/// type that it is asked for and has; the pinned one may be of another type.
#[derive(Debug, Default)]
pub(super) struct Unpinned(Vec<HostKeyFacts>);

impl Unpinned {
    /// What need not be asked for again.
    pub(super) fn shown(&self) -> &[HostKeyFacts] {
        &self.0
    }

    /// Whether another connection may show the key that is pinned, after this error of the last one.
    ///
    /// # Errors
    /// It will not; with all keys that the machine has shown, if it is that.
    pub(super) fn go_on(&mut self, error: SshError, hop_pins: &[String]) -> Result<(), SshError> {
        match error {
            SshError::HostKeyNotPinned { peer, presented, pinned } => {
                let again = presented.iter().any(|key| self.0.iter().any(|known| known.algorithm == key.algorithm));
                self.0.extend(presented);
                // Not what it was asked for: there would be no end to it.
                if again { Err(SshError::HostKeyNotPinned { peer, presented: self.0.clone(), pinned }) } else { Ok(()) }
            }
            SshError::NoCommonAlgorithm { peer, kind: HOST_KEY, .. }
            | SshError::NoAlgorithmAllowed { peer, keyword: HOST_KEY_ALGORITHMS, .. }
                if !self.0.is_empty() =>
            {
                Err(SshError::HostKeyNotPinned { peer, presented: self.0.clone(), pinned: hop_pins.to_vec() })
            }
            error => Err(error),
        }
    }
}
