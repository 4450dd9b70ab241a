//! Scripts that go on for as long as they are held: their stdin ends with the hold, and with the
//! controller. A terminal's input has no end: there it is a byte that ends the hold, and the hang-up if the controller
//! is gone.

use super::connection::{Connection, Denied};
use super::error::HostError;
use super::framing::{Feed, Framed, frame};
use super::privilege::{Opening, Refusal, Trial};
use crate::ssh::{Dialogue as _, Pipe, Turn};
use crate::timing::round_trip;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

/// How long a script may take to say its first line, and to end once it is let go.
const LIMIT: Duration = Duration::from_secs(10);
/// How long sudo or doas may take to let it in: sudo waits for DNS where a host does not know its own name.
const OPENING: Duration = Duration::from_secs(60);
/// The longest that a login's noise and the first line may be.
const LONGEST: usize = 64 << 10;

/// A script that runs until this is dropped, or the connection ends.
pub struct Held {
    pipe: Pipe,
    terminal: bool,
}

impl Held {
    /// Writes a byte, `.`, at every `pause`, until it is told to let go or the script has ended; then lets it end.
    pub(super) async fn keep(mut self, pause: Duration, mut let_go: oneshot::Receiver<()>) {
        let mut byte = [0];
        loop {
            tokio::select! {
                _ = &mut let_go => break,
                () = tokio::time::sleep(pause) => {
                    if self.pipe.write_all(b".").await.is_err() || self.pipe.flush().await.is_err() {
                        return;
                    }
                }
                read = self.pipe.read(&mut byte) => {
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                }
            }
        }
        self.end().await;
    }

    /// Lets the script end and waits for it, a bounded time.
    pub async fn end(mut self) {
        let ended = async {
            // Whatever is wrong with the line, the script is gone with it.
            if self.terminal {
                let _ = self.pipe.write_all(b"\n").await;
            }
            let _ = self.pipe.shutdown().await;
            let mut rest = [0; 512];
            while matches!(self.pipe.read(&mut rest).await, Ok(count) if count > 0) {}
        };
        let _ = tokio::time::timeout(LIMIT, ended).await;
    }
}

impl Connection {
    /// Starts a script that goes on until its stdin ends, and gives the first line that it says.
    ///
    /// # Errors
    /// It says nothing in time, or the host cannot be reached.
    pub async fn hold(&self, what: &str, script: &str) -> Result<(Held, String), HostError> {
        round_trip(self.host(), what).of(self.hold_once_let_in(what, script, Feed::Held)).await
    }

    /// The same for a script that is to be [kept](Held::keep): it reads the bytes.
    pub(super) async fn hold_fed(&self, what: &str, script: &str) -> Result<(Held, String), HostError> {
        round_trip(self.host(), what).of(self.hold_once_let_in(what, script, Feed::Beats)).await
    }

    async fn hold_once_let_in(&self, what: &str, script: &str, feed: Feed) -> Result<(Held, String), HostError> {
        let guard = self.guarding(false).filter(|_| feed == Feed::Held);
        let script = guard.map_or_else(|| script.to_owned(), |guard| format!("{guard}{script}"));
        // Of a lock much depends, and sudo may wait for DNS.
        let limit = if feed == Feed::Beats { OPENING } else { LIMIT };
        let mut trial = self.trial().await?;
        loop {
            let framed = frame(&script, self.access(), feed);
            let pipe = self.session().pipe(&framed.command, framed.access.terminal).await;
            let mut pipe = pipe.map_err(|source| self.ssh(source))?;
            let mut opening = Opening::new(&framed, self.password());
            let said = match let_in(&mut pipe, &mut opening).await {
                Ok(said) => said,
                Err(problem) => {
                    // Who took the password and says nothing is not given it again.
                    if let Some(mut trial) = trial.take().filter(|_| opening.answered) {
                        *trial = Trial::Failed(Refusal::Other, problem.clone());
                    }
                    return Err(self.garbled(what, &problem));
                }
            };
            if framed.access.talks() && !opening.ready {
                let said = String::from_utf8_lossy(&said);
                match self.denied(&framed, trial.take(), opening.answered, &said).await {
                    Denied::TryATerminal(again) => {
                        trial = again;
                        continue;
                    }
                    Denied::For(error) => return Err(error),
                    Denied::NotByThem => return Err(self.garbled(what, "it ends early")),
                }
            }
            if let Some(mut trial) = trial.take() {
                *trial = Trial::Passed;
            }
            return match tokio::time::timeout(limit, first_line(&mut pipe, &framed, said)).await {
                Ok(Ok(Some(line))) => Ok((Held { pipe, terminal: framed.access.terminal }, line)),
                Ok(Ok(None)) => Err(self.garbled(what, "it ends early")),
                Ok(Err(error)) => Err(self.garbled(what, &error.to_string())),
                Err(_) => Err(self.garbled(what, "it said nothing")),
            };
        }
    }
}

/// Talks to sudo or doas until the shell behind them is ready, or will never be; gives all that was said.
async fn let_in(pipe: &mut Pipe, opening: &mut Opening<'_>) -> Result<Vec<u8>, String> {
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    if !opening.talks() {
        return Ok(said);
    }
    let talk = async {
        loop {
            let count = pipe.read(&mut part).await?;
            said.extend_from_slice(&part[..count]);
            match opening.hear(&said) {
                Turn::Wait if count == 0 || said.len() > LONGEST => return Ok(()),
                Turn::Wait => {}
                Turn::Say(answer) => {
                    pipe.write_all(&answer).await?;
                    pipe.flush().await?;
                }
                Turn::Begin | Turn::GiveUp => return Ok::<_, std::io::Error>(()),
            }
        }
    };
    match tokio::time::timeout(OPENING, talk).await {
        Ok(Ok(())) => Ok(said),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it said nothing".to_owned()),
    }
}

/// Sends the script and waits for the first line that it says.
async fn first_line(pipe: &mut Pipe, framed: &Framed, mut said: Vec<u8>) -> std::io::Result<Option<String>> {
    pipe.write_all(framed.head.as_bytes()).await?;
    pipe.flush().await?;
    let mut part = [0; 4096];
    loop {
        let count = pipe.read(&mut part).await?;
        said.extend_from_slice(&part[..count]);
        if let Some(line) = framed.first_line(&said) {
            return Ok(Some(line));
        }
        if count == 0 || said.len() > LONGEST {
            return Ok(None);
        }
    }
}
