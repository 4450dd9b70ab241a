//! Archives that the user has already: they stay where they are.

use crate::files;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::cache::{Cache, Record};
use super::remote::SUMS_LIMIT;
use super::stamp::Stamp;
use super::{Archive, ReleaseError, Want, check, digest};

/// The archive at `path`, or the one with the official name in the folder there.
///
/// Without a digest of the inventory's or of a `SHA256SUMS` beside it, it is taken as it is: the user's
/// own file, whose content is checked all the same.
pub(super) fn archive(
    cache: &Cache,
    want: &Want<'_>,
    path: &Path,
    given: Option<String>,
) -> Result<Archive, ReleaseError> {
    let path = find(want, path)?;
    let expected = match given {
        Some(digest) => Some((digest, "the inventory".to_owned())),
        None => beside(&path)?,
    };
    let key = source_key(want, &path)?;
    let stamp = Stamp::of(&path).map_err(ReleaseError::io("read", &path))?;
    if let Some(record) = cache.recall::<Record>(&key)
        && expected.as_ref().is_none_or(|(digest, _)| *digest == record.sha256)
        && let Some(archive) = record.archive(want, &path)
    {
        return Ok(archive);
    }

    let what = path.display().to_string();
    want.tell(&format!("checking `{what}`"), 0, None);
    let found = digest::of_file(&path)?;
    if let Some((wanted, origin)) = expected
        && wanted != found
    {
        return Err(check::mismatch(&path, want, &what, found, wanted, origin));
    }
    let binaries = check::archive(&path, want, &what)?;
    let record = Record::new(want, found, stamp, binaries);
    cache.remember(&key, &record);
    record.archive(want, &path).ok_or(ReleaseError::Changed { path })
}

/// What the cache knows a local source by.
pub(super) fn source_key(want: &Want<'_>, path: &Path) -> Result<String, ReleaseError> {
    let path = fs::canonicalize(path).map_err(ReleaseError::io("read", path))?;
    Ok(format!("{}\n{}", path.display(), want.file_name()))
}

fn find(want: &Want<'_>, path: &Path) -> Result<PathBuf, ReleaseError> {
    let candidates = if path.is_dir() {
        let name = want.file_name();
        // In the folder itself, or as in a mirror of the official releases.
        vec![path.join(&name), path.join(format!("v{}", want.version)).join(&name)]
    } else {
        vec![path.to_owned()]
    };
    for candidate in &candidates {
        match fs::metadata(candidate) {
            Ok(metadata) if metadata.is_file() => return Ok(candidate.clone()),
            Ok(_) => {}
            Err(error) if absent(&error) => {}
            Err(error) => return Err(ReleaseError::io("read", candidate)(error)),
        }
    }
    Err(ReleaseError::NotFound { what: "release archive".to_owned(), looked: candidates })
}

pub(super) fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The digest that a `SHA256SUMS` in the same folder has of this file, and where it stands.
fn beside(path: &Path) -> Result<Option<(String, String)>, ReleaseError> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(None);
    };
    let sums = path.with_file_name("SHA256SUMS");
    let file = match files::open(&sums) {
        Ok(file) => file,
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(ReleaseError::io("read", &sums)(error)),
    };
    let mut text = Vec::new();
    file.take(SUMS_LIMIT).read_to_end(&mut text).map_err(ReleaseError::io("read", &sums))?;
    let digest = digest::listed(&String::from_utf8_lossy(&text), name);
    Ok(digest.map(|digest| (digest, format!("`{}`", sums.display()))))
}
