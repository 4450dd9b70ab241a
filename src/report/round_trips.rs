//! Round trips in words, one by one and summed up (`--verbose`).

use super::human::{count, human_bytes, human_span};
use super::text::{one_line, pad, pad_left, width};
use super::{Event, HostTrips, TripPart};
use std::sync::{Mutex, PoisonError};

/// What takes less is not worth a word within a round trip.
const SHORTEST: f64 = 0.0005;

/// What is said of one round trip: `look at the host  34 ms (waiting for a turn 21 ms; 1.2 KiB sent)`.
pub(super) fn trip(event: &Event) -> Option<String> {
    let Event::RoundTrip { what, seconds, parts, sent, got, failed, .. } = event else { return None };
    let told = parts.iter().filter(|part| part.seconds >= SHORTEST);
    let parts = told.map(|part| format!("{} {}", one_line(&part.what), human_span(part.seconds))).collect::<Vec<_>>();
    let moved = [(sent, "sent"), (got, "received")].into_iter().filter(|(bytes, _)| **bytes > 0);
    let moved = moved.map(|(bytes, way)| format!("{} {way}", human_bytes(*bytes))).collect::<Vec<_>>();
    let within = [parts.join(", "), moved.join(", ")].into_iter().filter(|some| !some.is_empty()).collect::<Vec<_>>();
    let within = if within.is_empty() { String::new() } else { format!(" ({})", within.join("; ")) };
    let failed = if *failed { ", failed" } else { "" };
    Some(format!("{}  {}{failed}{within}", one_line(what), human_span(*seconds)))
}

/// A row a host: `node01   12 round trips   0.4 s   slowest 210 ms: look at the host`.
pub(super) fn rows(hosts: &[HostTrips]) -> Vec<String> {
    let cells: Vec<[String; 3]> = hosts
        .iter()
        .map(|host| [one_line(&host.host), count(host.round_trips, "round trip"), human_span(host.seconds)])
        .collect();
    let widest = |cell: usize| cells.iter().map(|row| width(&row[cell])).max().unwrap_or_default();
    let (name, trips, total) = (widest(0), widest(1), widest(2));
    let row = |(host, [of, many, took]): (&HostTrips, &[String; 3])| {
        let slowest = format!("slowest {}: {}", human_span(host.slowest_seconds), one_line(&host.slowest));
        format!("{}   {}   {}   {slowest}", pad(of, name), pad_left(many, trips), pad_left(took, total))
    };
    hosts.iter().zip(&cells).map(row).collect()
}

/// Sums round trips up, host by host.
#[derive(Debug, Default)]
pub struct TripTally(Mutex<Vec<HostTrips>>);

impl TripTally {
    /// Counts a round trip; other events are let pass.
    pub fn note(&self, event: &Event) {
        let Event::RoundTrip { host, what, seconds, .. } = event else { return };
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = hosts.iter().position(|known| known.host == *host).unwrap_or_else(|| {
            hosts.push(HostTrips { host: host.clone(), ..HostTrips::default() });
            hosts.len() - 1
        });
        let sum = &mut hosts[place];
        sum.round_trips += 1;
        sum.seconds += seconds;
        if *seconds >= sum.slowest_seconds {
            (sum.slowest_seconds, sum.slowest) = (*seconds, what.clone());
        }
    }

    /// The event that tells of all so far, in the order of `names`, then the others; nothing where none was made.
    #[must_use]
    pub fn summary(&self, names: &[&str]) -> Option<Event> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        hosts.sort_by_key(|host| names.iter().position(|name| *name == host.host).unwrap_or(names.len()));
        (!hosts.is_empty()).then_some(Event::RoundTrips { hosts })
    }
}

impl TripPart {
    /// A part of this name that took so long.
    #[must_use]
    pub fn new(what: impl Into<String>, seconds: f64) -> Self {
        Self { what: what.into(), seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(host: &str, what: &str, seconds: f64) -> Event {
        Event::RoundTrip {
            host: host.into(),
            what: what.into(),
            seconds,
            parts: Vec::new(),
            sent: 0,
            got: 0,
            failed: false,
        }
    }

    #[test]
    fn one_round_trip() {
        let parts = |parts: &[(&str, f64)]| parts.iter().map(|(what, took)| TripPart::new(*what, *took)).collect();
        for (taken, sent, got, failed, told) in [
            (parts(&[]), 0, 0, false, "look  34 ms"),
            (
                parts(&[("waiting for a turn", 0.021)]),
                0,
                3072,
                false,
                "look  34 ms (waiting for a turn 21 ms; 3.0 KiB received)",
            ),
            (
                parts(&[("TCP", 0.0004), ("log-in", 0.03)]),
                12,
                3,
                true,
                "look  34 ms, failed (log-in 30 ms; 12 B sent, 3 B received)",
            ),
        ] {
            let event = Event::RoundTrip {
                host: "node01".into(),
                what: "look".into(),
                seconds: 0.034,
                parts: taken,
                sent,
                got,
                failed,
            };
            assert_eq!(trip(&event).unwrap(), told);
        }
    }

    #[test]
    fn summed_up_in_the_inventory_s_order() {
        let tally = TripTally::default();
        assert_eq!(tally.summary(&[]), None);
        for event in [
            made("node02", "connect", 0.2),
            made("bastion", "connect", 1.5),
            made("node01", "look at the host", 0.03),
            made("node02", "status", 0.004),
            Event::TaskStarted { host: "node01".into(), task: "preflight".into() },
        ] {
            tally.note(&event);
        }
        let Some(Event::RoundTrips { hosts }) = tally.summary(&["node01", "node02"]) else { panic!() };
        let told = "\
node01    1 round trip     30 ms   slowest 30 ms: look at the host
node02    2 round trips   204 ms   slowest 200 ms: connect
bastion   1 round trip     1.5 s   slowest 1.5 s: connect";
        let rows = rows(&hosts).join("\n");
        assert_eq!(rows, told.replace("1 round trip  ", " 1 round trip "), "{rows}");
    }
}
