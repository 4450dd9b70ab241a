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

    /// The key of the inventory that fixes the binaries to one version, if one does: a file, a folder of
    /// binaries or an address without `{version}`, or digests, which are those of one archive.
    #[must_use]
    pub fn fixed_by(&self) -> Option<&'static str> {
        let fixed = |path: &Path| !path.to_string_lossy().contains("{version}");
        match self {
            Self::Url { sha256, .. } | Self::Archive { sha256, .. } if !sha256.is_empty() => Some("release.sha256"),
            Self::Url { template, .. } => (!template.contains("{version}")).then_some("release.url"),
            Self::Archive { path, .. } => (fixed(path) && !path.is_dir()).then_some("release.archive"),
            Self::Binaries(folder) => fixed(folder).then_some("release.binaries"),
        }
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
    fn sources_with_one_version() {
        let dir = tempfile::tempdir().unwrap();
        let digests = BTreeMap::from([(Arch::Amd64, "0".repeat(64))]);
        let url = |template: &str, sha256: &BTreeMap<_, _>| Source::Url {
            template: template.to_owned(),
            sha256: sha256.clone(),
        };
        let archive =
            |path: &Path, sha256: &BTreeMap<_, _>| Source::Archive { path: path.to_owned(), sha256: sha256.clone() };
        let none = BTreeMap::new();
        for (source, key) in [
            (Source::default_official(), None),
            (url("https://m/etcd-{version}.tgz", &none), None),
            (url("https://m/etcd.tgz", &none), Some("release.url")),
            (url("https://m/etcd-{version}.tgz", &digests), Some("release.sha256")),
            (archive(dir.path(), &none), None),
            (archive(&dir.path().join("etcd-{version}.tgz"), &none), None),
            (archive(&dir.path().join("etcd.tgz"), &none), Some("release.archive")),
            (archive(dir.path(), &digests), Some("release.sha256")),
            (Source::Binaries(dir.path().to_owned()), Some("release.binaries")),
            (Source::Binaries(dir.path().join("{version}")), None),
        ] {
            assert_eq!(source.fixed_by(), key, "{source:?}");
        }
    }

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
