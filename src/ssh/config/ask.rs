//! Asking `ssh -G`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

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
    turns: Semaphore,
}

impl Answers {
    /// `home` is where `~` leads to if OpenSSH itself cannot be asked.
    pub(in crate::ssh) fn new(program: OsString, home: Option<PathBuf>) -> Self {
        Self { program, home, known: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }

    /// What ssh_config says, beyond what holds where there is none.
    ///
    /// # Errors
    /// ssh_config is wrong, or only OpenSSH could read it and is not there.
    pub(in crate::ssh) async fn of(&self, question: &Question) -> Result<Answer, SshError> {
        if question.config == ConfigFile::None {
            return Ok(Answer::default());
        }
        let defaults = Question { config: ConfigFile::None, host: UNMENTIONED.to_owned(), ..question.clone() };
        let said = self.once(question).await?;
        let defaults = self.once(&defaults).await?;
        Ok(said.beyond(&defaults, &question.host))
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
        let _turn = self.turns.acquire().await;
        let mut command = Command::new(&self.program);
        match &question.config {
            ConfigFile::Usual => {}
            ConfigFile::File(path) => _ = command.arg("-F").arg(path),
            ConfigFile::None => _ = command.args(["-F", "none"]),
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return reader::read(question, self.home.as_deref());
            }
            Err(source) => return Err(SshError::Config { host: question.host.clone(), why: source.to_string() }),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            // `ssh` ends with what is wrong, in a line of its own each.
            let lines: Vec<String> = said.lines().filter(|line| !line.trim().is_empty()).map(printable).collect();
            return Err(SshError::Config { host: question.host.clone(), why: lines.join("; ") });
        }
        Ok(Answer::parse(&String::from_utf8_lossy(&output.stdout)))
    }
}
