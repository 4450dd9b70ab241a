//! The fault catalogue and the page of what came of it: neither has what the other lacks.

#![allow(clippy::panic, clippy::unwrap_used)]

#[path = "../lab/faults/data.rs"]
#[allow(dead_code, reason = "how a fault is set, only the lab needs")]
mod data;
#[path = "../lab/faults/table.rs"]
mod table;

use data::catalogue;
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../docs/faults.md");

/// What is in a cell between backticks.
fn uncode(cell: &str) -> String {
    let inner = cell.strip_prefix("`` ").and_then(|cell| cell.strip_suffix(" ``"));
    let inner = inner.or_else(|| cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')));
    inner.unwrap_or(cell).replace("\\|", "|")
}

/// What the program said in each case, by the page.
fn said() -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    for line in PAGE.lines() {
        if let [id, _, _, _, line, _] = line.split(" | ").collect::<Vec<_>>()[..] {
            said.insert(id.trim_start_matches("| ").to_owned(), uncode(line));
        }
    }
    said
}

/// The page is what the run would write: every case with its words for fault and command and its exit code, and no
/// other. Only what was said is the run's own, and that has the words that the case expects.
#[test]
fn the_page_of_faults_has_every_case_as_it_is_in_the_data() {
    let (kinds, said) = (catalogue(), said());
    let rest = PAGE.strip_prefix(table::HEAD).unwrap_or_else(|| panic!("the page begins otherwise: `make faults`"));
    let (versions, _) = rest.split_once(table::VERSIONS_END).unwrap();
    let wanted = table::page(&kinds, &said, versions);
    for (number, (is, wanted)) in (1..).zip(PAGE.lines().zip(wanted.lines())) {
        assert_eq!(is, wanted, "docs/faults.md:{number}: `make faults` writes it anew");
    }
    assert_eq!(PAGE, wanted, "`make faults` writes docs/faults.md anew");
    for case in kinds.iter().flat_map(|kind| &kind.rows).flat_map(|row| &row.cases) {
        // Addresses are those of a lab, which is the first one in the page.
        let mut expected = case.says[0].replace("$NETWORK", "10.19.0");
        for host in 1..=3 {
            expected = expected.replace(&format!("$IP{host}"), &format!("10.19.0.{}", 54 + host));
        }
        let said = &said[&case.id];
        assert!(said.contains(&expected), "{}: {expected:?} is not in {said:?}", case.id);
    }
}

/// A fault that has tests of its own names such as there are.
#[test]
fn faults_that_are_held_elsewhere_name_a_lab_test() {
    let tests = include_str!("../lab/main.rs");
    for row in catalogue().iter().flat_map(|kind| &kind.rows) {
        for test in &row.tested_by {
            assert!(tests.contains(&format!("\n        {test},\n")), "{}: there is no lab test `{test}`", row.id);
        }
    }
}

/// Ids, fingerprints and times differ from run to run; the page does not.
#[test]
fn what_differs_from_run_to_run_is_left_out() {
    for (said, neutral) in [
        ("06:11:43Z node02 preflight: ok", "node02 preflight: ok"),
        ("member 15a815c60caba83b is healthy", "member … is healthy"),
        ("presents ssh-ed25519 SHA256:ab+/cd, but", "presents ssh-ed25519 SHA256:…, but"),
        ("nothing to do (0.4 s)", "nothing to do"),
        ("controller check_peers: failed (3.3 s): host `node02`", "controller check_peers: failed: host `node02`"),
        ("  3 voters (2 healthy)", "3 voters (2 healthy)"),
        ("accessible and defaced", "accessible and defaced"),
    ] {
        assert_eq!(table::neutral(said), neutral);
    }
    assert_eq!(table::neutral(&"x".repeat(1000)).chars().count(), 241);
}
