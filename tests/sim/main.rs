//! The planner, the gate and the engine against a simulated cluster: random histories, of which each is
//! its seed's own. `ETCD_HA_SIM_HISTORIES` says how many, `ETCD_HA_SIM_SEED` from which seed on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

mod act;
mod chance;
mod draw;
mod fault;
mod goods;
mod history;
mod judge;
mod look;
mod machine;
mod mutants;
mod raft;
mod site;
mod world;

use history::Player;
use judge::Broken;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many histories are played if nobody says how many.
const HISTORIES: u64 = 100_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// Plays histories on all cores; gives the first seed whose history broke something, if any did.
fn search(from: u64, histories: u64, player: impl Fn() -> Player + Sync) -> Option<(u64, Broken)> {
    let next = AtomicU64::new(0);
    let found: Mutex<Option<(u64, Broken)>> = Mutex::new(None);
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let player = player();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= histories {
                        return;
                    }
                    let played = std::panic::catch_unwind(AssertUnwindSafe(|| player.play(from + number, false).0));
                    let broken = played.unwrap_or_else(|_| Some(Broken { invariant: 0, what: "panicked".to_owned() }));
                    if let Some(broken) = broken {
                        next.store(histories, Ordering::Relaxed);
                        // Another thread may still be at an earlier one: the first by its seed, not by the clock.
                        let mut found = found.lock().unwrap();
                        if found.as_ref().is_none_or(|(seed, _)| from + number < *seed) {
                            *found = Some((from + number, broken));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn no_history_breaks_an_invariant() {
    let from = from_environment("ETCD_HA_SIM_SEED").unwrap_or(1);
    let histories = from_environment("ETCD_HA_SIM_HISTORIES").unwrap_or(HISTORIES);
    let begun = Instant::now();
    if let Some((seed, broken)) = search(from, histories, Player::new) {
        let played = std::panic::catch_unwind(|| Player::new().play(seed, true).1);
        let story = played.unwrap_or_else(|_| "(playing it panics)".to_owned());
        panic!(
            "seed {seed} breaks invariant {}: {}\n\n{story}\n\
             replay: ETCD_HA_SIM_SEED={seed} ETCD_HA_SIM_HISTORIES=1 cargo test --test sim no_history",
            broken.invariant, broken.what
        );
    }
    eprintln!("{histories} histories from seed {from} in {:.1} s", begun.elapsed().as_secs_f64());
}
