//! What a member is told: its environment file, its unit, and the generation of both.

use super::identity::{ClusterId, MemberId, cluster_id, member_id};
use super::options::environment_name;
use crate::inventory::{Host, Inventory};
use semver::Version;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The variable that carries the generation. It must not begin with `ETCD_`, since etcd warns of
/// variables under its own prefix that it does not know.
pub const GENERATION: &str = "HA_GENERATION";
/// The variable that carries the cluster's id once the cluster stands.
pub const CLUSTER_ID: &str = "HA_CLUSTER_ID";
/// The unit's name.
pub const UNIT: &str = "etcd.service";
/// How many files a member may open: every client connection is one.
pub const OPEN_FILES: u64 = 65_536;
/// The system user that etcd runs as.
pub const USER: &str = "etcd";
/// The first line of every text file that we write on a host; a file without it is not ours.
pub const MARK: &str = "# Written by etcd-ha; changes made here are taken back by the next deploy.";

/// How the names of the variables begin by which etcd takes its options.
pub const PREFIX: &str = "ETCD_";

/// Variables that etcd ignores once it has data: a difference in these needs no restart.
const IGNORED_WITH_DATA: [&str; 5] =
    ["ETCD_INITIAL_CLUSTER", "ETCD_INITIAL_CLUSTER_STATE", "ETCD_INITIAL_CLUSTER_TOKEN", GENERATION, CLUSTER_ID];

/// Which cluster a member is to form or join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The cluster token, random for each bootstrap.
    pub token: String,
    /// Every member's name and peer URL, in inventory order.
    pub peers: Vec<(String, String)>,
    /// The cluster's id once a quorum has stood; from then on the members' state is `existing`,
    /// so that members that lost their disks can never form an empty cluster of their own.
    pub established: Option<ClusterId>,
}

impl Membership {
    /// The members of the inventory, about to be bootstrapped with `token`.
    #[must_use]
    pub fn bootstrap(inventory: &Inventory, token: String) -> Self {
        let peers = inventory.hosts.iter().map(|host| (host.name.clone(), peer_url(host))).collect();
        Self { token, peers, established: None }
    }

    /// The id that the member `name` has, or gets, if it was there at the bootstrap.
    #[must_use]
    pub fn member_id(&self, name: &str) -> Option<MemberId> {
        let (_, url) = self.peers.iter().find(|(peer, _)| peer == name)?;
        Some(member_id(std::slice::from_ref(url), &self.token))
    }

    /// The id that the cluster gets at bootstrap.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        let ids: Vec<_> = self.peers.iter().map(|(_, url)| member_id(std::slice::from_ref(url), &self.token)).collect();
        cluster_id(&ids)
    }

    /// The value of `ETCD_INITIAL_CLUSTER`.
    #[must_use]
    pub fn initial_cluster(&self) -> String {
        // Sorted, so that another order in the inventory is no change on the hosts.
        let mut members: Vec<_> = self.peers.iter().map(|(name, url)| format!("{name}={url}")).collect();
        members.sort();
        members.join(",")
    }
}

/// `address` as it stands in a URL: IPv6 in brackets.
#[must_use]
pub fn url_host(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// The URL by which clients reach the host's member.
#[must_use]
pub fn client_url(host: &Host) -> String {
    format!("https://{}:{}", url_host(&host.address), host.client_port)
}

/// The URL by which peers reach the host's member.
#[must_use]
pub fn peer_url(host: &Host) -> String {
    format!("https://{}:{}", url_host(&host.address), host.peer_port)
}

/// The environment file of a member, the one place for its options, without the generation.
///
/// Listen URLs want an IP address: a member that is known by a DNS name listens on all addresses.
#[must_use]
pub fn environment(host: &Host, version: &Version, membership: &Membership) -> String {
    let listen = match host.address.parse::<std::net::IpAddr>() {
        Ok(_) => url_host(&host.address),
        Err(_) => "0.0.0.0".to_owned(),
    };
    let mut listen_clients = format!("https://{listen}:{}", host.client_port);
    if listen != "0.0.0.0" {
        // Tools on the host itself, with TLS.
        let _ = write!(listen_clients, ",https://127.0.0.1:{}", host.client_port);
    }
    if host.local_plaintext {
        listen_clients = format!("https://{listen}:{port},http://127.0.0.1:{port}", port = host.client_port);
    }
    let ssl = format!("{}/ssl", host.paths.config);
    let mut options = vec![
        ("name", host.name.clone()),
        ("data-dir", host.paths.data.clone()),
        ("listen-client-urls", listen_clients),
        ("advertise-client-urls", client_url(host)),
        ("listen-peer-urls", format!("https://{listen}:{}", host.peer_port)),
        ("initial-advertise-peer-urls", peer_url(host)),
        ("initial-cluster", membership.initial_cluster()),
        ("initial-cluster-state", if membership.established.is_some() { "existing" } else { "new" }.to_owned()),
        ("initial-cluster-token", membership.token.clone()),
        ("cert-file", format!("{ssl}/server.pem")),
        ("key-file", format!("{ssl}/server-key.pem")),
        ("trusted-ca-file", format!("{ssl}/ca.pem")),
        ("client-cert-auth", "true".to_owned()),
        ("peer-cert-file", format!("{ssl}/peer.pem")),
        ("peer-key-file", format!("{ssl}/peer-key.pem")),
        ("peer-trusted-ca-file", format!("{ssl}/ca.pem")),
        ("peer-client-cert-auth", "true".to_owned()),
    ];
    if let Some(metrics) = host.metrics {
        let scheme = if metrics.tls { "https" } else { "http" };
        let mut urls = format!("{scheme}://{listen}:{}", metrics.port);
        if listen != "0.0.0.0" {
            let _ = write!(urls, ",{scheme}://127.0.0.1:{}", metrics.port);
        }
        options.push(("listen-metrics-urls", urls));
    }
    if version.minor < 5 && !host.settings.contains_key("logger") {
        // The JSON lines that 3.5 and later write by default.
        options.push(("logger", "zap".to_owned()));
    }
    let own = options.len();
    options.extend(host.settings.iter().map(|(option, value)| (option.as_str(), value.clone())));
    let mut text = format!("{MARK}\n");
    for (index, (option, value)) in options.iter().enumerate() {
        if index == own {
            text.push_str("# From the inventory's settings.\n");
        }
        let _ = writeln!(text, "{}={}", environment_name(option), quoted(value));
    }
    if let Some(id) = membership.established {
        let _ = writeln!(text, "{CLUSTER_ID}={id}");
    }
    text
}

/// A value as an environment file of systemd wants it (systemd.exec(5), `EnvironmentFile=`).
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+[]*".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

/// What [`quoted`] was given.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value.to_owned() };
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        text.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    text
}

/// The environment file with the generation that it is part of.
#[must_use]
pub fn with_generation(environment: &str, generation: &str) -> String {
    format!("{environment}{GENERATION}={generation}\n")
}

/// The value of a variable in an environment file that we wrote.
#[must_use]
pub fn value_of<'a>(environment: &'a str, name: &str) -> Option<&'a str> {
    environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The part of an environment file that a running member has taken in: without comments and
/// without what etcd ignores once it has data.
#[must_use]
pub fn effective(environment: &str) -> Vec<&str> {
    let ignored = |line: &str| line.split_once('=').is_some_and(|(name, _)| IGNORED_WITH_DATA.contains(&name));
    environment.lines().filter(|line| !line.starts_with('#') && !line.is_empty() && !ignored(line)).collect()
}

/// The variables, `NAME=value` each, by which a member that was started with `environment` takes its
/// options, without what etcd ignores once it has data.
#[must_use]
pub fn options_in(environment: &str) -> BTreeSet<String> {
    let options = effective(environment).into_iter().filter(|line| line.starts_with(PREFIX));
    options.filter_map(|line| line.split_once('=').map(|(name, value)| format!("{name}={}", unquoted(value)))).collect()
}

/// Whether a process with these variables runs with other options than those that are `wanted`, as [`options_in`] has
/// them: some are missing or differ or, unless drop-ins of the unit may `add` some, stand beside them.
#[must_use]
pub fn runs_with_others(variables: &BTreeSet<String>, wanted: &BTreeSet<String>, add: bool) -> bool {
    let beside = |variable: &String| {
        let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
        !IGNORED_WITH_DATA.contains(&name)
    };
    !wanted.is_subset(variables) || (!add && variables.difference(wanted).any(beside))
}

/// A digest of all that makes the process what it is: binary, configuration, unit and CA. Leaf
/// certificates are left out, since etcd reads them anew at every handshake.
#[must_use]
pub fn generation(archive_sha256: &str, environment: &str, unit: &str, ca_pem: &str) -> String {
    let mut hash = Sha256::new();
    for part in [archive_sha256, &effective(environment).join("\n"), unit, ca_pem] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    data_encoding::HEXLOWER.encode(&hash.finalize()[..16])
}

/// The unit of a member.
#[must_use]
pub fn unit(host: &Host) -> String {
    let paths = &host.paths;
    let mut text = format!(
        "{MARK}
[Unit]
Description=etcd
Documentation=https://etcd.io/docs/
Wants=network-online.target
After=network-online.target
# An unmounted data disk must not look like an empty data dir.
RequiresMountsFor={data}
# A member that cannot start is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
# etcd reports ready once it has published itself through raft, which needs a quorum.
Type=notify
TimeoutStartSec=infinity
User={USER}
Group={USER}
EnvironmentFile={config}/etcd.conf
ExecStart={bin}/etcd
Restart=always
RestartSec=2
LimitNOFILE={OPEN_FILES}
# The kernel should kill nearly everything else first.
OOMScoreAdjust=-999

# As little as etcd can do with. What is left open, and why:
# PrivateNetwork=, IPAddressDeny=, RestrictAddressFamilies=AF_INET AF_INET6: peers and clients come from anywhere; who they
#   are, their certificates say.
# RestrictAddressFamilies=AF_UNIX: systemd is told over a socket that the member is ready.
# ProcSubset=: the Go runtime and etcd's metrics read more of /proc than processes.
# PrivateUsers=: needs user namespaces, which many kernels do not give.
# RootDirectory=: the release and the system's certificates are read from where they are.
# DeviceAllow=: the clock's device is named by ProtectClock= itself, for reading.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
ReadWritePaths={data}
{logs}RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077

[Install]
WantedBy=multi-user.target
",
        data = paths.data,
        config = paths.config,
        bin = paths.bin,
        logs = logs_directory(host),
    );
    // Paths below /home or /root would be hidden from the process.
    if [&paths.data, &paths.config, &paths.bin, &paths.install].iter().any(|path| below_home(path)) {
        text = text.replace("ProtectHome=yes\n", "# ProtectHome=: paths of this member are below a home folder.\n");
    }
    text
}

/// Folders below /var/log that `log-outputs` names: the unit could not write there, and nobody makes
/// them (systemd.exec(5), `LogsDirectory=`).
fn logs_directory(host: &Host) -> String {
    let outputs = host.settings.get("log-outputs").map(String::as_str).unwrap_or_default();
    let folder = |file: &'_ str| Some(file.strip_prefix("/var/log/")?.rsplit_once('/')?.0.to_owned());
    let mut folders: Vec<String> = outputs.split(',').filter_map(folder).collect();
    folders.dedup();
    if folders.is_empty() { String::new() } else { format!("LogsDirectory={}\n", folders.join(" ")) }
}

fn below_home(path: &str) -> bool {
    ["/home/", "/root/", "/run/user/"].iter().any(|home| path.starts_with(home))
}

#[cfg(test)]
mod tests;
