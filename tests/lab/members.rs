//! The truth about a cluster, from etcd's own tools, systemd and OpenSSL; nothing here goes through `etcd-ha`.

use crate::site::Site;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The members of a site's cluster: on which hosts they are, and where their files lie.
#[derive(Clone)]
pub struct Members<'a> {
    pub site: &'a Site,
    pub hosts: Vec<usize>,
    pub bin: &'static str,
    pub config: &'static str,
    /// The PKI folder, on the controller.
    pub pki: PathBuf,
}

impl<'a> Members<'a> {
    /// The members on the first hosts, with the usual paths.
    pub fn of(site: &'a Site, hosts: usize) -> Self {
        Self {
            site,
            hosts: (1..=hosts).collect(),
            bin: "/usr/local/bin",
            config: "/etc/etcd",
            pki: site.path("lab.pki"),
        }
    }

    pub fn endpoint(&self, host: usize) -> String {
        format!("https://{}:2379", self.site.lab.address(host))
    }

    fn endpoints(&self) -> String {
        self.hosts.iter().map(|&host| self.endpoint(host)).collect::<Vec<_>>().join(",")
    }

    /// `etcdctl` as a shell in a host calls it, with the host's own certificate.
    fn etcdctl_with(&self, endpoints: &str) -> String {
        let Self { bin, config, .. } = self;
        format!(
            "env ETCDCTL_API=3 {bin}/etcdctl --endpoints {endpoints} --cacert {config}/ssl/ca.pem \
             --cert {config}/ssl/server.pem --key {config}/ssl/server-key.pem"
        )
    }

    /// Runs `etcdctl` on a host that has to succeed, against that host's own member.
    #[track_caller]
    pub fn etcdctl(&self, host: usize, words: &str) -> String {
        let etcdctl = self.etcdctl_with(&self.endpoint(host));
        self.site.lab.read(&node(host), &format!("{etcdctl} {words}"))
    }

    /// The command line of [`Members::etcdctl`], for scripts that run it more often.
    pub fn etcdctl_line(&self, host: usize) -> String {
        self.etcdctl_with(&self.endpoint(host))
    }

    /// The same against all members.
    #[track_caller]
    fn etcdctl_all(&self, words: &str) -> String {
        let etcdctl = self.etcdctl_with(&self.endpoints());
        self.site.lab.read(&node(self.hosts[0]), &format!("{etcdctl} {words}"))
    }

    /// The host whose member leads.
    #[track_caller]
    pub fn leader(&self) -> usize {
        let status: Value = serde_json::from_str(&self.etcdctl_all("endpoint status -w json")).unwrap();
        let leading = |one: &&Value| one["Status"]["leader"] == one["Status"]["header"]["member_id"];
        let leaders: Vec<_> = status.as_array().unwrap().iter().filter(leading).collect();
        assert_eq!(leaders.len(), 1, "not one leader: {status}");
        let endpoint = leaders[0]["Endpoint"].as_str().unwrap();
        *self.hosts.iter().find(|&&host| self.endpoint(host) == endpoint).unwrap()
    }

    /// Checks that it is one cluster of exactly these members, all of them voters, with one leader and the same data
    /// everywhere, that takes writes through each and gives them back through each other, and that a reboot starts it.
    #[track_caller]
    pub fn assert_whole(&self) {
        let list = self.etcdctl_all("member list");
        let mut names = BTreeSet::new();
        for line in list.lines() {
            let fields: Vec<_> = line.split(", ").collect();
            assert!(fields[1] == "started" && fields[5] == "false", "not a started voter: {line}");
            assert!(fields[4].starts_with("https://") && !fields[4].contains("http://"), "{line}");
            names.insert(fields[2].to_owned());
        }
        assert_eq!(names, self.hosts.iter().map(|&host| node(host)).collect(), "the members are others");

        let status: Value = serde_json::from_str(&self.etcdctl_all("endpoint status -w json")).unwrap();
        let leaders: BTreeSet<_> =
            status.as_array().unwrap().iter().map(|one| one["Status"]["leader"].as_u64()).collect();
        assert!(leaders.len() == 1 && !leaders.contains(&None), "not one leader for all: {status}");
        self.leader();

        for &host in &self.hosts {
            self.etcdctl(host, &format!("put whole/{host} {}", node(host)));
        }
        for &host in &self.hosts {
            let got = self.etcdctl(host, "get whole/ --prefix --print-value-only");
            let mut got: Vec<_> = got.lines().collect();
            got.sort_unstable();
            assert_eq!(got, names.iter().map(String::as_str).collect::<Vec<_>>(), "through {}", node(host));
        }
        self.assert_same_data();
        for &host in &self.hosts {
            let state = self.site.lab.read(&node(host), "systemctl is-enabled etcd; systemctl is-active etcd");
            assert_eq!(state, "enabled\nactive", "{}", node(host));
        }
    }

    /// Checks that the hash over all keys and revisions is the same on every member.
    #[track_caller]
    pub fn assert_same_data(&self) {
        let hashes: Value = serde_json::from_str(&self.etcdctl_all("endpoint hashkv -w json")).unwrap();
        let hashes = hashes.as_array().unwrap();
        assert_eq!(hashes.len(), self.hosts.len());
        let kinds: BTreeSet<_> = hashes.iter().map(|one| one["HashKV"]["hash"].as_u64()).collect();
        assert!(kinds.len() == 1 && !kinds.contains(&None), "the members' data differ: {hashes:?}");
    }

    /// A variable of the running process's environment.
    #[track_caller]
    pub fn variable(&self, host: usize, name: &str) -> Option<String> {
        let environment = "tr '\\0' '\\n' </proc/$(systemctl show etcd -p MainPID --value)/environ";
        let environment = self.site.lab.read(&node(host), environment);
        environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }

    /// When the member was last ready until, and since when it is again; microseconds of the machine's own clock,
    /// which all hosts of a lab share.
    #[track_caller]
    pub fn last_pause(&self, host: usize) -> (u64, u64) {
        let show = "systemctl show etcd -p ActiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic";
        let show = self.site.lab.read(&node(host), show);
        let value = |name: &str| {
            let line = show.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap().parse().unwrap()
        };
        (value("ActiveExitTimestampMonotonic"), value("ActiveEnterTimestampMonotonic"))
    }

    /// Puts one key after the other through whichever member answers, until it is stopped.
    pub fn writer(&self, from: usize, prefix: &'static str) -> Writer<'_> {
        let etcdctl = self.etcdctl_with(&self.endpoints());
        // Ends by itself with the host, should the test not come to stop it.
        let script = format!(
            "i=0; while [ ! -e /run/{prefix}.stop ]; do i=$((i+1)); \
             if {etcdctl} --command-timeout=3s put {prefix}/$i $i >/dev/null 2>&1; then echo {prefix}/$i; fi; done"
        );
        let mut command = self.site.lab.command();
        command.args(["exec", &node(from), "sh", "-c", &script]).stdout(Stdio::piped()).stderr(Stdio::null());
        Writer { members: self, from, prefix, child: command.spawn().unwrap() }
    }

    /// What OpenSSL's client says of a port, and of what is sent through it. `certificate` names a leaf and its key.
    pub fn tls(&self, host: usize, port: u16, certificate: Option<(PathBuf, PathBuf)>, request: &str) -> String {
        self.tls_of(&[], host, port, certificate, request)
    }

    /// The same, of versions of TLS that these flags allow.
    pub fn tls_of(
        &self,
        flags: &[&str],
        host: usize,
        port: u16,
        certificate: Option<(PathBuf, PathBuf)>,
        request: &str,
    ) -> String {
        let mut command = Command::new("timeout");
        command.args(["10", "openssl", "s_client", "-quiet", "-verify_return_error", "-connect"]);
        command.arg(format!("{}:{port}", self.site.lab.address(host)));
        command
            .args(flags)
            .args(["-verify_ip", &self.site.lab.address(host)])
            .arg("-CAfile")
            .arg(self.pki.join("ca.pem"));
        if let Some((certificate, key)) = certificate {
            command.arg("-cert").arg(certificate).arg("-key").arg(key);
        }
        // What comes back is awaited; the server closes after its answer.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Refused before it was sent is refused, too.
        let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
        let output = child.wait_with_output().unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }

    /// The admin's certificate and key.
    pub fn admin(&self) -> Option<(PathBuf, PathBuf)> {
        Some((self.pki.join("admin.pem"), self.pki.join("admin-key.pem")))
    }
}

/// A request that an etcd answers with its health.
pub const HEALTH: &str = "GET /health HTTP/1.0\r\n\r\n";

/// What a port says to [`HEALTH`] without TLS; nothing if it does not even take the connection.
pub fn plaintext(address: &str, port: u16) -> String {
    let address = format!("{address}:{port}").parse().unwrap();
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(3)) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut said = Vec::new();
    let _ = stream.write_all(HEALTH.as_bytes()).and_then(|()| stream.read_to_end(&mut said));
    String::from_utf8_lossy(&said).into_owned()
}

/// A writer that goes on.
pub struct Writer<'a> {
    members: &'a Members<'a>,
    from: usize,
    prefix: &'static str,
    child: Child,
}

impl Writer<'_> {
    /// Stops it and checks that every write that was acknowledged is there, through every member; says how many.
    #[track_caller]
    pub fn stop(self) -> usize {
        let Self { members, from, prefix, child } = self;
        members.site.lab.read(&node(from), &format!("touch /run/{prefix}.stop"));
        let output = child.wait_with_output().unwrap();
        members.site.lab.read(&node(from), &format!("rm /run/{prefix}.stop"));
        let acknowledged: BTreeSet<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        assert!(!acknowledged.is_empty(), "not one write succeeded");
        for &host in &members.hosts {
            let there = members.etcdctl(host, &format!("get {prefix}/ --prefix --keys-only"));
            let there: BTreeSet<_> = there.lines().map(str::to_owned).collect();
            let lost: Vec<_> = acknowledged.difference(&there).collect();
            assert!(lost.is_empty(), "acknowledged, but not there through {}: {lost:?}", node(host));
        }
        acknowledged.len()
    }
}

/// The name of a host.
pub fn node(host: usize) -> String {
    format!("node{host:02}")
}
