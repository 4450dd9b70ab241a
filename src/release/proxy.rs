//! Which proxy, if any, lies before a host: what the environment says, by the rules that curl and Go
//! programs share (<https://curl.se/docs/manpage.html#ENVIRONMENT>,
//! <https://pkg.go.dev/golang.org/x/net/http/httpproxy>).

use std::fmt;
use std::net::IpAddr;

use super::url;

/// Proxies by scheme, and the hosts that are reached without.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    bypass: Vec<Bypass>,
}

impl Proxies {
    /// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// The same, of any variables. Names in lower case come first; an empty value counts as none.
    #[must_use]
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let read = |names: &[&str]| {
            names.iter().find_map(|name| {
                lookup(&name.to_lowercase()).into_iter().chain(lookup(name)).find(|value| !value.trim().is_empty())
            })
        };
        let proxy = |names: &[&str]| {
            let value = read(names)?.trim().to_owned();
            Some(match url::scheme(&value) {
                Some(_) => value,
                None => format!("http://{value}"),
            })
        };
        Self {
            http: proxy(&["HTTP_PROXY", "ALL_PROXY"]),
            https: proxy(&["HTTPS_PROXY", "ALL_PROXY"]),
            bypass: read(&["NO_PROXY"]).unwrap_or_default().split([',', ' ']).filter_map(Bypass::parse).collect(),
        }
    }

    /// The proxy, as a URL, through which to reach a host.
    pub(super) fn before(&self, https: bool, host: &str, port: u16) -> Option<&str> {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        if self.bypass.iter().any(|bypass| bypass.covers(&host, port)) {
            return None;
        }
        if https { &self.https } else { &self.http }.as_deref()
    }
}

/// Without the passwords.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.as_deref().map(url::shown))
            .field("https", &self.https.as_deref().map(url::shown))
            .field("bypass", &self.bypass)
            .finish()
    }
}

/// A word of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bypass {
    /// `*`
    All,
    /// `10.0.0.0/8`
    Net { prefix: IpAddr, bits: u32 },
    /// `example.net`, with every host below it; perhaps on one port only.
    Host { name: String, port: Option<u16> },
}

impl Bypass {
    fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        if word == "*" {
            return Some(Self::All);
        }
        if let Some((prefix, bits)) = word.split_once('/') {
            let (prefix, bits) = (prefix.parse::<IpAddr>().ok()?, bits.parse().ok()?);
            return (bits <= width(prefix)).then_some(Self::Net { prefix, bits });
        }
        let (name, port) = match word.rsplit_once(':') {
            // More than one colon without brackets: an IPv6 address.
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port.parse().ok()?)),
            _ => (word.as_str(), None),
        };
        let name = name.strip_prefix('*').unwrap_or(name);
        let name = name.trim_start_matches('.').trim_matches(['[', ']']);
        (!name.is_empty()).then(|| Self::Host { name: name.to_owned(), port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Net { prefix, bits } => host.parse().is_ok_and(|address| in_net(address, *prefix, *bits)),
            Self::Host { name, port: only } => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && only.is_none_or(|only| only == port)
            }
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn in_net(address: IpAddr, prefix: IpAddr, bits: u32) -> bool {
    let (a, b) = match (address, prefix) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits())),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits()),
        _ => return false,
    };
    let rest = width(prefix).saturating_sub(bits);
    (a ^ b).checked_shr(rest).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(vars: &[(&str, &str)]) -> Proxies {
        Proxies::from_vars(|name| {
            let (_, value) = vars.iter().find(|(var, _)| *var == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        for (vars, http, https) in [
            (&[][..], None, None),
            (&[("HTTPS_PROXY", "http://s:1")], None, Some("http://s:1")),
            (&[("HTTP_PROXY", "p:3128")], Some("http://p:3128"), None),
            (&[("ALL_PROXY", "http://a")], Some("http://a"), Some("http://a")),
            (&[("all_proxy", "http://a"), ("https_proxy", "https://s")], Some("http://a"), Some("https://s")),
            (&[("http_proxy", "http://l"), ("HTTP_PROXY", "http://u")], Some("http://l"), None),
            (&[("http_proxy", ""), ("HTTP_PROXY", "http://u")], Some("http://u"), None),
            (&[("HTTPS_PROXY", " "), ("NO_PROXY", "")], None, None),
        ] {
            let proxies = proxies(vars);
            assert_eq!(proxies.before(false, "h", 80), http, "{vars:?}");
            assert_eq!(proxies.before(true, "h", 443), https, "{vars:?}");
        }
    }

    #[test]
    fn hosts_of_no_proxy_are_reached_without() {
        for (no_proxy, host, port, without) in [
            ("*", "any.example", 80, true),
            ("example.net", "example.net", 80, true),
            ("example.net", "mirror.EXAMPLE.net", 80, true),
            ("example.net", "notexample.net", 80, false),
            (".example.net", "a.example.net", 80, true),
            ("*.example.net", "a.b.example.net", 80, true),
            ("a, example.net ,b", "example.net", 80, true),
            ("example.net:8080", "example.net", 8080, true),
            ("example.net:8080", "example.net", 80, false),
            ("10.19.0.0/16", "10.19.200.1", 80, true),
            ("10.19.0.0/16", "10.20.0.1", 80, false),
            ("0.0.0.0/0", "10.20.0.1", 80, true),
            ("10.0.0.0/8", "ten.example", 80, false),
            ("10.0.0.0/33", "10.0.0.1", 80, false),
            ("127.0.0.1", "127.0.0.1", 80, true),
            ("fd00::/8", "[fd00::1]", 80, true),
            ("fd00::/8", "10.0.0.1", 80, false),
            ("::1", "[::1]", 80, true),
            ("[::1]:81", "[::1]", 81, true),
            ("[::1]:81", "[::1]", 80, false),
            ("", "localhost", 80, false),
        ] {
            let proxies = proxies(&[("HTTP_PROXY", "http://p"), ("NO_PROXY", no_proxy)]);
            assert_eq!(proxies.before(false, host, port).is_none(), without, "{no_proxy} {host}:{port}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let proxies = proxies(&[("ALL_PROXY", "http://user:s3cret@p:1")]);
        let shown = format!("{proxies:?}");
        assert!(!shown.contains("s3cret") && shown.contains("user@p:1"), "{shown}");
    }
}
