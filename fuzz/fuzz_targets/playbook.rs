//! A playbook is read, or refused with its file and line.

#![no_main]

use etcd_ha::error::Error;
use etcd_ha::playbook::Playbook;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Playbook::parse("site.yaml", text) {
        assert!(Error::from(error).render().contains("site.yaml:"));
    }
});
