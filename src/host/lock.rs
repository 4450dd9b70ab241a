//! The lock that a run holds on a host: flock(2) in a process that ends with the controller, or with the way to it.
//!
//! The process reads its stdin. It ends when that does, which is at once if the controller dies, and when nothing
//! has come for [`SILENCE`]: sshd may take hours to notice that a link is cut. So the lock can be lost while a
//! controller sleeps and wakes again; therefore every script of a run that holds the lock looks first whether it
//! still does.
//!
//! A script outlives its controller. So whoever takes the lock waits a moment for those of the run before it to end,
//! and ends them otherwise: they may be killed at any point, as all that a run does.

mod script;

use super::connection::{Connection, Script};
use super::error::HostError;
use super::held::Held;
use crate::timing::round_trip;
pub(super) use script::{LOST, LOST_STATUS};
use script::{look, take, take_away};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The folder of the lock on a host: gone after a reboot, as whoever held it is.
const FOLDER: &str = "/run/etcd-ha";
/// How long nothing may come from the controller before the host takes it for gone.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// How often the controller says that it is there.
const BEAT: Duration = Duration::from_secs(5);
/// How long a script of an earlier run may go on before it is ended.
const AFTERMATH: Duration = Duration::from_secs(3);
/// How long letting go of a lock may take.
const LETTING_GO: Duration = Duration::from_secs(1);
/// The widest that a name may be that a host tells.
const WIDEST: usize = 64;

/// Which run it is, whoever reads of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunName {
    /// An id of its own.
    pub id: String,
    /// Who runs it, `user@host`.
    pub by: String,
    /// The subcommand.
    pub command: String,
}

/// Redirections of a command that is none of ours: what it leaves at work is not taken for a step of the run.
pub const APART: &str = "8>&-";

/// What a script of the run begins with. One that `works` is waited for by whoever has the lock next.
pub(super) fn guard(run: &str, works: bool) -> String {
    script::guard(FOLDER, run, works)
}

/// Who holds the lock of a host, as the host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The run.
    pub run: RunName,
    /// The address that the host saw it come from; empty if it does not know.
    pub from: String,
    /// For how long, by the host's uptime.
    pub age: Duration,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RunName { by, command, .. } = &self.run;
        write!(f, "`etcd-ha {command}` of {by}")?;
        if !self.from.is_empty() {
            write!(f, ", from {},", self.from)?;
        }
        let seconds = self.age.as_secs();
        match seconds / 60 {
            0 => write!(f, " for {seconds} s"),
            minutes => write!(f, " for {minutes} min"),
        }
    }
}

/// A lock that is held.
pub struct HostLock {
    let_go: oneshot::Sender<()>,
    kept: JoinHandle<()>,
}

impl HostLock {
    fn keep(held: Held) -> Self {
        let (let_go, gone) = oneshot::channel();
        Self { let_go, kept: tokio::spawn(held.keep(BEAT, gone)) }
    }

    /// Lets go of it, and waits a moment until the host has.
    pub async fn release(self) {
        let Self { let_go, kept } = self;
        drop(let_go);
        let _ = tokio::time::timeout(LETTING_GO, kept).await;
    }
}

impl Connection {
    /// Takes the host's lock for a run. From then on scripts of this connection fail with [`HostError::LockLost`] once
    /// the run has it no longer. What this same run holds over a connection that broke is taken over. `Err` within is
    /// who has it. A run that had it before does not get it `again` if another one had it meanwhile, or it was taken away.
    ///
    /// # Errors
    /// It cannot be locked, or the host cannot be reached.
    pub async fn lock(&self, run: &RunName, again: bool) -> Result<Result<HostLock, Holder>, HostError> {
        const WHAT: &str = "take the lock";
        let script = take(FOLDER, run, again, SILENCE, AFTERMATH);
        let (held, said) = match self.hold_fed(WHAT, &script).await {
            Ok(held) => held,
            Err(_) => {
                // What is held does not say why it does not begin; another script does, or learns that sudo wants a
                // terminal.
                self.run(Script::look("look whether scripts run", "true\n")).await?;
                self.hold_fed(WHAT, &script).await?
            }
        };
        if said == "taken" {
            self.guard(&run.id);
            return Ok(Ok(HostLock::keep(held)));
        }
        drop(held);
        match said.as_str() {
            "lost" => return Err(HostError::LockLost { host: self.host().to_owned() }),
            "not root" => return Err(HostError::NotRoot { host: self.host().to_owned() }),
            _ => {}
        }
        if let Some(why) = said.strip_prefix("cannot ") {
            return Err(HostError::NoLock { host: self.host().to_owned(), why: self.shorten(why) });
        }
        read(said.as_bytes()).map(Err).ok_or_else(|| self.garbled(WHAT, "no word of who has it"))
    }

    /// Sees whether the run still holds the host's lock, if it took it: before a member is asked to change something,
    /// which does not look itself.
    ///
    /// # Errors
    /// [`HostError::LockLost`], or the host cannot be reached.
    pub async fn check_lock(&self) -> Result<(), HostError> {
        const WHAT: &str = "see whether the lock is held";
        let look = self.run_once_let_in(Script::look(WHAT, "true\n"));
        round_trip(self.host(), WHAT).of(look).await.map(drop)
    }

    /// Who holds the host's lock, if anybody does.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub async fn lock_holder(&self) -> Result<Option<Holder>, HostError> {
        const WHAT: &str = "look who has the lock";
        let answer = self.run(Script::look(WHAT, &look(FOLDER))).await?;
        if answer.trim_ascii() == b"free" {
            return Ok(None);
        }
        read(&answer).map(Some).ok_or_else(|| self.garbled(WHAT, "neither free nor held"))
    }

    /// Takes the lock away from a run, which may not go on then. False if that run has it no longer.
    ///
    /// # Errors
    /// It still has it, or the host cannot be reached.
    pub async fn break_lock(&self, run: &RunName) -> Result<bool, HostError> {
        let answer = self.run(Script::new("take the lock away", &take_away(FOLDER, run))).await?;
        Ok(answer.trim_ascii() == b"taken away")
    }
}

/// Reads `held TAKEN NOW JSON`, both in seconds of the host's uptime. A host is not trusted.
fn read(said: &[u8]) -> Option<Holder> {
    #[derive(Deserialize)]
    struct Written {
        run: String,
        by: String,
        command: String,
        #[serde(default)]
        from: String,
    }
    let said = String::from_utf8_lossy(said);
    let mut words = said.trim().strip_prefix("held ")?.splitn(3, ' ');
    let mut seconds = || words.next()?.parse::<u64>().ok();
    let (taken, now) = (seconds()?, seconds()?);
    let written: Written = serde_json::from_str(words.next()?).ok()?;
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(WIDEST).collect::<String>();
    Some(Holder {
        run: RunName { id: short(&written.run), by: short(&written.by), command: short(&written.command) },
        from: short(&written.from),
        age: Duration::from_secs(now.saturating_sub(taken)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_of_a_holder_is_not_trusted() {
        for said in [
            "",
            "held",
            "held 1",
            "held 1 2",
            "held x 2 {}",
            "held 1 2 {}",
            "held 1 2 {\"run\":1}",
            "held -1 2 {\"run\":\"a\",\"by\":\"b\",\"command\":\"c\"}",
        ] {
            assert_eq!(read(said.as_bytes()), None, "{said}");
        }
        let long = format!("held 9 2 {{\"run\":\"a\",\"by\":\"{}\\u001b[2J\",\"command\":\"c\"}}", "b".repeat(99));
        let holder = read(long.as_bytes()).unwrap();
        assert_eq!((holder.run.by, holder.age), ("b".repeat(WIDEST), Duration::ZERO));
    }

    #[test]
    fn words() {
        let holder = |from: &str, age| Holder {
            run: RunName { id: "a".into(), by: "ada@desk".into(), command: "deploy".into() },
            from: from.into(),
            age: Duration::from_secs(age),
        };
        assert_eq!(holder("10.19.0.1", 59).to_string(), "`etcd-ha deploy` of ada@desk, from 10.19.0.1, for 59 s");
        assert_eq!(holder("", 200).to_string(), "`etcd-ha deploy` of ada@desk for 3 min");
    }
}
