//! What names, addresses and paths may look like: pure rules, each of which says why it refuses.
//!
//! They are narrow on purpose. Names and paths end up in file names, URLs, unit files and remote
//! scripts; all of those quote what they are given, and these rules see to it that there is nothing
//! to quote.

use super::lint::Finding;
use super::problem::quoted;
use std::net::IpAddr;

type Verdict = Result<(), Finding>;

fn refuse(message: String, help: &str) -> Verdict {
    Err(Finding::new(message).help(help))
}

/// A cluster's or member's name. etcd itself takes nearly anything, but `=` and `,` break
/// `--initial-cluster`, and a slash or a space breaks a path.
pub(super) fn name(what: &str, name: &str) -> Verdict {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if first && rest && name.len() <= 63 {
        return Ok(());
    }
    refuse(
        format!("{} is not a {what} name", quoted(name)),
        "letters, digits, `.`, `_` and `-`, beginning with a letter or digit, 63 characters at most",
    )
}

/// The fingerprint of a host key, as `ssh-keygen -l` prints it.
pub(super) fn fingerprint(text: &str) -> Verdict {
    let digest = text.strip_prefix("SHA256:").map(|digest| digest.trim_end_matches('='));
    let base64 = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    match digest {
        Some(digest) if digest.len() == 43 && digest.bytes().all(base64) => Ok(()),
        _ => refuse(
            format!("{} is not the fingerprint of a host key", quoted(text)),
            "as `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it on the host: `SHA256:` and 43 characters",
        ),
    }
}

/// An address that peers and clients connect to.
pub(super) fn address(address: &str) -> Verdict {
    let shown = quoted(address);
    if address.contains("://") {
        return refuse(format!("address {shown} is a URL"), "give the host alone: an IP address or a DNS name");
    }
    if address.starts_with('[') {
        return refuse(format!("address {shown} has brackets"), "write IPv6 addresses without brackets: `fd00::1`");
    }
    if address.contains('%') {
        return refuse(
            format!("address {shown} has a zone"),
            "an address with a zone means something on one machine only",
        );
    }
    if let Ok(ip) = address.parse::<IpAddr>() {
        return ip_address(ip, &shown);
    }
    if let Some((host, port)) = address.rsplit_once(':')
        && !host.contains(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return refuse(
            format!("address {shown} has a port"),
            "the address stands alone; ports are `etcd.client_port`, `etcd.peer_port` and `ssh.port`",
        );
    }
    if !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return refuse(format!("{shown} is not an IPv4 address"), "four numbers from 0 to 255: `10.19.0.55`");
    }
    if address.contains(':') {
        return refuse(format!("{shown} is not an IPv6 address"), "for example `fd00::1`");
    }
    dns_name(address, &shown)
}

fn ip_address(ip: IpAddr, shown: &str) -> Verdict {
    // An IPv4 address in IPv6 clothes is judged as what it is.
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(v4) if v4.is_broadcast() => {
            return refuse(format!("address {shown} is the broadcast address"), "give the host's own address");
        }
        IpAddr::V4(v4) => v4.octets()[0] == 0 && !v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if ip.is_unspecified() {
        return refuse(
            format!("address {shown} means every address, not one"),
            "give the address that the other members connect to",
        );
    }
    if ip.is_multicast() {
        return refuse(format!("address {shown} is a multicast address"), "give the host's own address");
    }
    if link_local {
        return refuse(
            format!("address {shown} is not reachable from other machines"),
            "give a routable address of the host",
        );
    }
    Ok(())
}

/// RFC 1123, section 2.1: labels of letters, digits and hyphens, the last one not a number.
fn dns_name(name: &str, shown: &str) -> Verdict {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(number) {
        return Ok(());
    }
    refuse(
        format!("{shown} is neither an IP address nor a DNS name"),
        "DNS names are labels of letters, digits and `-`, separated by dots (RFC 1123)",
    )
}

/// Whether an address means the machine that one is on.
pub(super) fn is_loopback(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => address.eq_ignore_ascii_case("localhost") || address.to_ascii_lowercase().ends_with(".localhost"),
    }
}

/// The one spelling of an address, to compare it with others.
pub(super) fn canonical_address(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().to_string(),
        Err(_) => address.to_ascii_lowercase(),
    }
}

/// A login name. Wider than useradd's own rule, since names from directories carry dots, capitals and `@`.
pub(super) fn user(user: &str) -> Verdict {
    let mut bytes = user.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte)) && user.len() <= 64 {
        return Ok(());
    }
    refuse(
        format!("{} is not a user name", quoted(user)),
        "letters, digits, `.`, `_`, `@` and `-`, 64 characters at most",
    )
}

/// Directories that belong to the system: taking one over would change its owner and mode.
const SYSTEM: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
    "/etc/systemd",
    "/etc/systemd/system",
];

/// Where nothing outlives a reboot, or a cleaner.
const PASSING: &[&str] = &["/dev", "/proc", "/run", "/sys", "/tmp", "/var/run", "/var/tmp"];

/// A path on a host.
pub(super) fn remote_path(path: &str) -> Verdict {
    let shown = quoted(path);
    if !path.starts_with('/') {
        return refuse(format!("path {shown} is not absolute"), "paths on the hosts begin with `/`");
    }
    if let Some(odd) = path.chars().find(|c| !c.is_ascii_alphanumeric() && !"._/@+-".contains(*c)) {
        return refuse(
            format!("path {shown} contains {}", quoted(&odd.to_string())),
            "letters, digits and `.`, `_`, `/`, `@`, `+`, `-` are what paths on the hosts are made of",
        );
    }
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return refuse(
            format!("path {shown} is not in its shortest form"),
            "no `..`, no `.`, no `//`, no `/` at the end",
        );
    }
    if path.len() > 200 {
        return refuse(format!("path {shown} is too long"), "200 characters at most");
    }
    Ok(())
}

/// The four places on a host, by key, and how they may lie to each other.
///
/// Kept apart: etcd's data belongs to etcd alone (0700, moved aside as a whole when a member starts
/// anew), so nothing else lies in it; old folders in `<install>/releases` are removed; `<config>/ssl`,
/// `.next` and `.previous` are swapped as a whole. Two keys never mean one folder. Nested in any other way is fine.
/// Gives the keys that the finding is about.
pub(super) fn places(
    install: &str,
    config: &str,
    data: &str,
    bin: &str,
) -> Vec<(&'static str, Option<&'static str>, Finding)> {
    let all = [("install", install), ("config", config), ("data", data), ("bin", bin)];
    let mut findings = Vec::new();
    for (key, path) in all {
        if key != "bin" && SYSTEM.contains(&path) {
            let help = format!("a folder of etcd's own, for example `{}/etcd`", path.trim_end_matches('/'));
            findings.push((
                key,
                None,
                Finding::new(format!("`paths.{key}` is the system's folder `{path}`")).help(help),
            ));
        } else if PASSING.iter().any(|passing| is_within(path, passing)) {
            let finding =
                Finding::new(format!("`paths.{key}` is `{path}`, which does not outlast a reboot or a clean-up"));
            findings.push((key, None, finding.help("a folder that stays, for example under `/var/lib` or `/opt`")));
        }
    }
    for (index, (key, path)) in all.iter().enumerate() {
        for (other, at) in all.iter().skip(index + 1) {
            if path == at {
                let finding = Finding::new(format!("`paths.{key}` and `paths.{other}` are one folder, `{path}`"));
                findings.push((other, Some(*key), finding.help("give each its own folder")));
            }
        }
    }
    let releases = format!("{install}/releases");
    let swapped = ["ssl", ".next", ".previous"].map(|folder| format!("{config}/{folder}"));
    for (key, path) in all {
        if path != data && is_within(path, data) {
            let finding = Finding::new(format!("`paths.{key}` (`{path}`) lies in etcd's data folder `{data}`"));
            findings.push((
                key,
                Some("data"),
                finding.help("the data folder is etcd's alone: choose another place for one of them"),
            ));
        }
        if is_within(path, &releases) {
            let finding = Finding::new(format!("`paths.{key}` (`{path}`) lies in `{releases}`"));
            findings.push((key, Some("install"), finding.help("old folders there are removed: choose another place")));
        }
        if swapped.iter().any(|folder| is_within(path, folder)) {
            let finding = Finding::new(format!(
                "`paths.{key}` (`{path}`) lies in a folder of `{config}` that is replaced as a whole"
            ));
            findings.push((key, Some("config"), finding.help("choose another place")));
        }
    }
    findings
}

/// Whether `path` is `folder` or lies in it.
fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A field of a certificate's subject, with its upper bound from RFC 5280, appendix A.1.
pub(super) fn subject_field(value: &str, longest: usize) -> Verdict {
    if value.chars().any(char::is_control) || value.trim() != value {
        return refuse(
            format!("{} cannot stand in a certificate's subject", quoted(value)),
            "no control characters, no space around it",
        );
    }
    if value.chars().count() > longest {
        return refuse(
            format!("{} is too long for a certificate's subject", quoted(value)),
            &format!("{longest} characters at most (RFC 5280)"),
        );
    }
    Ok(())
}

/// A country as certificates want it (ISO 3166: two capital letters).
pub(super) fn country(value: &str) -> Verdict {
    if value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    refuse(format!("{} is not a country's code", quoted(value)), "two capital letters (ISO 3166), for example `DE`")
}

/// Where an archive comes from: a URL with placeholders.
pub(super) fn release_url(url: &str) -> Verdict {
    let shown = quoted(url);
    let Some((scheme, rest)) = url.split_once("://") else {
        return refuse(
            format!("{shown} is not a URL"),
            "`https://…`, `http://…` or `file:///…`; a local file is `release.archive`",
        );
    };
    if !["https", "http", "file"].contains(&scheme) {
        return refuse(format!("{shown} cannot be fetched"), "`https://…`, `http://…` or `file:///…`");
    }
    if rest.is_empty()
        || url.chars().any(|c| c.is_control() || c.is_whitespace())
        || (scheme == "file" && !rest.starts_with('/'))
    {
        return refuse(format!("{shown} is not a URL"), "no spaces; three slashes after `file:`");
    }
    placeholders(url)
}

/// `{version}` and `{arch}` are all that can be filled in.
pub(super) fn placeholders(template: &str) -> Verdict {
    let bare = template.replace("{version}", "").replace("{arch}", "");
    if bare.contains(['{', '}']) {
        return refuse(
            format!("{} has a placeholder that is unknown", quoted(template)),
            "`{version}` and `{arch}` are filled in",
        );
    }
    Ok(())
}
