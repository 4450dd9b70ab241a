//! Following: what is written while somebody looks, from whichever host it comes.

use super::{Reached, Reading, UNIT};
use crate::diagnosis::logs::{Told, Window};
use crate::error;
use crate::host::{Begin, Connection, Entry, HostError, PATIENCE, Part};
use crate::inventory::Host;
use crate::report::Output;
use crate::tasks::{Fleet, TaskError};
use futures::future::{join_all, select};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// How long an entry is held for older ones of other hosts, and how many are.
const SPAN: Duration = Duration::from_millis(300);
const MOST: usize = 4096;
/// How long is waited before a host that was lost is tried again, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

impl Reading<'_> {
    /// Shows what is written behind what was reached, until nobody reads it any more.
    pub(super) async fn follow(&mut self, part: &Part, reached: Vec<Reached>) {
        let (sender, mut entries) = mpsc::channel(64);
        let (fleet, output) = (self.fleet, self.output);
        let followed = self.hosts.iter().zip(reached).enumerate().filter(|(_, (_, reached))| reached.is_there());
        let readers = followed.map(|(number, (host, reached))| {
            let following = Following { fleet, host, output, number, sender: sender.clone() };
            following.run(part, reached.cursor)
        });
        let readers = join_all(readers);
        let begun = Instant::now();
        let paper = &mut self.paper;
        let shown = async move {
            let mut window = Window::new(SPAN, MOST);
            loop {
                let due = window.due().map(|due| begun + due);
                let came = tokio::select! {
                    came = entries.recv() => came,
                    () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
                };
                if let Some((host, entry)) = came {
                    window.put(begun.elapsed(), entry.micros, Told::new(host, entry));
                }
                for told in window.take(begun.elapsed()) {
                    if !paper.put(&told).await {
                        return;
                    }
                }
            }
        };
        select(pin!(readers), pin!(shown)).await;
    }
}

/// A host whose journal is followed.
struct Following<'a> {
    fleet: &'a Fleet,
    host: &'a Host,
    output: &'a Output,
    number: usize,
    sender: mpsc::Sender<(usize, Entry)>,
}

impl Following<'_> {
    /// Follows, and begins again behind the last entry whenever the host is lost.
    async fn run(self, part: &Part, mut cursor: Option<String>) {
        let name = &self.host.name;
        let (mut pause, mut lost) = (PAUSE, false);
        let mut connection = self.fleet.connection(self.host).await;
        loop {
            let before = cursor.clone();
            let ended: Result<(), TaskError> = match connection {
                Ok(connection) => self.once(&connection, part, &mut cursor, &mut lost).await.map_err(TaskError::from),
                Err(error) => Err(error),
            };
            if self.sender.is_closed() {
                return;
            }
            if cursor != before {
                pause = PAUSE;
            }
            let why = match &ended {
                Ok(()) => format!("host `{name}`: `journalctl` ended"),
                Err(error) => error::line(error),
            };
            if let Err(TaskError::Host(error)) = &ended
                && matches!(**error, HostError::Privilege { .. })
            {
                self.output.err(&format!("error: {why}\n"));
                return;
            }
            // Once for all tries that follow.
            if !lost {
                self.output.err(&format!("warning: {why}; it is tried again\n"));
                lost = true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let options = &self.fleet.options;
            let opened = Connection::open(&options.connector, self.host, options.become_password.clone()).await;
            connection = opened.map_err(TaskError::from);
        }
    }

    async fn once(
        &self,
        connection: &Connection,
        part: &Part,
        cursor: &mut Option<String>,
        lost: &mut bool,
    ) -> Result<(), HostError> {
        let begin = cursor.clone().map_or_else(|| part.begin.clone(), Begin::After);
        let part = Part { begin, until: None, last: None, follow: true };
        let mut journal = connection.journal(UNIT, &part, PATIENCE).await?;
        if std::mem::take(lost) {
            self.output.err(&format!("host `{}` is there again\n", self.host.name));
        }
        while let Some(entry) = journal.next().await? {
            *cursor = Some(entry.cursor.clone());
            if self.sender.send((self.number, entry)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
