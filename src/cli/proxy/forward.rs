//! One port of this machine, and the member that it leads to.

use crate::inventory::Host;
use crate::report::Output;
use crate::ssh::{Connector, Session, SshError, Tunnel};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// The pause after a connection could not be accepted, for want of descriptors for example.
const PAUSE: Duration = Duration::from_millis(200);

/// How many connections came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// Those that were forwarded.
    pub connections: usize,
    /// Those that were closed, since the member could not be reached.
    pub failed: usize,
}

impl Served {
    pub fn and(self, other: Self) -> Self {
        Self { connections: self.connections + other.connections, failed: self.failed + other.failed }
    }
}

/// The way to a member.
pub(super) struct Forward {
    host: Host,
    connector: Connector,
    output: Output,
    /// The connection to the host, made when it is needed, and again when it broke.
    session: Mutex<Option<Session>>,
    /// Why the member could not be reached the last time.
    problem: std::sync::Mutex<Option<String>>,
    connections: AtomicUsize,
    failed: AtomicUsize,
}

impl Forward {
    pub fn new(host: Host, connector: Connector, output: Output) -> Self {
        let (connections, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self {
            host,
            connector,
            output,
            session: Mutex::default(),
            problem: std::sync::Mutex::default(),
            connections,
            failed,
        }
    }

    /// Why the member cannot be reached now, if it cannot.
    pub async fn try_out(&self) -> Option<String> {
        let problem = self.tunnel().await.err().map(|error| crate::error::line(&error));
        self.note(problem.clone());
        problem
    }

    pub fn served(&self) -> Served {
        Served { connections: self.connections.load(Ordering::Relaxed), failed: self.failed.load(Ordering::Relaxed) }
    }

    /// Forwards whatever comes in, until this is dropped.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((local, _)) => drop(connections.spawn(self.clone().carry(local))),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                // What has ended is cleared away.
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn carry(self: Arc<Self>, mut local: TcpStream) {
        let _ = local.set_nodelay(true);
        match self.tunnel().await {
            Ok(mut tunnel) => {
                self.connections.fetch_add(1, Ordering::Relaxed);
                if self.note(None).is_some() {
                    self.output.err(&format!("member {} is reached again\n", self.host.name));
                }
                // Each end knows by itself how the other one left.
                let _ = copy_bidirectional(&mut local, &mut tunnel).await;
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let problem = crate::error::line(&error);
                // Tools try again many times a second: the same is not said twice.
                if self.note(Some(problem.clone())).as_ref() != Some(&problem) {
                    let name = &self.host.name;
                    self.output.err(&format!("warning: member {name} cannot be reached: {problem}\n"));
                }
            }
        }
    }

    /// Notes how it stands with the member, and gives how it stood before.
    fn note(&self, problem: Option<String>) -> Option<String> {
        let mut slot = self.problem.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::replace(&mut *slot, problem)
    }

    async fn tunnel(&self) -> Result<Tunnel, SshError> {
        let host = &self.host;
        match self.session().await?.tunnel(&host.address, host.client_port).await {
            // The connection may have ended unnoticed.
            Err(SshError::ConnectionLost { .. }) => self.session().await?.tunnel(&host.address, host.client_port).await,
            opened => opened,
        }
    }

    async fn session(&self) -> Result<Session, SshError> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.is_closed()) {
            return Ok(session.clone());
        }
        let session = self.connector.connect(&self.host.ssh).await?;
        *slot = Some(session.clone());
        Ok(session)
    }
}
