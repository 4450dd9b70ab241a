//! The folder on the controller: read with care, written so that a kill at any point leaves
//! something that the next run can repair.

use super::{PkiError, SecretPem};
use crate::files;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The end of the names of files that hold a key.
pub(super) const KEY_SUFFIX: &str = "-key.pem";

/// The folder, which may not exist yet.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

/// A file to be written.
#[derive(Debug, Clone)]
pub(super) struct NewFile {
    /// Its name in the folder.
    pub(super) name: String,
    /// What goes into it.
    pub(super) content: Content,
}

/// What goes into a file.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Certificates, for all to see (0644).
    Certificate(String),
    /// A private key (0600).
    Key(SecretPem),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Certificate(text) => text.as_bytes(),
            Self::Key(secret) => secret.expose().as_bytes(),
        }
    }

    fn mode(&self) -> u32 {
        match self {
            Self::Certificate(_) => 0o644,
            Self::Key(_) => 0o600,
        }
    }
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The folder in it for what applications show to the members.
    pub(super) fn clients(&self) -> Self {
        Self { path: self.path.join("clients") }
    }

    /// Where the file `name` is or would be.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The text of the file `name`, if there is one.
    pub(super) fn read(&self, name: &str) -> Result<Option<Zeroizing<String>>, PkiError> {
        let path = self.file(name);
        match read(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PkiError::Read { path, given: false, source }),
        }
    }

    /// The names of all PEM files, sorted; none if there is no folder.
    pub(super) fn pem_files(&self) -> Result<Vec<String>, PkiError> {
        let failed = |source| PkiError::Read { path: self.path.clone(), given: false, source };
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string()
                && name.ends_with(".pem")
                && !name.starts_with('.')
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The folder itself and its keys, as far as others than their owner may look into them, with
    /// their modes.
    pub(super) fn too_open(&self) -> Result<Vec<(PathBuf, u32)>, PkiError> {
        let mut paths = vec![self.path.clone()];
        let keys = self.pem_files()?.into_iter().filter(|name| name.ends_with(KEY_SUFFIX));
        paths.extend(keys.map(|name| self.file(&name)));
        let mut open = Vec::new();
        for path in paths {
            match open_mode(&path) {
                Ok(Some(mode)) => open.push((path, mode)),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(PkiError::Read { path, given: false, source });
                }
            }
        }
        Ok(open)
    }

    /// Takes the access to `paths` away from all but their owner, then writes `authority`, each
    /// file safe on disk before the next, then `leaves`.
    ///
    /// A file of the CA is never written over another.
    pub(super) fn write(&self, paths: &[PathBuf], authority: &[NewFile], leaves: &[NewFile]) -> Result<(), PkiError> {
        self.create().map_err(|e| self.failed(e))?;
        let folder = File::open(&self.path).map_err(|e| self.failed(e))?;
        // Freed when `folder` is closed, also by a kill. Two runs that both make a CA would
        // otherwise mix their files.
        folder.lock().map_err(|e| self.failed(e))?;
        for path in paths {
            let mode = if *path == self.path { 0o700 } else { 0o600 };
            fs::set_permissions(path, Permissions::from_mode(mode))
                .map_err(|source| PkiError::Write { path: path.clone(), source })?;
        }
        self.sweep().map_err(|e| self.failed(e))?;
        for file in authority {
            let path = self.file(&file.name);
            match self.read(&file.name)? {
                Some(there) if there.as_bytes() == file.content.bytes() => continue,
                Some(_) => return Err(PkiError::Overtaken { path }),
                None => self.replace(file)?,
            }
            folder.sync_all().map_err(|e| self.failed(e))?;
        }
        // The order among leaves does not matter: a certificate with another's key is noticed.
        for file in leaves {
            self.replace(file)?;
        }
        folder.sync_all().map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> PkiError {
        PkiError::Write { path: self.path.clone(), source }
    }

    fn create(&self) -> io::Result<()> {
        if !self.path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
            if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        let ignore = self.file(".gitignore");
        match OpenOptions::new().write(true).create_new(true).open(ignore) {
            Ok(mut file) => file.write_all(b"*\n"),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what a killed run left half written.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".pem.new") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes `file` beside its place, and puts it there once it is whole and on disk.
    fn replace(&self, file: &NewFile) -> Result<(), PkiError> {
        let path = self.file(&file.name);
        let beside = self.file(&format!(".{}.new", file.name));
        let write = || {
            let mut new = OpenOptions::new().write(true).create_new(true).mode(file.content.mode()).open(&beside)?;
            new.write_all(file.content.bytes())?;
            new.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|source| {
            // Should that fail as well, the next run sweeps.
            let _ = fs::remove_file(&beside);
            PkiError::Write { path: path.clone(), source }
        })
    }
}

/// The most that is read of a certificate or a key; a chain of some takes a few kilobytes.
const LARGEST: u64 = 1 << 20;

/// The text of a file. Bytes that are no UTF-8 are replaced: they are no PEM either way.
pub(super) fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(files::read(path, LARGEST)?);
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The mode of `path`, if others than its owner may read or write it.
pub(super) fn open_mode(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    Ok((mode & 0o077 != 0).then_some(mode))
}
