//! One command: input in, output and exit status out.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelWriteHalf, Sig};
use tokio::time::{Instant, sleep_until};

use super::channels::{Slot, open_in_turn};
use super::dialogue::{Dialogue, RAW, TERM, Turn};
use super::error::SshError;
use super::input::{Clock, Input, Pen, Source, Unread, feed};
use super::session::Session;
use super::wire::printable;

/// What a command may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time for the whole command, from its start.
    pub timeout: Option<Duration>,
    /// Time in which none of the input moves. Output does not count: nobody can draw a command out by saying a little
    /// now and then.
    pub idle: Option<Duration>,
    /// Bytes of all output together.
    pub max_output: usize,
}

impl Default for Limits {
    /// No time limits, 8 MiB of output. A dead connection is found out without any.
    fn default() -> Self {
        Self { timeout: None, idle: None, max_output: 8 << 20 }
    }
}

/// How a command is started.
#[derive(Default)]
pub struct Manner<'a> {
    /// On a terminal, which passes all bytes on as they are. There standard error is one with standard output, and the
    /// input has no end: the command has to know how much of it there is.
    pub terminal: bool,
    /// What comes before the input.
    pub dialogue: Option<&'a mut dyn Dialogue>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// With this exit status.
    Exited(u32),
    /// By this signal, such as `KILL`.
    Signaled(String),
    /// By us: the dialogue with it was given up.
    GivenUp,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with status {code}"),
            Self::Signaled(signal) => write!(f, "was ended by signal {signal}"),
            Self::GivenUp => f.write_str("was given up"),
        }
    }
}

/// How much may be said in a dialogue: nobody goes on for so long before a question.
const LONGEST_DIALOGUE: usize = 64 << 10;

/// What a command left behind. That it is there does not mean that the command succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether the command exited with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Status::Exited(0)
    }
}

impl Session {
    /// Runs `command` by the user's login shell on the machine, and waits for its end.
    ///
    /// Four commands run at once on a session; others wait for their turn, which their time limit
    /// does not count. A command that does not read its input ends all the same. If the limits are
    /// overstepped, or the returned future is dropped, the command is sent SIGTERM and its channel is
    /// closed. OpenSSH passes signals on for users other than root only: a root command that must not
    /// outlive its time needs `timeout` on the machine.
    ///
    /// # Errors
    /// If the command could not be started, overstepped its limits, or its end is not known; never
    /// because of the exit status.
    pub async fn exec(&self, command: &str, input: Input, limits: &Limits) -> Result<Output, SshError> {
        self.exec_in(command, Manner::default(), input, limits).await
    }

    /// The same, for a command that wants a terminal, or to be talked to before it gets its input.
    ///
    /// # Errors
    /// As with [`exec`](Self::exec), and [`SshError::TerminalRefused`].
    pub async fn exec_in(
        &self,
        command: &str,
        manner: Manner<'_>,
        input: Input,
        limits: &Limits,
    ) -> Result<Output, SshError> {
        let Manner { terminal, mut dialogue } = manner;
        if command.contains('\0') {
            return Err(SshError::NulInCommand { peer: self.0.peer.clone() });
        }
        let input = Source::open(input).await.map_err(|unread| self.fault(Fault::Read(unread)))?;
        let (channel, slot) = open_in_turn(&self.0).await?;
        let (mut reader, writer) = channel.split();
        let ending = Ending::new(writer, slot);
        let Some(writer) = ending.writer() else {
            return Err(self.0.lost());
        };
        if terminal && writer.request_pty(true, TERM, 80, 24, 0, 0, RAW).await.is_err() {
            return Err(self.0.lost());
        }
        if writer.exec(true, command).await.is_err() {
            return Err(self.0.lost());
        }

        let clock = Clock::start();
        let bandwidth = self.0.bandwidth.get();
        let feeding = feed(Pen::new(writer, &self.0.watch, &clock), input, bandwidth, !terminal);
        tokio::pin!(feeding);
        let mut fed = false;
        let mut heard = Heard { terminal_asked: terminal, ..Heard::default() };
        let deadline = limits.timeout.map(|limit| clock.start + limit);
        loop {
            let still_until = limits.idle.map(|limit| clock.moved() + limit);
            tokio::select! {
                message = reader.wait() => {
                    match message {
                        Some(message) => if heard.take(message, limits).map_err(|fault| self.fault(fault))? {
                            break;
                        },
                        None => return Err(self.0.lost()),
                    }
                    let turn = dialogue.as_mut().map(|dialogue| dialogue.hear(&heard.stdout));
                    let endless = heard.stdout.len() > LONGEST_DIALOGUE;
                    match turn {
                        Some(Turn::Wait) if endless => {
                            return Err(self.fault(Fault::TooLong(LONGEST_DIALOGUE)));
                        }
                        None | Some(Turn::Wait) => {}
                        // Nobody takes it any more: the end of the command says why.
                        Some(Turn::Say(answer)) => {
                            clock.touch();
                            drop(writer.data_bytes(answer).await);
                        }
                        Some(Turn::Begin) => dialogue = None,
                        Some(Turn::GiveUp) => {
                            return Ok(Output { status: Status::GivenUp, stdout: heard.stdout, stderr: heard.stderr });
                        }
                    }
                }
                outcome = &mut feeding, if !fed && dialogue.is_none() => {
                    fed = true;
                    outcome.map_err(|unread| self.fault(Fault::Read(unread)))?;
                }
                () = until(deadline) => {
                    return Err(self.fault(Fault::Timeout(limits.timeout.unwrap_or_default())));
                }
                () = until(still_until) => {
                    let idle = limits.idle.unwrap_or_default();
                    if clock.moved() + idle <= Instant::now() {
                        return Err(self.fault(Fault::Idle(idle)));
                    }
                }
            }
        }
        ending.done();
        match heard.status {
            Some(status) => Ok(Output { status, stdout: heard.stdout, stderr: heard.stderr }),
            None if self.0.is_closed() => Err(self.0.lost()),
            None => Err(SshError::NoExitStatus { peer: self.0.peer.clone() }),
        }
    }

    fn fault(&self, fault: Fault) -> SshError {
        let peer = self.0.peer.clone();
        match fault {
            Fault::Read(Unread(path, source)) => SshError::Input { peer, path, source },
            Fault::Refused => SshError::ExecRefused { peer },
            Fault::NoTerminal => SshError::TerminalRefused { peer },
            Fault::TooLong(limit) => SshError::OutputTooLong { peer, limit },
            Fault::Timeout(after) => SshError::CommandTimeout { peer, after },
            Fault::Idle(after) => SshError::IdleTimeout { peer, after },
        }
    }
}

/// What ends a command before its time, without the host's name.
enum Fault {
    Read(Unread),
    Refused,
    NoTerminal,
    TooLong(usize),
    Timeout(Duration),
    Idle(Duration),
}

/// The end of a started command: brought about on the machine if this is dropped before it came.
pub(super) struct Ending {
    channel: Option<(ChannelWriteHalf<Msg>, Slot)>,
    done: AtomicBool,
}

impl Ending {
    pub(super) fn new(writer: ChannelWriteHalf<Msg>, slot: Slot) -> Self {
        Self { channel: Some((writer, slot)), done: false.into() }
    }

    pub(super) fn writer(&self) -> Option<&ChannelWriteHalf<Msg>> {
        self.channel.as_ref().map(|(writer, _)| writer)
    }

    /// It has come by itself.
    pub(super) fn done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some((writer, slot)) = self.channel.take() else {
            return;
        };
        if self.done.load(Ordering::Relaxed) || slot.inner().is_closed() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = writer.signal(Sig::TERM).await;
                let _ = writer.close().await;
                drop(slot);
            });
        }
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// What a command has said so far.
#[derive(Default)]
struct Heard {
    status: Option<Status>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// How much came that is neither.
    other: usize,
    /// Whether a terminal was asked for, and the answer to that is still to come.
    terminal_asked: bool,
}

impl Heard {
    /// Takes in a message; true if it was the last one.
    fn take(&mut self, message: ChannelMsg, limits: &Limits) -> Result<bool, Fault> {
        match message {
            ChannelMsg::Data { data } => {
                self.make_room(data.len(), limits)?;
                self.stdout.extend_from_slice(&data);
            }
            ChannelMsg::ExtendedData { data, ext: 1 } => {
                self.make_room(data.len(), limits)?;
                self.stderr.extend_from_slice(&data);
            }
            ChannelMsg::ExtendedData { data, .. } => {
                self.make_room(data.len(), limits)?;
                self.other += data.len();
            }
            ChannelMsg::ExitStatus { exit_status } => self.status = Some(Status::Exited(exit_status)),
            ChannelMsg::ExitSignal { signal_name, .. } => {
                self.status = Some(Status::Signaled(signal_text(signal_name)));
            }
            ChannelMsg::Success => self.terminal_asked = false,
            ChannelMsg::Failure if self.terminal_asked => return Err(Fault::NoTerminal),
            ChannelMsg::Failure => return Err(Fault::Refused),
            ChannelMsg::Close => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn make_room(&self, more: usize, limits: &Limits) -> Result<(), Fault> {
        let total = self.stdout.len() + self.stderr.len() + self.other + more;
        if total > limits.max_output { Err(Fault::TooLong(limits.max_output)) } else { Ok(()) }
    }
}

/// The names of RFC 4254, 6.10.
pub(super) fn signal_text(signal: Sig) -> String {
    match signal {
        Sig::Custom(name) => printable(&name),
        signal => format!("{signal:?}"),
    }
}
