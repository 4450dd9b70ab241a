//! What is followed comes when it comes: entries of different hosts are held for a moment, so that they can be put in
//! order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// When an entry was written, and when it came among others of the same time.
type Place = (i64, u64);

/// Entries that are held, each for a while at the longest.
#[derive(Debug)]
pub struct Window<T> {
    span: Duration,
    most: usize,
    came: u64,
    held: BTreeMap<Place, T>,
    /// In the order in which they came, some of them gone already.
    arrivals: VecDeque<(Duration, Place)>,
}

impl<T> Window<T> {
    /// Holds an entry for `span`, and no more than `most` of them.
    #[must_use]
    pub fn new(span: Duration, most: usize) -> Self {
        Self { span, most, came: 0, held: BTreeMap::new(), arrivals: VecDeque::new() }
    }

    /// Takes in an entry that was written at `micros` and came at `now`, on any clock that only goes forward.
    pub fn put(&mut self, now: Duration, micros: i64, entry: T) {
        let place = (micros, self.came);
        self.came += 1;
        self.held.insert(place, entry);
        self.arrivals.push_back((now, place));
    }

    /// When the next entries are due; nothing while none are held.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        if self.held.is_empty() { None } else { self.arrivals.front().map(|(came, _)| *came + self.span) }
    }

    /// The entries that were held long enough by `now`, with all that were written before them.
    pub fn take(&mut self, now: Duration) -> Vec<T> {
        let mut last: Option<Place> = None;
        while let Some((came, place)) = self.arrivals.front().copied() {
            if came + self.span > now && self.arrivals.len() <= self.most {
                break;
            }
            self.arrivals.pop_front();
            last = last.max(Some(place));
        }
        let Some((micros, came)) = last else { return Vec::new() };
        let rest = self.held.split_off(&(micros, came + 1));
        std::mem::replace(&mut self.held, rest).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn late_ones_find_their_place() {
        let mut window = Window::new(ms(300), 100);
        assert_eq!(window.due(), None);
        window.put(ms(0), 20, "b");
        window.put(ms(100), 10, "a");
        window.put(ms(200), 20, "c");
        window.put(ms(250), 40, "d");
        assert_eq!((window.due(), window.take(ms(299))), (Some(ms(300)), vec![]));
        // "c" came after "b" and was written at the same time: it has a moment of its own.
        assert_eq!(window.take(ms(300)), ["a", "b"]);
        window.put(ms(310), 30, "e");
        assert_eq!(window.take(ms(500)), ["c"]);
        assert_eq!(window.take(ms(550)), ["e", "d"]);
        assert_eq!((window.due(), window.take(ms(10_000))), (None, vec![]));
        // Too late: it comes as it is.
        window.put(ms(600), 1, "f");
        assert_eq!(window.take(ms(900)), ["f"]);
    }

    #[test]
    fn a_host_whose_clock_is_behind_holds_up_nobody() {
        let mut window = Window::new(ms(300), 100);
        let mut told = Vec::new();
        for n in 0..100 {
            window.put(ms(n * 10), 1_000_000 + n as i64, ("right", n * 10));
            window.put(ms(n * 10), n as i64, ("behind", n * 10));
            for (host, came) in window.take(ms(n * 10)) {
                assert!(n * 10 - came <= 300, "{host} waited {} ms", n * 10 - came);
                told.push(host);
            }
        }
        assert!(told.iter().filter(|host| **host == "right").count() >= 69, "{}", told.len());
    }

    #[test]
    fn no_more_than_so_many_are_held() {
        let mut window = Window::new(ms(300), 10);
        let mut told = Vec::new();
        for n in 0..1000 {
            window.put(ms(0), n, n);
            told.extend(window.take(ms(0)));
            assert!(window.held.len() <= 10 && window.arrivals.len() <= 10);
        }
        assert_eq!(told, (0..990).collect::<Vec<_>>());
    }
}
