//! A download that goes on where an earlier one, of this run or another, was broken off.
//!
//! The digest is known beforehand and names the partial file, so that whatever server the bytes come
//! from, the digest decides whether they fit together. That makes validators (`ETag`, `If-Range`) needless
//! and lets a download go on from another mirror.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::digest::{Hasher, drain};
use super::http::{self, Failure};
use super::remote::Patience;
use super::{Network, ReleaseError, Want, check, url};

/// The most that is downloaded, in bytes; a release has some 25 MB.
const DOWNLOAD_LIMIT: u64 = 512 << 20;
/// So many new bytes are a sign of a link that works, if badly.
const HEADWAY: u64 = 1 << 20;
/// The pause between two tellings of progress.
const TICK: Duration = Duration::from_millis(100);

/// A file to be fetched.
pub(super) struct Download<'a> {
    pub(super) network: &'a Network,
    pub(super) want: &'a Want<'a>,
    pub(super) url: &'a str,
    /// The digest that it has to have.
    pub(super) sha256: &'a str,
    /// Who says so.
    pub(super) origin: &'a str,
    /// Where it is put, and gone on with.
    pub(super) part: &'a Path,
}

/// The partial file.
struct Part<'a> {
    path: &'a Path,
    file: File,
    hasher: Hasher,
    size: u64,
}

impl<'a> Part<'a> {
    /// What an earlier run left, if anything.
    fn open(path: &'a Path) -> Result<Self, ReleaseError> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(ReleaseError::io("open", path))?;
        let mut hasher = Hasher::default();
        let size = drain(&mut file, |bytes| hasher.update(bytes)).map_err(ReleaseError::io("read", path))?;
        Ok(Self { path, file, hasher, size })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ReleaseError> {
        self.file.write_all(bytes).map_err(ReleaseError::io("write", self.path))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), ReleaseError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(ReleaseError::io("write", self.path))?;
        self.hasher = Hasher::default();
        self.size = 0;
        Ok(())
    }

    fn digest(&self) -> String {
        self.hasher.clone().hex()
    }
}

impl Download<'_> {
    /// Fetches what is missing; in the end the partial file is whole, has the digest and is on the disk.
    pub(super) fn run(&self) -> Result<(), ReleaseError> {
        let mut part = Part::open(self.part)?;
        let mut patience = Patience::new(self.network);
        // Bytes of two answers that do not fit together get one chance to be fetched in one go.
        let mut pieced = part.size > 0;
        let mut cleared = false;
        let mut most = part.size;
        while part.digest() != self.sha256 {
            match self.attempt(&mut part) {
                Ok(()) if part.digest() == self.sha256 => {}
                Ok(()) if pieced && !cleared => {
                    part.clear()?;
                    (pieced, cleared) = (false, true);
                }
                Ok(()) => return Err(self.reject(&part)),
                Err(failure) => {
                    if part.size >= most.saturating_add(HEADWAY) {
                        patience.renew();
                    }
                    most = most.max(part.size);
                    patience.after(failure, self.want)?;
                    pieced = part.size > 0;
                }
            }
        }
        part.file.sync_all().map_err(ReleaseError::io("write", self.part))
    }

    /// One request for what is missing, read to its end.
    fn attempt(&self, part: &mut Part<'_>) -> Result<(), Failure> {
        let mut reply = http::get(self.network, self.url, part.size)?;
        let fits = match (reply.status, reply.range) {
            (206, Some((first, _))) => first == part.size,
            // An answer from the start: the server knows nothing of ranges.
            (200, _) => {
                part.clear()?;
                true
            }
            _ => false,
        };
        if !fits {
            // Not what was asked for, or nothing there: what we have is no beginning of this file.
            part.clear()?;
            reply = http::get(self.network, self.url, 0)?;
        }
        let total = match (reply.range, reply.length) {
            (Some((_, Some(total))), _) => Some(total),
            (_, Some(length)) => Some(part.size.saturating_add(length)),
            _ => None,
        };
        let too_large = || ReleaseError::TooLarge { what: url::shown(self.url), limit: DOWNLOAD_LIMIT };
        if total.is_some_and(|total| total > DOWNLOAD_LIMIT) {
            return Err(too_large().into());
        }

        let message = format!("downloading `{}`", self.want.file_name());
        let mut told: Option<Instant> = None;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            if told.is_none_or(|told| told.elapsed() >= TICK) {
                self.want.tell(&message, part.size, total);
                told = Some(Instant::now());
            }
            match reply.body.read(&mut buffer)? {
                0 => break,
                n => part.append(&buffer[..n])?,
            }
            if part.size > DOWNLOAD_LIMIT {
                part.clear()?;
                return Err(too_large().into());
            }
        }
        self.want.tell(&message, part.size, total);
        Ok(())
    }

    /// What was served is not what was promised; nothing of it is kept.
    fn reject(&self, part: &Part<'_>) -> ReleaseError {
        let error = check::mismatch(
            self.part,
            self.want,
            &url::shown(self.url),
            part.digest(),
            self.sha256.to_owned(),
            self.origin.to_owned(),
        );
        let _ = fs::remove_file(self.part);
        error
    }
}
