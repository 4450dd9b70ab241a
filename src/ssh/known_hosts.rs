//! known_hosts files, read as OpenSSH reads them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! Own code, since the readers at hand take a revoked key for a good one, report a change where a
//! host has two keys, and stumble over tabs and patterns.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::error::SshError;

mod text;

use text::Text;

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
    Trusted,
    /// Marked `@revoked`; outdoes every other entry.
    Revoked(Known),
    /// The host has other keys on file, and not this one.
    Changed(Known),
    Unknown,
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
    files: Vec<(PathBuf, Arc<Text>)>,
}

impl KnownHosts {
    /// Reads the files; one that does not exist has no keys.
    pub(super) fn load(paths: &[PathBuf]) -> Result<Self, SshError> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            match Text::read(path) {
                Ok(text) => files.push((path.clone(), text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(SshError::KnownHosts { path: path.clone(), action: "read", source });
                }
            }
        }
        Ok(Self { files })
    }

    /// What the files say about `key` as the key of `host`.
    ///
    /// On another port than 22 the host is looked for as `[host]:port`; if nothing is known under
    /// that name, the same key under the plain name is taken as well.
    pub(super) fn check(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        match self.check_name(&lookup_name(host, port), key) {
            Verdict::Unknown if port != 22 => match self.check_name(&lookup_name(host, 22), key) {
                Verdict::Changed(_) => Verdict::Unknown,
                verdict => verdict,
            },
            verdict => verdict,
        }
    }

    fn check_name(&self, name: &str, key: &PublicKey) -> Verdict {
        let mut trusted = false;
        let mut other: Option<Known> = None;
        for (marker, known) in self.entries(name) {
            let same = known.key.key_data() == key.key_data();
            match marker {
                Marker::Revoked if same => return Verdict::Revoked(known),
                Marker::Revoked | Marker::CertAuthority => {}
                Marker::None if same => trusted = true,
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
        match other {
            _ if trusted => Verdict::Trusted,
            Some(known) => Verdict::Changed(known),
            None => Verdict::Unknown,
        }
    }

    /// The types of the keys on file for the host. They are to be asked for first: a host known by
    /// its RSA key alone would otherwise show its Ed25519 key and look like another.
    pub(super) fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let of = |name: &str| -> Vec<Algorithm> {
            self.entries(name)
                .filter(|(marker, _)| *marker == Marker::None)
                .map(|(_, known)| known.key.algorithm())
                .collect()
        };
        let algorithms = of(&lookup_name(host, port));
        if algorithms.is_empty() && port != 22 { of(&lookup_name(host, 22)) } else { algorithms }
    }

    /// The entries whose host field matches `name`.
    fn entries<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (Marker, Known)> + 'a {
        self.files.iter().flat_map(move |(file, text)| {
            text.about(name, |line| read_line(line, name).is_some()).into_iter().filter_map(move |(number, line)| {
                let (marker, key) = read_line(line, name)?;
                Some((marker, Known { file: file.clone(), line: number, key }))
            })
        })
    }
}

/// Writes the key down as the last line of `file`, unless it is there by now.
///
/// Several hosts of one run may be met for the first time at the same moment: they take turns here,
/// and each line goes out in a single appending write, so that other programs tear no line either.
pub(super) fn learn(file: &Path, host: &str, port: u16, key: &PublicKey) -> Result<Verdict, SshError> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match KnownHosts::load(&[file.to_path_buf()])?.check(host, port, key) {
        Verdict::Unknown => {}
        verdict => return Ok(verdict),
    }
    append(file, host, port, key).map(|()| Verdict::Trusted).map_err(|source| SshError::KnownHosts {
        path: file.to_path_buf(),
        action: "write",
        source,
    })
}

fn append(file: &Path, host: &str, port: u16, key: &PublicKey) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut open = fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let key = PublicKey::from(key.key_data().clone()).to_openssh().map_err(io::Error::other)?;
    let mut line = format!("{} {}\n", lookup_name(host, port), key.trim_end());
    if open.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        open.seek(SeekFrom::End(-1))?;
        open.read_exact(&mut last)?;
        if last != *b"\n" {
            line.insert(0, '\n');
        }
    }
    open.write_all(line.as_bytes())
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
    if !hosts_match(hosts, name) {
        return None;
    }
    let key = PublicKey::from_openssh(&format!("{algorithm} {}", base64.trim_end())).ok()?;
    Some((marker, key))
}

/// Whether a host field, hashed or a list of patterns, is about `name`.
fn hosts_match(field: &str, name: &str) -> bool {
    if let Some(hashed) = field.strip_prefix("|1|") {
        return hash_matches(hashed, name).unwrap_or(false);
    }
    let mut matches = false;
    for pattern in field.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if glob(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => matches |= glob(pattern.as_bytes(), name.as_bytes()),
        }
    }
    matches
}

/// `salt|hash`, both in base64: HMAC-SHA1 of the name, keyed by the salt.
fn hash_matches(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let salt = data_encoding::BASE64.decode(salt.as_bytes()).ok()?;
    let hash = data_encoding::BASE64.decode(hash.as_bytes()).ok()?;
    let mac = Hmac::<sha1::Sha1>::new_from_slice(&salt).ok()?;
    Some(mac.chain_update(name).verify_slice(&hash).is_ok())
}

/// `*` stands for any number of characters, `?` for one; letters match in either case. Goes back
/// to the last `*` only, so that no pattern takes more than quadratic time.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while let Some(byte) = name.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(b'?') => (at, read) = (at + 1, read + 1),
            Some(other) if other.eq_ignore_ascii_case(byte) => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((star_at, star_read)) => {
                    star = Some((star_at, star_read + 1));
                    (at, read) = (star_at + 1, star_read + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests;
