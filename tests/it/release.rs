//! Obtaining release archives: from a web server, from files, from folders; right ones and wrong ones.

// clippy.toml allows these in test functions; what the tests here share is test code, too.
#![allow(clippy::unwrap_used, clippy::panic)]

pub mod fake;
mod local;
mod remote;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use etcd_ha::error::Explain as _;
use etcd_ha::release::{self, Arch, Archive, Network, Proxies, ReleaseError, Source};
use semver::Version;
use tempfile::TempDir;

const VERSION: &str = "3.5.16";
const NAME: &str = "etcd-v3.5.16-linux-amd64.tar.gz";

/// A user's machine: a cache, a folder for files, and what was told on the way.
struct Desk {
    dir: TempDir,
    network: Network,
    version: Version,
    told: Mutex<Vec<(String, u64, Option<u64>)>>,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        Self {
            dir,
            network: Network {
                proxies: Proxies::default(),
                connect: Duration::from_secs(5),
                silence: Duration::from_secs(5),
                pauses: vec![Duration::from_millis(5); 3],
            },
            version: Version::parse(VERSION).unwrap(),
            told: Mutex::default(),
        }
    }

    fn impatient() -> Self {
        let mut desk = Self::new();
        desk.network.pauses.clear();
        desk
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn obtain(&self, source: &Source) -> Result<Archive, ReleaseError> {
        self.obtain_for(source, Arch::Amd64)
    }

    fn obtain_for(&self, source: &Source, arch: Arch) -> Result<Archive, ReleaseError> {
        self.told.lock().unwrap().clear();
        release::obtain_over(&self.network, source, &self.version, arch, &self.cache(), &|progress| {
            let told = (progress.message.to_owned(), progress.done, progress.total);
            self.told.lock().unwrap().push(told);
        })
    }

    /// What the last run told; nothing if it had nothing to do.
    fn told(&self) -> Vec<(String, u64, Option<u64>)> {
        self.told.lock().unwrap().clone()
    }
}

fn url(template: impl Into<String>) -> Source {
    Source::Url { template: template.into(), sha256: BTreeMap::new() }
}

fn url_with(template: impl Into<String>, sha256: &str) -> Source {
    Source::Url { template: template.into(), sha256: BTreeMap::from([(Arch::Amd64, sha256.to_owned())]) }
}

fn archive_at(path: &Path) -> Source {
    Source::Archive { path: path.to_owned(), sha256: BTreeMap::new() }
}

/// The archive is what it says it is, byte for byte.
fn assert_whole(archive: &Archive, content: &[u8]) {
    assert_eq!(std::fs::read(&archive.path).unwrap(), content);
    assert_eq!(archive.sha256, fake::sha256(content));
    assert_eq!(archive.size, content.len() as u64);
    assert_eq!(archive.version.to_string(), VERSION);
    assert_eq!(archive.file_name(), NAME);
    let programs: Vec<_> =
        archive.binaries.iter().map(|binary| (binary.name.as_str(), binary.size, binary.sha256.clone())).collect();
    let expected = |name, seed| {
        let program = fake::program(archive.arch, fake::SIZE, seed);
        (name, program.len() as u64, fake::sha256(&program))
    };
    assert_eq!(programs, [expected("etcd", 1), expected("etcdctl", 2), expected("etcdutl", 3)]);
}

/// How the user reads it.
fn said(error: ReleaseError) -> String {
    etcd_ha::error::Error::from(error).line()
}

/// The name of the exit status.
fn exit(error: &ReleaseError) -> String {
    format!("{:?}", error.exit())
}
