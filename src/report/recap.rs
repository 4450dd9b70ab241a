//! Counts what happened on each host.

use super::{Event, HostRecap, Outcome};

/// Is fed the events of a run and says what happened on each host: those of the run in inventory
/// order, then others (`controller`) in the order in which they first ended a task.
///
/// A skipped task counts nowhere; only its time does.
#[derive(Debug, Clone, Default)]
pub struct Recap {
    hosts: Vec<HostRecap>,
}

impl Recap {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an event into account.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::RunStarted { hosts, .. } => {
                for host in hosts {
                    self.host(host);
                }
            }
            Event::TaskFinished { host, outcome, seconds, .. } => {
                let recap = self.host(host);
                recap.seconds += seconds;
                match outcome {
                    Outcome::Ok => recap.ok += 1,
                    Outcome::Changed { .. } => recap.changed += 1,
                    Outcome::Failed { .. } => recap.failed += 1,
                    Outcome::Skipped { .. } => {}
                }
            }
            Event::PlayStarted { .. }
            | Event::TaskStarted { .. }
            | Event::TaskProgress { .. }
            | Event::HopStarted { .. }
            | Event::HopPending { .. }
            | Event::ChangePending { .. }
            | Event::TurnPending { .. }
            | Event::HostState { .. }
            | Event::Warning { .. }
            | Event::RoundTrip { .. }
            | Event::RoundTrips { .. }
            | Event::Probed { .. }
            | Event::RunFinished { .. } => {}
        }
    }

    /// Takes what another pass over the same hosts counted into account.
    pub fn add(&mut self, other: &Self) {
        for more in &other.hosts {
            let recap = self.host(&more.host);
            recap.ok += more.ok;
            recap.changed += more.changed;
            recap.failed += more.failed;
            recap.seconds += more.seconds;
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostRecap> {
        self.hosts.clone()
    }

    fn host(&mut self, host: &str) -> &mut HostRecap {
        let known = self.hosts.iter().position(|recap| recap.host == host);
        let index = known.unwrap_or_else(|| {
            self.hosts.push(HostRecap { host: host.to_string(), ok: 0, changed: 0, failed: 0, seconds: 0.0 });
            self.hosts.len() - 1
        });
        &mut self.hosts[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(host: &str, outcome: Outcome) -> Event {
        Event::TaskFinished { host: host.into(), task: "start".into(), outcome, seconds: 0.5 }
    }

    #[test]
    fn counts_in_inventory_order_whoever_ends_first() {
        let changed = Outcome::Changed { changes: vec!["a".into(), "b".into()] };
        let skipped = Outcome::Skipped { reason: "not its turn".into() };
        let failed = Outcome::Failed { error: "no".into(), hint: None };
        let mut recap = Recap::new();
        recap.note(&Event::RunStarted {
            command: "deploy".into(),
            cluster: "prod".into(),
            hosts: vec!["b".into(), "a".into(), "idle".into()],
            by: None,
        });
        for event in [
            finished("controller", Outcome::Ok),
            finished("a", Outcome::Ok),
            finished("b", changed),
            finished("a", skipped),
            finished("b", failed),
            finished("a", Outcome::Ok),
        ] {
            recap.note(&event);
        }
        let counted: Vec<_> =
            recap.hosts().into_iter().map(|h| (h.host, h.ok, h.changed, h.failed, h.seconds)).collect();
        let row = |host: &str, ok, changed, failed, seconds| (host.to_string(), ok, changed, failed, seconds);
        assert_eq!(
            counted,
            [
                row("b", 0, 1, 1, 1.0),
                row("a", 2, 0, 0, 1.5),
                row("idle", 0, 0, 0, 0.0),
                row("controller", 1, 0, 0, 0.5),
            ]
        );
        let mut other = Recap::new();
        other.note(&finished("a", Outcome::Ok));
        other.note(&finished("new", Outcome::Ok));
        recap.add(&other);
        let counted: Vec<_> = recap.hosts().into_iter().map(|h| (h.host, h.ok, h.changed)).collect();
        let row = |host: &str, ok, changed| (host.to_string(), ok, changed);
        let want = [row("b", 0, 1), row("a", 3, 0), row("idle", 0, 0), row("controller", 1, 0), row("new", 1, 0)];
        assert_eq!(counted, want);
    }
}
