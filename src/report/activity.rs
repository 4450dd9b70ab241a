//! Which tasks went on when.

use super::{Event, ReportError, Sink, count};
use std::sync::{Arc, Mutex, PoisonError};
use time::{Duration, OffsetDateTime};

/// Remembers a run's tasks, to say afterwards what was being done at some time. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Mutex<Vec<Span>>>);

#[derive(Debug)]
struct Span {
    host: String,
    task: String,
    from: OffsetDateTime,
    /// Not known while it goes on.
    to: Option<OffsetDateTime>,
}

impl Activity {
    /// The task that filled most of the time from `from` to `to`, and its host, or on how many it ran.
    #[must_use]
    pub fn during(&self, from: OffsetDateTime, to: OffsetDateTime) -> Option<String> {
        let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = |span: &Span| span.to.unwrap_or(to).min(to) - span.from.max(from);
        let within: Vec<&Span> = spans.iter().filter(|span| shared(span) > Duration::ZERO).collect();
        // Of equals the first.
        let longest = within.iter().rev().max_by_key(|span| shared(span))?;
        let mut hosts: Vec<&str> = within.iter().filter(|s| s.task == longest.task).map(|s| s.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Some(match hosts[..] {
            [host] => format!("{host} {}", longest.task),
            [..] => format!("{} on {}", longest.task, count(hosts.len(), "host")),
        })
    }
}

impl Sink for Activity {
    fn event(&mut self, at: OffsetDateTime, event: &Event) -> Result<(), ReportError> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::TaskStarted { host, task } => {
                spans.push(Span { host: host.clone(), task: task.clone(), from: at, to: None });
            }
            Event::TaskFinished { host, .. } => {
                let own = spans.iter_mut().filter(|span| span.host == *host && span.to.is_none());
                own.for_each(|span| span.to = Some(at));
            }
            Event::RunStarted { .. }
            | Event::PlayStarted { .. }
            | Event::TaskProgress { .. }
            | Event::HopStarted { .. }
            | Event::HopPending { .. }
            | Event::HostState { .. }
            | Event::ChangePending { .. }
            | Event::TurnPending { .. }
            | Event::Warning { .. }
            | Event::RoundTrip { .. }
            | Event::RoundTrips { .. }
            | Event::Probed { .. }
            | Event::RunFinished { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;
    use time::macros::datetime;

    #[test]
    fn what_went_on_for_most_of_the_time() {
        let at = |ms| datetime!(2026-11-22 10:14:30 UTC) + Duration::milliseconds(ms);
        let mut activity = Activity::default();
        for (ms, begins, host, task) in [
            (0, true, "node01", "stage_release"),
            (0, true, "node02", "stage_release"),
            (100, false, "node01", "stage_release"),
            (110, false, "node02", "stage_release"),
            (120, true, "node02", "activate"),
            (140, false, "node02", "activate"),
            (140, true, "node02", "restart"),
        ] {
            let (host, task) = (host.to_owned(), task.to_owned());
            let event = match begins {
                true => Event::TaskStarted { host, task },
                false => Event::TaskFinished { host, task, outcome: Outcome::Ok, seconds: 0.1 },
            };
            activity.event(at(ms), &event).unwrap();
        }
        for (from, to, want) in [
            (10, 90, Some("stage_release on 2 hosts")),
            (105, 119, Some("node02 stage_release")),
            (111, 119, None),
            (115, 170, Some("node02 restart")),
            (115, 150, Some("node02 activate")),
            (900, 990, Some("node02 restart")),
        ] {
            assert_eq!(activity.during(at(from), at(to)).as_deref(), want, "{from} to {to}");
        }
    }
}
