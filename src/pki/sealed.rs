//! A private key under a passphrase: PKCS#8 with PBES2 (RFC 5958, RFC 8018), as OpenSSL reads and writes it.

use super::error::{KeyFlaw, PkiError};
use super::key::{Key, SecretPem};
use super::passphrase::Passphrase;
use super::pem;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::pkcs5::{EncryptionScheme, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, Error};
use rcgen::KeyPair;
use zeroize::Zeroizing;

/// The label of such a key in PEM text.
pub(super) const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// scrypt's parameters (RFC 7914): as hard to guess as OWASP advises, and as much memory as OpenSSL grants if it is not
/// told otherwise (32 MiB).
const LOG_N: u8 = 14;
const BLOCK_SIZE: u32 = 8;
const PARALLELISM: u32 = 5;

/// What a passphrase may cost to try: more than anybody chooses, and less than hangs this program or takes its memory.
const MOST_ROUNDS: u32 = 20_000_000;
const MOST_MEMORY: u64 = 1 << 30;
const MOST_WORK: u64 = 1 << 25;

/// A key that a passphrase opens.
pub(super) struct Sealed(Vec<u8>);

/// Why it was not opened.
pub(super) enum Closed {
    /// The passphrase is wrong.
    Wrong,
    /// No passphrase opens it.
    Hopeless(KeyFlaw),
}

impl Sealed {
    /// Takes the DER bytes of an `EncryptedPrivateKeyInfo`.
    pub(super) fn new(der: &[u8]) -> Result<Self, KeyFlaw> {
        let unsupported = || KeyFlaw::Unsupported(ENCRYPTED.to_owned());
        let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| {
            // Of a cipher that this program does not know, or no such thing at all.
            let parts = AnyRef::from_der(der).and_then(|whole| {
                whole.sequence(|parts| {
                    AnyRef::decode(parts)?;
                    <&OctetStringRef>::decode(parts).map(drop)
                })
            });
            match parts {
                Ok(()) => unsupported(),
                Err(_) => KeyFlaw::Damaged(format!("its `{ENCRYPTED}` block cannot be read")),
            }
        })?;
        let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else { return Err(unsupported()) };
        if affordable(&parameters.kdf) { Ok(Self(der.to_vec())) } else { Err(unsupported()) }
    }

    /// The key.
    pub(super) fn open(&self, passphrase: &Passphrase) -> Result<Key, Closed> {
        let unsupported = || Closed::Hopeless(KeyFlaw::Unsupported(ENCRYPTED.to_owned()));
        let info = EncryptedPrivateKeyInfoRef::try_from(&self.0[..]).map_err(|_| unsupported())?;
        // A wrong passphrase shows in the padding, or else in what should be DER and is none.
        let der = info.decrypt(passphrase.bytes()).map_err(|error| match error {
            Error::EncryptedPrivateKey(
                pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }
                | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. },
            ) => unsupported(),
            _ => Closed::Wrong,
        })?;
        KeyPair::try_from(der.as_bytes()).map(Zeroizing::new).map_err(|_| {
            match pkcs8::PrivateKeyInfoRef::try_from(der.as_bytes()) {
                Ok(_) => Closed::Hopeless(KeyFlaw::Unsupported("PRIVATE KEY".to_owned())),
                Err(_) => Closed::Wrong,
            }
        })
    }
}

/// Whether a passphrase can be tried in bounded time and memory.
fn affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MOST_ROUNDS,
        Kdf::Scrypt(parameters) => {
            let (r, p) = (u64::from(parameters.block_size), u64::from(parameters.parallelization));
            let blocks = parameters.cost_parameter.saturating_mul(r);
            blocks.saturating_mul(128) <= MOST_MEMORY && blocks.saturating_mul(p) <= MOST_WORK
        }
        // A kind that this program does not know.
        _ => false,
    }
}

/// `key` under `passphrase`, as PEM text.
pub(super) fn seal(key: &KeyPair, passphrase: &Passphrase) -> Result<SecretPem, PkiError> {
    let failed = |reason: String| PkiError::Seal { reason };
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| failed(error.to_string()))?;
    let (salt, iv) = random.split_at(16);
    let iv = iv.try_into().map_err(|_| failed("there is no randomness".to_owned()))?;
    let cost = scrypt::Params::new(LOG_N, BLOCK_SIZE, PARALLELISM).map_err(|error| failed(error.to_string()))?;
    let parameters =
        Parameters::generate_scrypt_aes256cbc(cost, salt, iv).map_err(|error| failed(error.to_string()))?;
    let data =
        parameters.encrypt(passphrase.bytes(), key.serialized_der()).map_err(|error| failed(error.to_string()))?;
    let data = OctetStringRef::new(&data).map_err(|error| failed(error.to_string()))?;
    let sealed = EncryptedPrivateKeyInfoRef { encryption_algorithm: parameters.into(), encrypted_data: data };
    let der = sealed.to_der().map_err(|error| failed(error.to_string()))?;
    Ok(SecretPem::new(pem::encode(ENCRYPTED, &der)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::generate;
    use crate::pki::{KeyAlgorithm, key};
    use pkcs8::pkcs5::pbes2::{Pbkdf2Params, ScryptParams};

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_passphrase_alone() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
            let key = generate(algorithm, 1).unwrap().remove(0);
            let text = seal(&key, &passphrase("p")).unwrap();
            assert_ne!(text, seal(&key, &passphrase("p")).unwrap(), "salt and vector are new each time");
            let key::Stored::Sealed(sealed) = key::read(text.expose()).unwrap() else { panic!("it is plain") };
            assert!(matches!(sealed.open(&passphrase("p ")), Err(Closed::Wrong)));
            let opened = sealed.open(&passphrase("p")).map_err(|_| ()).unwrap();
            assert_eq!(opened.serialized_der(), key.serialized_der());
        }
    }

    #[test]
    fn a_wrong_passphrase_is_always_told_from_a_damaged_key() {
        let key = generate(KeyAlgorithm::EcdsaP256, 1).unwrap().remove(0);
        // Fast, since one in 256 leaves a padding that looks right.
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(1, &[7; 16], [9; 16]).unwrap();
        let data = parameters.encrypt("right", key.serialized_der()).unwrap();
        let data = OctetStringRef::new(&data).unwrap();
        let info = EncryptedPrivateKeyInfoRef { encryption_algorithm: parameters.into(), encrypted_data: data };
        let sealed = Sealed::new(&info.to_der().unwrap()).unwrap();
        for number in 0..2000 {
            assert!(matches!(sealed.open(&passphrase(&number.to_string())), Err(Closed::Wrong)), "{number}");
        }
        assert!(sealed.open(&passphrase("right")).is_ok());
    }

    #[test]
    fn passphrases_that_would_take_for_ever_are_not_tried() {
        let scrypt = |cost_parameter, block_size, parallelization| {
            let salt = Pbkdf2Params::hmac_sha256(1, &[0; 8]).unwrap().salt;
            Kdf::Scrypt(ScryptParams { salt, cost_parameter, block_size, parallelization, key_length: None })
        };
        let rounds = |count| Kdf::Pbkdf2(Pbkdf2Params::hmac_sha256(count, &[0; 8]).unwrap());
        for (kdf, good) in [
            (rounds(600_000), true),
            (rounds(20_000_001), false),
            (scrypt(1 << 14, 8, 5), true),
            (scrypt(1 << 20, 8, 1), true),
            (scrypt(1 << 21, 8, 1), false),
            (scrypt(1 << 14, 8, 1000), false),
            (scrypt(u64::MAX, u16::MAX, u16::MAX), false),
        ] {
            assert_eq!(affordable(&kdf), good, "{kdf:?}");
        }
    }
}
