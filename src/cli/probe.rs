//! `--probe`: a client writes during the run, and it is told what it saw.

use crate::report::{Activity, Event, Reporter};
use crate::tasks::{Fleet, Writer};
use std::sync::Arc;
use std::time::Instant;
use time::OffsetDateTime;

/// A writer, and what it takes to say what was being done when it had to wait.
pub(super) struct Probe {
    writer: Writer,
    activity: Activity,
}

impl Probe {
    pub(super) fn start(fleet: Arc<Fleet>, activity: Activity) -> Self {
        Self { writer: Writer::start(fleet), activity }
    }

    /// Stops it and tells of it.
    pub(super) async fn end(self, reporter: &Reporter) {
        let (begun, now) = (Instant::now(), OffsetDateTime::now_utc());
        let event = match self.writer.stop().await {
            None => {
                Event::Probed { writes: 0, failed: 0, retried: 0, longest_gap: 0.0, during: None, leader_changes: 0 }
            }
            Some(tally) => {
                let clock = |instant| now - begun.saturating_duration_since(instant);
                Event::Probed {
                    writes: tally.writes,
                    failed: tally.failed,
                    retried: tally.retried,
                    longest_gap: tally.longest_gap().as_secs_f64(),
                    during: self.activity.during(clock(tally.longest.0), clock(tally.longest.1)),
                    leader_changes: tally.leader_changes,
                }
            }
        };
        reporter.emit(event);
    }
}
