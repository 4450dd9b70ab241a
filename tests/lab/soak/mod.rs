//! The kill sweep: controllers killed at random moments of first deploys, setting changes and upgrades, hosts that lose
//! their power or link meanwhile, and the same command again until it says done; under writers that keep a ledger.
//!
//! `ETCD_HA_SOAK_ROUNDS` says how many rounds, `ETCD_HA_SOAK_LABS` in how many labs at once, `ETCD_HA_SOAK_SEED` repeats
//! the rounds of a sweep, `ETCD_HA_SOAK_ROUND` plays one of them alone, `ETCD_HA_SOAK_REPORT` names a file for the report.
//!
//! What is called a loss of the quorum by our doing: fewer than two of the three members run on hosts that can be
//! reached, which is looked at 50 times a second from outside, and no single host's fault explains it
//! ([`quorum::losses`]); or the writers, one for each member, have no write acknowledged for longer than an election
//! takes ([`quorum::too_long`]).

pub mod ledger;
pub mod quorum;
pub mod report;
mod round;
pub mod schedule;
mod watched;

use crate::fixture::version_of;
use report::{Outcome, Report};
use schedule::schedule;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

pub fn killed_anywhere_the_same_command_finishes_and_nothing_is_lost() {
    let count = number("ETCD_HA_SOAK_ROUNDS").unwrap_or(8) as usize;
    let seed = number("ETCD_HA_SOAK_SEED").unwrap_or_else(|| u64::from(rand::random::<u16>()));
    let labs = number("ETCD_HA_SOAK_LABS").unwrap_or(1) as usize;
    eprintln!("ETCD_HA_SOAK_SEED={seed} ETCD_HA_SOAK_ROUNDS={count}");
    let mut rounds = schedule(seed, count);
    if let Some(only) = number("ETCD_HA_SOAK_ROUND") {
        rounds.retain(|round| round.number == only as usize);
    }
    let rounds = Mutex::new(rounds.into_iter());
    let outcomes = Mutex::new(Vec::new());
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..labs {
            scope.spawn(|| sweep(&rounds, &outcomes));
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|outcome: &Outcome| outcome.round.number);
    let versions = ["bookworm", "trixie", "sid"].map(version_of).to_vec();
    let report = Report { seed, versions, labs, took: begun.elapsed(), outcomes };
    let text = report.markdown();
    eprintln!("{text}");
    if let Some(file) = std::env::var_os("ETCD_HA_SOAK_REPORT") {
        let head = "# The last kill sweep\n\nWritten by `make soak`; what is measured and how is said in `tests/lab/soak`.\n\n";
        std::fs::write(file, format!("{head}{text}")).unwrap();
    }
    let failed: Vec<_> = report.failures().map(|outcome| outcome.round.number).collect();
    assert!(failed.is_empty(), "rounds {failed:?} failed; ETCD_HA_SOAK_SEED={seed} ETCD_HA_SOAK_ROUNDS={count} again");
}

/// Plays rounds on a lab of its own until none is left.
fn sweep(rounds: &Mutex<impl Iterator<Item = schedule::Round>>, outcomes: &Mutex<Vec<Outcome>>) {
    let site = crate::site::Site::up(schedule::HOSTS);
    let mut cluster = round::Cluster::begin(&site);
    loop {
        let Some(round) = rounds.lock().unwrap().next() else { return };
        let mut outcome = Outcome::of(round.clone());
        let begun = Instant::now();
        let played = catch_unwind(AssertUnwindSafe(|| cluster.play(&round, &mut outcome)));
        outcome.took = begun.elapsed();
        let mut how = "converged".to_owned();
        if let Err(panic) = played {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            let said = said.unwrap_or_else(|| "a panic without words".to_owned());
            how = format!("FAILED: {said}\n{}", cluster.journals());
            outcome.failure = Some(said);
            cluster.give_up();
        }
        let Outcome { struck, tries, locked, acknowledged, gap, took, .. } = &outcome;
        let kill = if *struck { "killed" } else { "had ended" };
        eprintln!(
            "{round}: {kill}, {tries} tries ({locked} locked), {acknowledged} keys, gap {gap:.2?}, {took:.1?}: {how}"
        );
        outcomes.lock().unwrap().push(outcome);
    }
}
