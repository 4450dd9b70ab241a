//! known_hosts files, read as OpenSSH reads them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! Own code, since the readers at hand take a revoked key for a good one, report a change where a
//! host has two keys, and stumble over tabs and patterns.

mod learn;
mod pattern;

use std::fs;
use std::io;
use std::path::PathBuf;

use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use super::certificate;
use super::error::SshError;
use super::facts::CertificateFault;
use super::hop::KnownName;

pub(super) use learn::{Learnt, learn};
pub(super) use pattern::glob;

/// One host key as some file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) file: PathBuf,
    /// From 1, counting every line.
    pub(super) line: usize,
    pub(super) key: PublicKey,
}

/// What the files say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Trusted(Known),
    /// Marked `@revoked`; outdoes every other entry.
    Revoked(Known),
    /// The host has other keys on file, and not this one.
    Changed(Known),
    Unknown,
}

/// What the files say about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Vouched {
    /// An authority that stands there for this host vouches for it.
    Yes(Known),
    /// Its key, or its authority's, is marked `@revoked`.
    Revoked(Known),
    /// It does not count, and why.
    No(CertificateFault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    CertAuthority,
}

/// The text of the known_hosts files, in the order in which they count.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownHosts {
    files: Vec<(PathBuf, String)>,
}

impl KnownHosts {
    /// Reads the files; one that does not exist has no keys.
    pub(super) fn load(paths: &[PathBuf]) -> Result<Self, SshError> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            match fs::read(path) {
                // A line that is not text can only match in its comment, and is skipped otherwise.
                Ok(bytes) => files.push((path.clone(), String::from_utf8_lossy(&bytes).into_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(SshError::KnownHosts { path: path.clone(), action: "read", source });
                }
            }
        }
        Ok(Self { files })
    }

    /// What the files say about `key` as the key of a host that stands in them under one of `names`. The first
    /// name under which anything is known decides.
    pub(super) fn check(&self, names: &[KnownName], key: &PublicKey) -> Verdict {
        for name in names {
            match self.check_name(&name.text, key) {
                Verdict::Unknown => {}
                Verdict::Changed(_) if name.weak => {}
                verdict => return verdict,
            }
        }
        Verdict::Unknown
    }

    /// What the files say about a certificate of a host that stands in them under one of `names`. `now` is in
    /// seconds since 1970.
    pub(super) fn vouch(&self, names: &[KnownName], certificate: &Certificate, now: u64) -> Vouched {
        let (mut good, mut fault) = (None, None);
        for name in names {
            for (marker, known) in self.entries(&name.text) {
                let key = known.key.key_data();
                let signed = key == certificate.signature_key();
                match marker {
                    Marker::Revoked if signed || key == certificate.public_key() => return Vouched::Revoked(known),
                    Marker::CertAuthority if signed => match certificate::check(certificate, name.principal(), now) {
                        Ok(()) => _ = good.get_or_insert(known),
                        Err(why) => _ = fault.get_or_insert(why),
                    },
                    Marker::Revoked | Marker::CertAuthority | Marker::None => {}
                }
            }
        }
        match (good, fault) {
            (Some(known), _) => Vouched::Yes(known),
            (None, Some(fault)) => Vouched::No(fault),
            (None, None) => {
                let fingerprint = certificate.signature_key().fingerprint(HashAlg::Sha256).to_string();
                Vouched::No(CertificateFault::Authority(fingerprint))
            }
        }
    }

    /// Whether an authority stands there that may vouch for the host.
    pub(super) fn has_authority(&self, names: &[KnownName]) -> bool {
        names.iter().any(|name| self.entries(&name.text).any(|(marker, _)| marker == Marker::CertAuthority))
    }

    fn check_name(&self, name: &str, key: &PublicKey) -> Verdict {
        let mut trusted: Option<Known> = None;
        let mut other: Option<Known> = None;
        for (marker, known) in self.entries(name) {
            let same = known.key.key_data() == key.key_data();
            match marker {
                Marker::Revoked if same => return Verdict::Revoked(known),
                Marker::Revoked | Marker::CertAuthority => {}
                Marker::None if same => _ = trusted.get_or_insert(known),
                // The key of the presented one's own type tells the reader most.
                Marker::None => {
                    let better = other.as_ref().is_none_or(|other| {
                        other.key.algorithm() != key.algorithm() && known.key.algorithm() == key.algorithm()
                    });
                    if better {
                        other = Some(known);
                    }
                }
            }
        }
        match (trusted, other) {
            (Some(known), _) => Verdict::Trusted(known),
            (None, Some(known)) => Verdict::Changed(known),
            (None, None) => Verdict::Unknown,
        }
    }

    /// The types of the keys on file for the host. They are to be asked for first: a host known by
    /// its RSA key alone would otherwise show its Ed25519 key and look like another.
    pub(super) fn algorithms(&self, names: &[KnownName]) -> Vec<Algorithm> {
        let of = |name: &KnownName| -> Vec<Algorithm> {
            self.entries(&name.text)
                .filter(|(marker, _)| *marker == Marker::None)
                .map(|(_, known)| known.key.algorithm())
                .collect()
        };
        names.iter().map(of).find(|algorithms| !algorithms.is_empty()).unwrap_or_default()
    }

    /// How many lines the files have.
    fn lines(&self) -> usize {
        self.files.iter().map(|(_, text)| text.lines().count()).sum()
    }

    /// The entries whose host field matches `name`.
    fn entries<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (Marker, Known)> + 'a {
        self.files.iter().flat_map(move |(file, text)| {
            text.lines().enumerate().filter_map(move |(index, line)| {
                let (marker, key) = read_line(line, name)?;
                Some((marker, Known { file: file.clone(), line: index + 1, key }))
            })
        })
    }
}

/// The name under which a host stands in a known_hosts file.
pub(super) fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// `SHA256:…`, as `ssh-keygen -l` prints it.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Marker and key of a line whose host field matches `name`; none for comments and for lines that
/// OpenSSH skips, too.
fn read_line(line: &str, name: &str) -> Option<(Marker, PublicKey)> {
    let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
    let mut hosts = fields.next().filter(|field| !field.starts_with('#'))?;
    let marker = match hosts {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::CertAuthority,
        field if field.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        hosts = fields.next()?;
    }
    let (algorithm, base64) = (fields.next()?, fields.next()?);
    if !pattern::matches(hosts, name) {
        return None;
    }
    let key = PublicKey::from_openssh(&format!("{algorithm} {}", base64.trim_end())).ok()?;
    Some((marker, key))
}

#[cfg(test)]
mod tests;
