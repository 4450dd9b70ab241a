//! Lines of journals, of whatever is in them, as they are shown.

#![no_main]

use etcd_ha::etcd::journal::{last_run, last_words, subject, told, words};
use etcd_ha::host::Entry;
use etcd_ha::report::{one_line, visible, wrap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    let _ = (last_words(lines.iter().copied()), told(lines.iter().copied()), last_run(&lines));
    for line in lines {
        let _ = (Entry::read(line.as_bytes()), subject(line), words(line), one_line(line));
        assert!(!visible(line).contains('\u{1b}'));
        let _ = wrap(&visible(line), 80);
    }
});
