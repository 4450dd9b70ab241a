//! What is done in each round of a sweep: decided by a seed alone, before anything runs.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::fmt;
use std::time::Duration;

/// The hosts of a cluster that is swept.
pub const HOSTS: usize = 3;

/// What a controller is killed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    FirstDeploy,
    Change,
    Upgrade,
}

impl Operation {
    pub const ALL: [Self; 3] = [Self::FirstDeploy, Self::Change, Self::Upgrade];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FirstDeploy => "first deploy",
            Self::Change => "setting change",
            Self::Upgrade => "upgrade",
        })
    }
}

/// What happens to a host beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Power,
    Link,
}

/// A host's fault, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Accident {
    pub fault: Fault,
    pub host: usize,
    /// When it begins: 0 with the operation, 1 when that would have ended, later in the run after the killed one.
    pub at: f64,
    /// How long until the host is booted again or its link mended.
    pub lasts: Duration,
}

/// One round: an operation, when its controller is killed, and what happens beside.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Counted from 1.
    pub number: usize,
    pub operation: Operation,
    /// When the controller is killed: from 0, when it starts, to 1, when it would have ended.
    pub kill: f64,
    /// Killed as soon as it says the next line, which it does at every task's end, and not between two of them.
    pub at_line: bool,
    pub accident: Option<Accident>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, operation, kill, at_line, accident } = self;
        let line = if *at_line { ", at the next line" } else { "" };
        write!(f, "round {number}: {operation}, killed at {:.1} %{line}", kill * 100.0)?;
        if let Some(Accident { fault, host, at, lasts }) = accident {
            let what = match fault {
                Fault::Power => "loses its power",
                Fault::Link => "loses its link",
            };
            write!(f, "; node{host:02} {what} at {:.1} % for {:.1} s", at * 100.0, lasts.as_secs_f64())?;
        }
        Ok(())
    }
}

/// The rounds of a sweep. Operations and accidents are spread evenly and meet each other evenly, and the kills of each
/// operation are spread over all of its time: what chance decides is the order, and the moment within each part.
pub fn schedule(seed: u64, rounds: usize) -> Vec<Round> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut kinds: Vec<_> = (0..rounds)
        .map(|round| {
            let fault = match round % 4 {
                1 => Some(Fault::Power),
                3 => Some(Fault::Link),
                _ => None,
            };
            (Operation::ALL[round % 3], fault)
        })
        .collect();
    kinds.shuffle(&mut chance);
    let mut kills = Operation::ALL.map(|operation| {
        let count = kinds.iter().filter(|(of, _)| *of == operation).count();
        let part = |number: usize| (number as f64 + chance.random_range(0.0..1.0)) / count as f64;
        let mut moments: Vec<_> = (0..count).map(part).collect();
        moments.shuffle(&mut chance);
        moments
    });
    let mut round = |(index, (operation, fault)): (usize, (Operation, Option<Fault>))| Round {
        number: index + 1,
        operation,
        // There are as many as there are rounds of the operation.
        kill: kills[operation as usize].pop().unwrap_or_default(),
        at_line: chance.random_bool(0.5),
        accident: fault.map(|fault| Accident {
            fault,
            host: chance.random_range(1..=HOSTS),
            at: chance.random_range(0.0..1.2),
            lasts: Duration::from_millis(chance.random_range(500..8000)),
        }),
    };
    kinds.into_iter().enumerate().map(&mut round).collect()
}

/// How an operation went that nobody disturbed: when it said each line, and when it ended.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    pub lines: Vec<Duration>,
    pub took: Duration,
}

impl Profile {
    /// How far a run is, 1 being the end, that has said this many lines, the last of them this long ago. It goes on
    /// with the clock between the lines, so that also a run is killed that hangs; a line sets it right on a machine that
    /// is slower or faster by now.
    pub fn progress(&self, lines: usize, since: Duration) -> f64 {
        let said = match lines {
            0 => Duration::ZERO,
            lines => self.lines.get(lines - 1).copied().unwrap_or(self.took),
        };
        (said + since).as_secs_f64() / self.took.as_secs_f64()
    }

    /// How many lines a run has said at the first line's end that is not before this moment.
    pub fn lines_at(&self, moment: f64) -> usize {
        let moment = self.took.mul_f64(moment);
        self.lines.partition_point(|said| *said < moment) + 1
    }
}

pub fn a_seed_gives_the_same_rounds_again_and_another_seed_others() {
    assert_eq!(schedule(7, 40), schedule(7, 40));
    assert_ne!(schedule(7, 40), schedule(8, 40));
    assert!(schedule(7, 0).is_empty());
}

pub fn rounds_are_spread_evenly_over_operations_accidents_and_time() {
    for seed in 0..20 {
        let rounds = schedule(seed, 240);
        for operation in Operation::ALL {
            let mut kills: Vec<_> =
                rounds.iter().filter(|round| round.operation == operation).map(|round| round.kill).collect();
            kills.sort_by(f64::total_cmp);
            assert_eq!(kills.len(), 80);
            for (part, kill) in kills.iter().enumerate() {
                assert!((part as f64..=part as f64 + 1.0).contains(&(kill * 80.0)), "{seed}: {part}: {kill}");
            }
            for fault in [Fault::Power, Fault::Link] {
                let met = |round: &&Round| {
                    round.operation == operation && round.accident.as_ref().is_some_and(|one| one.fault == fault)
                };
                assert_eq!(rounds.iter().filter(met).count(), 20, "{operation} {fault:?}");
            }
        }
        for accident in rounds.iter().filter_map(|round| round.accident.as_ref()) {
            assert!((1..=HOSTS).contains(&accident.host), "{accident:?}");
        }
        assert!(rounds.iter().enumerate().all(|(index, round)| round.number == index + 1));
    }
}

pub fn progress_follows_the_lines_and_between_them_the_clock() {
    let seconds = Duration::from_secs_f64;
    let profile = Profile { lines: [1.0, 2.0, 8.0].map(seconds).to_vec(), took: seconds(10.0) };
    for (lines, since, progress) in [
        (0, 0.0, 0.0),
        (0, 0.5, 0.05),
        // The first line came late, which says nothing of the rest.
        (1, 0.0, 0.1),
        (2, 3.0, 0.5),
        // What hangs goes on.
        (2, 9.0, 1.1),
        (3, 1.0, 0.9),
        // More lines than were ever seen.
        (4, 0.0, 1.0),
    ] {
        let found = profile.progress(lines, seconds(since));
        assert!((found - progress).abs() < 1e-9, "{lines} lines, {since} s ago: {found}");
    }
    for (moment, lines) in [(0.0, 1), (0.1, 1), (0.11, 2), (0.5, 3), (0.8, 3), (0.9, 4)] {
        assert_eq!(profile.lines_at(moment), lines, "{moment}");
    }
}
