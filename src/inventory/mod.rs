//! What the user wants: the inventory as meant, immutable once loaded.

use crate::{pki, release, ssh};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A cluster and its hosts, as meant: every default filled in, every rule held.
#[derive(Debug, Clone, PartialEq)]
pub struct Inventory {
    /// The file it was read from.
    pub path: PathBuf,
    /// The cluster's name.
    pub cluster: String,
    /// The etcd version to run.
    pub version: semver::Version,
    /// Where the binaries come from.
    pub release: release::Source,
    /// Certificates.
    pub pki: pki::Settings,
    /// The members' hosts, in the order of the file.
    pub hosts: Vec<Host>,
    /// What the user should know although it stops nothing, a sentence each.
    pub warnings: Vec<String>,
}

/// One host, which runs one member.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// The member's name.
    pub name: String,
    /// The address that peers and clients use: an IP address (IPv6 without brackets) or a DNS name.
    pub address: String,
    /// Port for clients, 2379 by default.
    pub client_port: u16,
    /// Port for peers, 2380 by default.
    pub peer_port: u16,
    /// Further names and addresses by which the member is reached or from which it connects.
    pub extra_names: Vec<String>,
    /// Whether clients on the host itself are also served at http://127.0.0.1:2379 without TLS.
    pub local_plaintext: bool,
    /// etcd's options by flag name, as etcd wants them written.
    pub settings: BTreeMap<String, String>,
    /// How SSH reaches it.
    pub ssh: ssh::Target,
    /// Whether commands run through `sudo -n`.
    pub r#become: bool,
    /// Where things lie on it.
    pub paths: Paths,
}

/// Where things lie on a host; all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Releases, `/opt/etcd`.
    pub install: String,
    /// Configuration and certificates, `/etc/etcd`.
    pub config: String,
    /// etcd's data, `/var/lib/etcd`.
    pub data: String,
    /// Links to the active binaries, `/usr/local/bin`.
    pub bin: String,
}
