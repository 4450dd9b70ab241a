//! known_hosts files, read as OpenSSH reads them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! Own code, since the readers at hand take a revoked key for a good one, report a change where a
//! host has two keys, and stumble over tabs and patterns.

mod file;
mod learn;
mod pattern;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use super::certificate;
use super::facts::CertificateFault;
use super::hop::KnownName;

use file::KnownFile;

/// The lines of a known_hosts file's text that have a key for `name`, from 1: those that `ssh-keygen -F` prints.
#[must_use]
pub fn known_lines(text: &str, name: &str) -> Vec<usize> {
    KnownFile::parse(Path::new(""), text).entries(name).into_iter().map(|(_, known)| known.line).collect()
}

pub(super) use file::KnownFiles;
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

/// The known_hosts files of a host, in the order in which they count.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownHosts(Vec<Arc<KnownFile>>);

impl KnownHosts {
    /// What stands in the files about a host that is looked for under `names`. The first name under which anything
    /// is known decides.
    pub(super) fn of(&self, names: &[KnownName]) -> OnFile {
        let entries = |name: &KnownName| self.0.iter().flat_map(|file| file.entries(&name.text)).collect();
        OnFile(names.iter().map(|name| (name.clone(), entries(name))).collect())
    }
}

/// What known_hosts files have about one host: for each of its names the lines that match.
#[derive(Debug, Clone, Default)]
pub(super) struct OnFile(Vec<(KnownName, Vec<(Marker, Known)>)>);

impl OnFile {
    /// What the files say about `key` as the host's own.
    pub(super) fn check(&self, key: &PublicKey) -> Verdict {
        for (name, entries) in &self.0 {
            match check(entries, key) {
                Verdict::Unknown => {}
                Verdict::Changed(_) if name.weak => {}
                verdict => return verdict,
            }
        }
        Verdict::Unknown
    }

    /// What the files say about the host's certificate. `now` is in seconds since 1970.
    pub(super) fn vouch(&self, certificate: &Certificate, now: u64) -> Vouched {
        let (mut good, mut fault) = (None, None);
        for (name, entries) in &self.0 {
            for (marker, known) in entries {
                let key = known.key.key_data();
                let signed = key == certificate.signature_key();
                match marker {
                    Marker::Revoked if signed || key == certificate.public_key() => {
                        return Vouched::Revoked(known.clone());
                    }
                    Marker::CertAuthority if signed => match certificate::check(certificate, name.principal(), now) {
                        Ok(()) => _ = good.get_or_insert(known),
                        Err(why) => _ = fault.get_or_insert(why),
                    },
                    Marker::Revoked | Marker::CertAuthority | Marker::None => {}
                }
            }
        }
        match (good, fault) {
            (Some(known), _) => Vouched::Yes(known.clone()),
            (None, Some(fault)) => Vouched::No(fault),
            (None, None) => {
                let fingerprint = certificate.signature_key().fingerprint(HashAlg::Sha256).to_string();
                Vouched::No(CertificateFault::Authority(fingerprint))
            }
        }
    }

    /// Whether an authority stands there that may vouch for the host.
    pub(super) fn has_authority(&self) -> bool {
        self.0.iter().flat_map(|(_, entries)| entries).any(|(marker, _)| *marker == Marker::CertAuthority)
    }

    /// The types of the keys on file for the host. They are to be asked for first: a host known by
    /// its RSA key alone would otherwise show its Ed25519 key and look like another.
    pub(super) fn types(&self) -> Vec<Algorithm> {
        let of = |(_, entries): &(KnownName, Vec<(Marker, Known)>)| -> Vec<Algorithm> {
            let own = entries.iter().filter(|(marker, _)| *marker == Marker::None);
            own.map(|(_, known)| known.key.algorithm()).collect()
        };
        self.0.iter().map(of).find(|types| !types.is_empty()).unwrap_or_default()
    }
}

fn check(entries: &[(Marker, Known)], key: &PublicKey) -> Verdict {
    let mut trusted: Option<&Known> = None;
    let mut other: Option<&Known> = None;
    for (marker, known) in entries {
        let same = known.key.key_data() == key.key_data();
        match marker {
            Marker::Revoked if same => return Verdict::Revoked(known.clone()),
            Marker::Revoked | Marker::CertAuthority => {}
            Marker::None if same => _ = trusted.get_or_insert(known),
            // The key of the presented one's own type tells the reader most.
            Marker::None => {
                let better = other.is_none_or(|other| {
                    other.key.algorithm() != key.algorithm() && known.key.algorithm() == key.algorithm()
                });
                if better {
                    other = Some(known);
                }
            }
        }
    }
    match (trusted, other) {
        (Some(known), _) => Verdict::Trusted(known.clone()),
        (None, Some(known)) => Verdict::Changed(known.clone()),
        (None, None) => Verdict::Unknown,
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

#[cfg(test)]
mod tests;
