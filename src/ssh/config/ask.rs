//! Asking `ssh -G`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

use super::general::{files_read, says_the_same_of_all};
use super::{Answer, reader};
use crate::ssh::error::SshError;
use crate::ssh::target::ConfigFile;
use crate::ssh::wire::printable;

/// How many `ssh -G` run at once: they only compute.
const AT_ONCE: usize = 8;

/// A name that nobody's ssh_config mentions (RFC 6761, 6.4).
const UNMENTIONED: &str = "etcd-ha.invalid";

/// What is asked: how `ssh` would go about `ssh -l user -p port host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::ssh) struct Question {
    pub(in crate::ssh) config: ConfigFile,
    pub(in crate::ssh) host: String,
    pub(in crate::ssh) user: Option<String>,
    pub(in crate::ssh) port: Option<u16>,
}

/// The answers of a run, each asked for once.
#[derive(Debug)]
pub(in crate::ssh) struct Answers {
    program: OsString,
    home: Option<PathBuf>,
    known: Mutex<HashMap<Question, Arc<OnceCell<Answer>>>>,
    /// What holds for every host alike, by file; none where hosts differ.
    general: Mutex<HashMap<ConfigFile, Arc<OnceCell<Option<Answer>>>>>,
    turns: Semaphore,
}

impl Answers {
    /// `home` is where `~` leads to if OpenSSH itself cannot be asked.
    pub(in crate::ssh) fn new(program: OsString, home: Option<PathBuf>) -> Self {
        Self { program, home, known: Mutex::default(), general: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }

    /// What ssh_config says, beyond what holds where there is none.
    ///
    /// # Errors
    /// ssh_config is wrong, or only OpenSSH could read it and is not there.
    pub(in crate::ssh) async fn of(&self, question: &Question) -> Result<Answer, SshError> {
        if question.config == ConfigFile::None {
            return Ok(Answer::default());
        }
        let general = self.general(&question.config).await.map_err(|error| match error {
            // It was asked about nobody in particular.
            SshError::Config { why, .. } => SshError::Config { host: question.host.clone(), why },
            error => error,
        });
        if let Some(general) = general? {
            return Ok(general);
        }
        let said = self.once(question).await?;
        let said = said.beyond(&self.defaults().await?, &question.host);
        // What was said to `ssh` it says again.
        let said = if question.user.is_some() { said.without("user") } else { said };
        Ok(if question.port.is_some() { said.without("port") } else { said })
    }

    /// What holds where there is no ssh_config.
    async fn defaults(&self) -> Result<Answer, SshError> {
        self.once(&Question { config: ConfigFile::None, host: UNMENTIONED.to_owned(), user: None, port: None }).await
    }

    /// What holds for every host, if the files say the same of all: one question then stands for those about a
    /// thousand hosts.
    async fn general(&self, config: &ConfigFile) -> Result<Option<Answer>, SshError> {
        let cell = {
            let mut general = self.general.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(general.entry(config.clone()).or_default())
        };
        let asked = cell.get_or_try_init(async || {
            let host = UNMENTIONED.to_owned();
            let question = Question { config: config.clone(), host, user: None, port: None };
            let Some((said, debug)) = self.run(&question, true).await? else {
                return Ok(None);
            };
            let read = |file: &str| {
                crate::files::text(file.as_ref(), reader::LARGEST).is_ok_and(|text| says_the_same_of_all(&text))
            };
            let same = files_read(&debug).into_iter().all(read);
            let said = Answer::parse(&said).beyond(&self.defaults().await?, UNMENTIONED);
            Ok(same.then_some(said))
        });
        asked.await.cloned()
    }

    /// Whether ssh_config says anything of this host that it does not say of hosts it does not mention.
    pub(in crate::ssh) async fn mentions(&self, question: &Question) -> Result<bool, SshError> {
        let unmentioned = Question { host: UNMENTIONED.to_owned(), ..question.clone() };
        Ok(self.of(question).await? != self.of(&unmentioned).await?)
    }

    async fn once(&self, question: &Question) -> Result<Answer, SshError> {
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(question.clone()).or_default())
        };
        cell.get_or_try_init(|| self.ask(question)).await.cloned()
    }

    async fn ask(&self, question: &Question) -> Result<Answer, SshError> {
        match self.run(question, false).await? {
            Some((said, _)) => Ok(Answer::parse(&said)),
            None => reader::read(question, self.home.as_deref()),
        }
    }

    /// What `ssh -G` prints, and what it says meanwhile; none where there is no `ssh`.
    async fn run(&self, question: &Question, verbose: bool) -> Result<Option<(String, String)>, SshError> {
        let _turn = self.turns.acquire().await;
        let mut command = Command::new(&self.program);
        match &question.config {
            ConfigFile::Usual => {}
            ConfigFile::File(path) => _ = command.arg("-F").arg(path),
            ConfigFile::None => _ = command.args(["-F", "none"]),
        }
        if verbose {
            command.arg("-v");
        }
        if let Some(user) = &question.user {
            command.args(["-l", user]);
        }
        if let Some(port) = question.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["-T", "-G", "--", &question.host]).stdin(Stdio::null()).kill_on_drop(true);
        let output = match command.output().await {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SshError::Config { host: question.host.clone(), why: source.to_string() }),
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            // `ssh` ends with what is wrong, in a line of its own each.
            let wrong = said.lines().filter(|line| !line.trim().is_empty() && !is_narration(line)).map(printable);
            let why = wrong.collect::<Vec<_>>().join("; ");
            return Err(SshError::Config { host: question.host.clone(), why });
        }
        Ok(Some((String::from_utf8_lossy(&output.stdout).into_owned(), said)))
    }
}

/// What `ssh -v` says although nothing is wrong.
fn is_narration(line: &str) -> bool {
    line.starts_with("debug1: ") || line.starts_with("OpenSSH_")
}
