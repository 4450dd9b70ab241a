//! The passphrase of the CA's key: what it is wanted for, and who hands it over.

use super::error::PkiError;
use crate::error::Error;
use futures::future::BoxFuture;
use std::fmt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The passphrase of the CA's key: wiped from memory when dropped, and never shown by `Debug`.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase over; none if it is empty, since that protects nothing.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// What the passphrase is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    /// The CA's key.
    pub key: PathBuf,
    /// Whether the key is yet to be made, and the passphrase with it.
    pub new: bool,
}

impl Occasion {
    /// What is said where nobody hands it over.
    #[must_use]
    pub fn refusal(&self) -> PkiError {
        PkiError::Sealed { path: self.key.clone(), new: self.new }
    }
}

/// Whoever hands the passphrase over, once something is to be issued that takes the CA's key.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// The passphrase. `again`: the one before was wrong.
    fn hand_over<'a>(&'a self, occasion: &'a Occasion, again: bool) -> BoxFuture<'a, Result<Passphrase, Error>>;

    /// How often it may be asked: somebody may mistype it, a program says the same every time.
    fn tries(&self) -> usize;
}
