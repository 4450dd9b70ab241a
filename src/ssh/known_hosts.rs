//! known_hosts files, read as OpenSSH reads them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! Own code, since the readers at hand take a revoked key for a good one, report a change where a
//! host has two keys, and stumble over tabs and patterns.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::error::SshError;

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
            text.lines().enumerate().filter_map(move |(index, line)| {
                let (marker, key) = read_line(line, name)?;
                Some((marker, Known { file: file.clone(), line: index + 1, key }))
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
    append(file, host, port, key)
        .map(|()| Verdict::Trusted)
        .map_err(|source| SshError::KnownHosts { path: file.to_path_buf(), action: "write", source })
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
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};
    use russh::keys::{Algorithm, PublicKey};

    use super::{KnownHosts, Verdict, glob, learn};

    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDRUNw3y6hnKPYNx/YekF6+MIHs/i5yjMIRetK2KefRpZqsOTg+IFagTy4Q\
        feodFU46gVgbUim4C2dIQ2GkqKSkX0bxc2flrf2uxn1+QRriZOdAHLVxMPKUjjWgR3V7qpPegvygZH6tWS/aPC3R\
        xO3mdo99mC2f24l3BSooN2sT5Q==";

    fn key(number: u8) -> PublicKey {
        PublicKey::from(KeyData::Ed25519(Ed25519PublicKey([number; 32])))
    }

    fn line(key: &PublicKey) -> String {
        key.to_openssh().unwrap()
    }

    fn known(files: &[&str]) -> KnownHosts {
        let files = files.iter().enumerate();
        KnownHosts { files: files.map(|(n, text)| (PathBuf::from(format!("kh{n}")), (*text).to_owned())).collect() }
    }

    fn verdict(files: &[&str], host: &str, port: u16) -> String {
        match known(files).check(host, port, &key(1)) {
            Verdict::Trusted => "trusted".to_owned(),
            Verdict::Unknown => "unknown".to_owned(),
            Verdict::Revoked(known) => format!("revoked {}:{}", known.file.display(), known.line),
            Verdict::Changed(known) => format!("changed {}:{}", known.file.display(), known.line),
        }
    }

    #[test]
    fn what_a_file_says() {
        let (ours, other) = (line(&key(1)), line(&key(2)));
        for (text, host, port, expected) in [
            (String::new(), "node01", 22, "unknown"),
            (format!("node01 {ours}\n"), "node01", 22, "trusted"),
            (format!("node01 {ours}"), "NODE01", 22, "trusted"),
            (format!("Node01 {ours} a comment\r\n"), "node01", 22, "trusted"),
            (format!("  node01\t{}\tcomment", ours.replace(' ', "\t")), "node01", 22, "trusted"),
            (format!("# node01 {ours}\n\nnode02 {ours}"), "node01", 22, "unknown"),
            (format!("# a comment\n\n  \nnode01 {other}"), "node01", 22, "changed kh0:4"),
            (format!("node01 {other}\nnode01 {ours}"), "node01", 22, "trusted"),
            (format!("node01,10.0.0.1 {ours}"), "10.0.0.1", 22, "trusted"),
            (format!("10.0.0.* {ours}"), "10.0.0.1", 22, "trusted"),
            (format!("10.0.0.? {ours}"), "10.0.0.12", 22, "unknown"),
            (format!("10.0.0.*,!10.0.0.1 {ours}"), "10.0.0.1", 22, "unknown"),
            (format!("!10.0.0.1,10.0.0.* {ours}"), "10.0.0.2", 22, "trusted"),
            (format!("!node02 {ours}"), "node01", 22, "unknown"),
            (format!("@revoked node01 {ours}"), "node01", 22, "revoked kh0:1"),
            (format!("node01 {ours}\n@revoked * {ours}"), "node01", 22, "revoked kh0:2"),
            (format!("@revoked node01 {other}\nnode01 {ours}"), "node01", 22, "trusted"),
            (format!("@revoked node01 {other}"), "node01", 22, "unknown"),
            (format!("@cert-authority node01 {ours}"), "node01", 22, "unknown"),
            (format!("@cert-authority node01 {other}"), "node01", 22, "unknown"),
            (format!("@nonsense node01 {ours}"), "node01", 22, "unknown"),
            (format!("[node01]:2222 {ours}"), "node01", 2222, "trusted"),
            (format!("[node01]:2222 {ours}"), "node01", 22, "unknown"),
            (format!("[node01]:2222 {ours}"), "node01", 2223, "unknown"),
            (format!("node01 {ours}"), "node01", 2222, "trusted"),
            (format!("node01 {other}"), "node01", 2222, "unknown"),
            (format!("node01 {ours}\n[node01]:2222 {other}"), "node01", 2222, "changed kh0:2"),
            (format!("[node01]:* {ours}"), "node01", 2222, "trusted"),
            (format!("fd00::1 {ours}"), "fd00::1", 22, "trusted"),
            (format!("[fd00::1]:2222 {ours}"), "FD00::1", 2222, "trusted"),
            (format!("node01 {RSA}"), "node01", 22, "changed kh0:1"),
            (format!("node01 {RSA}\nnode01 {other}"), "node01", 22, "changed kh0:2"),
            ("node01 ssh-ed25519 AAAAbroken\nnode01\nnode01 ssh-ed25519\n@revoked".to_owned(), "node01", 22, "unknown"),
            (format!("node01 ssh-rsa {}", ours.split(' ').nth(1).unwrap()), "node01", 22, "unknown"),
            (format!("|1|broken {ours}\n|1|a|b {ours}\n|2|x|y {ours}"), "node01", 22, "unknown"),
        ] {
            assert_eq!(verdict(&[&text], host, port), expected, "{text:?} {host}:{port}");
        }
    }

    #[test]
    fn hashed_names() {
        // HMAC-SHA1, as `ssh-keygen -H` writes it: for `node01` and for `[node01]:2222`.
        let ours = line(&key(1));
        let text = format!(
            "|1|{}|{} {ours}\n|1|{}|{} {ours}\n",
            "AAECAwQFBgcICQoLDA0ODxAREhM=", "JsP6xfMbTy4xbQzYCGJ3l2URm2s=", "AAECAwQFBgcICQoLDA0ODxAREhM=", "ys9rVTaJ3yYNICWx8uYNCQPBc0I=",
        );
        for (host, port, expected) in
            [("node01", 22, "trusted"), ("node01", 2222, "trusted"), ("node02", 22, "unknown")]
        {
            assert_eq!(verdict(&[&text], host, port), expected, "{host}:{port}");
        }
    }

    #[test]
    fn several_files_count_together() {
        let (ours, other) = (format!("node01 {}", line(&key(1))), format!("node01 {}", line(&key(2))));
        assert_eq!(verdict(&["", &ours], "node01", 22), "trusted");
        assert_eq!(verdict(&[&other, &ours], "node01", 22), "trusted");
        assert_eq!(verdict(&["\n", &format!("#\n{other}")], "node01", 22), "changed kh1:2");
        assert_eq!(verdict(&[&ours, &format!("@revoked {ours}")], "node01", 22), "revoked kh1:1");
    }

    #[test]
    fn the_types_on_file() {
        let text = format!("node01 {RSA}\n@revoked node01 {}\n[node02]:2222 {}", line(&key(1)), line(&key(1)));
        assert_eq!(known(&[&text]).algorithms("node01", 22), [Algorithm::Rsa { hash: None }]);
        assert_eq!(known(&[&text]).algorithms("node01", 2222), [Algorithm::Rsa { hash: None }]);
        assert_eq!(known(&[&text]).algorithms("node02", 2222), [Algorithm::Ed25519]);
        assert_eq!(known(&[&text]).algorithms("node02", 22), []);
    }

    #[test]
    fn a_new_key_is_written_down_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/.ssh/known_hosts");
        assert_eq!(learn(&file, "Node01", 22, &key(1)).unwrap(), Verdict::Trusted);
        assert_eq!(learn(&file, "node01", 22, &key(1)).unwrap(), Verdict::Trusted);
        assert!(matches!(learn(&file, "node01", 22, &key(2)).unwrap(), Verdict::Changed(_)));
        let expected = format!("node01 {}\n", line(&key(1)));
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

        // A file that somebody edited and left without a line end.
        fs::write(&file, expected.trim_end()).unwrap();
        learn(&file, "node02", 2222, &key(2)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{expected}[node02]:2222 {}\n", line(&key(2))));
    }

    #[test]
    fn hosts_met_at_the_same_moment_tear_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::thread::scope(|scope| {
            for number in 0..32 {
                let file = &file;
                scope.spawn(move || learn(file, &format!("node{number}"), 22, &key(number)).unwrap());
            }
        });
        let known = KnownHosts::load(std::slice::from_ref(&file)).unwrap();
        for number in 0..32 {
            assert_eq!(known.check(&format!("node{number}"), 22, &key(number)), Verdict::Trusted);
        }
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 32);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(KnownHosts::load(&[folder.path().join("none")]).is_ok());
        assert!(KnownHosts::load(&[folder.path().to_path_buf()]).is_err());
    }

    /// The definition of a pattern, without thought for time.
    fn glob_by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                glob_by_definition(rest, name) || (!name.is_empty() && glob_by_definition(pattern, &name[1..]))
            }
            ([b'?', pattern @ ..], [_, name @ ..]) => glob_by_definition(pattern, name),
            ([a, pattern @ ..], [b, name @ ..]) => a.eq_ignore_ascii_case(b) && glob_by_definition(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn patterns_match_as_defined(pattern in "[ab*?]{0,8}", name in "[abAB]{0,8}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(glob(pattern, name), glob_by_definition(pattern, name));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", host in "\\PC{0,20}") {
            let _ = known(&[&text]).check(&host, 22, &key(1));
        }
    }
}
