//! A member's snapshot as it arrives.

use super::error::call_error;
use super::{CallError, MemberClient};
use crate::timing::round_trip;
use std::time::Duration;

/// What errors call it.
const CALL: &str = "snapshot";

/// The most that a snapshot may be: some times what etcd is made for (8 GiB).
const MOST: u64 = 64 << 30;
/// What a member sends beyond the size that it tells at first: the SHA-256 of it all.
const BEYOND: u64 = 64;

/// A snapshot on its way, a part at a time, so that none is ever in memory as a whole.
pub struct Download {
    stream: etcd_client::SnapshotStreaming,
    silence: Duration,
    tally: Tally,
}

/// How much has come, and how much was to come when the first part did: a member that means harm could fill the disk.
#[derive(Debug, Default)]
struct Tally {
    come: u64,
    told: Option<u64>,
}

impl Tally {
    fn add(&mut self, length: u64, left: u64) -> Result<(), CallError> {
        let told = *self.told.get_or_insert(length.saturating_add(left));
        self.come = self.come.saturating_add(length);
        if self.come > told.saturating_add(BEYOND) || told > MOST {
            let message = if told > MOST {
                format!("it would be {told} bytes, which no snapshot is")
            } else {
                format!("it goes on beyond the {told} bytes that it was to be")
            };
            return Err(CallError::Refused { call: CALL, message });
        }
        Ok(())
    }
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
        Ok(Download { stream, silence, tally: Tally::default() })
    }
}

impl Download {
    /// The next part, and how many bytes are still to come; `None` at the end.
    ///
    /// # Errors
    /// The member broke off, was silent for too long, or sends more than it told.
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, u64)>, CallError> {
        let part = bounded(self.silence, self.stream.message()).await?;
        let Some(part) = part else { return Ok(None) };
        self.tally.add(part.blob().len() as u64, part.remaining_bytes())?;
        Ok(Some((part.blob().to_vec(), part.remaining_bytes())))
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

#[cfg(test)]
mod tests {
    use super::{MOST, Tally};

    #[test]
    fn no_more_comes_than_was_told() {
        for (parts, want) in [
            // As etcd does it: parts of 32 KiB, and the digest behind them.
            (&[(32_768, 65_536), (32_768, 32_768), (32_768, 0), (32, 0)][..], None),
            (&[(0, 0), (32, 0)], None),
            (
                &[(10, 10), (10, 10), (10, 10), (54, 10), (1, 10)],
                Some("it goes on beyond the 20 bytes that it was to be"),
            ),
            (&[(10, u64::MAX)], Some("it would be 18446744073709551615 bytes, which no snapshot is")),
            (&[(1, MOST)], Some("it would be 68719476737 bytes, which no snapshot is")),
        ] {
            let mut tally = Tally::default();
            let refused = parts.iter().find_map(|(length, left)| tally.add(*length, *left).err());
            let want = want.map(|words| format!("`snapshot`: {words}"));
            assert_eq!(refused.map(|error| error.to_string()), want, "{parts:?}");
        }
    }
}
