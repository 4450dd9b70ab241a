//! Whatever is in a file or comes from a host: nothing panics, nothing takes long, and what is refused has a place.
//! `make fuzz` goes on with the same for as long as one likes.

#![allow(clippy::unwrap_used, clippy::panic)]

use etcd_ha::error::Error;
use etcd_ha::etcd::config::{self, Membership};
use etcd_ha::etcd::identity::read_wal_head;
use etcd_ha::etcd::journal::{last_run, last_words, subject, told, words};
use etcd_ha::etcd::lint::Rules;
use etcd_ha::etcd::snapshot;
use etcd_ha::host::{CloseUp, Entry, Observation, Resources};
use etcd_ha::inventory::Inventory;
use etcd_ha::pki::not_after;
use etcd_ha::playbook::Playbook;
use etcd_ha::report::{one_line, visible, wrap};
use etcd_ha::ssh::known_lines;
use etcd_ha::tasks::Note;
use proptest::prelude::*;
use proptest::test_runner::Config;
use sha2::{Digest as _, Sha256};
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

/// How long a processor may be busy with one input, without optimization.
const LIMIT: Duration = Duration::from_secs(3);

/// Found failures become cases below, not files.
fn tries(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Real files of these folders, by their ending.
fn files(folders: &[&str], endings: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| endings.iter().any(|ending| path.extension().is_some_and(|is| is == *ending))).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folders:?}");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// One thing that happens to a text.
#[derive(Debug, Clone)]
enum Change {
    Insert(usize, Vec<u8>),
    Delete(usize, usize),
    Repeat(usize, usize, usize),
    Swap(usize, usize),
    Flip(usize, u8),
    Cut(usize),
}

/// What parsers stumble over.
const ODD: &[&str] = &[
    "99999999999999999999999999",
    "-1",
    "1e999",
    ".inf",
    "0x1p-1",
    "\0",
    "\u{1b}[2J",
    "\u{202e}",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\r",
    "\t",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "#",
    "|",
    ">",
    "\"",
    "'",
    "%YAML 9.9\n",
    "=",
    " ",
    "\n",
    "~",
    "null",
    "yes",
    "2026-13-45",
    "$(x)",
    "../../..",
    "😀",
    "a\u{301}",
];

fn change() -> impl Strategy<Value = Change> {
    let place = any::<usize>;
    let bytes = prop_oneof![
        3 => proptest::sample::select(ODD).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..8),
        1 => (proptest::sample::select(&["[", "{a: ", "- ", "(", "\"", " "][..]), 1..2000usize).prop_map(|(text, times)| text.repeat(times).into_bytes()),
    ];
    prop_oneof![
        4 => (place(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (place(), 1..40usize).prop_map(|(at, length)| Change::Delete(at, length)),
        1 => (place(), 1..200usize, 1..30usize).prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        1 => (place(), place()).prop_map(|(one, other)| Change::Swap(one, other)),
        2 => (place(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => place().prop_map(Change::Cut),
    ]
}

fn changed(mut text: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let length = text.len();
        let within = |at: usize| at % length.max(1);
        match change {
            Change::Insert(at, bytes) => drop(text.splice(within(*at)..within(*at), bytes.iter().copied())),
            _ if text.is_empty() => {}
            Change::Delete(at, count) => drop(text.drain(within(*at)..(within(*at) + count).min(length))),
            Change::Repeat(at, count, times) => {
                let part = text[within(*at)..(within(*at) + count).min(length)].repeat(*times);
                text.splice(within(*at)..within(*at), part);
            }
            Change::Swap(one, other) => text.swap(within(*one), within(*other)),
            Change::Flip(at, bits) => text[within(*at)] ^= bits,
            Change::Cut(at) => text.truncate(within(*at)),
        }
    }
    text
}

/// Real files with some changes, or anything at all.
fn like(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let other = seeds.clone();
    let spoilt = (proptest::sample::select(seeds), proptest::collection::vec(change(), 0..6))
        .prop_map(|(text, changes)| changed(text, &changes));
    let spliced =
        (proptest::sample::select(other.clone()), proptest::sample::select(other), any::<usize>(), any::<usize>())
            .prop_map(|(one, two, here, there)| {
                [&one[..here % (one.len() + 1)], &two[there % (two.len() + 1)..]].concat()
            });
    prop_oneof![
        6 => spoilt,
        2 => spliced,
        1 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => proptest::collection::vec(proptest::sample::select(ODD), 0..60).prop_map(|words| words.concat().into_bytes()),
    ]
}

fn in_time<T>(work: impl FnOnce() -> T) -> T {
    let begun = busy();
    let done = work();
    let took = busy() - begun;
    assert!(took < LIMIT, "it took {took:?}");
    done
}

/// For how long this thread was on a processor: others may have more to do.
fn busy() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

/// Whether a rendered error names its file, a line and a column: `name:3:7`.
fn has_a_place(rendered: &str, name: &str) -> bool {
    rendered.split(name).skip(1).any(|rest| {
        let mut numbers = rest.strip_prefix(':').unwrap_or_default().splitn(2, ':');
        let number = |text: Option<&str>| text.is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()));
        number(numbers.next()) && number(numbers.next())
    })
}

fn inventory(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match in_time(|| Inventory::parse(Path::new("prod.yaml"), &text, &Rules)) {
        Err(error) => {
            let rendered = Error::from(error).render();
            let large = rendered.contains("is larger than");
            assert!(large || has_a_place(&rendered, "prod.yaml"), "{rendered}");
            assert!(!rendered.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{rendered:?}");
        }
        Ok(inventory) => {
            // What a run makes of it.
            let membership = Membership::bootstrap(&inventory, "token".to_owned());
            for host in &inventory.hosts {
                let unit = config::unit(host);
                let environment = config::environment(host, &inventory.version, &membership);
                // A value is one line, whatever it holds.
                assert!(environment.lines().all(|line| line.is_empty() || line.starts_with('#') || line.contains('=')));
                assert!(unit.contains("ExecStart="), "{unit}");
            }
        }
    }
}

fn playbook(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = in_time(|| Playbook::parse("site.yaml", &text)) {
        let rendered = Error::from(error).render();
        assert!(has_a_place(&rendered, "site.yaml"), "{rendered}");
        assert!(!rendered.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{rendered:?}");
    }
}

fn answers(bytes: &[u8]) {
    in_time(|| {
        let seen = Observation::of(bytes);
        let _ = seen.unit.describe();
        let _ = seen.data.as_ref().map(|data| read_wal_head(&data.wal));
        let _ = (CloseUp::of(bytes), Resources::of(bytes), Note::all(bytes), read_wal_head(bytes));
    });
}

fn journal(bytes: &[u8]) {
    in_time(|| {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text.lines().collect();
        let _ = (last_words(lines.iter().copied()), told(lines.iter().copied()), last_run(&lines));
        for line in lines {
            let _ = (Entry::read(line.as_bytes()), subject(line), words(line), one_line(line));
            let _ = wrap(&visible(line), 40);
        }
    });
}

fn known_hosts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().count();
    let found = in_time(|| known_lines(&text, "[127.0.0.1]:2222"));
    assert!(found.iter().all(|line| (1..=lines).contains(line)));
}

/// With a size and a checksum that are right, so that what is inside is looked at.
fn database(bytes: &[u8]) {
    let mut file = bytes[..bytes.len().saturating_sub(32)].to_vec();
    file.resize(file.len().next_multiple_of(512).max(512), 0);
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    let _ = in_time(|| snapshot::read(&mut Cursor::new(file)));
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmeLUP1yaOPFg2jWEHdXcEnsTV0nHGX7zjNTE0gGqQd";

#[test]
fn inventories() {
    proptest!(tries(400), |(bytes in like(files(&["tests/it/inventory", "inventories"], &["yaml"])))| inventory(&bytes));
}

#[test]
fn playbooks() {
    proptest!(tries(400), |(bytes in like(files(&["playbooks"], &["yaml"])))| playbook(&bytes));
}

#[test]
fn answers_of_hosts() {
    proptest!(tries(300), |(bytes in like(files(&["src/host/observe", "src/etcd/identity"], &["txt", "wal"])))| answers(&bytes));
}

#[test]
fn journals() {
    proptest!(tries(200), |(bytes in like(files(&["src/etcd/signature/recorded"], &["txt"])))| journal(&bytes));
}

#[test]
fn known_hosts_files() {
    let names = [
        "node01",
        "[127.0.0.1]:2222",
        "*.example,!a.example",
        "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=",
        "@revoked *",
        "@cert-authority 127.0.0.*",
    ];
    let seeds = names.iter().map(|name| format!("# known\n{name} {KEY} somebody\n").into_bytes()).collect();
    proptest!(tries(400), |(bytes in like(seeds))| known_hosts(&bytes));
}

#[test]
fn databases_and_certificates() {
    proptest!(tries(60), |(bytes in like(files(&["src/etcd/snapshot"], &["db"])))| database(&bytes));
    let pem = b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ0Yx\n-----END CERTIFICATE-----\n".to_vec();
    proptest!(tries(200), |(bytes in like(vec![pem]))| { let _ = not_after(&String::from_utf8_lossy(&bytes)); });
}

/// What was found.
#[test]
fn found_before() {
    // More space than there are numbers.
    answers(b"space-of /\nspace 18446744073709551615 1 /\n");
}

/// What is made to be costly: nested, repeated, aliased, long.
#[test]
fn bombs() {
    let layers: String =
        (1..30).map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 9].join(", "))).collect();
    let bombs = [
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        "- ".repeat(10_000),
        format!("{}x", "? ".repeat(10_000)),
        format!("a: {}", "!!str ".repeat(10_000)),
        (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 900))).collect(),
        format!("l0: &l0 [x]\n{layers}cluster: *l29\n"),
        format!("cluster: &a {}\nhosts: [*a, *a, *a]\n", "x".repeat(500_000)),
        format!("cluster: \"{}", "\\u0041".repeat(100_000)),
        format!("cluster: |\n{}", " x\n".repeat(200_000)),
        "&a ".repeat(100_000),
        "#".repeat(900_000),
        "\u{feff}".repeat(100_000),
        "a: 1\n".repeat(150_000),
    ];
    for bomb in &bombs {
        inventory(bomb.as_bytes());
        playbook(bomb.as_bytes());
        answers(bomb.as_bytes());
    }
}
