//! What came of the cases, as a page to read: `docs/faults.md`.

use super::data::{Case, Kind, Then};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How much of a line the table shows.
const WIDTH: usize = 240;

/// What differs from run to run is left out: ids, fingerprints, times.
pub fn neutral(said: &str) -> String {
    let mut text = String::new();
    let mut rest = said;
    while let Some(character) = rest.chars().next() {
        let word_begins = !text.ends_with(|before: char| before.is_ascii_alphanumeric());
        let length = rest.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = &rest[..length];
        let hexadecimal = word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if word_begins && (14..=16).contains(&length) && hexadecimal {
            text += "…";
            rest = &rest[length..];
        } else if let Some(print) = rest.strip_prefix("SHA256:") {
            text += "SHA256:…";
            rest = print.trim_start_matches(|of: char| of.is_ascii_alphanumeric() || "+/=".contains(of));
        } else {
            text.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    let text = text.trim();
    // `06:11:43Z ` at the beginning.
    let text =
        text.split_once("Z ").filter(|(time, _)| time.len() == 8 && time.contains(':')).map_or(text, |(_, text)| text);
    let untimed = without_times(text);
    if untimed.chars().count() > WIDTH { untimed.chars().take(WIDTH).chain(['…']).collect() } else { untimed }
}

/// Without ` (0.2 s)`, wherever it is.
fn without_times(text: &str) -> String {
    let mut pieces = text.split(" (");
    let mut untimed = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.split_once(" s)").filter(|(time, _)| time.parse::<f64>().is_ok()).map(|(_, rest)| rest);
        untimed += &rest.map_or_else(|| format!(" ({piece}"), str::to_owned);
    }
    untimed
}

/// As it is typed.
pub fn command(case: &Case) -> String {
    format!("etcd-ha {}", case.command)
}

/// What it left as it was, and what the operator did then.
fn after(case: &Case) -> String {
    let command = |then: &Then| code(&format!("etcd-ha {}", then.command));
    let mended = case.then.as_ref().map(|then| match case.heal[..] {
        [] => format!("; then {} mends it", command(then)),
        [..] => format!("; once the fault is undone by hand, {} finishes", command(then)),
    });
    format!("{}{}", case.left(), mended.unwrap_or_default())
}

/// The page. `said` has the decisive line of each case that was run, `versions` etcd's.
pub fn page(kinds: &[Kind], said: &BTreeMap<String, String>, versions: &str) -> String {
    let mut page = format!("{HEAD}{versions}{VERSIONS_END}");
    for kind in kinds.iter().filter(|kind| kind.rows.iter().any(|row| !row.cases.is_empty())) {
        let _ = write!(page, "\n## {}\n\n{COLUMNS}", kind.title);
        for row in &kind.rows {
            for case in &row.cases {
                let said = said.get(&case.id).map_or("", String::as_str);
                let _ = writeln!(
                    page,
                    "| {} | {} | {} | {} | {} | {} |",
                    case.id,
                    plain(row.fault_of(case)),
                    code(&command(case)),
                    case.exit,
                    code(said),
                    after(case),
                );
            }
        }
    }
    page += "\n## Faults with tests of their own\n\n";
    page += "Those that take longer, since a run has to be broken off in its midst or a host has to boot; `tests/lab` has the tests.\n\n";
    page += "| | fault | held by |\n|---|---|---|\n";
    for row in kinds.iter().flat_map(|kind| &kind.rows).filter(|row| !row.tested_by.is_empty()) {
        let tests: Vec<_> = row.tested_by.iter().map(|test| code(test)).collect();
        let _ = writeln!(page, "| {} | {} | {} |", row.id, plain(&row.fault), tests.join(", "));
    }
    page += "\n## Not covered\n\n| | fault | why |\n|---|---|---|\n";
    for row in kinds.iter().flat_map(|kind| &kind.rows) {
        if let Some(why) = &row.not_covered {
            let _ = writeln!(page, "| {} | {} | {} |", row.id, plain(&row.fault), plain(why));
        }
    }
    page
}

/// How the page begins, up to the versions of etcd.
pub const HEAD: &str = "# What the tool does when …

Each row is a fault that was set on real hosts (Debian 12 with systemd and sshd, three of them): what had happened, what was
typed then, how it ended, and the line of its output that counts. Before and after the command the hosts' files and the process
of every etcd are compared, and the last column says which were the same afterwards: files by digest in etcd's and systemd's
folders, by size, owner, mode and time of change wherever else a deploy may write to; etcd's own data and the log of runs are
left out. Then the fault is undone, the command in the last column is run if one is there, and where there was a
cluster, every key and every member id has to be as before, and `etcd-ha plan` has nothing to change. The letters: inputs (I),
SSH (S), uploads and the hosts' files (U), the controller (C), bootstrap and start (B), rolling changes (R), members (M),
certificates (T), snapshots and space (N). Some faults have a test of their own besides, further down.

`make faults` sets them all, checks them and writes this page; `tests/lab/faults` has them as data. Ids and fingerprints are
shown as `…`. The etcd was ";
/// And behind them.
pub const VERSIONS_END: &str = ".\n";
const COLUMNS: &str = "| | what had happened | command | exit | it says | as before |\n|---|---|---|---|---|---|\n";

/// Words in a cell.
fn plain(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Words as they are, in a cell.
fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text if text.contains('`') => format!("`` {} ``", plain(text)),
        text => format!("`{}`", plain(text)),
    }
}
