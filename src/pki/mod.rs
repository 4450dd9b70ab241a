//! The certificate authority and the leaves that it issues, kept on the controller.

use std::path::PathBuf;
use std::time::Duration;

/// What the inventory says about certificates.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The folder that holds CA, leaves and keys (0700).
    pub dir: PathBuf,
    /// A CA certificate of the user's own; without it one is made in `dir`.
    pub ca_cert: Option<PathBuf>,
    /// The key of `ca_cert`.
    pub ca_key: Option<PathBuf>,
    /// What kind of key a CA that is made here gets, and every leaf.
    pub key: KeyAlgorithm,
    /// The subject's fields beside the common name.
    pub subject: Subject,
    /// How long a CA made here is valid.
    pub ca_lifetime: Duration,
    /// How long a leaf is valid (never longer than its CA).
    pub leaf_lifetime: Duration,
    /// A leaf with less than this left is issued anew.
    pub renew_before: Duration,
}

/// The kind of a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyAlgorithm {
    /// ECDSA on the NIST curve P-256, with SHA-256.
    #[default]
    EcdsaP256,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
}

/// The fields of a certificate's subject beside the common name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// `C`, two letters.
    pub country: Option<String>,
    /// `ST`.
    pub state: Option<String>,
    /// `L`.
    pub locality: Option<String>,
    /// `O`.
    pub organization: Option<String>,
}
