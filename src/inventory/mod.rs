//! What the user wants: the inventory as meant, immutable once loaded.
//!
//! The way of a file: `tree` reads YAML into values with their places, `schema` makes typed keys of
//! them (as written), `validate` fills in defaults and checks every rule (as meant). Each step adds
//! to one list of problems, which is shown as a whole.

mod edit;
mod lint;
mod problem;
mod rules;
mod schema;
mod starter;
mod tree;
mod validate;
mod values;

pub use edit::with_version;
pub use lint::{Contradiction, Finding, Lint, Settled};
pub use problem::{InventoryError, Problem};
pub(crate) use problem::{nearest, quoted};
pub use schema::json_schema;
pub use starter::{SCHEMA_FILE, starter};
pub use values::duration;

use crate::{pki, release, ssh, yaml};
use schema::Read as _;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// No inventory is larger; a mistaken path to something huge is not read to its end.
const LARGEST: u64 = 1 << 20;

impl Inventory {
    /// Reads and checks an inventory file.
    ///
    /// Relative local paths in it start at its folder; `~` is the user's home.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or breaks rules: all of those that it breaks.
    pub fn load(path: &Path, lint: &dyn Lint) -> Result<Self, InventoryError> {
        Self::parse(path, &Self::text(path)?, lint)
    }

    /// The text of an inventory file, unchecked.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no text.
    pub fn text(path: &Path) -> Result<String, InventoryError> {
        let unreadable = |source| InventoryError::Read { path: path.to_path_buf(), source };
        let file = crate::files::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST {
            return Err(InventoryError::TooLarge { path: path.to_path_buf(), limit: LARGEST });
        }
        yaml::text(bytes).map_err(|(offset, line)| InventoryError::NotText { path: path.to_path_buf(), offset, line })
    }

    /// Checks an inventory's text; `path` is where it came from, or will go.
    ///
    /// # Errors
    ///
    /// Every rule that it breaks.
    pub fn parse(path: &Path, text: &str, lint: &dyn Lint) -> Result<Self, InventoryError> {
        if text.len() as u64 > LARGEST {
            return Err(InventoryError::TooLarge { path: path.to_path_buf(), limit: LARGEST });
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut problems = Vec::new();
        if let Some(inventory) = read(path, text, lint, &mut problems)
            && problems.is_empty()
        {
            return Ok(inventory);
        }
        problems.sort_by_key(|problem| problem.labels.first().map_or(0, |(span, _)| span.start));
        Err(InventoryError::Invalid { path: path.to_path_buf(), text: text.to_owned(), problems })
    }
}

fn read(path: &Path, text: &str, lint: &dyn Lint, problems: &mut Vec<Problem>) -> Option<Inventory> {
    let root = match tree::read(text) {
        Ok(root) => root,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    if root.value == tree::Node::Null {
        let problem = Problem::new("the inventory is empty", 0..0);
        problems.push(problem.help("`etcd-ha init --cluster NAME --host ADDRESS …` writes a starter inventory"));
        return None;
    }
    let written = schema::Inventory::read(&root, problems)?;
    Some(validate::inventory(path, written, root.span, lint, problems))
}

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
    /// The port for metrics alone, if there is to be one.
    pub metrics: Option<Metrics>,
    /// etcd's options by flag name, as etcd wants them written.
    pub settings: BTreeMap<String, String>,
    /// How SSH reaches it.
    pub ssh: ssh::Target,
    /// How commands come to root's rights, if the inventory says: else as they are for root, and through sudo for
    /// anybody else.
    pub r#become: Option<Become>,
    /// Where things lie on it.
    pub paths: Paths,
}

/// A port for metrics and health, beside the one for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// The port.
    pub port: u16,
    /// Whether it wants TLS and a client certificate, as the port for clients does.
    pub tls: bool,
}

/// How commands come to root's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Become {
    /// They have them, or do without.
    No,
    /// Through sudo.
    Sudo,
    /// Through doas.
    Doas,
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
