//! Where the binaries come from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Arch, url};

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
    /// A folder with the bare binaries `etcd`, `etcdctl` and, from 3.5 on, `etcdutl`; for a cluster
    /// of several architectures with subfolders `amd64` and `arm64` that hold them.
    Binaries(PathBuf),
}

impl Source {
    /// Where etcd publishes its releases, as its install page says:
    /// <https://etcd.io/docs/v3.5/install/>.
    pub const OFFICIAL: &str =
        "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz";

    /// The official releases.
    #[must_use]
    pub fn default_official() -> Self {
        Self::Url { template: Self::OFFICIAL.to_owned(), sha256: BTreeMap::new() }
    }

    /// What a user means by `--release URL-or-path`: a URL, a folder with the binaries themselves
    /// (also one by architecture), a folder with archives, or an archive. It looks at the file
    /// system to tell the folders apart; what does not exist shows when it is obtained.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let sha256 = BTreeMap::new();
        if url::scheme(text).is_some() {
            return Self::Url { template: text.to_owned(), sha256 };
        }
        let path = PathBuf::from(text);
        if holds_binaries(&path) { Self::Binaries(path) } else { Self::Archive { path, sha256 } }
    }
}

fn holds_binaries(folder: &Path) -> bool {
    folder.join("etcd").is_file() || Arch::ALL.iter().any(|arch| folder.join(arch.as_str()).join("etcd").is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_word_of_the_user_becomes_the_source_it_names() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["mirror", "bare", "mixed/arm64", "odd/etcd"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("bare/etcd"), "").unwrap();
        fs::write(dir.path().join("mixed/arm64/etcd"), "").unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let url = |template: &str| Source::Url { template: template.to_owned(), sha256: BTreeMap::new() };
        let archive = |path: String| Source::Archive { path: path.into(), sha256: BTreeMap::new() };
        for (text, source) in [
            (Source::OFFICIAL.to_owned(), Source::default_official()),
            ("http://m/{version}.tgz".into(), url("http://m/{version}.tgz")),
            ("FILE:///srv/e.tgz".into(), url("FILE:///srv/e.tgz")),
            // Not one that can be obtained, but a URL all the same: the error then says so.
            ("ftp://m/e.tgz".into(), url("ftp://m/e.tgz")),
            (at("mirror"), archive(at("mirror"))),
            (at("e-{arch}.tgz"), archive(at("e-{arch}.tgz"))),
            (at("odd"), archive(at("odd"))),
            (at("bare"), Source::Binaries(at("bare").into())),
            (at("mixed"), Source::Binaries(at("mixed").into())),
        ] {
            assert_eq!(Source::parse(&text), source, "{text}");
        }
    }
}
