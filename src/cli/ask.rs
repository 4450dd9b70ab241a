//! Questions on the terminal while hosts are connected to: passphrases, passwords, and what servers ask.

use super::Context;
use super::pause::is_terminal;
use crate::error::{Error, ExitStatus, Explain};
use crate::report::{Hold, Output, Reporter};
use crate::ssh::{Prompt, Question};
use futures::future::BoxFuture;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

/// The longest line that a terminal hands over at once (`N_TTY_BUF_SIZE` of Linux).
const LONGEST: usize = 4096;

/// Asks on the terminal, one question at a time, while nothing else is told there.
pub(super) struct Asker {
    output: Output,
    reporter: Reporter,
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// Somebody is asked: what the terminal was like before, and the quiet around the question.
    Asking { echo: Option<Echo>, _quiet: Hold },
    /// Whoever was asked has left.
    GivenUp,
}

impl Asker {
    /// None where nobody is there to be asked.
    pub fn new(context: &Context, reporter: Reporter) -> Option<Arc<Self>> {
        is_terminal(context).then(|| {
            let (turn, state) = (tokio::sync::Mutex::default(), Mutex::default());
            Arc::new(Self { output: context.output.clone(), reporter, turn, state })
        })
    }

    /// Takes an open question back and leaves the terminal as it was; false if none is open.
    pub fn give_up(&self) -> bool {
        let was = std::mem::replace(&mut *self.state(), State::GivenUp);
        let asking = matches!(was, State::Asking { .. });
        // The terminal first, then the others may use it.
        drop(was);
        if asking {
            self.output.err("\n");
        }
        asking
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn one(&self, question: &Question) -> Option<Zeroizing<String>> {
        let terminal = terminal().ok()?;
        if !question.echo {
            let echo = Echo::off(&terminal).ok()?;
            match &mut *self.state() {
                State::Asking { echo: before, .. } => *before = Some(echo),
                State::Idle | State::GivenUp => return None,
            }
        }
        self.output.err(&question.text);
        // A thread that reads cannot be called off; it ends with the process.
        let typed = tokio::task::spawn_blocking(move || line(terminal)).await;
        if let State::Asking { echo, .. } = &mut *self.state()
            && echo.take().is_some()
        {
            self.output.err("\n");
        }
        typed.ok()?.ok()?
    }
}

impl Prompt for Asker {
    fn ask<'a>(
        &'a self,
        notice: &'a [String],
        questions: &'a [Question],
    ) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            let quiet = self.reporter.hold();
            match &mut *self.state() {
                State::GivenUp => return None,
                state => *state = State::Asking { echo: None, _quiet: quiet },
            }
            let _closing = Closing(self);
            for line in notice {
                self.output.err(&format!("{line}\n"));
            }
            let mut answers = Vec::new();
            for question in questions {
                answers.push(self.one(question).await?);
            }
            Some(answers)
        })
    }
}

/// Gives the terminal back, however the asking ended.
struct Closing<'a>(&'a Asker);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let state = &mut *self.0.state();
        if matches!(state, State::Asking { .. }) {
            *state = State::Idle;
        }
    }
}

/// The user has left instead of answering.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Left;

impl Explain for Left {
    fn exit(&self) -> ExitStatus {
        ExitStatus::Interrupted
    }
}

/// Asks for a secret before anything else is done; none if nothing could be read.
pub(super) fn secret(output: &Output, question: &str) -> Result<Option<Zeroizing<String>>, Error> {
    let read = async {
        let terminal = terminal()?;
        // Before the echo is off: whoever leaves at once gets it back.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let echo = Echo::off(&terminal)?;
        output.err(question);
        let typed = tokio::select! {
            typed = tokio::task::spawn_blocking(move || line(terminal)) => Some(typed.map_err(io::Error::other)?),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        drop(echo);
        output.err("\n");
        Ok::<_, io::Error>(typed)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(super::operation::CannotStart)?;
    let typed = runtime.block_on(read);
    // A thread that reads cannot be called off.
    runtime.shutdown_background();
    match typed.map_err(super::operation::CannotStart)? {
        Some(typed) => Ok(typed.ok().flatten()),
        None => Err(Left.into()),
    }
}

/// The terminal that stdin is, past the buffer of `std::io::stdin`, which would keep what is typed.
fn terminal() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// What is typed until the end of the line; none at the end of all input.
fn line(mut terminal: File) -> io::Result<Option<Zeroizing<String>>> {
    let mut typed = Zeroizing::new([0; LONGEST]);
    let mut length = 0;
    while length < LONGEST && !typed[..length].contains(&b'\n') {
        match terminal.read(&mut typed[length..]) {
            Ok(0) if length == 0 => return Ok(None),
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let end = typed[..length].iter().position(|byte| *byte == b'\n').unwrap_or(length);
    let text = std::str::from_utf8(&typed[..end]).map_err(io::Error::other)?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Echo {
    terminal: File,
    before: Termios,
}

impl Echo {
    /// What was typed before is thrown away: it was not meant for this question.
    fn off(terminal: &File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal: terminal.try_clone()?, before })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // If the terminal is gone, so is the need.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
