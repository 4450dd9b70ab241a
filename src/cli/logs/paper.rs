//! Where entries are shown: written by a thread of its own, since whoever reads may take its time (`| less`).

use crate::diagnosis::logs::{Shown, Told, Wanted};
use crate::report::{Output, ReportError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many entries wait to be written, and how much is written at once.
const WAITING: usize = 256;
const AT_ONCE: usize = 64 << 10;

/// What shows entries.
pub(super) struct Paper {
    shown: Shown,
    wanted: Wanted,
    lines: mpsc::Sender<Vec<u8>>,
}

impl Paper {
    /// What shows those entries that are wanted, and what becomes of its writing.
    pub fn new(output: Output, shown: Shown, wanted: Wanted) -> (Self, Writer) {
        let (lines, written) = mpsc::channel(WAITING);
        (Self { shown, wanted, lines }, Writer { output, lines: written })
    }

    /// Whether not all entries are shown.
    pub fn chooses(&self) -> bool {
        self.wanted.chooses()
    }

    /// Shows an entry, if it is wanted; false once nobody reads any more.
    pub async fn put(&mut self, told: &Told) -> bool {
        if self.wanted.takes(told) {
            self.lines.send(self.shown.entry(told)).await.is_ok()
        } else {
            !self.lines.is_closed()
        }
    }
}

/// What writes.
pub(super) struct Writer {
    output: Output,
    lines: mpsc::Receiver<Vec<u8>>,
}

impl Writer {
    /// Begins to write; it ends with the [`Paper`], or when nobody reads any more.
    pub fn begin(self) -> JoinHandle<Result<(), ReportError>> {
        tokio::task::spawn_blocking(move || self.write())
    }

    fn write(mut self) -> Result<(), ReportError> {
        while let Some(mut text) = self.lines.blocking_recv() {
            while text.len() < AT_ONCE
                && let Ok(more) = self.lines.try_recv()
            {
                text.extend_from_slice(&more);
            }
            if !self.output.pass(&text)? {
                break;
            }
        }
        Ok(())
    }
}
