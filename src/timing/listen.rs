//! Hearing of round trips.

use super::{PART, TARGET};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// A round trip that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trip {
    /// Who was asked, by its name in the inventory; jump hosts by theirs.
    pub host: String,
    /// What for.
    pub what: String,
    /// From asking to the answer.
    pub took: Duration,
    /// What some of that time went into, in the order in which it ended.
    pub parts: Vec<(String, Duration)>,
    /// Bytes sent along, if any were.
    pub sent: u64,
    /// Bytes that came back, if they were counted.
    pub got: u64,
    /// Whether it came to nothing: it failed, or was given up.
    pub failed: bool,
}

/// What has round trips heard, for the threads that are to be listened to.
#[derive(Clone)]
pub struct Ears(Dispatch);

impl Ears {
    /// Has all that this thread does from now on listened to, until it ends.
    pub fn open(&self) {
        // The guard would end it; threads that are of a run end with it.
        std::mem::forget(tracing::dispatcher::set_default(&self.0));
    }

    /// Has listened to what `work` does on this thread.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.0, work)
    }
}

/// Has `told` called with every round trip that ends.
pub fn listen(told: impl Fn(Trip) + Send + Sync + 'static) -> Ears {
    Ears(Dispatch::new(Registry::default().with(Listener { told: Arc::new(told) })))
}

struct Listener {
    told: Arc<dyn Fn(Trip) + Send + Sync>,
}

/// A span under way.
struct Begun {
    at: Instant,
    /// Whether it is a part of a round trip.
    part: bool,
    trip: Trip,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == TARGET
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // Until it is known to have gone well; a future that is dropped says nothing any more.
        let mut trip = Trip { failed: true, ..Trip::default() };
        attributes.record(&mut Fields(&mut trip));
        let part = attributes.metadata().name() == PART;
        span.extensions_mut().insert(Begun { at: Instant::now(), part, trip });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(begun) = span.extensions_mut().get_mut::<Begun>() {
            values.record(&mut Fields(&mut begun.trip));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Begun { at, part, mut trip }) = span.extensions_mut().remove::<Begun>() else { return };
        let took = at.elapsed();
        if !part {
            trip.took = took;
            (self.told)(trip);
            return;
        }
        let Some(whole) = span.parent() else { return };
        if let Some(whole) = whole.extensions_mut().get_mut::<Begun>() {
            match whole.trip.parts.iter_mut().find(|(other, _)| *other == trip.what) {
                Some((_, before)) => *before += took,
                None => whole.trip.parts.push((trip.what, took)),
            }
        }
    }
}

/// Takes a span's fields over.
struct Fields<'a>(&'a mut Trip);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "host" => value.clone_into(&mut self.0.host),
            "what" => value.clone_into(&mut self.0.what),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "sent" => self.0.sent = value,
            "got" => self.0.got = value,
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "failed" {
            self.0.failed = value;
        }
    }

    /// None of ours are of any other type.
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::super::{part, round_trip};
    use super::{Trip, listen};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    fn heard(work: impl Future<Output = ()>) -> Vec<Trip> {
        let trips = Arc::new(Mutex::new(Vec::new()));
        let told = trips.clone();
        let ears = listen(move |trip| told.lock().unwrap().push(trip));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        ears.during(|| runtime.block_on(work));
        std::mem::take(&mut *trips.lock().unwrap())
    }

    #[test]
    fn a_round_trip_is_told_of_with_its_parts() {
        let trips = heard(async {
            let trip = round_trip("node01", "look at the host");
            trip.sent(12);
            let ended = trip.of(async {
                for _ in 0..2 {
                    part("waiting for a turn", async { std::thread::sleep(Duration::from_millis(3)) }).await;
                }
                part("reading", async {}).await;
                // Its own, although it is asked meanwhile.
                let other = round_trip("bastion", "connect");
                other.of(async { Err::<(), ()>(()) }).await.unwrap_err();
                Ok::<_, ()>(7)
            });
            assert_eq!(ended.await, Ok(7));
            trip.got(34);
        });
        let [bastion, node01] = &trips[..] else { panic!("{trips:?}") };
        assert_eq!((bastion.host.as_str(), bastion.what.as_str(), bastion.failed), ("bastion", "connect", true));
        assert_eq!((node01.host.as_str(), node01.what.as_str(), node01.failed), ("node01", "look at the host", false));
        assert_eq!((node01.sent, node01.got), (12, 34));
        let parts: Vec<&str> = node01.parts.iter().map(|(what, _)| what.as_str()).collect();
        assert_eq!(parts, ["waiting for a turn", "reading"]);
        assert!(node01.parts[0].1 >= Duration::from_millis(6) && node01.took >= node01.parts[0].1, "{node01:?}");
    }

    #[test]
    fn what_is_given_up_has_failed() {
        let trips = heard(async {
            let trip = round_trip("node01", "status");
            let asked = trip.of(std::future::pending::<Result<(), ()>>());
            tokio::time::timeout(Duration::from_secs(1), asked).await.unwrap_err();
        });
        assert!(trips.len() == 1 && trips[0].failed, "{trips:?}");
    }

    #[test]
    fn what_others_say_is_not_heard() {
        let trips = heard(async {
            tracing::info_span!("round_trip", host = "node01", what = "secret").in_scope(|| {
                tracing::info!("secret");
            });
            part("of nothing", async {}).await;
        });
        assert_eq!(trips, []);
    }
}
