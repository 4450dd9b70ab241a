//! The way from the engine to the sinks.

use super::{Event, ReportError};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// How often sinks may draw what changes with time alone.
const TICK: Duration = Duration::from_millis(100);

/// How long a flush waits at most.
const FLUSH: Duration = Duration::from_secs(2);

/// With so many events waiting, as behind a stopped terminal, progress is dropped.
const CROWDED: usize = 1024;

/// Something that shows or keeps events. A sink lives on the reporter's thread.
pub trait Sink: Send {
    /// Takes an event that happened `at`.
    ///
    /// # Errors
    ///
    /// If it cannot be shown or kept. The sink is then left out for the rest of the run, and the
    /// other sinks are told by a warning.
    fn event(&mut self, at: OffsetDateTime, event: &Event) -> Result<(), ReportError>;

    /// Time goes by: ten times a second.
    ///
    /// # Errors
    ///
    /// As with [`Sink::event`].
    fn tick(&mut self, _now: OffsetDateTime) -> Result<(), ReportError> {
        Ok(())
    }

    /// Nothing is told until the next call, since somebody is asked on the terminal: what moves there goes away.
    fn hold(&mut self) {}

    /// The last call: what is held back is written, the screen is tidied.
    fn finish(&mut self) {}
}

enum Message {
    Event(OffsetDateTime, Box<Event>),
    Flush(Sender<()>),
    /// The sinks are still until the other end of the second channel goes.
    Hold(Sender<()>, Receiver<Infallible>),
    Finish,
}

/// The sinks are still as long as this is there; what is emitted meanwhile comes later.
#[derive(Debug)]
pub struct Hold {
    _held: Sender<Infallible>,
}

/// Hands events to the sinks, in order, from a thread of its own: a slow or stopped terminal holds
/// up neither the run nor another sink's truth. Cheap to clone; the last clone to go finishes it.
///
/// Nothing that a sink meets ends the run: a closed pipe is no error, any other failure a warning
/// on the sinks that are left.
#[derive(Debug, Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Not there where nobody listens.
    messages: Option<Sender<Message>>,
    waiting: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reporter {
    /// A reporter to `sinks`, which get every event in this order.
    #[must_use]
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        let (messages, inbox) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        // Where no thread can be had, the run goes on unseen; the exit code still tells.
        let thread = if sinks.is_empty() {
            None
        } else {
            Builder::new().name("report".to_string()).spawn(move || serve(&inbox, &left, Sinks::new(sinks))).ok()
        };
        let messages = thread.is_some().then_some(messages);
        Self { shared: Arc::new(Shared { messages, waiting, thread: Mutex::new(thread) }) }
    }

    /// Tells the sinks. Never waits and never fails; what comes after
    /// [`Event::RunFinished`] is left out.
    pub fn emit(&self, event: Event) {
        let shared = &self.shared;
        let Some(messages) = &shared.messages else { return };
        let progress = matches!(event, Event::TaskProgress { .. });
        if progress && shared.waiting.load(Ordering::Relaxed) > CROWDED {
            return;
        }
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        let message = Message::Event(OffsetDateTime::now_utc(), Box::new(event));
        // Only fails after the end, when nobody looks any more.
        let _ = messages.send(message);
    }

    /// Waits until all that was emitted so far is shown, for a moment at most: a stopped terminal holds
    /// nobody up.
    pub fn flush(&self) {
        let Some(messages) = &self.shared.messages else { return };
        let (done, flushed) = channel();
        if messages.send(Message::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(FLUSH);
        }
    }

    /// Lets the sinks be still, so that somebody can be asked on the terminal. Comes back once all that was emitted so
    /// far is shown, or after a moment. Drop it before [`Reporter::finish`], which waits for it.
    #[must_use]
    pub fn hold(&self) -> Hold {
        let (held, until) = channel();
        if let Some(messages) = &self.shared.messages {
            let (done, still) = channel();
            if messages.send(Message::Hold(done, until)).is_ok() {
                let _ = still.recv_timeout(FLUSH);
            }
        }
        Hold { _held: held }
    }

    /// Waits until all that was emitted is shown and the sinks are finished. After it the streams
    /// belong to [`super::Output`] again.
    pub fn finish(&self) {
        self.shared.finish();
    }
}

impl Shared {
    fn finish(&self) {
        let Some(messages) = &self.messages else { return };
        let _ = messages.send(Message::Finish);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A sink that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.finish();
    }
}

fn serve(inbox: &Receiver<Message>, waiting: &AtomicUsize, mut sinks: Sinks) {
    let mut next = Instant::now() + TICK;
    loop {
        match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Message::Event(at, event)) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                sinks.event(at, &event);
            }
            // Whoever waits for it may have left.
            Ok(Message::Flush(done)) => _ = done.send(()),
            Ok(Message::Hold(done, until)) => {
                sinks.hold();
                let _ = done.send(());
                let _ = until.recv();
            }
            Ok(Message::Finish) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= next {
            sinks.tick(OffsetDateTime::now_utc());
            next = Instant::now() + TICK;
        }
    }
    sinks.finish();
}

/// The sinks that still work.
struct Sinks {
    sinks: Vec<Option<Box<dyn Sink>>>,
    ended: bool,
}

impl Sinks {
    fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { sinks: sinks.into_iter().map(Some).collect(), ended: false }
    }

    fn event(&mut self, at: OffsetDateTime, event: &Event) {
        if self.ended {
            return;
        }
        self.ended = matches!(event, Event::RunFinished { .. });
        // A failure is told to the sinks after the failed one before the event itself, so that
        // even the last event of a run stays the last.
        for index in 0..self.sinks.len() {
            if let Some(warning) = self.call(index, |sink| sink.event(at, event)) {
                let first = if self.ended { index + 1 } else { 0 };
                self.warn(at, warning, first);
            }
        }
    }

    fn tick(&mut self, now: OffsetDateTime) {
        if self.ended {
            return;
        }
        for index in 0..self.sinks.len() {
            if let Some(warning) = self.call(index, |sink| sink.tick(now)) {
                self.warn(now, warning, 0);
            }
        }
    }

    fn hold(&mut self) {
        self.sinks.iter_mut().flatten().for_each(|sink| sink.hold());
    }

    fn finish(&mut self) {
        self.sinks.iter_mut().flatten().for_each(|sink| sink.finish());
    }

    /// Lets a sink do something; takes it out and says why if it cannot.
    fn call(&mut self, index: usize, work: impl FnOnce(&mut dyn Sink) -> Result<(), ReportError>) -> Option<Event> {
        let slot = self.sinks.get_mut(index)?;
        let error = work(slot.as_mut()?.as_mut()).err()?;
        *slot = None;
        Some(error.into())
    }

    /// Tells the sinks from `first` on; whichever fails at that goes, too, without another word.
    fn warn(&mut self, at: OffsetDateTime, warning: Event, first: usize) {
        for index in first..self.sinks.len() {
            let _ = self.call(index, |sink| sink.event(at, &warning));
        }
    }
}
