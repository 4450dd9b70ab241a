//! Private keys: made, read, handed on, never shown.

use super::error::{KeyFlaw, PkiError};
use super::sealed::{self, Sealed};
use super::{KeyAlgorithm, pem};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use pkcs8::EncodePrivateKey;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use std::fmt;
use std::thread;
use zeroize::Zeroizing;

/// A private key in PEM form: wiped from memory when dropped, and never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretPem(Zeroizing<String>);

impl SecretPem {
    pub(super) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    pub(super) fn of(key: &KeyPair) -> Self {
        Self(pem::encode("PRIVATE KEY", key.serialized_der()))
    }

    /// The text, for those who have to have it: the member's host, a TLS client.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretPem(redacted)")
    }
}

/// A private key that is wiped from memory when dropped; what the crypto library made of it for signing is not.
pub(super) type Key = Zeroizing<KeyPair>;

/// A private key as a file has it.
pub(super) enum Stored {
    /// For whoever can read the file.
    Plain(Box<Key>),
    /// For whoever has the passphrase, too.
    Sealed(Sealed),
}

/// Makes `count` keys. RSA keys take up to seconds each, so all processors share the work.
pub(super) fn generate(algorithm: KeyAlgorithm, count: usize) -> Result<Vec<Key>, PkiError> {
    let threads = match algorithm {
        KeyAlgorithm::EcdsaP256 => 1,
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
            thread::available_parallelism().map_or(1, Into::into)
        }
    };
    let share = count.div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..count)
            .step_by(share)
            .map(|start| {
                let share = share.min(count - start);
                scope.spawn(move || (0..share).map(|_| generate_one(algorithm)).collect::<Vec<_>>())
            })
            .collect();
        let mut keys = Vec::with_capacity(count);
        for worker in workers {
            let made = worker
                .join()
                .map_err(|_| PkiError::Generate { reason: "the system has no randomness to give".to_owned() })?;
            for key in made {
                keys.push(key.map_err(|reason| PkiError::Generate { reason })?);
            }
        }
        Ok(keys)
    })
}

fn generate_one(algorithm: KeyAlgorithm) -> Result<Key, String> {
    let bits = match algorithm {
        KeyAlgorithm::EcdsaP256 => {
            return KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Zeroizing::new).map_err(|e| e.to_string());
        }
        KeyAlgorithm::Rsa2048 => 2048,
        KeyAlgorithm::Rsa3072 => 3072,
        KeyAlgorithm::Rsa4096 => 4096,
    };
    // rcgen makes no RSA keys with ring.
    let key = RsaPrivateKey::new(&mut UnwrapErr(SysRng), bits).map_err(|e| e.to_string())?;
    let der = key.to_pkcs8_der().map_err(|e| e.to_string())?;
    KeyPair::try_from(der.as_bytes()).map(Zeroizing::new).map_err(|e| e.to_string())
}

/// Whether signatures and key exchange by `key` are RSA's.
pub(super) fn is_rsa(key: &KeyPair) -> bool {
    key.algorithm() == &rcgen::PKCS_RSA_SHA256
}

/// Reads the first private key in `text`: PKCS#8, PKCS#1 (RSA) or SEC1 (P-256), as OpenSSL, cfssl
/// and step write them.
pub(super) fn load(text: &str) -> Result<Key, KeyFlaw> {
    match read(text)? {
        Stored::Plain(key) => Ok(*key),
        Stored::Sealed(_) => Err(KeyFlaw::Encrypted),
    }
}

/// The same, and PKCS#8 under a passphrase.
pub(super) fn read(text: &str) -> Result<Stored, KeyFlaw> {
    let block = pem::blocks(text)
        .map_err(|e| KeyFlaw::Damaged(e.to_string()))?
        .into_iter()
        .find(|block| block.label.ends_with("PRIVATE KEY"))
        .ok_or(KeyFlaw::None)?;
    if block.encrypted {
        return Err(KeyFlaw::Encrypted);
    }
    // The causes are left out: they say little, and nobody can tell what they quote.
    let damaged = || KeyFlaw::Damaged(format!("its `{}` block cannot be read", block.label));
    // ring, beneath rcgen, reads PKCS#8 only.
    let converted = match block.label.as_str() {
        "PRIVATE KEY" => None,
        "RSA PRIVATE KEY" => Some(
            RsaPrivateKey::from_pkcs1_der(&block.der).map_err(|_| damaged())?.to_pkcs8_der().map_err(|_| damaged())?,
        ),
        "EC PRIVATE KEY" => Some(
            p256::SecretKey::from_sec1_der(&block.der)
                .map_err(|_| KeyFlaw::Unsupported(block.label.clone()))?
                .to_pkcs8_der()
                .map_err(|_| damaged())?,
        ),
        sealed::ENCRYPTED => return Sealed::new(&block.der).map(Stored::Sealed),
        _ => return Err(KeyFlaw::Unsupported(block.label)),
    };
    let der = converted.as_ref().map_or(block.der.as_slice(), |der| der.as_bytes());
    KeyPair::try_from(der).map(|key| Stored::Plain(Box::new(Zeroizing::new(key)))).map_err(|_| {
        if pkcs8::PrivateKeyInfoRef::try_from(der).is_ok() {
            KeyFlaw::Unsupported(block.label.clone())
        } else {
            damaged()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_key() {
        let key = generate(KeyAlgorithm::EcdsaP256, 1).unwrap().remove(0);
        let secret = SecretPem::of(&key);
        assert_eq!(format!("{secret:?}"), "SecretPem(redacted)");
        assert!(secret.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    }

    #[test]
    fn makes_as_many_keys_as_asked_all_different() {
        for count in [0, 1, 2, 3, 7] {
            let mut keys: Vec<_> =
                generate(KeyAlgorithm::EcdsaP256, count).unwrap().iter().map(|key| key.serialize_der()).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), count);
        }
    }

    #[test]
    fn makes_rsa_keys_on_several_threads() {
        let keys = generate(KeyAlgorithm::Rsa2048, 3).unwrap();
        assert_eq!(keys.len(), 3);
        assert!(keys.iter().all(|key| is_rsa(key)));
        assert_ne!(keys[0].serialized_der(), keys[2].serialized_der());
    }

    #[test]
    fn names_what_is_wrong_with_a_key() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAEC\n-----END {label}-----\n");
        let cases = [
            (String::new(), KeyFlaw::None),
            (block("CERTIFICATE"), KeyFlaw::None),
            (
                block("ENCRYPTED PRIVATE KEY"),
                KeyFlaw::Damaged("its `ENCRYPTED PRIVATE KEY` block cannot be read".to_owned()),
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAEC\n-----END RSA PRIVATE KEY-----\n"
                    .to_owned(),
                KeyFlaw::Encrypted,
            ),
            (block("OPENSSH PRIVATE KEY"), KeyFlaw::Unsupported("OPENSSH PRIVATE KEY".to_owned())),
            (block("PRIVATE KEY"), KeyFlaw::Damaged("its `PRIVATE KEY` block cannot be read".to_owned())),
            ("-----BEGIN PRIVATE KEY-----\nAA".to_owned(), KeyFlaw::Damaged("its PEM text is cut off".to_owned())),
        ];
        for (text, flaw) in cases {
            assert_eq!(load(&text).err(), Some(flaw), "{text}");
        }
    }
}
