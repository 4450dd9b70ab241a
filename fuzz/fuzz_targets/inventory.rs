//! An inventory is read, or refused with all of its problems, each of which is shown with its place.

#![no_main]

use etcd_ha::error::Error;
use etcd_ha::etcd::lint::Rules;
use etcd_ha::inventory::Inventory;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Err(error) = Inventory::parse(Path::new("prod.yaml"), text, &Rules) {
        assert!(Error::from(error).render().contains("prod.yaml"));
    }
});
