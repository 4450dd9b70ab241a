//! The inventory that a new user begins with.

use semver::Version;
use std::fmt::Write as _;

/// The name under which the starter inventory tells editors to look for the JSON Schema, beside itself.
pub const SCHEMA_FILE: &str = "etcd-ha.schema.json";

/// A commented inventory for a cluster and its hosts, each with name and address.
///
/// What is given is written as it is: parse the result to learn whether it is valid.
#[must_use]
pub fn starter(cluster: &str, hosts: &[(String, String)], version: &Version) -> String {
    let mut text = format!(
        "# yaml-language-server: $schema={SCHEMA_FILE}
# Editors complete and check this file by that schema; `etcd-ha schema > {SCHEMA_FILE}` writes it.
# Everything but `cluster` and `hosts` has a default, shown here in comments.

# Names the cluster, its token, and its PKI folder.
cluster: {}

etcd:
  version: {version}
  # Any option of etcd by its flag name, checked against this version's own list.
  settings:
    # Milliseconds. The heartbeat is about one round trip between members, the election timeout
    # at least ten round trips and at least five heartbeats.
    heartbeat-interval: 100
    election-timeout: 1000
    # The database's largest size; etcd advises 8GiB at most.
    quota-backend-bytes: 8GiB
    # Old revisions are dropped after an hour; without this the database only grows.
    auto-compaction-mode: periodic
    auto-compaction-retention: 1h
  # client_port: 2379
  # peer_port: 2380
  # local_plaintext: false        # true: also http://127.0.0.1:2379 on the host itself
  # metrics: {{ port: 2381 }}       # a port for metrics alone; `etcd-ha prometheus` prints how to scrape

# Where the binaries come from; without this the official release, cached here.
# release:
#   url: https://mirror.example/v{{version}}/etcd-v{{version}}-linux-{{arch}}.tar.gz
#   archive: ./etcd-v{version}-linux-amd64.tar.gz

# Certificates are made here and never leave their folder but for the hosts that they belong to.
# pki:
#   dir: ./FOLDER                 # default: beside this file, prod.pki for prod.yaml
#   key: ecdsa-p256               # or rsa-2048, rsa-3072, rsa-4096
#   leaf_lifetime: 87600h
#   renew_before: 30d

# What is not said here, ssh_config says: whoever can type `ssh node01` need say nothing more.
ssh:
  user: root
  # port: 22
  # jump: bastion.example         # jump hosts on the way: [user@]host[:port], or a list
  # become: doas                  # default: sudo, for users other than root
  # identity: ~/.ssh/id_ed25519   # default: ssh_config's, the agent's and OpenSSH's default ones
  # host_key_checking: strict     # or accept-new, off

# paths:
#   install: /opt/etcd
#   config: /etc/etcd
#   data: /var/lib/etcd
#   bin: /usr/local/bin

# An odd number: 3 members tolerate one failure, 5 tolerate two.
# Each host may override ssh, paths and etcd (settings, ports).
hosts:
",
        word(cluster)
    );
    for (name, address) in hosts {
        let _ = writeln!(text, "  - {{ name: {}, address: {} }}", word(name), word(address));
    }
    if hosts.is_empty() {
        text.push_str("  # - { name: node01, address: 10.0.0.1 }\n");
    }
    text
}

/// A text as a YAML scalar: bare where that cannot be mistaken, else in double quotes.
fn word(text: &str) -> String {
    const TAKEN: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let bare = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str());
    if bare {
        return text.to_owned();
    }
    // YAML's double-quoted form takes JSON's escapes.
    serde_json::Value::from(text).to_string()
}
