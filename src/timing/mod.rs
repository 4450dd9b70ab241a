//! How long each round trip took: the rooms that ask machines open spans, and whoever wants to know listens.
//!
//! Without a listener (`--verbose`) a span costs nothing and keeps nothing. A span holds whom was asked, what for
//! in the words of messages, and how many bytes went each way: never a script, its input or an answer.

mod listen;

pub use listen::{Ears, Trip, listen};

use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

/// What marks our spans; those of other crates are not listened to.
const TARGET: &str = "etcd_ha::timing";

/// The name of the spans of parts.
const PART: &str = "part";

/// Something that a machine is asked, from asking to its answer. It is told of once this is dropped.
pub struct RoundTrip(Span);

/// `host` is asked for `what`.
#[must_use]
pub fn round_trip(host: &str, what: &str) -> RoundTrip {
    let span =
        info_span!(target: TARGET, parent: None, "round_trip", host, what, sent = Empty, got = Empty, failed = Empty);
    RoundTrip(span)
}

impl RoundTrip {
    /// Times `work`, and notes whether it fails. What it waits for by [`part`] is told with it.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn of<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let ended = work.instrument(self.0.clone()).await;
        self.0.record("failed", ended.is_err());
        ended
    }

    /// Notes how many bytes were sent along.
    pub fn sent(&self, bytes: u64) {
        self.0.record("sent", bytes);
    }

    /// Notes how many bytes came back.
    pub fn got(&self, bytes: usize) {
        self.0.record("got", bytes);
    }
}

/// Times a part of the round trip under way, `what` being a few words such as `key exchange`. Where none is under
/// way nothing is noted.
pub async fn part<F: Future>(what: &'static str, work: F) -> F::Output {
    work.instrument(info_span!(target: TARGET, PART, what)).await
}
