//! Certificates, as a host or a file has them.

#![no_main]

use etcd_ha::pki::not_after;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = not_after(text);
});
