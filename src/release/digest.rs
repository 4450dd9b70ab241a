//! SHA-256 digests: of files, in the inventory, in `SHA256SUMS`.

use crate::files;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::{Arch, ReleaseError};

/// A digest under way.
#[derive(Clone, Default)]
pub(super) struct Hasher(Sha256);

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Lower-case hex.
    pub(super) fn hex(self) -> String {
        HEXLOWER.encode(&self.0.finalize())
    }
}

/// Reads to the end, calling `with` for every piece; returns the number of bytes.
pub(super) fn drain(mut reader: impl Read, mut with: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(n) => {
                with(&buffer[..n]);
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The digest of a file's content.
pub(super) fn of_file(path: &Path) -> Result<String, ReleaseError> {
    let mut hasher = Hasher::default();
    files::open(path)
        .and_then(|file| drain(file, |bytes| hasher.update(bytes)))
        .map_err(ReleaseError::io("read", path))?;
    Ok(hasher.hex())
}

/// The digest of a word, for names of files in the cache.
pub(super) fn of_text(text: &str) -> String {
    let mut hasher = Hasher::default();
    hasher.update(text.as_bytes());
    hasher.hex()
}

/// The digest that the inventory gives for an architecture, in lower case.
pub(super) fn given(digests: &BTreeMap<Arch, String>, arch: Arch) -> Result<Option<String>, ReleaseError> {
    let Some(value) = digests.get(&arch) else {
        return Ok(None);
    };
    match hex(value.trim()) {
        Some(digest) => Ok(Some(digest)),
        None => Err(ReleaseError::BadDigest { arch, value: value.clone() }),
    }
}

/// Finds a file's digest in a `SHA256SUMS`, as `sha256sum` writes it: `HEX  NAME`, or `HEX *NAME` for
/// binary mode; names may have a folder in front.
pub(super) fn listed(sums: &str, name: &str) -> Option<String> {
    sums.lines().find_map(|line| {
        let (digest, file) = line.trim_end().split_once([' ', '\t'])?;
        let file = file.trim_start();
        let file = file.strip_prefix('*').unwrap_or(file);
        let base = file.rsplit('/').next()?;
        if base == name { hex(digest) } else { None }
    })
}

/// A digest in lower case, if the text is one.
pub(super) fn hex(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const B: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";

    #[test]
    fn digests_are_sha256() {
        assert_eq!(of_text("test"), A);
    }

    #[test]
    fn finds_digests_in_every_form_of_sha256sums() {
        let upper = A.to_uppercase();
        for (sums, found) in [
            (format!("{B}  b.tgz\n{A}  a.tgz\n"), Some(A)),
            (format!("{A} *a.tgz\n"), Some(A)),
            (format!("{B}  b.tgz\r\n{A}  a.tgz\r\n"), Some(A)),
            (format!("{A}\ta.tgz"), Some(A)),
            (format!("{upper}  ./a.tgz"), Some(A)),
            (format!("{A}  release/a.tgz"), Some(A)),
            (format!("{A}  aa.tgz\n{B}  a.tgz.asc"), None),
            // A digest of another kind, a comment, nothing.
            (format!("{}  a.tgz", &A[..40]), None),
            (format!("{}x  a.tgz", &A[..63]), None),
            ("# a.tgz".to_owned(), None),
            (A.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(listed(&sums, "a.tgz").as_deref(), found, "{sums}");
        }
    }

    #[test]
    fn the_inventory_gives_digests_by_architecture() {
        let digests = BTreeMap::from([(Arch::Amd64, A.to_uppercase())]);
        assert_eq!(given(&digests, Arch::Amd64).unwrap().as_deref(), Some(A));
        assert_eq!(given(&digests, Arch::Arm64).unwrap(), None);
        // It becomes part of a path.
        let digests = BTreeMap::from([(Arch::Amd64, "../../etc".to_owned())]);
        assert!(matches!(given(&digests, Arch::Amd64), Err(ReleaseError::BadDigest { .. })));
    }
}
