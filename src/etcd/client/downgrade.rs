//! etcd's own downgrade: the cluster agrees on an earlier minor version before its members run it.

use super::{CallError, MemberClient};
use etcd_client::DowngradeOptions;
use semver::Version;

impl MemberClient {
    /// Has the cluster agree that its members go down to the minor version of `to`
    /// (<https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/>). That it has done so already is no error.
    ///
    /// # Errors
    /// The call failed, or the cluster must not go down to that version.
    pub async fn enable_downgrade(&self, to: &Version) -> Result<(), CallError> {
        let target = format!("{}.{}.0", to.major, to.minor);
        if self.has_agreed(&target).await? {
            return Ok(());
        }
        let mut maintenance = self.client.maintenance_client();
        let enable = maintenance.downgrade(DowngradeOptions::Enable(target.clone()));
        match self.call("downgrade enable", enable).await {
            // Without an answer it may have been agreed on all the same.
            Err(CallError::Timeout { .. } | CallError::Broken { .. }) if self.has_agreed(&target).await? => Ok(()),
            result => result.map(drop),
        }
    }

    /// Whether the cluster is on its way down already; an error if it must not go there.
    async fn has_agreed(&self, target: &str) -> Result<bool, CallError> {
        let mut maintenance = self.client.maintenance_client();
        let validate = maintenance.downgrade(DowngradeOptions::Validate(target.to_owned()));
        match self.call("downgrade validate", validate).await {
            Ok(_) => Ok(false),
            Err(error) if error.is_downgrade_in_process() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Ends the downgrade that the cluster has agreed on.
    ///
    /// # Errors
    /// The call failed.
    pub async fn cancel_downgrade(&self) -> Result<(), CallError> {
        let mut maintenance = self.client.maintenance_client();
        self.call("downgrade cancel", maintenance.downgrade(DowngradeOptions::Cancel)).await.map(drop)
    }
}
