//! Where the CA comes from: files of the user's own, or ours in the folder.

use super::authority::{Authority, Refusal};
use super::error::{CertificateFlaw, PkiError};
use super::folder::{Folder, open_mode, read};
use super::issue::LeafError;
use super::key::{self, Key, Stored};
use super::passphrase::Passphrase;
use super::sealed::Closed;
use super::{Kind, Settings, pem};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// A leaf that every CA has issued.
const ADMIN: &str = "admin.pem";

/// The CA's files in the folder.
pub(super) const AUTHORITY: &str = "ca.pem";
pub(super) const AUTHORITY_KEY: &str = "ca-key.pem";

/// Where the CA's files are.
pub(super) struct Source {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Whether the user named them in the inventory.
    pub(super) given: bool,
}

/// What there is of the CA.
pub(super) enum Start {
    /// All.
    Ready(Authority),
    /// A key that has not issued anything: the run that made it was killed. None if it is not open.
    Key(Option<Key>),
    /// Nothing.
    Nothing,
}

impl Source {
    pub(super) fn find(settings: &Settings, folder: &Folder) -> Result<Self, PkiError> {
        let half = |present, missing| PkiError::HalfGiven { present, missing };
        match (&settings.ca_cert, &settings.ca_key) {
            (None, None) => {
                Ok(Self { certificate: folder.file(AUTHORITY), key: folder.file(AUTHORITY_KEY), given: false })
            }
            (Some(certificate), Some(key)) => {
                Ok(Self { certificate: certificate.clone(), key: key.clone(), given: true })
            }
            (Some(_), None) => Err(half("pki.ca_cert", "pki.ca_key")),
            (None, Some(_)) => Err(half("pki.ca_key", "pki.ca_cert")),
        }
    }

    /// What there is of the CA; a key that is encrypted stays so without a passphrase.
    pub(super) fn load(
        &self,
        folder: &Folder,
        passphrase: Option<&Passphrase>,
        now: OffsetDateTime,
    ) -> Result<Start, PkiError> {
        let put_together = |certificate: &str, key: &str| self.put_together(folder, certificate, key, passphrase, now);
        if self.given {
            let certificate = self.read(&self.certificate)?;
            return put_together(&certificate, &self.read(&self.key)?);
        }
        let lost =
            |missing: &Path, remaining: PathBuf| PkiError::AuthorityLost { missing: missing.to_owned(), remaining };
        let clients = folder.clients();
        let leaf = folder
            .pem_files()?
            .into_iter()
            .find(|name| ![AUTHORITY, AUTHORITY_KEY].contains(&name.as_str()))
            .map(|name| folder.file(&name))
            .or(clients.pem_files()?.first().map(|name| clients.file(name)));
        match (folder.read(AUTHORITY)?, folder.read(AUTHORITY_KEY)?, leaf) {
            (Some(certificate), Some(key), _) => put_together(&certificate, &key),
            (Some(_), None, _) => Err(lost(&self.key, self.certificate.clone())),
            (None, Some(_), Some(leaf)) => Err(lost(&self.certificate, leaf)),
            (None, None, Some(leaf)) => Err(lost(&self.key, leaf)),
            (None, Some(key), None) => Ok(Start::Key(self.load_key(&key, passphrase)?)),
            (None, None, None) => Ok(Start::Nothing),
        }
    }

    fn read(&self, path: &Path) -> Result<Zeroizing<String>, PkiError> {
        read(path).map_err(|source| PkiError::Read { path: path.to_owned(), given: self.given, source })
    }

    /// The key, if it is not encrypted or the passphrase is there.
    pub(super) fn load_key(&self, text: &str, passphrase: Option<&Passphrase>) -> Result<Option<Key>, PkiError> {
        let unfit = |flaw| PkiError::AuthorityKey { path: self.key.clone(), given: self.given, flaw };
        match (key::read(text).map_err(unfit)?, passphrase) {
            (Stored::Plain(key), _) => Ok(Some(*key)),
            (Stored::Sealed(_), None) => Ok(None),
            (Stored::Sealed(sealed), Some(passphrase)) => match sealed.open(passphrase) {
                Ok(key) => Ok(Some(key)),
                Err(Closed::Wrong) => Err(PkiError::WrongPassphrase { path: self.key.clone() }),
                Err(Closed::Hopeless(flaw)) => Err(unfit(flaw)),
            },
        }
    }

    fn put_together(
        &self,
        folder: &Folder,
        certificate: &str,
        key: &str,
        passphrase: Option<&Passphrase>,
        now: OffsetDateTime,
    ) -> Result<Start, PkiError> {
        let authority = match self.load_key(key, passphrase)? {
            Some(key) => Authority::new(certificate, key, now),
            None => {
                let leaf = folder.read(ADMIN)?.and_then(|text| pem::certificates(&text).ok()?.into_iter().next());
                Authority::sealed(certificate, leaf.as_deref(), now)
            }
        };
        authority.map(Start::Ready).map_err(|refusal| self.refused(refusal))
    }

    /// The CA as it is at `now`, without anything being made.
    pub(super) fn authority(&self, folder: &Folder, now: OffsetDateTime) -> Result<Option<Authority>, PkiError> {
        Ok(match self.load(folder, None, now)? {
            Start::Ready(authority) => Some(authority),
            Start::Key(_) | Start::Nothing => None,
        })
    }

    pub(super) fn refused(&self, refusal: Refusal) -> PkiError {
        match refusal {
            Refusal::Certificate(flaw) => {
                PkiError::AuthorityCertificate { path: self.certificate.clone(), given: self.given, flaw }
            }
            Refusal::Mismatch => PkiError::AuthorityMismatch {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
                given: self.given,
            },
        }
    }

    pub(super) fn unfit(&self, reason: String) -> PkiError {
        self.refused(CertificateFlaw::Damaged(reason).into())
    }

    pub(super) fn not_issued(&self, kind: Kind, error: LeafError) -> PkiError {
        match error {
            LeafError::Subject(error) => error,
            LeafError::Reason(reason) => PkiError::Issue { kind, reason },
            LeafError::Unverifiable(reason) => {
                PkiError::Unverifiable { kind, authority: self.certificate.clone(), given: self.given, reason }
            }
        }
    }

    /// What the user should know of the key's file; `plain`: it is to be encrypted and is not.
    pub(super) fn warnings(&self, plain: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        if plain {
            let how = if self.given { "`openssl pkcs8 -topk8`" } else { "`etcd-ha certs encrypt-ca`" };
            warnings.push(format!(
                "`pki.encrypt_ca_key` is set, but the CA key `{}` is not encrypted: {how} does that",
                self.key.display()
            ));
        }
        // The one in our own folder is put right.
        if let Some(Ok(Some(mode))) = self.given.then(|| open_mode(&self.key)) {
            warnings.push(format!(
                "the CA key `{}` is open to others than its owner: its mode is {mode:04o}",
                self.key.display()
            ));
        }
        warnings
    }
}
