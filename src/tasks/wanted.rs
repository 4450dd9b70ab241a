//! What a host should have: a pure function of inventory, PKI, release and membership.

use crate::etcd::config::{self, Membership};
use crate::host::Observation;
use crate::inventory::Host;
use crate::pki::Pki;
use crate::release::Archive;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// All that a host should have.
pub struct Wanted {
    /// The release, as an archive on the controller.
    pub archive: Archive,
    /// The environment file.
    pub environment: String,
    /// Its SHA-256, lower-case hex.
    pub environment_sha256: String,
    /// The options that a process gets of it, as [`config::options_in`] has them.
    pub options: BTreeSet<String>,
    /// The unit file.
    pub unit: String,
    /// Its SHA-256, lower-case hex.
    pub unit_sha256: String,
    /// The generation that the process should be of.
    pub generation: String,
    /// The files of the `ssl` folder.
    pub certificates: Vec<CertificateFile>,
    /// A digest of them all, which names their folder.
    pub certificates_digest: String,
    /// The binaries of the release that are linked into the `bin` folder.
    pub binaries: Vec<String>,
}

/// One file of the `ssl` folder.
pub struct CertificateFile {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its contents; for keys a secret.
    pub content: Zeroizing<String>,
    /// SHA-256 of its contents, lower-case hex.
    pub sha256: String,
    /// Permission bits.
    pub mode: u32,
}

impl Wanted {
    /// What `host` should have; `None` if the PKI has no certificates for it.
    #[must_use]
    pub fn of(host: &Host, membership: &Membership, pki: &Pki, archive: Archive) -> Option<Self> {
        let leaves = pki.member(&host.name)?;
        let file = |name: &'static str, content: &str, mode| CertificateFile {
            name,
            content: Zeroizing::new(content.to_owned()),
            sha256: sha256(content),
            mode,
        };
        let certificates = vec![
            file("ca.pem", pki.ca_pem(), 0o644),
            file("server.pem", &leaves.server.certificate, 0o644),
            file("server-key.pem", leaves.server.key.expose(), 0o600),
            file("peer.pem", &leaves.peer.certificate, 0o644),
            file("peer-key.pem", leaves.peer.key.expose(), 0o600),
        ];
        let mut all = Sha256::new();
        for file in &certificates {
            all.update(&file.sha256);
        }
        let environment = config::environment(host, &archive.version, membership);
        let unit = config::unit(host);
        let generation = config::generation(&archive.sha256, &environment, &unit, pki.ca_pem());
        let environment = config::with_generation(&environment, &generation);
        Some(Self {
            environment_sha256: sha256(&environment),
            options: config::options_in(&environment),
            environment,
            unit_sha256: sha256(&unit),
            unit,
            generation,
            certificates_digest: data_encoding::HEXLOWER.encode(&all.finalize()[..8]),
            certificates,
            binaries: archive.binaries.iter().map(|binary| binary.name.clone()).collect(),
            archive,
        })
    }

    /// The name of the wanted release's folder. Another build of a version that is there goes beside it, under a name
    /// with its digest: what is there may be in force, or what is gone back to.
    #[must_use]
    pub fn release_name(&self, seen: &Observation) -> String {
        let version = self.archive.version.to_string();
        let named = format!("{version}+{}", self.archive.sha256.get(..8).unwrap_or_default());
        match seen.releases.get(&version) {
            Some(there) if there.archive_sha256 != self.archive.sha256 => named,
            None if seen.releases.contains_key(&named) => named,
            _ => version,
        }
    }

    /// The folder of the wanted release on the host.
    #[must_use]
    pub fn release_folder(&self, host: &Host, seen: &Observation) -> String {
        format!("{}/releases/{}", host.paths.install, self.release_name(seen))
    }

    /// Whether the certificates in `folder` are the wanted ones, down to owner and mode.
    #[must_use]
    pub fn certificates_in(&self, folder: &str, seen: &Observation) -> bool {
        self.certificates.iter().all(|file| {
            let path = format!("{folder}/{}", file.name);
            let state = seen.files.get(&path);
            let owner = format!("{user}:{user}", user = config::USER);
            seen.sha256(&path) == Some(&file.sha256)
                && state.is_some_and(|state| state.mode == file.mode && state.owner == owner)
        })
    }

    /// Whether the CA in `folder` is the wanted one.
    #[must_use]
    pub fn ca_in(&self, folder: &str, seen: &Observation) -> bool {
        let ca = self.certificates.iter().find(|file| file.name == "ca.pem");
        ca.is_some_and(|ca| seen.sha256(&format!("{folder}/ca.pem")) == Some(&ca.sha256))
    }

    /// Whether the environment file in force differs from the wanted one only in what etcd ignores,
    /// since it has data; `record_cluster` writes that, whenever it is.
    #[must_use]
    pub fn differs_harmlessly(&self, seen: &Observation) -> bool {
        let Some(old) = seen.environment.as_deref().filter(|_| seen.data.is_some()) else { return false };
        // Another generation goes in force with what it stands for, or it would vouch for what is not there.
        let same_generation = config::value_of(old, config::GENERATION) == Some(&self.generation);
        old != self.environment && same_generation && config::effective(old) == config::effective(&self.environment)
    }

    /// Whether a text file at `path` is `text`.
    #[must_use]
    pub fn text_at(path: &str, text: &str, seen: &Observation) -> bool {
        seen.sha256(path) == Some(&sha256(text))
    }
}

fn sha256(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(text))
}
