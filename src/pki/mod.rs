//! The certificate authority and the leaves that it issues, kept on the controller.
//!
//! ```text
//! folder ──▶ authority ──▶ leaf: still right? ──▶ issue ──▶ verify ──▶ Pki ──persist──▶ folder
//! (files)    (the CA)      (pure decision)        (rcgen)   (rustls)   (in memory)
//! ```
//!
//! [`Pki::load_or_issue`] reads and decides and writes nothing, so a plan can show what would be
//! issued; [`Pki::persist`] writes exactly that.

mod authority;
mod client;
mod error;
mod export;
mod folder;
mod issue;
mod keep;
mod key;
mod leaf;
mod names;
mod passphrase;
mod pem;
mod reseal;
mod sealed;
mod served;
mod show;
mod source;
mod verify;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use client::{
    ClientCertificate, ClientName, ClientRequest, IssuedClient, client_certificate, client_names, issue_client,
};
pub use error::{CertificateFlaw, KeyFlaw, PkiError, date as moment};
pub use export::{Place, keep_for_a_client, pem_bundle, pkcs12, put};
pub use keep::{Change, MemberCertificates, Pair, Pki};
pub use key::SecretPem;
pub use leaf::Reason;
pub use passphrase::{Keeper, Occasion, Passphrase};
pub use reseal::AuthorityKey;
pub use served::{Inspector, Judgement, Role, ServedFlaw, Shown};
pub use show::{CertificateInfo, Details, not_after, show};

/// A member of the cluster, as far as its certificates are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's name; becomes the common name and part of the file names.
    pub name: String,
    /// Every name and address by which it is reached *or from which it connects*: etcd compares
    /// the addresses in a peer's certificate with the source address of its connection
    /// (<https://etcd.io/docs/v3.5/op-guide/security/>). `localhost`, `127.0.0.1` and `::1` are
    /// added to them.
    pub names: Vec<String>,
}

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The certificate authority.
    Authority,
    /// What the named member shows to its clients.
    Server(String),
    /// What the named member shows to its peers, and to them as their client.
    Peer(String),
    /// What this tool and the administrator show to the members; its common name is `root`, which
    /// is the user that etcd takes it for once authentication is enabled.
    Admin,
    /// What the named application shows to the members.
    Client(String),
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, holder) = match self {
            Self::Authority => ("authority", None),
            Self::Server(member) => ("server", Some(("member", member))),
            Self::Peer(member) => ("peer", Some(("member", member))),
            Self::Admin => ("admin", None),
            Self::Client(name) => ("client", Some(("client", name))),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", kind)?;
        if let Some((role, name)) = holder {
            map.serialize_entry(role, name)?;
        }
        map.end()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority => f.write_str("CA certificate"),
            Self::Server(member) => write!(f, "server certificate of {member}"),
            Self::Peer(member) => write!(f, "peer certificate of {member}"),
            Self::Admin => f.write_str("admin certificate"),
            Self::Client(name) => write!(f, "client certificate of {name}"),
        }
    }
}

/// What the inventory says about certificates.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The folder that holds CA, leaves and keys (0700).
    pub dir: PathBuf,
    /// A CA certificate of the user's own; without it one is made in `dir`.
    pub ca_cert: Option<PathBuf>,
    /// The key of `ca_cert`.
    pub ca_key: Option<PathBuf>,
    /// Whether the key of a CA that is made here is encrypted under a passphrase.
    pub encrypt_ca_key: bool,
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
