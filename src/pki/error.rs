//! What can be wrong with certificates, keys and their folder.

use super::Kind;
use super::sealed::ENCRYPTED;
use crate::error::{ExitStatus, Explain};
use std::io;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use time::macros::format_description;

/// Why certificates could not be read, made or kept.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or folder cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Whether the user named it in the inventory.
        given: bool,
        /// What the system says.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("failed to write `{path}`")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Only one of a CA's two files is named in the inventory.
    #[error("`{present}` is given without `{missing}`")]
    HalfGiven {
        /// The key that the inventory has.
        present: &'static str,
        /// The key that it lacks.
        missing: &'static str,
    },
    /// The CA's certificate cannot be used.
    #[error("CA certificate `{path}` {flaw}")]
    AuthorityCertificate {
        /// Its file.
        path: PathBuf,
        /// Whether the user named it in the inventory.
        given: bool,
        /// What is wrong with it.
        flaw: CertificateFlaw,
    },
    /// The CA's key cannot be used.
    #[error("CA key `{path}` {flaw}")]
    AuthorityKey {
        /// Its file.
        path: PathBuf,
        /// Whether the user named it in the inventory.
        given: bool,
        /// What is wrong with it.
        flaw: KeyFlaw,
    },
    /// The CA's key is encrypted, or is to be, and nobody has handed over the passphrase.
    #[error(
        "{} and there is no passphrase for it",
        if *new { format!("CA key `{}` is to be encrypted,", path.display()) }
        else { format!("CA key `{}` is encrypted,", path.display()) }
    )]
    Sealed {
        /// Its file.
        path: PathBuf,
        /// Whether it is yet to be made.
        new: bool,
    },
    /// Nobody has handed over a new passphrase for the CA's key.
    #[error("there is no new passphrase for CA key `{path}`")]
    NoNewPassphrase {
        /// The key's file.
        path: PathBuf,
    },
    /// The passphrase is not that of the CA's key.
    #[error("the passphrase of CA key `{path}` is wrong")]
    WrongPassphrase {
        /// The key's file.
        path: PathBuf,
    },
    /// The user's own CA's key is theirs to encrypt.
    #[error("CA key `{path}` was not made here")]
    NotOurs {
        /// Its file.
        path: PathBuf,
    },
    /// The CA's key could not be encrypted.
    #[error("failed to encrypt the CA key: {reason}")]
    Seal {
        /// What the crypto library says.
        reason: String,
    },
    /// The CA's key is not the one in its certificate.
    #[error("CA key `{key}` does not belong to CA certificate `{certificate}`")]
    AuthorityMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Whether the user named them in the inventory.
        given: bool,
    },
    /// A file of the CA is gone while others that depend on it are there.
    #[error("`{missing}` is missing while `{remaining}` is there")]
    AuthorityLost {
        /// What is gone.
        missing: PathBuf,
        /// What shows that it was there once.
        remaining: PathBuf,
    },
    /// Another run made a CA in the same folder since this one read it.
    #[error("`{path}` was made by another run in the meantime")]
    Overtaken {
        /// The file that was to be made.
        path: PathBuf,
    },
    /// A member cannot be put into a certificate.
    #[error("member `{member}`: {problem}")]
    Member {
        /// Its name.
        member: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no CA, or no admin certificate: nothing was deployed from here yet.
    #[error("there are no usable certificates in `{dir}`")]
    NoAuthority {
        /// The PKI folder.
        dir: PathBuf,
    },
    /// A client certificate of this name is there already.
    #[error("there is a client certificate `{name}` already: `{file}`")]
    ClientExists {
        /// Its name.
        name: String,
        /// Its file.
        file: PathBuf,
    },
    /// There is no client certificate of this name.
    #[error("there is no client certificate `{name}`")]
    NoClient {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A client certificate of this name would have all rights without anybody having said so.
    #[error("a client certificate with the common name `root` has all rights once authentication is enabled")]
    RootUnasked,
    /// A certificate or its key cannot be handed on.
    #[error("`{file}` cannot be used: {problem}")]
    Unusable {
        /// The certificate's file.
        file: PathBuf,
        /// What is wrong with it, a sentence.
        problem: String,
    },
    /// A certificate could not be put into another form.
    #[error("failed to write `{name}` as PKCS#12: {reason}")]
    Convert {
        /// Whose certificate.
        name: String,
        /// What the library says.
        reason: String,
    },
    /// A subject field cannot be put into a certificate.
    #[error("subject field `{field}`: `{value}` {problem}")]
    Subject {
        /// The inventory's name of it.
        field: &'static str,
        /// What the inventory says.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A private key could not be generated.
    #[error("failed to generate a private key: {reason}")]
    Generate {
        /// What the crypto library says.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("failed to issue the {kind}: {reason}")]
    Issue {
        /// What it was for.
        kind: Kind,
        /// What the library says.
        reason: String,
    },
    /// A certificate was made, but nobody would accept it.
    #[error("the {kind} issued by CA `{authority}` would not verify: {reason}")]
    Unverifiable {
        /// What it was for.
        kind: Kind,
        /// The CA's file.
        authority: PathBuf,
        /// Whether the user named the CA in the inventory.
        given: bool,
        /// What the verifier says.
        reason: String,
    },
}

/// What is wrong with a CA certificate; each follows the file's name in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFlaw {
    /// It holds no certificate in PEM form.
    #[error("holds no certificate in PEM form")]
    None,
    /// Its text is broken.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// Its end has passed.
    #[error("has expired: `{subject}` was valid until {}", date(*.at))]
    Expired {
        /// Whose certificate.
        subject: String,
        /// The end of its validity.
        at: OffsetDateTime,
    },
    /// Its beginning has not come.
    #[error("is not valid yet: `{subject}` is valid from {}", date(*.at))]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// The beginning of its validity.
        at: OffsetDateTime,
    },
    /// A certificate in it belongs to no CA.
    #[error("is not a CA's: `{subject}` lacks the basic constraint CA:TRUE")]
    NotAuthority {
        /// Whose certificate.
        subject: String,
    },
    /// Its key usage forbids issuing.
    #[error("may not issue certificates: `{subject}` lacks the key usage keyCertSign")]
    NoCertSign {
        /// Whose certificate.
        subject: String,
    },
    /// Its extended key usage forbids what etcd needs.
    #[error("may not issue what etcd needs: the extended key usage of `{subject}` lacks serverAuth or clientAuth")]
    Restricted {
        /// Whose certificate.
        subject: String,
    },
    /// A CA above allows no CA below it.
    #[error("is no valid chain: the path length of `{subject}` allows no CA this far below it")]
    PathLength {
        /// Whose path length.
        subject: String,
    },
    /// A CA above is not in the file.
    #[error("is not complete: `{subject}` was issued by `{issuer}`, which is not in the file")]
    Incomplete {
        /// The last certificate of the chain.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// A signature is wrong.
    #[error("is no valid chain: the signature on `{subject}` is not by the key of `{issuer}`")]
    Signature {
        /// Whose certificate.
        subject: String,
        /// Who should have signed it.
        issuer: String,
    },
}

/// What is wrong with a private key; each follows the file's name in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFlaw {
    /// It holds no private key in PEM form.
    #[error("holds no private key in PEM form")]
    None,
    /// It is encrypted.
    #[error("is encrypted")]
    Encrypted,
    /// Its text is broken.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It is of a kind that cannot be used.
    #[error("is of a kind that cannot be used (in a `{0}` block)")]
    Unsupported(String),
}

impl PkiError {
    /// Whether another passphrase may do better.
    #[must_use]
    pub fn is_wrong_passphrase(&self) -> bool {
        matches!(self, Self::WrongPassphrase { .. })
    }
}

impl Explain for PkiError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::HalfGiven { .. } => {
                Some("name both `pki.ca_cert` and `pki.ca_key`, or neither to have a CA made".to_owned())
            }
            Self::AuthorityCertificate { path, given, flaw } => Some(certificate_hint(path, *given, flaw)),
            Self::AuthorityKey { path, given, flaw } => Some(key_hint(path, *given, flaw)),
            Self::NotOurs { path } => {
                let path = path.display();
                Some(format!(
                    "`openssl pkcs8 -topk8 -in {path} -out NEW` writes it encrypted, as it is understood here"
                ))
            }
            Self::NoNewPassphrase { .. } => Some(
                "nothing was changed; it is asked for twice on a terminal, elsewhere say `--new-ca-pass-command` or \
                 `--new-ca-pass-fd`"
                    .to_owned(),
            ),
            Self::Sealed { .. } => {
                Some("it is asked for on a terminal; elsewhere say `--ca-pass-command` or `--ca-pass-fd`".to_owned())
            }
            Self::AuthorityMismatch { given: true, .. } => Some(
                "compare `openssl x509 -pubkey -noout -in CERTIFICATE` with `openssl pkey -pubout -in KEY`".to_owned(),
            ),
            Self::AuthorityMismatch { given: false, .. } => Some(RESTORE.to_owned()),
            Self::AuthorityLost { missing, remaining } => Some(lost_hint(missing, remaining)),
            Self::NoAuthority { .. } => Some(
                "`etcd-ha deploy` makes them; on another controller, copy the PKI folder from the one that deployed"
                    .to_owned(),
            ),
            Self::ClientExists { .. } => Some(
                "`--force` puts a new one with a new key in its place; the old one is accepted until it expires"
                    .to_owned(),
            ),
            Self::NoClient { name, known } => Some(format!(
                "there is {}; `etcd-ha certs issue --client --name {name}` issues one",
                known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            )),
            Self::RootUnasked => {
                Some("give it a common name of its own with `--cn`, or say `--cn root` if that is meant".to_owned())
            }
            Self::Unusable { .. } => {
                Some("`etcd-ha deploy` makes the admin's anew, `etcd-ha certs issue --force` a client's".to_owned())
            }
            Self::Overtaken { .. } => Some("run the same command again".to_owned()),
            Self::Unverifiable { given: true, .. } => Some(
                "the CA's own extensions (name constraints, usages, path length) may forbid these certificates"
                    .to_owned(),
            ),
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Member { .. }
            | Self::Subject { .. }
            | Self::Generate { .. }
            | Self::Issue { .. }
            | Self::Convert { .. }
            | Self::WrongPassphrase { .. }
            | Self::Seal { .. }
            | Self::Unverifiable { given: false, .. } => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::HalfGiven { .. }
            | Self::Sealed { .. }
            | Self::NoNewPassphrase { .. }
            | Self::NotOurs { .. }
            | Self::WrongPassphrase { .. }
            | Self::Member { .. }
            | Self::Subject { .. }
            | Self::ClientExists { .. }
            | Self::NoClient { .. }
            | Self::RootUnasked => ExitStatus::Usage,
            Self::Read { given: true, .. }
            | Self::AuthorityCertificate { given: true, .. }
            | Self::AuthorityKey { given: true, .. }
            | Self::AuthorityMismatch { given: true, .. }
            | Self::Unverifiable { given: true, .. } => ExitStatus::Usage,
            Self::AuthorityCertificate { .. }
            | Self::AuthorityKey { .. }
            | Self::AuthorityMismatch { .. }
            | Self::AuthorityLost { .. } => ExitStatus::Refused,
            Self::Overtaken { .. } => ExitStatus::Locked,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Generate { .. }
            | Self::Seal { .. }
            | Self::Issue { .. }
            | Self::NoAuthority { .. }
            | Self::Unusable { .. }
            | Self::Convert { .. }
            | Self::Unverifiable { .. } => ExitStatus::Failed,
        }
    }
}

/// What to do about a CA of ours that is broken: a new one in its place would cut off a living
/// cluster, since etcd reads the CA only when it starts.
const RESTORE: &str = "restore the CA's files from a backup; a new CA is never made in the place of one \
    that a cluster may still use";

fn lost_hint(missing: &Path, remaining: &Path) -> String {
    if missing.file_name().is_some_and(|name| name == "ca.pem") {
        format!("every member has a copy, `ca.pem` beside its certificates: put it back at `{}`", missing.display())
    } else {
        format!(
            "restore it from a backup; if no cluster uses these certificates yet, delete the folder `{}` \
             to start afresh",
            remaining.parent().unwrap_or(remaining).display()
        )
    }
}

fn certificate_hint(path: &Path, given: bool, flaw: &CertificateFlaw) -> String {
    match flaw {
        CertificateFlaw::NotYetValid { .. } => "check this machine's clock".to_owned(),
        CertificateFlaw::Incomplete { issuer, .. } => {
            format!("append the certificate of `{issuer}` to `{}`", path.display())
        }
        CertificateFlaw::Expired { .. } if !given => {
            "with an expired CA no member accepts another any more: they all need a new one at once".to_owned()
        }
        _ if !given => RESTORE.to_owned(),
        CertificateFlaw::None
        | CertificateFlaw::Damaged(_)
        | CertificateFlaw::Expired { .. }
        | CertificateFlaw::NotAuthority { .. }
        | CertificateFlaw::NoCertSign { .. }
        | CertificateFlaw::Restricted { .. }
        | CertificateFlaw::PathLength { .. }
        | CertificateFlaw::Signature { .. } => {
            format!("look at it with `openssl x509 -text -noout -in {}`", path.display())
        }
    }
}

fn key_hint(path: &Path, given: bool, flaw: &KeyFlaw) -> String {
    let path = path.display();
    match flaw {
        KeyFlaw::Encrypted => format!(
            "a key with a passphrase has to be PKCS#8: `openssl pkcs8 -topk8 -in {path} -out NEW` asks for both \
             passphrases and writes it so"
        ),
        KeyFlaw::Unsupported(label) if label == ENCRYPTED => format!(
            "`openssl pkcs8 -topk8 -in {path} -out NEW` asks for both passphrases and writes it under a cipher that is \
             understood here: AES, its key from PBKDF2 or scrypt"
        ),
        KeyFlaw::Unsupported(_) => format!(
            "RSA of 2048 to 4096 bits, ECDSA P-256 and P-384 and Ed25519 work; \
             `openssl pkcs8 -topk8 -nocrypt -in {path} -out PLAIN` writes the form that is understood best"
        ),
        KeyFlaw::None | KeyFlaw::Damaged(_) if !given => RESTORE.to_owned(),
        KeyFlaw::None | KeyFlaw::Damaged(_) => {
            format!("look at it with `openssl pkey -noout -in {path}`")
        }
    }
}

/// `at` to the minute, in UTC, for people.
#[must_use]
pub fn date(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC"))
        .unwrap_or_else(|_| at.to_string())
}
