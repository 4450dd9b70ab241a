//! A command whose output is taken as it comes.

use super::channels::open_in_turn;
use super::dialogue::{RAW, TERM};
use super::error::SshError;
use super::exec::{Ending, Status, signal_text};
use super::session::{Inner, Session};
use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf};
use std::sync::Arc;
use tokio::io::AsyncWrite;

/// What a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// On standard output.
    Out(Bytes),
    /// On standard error.
    Err(Bytes),
}

/// A command that runs. Dropped before its end, it is sent SIGTERM, which OpenSSH passes on for users other than root
/// only, and its channel is closed.
///
/// It must be listened to: what nobody takes holds up the other channels of the session.
pub struct Running {
    reader: ChannelReadHalf,
    ending: Ending,
    inner: Arc<Inner>,
    status: Option<Status>,
    /// Whether a terminal was asked for, and the answer to that is still to come.
    terminal_asked: bool,
}

impl Session {
    /// Starts `command` by the user's login shell on the machine. It takes one of the turns of
    /// [`exec`](Self::exec) for as long as it runs. On a `terminal`, standard error is one with standard output.
    ///
    /// # Errors
    /// If the command could not be started.
    pub async fn start(&self, command: &str, terminal: bool) -> Result<Running, SshError> {
        let inner = &self.0;
        let (channel, slot) = open_in_turn(inner).await?;
        let (reader, writer) = channel.split();
        if terminal && writer.request_pty(true, TERM, 80, 24, 0, 0, RAW).await.is_err() {
            return Err(inner.lost());
        }
        if writer.exec(true, command).await.is_err() {
            return Err(inner.lost());
        }
        let ending = Ending::new(writer, slot);
        Ok(Running { reader, ending, inner: Arc::clone(inner), status: None, terminal_asked: terminal })
    }
}

impl Running {
    /// What it says next; `None` once it has ended.
    ///
    /// # Errors
    /// It could not be started, or the connection ended before it did.
    pub async fn next(&mut self) -> Result<Option<Said>, SshError> {
        let peer = || self.inner.peer.clone();
        loop {
            match self.reader.wait().await {
                Some(ChannelMsg::Data { data }) => return Ok(Some(Said::Out(data))),
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => return Ok(Some(Said::Err(data))),
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(Status::Exited(exit_status)),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    self.status = Some(Status::Signaled(signal_text(signal_name)));
                }
                Some(ChannelMsg::Success) => self.terminal_asked = false,
                Some(ChannelMsg::Failure) if self.terminal_asked => {
                    return Err(SshError::TerminalRefused { peer: peer() });
                }
                Some(ChannelMsg::Failure) => return Err(SshError::ExecRefused { peer: peer() }),
                Some(ChannelMsg::Close) => {
                    self.ending.done();
                    return Ok(None);
                }
                Some(_) => {}
                None => return Err(self.inner.lost()),
            }
        }
    }

    /// How it ended, once it has and if the machine said so.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// Its standard input; shut down, it ends. `None` once the command has ended.
    #[must_use]
    pub fn input(&self) -> Option<impl AsyncWrite + Send + Unpin + 'static> {
        self.ending.writer().map(|writer| Box::pin(writer.make_writer()))
    }
}
