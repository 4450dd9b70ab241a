//! A known_hosts file is searched for a host; the first line of the input is its name.

#![no_main]

use etcd_ha::ssh::known_lines;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (name, text) = input.split_once('\n').unwrap_or(("node01", input));
    let lines = text.lines().count();
    for name in [name, "[127.0.0.1]:2222"] {
        assert!(known_lines(text, name).iter().all(|line| (1..=lines).contains(line)));
    }
});
