//! Writing a key into a known_hosts file, as OpenSSH does.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::PublicKey;

use super::file::KnownFile;
use super::{Known, KnownHosts, Verdict, pattern};
use crate::ssh::error::SshError;
use crate::ssh::hop::KnownName;

/// What is to be written, and where.
pub(in crate::ssh) struct Learnt<'a> {
    pub(in crate::ssh) file: &'a Path,
    /// The names under which the host may stand there by now; written under the first.
    pub(in crate::ssh) names: &'a [KnownName],
    /// Whether the name is written as a hash.
    pub(in crate::ssh) hashed: bool,
}

/// Writes the key down as the last line of the file, unless the file says something about the host by now, which
/// is the answer then.
///
/// Several hosts of one run may be met for the first time at the same moment: they take turns here,
/// and each line goes out in a single appending write, so that other programs tear no line either.
pub(in crate::ssh) fn learn(learnt: &Learnt<'_>, key: &PublicKey) -> Result<Verdict, SshError> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Learnt { file, names, hashed } = *learnt;
    // Read anew whatever its time of change says: two writes may come within one tick of a file system's clock.
    let there = match KnownFile::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => KnownFile::parse(file, ""),
        read => read.map_err(|source| SshError::KnownHosts { path: file.to_path_buf(), action: "read", source })?,
    };
    let there = Arc::new(there);
    match KnownHosts(vec![Arc::clone(&there)]).of(names).check(key) {
        Verdict::Unknown => {}
        verdict => return Ok(verdict),
    }
    let name = names.first().map(|name| name.text.as_str()).unwrap_or_default();
    let name = if hashed { pattern::hash(name) } else { Some(name.to_owned()) };
    let written =
        name.ok_or_else(|| io::Error::other("the name cannot be hashed")).and_then(|name| append(file, &name, key));
    match written {
        Ok(()) => Ok(Verdict::Trusted(Known { file: file.to_path_buf(), line: there.lines + 1, key: key.clone() })),
        Err(source) => Err(SshError::KnownHosts { path: file.to_path_buf(), action: "write", source }),
    }
}

fn append(file: &Path, name: &str, key: &PublicKey) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut open = fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let key = PublicKey::from(key.key_data().clone()).to_openssh().map_err(io::Error::other)?;
    let mut line = format!("{name} {}\n", key.trim_end());
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
