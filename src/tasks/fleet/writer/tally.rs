//! What a writer saw, counted.

use std::time::{Duration, Instant};

/// How one write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The raft term of the acknowledgement, if there was one.
    pub acknowledged: Option<u64>,
    /// Whether it took a second try.
    pub retried: bool,
}

/// Counts writes, and measures how long none was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Writes that were tried.
    pub writes: usize,
    /// Those that failed, the second try counted in.
    pub failed: usize,
    /// Those that took a second try, whatever came of it.
    pub retried: usize,
    /// How often the raft term was seen to rise: elections and hand-overs.
    pub leader_changes: usize,
    /// The longest time without an acknowledgement, from when to when.
    pub longest: (Instant, Instant),
    term: u64,
    last: Instant,
}

impl Tally {
    /// Begins with the first acknowledgement of all, which was given in this term.
    #[must_use]
    pub fn new(now: Instant, term: u64) -> Self {
        Self { writes: 0, failed: 0, retried: 0, leader_changes: 0, longest: (now, now), term, last: now }
    }

    /// Takes the end of a write into account.
    pub fn note(&mut self, now: Instant, ended: Ended) {
        self.writes += 1;
        self.retried += usize::from(ended.retried);
        let Some(term) = ended.acknowledged else {
            self.failed += 1;
            return;
        };
        // A member that lags still tells the old term.
        if term > self.term {
            self.leader_changes += 1;
            self.term = term;
        }
        self.until(now);
        self.last = now;
    }

    /// The time since the last acknowledgement counts, too, though none ended it.
    pub fn end(&mut self, now: Instant) {
        self.until(now);
    }

    /// The length of the longest gap.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        self.longest.1.saturating_duration_since(self.longest.0)
    }

    fn until(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last) > self.longest_gap() {
            self.longest = (self.last, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes as `(ms, term or 0 for none, retried)`; counts as `(writes, failed, retried, leader changes)`,
    /// and the longest gap in ms from when to when.
    fn tally(writes: &[(u64, u64, bool)], end: u64) -> ((usize, usize, usize, usize), (u64, u64)) {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let mut tally = Tally::new(zero, 4);
        for &(ms, term, retried) in writes {
            tally.note(at(ms), Ended { acknowledged: (term > 0).then_some(term), retried });
        }
        tally.end(at(end));
        let ms = |instant: Instant| u64::try_from((instant - zero).as_millis()).unwrap();
        let counts = (tally.writes, tally.failed, tally.retried, tally.leader_changes);
        (counts, (ms(tally.longest.0), ms(tally.longest.1)))
    }

    #[test]
    fn counts_and_gaps() {
        let (first, again) = (false, true);
        for (what, writes, end, want) in [
            ("nothing was written", &[][..], 15, ((0, 0, 0, 0), (0, 15))),
            ("an even pace", &[(20, 4, first), (40, 4, first), (60, 4, first)], 70, ((3, 0, 0, 0), (0, 20))),
            (
                "the first of the longest",
                &[(20, 4, first), (104, 4, again), (188, 4, first)],
                190,
                ((3, 0, 1, 0), (20, 104)),
            ),
            (
                "a failure ends no gap",
                &[(20, 4, first), (1020, 0, again), (1040, 4, first)],
                1050,
                ((3, 1, 1, 0), (20, 1040)),
            ),
            ("nor does the run's end", &[(20, 4, first), (1020, 0, again)], 1500, ((2, 1, 1, 0), (20, 1500))),
            ("a leader goes, two terms are one change", &[(20, 6, first), (40, 6, first)], 50, ((2, 0, 0, 1), (0, 20))),
            ("a member lags", &[(20, 5, first), (40, 4, first), (60, 5, first)], 60, ((3, 0, 0, 1), (0, 20))),
            ("and back again", &[(20, 5, first), (40, 6, first)], 40, ((2, 0, 0, 2), (0, 20))),
        ] {
            assert_eq!(tally(writes, end), want, "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_gap_is_missed(writes in prop::collection::vec((1u64..500, 0u64..9, any::<bool>()), 0..40), rest in 0u64..500) {
            let mut now = 0;
            let writes: Vec<_> = writes.into_iter().map(|(after, term, retried)| { now += after; (now, term, retried) }).collect();
            let end = now + rest;
            let ((count, failed, retried, _), (from, to)) = tally(&writes, end);
            let mut marks: Vec<u64> = writes.iter().filter(|write| write.1 > 0).map(|write| write.0).collect();
            prop_assert_eq!((count, failed), (writes.len(), writes.len() - marks.len()));
            prop_assert_eq!(retried, writes.iter().filter(|write| write.2).count());
            marks.insert(0, 0);
            marks.push(end);
            prop_assert_eq!(to - from, marks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap());
        }
    }
}
