//! Who may use whom, and which crate stays in which room. A line here is a decision: change it on purpose.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    // What is read of this machine's files is bounded everywhere.
    ("files", &[]),
    // The words for what the YAML library refuses.
    ("yaml", &[]),
    // How long things take may be told from wherever a machine is asked.
    ("timing", &[]),
    ("ssh", &["error", "files", "timing"]),
    ("pki", &["error", "files"]),
    ("release", &["error", "files"]),
    ("report", &["error"]),
    // The settings types of these three are part of what an inventory means.
    ("inventory", &["error", "files", "ssh", "pki", "release", "yaml"]),
    // "Is the unit running" and "is the member in quorum" are different questions: host and etcd
    // never see each other, only tasks and plan may ask both.
    ("host", &["error", "inventory", "ssh", "timing"]),
    ("etcd", &["error", "files", "inventory", "ssh", "timing"]),
    ("tasks", &["error", "files", "inventory", "host", "etcd", "pki", "release", "report"]),
    ("playbook", &["error", "files", "tasks", "yaml"]),
    ("plan", &["error", "inventory", "playbook", "tasks", "host", "etcd", "report"]),
    ("diagnosis", &["error", "inventory", "tasks", "host", "etcd", "pki", "report"]),
    (
        "cli",
        &[
            "error",
            "inventory",
            "playbook",
            "plan",
            "tasks",
            "diagnosis",
            "ssh",
            "host",
            "etcd",
            "pki",
            "release",
            "report",
            "timing",
        ],
    ),
];

/// Single items that a room may use of another that it may not use as a whole.
const ITEMS: &[(&str, &str, &[&str])] = &[
    // Scripts are quoted by the one function; the way to a peer is tried through an SSH session; what the
    // command line says of connections is handed on to them.
    ("tasks", "ssh", &["Bandwidth", "Connector", "quote", "SshError"]),
    ("diagnosis", "ssh", &["quote", "SshError"]),
    // What a host's processor may be.
    ("diagnosis", "release", &["Arch"]),
];

/// Crates that stay in their rooms.
const CRATES: &[(&str, &[&str])] = &[
    ("base64", &["release"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("console", &["report"]),
    ("etcd-client", &["etcd"]),
    ("flate2", &["release"]),
    ("getrandom", &["pki"]),
    ("hmac", &["ssh"]),
    ("hyper-util", &["etcd"]),
    ("indicatif", &["report"]),
    ("miette", &["inventory"]),
    ("p12-keystore", &["pki"]),
    ("p256", &["pki"]),
    ("pkcs8", &["pki"]),
    ("rcgen", &["pki"]),
    ("rlimit", &["cli"]),
    ("rsa", &["pki"]),
    ("russh", &["ssh"]),
    ("rustix", &["cli", "files"]),
    ("rustls", &["etcd", "pki"]),
    ("schemars", &["inventory"]),
    ("serde-saphyr", &["inventory", "playbook", "report", "yaml"]),
    ("sha1", &["etcd", "ssh"]),
    ("similar", &["report"]),
    ("ssh2-config", &["ssh"]),
    ("strsim", &["inventory", "tasks"]),
    ("tar", &["release"]),
    ("tokio-rustls", &["etcd"]),
    ("tonic", &["etcd"]),
    ("tower", &["etcd"]),
    ("tracing", &["timing"]),
    ("tracing-subscriber", &["timing"]),
    ("ureq", &["release"]),
    ("x509-parser", &["pki"]),
];

/// Crates that any room may use.
const EVERYWHERE: &[&str] = &[
    "bytes",
    "data-encoding",
    "futures",
    "rand",
    "semver",
    "serde",
    "serde_json",
    "sha2",
    "tempfile",
    "thiserror",
    "time",
    "tokio",
    "zeroize",
];

/// A source file without its comments and texts: those name what they do not use.
struct Source {
    path: PathBuf,
    room: String,
    code: String,
}

impl Source {
    /// Whether `super` is the crate's root here.
    fn is_at_the_top(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "mod.rs") && self.path.components().count() == 2
            || self.path.components().count() == 1
    }

    fn line_of(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }

    /// Everything that is named by way of the crate's root, with its line: `etcd::config::UNIT`.
    fn uses(&self) -> Vec<(usize, String)> {
        let mut uses = Vec::new();
        let roots: &[&str] = if self.is_at_the_top() { &["crate::", "super::"] } else { &["crate::"] };
        for root in roots {
            for (at, _) in self.code.match_indices(root) {
                let before = self.code[..at].chars().next_back().unwrap_or(' ');
                if before.is_alphanumeric() || before == '_' || before == ':' {
                    continue;
                }
                let paths = paths(&self.code[at + root.len()..]);
                uses.extend(paths.into_iter().map(|path| (self.line_of(at), path)));
            }
        }
        uses
    }

    /// Whether a crate is named: `name::` or `use name`, not as a part of another path.
    fn names(&self, name: &str) -> Option<usize> {
        let name = name.replace('-', "_");
        let found = self.code.match_indices(&name).find(|(at, _)| {
            let before = self.code[..*at].trim_end_matches("::").len() == *at
                && !self.code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let after = &self.code[at + name.len()..];
            before && (after.starts_with("::") || self.code[..*at].ends_with("use ") && after.starts_with(';'))
        });
        found.map(|(at, _)| self.line_of(at))
    }
}

/// The paths that a path or a group of them stands for: `{pki, ssh::{quote, Session}}` is three.
fn paths(text: &str) -> Vec<String> {
    let Some(group) = text.trim_start().strip_prefix('{') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        return match path.strip_suffix("::") {
            Some(prefix) if rest.starts_with('{') => {
                paths(rest).into_iter().map(|path| format!("{prefix}::{path}")).collect()
            }
            _ => vec![path.trim_end_matches(':').to_owned()],
        };
    };
    let (mut all, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let item = group[start..at].trim();
                if !item.is_empty() {
                    all.extend(paths(item));
                }
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    all
}

/// `text` with comments and the insides of string literals blanked out, line for line.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw = rest.starts_with("r#\"").then_some("\"#").or(rest.starts_with("r\"").then_some("\""));
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(end) = raw.filter(|_| !code.ends_with(|c: char| c.is_alphanumeric() || c == '_')) {
            let start = end.len() + 1;
            rest[start..].find(end).map_or(rest.len(), |at| start + at + end.len())
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |at| at + 2)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find('\'').unwrap() + 2
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.extend(rest[..taken].chars().filter(|c| *c == '\n'));
        code.push(' ');
        rest = &rest[taken..];
    }
    code
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut sources, mut folders) = (Vec::new(), vec![src.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let inner = path.strip_prefix(&src).unwrap().to_path_buf();
            let room = inner.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
            let room = room.to_owned();
            if room != "lib" && room != "main" {
                sources.push(Source { path: inner, room, code: code(&std::fs::read_to_string(&path).unwrap()) });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

#[test]
fn rooms_use_only_those_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for source in sources() {
        let Some(allowed) = allowed.get(source.room.as_str()) else {
            wrong.push(format!("src/{}: room `{}` is not in the list", source.path.display(), source.room));
            continue;
        };
        for (line, used) in source.uses() {
            let (room, item) = used.split_once("::").unwrap_or((&used, ""));
            seen.insert((source.room.clone(), room.to_owned()));
            let by_item = ITEMS.iter().any(|(from, to, items)| {
                *from == source.room && *to == room && items.contains(&item.split("::").next().unwrap_or_default())
            });
            if room != source.room && !allowed.contains(&room) && !by_item {
                let place = format!("src/{}:{line}", source.path.display());
                wrong.push(format!("{place}: `{}` may not use `{used}`", source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A scanner that finds nothing would let everything through.
    for (from, to) in [("cli", "plan"), ("plan", "tasks"), ("tasks", "etcd"), ("inventory", "pki"), ("host", "ssh")] {
        assert!(seen.contains(&(from.to_owned(), to.to_owned())), "`{from}` was not seen to use `{to}`");
    }
}

#[test]
fn rooms_do_not_go_in_circles() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    fn reaches(allowed: &BTreeMap<&str, &[&str]>, from: &str, to: &str) -> bool {
        allowed[from].iter().any(|next| *next == to || reaches(allowed, next, to))
    }
    for room in allowed.keys() {
        assert!(!reaches(&allowed, room, room), "`{room}` may use itself by way of others");
    }
}

#[test]
fn crates_stay_in_their_rooms() {
    let sources = sources();
    let mut wrong = Vec::new();
    for (name, rooms) in CRATES {
        let users: Vec<&Source> = sources.iter().filter(|source| source.names(name).is_some()).collect();
        for source in &users {
            if !rooms.contains(&source.room.as_str()) {
                let line = source.names(name).unwrap_or_default();
                wrong.push(format!("src/{}:{line}: `{name}` does not belong here", source.path.display()));
            }
        }
        for room in rooms.iter().filter(|room| !users.iter().any(|source| source.room == **room)) {
            wrong.push(format!("`{name}` is not used in `{room}` any more: take the room off its list"));
        }
    }
    for name in EVERYWHERE.iter().filter(|name| !sources.iter().any(|source| source.names(name).is_some())) {
        wrong.push(format!("`{name}` is not used any more"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files that start programs on this machine, and which: whatever a host says is no word of any of them.
const PROGRAMS: &[&str] = &[
    // The command of a flag that hands over a secret, as the user wrote it.
    "cli/secret.rs",
    // `ssh -G`, and what is asked of it stands in the inventory.
    "ssh/config/ask.rs",
    // `id -un`.
    "ssh/connector.rs",
    // ProxyCommand of ssh_config.
    "ssh/proxy.rs",
    // `ssh-keygen -Q`, with a key in a file.
    "ssh/revoked.rs",
    // The task `command` of a playbook.
    "tasks/command.rs",
];

#[test]
fn programs_are_started_in_few_places() {
    let mut found = BTreeSet::new();
    for source in sources() {
        let path = source.path.display().to_string();
        let code = source.code.split("#[cfg(test)]").next().unwrap();
        let of_tests = path.contains("tests") || path.ends_with("testing.rs");
        if !of_tests && code.contains("Command::new(") {
            found.insert(path);
        }
    }
    let listed: BTreeSet<String> = PROGRAMS.iter().map(ToString::to_string).collect();
    assert_eq!(found, listed, "those that start programs on the left, those that may on the right");
}

#[test]
fn every_dependency_has_its_place() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (_, dependencies) = manifest.split_once("[dependencies]\n").unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let named: BTreeSet<&str> =
        dependencies.lines().filter_map(|line| Some(line.split_once([' ', '.', '='])?.0)).collect();
    let placed: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).chain(EVERYWHERE.iter().copied()).collect();
    assert_eq!(named, placed, "Cargo.toml's dependencies on the left, those with a place on the right");
}

#[test]
fn the_scanner_reads_what_is_there() {
    let text = "//! crate::a\nuse crate::{b, c::{d, e::f}};\nlet x = \"crate::g\"; // crate::h\nlet y = '\"'; crate::i::J\nr#\"\ncrate::k \"\n\"#\nfn z() { crate::l() }\n";
    let source = Source { path: "room/file.rs".into(), room: "room".into(), code: code(text) };
    let uses: Vec<(usize, String)> = source.uses();
    let uses: Vec<(usize, &str)> = uses.iter().map(|(line, path)| (*line, path.as_str())).collect();
    assert_eq!(uses, [(2, "b"), (2, "c::d"), (2, "c::e::f"), (4, "i::J"), (8, "l")]);
    let source = Source { path: "room/file.rs".into(), room: "room".into(), code: code("std::time::A; use tar;") };
    assert_eq!((source.names("time"), source.names("tar")), (None, Some(1)));
}
