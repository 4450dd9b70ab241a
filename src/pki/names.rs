//! The names and addresses in a certificate.

use super::{Member, PkiError};
use std::fmt;
use std::net::IpAddr;

/// What every member answers to on its own host.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The longest common name (RFC 5280, ub-common-name).
pub(super) const LONGEST_COMMON_NAME: usize = 64;

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name, in lower case.
    Dns(String),
    /// Anything else, as it is found in files that others made.
    Other(String),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Dns(name) | Self::Other(name) => name.fmt(f),
        }
    }
}

impl Name {
    /// An address or a DNS name; `None` for what is neither.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse() {
            return Some(Self::Ip(ip));
        }
        // Go's verifier takes no trailing dot in a certificate.
        let name = text.strip_suffix('.').unwrap_or(text);
        let labels = name.strip_prefix("*.").unwrap_or(name);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        (name.len() <= 253 && labels.split('.').all(is_label)).then(|| Self::Dns(name.to_ascii_lowercase()))
    }
}

/// Everything that goes into the certificates of `member`: what the caller says, in its order,
/// then the loopback names, each once.
pub(super) fn of_member(member: &Member) -> Result<Vec<Name>, PkiError> {
    let refuse = |problem: String| PkiError::Member { member: member.name.clone(), problem };
    // The name becomes part of a file's name.
    if member.name.is_empty() || member.name.starts_with('.') || member.name.contains(['/', '\0']) {
        return Err(refuse("the name cannot be part of a file name".to_owned()));
    }
    if member.name.chars().count() > LONGEST_COMMON_NAME {
        return Err(refuse(format!(
            "the name is longer than the {LONGEST_COMMON_NAME} characters that a certificate takes"
        )));
    }
    let mut names = Vec::new();
    for text in member.names.iter().map(String::as_str).chain(LOOPBACK) {
        let name =
            Name::parse(text).ok_or_else(|| refuse(format!("`{text}` is neither an IP address nor a DNS name")))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Result<Vec<String>, String> {
        let member = Member { name: "node01".to_owned(), names: names.iter().map(ToString::to_string).collect() };
        of_member(&member).map(|names| names.iter().map(ToString::to_string).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn adds_loopback_and_drops_repetitions() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[], &["localhost", "127.0.0.1", "::1"]),
            (&["10.0.0.1"], &["10.0.0.1", "localhost", "127.0.0.1", "::1"]),
            (
                &["Node01.Example.", "10.0.0.1", "node01.example", "10.0.0.1"],
                &["node01.example", "10.0.0.1", "localhost", "127.0.0.1", "::1"],
            ),
            (&["2001:DB8:0::1", "2001:db8::1", "::1"], &["2001:db8::1", "::1", "localhost", "127.0.0.1"]),
            (&["*.etcd.svc", "a_b"], &["*.etcd.svc", "a_b", "localhost", "127.0.0.1", "::1"]),
        ];
        for (given, wanted) in cases {
            assert_eq!(of(given).unwrap(), *wanted, "{given:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        for bad in ["", "a b", "[::1]", "fe80::1%eth0", "a..b", "-a", "naïve", "x\n", "a*.b", ".", "https://x"] {
            let error = of(&[bad]).unwrap_err();
            assert!(error.contains("neither an IP address nor a DNS name"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn refuses_names_of_members_that_cannot_be_file_names() {
        for bad in ["", "../x", "a/b", ".hidden"] {
            let member = Member { name: bad.to_owned(), names: vec![] };
            assert!(of_member(&member).is_err(), "{bad:?}");
        }
        let long = Member { name: "x".repeat(65), names: vec![] };
        assert!(of_member(&long).unwrap_err().to_string().contains("64 characters"));
    }
}
