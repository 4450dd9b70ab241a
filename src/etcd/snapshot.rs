//! Snapshots of a member's data: what is in one, whether it is whole, and where it is kept.
//!
//! A snapshot is a bbolt database with the SHA-256 of all of it behind its end.

mod bolt;
mod crc;
mod shelf;
#[cfg(test)]
mod tests;

pub use bolt::BoltError;
pub use shelf::{Draft, KEPT, Manifest, Shelf, ShelfError, file_name};

use bolt::Found;
use crc::Crc32c;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Read, Seek};

/// The length of the SHA-256 behind the database.
const TRAILER: u64 = 32;
/// What the size of a database is a multiple of.
const SECTOR: u64 = 512;

/// What is in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The file's size in bytes.
    pub size: u64,
    /// The SHA-256 of the whole file, in hex.
    pub sha256: String,
    /// The checksum that `etcdutl snapshot status` prints as `hash`.
    pub hash: u32,
    /// The revision of the newest key, which `etcdutl snapshot status` prints as `revision`.
    pub revision: i64,
    /// The revision at which a member that is restored from it goes on. It is beyond that of the
    /// newest key where the newest ones were deleted and dropped from history.
    pub newest: i64,
    /// The number of entries of all buckets, which `etcdutl snapshot status` prints as `totalKey`.
    pub keys: u64,
}

/// Why a file is no whole snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read.
    #[error("the snapshot cannot be read")]
    Io(#[from] io::Error),
    /// There is no SHA-256 behind the database.
    #[error("the snapshot of {size} bytes is cut off, or a plain copy of a database: it has no SHA-256 at its end")]
    NoTrailer {
        /// The file's size in bytes.
        size: u64,
    },
    /// The SHA-256 is another one.
    #[error("the snapshot was damaged: its SHA-256 is {is}, and {said} is written at its end")]
    Damaged {
        /// The SHA-256 of the database.
        is: String,
        /// The SHA-256 behind it.
        said: String,
    },
    /// The database is broken.
    #[error("the database in the snapshot is broken")]
    Broken(#[from] BoltError),
    /// A key of the store is too short to tell its revision.
    #[error("the database in the snapshot holds a key without a revision")]
    NoRevision,
    /// It is older than what the member had when it was asked.
    #[error("the snapshot ends at revision {newest}, and the member was at revision {wanted} before it was taken")]
    Old {
        /// The revision at which a restored member would go on.
        newest: i64,
        /// The revision that the member had.
        wanted: i64,
    },
}

/// Reads a snapshot from its beginning to its end and says what is in it.
///
/// `etcdutl snapshot status` does not look at the SHA-256; this does.
///
/// # Errors
/// It is not whole.
pub fn read<R: Read + Seek>(source: &mut R) -> Result<Contents, SnapshotError> {
    let size = source.seek(io::SeekFrom::End(0))?;
    let database = size.saturating_sub(TRAILER);
    if size % SECTOR != TRAILER || database == 0 {
        return Err(SnapshotError::NoTrailer { size });
    }
    let sha256 = whole(source, database)?;
    let mut contents = Contents { size, sha256, hash: 0, revision: 0, newest: 1, keys: 0 };
    let (mut hash, mut bucket, mut unclear) = (Crc32c::default(), Vec::new(), false);
    bolt::walk(BufReader::with_capacity(4 << 10, source), database, |found| match found {
        Found::Bucket(name) => {
            hash.add(name);
            bucket = name.to_vec();
        }
        Found::Entry(key, value) => {
            hash.add(key);
            hash.add(value);
            contents.keys += 1;
            match (bucket.as_slice(), key) {
                // Keys are revisions, so the last one is the newest.
                (b"key", key) => match revision(key) {
                    Some(revision) => contents.revision = revision,
                    None => unclear = true,
                },
                (b"meta", b"scheduledCompactRev") => contents.newest = revision(value).unwrap_or(1).max(1),
                _ => {}
            }
        }
    })?;
    if unclear {
        return Err(SnapshotError::NoRevision);
    }
    contents.hash = hash.value();
    contents.newest = contents.newest.max(contents.revision);
    Ok(contents)
}

impl Contents {
    /// Checks that nothing is missing that the member had at revision `wanted`.
    ///
    /// # Errors
    /// [`SnapshotError::Old`]
    pub fn reaches(&self, wanted: i64) -> Result<(), SnapshotError> {
        let newest = self.newest;
        if newest < wanted { Err(SnapshotError::Old { newest, wanted }) } else { Ok(()) }
    }
}

/// The main revision of a key of the store: its leading eight bytes.
fn revision(key: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(*key.first_chunk()?))
}

/// Compares the SHA-256 of the first `database` bytes with the one behind them, and gives that of all.
fn whole<R: Read + Seek>(source: &mut R, database: u64) -> Result<String, SnapshotError> {
    source.rewind()?;
    let mut hash = Sha256::new();
    let mut left = database;
    let mut buffer = vec![0; 256 << 10];
    while left > 0 {
        let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        source.read_exact(&mut buffer[..part])?;
        hash.update(&buffer[..part]);
        left -= part as u64;
    }
    let mut said = [0; TRAILER as usize];
    source.read_exact(&mut said)?;
    let is = hash.clone().finalize();
    if is[..] != said {
        return Err(SnapshotError::Damaged { is: HEXLOWER.encode(&is), said: HEXLOWER.encode(&said) });
    }
    hash.update(said);
    Ok(HEXLOWER.encode(&hash.finalize()))
}
