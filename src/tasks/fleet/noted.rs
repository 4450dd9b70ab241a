//! What a run notes on the hosts that it changes, and what is found noted there.

use super::Fleet;
use crate::error::{Error, ExitStatus};
use crate::host::{Connection, Script};
use crate::inventory::Host;
use crate::report::Event;
use crate::tasks::TaskError;
use crate::tasks::host_log::{Note, append, file, read, tail};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// How long it may take at the end of a run to note that it has ended.
const LIMIT: Duration = Duration::from_secs(10);

impl Fleet {
    fn noted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes on a host, once, that this run begins to change something there. A host that cannot take the note is
    /// changed all the same.
    ///
    /// # Errors
    /// The run has lost its lock there.
    pub async fn note_begin(&self, host: &Host, connection: &Connection) -> Result<(), TaskError> {
        let Some(run) = &self.options.run else { return Ok(()) };
        if !self.noted().insert(host.name.clone()) {
            return Ok(());
        }
        let note = Note::begins(run, &self.inventory.version.to_string(), OffsetDateTime::now_utc());
        if let Err(error) = self.append(connection, &note).await {
            if error.is_of_lock() {
                return Err(error);
            }
            let why = Error::from(error).line();
            let message = format!("this run cannot be noted in `{}`: {why}", file(&self.inventory.cluster));
            self.reporter.emit(Event::Warning { host: Some(host.name.clone()), message });
        }
        Ok(())
    }

    /// Notes on every host that this run has changed that it has ended; `failure` says what failed on a host, if
    /// anything did.
    pub async fn note_end(&self, exit: ExitStatus, failure: impl Fn(&str) -> Option<(ExitStatus, String)>) {
        let Some(run) = &self.options.run else { return };
        let noted = self.noted().clone();
        let hosts = self.inventory.hosts.iter().filter(|host| noted.contains(&host.name));
        let notes = hosts.map(|host| {
            let (exit, failure) = failure(&host.name).map_or((exit, None), |(exit, why)| (exit, Some(why)));
            let now = OffsetDateTime::now_utc();
            let note = Note::begins(run, &self.inventory.version.to_string(), now).ends(now, exit, failure.as_deref());
            async move {
                // Without it the run is seen there as one that has no end.
                if let Ok(connection) = self.connection(host).await {
                    let _ = self.append(&connection, &note).await;
                }
            }
        });
        let _ = tokio::time::timeout(LIMIT, join_all(notes)).await;
    }

    async fn append(&self, connection: &Connection, note: &Note) -> Result<(), TaskError> {
        let text = append(&file(&self.inventory.cluster), note);
        connection.run(Script::new("note the run", &text).silent_for(LIMIT)).await?;
        Ok(())
    }

    /// What is noted on a host of runs that changed something there, the oldest first.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub async fn notes(&self, host: &Host) -> Result<Vec<Note>, TaskError> {
        let text = tail(&file(&self.inventory.cluster));
        let answer = self.connection(host).await?.run(Script::look("read what is noted of runs", &text)).await?;
        Ok(read(&answer))
    }
}
