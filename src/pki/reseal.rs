//! The CA's key is encrypted, decrypted, or encrypted under another passphrase.

use super::authority::{belongs_to, parse};
use super::error::PkiError;
use super::folder::{Content, Folder, NewFile};
use super::key::{self, SecretPem, Stored};
use super::passphrase::Passphrase;
use super::source::{AUTHORITY, AUTHORITY_KEY, Source};
use super::{Settings, pem, sealed};
use std::path::PathBuf;

/// The key of the CA in the PKI folder.
pub struct AuthorityKey {
    folder: Folder,
    source: Source,
    text: SecretPem,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

impl AuthorityKey {
    /// Finds it.
    ///
    /// # Errors
    /// There is none, it is the user's own, or it is of no use.
    pub fn find(settings: &Settings) -> Result<Self, PkiError> {
        let folder = Folder::new(&settings.dir);
        let source = Source::find(settings, &folder)?;
        if source.given {
            return Err(PkiError::NotOurs { path: source.key });
        }
        let text = folder.read(AUTHORITY_KEY)?;
        let text = text.ok_or_else(|| PkiError::NoAuthority { dir: settings.dir.clone() })?;
        let encrypted = match key::read(&text) {
            Ok(Stored::Sealed(_)) => true,
            Ok(Stored::Plain(_)) => false,
            Err(flaw) => return Err(PkiError::AuthorityKey { path: source.key, given: false, flaw }),
        };
        Ok(Self { folder, source, text: SecretPem::new(text), encrypted })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.source.key.clone()
    }

    /// Whether `passphrase` opens it.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, passphrase: &Passphrase) -> Result<(), PkiError> {
        self.source.load_key(self.text.expose(), Some(passphrase)).map(drop)
    }

    /// Opens it by `old`, if it is encrypted, and writes it in its own place: under `new`, or for whoever can read the
    /// file. What is written was read back before, so that a kill at any point leaves one key or the other.
    ///
    /// # Errors
    /// The passphrase is wrong, the key is not the CA's, or the file cannot be written.
    pub fn rewrite(&self, old: Option<&Passphrase>, new: Option<&Passphrase>) -> Result<(), PkiError> {
        let path = self.path();
        let key = self.source.load_key(self.text.expose(), old)?;
        let key = key.ok_or_else(|| PkiError::Sealed { path: path.clone(), new: false })?;
        let certificates = self.folder.read(AUTHORITY)?;
        let certificates = certificates.and_then(|text| pem::certificates(&text).ok()).unwrap_or_default();
        if !certificates.iter().any(|der| parse(der).is_ok_and(|certificate| belongs_to(&key, &certificate))) {
            let certificate = self.source.certificate.clone();
            return Err(PkiError::AuthorityMismatch { certificate, key: path, given: false });
        }
        let text = match new {
            Some(passphrase) => sealed::seal(&key, passphrase)?,
            None => SecretPem::of(&key),
        };
        let read_back = self.source.load_key(text.expose(), new)?;
        if read_back.is_none_or(|read| read.serialized_der() != key.serialized_der()) {
            return Err(PkiError::Seal { reason: "what would be written is another key".to_owned() });
        }
        self.folder.write(&[], &[], &[NewFile { name: AUTHORITY_KEY.to_owned(), content: Content::Key(text) }])
    }
}
