//! Users' certificates (PROTOCOL.certkeys of OpenSSH): which there are, and which are worth showing.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::{Algorithm, Certificate};
use time::OffsetDateTime;

use crate::ssh::facts::Means;
use crate::ssh::keys::{Unusable, read_text};

/// A certificate's file as far as it could be read.
pub(in crate::ssh) struct CertificateFile {
    pub(super) path: PathBuf,
    pub(super) certificate: Result<Certificate, Unusable>,
}

impl CertificateFile {
    /// Reads a certificate; none if there is no such file, as for OpenSSH.
    fn load(path: &Path) -> Option<Self> {
        let certificate = match read_text(path) {
            Ok(text) => Certificate::from_openssh(text.trim()).map_err(|why| Unusable::NoCertificate(why.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => Err(Unusable::Unreadable(error.to_string())),
        };
        Some(Self { path: path.to_path_buf(), certificate })
    }

    /// Those that were named, then those beside the key files, each once.
    pub(super) fn all<'a>(named: &[PathBuf], keys: impl Iterator<Item = &'a Path>) -> Vec<Self> {
        let mut files: Vec<Self> = Vec::new();
        for path in named.iter().cloned().chain(keys.map(beside)) {
            if files.iter().all(|file| file.path != path) {
                files.extend(Self::load(&path));
            }
        }
        files
    }

    pub(super) fn means(&self) -> Means {
        Means::Certificate(self.path.clone())
    }
}

/// `KEY-cert.pub` for `KEY` and for `KEY.pub`.
fn beside(key: &Path) -> PathBuf {
    let stem =
        if key.extension().is_some_and(|extension| extension == "pub") { key.with_extension("") } else { key.into() };
    let mut name = stem.into_os_string();
    name.push("-cert.pub");
    name.into()
}

/// Why no server can take a certificate, at this time.
pub(super) fn useless(certificate: &Certificate) -> Option<Unusable> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    useless_at(certificate.cert_type().is_user(), certificate.valid_after(), certificate.valid_before(), now)
}

fn useless_at(of_a_user: bool, after: u64, before: u64, now: u64) -> Option<Unusable> {
    if !of_a_user {
        Some(Unusable::HostCertificate)
    } else if now < after {
        Some(Unusable::NotYetValid(utc(after)))
    } else if now >= before {
        Some(Unusable::Expired(utc(before)))
    } else {
        None
    }
}

/// `2026-11-25 23:32 UTC`
fn utc(seconds: u64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let time = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| format!("second {seconds}"))
}

/// `ssh-ed25519-cert-v01@openssh.com SHA256:… ID "ops"`: its key and the name that the CA gave it.
pub(super) fn describe(certificate: &Certificate) -> String {
    let key = certificate.public_key().fingerprint(russh::keys::HashAlg::Sha256);
    let id = crate::ssh::wire::printable(certificate.key_id());
    format!("{} {key} ID `{id}`", certificate.algorithm().to_certificate_type())
}

/// Whether its key signs with RSA, so that a hash has to be agreed upon.
pub(super) fn is_rsa(certificate: &Certificate) -> bool {
    matches!(certificate.algorithm(), Algorithm::Rsa { .. })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Unusable, beside, useless_at};

    #[test]
    fn certificates_lie_beside_their_keys() {
        for (key, certificate) in
            [("/k/id", "/k/id-cert.pub"), ("/k/id.pub", "/k/id-cert.pub"), ("a.b", "a.b-cert.pub")]
        {
            assert_eq!(beside(Path::new(key)), Path::new(certificate));
        }
    }

    #[test]
    fn only_a_users_certificate_of_today_is_shown() {
        for (of_a_user, after, before, expected) in [
            (true, 0, u64::MAX, None),
            (true, 1_764_115_200, 1_764_115_201, None),
            (true, 1_764_115_201, u64::MAX, Some(Unusable::NotYetValid("2025-11-26 00:00 UTC".to_owned()))),
            (true, 0, 1_764_115_200, Some(Unusable::Expired("2025-11-26 00:00 UTC".to_owned()))),
            (true, u64::MAX, u64::MAX, Some(Unusable::NotYetValid(format!("second {}", u64::MAX)))),
            (false, 0, u64::MAX, Some(Unusable::HostCertificate)),
        ] {
            assert_eq!(useless_at(of_a_user, after, before, 1_764_115_200), expected, "{after} {before}");
        }
    }
}
