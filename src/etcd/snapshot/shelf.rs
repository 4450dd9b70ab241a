//! Where snapshots are kept on the controller: a folder that only its owner can enter, a JSON manifest
//! beside every snapshot, and never more than [`KEPT`] of them.

use super::{Contents, SnapshotError};
use crate::error::Explain;
use crate::files;
use semver::Version;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// How many snapshots are kept.
pub const KEPT: usize = 5;

/// The name of a file that is being written.
const INCOMING: &str = ".incoming-";
/// The most that is read of a manifest.
const LARGEST: u64 = 1 << 20;
/// A file that nothing was written to for so long was left behind.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What is known of a snapshot; it lies beside it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The snapshot's file name.
    pub file: String,
    /// The cluster's name in the inventory.
    pub cluster: String,
    /// The cluster's id, in hex.
    pub cluster_id: String,
    /// The host whose member gave it.
    pub member: String,
    /// That member's id, in hex.
    pub member_id: String,
    /// The oldest version that a member ran.
    pub from: Version,
    /// The version that was to be deployed.
    pub to: Version,
    /// The version whose features the cluster had agreed upon, if it told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_version: Option<String>,
    /// The revision of the newest key.
    pub revision: i64,
    /// The number of entries.
    pub keys: u64,
    /// The checksum that `etcdutl snapshot status` prints, in hex.
    pub hash: String,
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 of the whole file, in hex.
    pub sha256: String,
    /// When it was taken, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub taken: OffsetDateTime,
    /// The version of etcd-ha that took it.
    pub etcd_ha: String,
}

/// Why a snapshot could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// A file or folder cannot be written or read.
    #[error("cannot write `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not whole.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl Explain for ShelfError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => Some(
                "make room or access there, or set `XDG_STATE_HOME` to a folder that has them; \
                 `--no-snapshot` goes on without a way back"
                    .to_owned(),
            ),
            Self::Snapshot(_) => Some(
                "nothing was touched: run the same command again; if it says the same, look at that member's disk \
                 before anything is changed"
                    .to_owned(),
            ),
        }
    }
}

/// `20261124T021500Z-3.4.23-to-3.5.16.db`: the names sort by their time.
#[must_use]
pub fn file_name(at: OffsetDateTime, from: &Version, to: &Version) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default();
    format!("{time}-{from}-to-{to}.db")
}

/// Whether a file has a name that [`file_name`] gives.
fn is_ours(name: &str) -> bool {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let parts = name.strip_suffix(".db").and_then(|stem| {
        let (time, versions) = stem.split_once('-')?;
        let (from, to) = versions.split_once("-to-")?;
        Some((time, from, to))
    });
    parts.is_some_and(|(time, from, to)| {
        PrimitiveDateTime::parse(time, format).is_ok()
            && [from, to].iter().all(|version| Version::parse(version).is_ok())
    })
}

/// The folder of a cluster's snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// The snapshots in `folder`, which need not be there.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where a snapshot of this name lies, or would.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Begins a snapshot. Dropped, it is gone.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn draft(&self) -> Result<Draft, ShelfError> {
        let fault = |source| ShelfError::Io { path: self.folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(fault)?;
        fs::set_permissions(&self.folder, Permissions::from_mode(0o700)).map_err(fault)?;
        self.sweep();
        // Only its owner can read it: it holds all that the cluster knows.
        let file = tempfile::Builder::new().prefix(INCOMING).tempfile_in(&self.folder).map_err(fault)?;
        Ok(Draft { shelf: self.clone(), file })
    }

    /// Removes what runs that were killed left half written.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let old = entry.metadata().and_then(|meta| meta.modified());
            let old = old.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED));
            if old && entry.file_name().to_string_lossy().starts_with(INCOMING) {
                // The next run tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The snapshots that were made here and are as their manifests say, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn kept(&self) -> Result<Vec<Manifest>, ShelfError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(ShelfError::Io { path: self.folder.clone(), source }),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut kept: Vec<_> = names.filter(|name| is_ours(name)).filter_map(|name| self.manifest(&name)).collect();
        kept.sort_by(|a, b| b.file.cmp(&a.file));
        Ok(kept)
    }

    /// The manifest of the snapshot of this name, if both are files that belong together.
    fn manifest(&self, name: &str) -> Option<Manifest> {
        let path = self.path(name);
        let meta = fs::symlink_metadata(&path).ok()?;
        let manifest: Manifest = serde_json::from_slice(&files::read(&manifest_path(&path), LARGEST).ok()?).ok()?;
        (meta.is_file() && meta.len() == manifest.size && manifest.file == name).then_some(manifest)
    }

    /// Deletes all but `new` and the newest of the others, so that [`KEPT`] are left, and nothing that was
    /// not made here. After the clock was set back, `new` is not the newest by its name.
    fn prune(&self, new: &Manifest) -> Result<(), ShelfError> {
        for old in self.kept()?.iter().filter(|old| old.file != new.file).skip(KEPT - 1) {
            let path = self.path(&old.file);
            // The snapshot first: one without its manifest would stay for ever.
            for path in [path.clone(), manifest_path(&path)] {
                fs::remove_file(&path).map_err(|source| ShelfError::Io { path, source })?;
            }
        }
        Ok(())
    }
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Draft {
    shelf: Shelf,
    file: NamedTempFile,
}

impl Draft {
    /// Appends to it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ShelfError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| ShelfError::Io { path: self.shelf.folder.clone(), source })
    }

    /// Checks that it is whole and lacks nothing that the member had at revision `wanted`.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&mut self, wanted: i64) -> Result<Contents, ShelfError> {
        // What is on the disk is read back, not what was meant to be written.
        self.file.as_file().sync_all().map_err(|source| ShelfError::Io { path: self.shelf.folder.clone(), source })?;
        let contents = super::read(self.file.as_file_mut())?;
        contents.reaches(wanted)?;
        Ok(contents)
    }

    /// Puts it on the shelf with its manifest, and takes the oldest ones off.
    ///
    /// # Errors
    /// It cannot be put there, or another one of the same name is there.
    pub fn keep(self, manifest: &Manifest) -> Result<PathBuf, ShelfError> {
        let Self { shelf, file } = self;
        let path = shelf.path(&manifest.file);
        let fault = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ShelfError::Io { path, source }
        };
        let beside = manifest_path(&path);
        let mut text = serde_json::to_vec_pretty(manifest).map_err(|error| fault(&beside)(error.into()))?;
        text.push(b'\n');
        // The manifest first: no snapshot is ever there without it.
        let mut described =
            tempfile::Builder::new().prefix(INCOMING).tempfile_in(&shelf.folder).map_err(fault(&beside))?;
        described.write_all(&text).and_then(|()| described.as_file().sync_all()).map_err(fault(&beside))?;
        described.persist_noclobber(&beside).map_err(|error| fault(&beside)(error.error))?;
        file.persist_noclobber(&path).map_err(|error| fault(&path)(error.error))?;
        // The names are on the disk, too, before anything is done that could need them.
        File::open(&shelf.folder).and_then(|folder| folder.sync_all()).map_err(fault(&shelf.folder))?;
        shelf.prune(manifest)?;
        Ok(path)
    }
}

fn manifest_path(snapshot: &Path) -> PathBuf {
    snapshot.with_extension("json")
}
