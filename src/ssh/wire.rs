//! The TCP connection beneath a session, watched.
//!
//! The SSH library sends keepalives only while it is not sending anything else, so that an upload
//! over a link that was cut would hang until TCP itself gives up, a quarter of an hour later. And it
//! leaves a connection in the middle of a key exchange to itself when nobody waits for it any more.
//! This layer ends both. It also tells how much has left, so that an upload can keep its pace instead
//! of piling up in memory.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::error::paints;

/// How much of the other side's first words is kept.
const OPENING: usize = 512;

/// What is seen of a connection from outside, and the way to end it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    opening: Mutex<Vec<u8>>,
    written: AtomicU64,
    wrote: Notify,
}

impl Watch {
    /// Ends the connection: reads see its end, writes fail.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }

    /// How many bytes TCP has taken from us.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// Waits until TCP has taken `count` bytes from us.
    pub(super) async fn until_written(&self, count: u64) {
        loop {
            let wrote = self.wrote.notified();
            tokio::pin!(wrote);
            wrote.as_mut().enable();
            if self.written() >= count {
                return;
            }
            wrote.await;
        }
    }

    /// Whether the other side has introduced itself as SSH (RFC 4253, 4.2).
    pub(super) fn speaks_ssh(&self) -> bool {
        self.lines().iter().any(|line| line.starts_with("SSH-"))
    }

    /// What the other side said that was not SSH: its first line, made fit for a terminal.
    pub(super) fn words(&self) -> Option<String> {
        self.lines().into_iter().find(|line| !line.starts_with("SSH-") && !line.is_empty())
    }

    fn lines(&self) -> Vec<String> {
        let opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&opening);
        // What follows the identification line is binary.
        let end = text.find("SSH-").map_or(text.len(), |at| text[at..].find('\n').map_or(text.len(), |n| at + n));
        text[..end].lines().map(printable).collect()
    }
}

/// `text` without what could paint a terminal (control characters, and those that turn the direction of writing or
/// cannot be seen), and not longer than a line.
pub(super) fn printable(text: &str) -> String {
    text.trim().chars().map(|c| if paints(c) { ' ' } else { c }).take(200).collect()
}

/// A stream under watch.
pub(super) struct Wire<S> {
    stream: S,
    watch: Arc<Watch>,
    /// How long a write may be stuck.
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
    listening: bool,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>, patience: Duration) -> Self {
        Self { stream, watch, patience, stuck: None, listening: true }
    }

    fn note_opening(&mut self, read: &[u8]) {
        let mut opening = self.watch.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let room = OPENING - opening.len();
        opening.extend_from_slice(&read[..read.len().min(room)]);
        self.listening = opening.len() < OPENING;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.watch.reader.register(cx.waker());
        if self.watch.cut.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.listening && polled.is_ready() {
            self.note_opening(&buf.filled()[before..]);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.watch.writer.register(cx.waker());
        if self.watch.cut.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if polled.is_ready() {
            self.stuck = None;
            if let Poll::Ready(Ok(count)) = polled {
                self.watch.written.fetch_add(count as u64, Ordering::SeqCst);
                self.watch.wrote.notify_waiters();
            }
            return polled;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        if stuck.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{Watch, Wire};

    #[tokio::test]
    async fn tells_what_was_said_before_ssh() {
        for (said, ssh, words) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n\x00\x00\x01\xff"[..], true, None),
            (b"Exceeded MaxStartups\r\n", false, Some("Exceeded MaxStartups")),
            (b"welcome\x1b[2J\r\nSSH-2.0-x\r\nabc\n", true, Some("welcome [2J")),
            (b"", false, None),
        ] {
            let watch = Arc::new(Watch::default());
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let mut wire = Wire::new(ours, Arc::clone(&watch), Duration::from_secs(1));
            theirs.write_all(said).await.unwrap();
            drop(theirs);
            wire.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!((watch.speaks_ssh(), watch.words().as_deref()), (ssh, words), "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_write_that_is_stuck_fails_and_a_slow_one_does_not() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut wire = Wire::new(ours, Arc::default(), Duration::from_millis(400));
        let slow = tokio::spawn(async move {
            let mut byte = [0; 8];
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                theirs.read_exact(&mut byte).await.unwrap();
            }
            theirs
        });
        wire.write_all(&[0; 64]).await.unwrap();
        let _theirs = slow.await.unwrap();
        let error = wire.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_has_left_is_counted() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let watch = Arc::new(Watch::default());
        let mut wire = Wire::new(ours, Arc::clone(&watch), Duration::from_secs(5));
        let writing = tokio::spawn(async move { wire.write_all(&[0; 20]).await });
        watch.until_written(8).await;
        let more = tokio::time::timeout(Duration::from_millis(50), watch.until_written(9)).await;
        assert!(more.is_err(), "{}", watch.written());
        theirs.read_exact(&mut [0; 20]).await.unwrap();
        watch.until_written(20).await;
        writing.await.unwrap().unwrap();
        assert_eq!(watch.written(), 20);
    }

    #[tokio::test]
    async fn cutting_ends_a_pending_read() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let watch = Arc::new(Watch::default());
        let mut wire = Wire::new(ours, Arc::clone(&watch), Duration::from_secs(1));
        let read = tokio::spawn(async move { wire.read(&mut [0; 8]).await });
        tokio::task::yield_now().await;
        watch.cut();
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
}
