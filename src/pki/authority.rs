//! The CA: read, judged, never replaced.

use super::error::CertificateFlaw;
use super::key::{self, Key};
use super::pem;
use rcgen::{KeyPair, PublicKeyData};
use sha2::{Digest, Sha256};
use std::fmt;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;

/// More CAs above one another than anyone has; ends cycles of cross-signed ones.
const DEEPEST: usize = 8;

/// A CA that can issue: its certificate, those above it, and its key.
pub(super) struct Authority {
    /// Every certificate of the file, as hosts get them.
    pub(super) pem: String,
    /// The same, one by one.
    pub(super) bundle: Vec<Vec<u8>>,
    /// The one of them that issues.
    pub(super) certificate: Vec<u8>,
    /// Its key, if it is open.
    pub(super) key: Option<Key>,
    /// The latest beginning among it and those above it.
    pub(super) not_before: OffsetDateTime,
    /// The earliest end among it and those above it.
    pub(super) not_after: OffsetDateTime,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why a certificate and a key make no CA.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The certificate is at fault.
    Certificate(CertificateFlaw),
    /// The key belongs to none of the certificates.
    Mismatch,
}

impl From<CertificateFlaw> for Refusal {
    fn from(flaw: CertificateFlaw) -> Self {
        Self::Certificate(flaw)
    }
}

impl Authority {
    /// Puts the certificates in `text` and `key` together, if they make a CA whose leaves etcd,
    /// OpenSSL and this program accept at `now`.
    pub(super) fn new(text: &str, key: Key, now: OffsetDateTime) -> Result<Self, Refusal> {
        let authority = Self::choose(text, now, |certificate| belongs_to(&key, certificate))?;
        Ok(Self { key: Some(key), ..authority })
    }

    /// The same as long as nobody has opened the key: which of the certificates it belongs to, a leaf that it signed
    /// tells, or else it is the first.
    pub(super) fn sealed(text: &str, leaf: Option<&[u8]>, now: OffsetDateTime) -> Result<Self, Refusal> {
        let leaf = leaf.and_then(|der| parse(der).ok());
        let issuer =
            |ca: &X509Certificate<'_>| leaf.as_ref().is_some_and(|leaf| signed_by(leaf, ca).is_ok_and(|signed| signed));
        Self::choose(text, now, issuer).or_else(|_| Self::choose(text, now, |_| true))
    }

    /// A CA of the certificates in `text`, of which one `is_it`.
    fn choose(text: &str, now: OffsetDateTime, is_it: impl Fn(&X509Certificate<'_>) -> bool) -> Result<Self, Refusal> {
        let bundle = pem::certificates(text).map_err(|e| CertificateFlaw::Damaged(e.to_string()))?;
        if bundle.is_empty() {
            return Err(CertificateFlaw::None.into());
        }
        let parsed =
            bundle.iter().map(|der| parse(der).map_err(CertificateFlaw::Damaged)).collect::<Result<Vec<_>, _>>()?;
        for certificate in &parsed {
            check_is_authority(certificate)?;
        }
        // A CA that is both self-signed and cross-signed has two certificates with one key.
        let mut refusal = Refusal::Mismatch;
        for (der, certificate) in bundle.iter().zip(&parsed) {
            if !is_it(certificate) {
                continue;
            }
            match check_chain(certificate, &parsed, now) {
                Ok((not_before, not_after)) => {
                    return Ok(Self {
                        // Encoded anew, so that nothing but certificates goes to the hosts: the
                        // user's file may hold the key as well.
                        pem: bundle.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string()).collect(),
                        certificate: der.clone(),
                        bundle: bundle.clone(),
                        key: None,
                        not_before,
                        not_after,
                    });
                }
                Err(flaw) if refusal == Refusal::Mismatch => refusal = flaw.into(),
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// The SHA-256 of the issuing certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub(super) fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.certificate);
        let bytes: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }

    /// Whether this CA issued `leaf`: by name, byte for byte, and by signature. Verifiers find the
    /// issuer by the raw bytes of its name, so a signature alone proves nothing.
    pub(super) fn issued(&self, leaf: &X509Certificate<'_>) -> bool {
        parse(&self.certificate).is_ok_and(|ca| signed_by(leaf, &ca).is_ok_and(|signed| signed))
    }
}

/// Parses one certificate, all of `der`.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("bytes follow the certificate".to_owned()),
        Err(error) => Err(match error {
            x509_parser::nom::Err::Incomplete(_) => "the certificate is cut off".to_owned(),
            x509_parser::nom::Err::Error(e) | x509_parser::nom::Err::Failure(e) => e.to_string(),
        }),
    }
}

/// Whether `key` is the one in `certificate`.
pub(super) fn belongs_to(key: &KeyPair, certificate: &X509Certificate<'_>) -> bool {
    key.der_bytes() == certificate.public_key().subject_public_key.data.as_ref()
}

/// Whether `certificate` names `issuer` as its issuer and carries its signature; an error says
/// that the signature's algorithm cannot be checked.
fn signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Result<bool, X509Error> {
    if certificate.issuer().as_raw() != issuer.subject().as_raw() {
        return Ok(false);
    }
    match certificate.verify_signature(Some(issuer.public_key())) {
        Ok(()) => Ok(true),
        Err(X509Error::SignatureUnsupportedAlgorithm) => Err(X509Error::SignatureUnsupportedAlgorithm),
        Err(_) => Ok(false),
    }
}

fn check_is_authority(certificate: &X509Certificate<'_>) -> Result<(), CertificateFlaw> {
    let constraints = certificate.basic_constraints().map_err(damaged)?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        Ok(())
    } else {
        Err(CertificateFlaw::NotAuthority { subject: certificate.subject().to_string() })
    }
}

/// Checks `issuer` and those above it, up to one that signed itself, and returns the time in which
/// all of them are valid (RFC 5280, section 6.1).
fn check_chain(
    issuer: &X509Certificate<'_>,
    bundle: &[X509Certificate<'_>],
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), CertificateFlaw> {
    let mut not_before = OffsetDateTime::UNIX_EPOCH;
    let mut not_after = super::issue::LAST_MOMENT;
    let mut current = issuer;
    for below in 0..DEEPEST {
        let validity = check_link(current, below, now)?;
        not_before = not_before.max(validity.0);
        not_after = not_after.min(validity.1);

        let subject = || current.subject().to_string();
        let issuer = || current.issuer().to_string();
        if current.subject().as_raw() == current.issuer().as_raw() {
            // Verifiers trust a root because it is there, whatever its signature's algorithm is.
            return match signed_by(current, current) {
                Ok(true) | Err(_) => Ok((not_before, not_after)),
                Ok(false) => Err(CertificateFlaw::Signature { subject: subject(), issuer: issuer() }),
            };
        }
        let mut above = bundle.iter().filter(|above| above.subject().as_raw() == current.issuer().as_raw()).peekable();
        if above.peek().is_none() {
            return Err(CertificateFlaw::Incomplete { subject: subject(), issuer: issuer() });
        }
        current = above
            .find(|above| signed_by(current, above).is_ok_and(|signed| signed))
            .ok_or_else(|| CertificateFlaw::Signature { subject: subject(), issuer: issuer() })?;
    }
    Err(CertificateFlaw::PathLength { subject: current.subject().to_string() })
}

/// Checks one CA of a chain with `below` CAs beneath it; returns its validity.
fn check_link(
    certificate: &X509Certificate<'_>,
    below: usize,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), CertificateFlaw> {
    let subject = || certificate.subject().to_string();
    let not_before = certificate.validity().not_before.to_datetime();
    let not_after = certificate.validity().not_after.to_datetime();
    if now < not_before {
        return Err(CertificateFlaw::NotYetValid { subject: subject(), at: not_before });
    }
    if now >= not_after {
        return Err(CertificateFlaw::Expired { subject: subject(), at: not_after });
    }
    let usage = certificate.key_usage().map_err(damaged)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(CertificateFlaw::NoCertSign { subject: subject() });
    }
    // Go holds leaves to the extended key usages of the CAs above them.
    let extended = certificate.extended_key_usage().map_err(damaged)?;
    if extended.is_some_and(|usage| !(usage.value.any || usage.value.server_auth && usage.value.client_auth)) {
        return Err(CertificateFlaw::Restricted { subject: subject() });
    }
    let constraints = certificate.basic_constraints().map_err(damaged)?;
    let allowed = constraints.and_then(|constraints| constraints.value.path_len_constraint);
    if allowed.is_some_and(|allowed| below > allowed as usize) {
        return Err(CertificateFlaw::PathLength { subject: subject() });
    }
    Ok((not_before, not_after))
}

fn damaged(error: X509Error) -> CertificateFlaw {
    CertificateFlaw::Damaged(error.to_string())
}

/// Reads a private key and checks whether it belongs to the first certificate in `certificate`;
/// the certificates' DER bytes are returned.
pub(super) fn read_pair(certificate: &str, key: &str) -> Result<(Vec<u8>, bool), String> {
    let der = pem::certificates(certificate)
        .map_err(|e| e.to_string())?
        .into_iter()
        .next()
        .ok_or("it holds no certificate in PEM form")?;
    let matches = {
        let parsed = parse(&der)?;
        let key = key::load(key).map_err(|flaw| format!("its private key {flaw}"))?;
        belongs_to(&key, &parsed)
    };
    Ok((der, matches))
}
