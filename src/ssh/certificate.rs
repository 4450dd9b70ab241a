//! Host certificates (OpenSSH's PROTOCOL.certkeys), held against the name that the host was looked up by.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate};

use super::facts::CertificateFault;
use super::known_hosts::glob;
use super::wire::printable;

/// Whether a certificate that a trusted authority's key is named in is good for `name`. `now` is in seconds since
/// 1970.
///
/// As strict as OpenSSH 10.3: no principals match no host, where older ones differ; `*` and `?` in a principal are
/// patterns. No critical option is defined for hosts.
pub(super) fn check(certificate: &Certificate, name: &str, now: u64) -> Result<(), CertificateFault> {
    // OpenSSH's CASignatureAlgorithms leave SHA-1 out.
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err(CertificateFault::WeakSignature);
    }
    let authority = certificate.signature_key().fingerprint(russh::keys::HashAlg::Sha256);
    // The library's check of the times is part of its check of the signature: one moment that is right for sure.
    if certificate.valid_after() >= certificate.valid_before() {
        return Err(CertificateFault::Expired(certificate.valid_before()));
    }
    if certificate.validate_at(certificate.valid_after(), [&authority]).is_err() {
        return Err(CertificateFault::Signature);
    }
    if certificate.cert_type() != CertType::Host {
        return Err(CertificateFault::NotForHosts);
    }
    if now < certificate.valid_after() {
        return Err(CertificateFault::NotYetValid(certificate.valid_after()));
    }
    if now >= certificate.valid_before() {
        return Err(CertificateFault::Expired(certificate.valid_before()));
    }
    let principals = certificate.valid_principals();
    if !principals.iter().any(|principal| glob(principal.as_bytes(), name.as_bytes())) {
        return Err(CertificateFault::Principals(principals.iter().map(|principal| printable(principal)).collect()));
    }
    if !certificate.critical_options().is_empty() {
        let options = certificate.critical_options().keys().map(|option| printable(option));
        return Err(CertificateFault::CriticalOptions(options.collect()));
    }
    Ok(())
}
