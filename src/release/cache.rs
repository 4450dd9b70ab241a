//! The cache: checked archives by digest, and what earlier runs found out.
//!
//! ```text
//! <cache>/releases/<sha256>/etcd-v3.5.16-linux-amd64.tar.gz    a checked archive
//! <cache>/releases/<sha256>/etcd-v3.5.16-linux-amd64.json      what the check found
//! <cache>/sources/<key>.json                                   which digest a URL or a folder gave,
//!                                                              what the check of a local archive found
//! <cache>/partial/<sha256>.part, .lock                         a download under way, and who is at it
//! ```
//!
//! Files appear by rename only. Records are a convenience: one that is missing, damaged or does not fit
//! costs another check, never a wrong answer.

use crate::files;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::stamp::Stamp;
use super::{Arch, Archive, Binary, ReleaseError, Want, check, digest};

/// The user's cache folder for this program: `$XDG_CACHE_HOME/etcd-ha`, by default `~/.cache/etcd-ha`
/// (XDG Base Directory Specification; a relative path counts as unset). `None` without a home.
#[must_use]
pub fn default_cache_dir() -> Option<PathBuf> {
    cache_dir(std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from), std::env::home_dir())
}

fn cache_dir(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let base = xdg
        .filter(|path| path.is_absolute())
        .or_else(|| home.filter(|path| path.is_absolute()).map(|home| home.join(".cache")))?;
    Some(base.join("etcd-ha"))
}

/// What the check of an archive found, and of which file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    version: Version,
    arch: Arch,
    pub(super) sha256: String,
    stamp: Stamp,
    binaries: Vec<Binary>,
}

impl Record {
    pub(super) fn new(want: &Want<'_>, sha256: String, stamp: Stamp, binaries: Vec<Binary>) -> Self {
        Self { version: want.version.clone(), arch: want.arch, sha256, stamp, binaries }
    }

    /// The archive at `path`, if it is still the one of this record and the wanted one.
    pub(super) fn archive(self, want: &Want<'_>, path: &Path) -> Option<Archive> {
        let fits = self.version == *want.version
            && self.arch == want.arch
            && Stamp::of(path).is_ok_and(|stamp| stamp == self.stamp)
            && want.programs().iter().all(|program| self.binaries.iter().any(|b| b.name == *program));
        fits.then(|| Archive {
            version: self.version,
            arch: self.arch,
            path: path.to_owned(),
            sha256: self.sha256,
            size: self.stamp.size,
            binaries: self.binaries,
        })
    }
}

/// The cache folder; created when something is put into it.
pub(super) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A folder in the cache, only for the user's eyes.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, ReleaseError> {
        let folder = self.root.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(ReleaseError::io("create", &folder))?;
        Ok(folder)
    }

    /// Where the archive with this digest lies, or is going to.
    fn place(&self, want: &Want<'_>, sha256: &str) -> PathBuf {
        self.root.join("releases").join(sha256).join(want.file_name())
    }

    fn record_beside(want: &Want<'_>, place: &Path) -> PathBuf {
        place.with_file_name(format!("{}.json", want.top_folder()))
    }

    /// The archive with this digest if it is here and was not touched since it was checked.
    pub(super) fn checked(&self, want: &Want<'_>, sha256: &str) -> Option<Archive> {
        let place = self.place(want, sha256);
        let record: Record = read_json(&Self::record_beside(want, &place))?;
        if record.sha256 != sha256 {
            return None;
        }
        record.archive(want, &place)
    }

    /// The archive with this digest if it is here at all; reads it anew if its record does not fit.
    /// To be called under [`lock`](Self::lock): a file that turns out to be damaged is removed.
    pub(super) fn present(&self, want: &Want<'_>, sha256: &str) -> Result<Option<Archive>, ReleaseError> {
        if let Some(archive) = self.checked(want, sha256) {
            return Ok(Some(archive));
        }
        let place = self.place(want, sha256);
        if !place.is_file() {
            return Ok(None);
        }
        want.tell(&format!("checking `{}`", want.file_name()), 0, None);
        let stamp = Stamp::of(&place).map_err(ReleaseError::io("read", &place))?;
        if digest::of_file(&place)? != sha256 {
            fs::remove_file(&place).map_err(ReleaseError::io("remove", &place))?;
            return Ok(None);
        }
        let binaries = check::archive(&place, want, &place.display().to_string())?;
        let record = Record::new(want, sha256.to_owned(), stamp, binaries);
        write_json(&Self::record_beside(want, &place), &record);
        Ok(record.archive(want, &place))
    }

    /// Checks a file whose digest was found to be `sha256` and moves it to where it belongs. To be called
    /// under [`lock`](Self::lock). `what` names it in errors.
    pub(super) fn adopt(
        &self,
        want: &Want<'_>,
        sha256: &str,
        file: &Path,
        what: &str,
    ) -> Result<Archive, ReleaseError> {
        want.tell(&format!("checking `{}`", want.file_name()), 0, None);
        let binaries = check::archive(file, want, what)?;
        let folder = self.folder(&format!("releases/{sha256}"))?;
        let place = self.place(want, sha256);
        fs::rename(file, &place)
            .and_then(|()| File::open(&folder)?.sync_all())
            .map_err(ReleaseError::io("move an archive to", &place))?;
        let stamp = Stamp::of(&place).map_err(ReleaseError::io("read", &place))?;
        let record = Record::new(want, sha256.to_owned(), stamp, binaries);
        write_json(&Self::record_beside(want, &place), &record);
        record.archive(want, &place).ok_or(ReleaseError::Changed { path: place })
    }

    /// What an earlier run remembered of a source.
    pub(super) fn recall<T: DeserializeOwned>(&self, source: &str) -> Option<T> {
        read_json(&self.source(source))
    }

    /// Remembers something of a source for later runs.
    pub(super) fn remember<T: Serialize>(&self, source: &str, value: &T) {
        if self.folder("sources").is_ok() {
            write_json(&self.source(source), value);
        }
    }

    fn source(&self, source: &str) -> PathBuf {
        // Hashed, since the name of a source is no file name, and a URL may hold a password.
        self.root.join("sources").join(format!("{}.json", digest::of_text(source)))
    }

    /// Keeps other runs from obtaining the same archive for as long as the answer lives; waits for one
    /// that is at it. The kernel frees the lock of a run that dies.
    pub(super) fn lock(&self, want: &Want<'_>, sha256: &str) -> Result<File, ReleaseError> {
        let path = self.folder("partial")?.join(format!("{sha256}.lock"));
        let error = ReleaseError::io("lock", &path);
        let file = match File::options().create(true).append(true).open(&path) {
            Ok(file) => file,
            Err(cause) => return Err(error(cause)),
        };
        let locked = match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                let message = format!("waiting for another run that obtains `{}`", want.file_name());
                want.tell(&message, 0, None);
                file.lock()
            }
            Err(TryLockError::Error(cause)) => Err(cause),
        };
        match locked {
            Ok(()) => Ok(file),
            Err(cause) => Err(error(cause)),
        }
    }
}

/// The most that is read of a record.
const LARGEST: u64 = 1 << 20;

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&files::read(path, LARGEST).ok()?).ok()
}

/// A record that cannot be written is one that a later run has to do without.
fn write_json<T: Serialize>(path: &Path, value: &T) {
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    let _ = write();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_lies_where_xdg_says() {
        let path = |path: &str| Some(PathBuf::from(path));
        for (xdg, home, expected) in [
            (path("/x"), path("/h"), path("/x/etcd-ha")),
            (path("x"), path("/h"), path("/h/.cache/etcd-ha")),
            (path(""), path("/h"), path("/h/.cache/etcd-ha")),
            (None, path("/h"), path("/h/.cache/etcd-ha")),
            (path("/x"), None, path("/x/etcd-ha")),
            (None, path(""), None),
            (None, None, None),
        ] {
            assert_eq!(cache_dir(xdg.clone(), home.clone()), expected, "{xdg:?} {home:?}");
        }
    }
}
