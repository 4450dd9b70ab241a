//! One machine as the inventory says how SSH reaches it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One machine as the inventory says how SSH reaches it. What is left out here is asked of ssh_config, and
/// what that leaves out has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The machine's name in the inventory. If ssh_config knows it, what it says holds.
    pub name: String,
    /// The machine's address for everybody; connected to unless something else is said.
    pub address: String,
    /// Where SSH connects if not to `address`: a name, an address, or an alias of ssh_config.
    pub ssh_address: Option<String>,
    /// Port of sshd.
    pub port: Option<u16>,
    /// The user to log in as.
    pub user: Option<String>,
    /// Private key files, each asked of the agent first; the agent's other keys come last.
    pub identity: Vec<PathBuf>,
    /// Files with host keys. New keys (`accept-new`) are written to the first.
    pub known_hosts: Vec<PathBuf>,
    /// Fingerprints (`SHA256:…`), one of which the host's key must have; known_hosts files do not count then.
    pub host_key: Vec<String>,
    /// What to do about a host key that no file has.
    pub host_key_checking: Option<HostKeyChecking>,
    /// The jump hosts to go through, the first being the nearest; `Some` of none: straight, whatever
    /// ssh_config says.
    pub jump: Option<Vec<JumpHost>>,
    /// Where ssh_config is read.
    pub config: ConfigFile,
    /// How long TCP connect, key exchange and log-in may take, each.
    pub connect_timeout: Option<Duration>,
    /// How often a silent connection is probed; after three unanswered probes it is given up.
    pub keepalive: Option<Duration>,
}

impl Target {
    /// A machine of which no more is known than its name and address.
    #[must_use]
    pub fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            ssh_address: None,
            port: None,
            user: None,
            identity: Vec::new(),
            known_hosts: Vec::new(),
            host_key: Vec::new(),
            host_key_checking: None,
            jump: None,
            config: ConfigFile::default(),
            connect_timeout: None,
            keepalive: None,
        }
    }
}

/// Which ssh_config holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum ConfigFile {
    /// The user's and the system's, as for `ssh`.
    #[default]
    Usual,
    /// This one alone, as for `ssh -F`.
    File(PathBuf),
    /// None.
    None,
}

/// What to do about a host key that no known_hosts file has. A key that differs from a known one,
/// or that one of the files revokes, is refused whatever is chosen, but for `Off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HostKeyChecking {
    /// Refuse it.
    #[default]
    Strict,
    /// Take it and write it down.
    AcceptNew,
    /// Check nothing, but for what RevokedHostKeys in ssh_config and fingerprints in the inventory say.
    Off,
}

impl fmt::Display for HostKeyChecking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::AcceptNew => "accept-new",
            Self::Off => "off",
        })
    }
}

/// A host on the way: `[user@]host[:port]` (ssh_config(5), ProxyJump).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpHost {
    /// The user to log in as there.
    pub user: Option<String>,
    /// A name, an address, or an alias of ssh_config.
    pub host: String,
    /// Port of sshd there.
    pub port: Option<u16>,
}

impl JumpHost {
    /// Reads `host`, `user@host:port`, `[2001:db8::1]:22` or `ssh://user@host:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("ssh://").map_or(text, |rest| rest.trim_end_matches('/'));
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => match place.split_once(':') {
                // More than one colon: an IPv6 address without a port.
                Some((_, rest)) if rest.contains(':') => (place, None),
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
            None => None,
        };
        let odd = |text: &str| text.is_empty() || text.starts_with('-') || text.contains(char::is_whitespace);
        if odd(host) || user.is_some_and(odd) {
            return None;
        }
        Some(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }

    /// Reads a list of them, separated by commas; `none` is an empty one.
    #[must_use]
    pub fn parse_list(text: &str) -> Option<Vec<Self>> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Some(Vec::new());
        }
        text.split(',').map(Self::parse).collect()
    }
}

impl fmt::Display for JumpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (_, None) => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::JumpHost;

    #[test]
    fn jump_hosts_as_openssh_writes_them() {
        for (text, expected) in [
            ("bastion", Some((None, "bastion", None))),
            ("ops@bastion:2222", Some((Some("ops"), "bastion", Some(2222)))),
            (" ssh://ops@bastion:22/ ", Some((Some("ops"), "bastion", Some(22)))),
            ("[2001:db8::1]:22", Some((None, "2001:db8::1", Some(22)))),
            ("a@b@[::1]", Some((Some("a@b"), "::1", None))),
            ("2001:db8::1", Some((None, "2001:db8::1", None))),
            ("", None),
            ("ops@", None),
            ("@b", None),
            ("-oProxyCommand=x", None),
            ("a b", None),
            ("a:0", None),
            ("a:x", None),
            ("[::1", None),
            ("[::1]22", None),
        ] {
            let read = JumpHost::parse(text);
            let read = read.as_ref().map(|jump| (jump.user.as_deref(), jump.host.as_str(), jump.port));
            assert_eq!(read, expected, "{text:?}");
        }
        assert_eq!(JumpHost::parse_list("none"), Some(Vec::new()));
        let list = JumpHost::parse_list("a@b:33,[::1]:2,c").unwrap();
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a@b:33", "[::1]:2", "c"]);
        assert_eq!(JumpHost::parse_list("a,,b"), None);
    }
}
