//! etcd release archives: where they come from, whether they are what they should be, and the cache.
//!
//! [`obtain`] gives out an archive only after it was read to its end: its digest is the wanted one,
//! it has the layout of an official release, and its binaries are whole and built for the wanted
//! architecture. It is then sent to the hosts as it is. What was found is kept beside it, so that a
//! later run with nothing to do neither asks the network nor reads the archive again.

mod arch;
mod cache;
mod check;
mod digest;
mod download;
mod elf;
mod error;
mod http;
mod local;
mod pack;
mod proxy;
mod remote;
mod source;
mod stamp;
mod url;

use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};

pub use arch::Arch;
pub use cache::default_cache_dir;
pub use error::ReleaseError;
pub use proxy::Proxies;
pub use source::Source;

use cache::Cache;

/// A release archive on the controller that passed every check.
///
/// Unpacked (`tar -xzf`, without `--strip-components`: a `./` before the names would count as a
/// component) it gives [`top_folder`](Self::top_folder) with the binaries in it. Modes and owners
/// are the archive's own: whoever unpacks it sets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The etcd version that was asked for and that the archive's top folder names.
    pub version: Version,
    /// The architecture of all its binaries.
    pub arch: Arch,
    /// Where it lies: in the cache, or where the user keeps it.
    pub path: PathBuf,
    /// SHA-256 of the archive, lower-case hex.
    pub sha256: String,
    /// Size of the archive in bytes.
    pub size: u64,
    /// etcd, etcdctl and, from 3.5 on, etcdutl; in this order.
    pub binaries: Vec<Binary>,
}

impl Archive {
    /// The one folder at the archive's top, `etcd-v3.5.16-linux-amd64`.
    #[must_use]
    pub fn top_folder(&self) -> String {
        top_folder(&self.version, self.arch)
    }

    /// The official file name, `etcd-v3.5.16-linux-amd64.tar.gz`, whatever the file is called here.
    #[must_use]
    pub fn file_name(&self) -> String {
        file_name(&self.version, self.arch)
    }
}

/// One program in an [`Archive`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    /// `etcd`, `etcdctl` or `etcdutl`.
    pub name: String,
    /// SHA-256 of the unpacked program, lower-case hex.
    pub sha256: String,
    /// Size of the unpacked program in bytes.
    pub size: u64,
}

/// How far the work on one archive has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done, for example "downloading `etcd-v3.5.16-linux-amd64.tar.gz`".
    pub message: &'a str,
    /// Bytes done, of a resumed download with those of earlier runs.
    pub done: u64,
    /// Bytes in all, once known.
    pub total: Option<u64>,
}

/// What [`obtain`] tells about its progress, at most ten times a second per step.
pub type OnProgress<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

/// How the network is used.
#[derive(Debug, Clone)]
pub struct Network {
    /// Proxies by scheme of the URL, and the hosts that are reached without one.
    pub proxies: Proxies,
    /// The longest wait for a name to resolve, and again for a connection with its TLS handshake.
    pub connect: Duration,
    /// The longest wait for the next byte. There is no limit on the whole: a slow link may take long.
    pub silence: Duration,
    /// The pauses before the next tries after a passing failure; as many tries as there are pauses.
    pub pauses: Vec<Duration>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            proxies: Proxies::default(),
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            pauses: [500, 2_000, 5_000].map(Duration::from_millis).to_vec(),
        }
    }
}

impl Network {
    /// The defaults, with the proxies that the environment names.
    #[must_use]
    pub fn from_env() -> Self {
        Self { proxies: Proxies::from_env(), ..Self::default() }
    }
}

/// Obtains and checks the archive of a version for an architecture, proxies as the environment says.
///
/// It blocks on files, the network and another run that obtains the same archive: call it on a thread
/// that may block. `cache` is a folder that belongs to the user, [`default_cache_dir`] for example; it
/// is created as needed. Calling it again, or from two processes at once, is safe.
///
/// # Errors
///
/// A [`ReleaseError`]: what the inventory or the source got wrong ends a run as wrong usage, trouble
/// with the network or the disk as a failure. Nothing is given out that failed a check.
pub fn obtain(
    source: &Source,
    version: &Version,
    arch: Arch,
    cache: &Path,
    on_progress: OnProgress<'_>,
) -> Result<Archive, ReleaseError> {
    obtain_over(&Network::from_env(), source, version, arch, cache, on_progress)
}

/// [`obtain`] with explicit settings of the network.
///
/// # Errors
///
/// As [`obtain`].
pub fn obtain_over(
    network: &Network,
    source: &Source,
    version: &Version,
    arch: Arch,
    cache: &Path,
    on_progress: OnProgress<'_>,
) -> Result<Archive, ReleaseError> {
    let want = Want { version, arch, on_progress };
    let cache = Cache::at(cache);
    match source {
        Source::Url { template, sha256 } => {
            let url = want.fill(template);
            let given = digest::given(sha256, arch)?;
            match url::file_path(&url)? {
                Some(path) => local::archive(&cache, &want, &path, given),
                None => remote::archive(&cache, &want, network, &url, given),
            }
        }
        Source::Archive { path, sha256 } => {
            let given = digest::given(sha256, arch)?;
            local::archive(&cache, &want, &want.fill_path(path), given)
        }
        Source::Binaries(folder) => pack::binaries(&cache, &want, &want.fill_path(folder)),
    }
}

/// The archive, if it can be given out without asking the network: a local one, or one that the cache
/// has checked already.
///
/// # Errors
///
/// As [`obtain`], of a local archive.
pub fn at_hand(source: &Source, version: &Version, arch: Arch, cache: &Path) -> Result<Option<Archive>, ReleaseError> {
    let quiet = |_: Progress<'_>| {};
    let want = Want { version, arch, on_progress: &quiet };
    if let Source::Url { template, sha256 } = source {
        let url = want.fill(template);
        if url::file_path(&url)?.is_none() {
            return Ok(remote::at_hand(&Cache::at(cache), &want, &url, digest::given(sha256, arch)?));
        }
    }
    obtain(source, version, arch, cache, &quiet).map(Some)
}

/// What is being obtained, and who hears of it.
#[derive(Clone, Copy)]
struct Want<'a> {
    version: &'a Version,
    arch: Arch,
    on_progress: OnProgress<'a>,
}

impl Want<'_> {
    fn top_folder(&self) -> String {
        top_folder(self.version, self.arch)
    }

    fn file_name(&self) -> String {
        file_name(self.version, self.arch)
    }

    /// The programs that a release of this version consists of. etcdutl came with 3.5:
    /// <https://github.com/etcd-io/etcd/blob/main/CHANGELOG/CHANGELOG-3.5.md>.
    fn programs(&self) -> &'static [&'static str] {
        if (self.version.major, self.version.minor) >= (3, 5) {
            &["etcd", "etcdctl", "etcdutl"]
        } else {
            &["etcd", "etcdctl"]
        }
    }

    fn fill(&self, template: &str) -> String {
        template.replace("{version}", &self.version.to_string()).replace("{arch}", self.arch.as_str())
    }

    /// Fills in a path; one that is not UTF-8 has nothing to be filled in.
    fn fill_path(&self, path: &Path) -> PathBuf {
        path.to_str().map_or_else(|| path.to_owned(), |path| PathBuf::from(self.fill(path)))
    }

    fn tell(&self, message: &str, done: u64, total: Option<u64>) {
        (self.on_progress)(Progress { message, done, total });
    }
}

fn top_folder(version: &Version, arch: Arch) -> String {
    format!("etcd-v{version}-linux-{arch}")
}

fn file_name(version: &Version, arch: Arch) -> String {
    format!("{}.tar.gz", top_folder(version, arch))
}
