//! How etcdctl is told of a cluster: by variables, except for what its own arguments say.

use std::collections::BTreeSet;

/// The flags of every command of etcdctl that take a value, which may be a word of its own.
const VALUED: &[&str] = &[
    "cacert",
    "cert",
    "command-timeout",
    "dial-timeout",
    "discovery-srv",
    "discovery-srv-name",
    "endpoints",
    "keepalive-time",
    "keepalive-timeout",
    "key",
    "password",
    "user",
    "write-out",
];

/// The short ones of them.
const VALUED_SHORT: &[&str] = &["-d", "-w"];

/// Where etcdctl finds what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The client URLs of all members.
    pub endpoints: Vec<String>,
    /// The one of the member on the host where it runs.
    pub own: String,
    /// The path of the CA's certificate.
    pub ca: String,
    /// The path of the client's certificate.
    pub certificate: String,
    /// The path of its key.
    pub key: String,
}

/// The variables that etcdctl is given beside `arguments`, name and value each.
///
/// It ends where a variable and a flag say the same ("conflicting environment variable is shadowed by corresponding
/// command-line flag", `pkg/flags` in 3.4 and 3.5), so a flag takes its variable away. Certificate and key are a pair.
#[must_use]
pub fn variables(arguments: &[String], setup: &Setup) -> Vec<(&'static str, String)> {
    let read = read(arguments);
    let says = |flag: &str| read.flags.contains(flag);
    // What 3.4 would be without it speaks an older language.
    let mut variables = vec![("ETCDCTL_API", "3".to_owned())];
    if !says("endpoints") {
        // It takes a snapshot of one member and refuses several endpoints.
        let endpoints =
            if read.words.starts_with(&["snapshot", "save"]) { setup.own.clone() } else { setup.endpoints.join(",") };
        variables.push(("ETCDCTL_ENDPOINTS", endpoints));
    }
    if !says("cacert") {
        variables.push(("ETCDCTL_CACERT", setup.ca.clone()));
    }
    if !says("cert") && !says("key") {
        variables.push(("ETCDCTL_CERT", setup.certificate.clone()));
        variables.push(("ETCDCTL_KEY", setup.key.clone()));
    }
    variables
}

/// The device that `arguments` would have replaced: etcdctl writes a snapshot beside the path that it is given, and
/// renames that, so that root's `snapshot save /dev/stdout` leaves a host without its `/dev/stdout`.
#[must_use]
pub fn device_lost(arguments: &[String]) -> Option<&str> {
    match read(arguments).words[..] {
        ["snapshot", "save", path, ..] if path.starts_with("/dev/") || path.starts_with("/proc/") => Some(path),
        _ => None,
    }
}

/// What is of interest in etcdctl's arguments.
struct Read<'a> {
    /// The long flags, without their values.
    flags: BTreeSet<&'a str>,
    /// The first words that are neither flags nor values: command, subcommand, and what that is for.
    words: Vec<&'a str>,
}

fn read(arguments: &[String]) -> Read<'_> {
    let mut read = Read { flags: BTreeSet::new(), words: Vec::new() };
    let mut only_words = false;
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        if only_words || !argument.starts_with('-') {
            if read.words.len() < 3 {
                read.words.push(argument);
            }
        } else if argument == "--" {
            only_words = true;
        } else if let Some(flag) = argument.strip_prefix("--") {
            let name = flag.split('=').next().unwrap_or_default();
            read.flags.insert(name);
            if !flag.contains('=') && VALUED.contains(&name) {
                arguments.next();
            }
        } else if VALUED_SHORT.contains(&argument) {
            arguments.next();
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> String {
        let setup = Setup {
            endpoints: vec!["https://a:1".to_owned(), "https://b:1".to_owned()],
            own: "https://b:1".to_owned(),
            ca: "/ca".to_owned(),
            certificate: "/cert".to_owned(),
            key: "/key".to_owned(),
        };
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let variables = variables(&arguments, &setup);
        variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_left_to_variables() {
        const API: &str = "ETCDCTL_API=3";
        const ALL: &str = "ETCDCTL_ENDPOINTS=https://a:1,https://b:1";
        const OWN: &str = "ETCDCTL_ENDPOINTS=https://b:1";
        const CA: &str = "ETCDCTL_CACERT=/ca";
        const PAIR: &str = "ETCDCTL_CERT=/cert ETCDCTL_KEY=/key";
        for (line, want) in [
            ("", &[API, ALL, CA, PAIR][..]),
            ("get foo --prefix", &[API, ALL, CA, PAIR]),
            ("endpoint health --endpoints https://c:1", &[API, CA, PAIR]),
            ("--endpoints=https://c:1 endpoint health", &[API, CA, PAIR]),
            ("get foo --cacert /x", &[API, ALL, PAIR]),
            ("get foo --cert /x --key /y", &[API, ALL, CA]),
            ("get foo --cert=/x", &[API, ALL, CA]),
            ("get foo --key=/x", &[API, ALL, CA]),
            // Words behind `--` are keys and values, and so is what a flag takes.
            ("put -- --endpoints --cert", &[API, ALL, CA, PAIR]),
            ("--user --endpoints get foo", &[API, ALL, CA, PAIR]),
            ("snapshot save /tmp/x.db", &[API, OWN, CA, PAIR]),
            ("--command-timeout 60s -w json snapshot --debug save /tmp/x.db", &[API, OWN, CA, PAIR]),
            ("--command-timeout=60s snapshot save /tmp/x.db", &[API, OWN, CA, PAIR]),
            ("snapshot save --endpoints https://c:1 /tmp/x.db", &[API, CA, PAIR]),
            ("snapshot status /tmp/x.db", &[API, ALL, CA, PAIR]),
            ("put snapshot save", &[API, ALL, CA, PAIR]),
        ] {
            assert_eq!(given(line), want.join(" "), "{line}");
        }
    }

    #[test]
    fn devices_are_not_replaced() {
        for (line, want) in [
            ("snapshot save /dev/stdout", Some("/dev/stdout")),
            ("--command-timeout 60s snapshot save -- /proc/self/fd/1", Some("/proc/self/fd/1")),
            ("snapshot save /root/x.db", None),
            ("snapshot save", None),
            ("put snapshot save /dev/stdout", None),
            ("get /dev/stdout", None),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(device_lost(&arguments), want, "{line}");
        }
    }
}
