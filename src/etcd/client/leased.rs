//! A key that goes away by itself: written with a lease, which ends some time after its holder fell silent.

use super::{CallError, MemberClient};
use etcd_client::{LeaseGrantOptions, PutOptions, ResponseHeader};

/// A lease that a member granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseId(i64);

impl MemberClient {
    /// Has a lease granted that ends `seconds` after it was last kept alive; also says the raft term.
    ///
    /// # Errors
    /// The call failed.
    pub async fn grant(&self, seconds: i64) -> Result<(LeaseId, u64), CallError> {
        let mut leases = self.client.lease_client();
        let granted = self.call("lease grant", leases.grant(seconds, None::<LeaseGrantOptions>)).await?;
        Ok((LeaseId(granted.id()), term(granted.header())))
    }

    /// Keeps a lease from ending.
    ///
    /// # Errors
    /// The call failed, or the lease has ended.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<(), CallError> {
        let mut leases = self.client.lease_client();
        // The first answer is awaited when the stream is opened, and is an error if the lease has ended.
        self.call("lease keep alive", leases.keep_alive(lease.0)).await.map(|_| ())
    }

    /// Ends a lease, and with it the keys that were written with it.
    ///
    /// # Errors
    /// The call failed.
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), CallError> {
        let mut leases = self.client.lease_client();
        self.call("lease revoke", leases.revoke(lease.0)).await.map(|_| ())
    }

    /// Writes a key that goes with the lease; says the raft term.
    ///
    /// # Errors
    /// The call failed; the key may have been written nonetheless.
    pub async fn put(&self, key: &str, value: &str, lease: LeaseId) -> Result<u64, CallError> {
        let mut kv = self.client.kv_client();
        let put = self.call("put", kv.put(key, value, Some(PutOptions::new().with_lease(lease.0)))).await?;
        Ok(term(put.header()))
    }
}

fn term(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, ResponseHeader::raft_term)
}
