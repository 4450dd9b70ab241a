//! How fast a transfer goes, and how long it will still take.

use std::collections::VecDeque;
use time::{Duration, OffsetDateTime};

/// The span over which the rate is taken: long enough to be calm, short enough to show a stall.
const WINDOW: Duration = Duration::seconds(5);

/// Bytes moved by one transfer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transfer {
    pub done: u64,
    pub total: Option<u64>,
    /// When how many bytes had been moved: the last sample before the window, and those within.
    samples: VecDeque<(OffsetDateTime, u64)>,
}

impl Transfer {
    pub fn new(at: OffsetDateTime, done: u64, total: Option<u64>) -> Self {
        Self { done, total, samples: VecDeque::from([(at, done)]) }
    }

    /// Takes a later count into account; fewer bytes than before mean that it began again.
    pub fn note(&mut self, at: OffsetDateTime, done: u64, total: Option<u64>) {
        if done < self.done {
            *self = Self::new(at, done, total);
            return;
        }
        (self.done, self.total) = (done, total);
        self.samples.push_back((at, done));
        while self.samples.get(1).is_some_and(|(then, _)| at - *then >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Whether all of a known total is there.
    pub fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.done >= total)
    }

    /// Bytes a second over the last seconds, or nothing while it is too early to say. It falls
    /// while nothing arrives, since `now` goes on.
    pub fn rate(&self, now: OffsetDateTime) -> Option<f64> {
        let (first, base) = self.samples.front()?;
        let last = self.samples.back().map_or(*first, |(at, _)| *at);
        // A finished transfer's rate stays what it was.
        let end = if self.is_complete() { last } else { now.max(last) };
        let span = (end - *first).as_seconds_f64();
        // Exact up to 2^53 bytes, which is far beyond what is sent to a host.
        #[allow(clippy::cast_precision_loss)]
        let moved = (self.done - base) as f64;
        (span >= 0.2).then(|| moved / span)
    }

    /// Seconds that the rest will take, if that can be said.
    pub fn remaining(&self, now: OffsetDateTime) -> Option<f64> {
        let rest = self.total?.checked_sub(self.done).filter(|rest| *rest > 0)?;
        let rate = self.rate(now).filter(|rate| *rate >= 1.0)?;
        #[allow(clippy::cast_precision_loss)]
        Some(rest as f64 / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn at(seconds: f64) -> OffsetDateTime {
        datetime!(2026-11-22 10:14:30 UTC) + Duration::seconds_f64(seconds)
    }

    #[test]
    fn steady() {
        let mut transfer = Transfer::new(at(0.0), 0, Some(1000));
        assert_eq!(transfer.rate(at(0.1)), None);
        for second in 1..=8 {
            transfer.note(at(f64::from(second)), 100 * second as u64, Some(1000));
        }
        assert_eq!(transfer.rate(at(8.0)), Some(100.0));
        assert_eq!(transfer.remaining(at(8.0)), Some(2.0));
        assert!(transfer.samples.len() <= 7);
    }

    #[test]
    fn a_stall_lowers_the_rate_and_a_restart_begins_anew() {
        let mut transfer = Transfer::new(at(0.0), 0, Some(1000));
        transfer.note(at(1.0), 500, Some(1000));
        assert_eq!(transfer.rate(at(1.0)), Some(500.0));
        assert_eq!(transfer.rate(at(10.0)), Some(50.0));
        transfer.note(at(11.0), 10, Some(1000));
        assert_eq!(transfer.rate(at(11.0)), None);
        assert_eq!(transfer.done, 10);
    }

    #[test]
    fn the_end_has_a_rate_but_nothing_remains() {
        let mut transfer = Transfer::new(at(0.0), 0, Some(1000));
        transfer.note(at(2.0), 1000, Some(1000));
        assert_eq!(transfer.rate(at(60.0)), Some(500.0));
        assert_eq!(transfer.remaining(at(60.0)), None);
        // Without a total there is a rate and no end; a clock that was set back breaks nothing.
        let endless = Transfer::new(at(0.0), 0, None);
        assert_eq!(endless.remaining(at(1.0)), None);
        assert_eq!(endless.rate(at(-5.0)), None);
    }
}
