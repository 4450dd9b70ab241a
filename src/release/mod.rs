//! etcd release archives: where they come from, whether they are what they should be, and the cache.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the binaries come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An archive at a URL (https, http, file) with `{version}` and `{arch}` to be filled in.
    /// Without a digest for the architecture it is checked against `SHA256SUMS` beside the archive.
    Url {
        /// For example `https://example.net/v{version}/etcd-v{version}-linux-{arch}.tar.gz`.
        template: String,
        /// Digests by architecture, lower-case hex.
        sha256: BTreeMap<Arch, String>,
    },
    /// A local archive (`{version}` and `{arch}` are filled in here, too), or a folder that is
    /// searched for the archive's official name.
    Archive {
        /// The file or folder.
        path: PathBuf,
        /// Digests by architecture, lower-case hex.
        sha256: BTreeMap<Arch, String>,
    },
    /// A folder with the bare binaries `etcd`, `etcdctl` and, from 3.5 on, `etcdutl`.
    Binaries(PathBuf),
}

/// A processor architecture that etcd is released for (its tier-1 platforms on Linux).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}
