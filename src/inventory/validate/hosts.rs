//! One host: the defaults, and what it says itself laid over them.

use super::{Defaults, HOUR, Validation};
use crate::inventory::lint::Finding;
use crate::inventory::problem::Problem;
use crate::inventory::tree::At;
use crate::inventory::values::{Port, Settings, show_duration};
use crate::inventory::{Host, Metrics, Paths, rules, schema};
use crate::ssh;
use semver::Version;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The port that etcd's own documentation takes for metrics.
const METRICS_PORT: u16 = 2381;

impl Validation<'_> {
    pub(super) fn host(
        &mut self,
        written: &At<schema::Host>,
        defaults: &Defaults,
        settings_by: Option<&Version>,
        many: bool,
    ) -> Host {
        let host = &written.value;
        let name = self.required(host.name.clone(), "name", &host.given, &written.span);
        self.check(&name, |text| rules::name("member", text));
        if name.value == "controller" {
            let finding = Finding::new("a member cannot be named `controller`");
            self.add_finding(
                finding.help("playbooks call the machine that `etcd-ha` runs on by that name"),
                name.span.clone(),
            );
        }
        let address = self.required(host.address.clone(), "address", &host.given, &written.span);
        self.check(&address, rules::address);
        if many && rules::is_loopback(&address.value) {
            let finding = Finding::new(format!("address `{}` means each host itself", address.value));
            self.add_finding(
                finding.help("the other members cannot reach it: give the host's address in their network"),
                address.span.clone(),
            );
        }
        let extra_names = host.extra_names.as_ref().map(|at| at.value.0.clone()).unwrap_or_default();
        for extra in &extra_names {
            self.check(extra, rules::address);
        }
        let own = host.etcd.as_ref().map(|at| &at.value);
        let client = own.and_then(|etcd| etcd.client_port.as_ref()).or(defaults.etcd.client_port.as_ref());
        let peer = own.and_then(|etcd| etcd.peer_port.as_ref()).or(defaults.etcd.peer_port.as_ref());
        let (client_port, peer_port) = ports(host, defaults);
        if client_port == peer_port
            && let Some(at) = peer.or(client)
        {
            let finding = Finding::new(format!("port {client_port} is both for clients and for peers"));
            self.add_finding(finding.help("`etcd.client_port` and `etcd.peer_port` differ on a host"), at.span.clone());
        }
        let local_plaintext =
            own.and_then(|etcd| etcd.local_plaintext.as_ref()).or(defaults.etcd.local_plaintext.as_ref());
        if let Some(at) = local_plaintext.filter(|at| at.value)
            && rules::address(&address.value).is_ok()
            && address.value.parse::<std::net::IpAddr>().is_err()
        {
            let finding = Finding::new(format!(
                "`local_plaintext` needs an IP address, and host `{}` has a DNS name",
                name.value
            ));
            self.add_finding(
                finding.help(
                    "a member that is known by a DNS name listens on all addresses, so 127.0.0.1 is taken: \
                     give it an IP address, and the name as one of its `extra_names`",
                ),
                at.span.clone(),
            );
        }
        let metrics = self.metrics(defaults, own, (client_port, peer_port));
        Host {
            client_port,
            peer_port,
            metrics,
            extra_names: extra_names.into_iter().map(|at| at.value).collect(),
            local_plaintext: local_plaintext.is_some_and(|at| at.value),
            settings: self.settings(
                defaults.etcd.settings.as_ref(),
                own.and_then(|etcd| etcd.settings.as_ref()),
                settings_by,
            ),
            ssh: self.ssh(host.ssh.as_ref().map(|at| &at.value), &defaults.ssh, &name.value, &address.value),
            r#become: host
                .ssh
                .as_ref()
                .and_then(|at| at.value.r#become.as_ref())
                .or(defaults.ssh.r#become.as_ref())
                .map(|at| at.value.0),
            paths: self.paths(host.paths.as_ref().map(|at| &at.value), &defaults.paths),
            name: name.value,
            address: address.value,
        }
    }

    /// The port for metrics, which is no other port's and not set a second time as an option.
    fn metrics(
        &mut self,
        defaults: &Defaults,
        own: Option<&schema::HostEtcd>,
        (client, peer): (u16, u16),
    ) -> Option<Metrics> {
        let at = defaults.etcd.metrics.as_ref()?;
        let port = at.value.port.as_ref().map_or(METRICS_PORT, |port| port.value.0);
        let metrics = Metrics { port, tls: at.value.scheme.as_ref().is_none_or(|scheme| scheme.value.0) };
        let place = at.value.port.as_ref().map_or(&at.span, |port| &port.span);
        for (other, whose) in [(client, "clients"), (peer, "peers")] {
            if other == port {
                let finding = Finding::new(format!("port {port} is both for metrics and for {whose}"));
                self.add_finding(finding.help("`etcd.metrics.port` has to be a port of its own"), place.clone());
            }
        }
        let settings = [defaults.etcd.settings.as_ref(), own.and_then(|etcd| etcd.settings.as_ref())];
        let written = settings.into_iter().flatten().flat_map(|settings| &settings.value.0);
        for (name, _) in written.filter(|(name, _)| name.value == "listen-metrics-urls") {
            let problem =
                Problem::new("`listen-metrics-urls` and `etcd.metrics` say the same thing", name.span.clone());
            self.add(problem.label("here").and(at.span.clone(), "and here").help("leave one of them out"));
        }
        if !metrics.tls {
            self.warnings.push(format!(
                "anybody who reaches port {port} of a host can read its member's metrics, which hold no keys and no values"
            ));
        }
        Some(metrics)
    }

    /// One member's options: the defaults, and its own laid over them.
    fn settings(
        &mut self,
        defaults: Option<&At<Settings>>,
        own: Option<&At<Settings>>,
        version: Option<&Version>,
    ) -> BTreeMap<String, String> {
        let Some(version) = version else {
            return BTreeMap::new();
        };
        let mut merged: BTreeMap<&str, (&At<String>, &At<String>)> = BTreeMap::new();
        for (name, value) in [defaults, own].into_iter().flatten().flat_map(|settings| &settings.value.0) {
            merged.insert(&name.value, (name, value));
        }
        let texts = merged.iter().map(|(name, (_, value))| ((*name).to_owned(), value.value.clone())).collect();
        let settled = self.lint.settle(version, &texts);
        let none = settled.refused.is_empty();
        for (option, finding) in settled.refused {
            let Some((name, value)) = merged.get(option.as_str()) else { continue };
            let span = name.span.start..value.span.end.max(name.span.end);
            self.add_finding(finding, span);
        }
        for contradiction in settled.contradictions {
            let mut spans =
                contradiction.options.iter().filter_map(|option| Some(&merged.get(option.as_str())?.1.span));
            let Some(first) = spans.next() else { continue };
            let mut problem = Problem::new(contradiction.finding.message, first.clone()).label("here");
            for other in spans {
                problem = problem.and(other.clone(), "and here");
            }
            self.add(match contradiction.finding.help {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
        if none {
            self.warnings.extend(settled.advice);
        }
        settled.settings
    }

    fn ssh(&mut self, own: Option<&schema::Ssh>, defaults: &schema::Ssh, name: &str, address: &str) -> ssh::Target {
        let none = schema::Ssh::default();
        let own = own.unwrap_or(&none);
        let user = own.user.as_ref().or(defaults.user.as_ref());
        if let Some(user) = user {
            self.check(user, rules::user);
        }
        if let Some(address) = &own.address {
            self.check(address, rules::address);
        }
        let connect_timeout = own.connect_timeout.as_ref().or(defaults.connect_timeout.as_ref());
        let keepalive = own.keepalive.as_ref().or(defaults.keepalive.as_ref());
        for (key, at) in [("connect_timeout", connect_timeout), ("keepalive", keepalive)] {
            if let Some(at) = at
                && !(Duration::from_secs(1)..=HOUR).contains(&at.value.0)
            {
                let finding = Finding::new(format!("`ssh.{key}` of {} is out of bounds", show_duration(at.value.0)));
                self.add_finding(finding.help("from 1s to 1h"), at.span.clone());
            }
        }
        let jump = own.jump.as_ref().or(defaults.jump.as_ref()).map(|at| at.value.clone());
        let host_key = own.host_key.as_ref().map(|at| at.value.0.as_slice()).unwrap_or_default();
        for pin in host_key {
            self.check(pin, rules::fingerprint);
        }
        ssh::Target {
            name: name.to_owned(),
            address: address.to_owned(),
            ssh_address: own.address.as_ref().map(|at| at.value.clone()),
            port: own.port.as_ref().or(defaults.port.as_ref()).map(|at| at.value.0),
            user: user.map(|at| at.value.clone()),
            identity: self.local_paths(own.identity.as_ref().or(defaults.identity.as_ref())),
            known_hosts: self.local_paths(own.known_hosts.as_ref().or(defaults.known_hosts.as_ref())),
            host_key: host_key.iter().map(|at| at.value.clone()).collect(),
            host_key_checking: own
                .host_key_checking
                .as_ref()
                .or(defaults.host_key_checking.as_ref())
                .map(|at| at.value.0),
            jump: jump.map(|jump| jump.0),
            config: match own.config.as_ref().or(defaults.config.as_ref()) {
                None => ssh::ConfigFile::Usual,
                Some(at) if at.value == "none" => ssh::ConfigFile::None,
                Some(at) => ssh::ConfigFile::File(self.local_path(at)),
            },
            connect_timeout: connect_timeout.map(|at| at.value.0),
            keepalive: keepalive.map(|at| at.value.0),
        }
    }

    fn paths(&mut self, own: Option<&schema::Paths>, defaults: &schema::Paths) -> Paths {
        let none = schema::Paths::default();
        let own = own.unwrap_or(&none);
        let written: HashMap<&str, &At<String>> = [
            ("install", own.install.as_ref().or(defaults.install.as_ref())),
            ("config", own.config.as_ref().or(defaults.config.as_ref())),
            ("data", own.data.as_ref().or(defaults.data.as_ref())),
            ("bin", own.bin.as_ref().or(defaults.bin.as_ref())),
        ]
        .into_iter()
        .filter_map(|(key, at)| Some((key, at?)))
        .collect();
        let path = |key, default: &str| written.get(key).map_or_else(|| default.to_owned(), |at| at.value.clone());
        let paths = Paths {
            install: path("install", "/opt/etcd"),
            config: path("config", "/etc/etcd"),
            data: path("data", "/var/lib/etcd"),
            bin: path("bin", "/usr/local/bin"),
        };
        let mut sound = true;
        for at in written.values() {
            sound &= rules::remote_path(&at.value).is_ok();
            self.check(at, rules::remote_path);
        }
        if sound {
            for (key, other, finding) in rules::places(&paths.install, &paths.config, &paths.data, &paths.bin) {
                // The default of the one key may collide with what is written for the other.
                let at = written.get(key).or_else(|| written.get(other?));
                if let Some(at) = at {
                    self.add_finding(finding, at.span.clone());
                }
            }
        }
        paths
    }
}

/// Client and peer port of a host.
pub(super) fn ports(host: &schema::Host, defaults: &Defaults) -> (u16, u16) {
    let own = host.etcd.as_ref().map(|at| &at.value);
    let port = |own: Option<&At<Port>>, default: Option<&At<Port>>, otherwise| {
        own.or(default).map_or(otherwise, |at| at.value.0)
    };
    (
        port(own.and_then(|etcd| etcd.client_port.as_ref()), defaults.etcd.client_port.as_ref(), 2379),
        port(own.and_then(|etcd| etcd.peer_port.as_ref()), defaults.etcd.peer_port.as_ref(), 2380),
    )
}
