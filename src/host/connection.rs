//! A connection to a host, with the privilege that the inventory grants.

use super::error::HostError;
use super::framing::{Feed, Framed, Reply, find, frame};
use super::lock::{self, LOST, LOST_STATUS};
use super::privilege::{Access, Opening, Password, Refusal, Trial};
use crate::inventory::{Become, Host};
use crate::ssh::{Connector, Input, Limits, Manner, Output, Session, SshError};
use crate::timing::{part, round_trip};
use bytes::Bytes;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

/// The most that a script may print; ours print a few kilobytes.
const MAX_OUTPUT: usize = 4 << 20;

/// How long a script may take once all of its input is sent, if it does not say otherwise.
const IDLE: Duration = Duration::from_secs(120);

/// A connection to one host, kept for the whole run. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    host: Arc<str>,
    by: Become,
    password: Option<Arc<Password>>,
    /// Whether the host gives root's rights on a terminal only.
    terminal: Arc<AtomicBool>,
    /// Whether sudo has complained of the host's own name.
    own_name_unknown: Arc<AtomicBool>,
    /// The run that holds the host's lock, which every script looks at first.
    guard: Arc<OnceLock<String>>,
    session: Session,
}

/// A script for a host's shell, and what stands on its stdin.
pub struct Script<'a> {
    /// What it is to do, for messages: `unpack etcd 3.5.16`.
    pub what: &'a str,
    /// POSIX shell, run with `set -eu`.
    pub text: &'a str,
    /// What the script reads from stdin.
    pub stdin: Stdin<'a>,
    /// How long it may take once nothing is sent to it any more, or goes on being sent.
    pub silence: Duration,
    /// Whether it may change something, so that another run has to wait for its end.
    works: bool,
}

/// What a script reads from stdin.
pub enum Stdin<'a> {
    /// Nothing.
    Empty,
    /// These bytes; the only way by which secrets reach a host.
    Bytes(Bytes),
    /// A file of the controller, streamed.
    File {
        /// The file.
        path: &'a Path,
        /// Told how many bytes have gone out.
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    },
}

impl Stdin<'_> {
    /// How many bytes it is; a file that cannot be read is found out when it is sent.
    fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { path, .. } => std::fs::metadata(path).map_or(0, |file| file.len()),
        }
    }
}

impl<'a> Script<'a> {
    /// A script without input.
    #[must_use]
    pub fn new(what: &'a str, text: &'a str) -> Self {
        Self { what, text, stdin: Stdin::Empty, silence: IDLE, works: true }
    }

    /// A script without input that changes nothing.
    #[must_use]
    pub fn look(what: &'a str, text: &'a str) -> Self {
        Self { works: false, ..Self::new(what, text) }
    }

    /// The same, but it may take `limit` longer.
    #[must_use]
    pub fn silent_for(self, limit: Duration) -> Self {
        Self { silence: self.silence + limit, ..self }
    }

    /// The same with bytes on stdin.
    #[must_use]
    pub fn with_bytes(self, bytes: Bytes) -> Self {
        Self { stdin: Stdin::Bytes(bytes), ..self }
    }

    /// The same with a file on stdin.
    #[must_use]
    pub fn with_file(self, path: &'a Path, progress: Arc<dyn Fn(u64) + Send + Sync>) -> Self {
        Self { stdin: Stdin::File { path, progress }, ..self }
    }
}

impl Connection {
    /// Connects and logs in. The password is for sudo or doas, where they ask for one.
    ///
    /// # Errors
    /// SSH's own.
    pub async fn open(connector: &Connector, host: &Host, password: Option<Arc<Password>>) -> Result<Self, HostError> {
        let session = connector.connect(&host.ssh).await;
        let session = session.map_err(|source| HostError::Ssh { host: host.name.clone(), source })?;
        let by = host.r#become.unwrap_or(if session.user() == "root" { Become::No } else { Become::Sudo });
        let password = password.filter(|_| by != Become::No);
        // doas reads passwords from a terminal, never from stdin.
        let terminal = by == Become::Doas && password.is_some();
        Ok(Self {
            host: host.name.as_str().into(),
            by,
            password,
            terminal: Arc::new(terminal.into()),
            own_name_unknown: Arc::default(),
            guard: Arc::default(),
            session,
        })
    }

    /// The SSH session, for tunnels.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether scripts can be run beside what is held on this connection.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn has_room(&self) -> Result<bool, HostError> {
        self.session.has_room().await.map_err(|source| self.ssh(source))
    }

    /// Lets scripts run only while this run holds the host's lock.
    pub(super) fn guard(&self, run: &str) {
        // It is the same run's each time.
        let _ = self.guard.set(run.to_owned());
    }

    /// What a script begins with, if the run holds the host's lock; of one that `works` another run waits for the end.
    pub(super) fn guarding(&self, works: bool) -> Option<String> {
        self.guard.get().map(|run| lock::guard(run, works))
    }

    /// Ends the connection politely.
    pub async fn close(&self) {
        self.session.close().await;
    }

    /// How a script comes to its rights, as far as is known by now.
    pub(super) fn access(&self) -> Access {
        let terminal = self.terminal.load(Ordering::Relaxed);
        Access { by: self.by, password: self.password.is_some(), terminal }
    }

    /// Whether sudo does not find the host's own name.
    pub(super) fn own_name_unknown(&self) -> bool {
        self.own_name_unknown.load(Ordering::Relaxed)
    }

    pub(super) fn password(&self) -> Option<&Password> {
        self.password.as_deref()
    }

    /// Waits until it is known whether the password is right; who is the first to try it holds the guard meanwhile.
    ///
    /// # Errors
    /// The host has refused it before.
    pub(super) async fn trial(&self) -> Result<Option<OwnedMutexGuard<Trial>>, HostError> {
        let Some(password) = &self.password else { return Ok(None) };
        let trial = password.trial(&self.host).lock_owned().await;
        match &*trial {
            Trial::Untried => Ok(Some(trial)),
            Trial::Passed => Ok(None),
            Trial::Failed(refusal, message) => Err(self.refused(*refusal, message.clone())),
        }
    }

    /// Notes that the password was refused, by whoever asked for it.
    async fn note_refusal(&self, trial: Option<OwnedMutexGuard<Trial>>, refusal: Refusal, message: String) {
        let trial = match (trial, &self.password) {
            (Some(trial), _) => Some(trial),
            (None, Some(password)) => Some(password.trial(&self.host).lock_owned().await),
            (None, None) => None,
        };
        if let Some(mut trial) = trial {
            *trial = Trial::Failed(refusal, message);
        }
    }

    /// Runs a script with the host's privilege and gives what it wrote to stdout.
    ///
    /// # Errors
    /// The script failed, could not be run, or the connection broke.
    pub async fn run(&self, script: Script<'_>) -> Result<Vec<u8>, HostError> {
        let trip = round_trip(&self.host, script.what);
        trip.sent(script.stdin.length());
        let answer = trip.of(self.run_once_let_in(script)).await;
        if let Err(HostError::Script { .. } | HostError::Garbled { .. }) = &answer
            && self.guard.get().is_some()
        {
            // Another run that has the lock by now may have ended it.
            self.check_lock().await?;
        }
        let answer = answer?;
        trip.got(answer.len());
        Ok(answer)
    }

    pub(super) async fn run_once_let_in(&self, script: Script<'_>) -> Result<Vec<u8>, HostError> {
        let mut trial = part("waiting for the password's trial", self.trial()).await?;
        let guard = self.guarding(script.works).map(|guard| format!("{guard}{}", script.text));
        let text = guard.as_deref().unwrap_or(script.text);
        loop {
            let framed = frame(text, self.access(), Feed::Data(script.stdin.length()));
            let mut opening = Opening::new(&framed, self.password());
            let sent = self.send(&script, &framed, &mut opening).await;
            let Opening { ready, answered, .. } = opening;
            if let Some(mut trial) = trial.take_if(|_| sent.is_err() && answered && !ready) {
                *trial = Trial::Failed(Refusal::Other, "the connection broke before it had an answer".to_owned());
            }
            let output = sent?;
            if let Some(mut trial) = trial.take_if(|_| ready) {
                *trial = Trial::Passed;
            }
            let before = if framed.access.talks() { framed.before(&output.stdout) } else { &output.stderr };
            if self.by == Become::Sudo && find(before, b"unable to resolve host").is_some() {
                self.own_name_unknown.store(true, Ordering::Relaxed);
            }
            match framed.reply(&output.stdout) {
                Reply::Ended { status: 0, body, .. } => return Ok(body),
                Reply::Ended { status, errors, .. } => {
                    let errors = if framed.access.talks() { errors } else { output.stderr };
                    let stderr = self.redact(String::from_utf8_lossy(&errors).trim());
                    if guard.is_some() && status == LOST_STATUS && stderr.ends_with(LOST) {
                        return Err(HostError::LockLost { host: self.host.to_string() });
                    }
                    let (host, what) = (self.host.to_string(), script.what.to_owned());
                    return Err(HostError::Script { host, what, status, stderr });
                }
                Reply::Cut => {
                    return Err(self.garbled(script.what, "it ends early"));
                }
                Reply::NeverRan => {
                    let said = [output.stdout, vec![b'\n'], output.stderr].concat();
                    let said = String::from_utf8_lossy(&said);
                    match self.denied(&framed, trial.take(), answered, &said).await {
                        Denied::TryATerminal(again) => trial = again,
                        Denied::For(error) => return Err(error),
                        Denied::NotByThem => return Err(self.no_shell(output.status.to_string(), &said)),
                    }
                }
            }
        }
    }

    async fn send(&self, script: &Script<'_>, framed: &Framed, opening: &mut Opening<'_>) -> Result<Output, HostError> {
        let head = Bytes::from(framed.head.clone());
        let input = match &script.stdin {
            Stdin::Empty => Input::Bytes(head),
            // They may be keys: no copy outlives its use.
            Stdin::Bytes(bytes) => Input::Bytes(Bytes::from_owner(Zeroizing::new([&head[..], &bytes[..]].concat()))),
            Stdin::File { path, progress } => {
                Input::File { head, path: (*path).to_owned(), progress: Some(progress.clone()) }
            }
        };
        let limits = Limits { timeout: None, idle: Some(script.silence), max_output: MAX_OUTPUT };
        let mut manner = Manner { terminal: framed.access.terminal, dialogue: None };
        if framed.access.talks() {
            manner.dialogue = Some(opening);
        }
        let output = self.session.exec_in(&framed.command, manner, input, &limits).await;
        output.map_err(|source| self.ssh(source))
    }

    pub(super) fn ssh(&self, source: SshError) -> HostError {
        HostError::Ssh { host: self.host.to_string(), source }
    }

    pub(super) fn garbled(&self, what: &str, problem: &str) -> HostError {
        HostError::Garbled { host: self.host.to_string(), what: what.to_owned(), problem: problem.to_owned() }
    }

    /// A script that was streamed has failed.
    pub(super) fn failed(&self, what: &str, status: u32, said: &str) -> HostError {
        let (host, what) = (self.host.to_string(), what.to_owned());
        HostError::Script { host, what, status: status.into(), stderr: self.redact(said.trim()) }
    }

    pub(super) fn no_shell(&self, status: String, said: &str) -> HostError {
        let (host, user) = (self.host.to_string(), self.session.user().to_owned());
        HostError::NoShell { host, user, status, output: self.shorten(said) }
    }

    /// What follows if the script never began.
    pub(super) async fn denied(
        &self,
        framed: &Framed,
        trial: Option<OwnedMutexGuard<Trial>>,
        answered: bool,
        said: &str,
    ) -> Denied {
        let asked_again = framed.prompts(said.as_bytes()) > 1;
        let said = framed.beside_prompts(said);
        let refusal = match Refusal::read(&said, self.by, answered) {
            _ if asked_again => Some((Refusal::PasswordRefused, String::new())),
            None if answered => Some((Refusal::Other, said.lines().next_back().unwrap_or_default().to_owned())),
            read => read,
        };
        match refusal {
            Some((Refusal::TerminalWanted, _)) if !framed.access.terminal => {
                self.terminal.store(true, Ordering::Relaxed);
                Denied::TryATerminal(trial)
            }
            Some((refusal, message)) => {
                let message = self.shorten(&message);
                if answered {
                    self.note_refusal(trial, refusal, message.clone()).await;
                }
                Denied::For(self.refused(refusal, message))
            }
            None => Denied::NotByThem,
        }
    }

    fn refused(&self, refusal: Refusal, message: String) -> HostError {
        let (host, user) = (self.host.to_string(), self.session.user().to_owned());
        HostError::Privilege { host, user, command: self.access().command(), refusal, message }
    }

    /// The first 300 characters, control characters left out: what a host prints is not trusted.
    pub(super) fn shorten(&self, text: &str) -> String {
        // Lines become one, whatever ends them.
        let clean =
            text.split(char::is_control).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let clean: String = self.redact(&clean).chars().take(300).collect();
        if clean.is_empty() { "it said nothing".to_owned() } else { clean }
    }

    fn redact(&self, text: &str) -> String {
        self.password.as_ref().map_or_else(|| text.to_owned(), |password| password.redact(text))
    }
}

/// Why a script never began.
pub(super) enum Denied {
    /// sudo wants a terminal, which it has not had yet.
    TryATerminal(Option<OwnedMutexGuard<Trial>>),
    /// sudo or doas said no.
    For(HostError),
    /// It was neither of them.
    NotByThem,
}
