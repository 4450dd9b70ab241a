//! A member's snapshot as it arrives.

use super::error::call_error;
use super::{CallError, MemberClient};
use crate::timing::round_trip;
use std::time::Duration;

/// What errors call it.
const CALL: &str = "snapshot";

/// A snapshot on its way, a part at a time, so that none is ever in memory as a whole.
pub struct Download {
    stream: etcd_client::SnapshotStreaming,
    silence: Duration,
}

impl MemberClient {
    /// The newest revision that the member has applied.
    ///
    /// # Errors
    /// The call failed.
    pub async fn revision(&self) -> Result<i64, CallError> {
        let mut maintenance = self.client.maintenance_client();
        let status = self.call("status", maintenance.status()).await?;
        Ok(status.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// The revision of a linearizable read: the member has everything that was acknowledged before.
    ///
    /// # Errors
    /// The call failed; it takes a quorum.
    pub async fn acknowledged_revision(&self) -> Result<i64, CallError> {
        let mut kv = self.client.kv_client();
        let read = self.call("linearizable read", kv.get("health", None)).await?;
        Ok(read.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// Begins a snapshot of all that the member holds. It may take as long as it takes, but no part of
    /// it longer than `silence`.
    ///
    /// # Errors
    /// The call failed.
    pub async fn snapshot(&self, silence: Duration) -> Result<Download, CallError> {
        let mut maintenance = self.client.maintenance_client();
        let begun = bounded(silence, maintenance.snapshot());
        let stream = round_trip(&self.host, "begin a snapshot").of(begun).await?;
        Ok(Download { stream, silence })
    }
}

impl Download {
    /// The next part, and how many bytes are still to come; `None` at the end.
    ///
    /// # Errors
    /// The member broke off, or was silent for too long.
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, u64)>, CallError> {
        let part = bounded(self.silence, self.stream.message()).await?;
        Ok(part.map(|part| (part.blob().to_vec(), part.remaining_bytes())))
    }
}

async fn bounded<T>(
    limit: Duration,
    future: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result.map_err(|error| call_error(CALL, &error)),
        Err(_) => Err(CallError::Timeout { call: CALL, limit }),
    }
}
