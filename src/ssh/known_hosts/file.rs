//! known_hosts files as they are read: each once, however many hosts stand in it.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::PublicKey;

use super::{Known, KnownHosts, Marker, pattern};
use crate::files;
use crate::ssh::error::SshError;

/// The files that were read in a run. One that has changed since is read again.
#[derive(Debug, Default)]
pub(in crate::ssh) struct KnownFiles(Mutex<HashMap<PathBuf, (Stamp, Arc<KnownFile>)>>);

/// What tells one state of a file from another: device, inode, size, and time of change.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

impl KnownFiles {
    /// The files as they are now; one that does not exist has no keys.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(in crate::ssh) fn load(&self, paths: &[PathBuf]) -> Result<KnownHosts, SshError> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            match self.file(path) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(SshError::KnownHosts { path: path.clone(), action: "read", source }),
            }
        }
        Ok(KnownHosts(files))
    }

    fn file(&self, path: &Path) -> io::Result<Arc<KnownFile>> {
        // Whoever else wants it waits: it is read once.
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it is read: what is written meanwhile shows the next time.
        let stamp = stamp(&fs::metadata(path)?);
        match read.get(path) {
            Some((known, file)) if *known == stamp => Ok(Arc::clone(file)),
            _ => {
                let file = Arc::new(KnownFile::read(path)?);
                read.insert(path.to_owned(), (stamp, Arc::clone(&file)));
                Ok(file)
            }
        }
    }
}

/// The most that is read of a file: a thousand hosts take some hundred kilobytes.
const LARGEST: u64 = 16 << 20;

/// One file, its lines parted.
#[derive(Debug)]
pub(super) struct KnownFile {
    path: PathBuf,
    /// How many lines it has, good or not.
    pub(super) lines: usize,
    entries: Vec<Line>,
    /// Which entries have a name written out, in lower case. A search in files of a thousand hosts is for one of them.
    plain: HashMap<String, Vec<usize>>,
    /// Which entries have to be looked at for every name: those with patterns and with hashes.
    others: Vec<usize>,
}

#[derive(Debug)]
struct Line {
    /// From 1, counting every line.
    number: usize,
    marker: Marker,
    hosts: String,
    /// Type and key.
    key: String,
}

impl KnownFile {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        // A line that is not text can only match in its comment, and is skipped otherwise.
        Ok(Self::parse(path, &String::from_utf8_lossy(&files::read(path, LARGEST)?)))
    }

    pub(super) fn parse(path: &Path, text: &str) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            lines: text.lines().count(),
            entries: Vec::new(),
            plain: HashMap::new(),
            others: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let Some((marker, hosts, key)) = part(line) else { continue };
            let at = file.entries.len();
            if hosts.contains(['*', '?', '!', '|']) {
                file.others.push(at);
            } else {
                for name in hosts.split(',') {
                    file.plain.entry(name.to_ascii_lowercase()).or_default().push(at);
                }
            }
            file.entries.push(Line { number: index + 1, marker, hosts: hosts.to_owned(), key });
        }
        file
    }

    /// The entries whose host field matches `name`, in their order.
    pub(super) fn entries(&self, name: &str) -> Vec<(Marker, Known)> {
        let plain = self.plain.get(&name.to_ascii_lowercase()).into_iter().flatten();
        let matches = |at: &&usize| self.entries.get(**at).is_some_and(|line| pattern::matches(&line.hosts, name));
        let mut found: Vec<usize> = plain.chain(self.others.iter().filter(matches)).copied().collect();
        found.sort_unstable();
        found.dedup();
        let entry = |line: &Line| {
            // What cannot be read as a key is skipped, as OpenSSH does.
            let key = PublicKey::from_openssh(&line.key).ok()?;
            Some((line.marker, Known { file: self.path.clone(), line: line.number, key }))
        };
        found.into_iter().filter_map(|at| self.entries.get(at).and_then(entry)).collect()
    }
}

/// Marker, host field and key of a line; none for comments and for lines that OpenSSH skips, too.
fn part(line: &str) -> Option<(Marker, &str, String)> {
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
    Some((marker, hosts, format!("{algorithm} {}", base64.trim_end())))
}
