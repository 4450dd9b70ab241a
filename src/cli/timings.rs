//! `--verbose`: every round trip is told of, and all are summed up in the end.

use super::Context;
use crate::inventory::Inventory;
use crate::report::{Event, Reporter, TripPart, TripTally};
use crate::timing::{Ears, Trip, listen};
use std::sync::Arc;

/// Who listens for round trips, if anybody does.
pub(super) struct Timings(Option<(Ears, Arc<TripTally>)>);

impl Timings {
    /// Tells `reporter` of every round trip, if the user wants to know.
    pub fn new(context: &Context, reporter: &Reporter) -> Self {
        Self(context.global.verbose.then(|| {
            let tally = Arc::<TripTally>::default();
            let (reporter, sum) = (reporter.clone(), tally.clone());
            let ears = listen(move |trip| {
                let event = event(trip);
                sum.note(&event);
                reporter.emit(event);
            });
            (ears, tally)
        }))
    }

    /// Nobody listens.
    pub const fn none() -> Self {
        Self(None)
    }

    /// What has round trips heard.
    pub fn ears(&self) -> Option<&Ears> {
        self.0.as_ref().map(|(ears, _)| ears)
    }

    /// Tells of all round trips together.
    pub fn sum_up(&self, reporter: &Reporter, inventory: &Inventory) {
        let names: Vec<&str> = inventory.hosts.iter().map(|host| host.name.as_str()).collect();
        if let Some(summary) = self.0.as_ref().and_then(|(_, tally)| tally.summary(&names)) {
            reporter.emit(summary);
        }
    }
}

fn event(trip: Trip) -> Event {
    let Trip { host, what, took, parts, sent, got, failed } = trip;
    let parts = parts.into_iter().map(|(what, took)| TripPart::new(what, took.as_secs_f64())).collect();
    Event::RoundTrip { host, what, seconds: took.as_secs_f64(), parts, sent, got, failed }
}
