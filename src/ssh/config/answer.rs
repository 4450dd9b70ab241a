//! What ssh_config says of one host, by keyword.

use std::collections::BTreeMap;

/// The keywords that are looked at here, in lower case, as `ssh -G` prints them.
pub(in crate::ssh) const HONOURED: [&str; 28] = [
    "certificatefile",
    "ciphers",
    "connecttimeout",
    "globalknownhostsfile",
    "hashknownhosts",
    "hostkeyalgorithms",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "kbdinteractiveauthentication",
    "kexalgorithms",
    "macs",
    "numberofpasswordprompts",
    "passwordauthentication",
    "port",
    "preferredauthentications",
    "proxycommand",
    "proxyjump",
    "proxyusefdpass",
    "pubkeyauthentication",
    "revokedhostkeys",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];

/// Keywords and their values, in the order in which they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ssh) struct Answer(BTreeMap<String, Vec<String>>);

impl Answer {
    /// Reads what `ssh -G` prints: a keyword and its value a line.
    pub(super) fn parse(text: &str) -> Self {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            let Some((keyword, value)) = line.split_once(' ') else { continue };
            if HONOURED.contains(&keyword) {
                values.entry(keyword.to_owned()).or_default().push(value.trim().to_owned());
            }
        }
        Self(values)
    }

    pub(super) fn set(&mut self, keyword: &str, values: Vec<String>) {
        self.0.insert(keyword.to_owned(), values);
    }

    /// What differs from the answer where there is no ssh_config at all. `host` is the name that both were
    /// asked for, which is its own HostName if nothing else is said.
    pub(super) fn beyond(self, defaults: &Self, host: &str) -> Self {
        let own = |keyword: &str, values: &Vec<String>| match keyword {
            "hostname" => values.iter().all(|value| value != host),
            keyword => defaults.0.get(keyword) != Some(values),
        };
        Self(self.0.into_iter().filter(|(keyword, values)| own(keyword, values)).collect())
    }

    /// The same but for one keyword.
    pub(super) fn without(mut self, keyword: &str) -> Self {
        self.0.remove(keyword);
        self
    }

    /// Every value of a keyword that can be given several times.
    pub(in crate::ssh) fn all(&self, keyword: &str) -> Option<&[String]> {
        self.0.get(keyword).map(Vec::as_slice)
    }

    /// The value of a keyword.
    pub(in crate::ssh) fn one(&self, keyword: &str) -> Option<&str> {
        self.0.get(keyword)?.first().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn only_what_a_file_says_is_left() {
        let defaults = Answer::parse("user me\nhostname other\nport 22\nidentityfile ~/.ssh/id_rsa\nidentityfile b\n");
        let text = "host node01\nuser ops\nhostname node01\nport 22\nidentityfile /x y\nidentityfile b\ntunnel false\n\
                    proxyjump a,b\n";
        let said = Answer::parse(text).beyond(&defaults, "node01");
        assert_eq!(said.one("user"), Some("ops"));
        assert_eq!(said.all("identityfile").unwrap(), ["/x y", "b"]);
        assert_eq!(said.one("proxyjump"), Some("a,b"));
        for keyword in ["hostname", "port", "host", "tunnel"] {
            assert_eq!(said.one(keyword), None, "{keyword}");
        }
        assert_eq!(Answer::parse(text).beyond(&defaults, "alias").one("hostname"), Some("node01"));
    }
}
