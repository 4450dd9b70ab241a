//! A snapshot of whatever is in it, with a size and a checksum that are right.

#![no_main]

use etcd_ha::etcd::snapshot;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::io::Cursor;

fuzz_target!(|database: &[u8]| {
    let mut file = database.to_vec();
    file.resize(file.len().next_multiple_of(512).max(512), 0);
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    let _ = snapshot::read(&mut Cursor::new(file));
});
