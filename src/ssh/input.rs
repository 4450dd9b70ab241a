//! What goes into a command.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::ChannelWriteHalf;
use russh::client::Msg;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::bandwidth::Bandwidth;
use super::wire::Watch;

/// How much of a file is read at a time; what an upload holds in memory.
const CHUNK: usize = 128 << 10;

/// How much is handed over at a time: a packet of OpenSSH.
const PACKET: usize = 32 << 10;

/// How much may wait in memory for TCP to take it. The server's window alone would allow 2 MiB, twice
/// over, for every host; what is under way on the network does not count. With 1 and 4 MiB uploads were no
/// faster, with round trips of 0 and of 50 ms, and took more memory (`cargo bench --bench ssh`).
const BACKLOG: u64 = 256 << 10;

/// Told how many bytes of a file have been handed over so far.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What a command gets on its standard input. It always ends, but on a terminal: a command that reads its
/// input sees the end of it.
#[derive(Clone, Default)]
pub enum Input {
    /// Nothing.
    #[default]
    None,
    /// These bytes.
    Bytes(Bytes),
    /// First `head`, then the file, read while it is sent.
    File {
        /// What comes before the file, such as the script that reads it.
        head: Bytes,
        /// The file.
        path: PathBuf,
        /// Told about every packet; it should be quick.
        progress: Option<Progress>,
    },
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Scripts may carry keys.
        match self {
            Self::None => f.write_str("None"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File { head, path, .. } => write!(f, "File({} + {})", head.len(), path.display()),
        }
    }
}

/// When the last byte moved.
pub(super) struct Clock {
    pub(super) start: Instant,
    millis: AtomicU64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), millis: AtomicU64::new(0) }
    }

    pub(super) fn touch(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    pub(super) fn moved(&self) -> Instant {
        self.start + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

/// A file that could not be read, and why.
pub(super) struct Unread(pub(super) PathBuf, pub(super) io::Error);

/// The input, opened, so that a file that is not there is found out before anything runs.
pub(super) struct Source {
    head: Bytes,
    file: Option<(File, PathBuf)>,
    progress: Option<Progress>,
}

impl Source {
    pub(super) async fn open(input: Input) -> Result<Self, Unread> {
        Ok(match input {
            Input::None => Self { head: Bytes::new(), file: None, progress: None },
            Input::Bytes(head) => Self { head, file: None, progress: None },
            Input::File { head, path, progress } => match File::open(&path).await {
                Ok(mut file) => {
                    file.set_max_buf_size(CHUNK);
                    Self { head, file: Some((file, path)), progress }
                }
                Err(error) => return Err(Unread(path, error)),
            },
        })
    }
}

/// Sends the input and, where it has one, its end. That the other side does not take it is no fault: the command has
/// ended, and its reader learns how. A file that cannot be read to its end is one, and then the
/// command must not see an end either.
pub(super) async fn feed(
    mut pen: Pen<'_>,
    input: Source,
    bandwidth: Option<&Bandwidth>,
    ends: bool,
) -> Result<(), Unread> {
    let Source { mut head, file, progress } = input;
    while !head.is_empty() {
        let length = head.len();
        if pen.send_packet(&mut head, length).await.is_none() {
            return Ok(());
        }
    }
    let mut sent = 0;
    if let Some((mut file, path)) = file {
        loop {
            let mut buffer = BytesMut::with_capacity(CHUNK);
            while buffer.len() < buffer.capacity() {
                match file.read_buf(&mut buffer).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => return Err(Unread(path, error)),
                }
            }
            let mut chunk = buffer.freeze();
            if chunk.is_empty() {
                break;
            }
            while !chunk.is_empty() {
                let length = match bandwidth {
                    Some(bandwidth) => bandwidth.turn(chunk.len()).await,
                    None => chunk.len(),
                };
                let Some(length) = pen.send_packet(&mut chunk, length).await else {
                    return Ok(());
                };
                sent += length;
                if let Some(progress) = &progress {
                    progress(sent);
                }
            }
        }
    }
    if ends {
        let _ = pen.writer.eof().await;
    }
    Ok(())
}

/// Writes packets no faster than they leave.
pub(super) struct Pen<'a> {
    writer: &'a ChannelWriteHalf<Msg>,
    watch: &'a Watch,
    clock: &'a Clock,
    /// What the connection will have written, at the least, when all that was sent here has left.
    due: u64,
}

impl<'a> Pen<'a> {
    pub(super) fn new(writer: &'a ChannelWriteHalf<Msg>, watch: &'a Watch, clock: &'a Clock) -> Self {
        Self { writer, watch, clock, due: watch.written() }
    }

    /// Sends the first packet of `bytes`, no longer than `most`; none if nobody takes it any more.
    async fn send_packet(&mut self, bytes: &mut Bytes, most: usize) -> Option<u64> {
        self.watch.until_written(self.due.saturating_sub(BACKLOG)).await;
        let packet = bytes.split_to(bytes.len().min(most).min(PACKET));
        let length = packet.len() as u64;
        self.writer.data_bytes(packet).await.ok()?;
        self.due += length;
        self.clock.touch();
        Some(length)
    }
}
