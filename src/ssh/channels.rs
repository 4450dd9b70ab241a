//! How many commands run on one connection at once.
//!
//! OpenSSH allows ten sessions a connection (MaxSessions) and still counts those that are being
//! closed; administrators set it lower. So we keep well below, and where a session is refused
//! nonetheless, one of our own has to end first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelOpenFailure};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::error::{NO_ANSWER, SshError};
use super::session::Inner;
use crate::timing::part;

/// Commands at once on one connection.
const AT_ONCE: usize = 4;

/// How often a refused session is asked for again while none of ours is open.
const TRIES: u32 = 8;

/// The turns that commands take.
#[derive(Debug)]
pub(super) struct Slots {
    permits: Arc<Semaphore>,
    open: AtomicUsize,
    freed: Notify,
}

impl Default for Slots {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), open: AtomicUsize::new(0), freed: Notify::new() }
    }
}

/// The right to have a session open; given back when dropped.
pub(super) struct Slot {
    inner: Arc<Inner>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.inner.slots.open.fetch_sub(1, Ordering::SeqCst);
        self.inner.slots.freed.notify_waiters();
    }
}

/// Opens a session in its turn.
pub(super) async fn open_in_turn(inner: &Arc<Inner>) -> Result<(Channel<Msg>, Slot), SshError> {
    let Ok(permit) = part("waiting for a turn", Arc::clone(&inner.slots.permits).acquire_owned()).await else {
        return Err(inner.lost());
    };
    let mut tries = 0;
    loop {
        let freed = inner.slots.freed.notified();
        match open(inner).await? {
            Ok(channel) => {
                inner.slots.open.fetch_add(1, Ordering::SeqCst);
                return Ok((channel, Slot { inner: Arc::clone(inner), _permit: permit }));
            }
            // A session of ours that ends makes room; the server may take a moment to notice.
            Err(_) if inner.slots.open.load(Ordering::SeqCst) > 0 => {
                let _ = timeout(Duration::from_secs(1), freed).await;
                sleep(Duration::from_millis(10)).await;
            }
            Err(_) if tries < TRIES => {
                tries += 1;
                sleep(Duration::from_millis(10 << tries)).await;
            }
            Err(reason) => {
                return Err(SshError::ChannelRefused { peer: inner.peer.clone(), reason });
            }
        }
    }
}

/// Opens a session at once. The inner error is a refusal that may pass.
pub(super) async fn open(inner: &Inner) -> Result<Result<Channel<Msg>, &'static str>, SshError> {
    match timeout(inner.limit, inner.handle.channel_open_session()).await {
        Ok(Ok(channel)) => Ok(Ok(channel)),
        Ok(Err(russh::Error::ChannelOpenFailure(failure))) => match failure {
            ChannelOpenFailure::ConnectFailed | ChannelOpenFailure::ResourceShortage => Ok(Err(reason(&failure))),
            failure => Err(SshError::ChannelRefused { peer: inner.peer.clone(), reason: reason(&failure) }),
        },
        Ok(Err(_)) => Err(inner.lost()),
        Err(_) => Err(SshError::ChannelRefused { peer: inner.peer.clone(), reason: NO_ANSWER }),
    }
}

/// The reasons of RFC 4254, 5.1.
pub(super) fn reason(failure: &ChannelOpenFailure) -> &'static str {
    match failure {
        ChannelOpenFailure::AdministrativelyProhibited => "administratively prohibited",
        ChannelOpenFailure::ConnectFailed => "connect failed",
        ChannelOpenFailure::UnknownChannelType => "unknown channel type",
        ChannelOpenFailure::ResourceShortage => "resource shortage",
        _ => "refused",
    }
}
