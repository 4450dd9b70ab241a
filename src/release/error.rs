//! What can go wrong when a release is obtained, in words.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use super::Arch;
use crate::error::{ExitStatus, Explain};

/// Why a release archive was not obtained. URLs in it are without passwords and queries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// No archive or binary where the source says.
    #[error("no {what} at {}", quoted(looked))]
    NotFound {
        /// What was looked for.
        what: String,
        /// Every place that was looked at.
        looked: Vec<PathBuf>,
    },

    /// Something that is not a URL, or not one that can be fetched.
    #[error("`{url}` cannot be fetched: {reason}")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A proxy that cannot be used.
    #[error("proxy `{proxy}` cannot be used: {reason}")]
    BadProxy {
        /// The proxy as configured.
        proxy: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The server answered with an error.
    #[error("`{url}` answered with HTTP status {status}")]
    Status {
        /// The URL that answered, after redirects.
        url: String,
        /// The HTTP status.
        status: u16,
    },

    /// No answer that could be used.
    #[error("failed to fetch `{url}`{}", through(proxy.as_ref()))]
    Network {
        /// The URL that was asked, after redirects.
        url: String,
        /// The proxy in between.
        proxy: Option<String>,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// More redirects than anyone needs, or one that gives up encryption.
    #[error("`{url}` redirects to `{to}`: {reason}")]
    Redirect {
        /// The URL that redirects.
        url: String,
        /// Where to.
        to: String,
        /// Why it is not followed.
        reason: &'static str,
    },

    /// A download, an archive or a file of digests beyond every sensible size.
    #[error("`{what}` is larger than {limit} bytes")]
    TooLarge {
        /// The file or URL.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },

    /// A digest in the inventory that is none.
    #[error("`{value}` is not a SHA-256 digest for {arch}")]
    BadDigest {
        /// The architecture it is given for.
        arch: Arch,
        /// What is given.
        value: String,
    },

    /// A `SHA256SUMS` without the archive.
    #[error("`{sums}` has no digest of `{name}`")]
    Unlisted {
        /// The file or URL of the digests.
        sums: String,
        /// The archive's name.
        name: String,
    },

    /// An archive that is not the expected one.
    #[error("`{what}` has SHA-256 {found}, but {origin} says {wanted}")]
    WrongDigest {
        /// The file or URL.
        what: String,
        /// Its digest.
        found: String,
        /// The digest it should have.
        wanted: String,
        /// Who says so: the inventory or a `SHA256SUMS`.
        origin: String,
    },

    /// An archive that ends too early.
    #[error("`{what}` is cut short")]
    Truncated {
        /// The file or URL.
        what: String,
    },

    /// Something that is not a gzipped tar archive, or a damaged one.
    #[error("`{what}` cannot be read as a tar.gz archive")]
    Damaged {
        /// The file or URL.
        what: String,
        /// What the reader says.
        #[source]
        source: io::Error,
    },

    /// An entry that no release has, and that could write outside of its folder on a host.
    #[error("`{what}` holds `{entry}`, {why}")]
    UnsafeEntry {
        /// The file or URL.
        what: String,
        /// The entry's path in the archive.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },

    /// An archive of something else: another version, another architecture, no etcd at all.
    #[error("`{what}` holds `{found}` instead of the folder `{wanted}`")]
    WrongContent {
        /// The file or URL.
        what: String,
        /// What lies at its top.
        found: String,
        /// What should.
        wanted: String,
    },

    /// An archive or a folder without one of the programs.
    #[error("`{what}` lacks the binary `{binary}`")]
    MissingBinary {
        /// The file, folder or URL.
        what: String,
        /// The program.
        binary: String,
    },

    /// A program that is none.
    #[error("`{binary}` in `{what}` is not a Linux program (ELF)")]
    NotElf {
        /// The file, folder or URL.
        what: String,
        /// The program.
        binary: String,
    },

    /// A program that ends before its own headers say so.
    #[error("`{binary}` in `{what}` is cut short")]
    CutBinary {
        /// The file, folder or URL.
        what: String,
        /// The program.
        binary: String,
    },

    /// A program for another machine.
    #[error("`{binary}` in `{what}` is built for {found}, not for {wanted}")]
    WrongArch {
        /// The file, folder or URL.
        what: String,
        /// The program.
        binary: String,
        /// What it is built for.
        found: String,
        /// What the host needs.
        wanted: Arch,
    },

    /// A file that someone writes to while it is read.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },

    /// The disk, or a permission.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl ReleaseError {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Explain for ReleaseError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Network { .. } | Self::Status { status: 500.., .. } | Self::Redirect { .. } => {
                "where the internet is out of reach, `--release URL-or-path` names a mirror, an archive or a \
                 folder; HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured, and SSL_CERT_FILE names another CA bundle"
            }
            Self::Status { status: 407, .. } => {
                "give the proxy's user and password in HTTPS_PROXY, as `http://user:password@proxy:3128`"
            }
            Self::Status { url, .. } if url.ends_with("/SHA256SUMS") => {
                "check that the version exists there; an archive without SHA256SUMS beside it needs its digest as \
                 `release.sha256` in the inventory"
            }
            Self::Status { .. } | Self::NotFound { .. } | Self::BadUrl { .. } => {
                "check that the version exists, and what `release` in the inventory or `--release` says; \
                 `{version}` and `{arch}` are filled in"
            }
            Self::Unlisted { .. } => "give the archive's digest as `release.sha256` in the inventory",
            Self::WrongDigest { .. } => {
                "the file is damaged or is not the release that it claims to be: compare with the digest that \
                 etcd publishes for this version, and obtain it again"
            }
            Self::Truncated { .. } | Self::Damaged { .. } | Self::CutBinary { .. } => {
                "obtain the file again and compare its digest with the published one"
            }
            Self::WrongContent { .. } | Self::WrongArch { .. } | Self::NotElf { .. } => {
                "`release` in the inventory or `--release` has to name the archive of this version for each host's \
                 architecture; `{version}` and `{arch}` are filled in"
            }
            Self::MissingBinary { .. } => "a release consists of etcd, etcdctl and, from 3.5 on, etcdutl",
            Self::BadProxy { .. } => {
                "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY take `http://host:port` or `https://host:port`"
            }
            Self::BadDigest { .. } => "a SHA-256 digest consists of 64 hexadecimal digits",
            Self::TooLarge { .. } | Self::UnsafeEntry { .. } | Self::Changed { .. } | Self::Io { .. } => return None,
        };
        Some(hint.to_owned())
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::Status { status: 407 | 408 | 429 | 500.., .. }
            | Self::Network { .. }
            | Self::Redirect { .. }
            | Self::Changed { .. }
            | Self::Io { .. } => ExitStatus::Failed,
            Self::NotFound { .. }
            | Self::BadUrl { .. }
            | Self::BadProxy { .. }
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::BadDigest { .. }
            | Self::Unlisted { .. }
            | Self::WrongDigest { .. }
            | Self::Truncated { .. }
            | Self::Damaged { .. }
            | Self::UnsafeEntry { .. }
            | Self::WrongContent { .. }
            | Self::MissingBinary { .. }
            | Self::NotElf { .. }
            | Self::CutBinary { .. }
            | Self::WrongArch { .. } => ExitStatus::Usage,
        }
    }
}

fn quoted(paths: &[PathBuf]) -> String {
    let quoted: Vec<_> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    quoted.join(", ")
}

fn through(proxy: Option<&String>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" through proxy `{proxy}`"))
}
