//! What a run tells while it goes on, and what it keeps of that for its end.

use super::failure::Failure;
use super::pending::Plan;
use crate::report::{Event, Outcome, Recap, Reporter};
use crate::tasks::{Change, TaskError};
use std::cell::RefCell;
use tokio::time::Instant;

/// Tells what happens, and counts it.
pub(super) struct Record<'a> {
    reporter: &'a Reporter,
    dry: bool,
    pub plan: RefCell<Plan>,
    pub recap: RefCell<Recap>,
    warned: RefCell<Vec<(String, String)>>,
}

impl<'a> Record<'a> {
    pub fn new(reporter: &'a Reporter, dry: bool) -> Self {
        Self { reporter, dry, plan: RefCell::default(), recap: RefCell::default(), warned: RefCell::default() }
    }

    pub fn started(&self, host: &str, task: &str) -> Instant {
        self.reporter.emit(Event::TaskStarted { host: host.to_owned(), task: task.to_owned() });
        Instant::now()
    }

    pub fn finished(&self, host: &str, task: &str, begun: Instant, result: Result<&[Change], &TaskError>) {
        let outcome = match result {
            Ok([]) => Outcome::Ok,
            Ok(changes) => Outcome::Changed { changes: changes.iter().map(|change| change.summary.clone()).collect() },
            Err(error) => {
                Outcome::Failed { error: crate::error::line(error), hint: crate::error::Explain::hint(error) }
            }
        };
        let event = Event::TaskFinished {
            host: host.to_owned(),
            task: task.to_owned(),
            outcome,
            seconds: begun.elapsed().as_secs_f64(),
        };
        self.recap.borrow_mut().note(&event);
        // A dry run changes nothing, so there is nothing to tell but what fails; the plan says the rest.
        if !self.dry || result.is_err() {
            self.reporter.emit(event);
        }
    }

    /// Tells of a failure that is no task's own.
    pub fn failed(&self, host: &str, task: &str, error: TaskError) -> Failure {
        self.finished(host, task, Instant::now(), Err(&error));
        Failure { host: host.to_owned(), task: task.to_owned(), source: error }
    }

    pub fn warn(&self, host: &str, messages: Vec<String>) {
        for message in messages {
            let said = (host.to_owned(), message);
            let mut warned = self.warned.borrow_mut();
            if !warned.contains(&said) {
                self.reporter.emit(Event::Warning { host: Some(said.0.clone()), message: said.1.clone() });
                warned.push(said);
            }
        }
    }

    pub fn pending(&self, host: &str, task: &str, changes: &[Change]) {
        self.plan.borrow_mut().add(host, task, changes.to_vec());
    }

    pub fn progress(&self, host: &str, task: &str, message: &str) {
        self.reporter.emit(Event::TaskProgress {
            host: host.to_owned(),
            task: task.to_owned(),
            message: message.to_owned(),
            done: None,
            total: None,
        });
    }
}
