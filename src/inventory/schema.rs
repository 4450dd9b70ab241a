//! The inventory as written: its keys, their types, and what each is for.
//!
//! Each mapping below is the one list of its keys: reading, the nearest-key suggestions and the JSON
//! Schema (whose descriptions are the doc comments) all come from it.

use super::problem::{Problem, nearest, quoted};
use super::tree::{At, Node};
use super::values::{Checking, Elevation, Hosts, Jump, KeyKind, Port, Scheme, Settings, Texts, Time};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;
use std::collections::{HashMap, hash_map};

/// A type that can be read from a value as written.
pub(super) trait Read: Sized {
    /// Whether `key:` without a value is the same as leaving the key out.
    const MAY_BE_EMPTY: bool = false;

    /// The value, or `None` after having added what is wrong with it.
    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self>;
}

/// Defines a mapping with a fixed set of keys, all of them optional as far as reading goes.
macro_rules! mapping {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default, JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$doc])* pub(super) $field: Option<At<$type>>,)*
            /// The keys that are there, or were meant, even if what they hold could not be read.
            #[schemars(skip)]
            pub(super) given: Vec<&'static str>,
        }

        impl Read for $name {
            const MAY_BE_EMPTY: bool = true;

            fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
                const KEYS: &[&str] = &[$(key_name(stringify!($field))),*];
                let mut mapping = Self::default();
                let (entries, given) = entries(node, KEYS, problems)?;
                mapping.given = given;
                for (key, value) in entries {
                    $(if key.value == key_name(stringify!($field)) {
                        mapping.$field = read_value(key, value, problems);
                    })*
                }
                Some(mapping)
            }
        }
    };
}

mapping! {
    /// A cluster of etcd and the hosts that it runs on.
    Inventory {
        /// Name of the cluster: names its token and, by default, its PKI folder.
        #[schemars(required, regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
        cluster: String,
        /// What runs: version, options, ports.
        etcd: Etcd,
        /// Where the binaries come from: exactly one of `url`, `archive` and `binaries`. Default: the official release.
        release: Release,
        /// The certificate authority and the certificates that it issues, all on the controller.
        pki: Pki,
        /// How the hosts are reached; each key can be overridden per host.
        ssh: Ssh,
        /// Where things lie on the hosts; each key can be overridden per host.
        paths: Paths,
        /// The members' hosts. An odd number: 3 members tolerate one failure, 5 tolerate two.
        #[schemars(required)]
        hosts: Hosts,
    }
}

mapping! {
    /// What runs on every host.
    Etcd {
        /// Version of etcd, for example 3.5.16. Default: the version that `etcd-ha init` writes.
        #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
        version: String,
        /// etcd's options by flag name without dashes, checked against the version's own list; sizes may be written like 8GiB.
        settings: Settings,
        /// Port for clients. Default: 2379.
        client_port: Port,
        /// Port for the other members. Default: 2380.
        peer_port: Port,
        /// Also serve clients on the host itself at http://127.0.0.1:2379, without TLS. Default: false.
        local_plaintext: bool,
        /// Serve metrics and health on a port of their own too; without it the port for clients alone has them.
        metrics: Metrics,
    }
}

mapping! {
    /// Where each member serves its metrics, beside the port for clients.
    Metrics {
        /// The port. Default: 2381.
        port: Port,
        /// `https` wants the client certificates that the port for clients wants; `http` lets anybody read. Default: https.
        scheme: Scheme,
    }
}

mapping! {
    /// What differs on this host.
    HostEtcd {
        /// Options of this member alone, laid over `etcd.settings` key by key.
        settings: Settings,
        /// Port for clients.
        client_port: Port,
        /// Port for the other members.
        peer_port: Port,
        /// Also serve clients on the host itself at http://127.0.0.1:2379, without TLS.
        local_plaintext: bool,
    }
}

mapping! {
    /// Where the binaries come from.
    Release {
        /// Address of the archive (https, http or file), with {version} and {arch} to be filled in.
        url: String,
        /// SHA-256 digests of the archive by architecture. Default: the file SHA256SUMS beside it.
        sha256: Digests,
        /// A local archive, or a folder that holds it; {version} and {arch} are filled in.
        archive: String,
        /// A local folder with the binaries etcd, etcdctl and, from 3.5 on, etcdutl.
        binaries: String,
    }
}

mapping! {
    /// SHA-256 digests of the archive by architecture, 64 hexadecimal digits each.
    Digests {
        /// Of the archive for x86-64.
        #[schemars(regex(pattern = r"^[0-9A-Fa-f]{64}$"))]
        amd64: String,
        /// Of the archive for 64-bit ARM.
        #[schemars(regex(pattern = r"^[0-9A-Fa-f]{64}$"))]
        arm64: String,
    }
}

mapping! {
    /// The certificate authority and the certificates that it issues.
    Pki {
        /// Folder on the controller. Default: beside the inventory, prod.pki for prod.yaml.
        dir: String,
        /// Certificate of a CA of your own (PEM); needs `ca_key`.
        ca_cert: String,
        /// Private key of `ca_cert` (PEM).
        ca_key: String,
        /// Encrypt the key of a CA that is made here, under a passphrase that the first deploy asks for. Default: false.
        encrypt_ca_key: bool,
        /// Kind of the keys that are made. Default: ecdsa-p256.
        key: KeyKind,
        /// How long a CA made here is valid. Default: 87600h (ten years).
        ca_lifetime: Time,
        /// How long a member's certificates are valid. Default: 87600h (ten years).
        leaf_lifetime: Time,
        /// Certificates with less than this left are issued anew. Default: 30d.
        renew_before: Time,
        /// Fields of the certificates' subjects beside the common name.
        subject: Subject,
    }
}

mapping! {
    /// Fields of the certificates' subjects beside the common name.
    Subject {
        /// C: two letters, for example DE.
        #[schemars(regex(pattern = r"^[A-Z]{2}$"))]
        country: String,
        /// ST: state or province.
        state: String,
        /// L: town or city.
        locality: String,
        /// O: company or institution.
        organization: String,
    }
}

mapping! {
    /// How a host is reached over SSH.
    Ssh {
        /// Where SSH connects, if that is not the host's `address`: a name, an address, or an alias of ssh_config; only under a host.
        address: String,
        /// User to log in as. Default: what ssh_config says, or else whoever runs etcd-ha.
        user: String,
        /// Port of sshd. Default: what ssh_config says, or else 22.
        port: Port,
        /// Jump hosts, the nearest first, as `[user@]host[:port]`: a list, or separated by commas; `none`: go straight. Default: ssh_config's ProxyJump.
        jump: Jump,
        /// The ssh_config file to go by, or `none`. Default: the user's and the system's, as for `ssh`.
        config: String,
        /// Run commands as root through `sudo` (or `true`) or `doas`. Default: sudo for users other than root.
        r#become: Elevation,
        /// Private key file, or a list of them. Default: ssh_config's, or else the agent's keys and OpenSSH's default names in ~/.ssh.
        identity: Texts,
        /// Files with host keys. Default: ssh_config's, or else ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.
        known_hosts: Texts,
        /// Fingerprint of the host's key (`SHA256:…`), or a list of them; takes the place of the files; only under a host.
        host_key: Texts,
        /// What to do about a host key that is in no file. Default: strict.
        host_key_checking: Checking,
        /// How long connecting and logging in may take, each. Default: 10s.
        connect_timeout: Time,
        /// How often a silent connection is probed; three unanswered probes end it. Default: 5s.
        keepalive: Time,
    }
}

mapping! {
    /// Where things lie on a host.
    Paths {
        /// Releases of etcd. Default: /opt/etcd.
        install: String,
        /// Configuration and certificates. Default: /etc/etcd.
        config: String,
        /// etcd's data. Default: /var/lib/etcd.
        data: String,
        /// Links to the active binaries. Default: /usr/local/bin.
        bin: String,
    }
}

mapping! {
    /// A host that runs one member.
    Host {
        /// Name of the member, unlike any other's.
        #[schemars(required, regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
        name: String,
        /// IP address (IPv6 without brackets) or DNS name that the other members and clients use.
        #[schemars(required)]
        address: String,
        /// Further names and addresses by which the member is reached or from which it connects; they go into its certificates.
        extra_names: Texts,
        /// How this host is reached, where that differs.
        ssh: Ssh,
        /// Where things lie on this host, where that differs.
        paths: Paths,
        /// What runs on this host, where that differs.
        etcd: HostEtcd,
    }
}

/// The key of a field: `become` is a word of Rust and has to be written `r#become` here.
const fn key_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

type Entry = (At<String>, At<Node>);

/// The entries of a mapping whose keys are known, each key once, and the keys that are given or
/// meant; adds a problem for every other.
fn entries<'a>(
    node: &'a At<Node>,
    known: &[&'static str],
    problems: &mut Vec<Problem>,
) -> Option<(Vec<&'a Entry>, Vec<&'static str>)> {
    let all = match &node.value {
        Node::Null => return Some((Vec::new(), Vec::new())),
        Node::Map(entries) => entries,
        other @ (Node::Scalar(_) | Node::List(_)) => {
            let message = format!("expected a mapping, found {}", other.describe());
            let help = format!("its keys are {}", list(known));
            problems.push(Problem::new(message, node.span.clone()).label("here").help(help));
            return None;
        }
    };
    let (known_entries, unknown): (Vec<_>, Vec<_>) =
        unique(all, problems).into_iter().partition(|(key, _)| known.contains(&key.value.as_str()));
    let is_there = |name: &&&str| all.iter().any(|(key, _)| key.value == **name);
    let (mut given, missing): (Vec<&str>, Vec<&str>) = known.iter().partition(is_there);
    for (key, _) in unknown {
        let problem = Problem::new(format!("unknown key {}", quoted(&key.value)), key.span.clone());
        // A key that is there already was hardly meant a second time.
        problems.push(match nearest(&key.value, missing.iter().copied()) {
            Some(name) => {
                given.push(name);
                problem.label(format!("did you mean `{name}`?"))
            }
            None => problem.label("not a key here").help(format!("the keys here are {}", list(known))),
        });
    }
    Some((known_entries, given))
}

/// The entries without repeated keys; adds a problem for every repetition.
pub(super) fn unique<'a>(entries: &'a [Entry], problems: &mut Vec<Problem>) -> Vec<&'a Entry> {
    let mut first_places: HashMap<&str, &At<String>> = HashMap::new();
    let mut kept = Vec::new();
    for entry in entries {
        let key = &entry.0;
        match first_places.entry(&key.value) {
            hash_map::Entry::Occupied(first) => problems.push(
                Problem::new(format!("key {} is given twice", quoted(&key.value)), key.span.clone())
                    .label("and again here")
                    .and(first.get().span.clone(), "first given here"),
            ),
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(key);
                kept.push(entry);
            }
        }
    }
    kept
}

fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

fn read_value<T: Read>(key: &At<String>, value: &At<Node>, problems: &mut Vec<Problem>) -> Option<At<T>> {
    if value.value == Node::Null {
        if !T::MAY_BE_EMPTY {
            problems.push(
                Problem::new(format!("key `{}` has no value", key.value), key.span.clone())
                    .label("nothing after this")
                    .help("give it a value, or leave the key out"),
            );
        }
        return None;
    }
    T::read(value, problems).map(|read| At::new(read, value.span.clone()))
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The JSON Schema (draft 2020-12) of an inventory, for editors that complete and check YAML by it.
#[must_use]
pub fn json_schema() -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Inventory>();
    schema.insert("title".to_owned(), "etcd-ha inventory".into());
    let mut value = schema.to_value();
    refuse_null(&mut value);
    format!("{value:#}\n")
}

/// A key may be left out, but a plain value is never null.
fn refuse_null(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            if let Some(serde_json::Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".to_owned(), only);
                }
            }
            fields.values_mut().for_each(refuse_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(refuse_null),
        _ => {}
    }
}
