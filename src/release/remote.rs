//! Archives from a web server.
//!
//! A released version never changes. So a URL that once gave an archive gives that archive from the cache,
//! without any request, for as long as it is there.

use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::download::Download;
use super::http::{self, Failure};
use super::{Archive, Network, ReleaseError, Want, digest, url};

/// The most that a `SHA256SUMS` may measure, in bytes; an official one has some 20 lines.
pub(super) const SUMS_LIMIT: u64 = 1 << 20;

/// The digest of what a URL gave.
#[derive(Serialize, Deserialize)]
struct Known {
    /// For people who look into the cache.
    url: String,
    sha256: String,
}

pub(super) fn archive(
    cache: &Cache,
    want: &Want<'_>,
    network: &Network,
    url: &str,
    given: Option<String>,
) -> Result<Archive, ReleaseError> {
    let name =
        url::file_name(url).ok_or_else(|| ReleaseError::BadUrl { url: url::shown(url), reason: "it names no file" })?;
    let key = format!("{url}\n{}", want.file_name());
    let remember = |archive: Archive| {
        let url = url::shown(url);
        let sha256 = archive.sha256.clone();
        cache.remember(&key, &Known { url, sha256 });
        archive
    };

    let known = given.clone().or_else(|| recall(cache, &key));
    if let Some(sha256) = &known {
        if let Some(archive) = cache.checked(want, sha256) {
            return Ok(archive);
        }
        let _lock = cache.lock(want, sha256)?;
        if let Some(archive) = cache.present(want, sha256)? {
            return Ok(remember(archive));
        }
    }

    let (sha256, origin) = match given {
        Some(digest) => (digest, "the inventory".to_owned()),
        None => published(want, network, url, &name)?,
    };
    let _lock = cache.lock(want, &sha256)?;
    if let Some(archive) = cache.present(want, &sha256)? {
        return Ok(remember(archive));
    }
    let part = cache.folder("partial")?.join(format!("{sha256}.part"));
    Download { network, want, url, sha256: &sha256, origin: &origin, part: &part }.run()?;
    match cache.adopt(want, &sha256, &part, &url::shown(url)) {
        Ok(archive) => Ok(remember(archive)),
        Err(error) => {
            // Whole and nevertheless unfit: nothing that could be gone on with.
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}

/// The archive, if the cache has it checked already.
pub(super) fn at_hand(cache: &Cache, want: &Want<'_>, url: &str, given: Option<String>) -> Option<Archive> {
    let key = format!("{url}\n{}", want.file_name());
    cache.checked(want, &given.or_else(|| recall(cache, &key))?)
}

fn recall(cache: &Cache, key: &str) -> Option<String> {
    let known: Known = cache.recall(key)?;
    digest::hex(&known.sha256)
}

/// The digest in the `SHA256SUMS` beside the archive, and where that is.
fn published(want: &Want<'_>, network: &Network, url: &str, name: &str) -> Result<(String, String), ReleaseError> {
    let sums_url = url::sibling(url, "SHA256SUMS");
    let shown = url::shown(&sums_url);
    want.tell(&format!("fetching `{shown}`"), 0, None);
    let mut patience = Patience::new(network);
    let sums = loop {
        match text(network, &sums_url) {
            Ok(text) => break text,
            Err(failure) => patience.after(failure, want)?,
        }
    };
    let digest = digest::listed(&sums, name)
        .or_else(|| digest::listed(&sums, &want.file_name()))
        .ok_or_else(|| ReleaseError::Unlisted { sums: shown.clone(), name: name.to_owned() })?;
    Ok((digest, format!("`{shown}`")))
}

fn text(network: &Network, url: &str) -> Result<String, Failure> {
    let mut reply = http::get(network, url, 0)?;
    let mut text = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match reply.body.read(&mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            n => text.extend_from_slice(&buffer[..n]),
        }
        if text.len() as u64 > SUMS_LIMIT {
            return Err(ReleaseError::TooLarge { what: url::shown(url), limit: SUMS_LIMIT }.into());
        }
    }
}

/// How often a passing failure is passed over.
pub(super) struct Patience<'a> {
    network: &'a Network,
    failures: usize,
}

impl<'a> Patience<'a> {
    pub(super) fn new(network: &'a Network) -> Self {
        Self { network, failures: 0 }
    }

    /// Waits before the next try, or gives up with the failure's error.
    pub(super) fn after(&mut self, failure: Failure, want: &Want<'_>) -> Result<(), ReleaseError> {
        match self.network.pauses.get(self.failures) {
            Some(pause) if failure.transient => {
                self.failures += 1;
                want.tell(&format!("trying again: {}", failure.error), 0, None);
                thread::sleep(*pause);
                Ok(())
            }
            _ => Err(failure.error),
        }
    }

    /// Something came through: start counting anew.
    pub(super) fn renew(&mut self) {
        self.failures = 0;
    }
}
