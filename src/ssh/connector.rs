//! What the connections of a run share: credentials, ssh_config's answers, and the jump hosts.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::auth::{Credentials, Unlocked};
use super::config::Answers;
use super::connect::{Access, connect};
use super::error::SshError;
use super::hop::{Hop, Proxy};
use super::known_hosts::KnownFiles;
use super::route::{Here, Route, route};
use super::session::Session;
use super::target::Target;
use crate::timing::round_trip;

/// Connects to machines. Clones share what was asked and connected to already: a jump host is connected to
/// once, however many machines lie behind it.
#[derive(Clone)]
pub struct Connector(pub(super) Arc<Shared>);

pub(super) struct Shared {
    credentials: Credentials,
    unlocked: Unlocked,
    answers: Answers,
    user: String,
    pub(super) known_files: KnownFiles,
    jumps: Mutex<HashMap<Hop, Arc<AsyncMutex<Jump>>>>,
}

/// A jump host, as it was found last.
#[derive(Default)]
struct Jump {
    session: Option<Session>,
    /// Why it could not be reached, and when that was known.
    failure: Option<(Instant, Arc<SshError>)>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("credentials", &self.0.credentials).finish_non_exhaustive()
    }
}

impl Default for Connector {
    /// With the credentials of this process's environment.
    fn default() -> Self {
        Self::new(Credentials::from_env())
    }
}

impl Connector {
    /// Connects with these credentials.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        let answers = Answers::new("ssh".into(), credentials.home.clone());
        let user = local_user(|name| std::env::var(name).ok());
        Self(Arc::new(Shared {
            credentials,
            unlocked: Unlocked::default(),
            answers,
            user,
            known_files: KnownFiles::default(),
            jumps: Mutex::default(),
        }))
    }

    /// How a machine is reached: what the inventory says, over ssh_config, over defaults.
    ///
    /// # Errors
    /// ssh_config is wrong.
    pub async fn route(&self, target: &Target) -> Result<Route, SshError> {
        let here = Here { home: self.0.credentials.home.as_deref(), user: &self.0.user };
        route(target, &self.0.answers, &here).await
    }

    /// Connects to `target` and logs in, over its jump hosts if it has any.
    ///
    /// Every address of a name is tried. TCP connect, key exchange and log-in have the target's
    /// `connect_timeout` each. A connection that the server closes before anybody logged in
    /// is tried again up to five times within about five seconds.
    ///
    /// # Errors
    /// Names the machine and the one step that failed; see [`SshError`].
    pub async fn connect(&self, target: &Target) -> Result<Session, SshError> {
        let route = self.route(target).await?;
        self.session(&route.hop, Some(&target.name)).await
    }

    /// A connection to the goal, which has a name in the inventory, or to a jump host.
    async fn session(&self, hop: &Hop, goal: Option<&str>) -> Result<Session, SshError> {
        let through = self.through(hop).await?;
        let (credentials, unlocked) = (&self.0.credentials, &self.0.unlocked);
        let access = Access { credentials, unlocked, name: goal.unwrap_or(&hop.name), jump: goal.is_none() };
        let trip = round_trip(access.name, "connect");
        let connected = trip.of(connect(hop, through.as_ref(), &access, &self.0.known_files)).await?;
        Ok(Session::new(connected, hop))
    }

    /// The jump host before a machine, if there is one, logged in to.
    pub(super) async fn through(&self, hop: &Hop) -> Result<Option<Session>, SshError> {
        match &hop.proxy {
            Proxy::Jump(jump) => match Box::pin(self.jump(jump)).await {
                Ok(session) => Ok(Some(session)),
                Err(source) => Err(SshError::JumpHost { peer: hop.peer(), source }),
            },
            Proxy::None | Proxy::Command(_) => Ok(None),
        }
    }

    /// The connection to a jump host. Those who wait for it at the same time share its failure, too.
    async fn jump(&self, hop: &Hop) -> Result<Session, Arc<SshError>> {
        let since = Instant::now();
        let slot = {
            let mut jumps = self.0.jumps.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(jumps.entry(hop.clone()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(session) = &slot.session
            && !session.is_closed()
        {
            return Ok(session.clone());
        }
        if let Some((known, failure)) = &slot.failure
            && *known >= since
        {
            return Err(Arc::clone(failure));
        }
        match self.session(hop, None).await {
            Ok(session) => {
                *slot = Jump { session: Some(session.clone()), failure: None };
                Ok(session)
            }
            Err(error) => {
                let error = Arc::new(error);
                *slot = Jump { session: None, failure: Some((Instant::now(), Arc::clone(&error))) };
                Err(error)
            }
        }
    }
}

/// The user who runs this, as OpenSSH would log in.
fn local_user(variable: impl Fn(&str) -> Option<String>) -> String {
    let said = ["USER", "LOGNAME"].iter().find_map(|name| variable(name).filter(|user| !user.is_empty()));
    said.or_else(|| {
        let output = std::process::Command::new("id").arg("-un").stdin(std::process::Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|user| !user.is_empty())
    })
    .unwrap_or_else(|| "root".to_owned())
}

#[cfg(test)]
mod tests {
    use super::local_user;

    #[test]
    fn the_local_user() {
        assert_eq!(local_user(|name| (name == "LOGNAME").then(|| "me".to_owned())), "me");
        assert_eq!(local_user(|name| Some(if name == "USER" { "" } else { "me" }.to_owned())), "me");
        assert!(!local_user(|_| None).is_empty());
    }
}
