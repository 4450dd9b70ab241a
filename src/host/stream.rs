//! Scripts whose output is taken as it comes: journals that are followed, programs that an operator runs.
//!
//! A script that nobody listens to any more might go on for long without noticing, and OpenSSH ends nothing when a
//! channel is closed. So each is watched by a second script, which ends it when the controller lets go or is gone.

use super::connection::{Connection, Denied};
use super::error::HostError;
use super::framing::{Feed, Framed, frame};
use super::held::Held;
use super::privilege::{Opening, Trial};
use crate::ssh::{Dialogue as _, Running, Said, SshError, Status, Turn};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// How long a script may take to begin; sudo waits for DNS where a host does not know its own name.
const OPENING: Duration = Duration::from_secs(60);
/// The longest that a login's noise may be.
const LONGEST: usize = 64 << 10;

/// What every such script says first: its process, its group, and when it was started, which tell it from a later
/// process of the same number (proc(5), `/proc/PID/stat`).
const WHO: &str =
    "line=; read -r line </proc/self/stat || :; set -- $line; echo \"${1:-0} ${5:-0} ${22:-0}\"; set --\n";

/// A script that runs, and is ended on the host when this is dropped.
pub struct Stream {
    running: Running,
    connection: Connection,
    /// What came in one piece with what began it.
    early: VecDeque<Said>,
    _watch: Option<Held>,
}

impl Connection {
    /// Starts a script whose output is taken as it comes. Its stdin is [`Stream::input`]; where the host gives its
    /// rights on a terminal only, there is none, and stderr comes with stdout.
    ///
    /// # Errors
    /// It does not begin, or the host cannot be reached.
    pub async fn stream(&self, what: &str, script: &str) -> Result<Stream, HostError> {
        let script = format!("{WHO}{script}");
        let mut trial = self.trial().await?;
        loop {
            let framed = frame(&script, self.access(), Feed::Stream);
            let ssh = |source| self.ssh(source);
            let mut running = self.session().start(&framed.command, framed.access.terminal).await.map_err(ssh)?;
            let mut opening = Opening::new(&framed, self.password());
            let mut heard = Heard::default();
            let begun = tokio::time::timeout(OPENING, begin(&mut running, &framed, &mut opening, &mut heard)).await;
            if let Some((who, rest)) = heard.begun(&framed) {
                if let Some(mut trial) = trial.take() {
                    *trial = Trial::Passed;
                }
                let watch = self.watch(&who).await;
                let early = [rest].into_iter().filter(|rest| !rest.is_empty()).map(Said::Out).collect();
                return Ok(Stream { running, connection: self.clone(), early, _watch: watch });
            }
            match begun {
                Ok(result) => result.map_err(ssh)?,
                Err(_) => return Err(self.garbled(what, "it said nothing")),
            }
            let said = String::from_utf8_lossy(&heard.all).into_owned();
            match self.denied(&framed, trial.take(), opening.answered, &said).await {
                Denied::TryATerminal(again) => trial = again,
                Denied::For(error) => return Err(error),
                Denied::NotByThem => {
                    let status = running.status().map(ToString::to_string).unwrap_or_default();
                    return Err(self.no_shell(status, &said));
                }
            }
        }
    }

    /// Has the host end a process and its group once this is let go. Where no second session is to be had, the
    /// process ends when it next writes.
    async fn watch(&self, who: &str) -> Option<Held> {
        let mut words = who.split(' ').map(|word| word.parse::<u64>().unwrap_or_default());
        let (process, group, started) = (words.next()?, words.next()?, words.next()?);
        if process < 2 || group < 2 {
            return None;
        }
        // What is compared stands behind the program's name, which may be another one by now and hold spaces. dash takes
        // `--` behind `-s TERM` only. Others of the group may outlive the process, or pay no heed to SIGTERM.
        let script = format!(
            "there() {{ line=; read -r line <\"/proc/{process}/stat\" || return 1; set -- ${{line##*)}}; [ \"${{3:-}}\" = {group} ] && [ \"${{20:-}}\" = {started} ]; }} 2>/dev/null\n\
             echo watching\ncat >/dev/null\n\
             if there; then\n\
             kill -s TERM -- -{group} || :\n\
             i=0; while kill -s 0 -- -{group} 2>/dev/null && [ \"$i\" -lt 40 ]; do sleep 0.05; i=$((i + 1)); done\n\
             kill -s KILL -- -{group} 2>/dev/null || :\n\
             fi\n"
        );
        Some(self.hold("watch over a command", &script).await.ok()?.0)
    }
}

/// All that was heard before the script began.
#[derive(Default)]
struct Heard {
    /// On stdout.
    out: Vec<u8>,
    /// On either way, in the order in which it came.
    all: Vec<u8>,
}

impl Heard {
    fn take(&mut self, said: &Said) {
        let (Said::Out(bytes) | Said::Err(bytes)) = said;
        self.all.extend_from_slice(bytes);
        if let Said::Out(bytes) = said {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Who the script is, once it has said so, and what it said since.
    fn begun(&self, framed: &Framed) -> Option<(String, Bytes)> {
        let who = framed.first_line(&self.out)?;
        let begin = framed.begin(&self.out)?;
        let end = begin + self.out[begin..].iter().position(|byte| *byte == b'\n')? + 1;
        Some((who, Bytes::copy_from_slice(&self.out[end..])))
    }
}

/// Sends the script, once whoever gives the rights is ready for it, and listens until it has begun.
async fn begin(
    running: &mut Running,
    framed: &Framed,
    opening: &mut Opening<'_>,
    heard: &mut Heard,
) -> Result<(), SshError> {
    let mut sent = false;
    loop {
        if !sent && (!opening.talks() || opening.ready) {
            sent = true;
            // Whoever does not take it says why, or ends.
            if let Some(mut input) = running.input() {
                let _ = input.write_all(framed.head.as_bytes()).await;
                let _ = input.flush().await;
            }
        }
        let Some(said) = running.next().await? else { return Ok(()) };
        heard.take(&said);
        if heard.begun(framed).is_some() || heard.all.len() > LONGEST {
            return Ok(());
        }
        if !sent {
            match opening.hear(&heard.all) {
                Turn::Wait | Turn::Begin => {}
                Turn::Say(answer) => {
                    if let Some(mut input) = running.input() {
                        let _ = input.write_all(&answer).await;
                        let _ = input.flush().await;
                    }
                }
                Turn::GiveUp => return Ok(()),
            }
        }
    }
}

impl Stream {
    /// What the script says next; `None` once it has ended.
    ///
    /// # Errors
    /// The connection ended first.
    pub async fn next(&mut self) -> Result<Option<Said>, HostError> {
        match self.early.pop_front() {
            Some(said) => Ok(Some(said)),
            None => self.running.next().await.map_err(|source| self.connection.ssh(source)),
        }
    }

    /// The script's stdin; shut down, it ends. `None` where there is none.
    #[must_use]
    pub fn input(&self) -> Option<impl AsyncWrite + Send + Unpin + 'static> {
        if self.connection.access().terminal { None } else { self.running.input() }
    }

    /// The script's exit status once it has ended, as shells give it: 128 and the signal's number if a signal ended
    /// it. `None` if the host did not say.
    #[must_use]
    pub fn status(&self) -> Option<u32> {
        Some(match self.running.status()? {
            Status::Exited(status) => *status,
            Status::Signaled(signal) => 128 + number(signal),
            Status::GivenUp => 128,
        })
    }
}

/// The numbers of the signals that SSH has names for (RFC 4254, 6.10; signal(7)).
fn number(signal: &str) -> u32 {
    const NUMBERS: &[(&str, u32)] = &[
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("ABRT", 6),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
    ];
    NUMBERS.iter().find(|(name, _)| *name == signal).map_or(0, |(_, number)| *number)
}
