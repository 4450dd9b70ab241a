//! A cap on what all uploads of a run send together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What was not sent in time may be made up for within this time, no later: timers are late by a
/// millisecond or so, and a pause is no credit.
const CATCH_UP: Duration = Duration::from_millis(50);

/// A turn is what goes out in this time, and a packet of OpenSSH at most, so that at any rate several
/// hosts get on side by side and none looks dead while it waits.
const TURN: Duration = Duration::from_millis(50);

/// The longest turn.
const PACKET: u64 = 32 << 10;

/// A cap on how much is uploaded a second. Clones share it: whoever has one takes turns with all others.
#[derive(Debug, Clone)]
pub struct Bandwidth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: Instant,
    bucket: Mutex<Bucket>,
    turn: usize,
}

impl Bandwidth {
    /// The least that can be asked for, in bytes a second; below, a host would wait for minutes between
    /// two bytes.
    pub const LEAST: u64 = 1 << 10;

    /// A cap at `rate` bytes a second, [`LEAST`](Self::LEAST) or more.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        let rate = rate.max(Self::LEAST);
        let turn = (rate / (1000 / TURN.as_millis() as u64)).clamp(1, PACKET);
        let bucket = Mutex::new(Bucket { rate, free: Duration::ZERO });
        Self(Arc::new(Shared { start: Instant::now(), bucket, turn: usize::try_from(turn).unwrap_or(1) }))
    }

    /// Waits for a turn to send some of `wanted` bytes, and says how many.
    pub(super) async fn turn(&self, wanted: usize) -> usize {
        let Shared { start, bucket, turn } = &*self.0;
        let granted = wanted.min(*turn);
        // Turns are given out in the order in which they are asked for, so that no host gets far ahead.
        let at = bucket.lock().unwrap_or_else(PoisonError::into_inner).book(start.elapsed(), granted as u64);
        sleep_until(*start + at).await;
        granted
    }
}

/// When the line is free again, at a steady rate; times are from a common start.
#[derive(Debug)]
struct Bucket {
    /// Bytes a second.
    rate: u64,
    free: Duration,
}

impl Bucket {
    /// Books the line for so many bytes, and says from when on they may be sent.
    fn book(&mut self, now: Duration, bytes: u64) -> Duration {
        let from = self.free.max(now.saturating_sub(CATCH_UP));
        // Nanoseconds: 2^64 of them are 584 years.
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.max(1));
        self.free = from + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        from
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bandwidth, Bucket};

    const MIB: u64 = 1 << 20;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_line_is_booked_without_gaps() {
        let mut bucket = Bucket { rate: 1000, free: Duration::ZERO };
        // Asked for all at once: one after the other.
        assert_eq!([100, 100, 300, 1].map(|bytes| bucket.book(ms(0), bytes)), [ms(0), ms(100), ms(200), ms(500)]);
        // Late by less than can be made up for: as if it had been asked for in time.
        assert_eq!(bucket.book(ms(540), 99), ms(501));
        // Late by more: the rest of the pause is gone.
        assert_eq!([bucket.book(ms(2000), 10), bucket.book(ms(2000), 10)], [ms(1950), ms(1960)]);
    }

    #[test]
    fn turns_are_short_at_any_rate() {
        for (rate, turn) in [(0, 51), (1 << 10, 51), (500 << 10, 25_600), (20 * MIB, 32 << 10), (u64::MAX, 32 << 10)] {
            assert_eq!(Bandwidth::new(rate).0.turn, turn, "{rate}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_sum_keeps_to_the_rate_and_the_shares_are_alike() {
        for rate in [100 << 10, 3 * MIB, 100 * MIB] {
            let bandwidth = Bandwidth::new(rate);
            let begun = tokio::time::Instant::now();
            let uploads = (0..3).map(|_| {
                let bandwidth = bandwidth.clone();
                async move {
                    let mut left = usize::try_from(rate).unwrap();
                    while left > 0 {
                        left -= bandwidth.turn(left).await;
                    }
                    begun.elapsed().as_secs_f64()
                }
            });
            // Timers go by the millisecond: who is woken first takes the turns that are due by then.
            for seconds in futures::future::join_all(uploads).await {
                assert!((2.5..=3.0).contains(&seconds), "{rate}: {seconds}");
            }
        }
    }
}
