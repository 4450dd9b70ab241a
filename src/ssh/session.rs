//! A connection to one machine, logged in.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::Handle;
use russh::{ChannelOpenFailure, Disconnect};
use tokio::time::timeout;

use super::bandwidth::Bandwidth;
use super::channels::{Slots, open, reason};
use super::client::{Client, News};
use super::connect::Connected;
use super::dialogue::{RAW, TERM};
use super::error::SshError;
use super::facts::{Loss, Peer};
use super::hop::Hop;
use super::stream::{Pipe, Tunnel};
use super::wire::Watch;
use crate::timing::part;

/// How long a good-bye may take.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// A connection to one machine, logged in. Clones share it; it is cut when the last of them, and of
/// its pipes and tunnels, is dropped.
#[derive(Clone)]
pub struct Session(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) peer: Peer,
    user: String,
    pub(super) handle: Handle<Client>,
    pub(super) slots: Slots,
    /// How long the machine may take to open a channel.
    pub(super) limit: Duration,
    news: Arc<News>,
    pub(super) watch: Arc<Watch>,
    pub(super) bandwidth: OnceLock<Bandwidth>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.0.peer.to_string()).finish()
    }
}

impl Inner {
    /// The error of something that the end of the connection interrupted.
    pub(super) fn lost(&self) -> SshError {
        let loss = self.news.ended.borrow().clone().unwrap_or(Loss::Closed);
        SshError::ConnectionLost { peer: self.peer.clone(), loss }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed() || self.news.ended.borrow().is_some()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watch.cut();
    }
}

impl Session {
    pub(super) fn new(connected: Connected, hop: &Hop) -> Self {
        Self(Arc::new(Inner {
            peer: connected.peer,
            user: hop.user.clone(),
            handle: connected.handle,
            slots: Slots::default(),
            limit: hop.connect_timeout,
            news: connected.news,
            watch: connected.watch,
            bandwidth: OnceLock::new(),
        }))
    }

    /// Who is logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// The machine.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// Has files that are sent to commands from now on keep to `bandwidth`, together with all others that
    /// do. The first call counts.
    pub fn throttle(&self, bandwidth: &Bandwidth) {
        let _ = self.0.bandwidth.set(bandwidth.clone());
    }

    /// Whether the connection has ended. That it has not is no promise: a cut link shows after four
    /// times the target's `keepalive`.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Opens a TCP connection from the machine to `host` and `port`, as the machine sees them.
    ///
    /// # Errors
    /// [`SshError::TunnelRefused`] where nothing listens there or sshd's settings forbid it.
    pub async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, SshError> {
        let inner = &self.0;
        let to = || {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let opening = inner.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        match part("tunnel", timeout(inner.limit, opening)).await {
            Ok(Ok(channel)) => Ok(Tunnel::new(channel, Arc::clone(inner))),
            Ok(Err(russh::Error::ChannelOpenFailure(failure))) => Err(SshError::TunnelRefused {
                peer: inner.peer.clone(),
                to: to(),
                prohibited: failure == ChannelOpenFailure::AdministrativelyProhibited,
                reason: reason(&failure),
            }),
            Ok(Err(_)) => Err(inner.lost()),
            Err(_) => Err(SshError::TunnelTimeout { peer: inner.peer.clone(), to: to(), after: inner.limit }),
        }
    }

    /// Starts `command` and leaves its standard input and output to the caller, for as long as the
    /// caller holds them: for a command that waits for the end of its input, such as one that holds a
    /// lock. It does not take one of the turns that [`exec`](Self::exec) waits for. Standard error
    /// and exit status are not to be had; on a `terminal` the former is one with standard output, and the
    /// input ends with the channel only.
    ///
    /// # Errors
    /// [`SshError::ChannelRefused`] if the machine opens no more sessions.
    pub async fn pipe(&self, command: &str, terminal: bool) -> Result<Pipe, SshError> {
        let inner = &self.0;
        let channel = match open(inner).await? {
            Ok(channel) => channel,
            Err(reason) => {
                return Err(SshError::ChannelRefused { peer: inner.peer.clone(), reason });
            }
        };
        if terminal && channel.request_pty(false, TERM, 80, 24, 0, 0, RAW).await.is_err() {
            return Err(inner.lost());
        }
        match channel.exec(false, command).await {
            Ok(()) => Ok(Pipe::new(channel, Arc::clone(inner))),
            Err(_) => Err(inner.lost()),
        }
    }

    /// Whether the machine opens another session beside those that are open now.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn has_room(&self) -> Result<bool, SshError> {
        let Ok(channel) = open(&self.0).await? else { return Ok(false) };
        // If that does not get out, the connection has ended, which whoever uses it next finds.
        let _ = channel.close().await;
        Ok(true)
    }

    /// Says good-bye and closes the connection, whatever still runs on it; within a second.
    pub async fn close(&self) {
        let mut ended = self.0.news.ended.subscribe();
        let good_bye = async {
            if self.0.handle.disconnect(Disconnect::ByApplication, "", "").await.is_ok() {
                let _ = ended.wait_for(Option::is_some).await;
            }
        };
        let _ = timeout(GOOD_BYE, good_bye).await;
        self.0.watch.cut();
    }
}
