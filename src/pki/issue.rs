//! Making certificates.

use super::authority::{Authority, parse};
use super::error::PkiError;
use super::leaf::Wanted;
use super::names::{LONGEST_COMMON_NAME, Name};
use super::verify::Verifier;
use super::{Kind, Subject, key, pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};
use std::time::Duration as StdDuration;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

/// The last moment that a certificate can name (RFC 5280, section 4.1.2.5).
pub(super) const LAST_MOMENT: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// How far in the past certificates begin, for hosts whose clocks are behind.
const SKEW: Duration = Duration::HOUR;

/// `now` and `lifetime` later, as far as a certificate can name it.
pub(super) fn end_of(now: OffsetDateTime, lifetime: StdDuration) -> OffsetDateTime {
    Duration::try_from(lifetime)
        .ok()
        .and_then(|lifetime| now.checked_add(lifetime))
        .map_or(LAST_MOMENT, |end| end.min(LAST_MOMENT))
}

/// A CA certificate for `key`, signed by itself, in PEM form.
pub(super) fn authority(
    cluster: &str,
    subject: &Subject,
    key: &KeyPair,
    lifetime: StdDuration,
    now: OffsetDateTime,
) -> Result<String, PkiError> {
    const SUFFIX: &str = " etcd CA";
    let cluster: String = cluster.chars().take(LONGEST_COMMON_NAME - SUFFIX.len()).collect();
    let mut params = params(subject, &format!("{cluster}{SUFFIX}"))?;
    params.not_before = now - SKEW;
    params.not_after = end_of(now, lifetime);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate =
        params.self_signed(key).map_err(|e| PkiError::Issue { kind: Kind::Authority, reason: e.to_string() })?;
    Ok(pem::encode(pem::CERTIFICATE, certificate.der()).to_string())
}

/// A leaf for `key` as `wanted`, signed by `authority`, in PEM form. What would not verify is
/// returned as an error that says why.
pub(super) fn leaf(
    wanted: &Wanted,
    subject: &Subject,
    key: &KeyPair,
    not_after: OffsetDateTime,
    authority: &Authority,
    verifier: &Verifier,
    now: OffsetDateTime,
) -> Result<String, LeafError> {
    let mut params = params(subject, &wanted.common_name)?;
    params.not_before = (now - SKEW).max(authority.not_before);
    params.not_after = not_after;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if key::is_rsa(key) {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    if wanted.serves() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    for name in &wanted.names {
        params.subject_alt_names.push(match name {
            Name::Ip(ip) => SanType::IpAddress(*ip),
            Name::Dns(name) | Name::Other(name) => {
                SanType::DnsName(name.as_str().try_into().map_err(|e: rcgen::Error| LeafError::Reason(e.to_string()))?)
            }
        });
    }
    let der = sign(&params, key, authority).map_err(LeafError::Reason)?;
    let issued = parse(&der).is_ok_and(|leaf| authority.issued(&leaf));
    if !issued {
        return Err(LeafError::Unverifiable("its issuer or signature is not the CA's".to_owned()));
    }
    verifier.check(&der, wanted.serves(), now).map_err(LeafError::Unverifiable)?;
    Ok(pem::encode(pem::CERTIFICATE, &der).to_string())
}

/// Why a leaf could not be made.
pub(super) enum LeafError {
    /// The subject is wrong.
    Subject(PkiError),
    /// It could not be made.
    Reason(String),
    /// It was made, but nobody would accept it.
    Unverifiable(String),
}

impl From<PkiError> for LeafError {
    fn from(error: PkiError) -> Self {
        Self::Subject(error)
    }
}

/// What CA and leaves have in common.
fn params(subject: &Subject, common_name: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(subject, common_name)?;
    params.serial_number = Some(serial()?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn distinguished_name(subject: &Subject, common_name: &str) -> Result<DistinguishedName, PkiError> {
    let mut name = DistinguishedName::new();
    if let Some(country) = &subject.country {
        let refuse = || PkiError::Subject {
            field: "country",
            value: country.clone(),
            problem: "is not a country code of two letters (ISO 3166)",
        };
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(refuse());
        }
        // The one field that RFC 5280 does not allow as UTF-8.
        let country = country.as_str().try_into().map_err(|_| refuse())?;
        name.push(DnType::CountryName, DnValue::PrintableString(country));
    }
    for (field, kind, value, longest) in [
        ("state", DnType::StateOrProvinceName, &subject.state, 128),
        ("locality", DnType::LocalityName, &subject.locality, 128),
        ("organization", DnType::OrganizationName, &subject.organization, 64),
    ] {
        let Some(value) = value else { continue };
        if value.trim().is_empty() || value.chars().count() > longest {
            return Err(PkiError::Subject {
                field,
                value: value.clone(),
                problem: "is empty or longer than a certificate takes (RFC 5280, appendix A.1)",
            });
        }
        name.push(kind, value.as_str());
    }
    name.push(DnType::CommonName, common_name);
    Ok(name)
}

/// 16 random bytes, positive and of the same length always. Random, so that a CA never repeats
/// one although nobody keeps count; by default rcgen derives it from the key.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| PkiError::Generate { reason: e.to_string() })?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Takes the place of the issuer's key while rcgen composes a certificate that is signed later.
struct Unsigned<'a>(&'a KeyPair);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// Composes and signs a leaf.
///
/// rcgen keeps a name as a map from attribute to value: it would lose one of two equal attributes
/// of the CA's subject (`DC=com, DC=example`, usual in Active Directory) and with it the chain. So
/// the CA's subject is put in byte for byte, and the whole is signed afterwards.
fn sign(params: &CertificateParams, key: &KeyPair, authority: &Authority) -> Result<Vec<u8>, String> {
    let ca = parse(&authority.certificate)?;
    let ca_key = authority.key.as_deref().ok_or("the CA's key is not open")?;
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = DistinguishedName::new();
    issuer.key_identifier_method = key_identifier(&ca);
    let draft = params.signed_by(key, &Issuer::new(issuer, Unsigned(ca_key))).map_err(|e| e.to_string())?;
    replace_issuer_and_sign(draft.der(), ca.subject().as_raw(), ca_key)
}

/// What the leaf's authority key identifier says: the CA's own subject key identifier, if it has one.
fn key_identifier(ca: &X509Certificate<'_>) -> KeyIdMethod {
    ca.iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(KeyIdMethod::PreSpecified(id.0.to_vec())),
            _ => None,
        })
        .unwrap_or(KeyIdMethod::Sha256)
}

/// `draft` with `issuer` for its issuer, signed by `key` (RFC 5280, section 4.1):
///
/// ```text
/// Certificate    ::= SEQUENCE { TBSCertificate, AlgorithmIdentifier, BIT STRING }
/// TBSCertificate ::= SEQUENCE { version, serialNumber, signature, issuer, … }
/// ```
fn replace_issuer_and_sign(draft: &[u8], issuer: &[u8], key: &KeyPair) -> Result<Vec<u8>, String> {
    let next = |der| Any::from_der(der).map_err(|e| e.to_string());
    let (_, certificate) = next(draft)?;
    let (after_body, body) = next(certificate.data)?;
    let (after_algorithm, _) = next(after_body)?;
    let algorithm = &after_body[..after_body.len() - after_algorithm.len()];

    let (after_version, _) = next(body.data)?;
    let (after_serial, _) = next(after_version)?;
    let (from_issuer, _) = next(after_serial)?;
    let (after_issuer, _) = next(from_issuer)?;
    let before_issuer = &body.data[..body.data.len() - from_issuer.len()];

    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let body = encode(SEQUENCE, &[before_issuer, issuer, after_issuer]);
    let signature = key.sign(&body).map_err(|e| e.to_string())?;
    // No bits of the last byte are unused.
    let signature = encode(BIT_STRING, &[&[0], &signature]);
    Ok(encode(SEQUENCE, &[&body, algorithm, &signature]))
}

/// One element in DER: tag, length, contents.
fn encode(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length: usize = contents.iter().map(|part| part.len()).sum();
    let mut der = vec![tag];
    match u8::try_from(length) {
        Ok(short @ ..0x80) => der.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let bytes = &bytes[(length.leading_zeros() / 8) as usize..];
            // At most eight bytes, so this is no lossy cast.
            der.push(0x80 | bytes.len() as u8);
            der.extend_from_slice(bytes);
        }
    }
    for part in contents {
        der.extend_from_slice(part);
    }
    der
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ends_where_a_certificate_can_say_so() {
        let now = datetime!(2026-11-10 12:00 UTC);
        for (hours, end) in [
            (1, datetime!(2026-11-10 13:00 UTC)),
            (87600, datetime!(2036-11-07 12:00 UTC)),
            (24 * 366 * 8000, LAST_MOMENT),
            (u64::MAX / 3600, LAST_MOMENT),
        ] {
            assert_eq!(end_of(now, StdDuration::from_secs(hours * 3600)), end, "{hours}");
        }
    }

    #[test]
    fn refuses_subjects_that_no_certificate_takes() {
        let ok = Subject {
            country: Some("DE".to_owned()),
            state: Some("Baden-Württemberg".to_owned()),
            locality: Some("Köln".to_owned()),
            organization: Some("Example & Co".to_owned()),
        };
        assert!(distinguished_name(&ok, "x").is_ok());
        let some = |text: &str| Some(text.to_owned());
        for (bad, field) in [
            (Subject { country: some("DEU"), ..ok.clone() }, "country"),
            (Subject { country: some("ß"), ..ok.clone() }, "country"),
            (Subject { country: some("D1"), ..ok.clone() }, "country"),
            (Subject { state: some(" "), ..ok.clone() }, "state"),
            (Subject { locality: some(&"x".repeat(129)), ..ok.clone() }, "locality"),
            (Subject { organization: some(&"ü".repeat(65)), ..ok.clone() }, "organization"),
        ] {
            let error = distinguished_name(&bad, "x").unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn der_lengths_are_read_back(length in prop_oneof![0usize..300, 65_000usize..66_000, Just(1 << 24)]) {
            let contents = vec![7; length];
            let der = encode(0x04, &[&contents]);
            let (rest, any) = Any::from_der(&der).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(any.data, contents.as_slice());
        }
    }
}
