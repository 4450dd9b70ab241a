//! What a host answers to looks at it, and what it has noted of runs.

#![no_main]

use etcd_ha::etcd::identity::read_wal_head;
use etcd_ha::host::{CloseUp, Observation, Resources};
use etcd_ha::tasks::Note;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    let seen = Observation::of(answer);
    let _ = seen.unit.describe();
    if let Some(data) = &seen.data {
        let _ = read_wal_head(&data.wal);
    }
    let _ = (CloseUp::of(answer), Resources::of(answer), Note::all(answer), read_wal_head(answer));
});
