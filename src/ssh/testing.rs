//! What tests of scripts have in common.

use std::process::Command;

/// Those of these shells that this machine has; `sh` is on every one.
pub(crate) fn shells<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let there = |shell: &&str| Command::new(shell).args(["-c", ":"]).output().is_ok();
    let found: Vec<_> = names.iter().copied().filter(there).collect();
    assert!(found.contains(&"sh"), "{found:?}");
    found
}
