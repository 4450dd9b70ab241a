//! Which versions of etcd the members run, and have agreed on.

use super::Fleet;
use crate::etcd::upgrade::Runs;
use crate::host::Observation;
use crate::inventory::Host;
use semver::Version;

impl Fleet {
    /// What is known of the members' versions, from what was looked at already. A member that does not
    /// answer has the version that its binary is linked to, if it has data: that one opened it last.
    pub async fn versions(&self) -> Vec<Runs> {
        // Without certificates nobody can be asked; the hosts tell.
        let cluster = self.standing_cluster().await.ok();
        let mut versions = Vec::new();
        for host in &self.inventory.hosts {
            let member =
                cluster.iter().flat_map(|cluster| &cluster.members).find(|member| member.look.host == host.name);
            let said = member.and_then(|member| member.look.report.as_ref().ok()?.status.version.parse().ok());
            if let Some(version) = said {
                versions.push(Runs { version, answers: true });
            } else if let Ok(seen) = self.seen(host).await
                && seen.data.is_some()
                && let Some(version) = linked_version(host, &seen)
            {
                versions.push(Runs { version, answers: false });
            }
        }
        versions
    }

    /// The version that the members have agreed on, as the first that answers tells it.
    pub(super) async fn cluster_version(&self) -> Option<Version> {
        for host in &self.inventory.hosts {
            if let Ok(member) = self.member(host).await
                && let Ok(version) = member.cluster_version().await
            {
                return version.parse().ok();
            }
        }
        None
    }
}

/// The version of the release that is linked into the host's `bin` folder.
#[must_use]
pub fn linked_version(host: &Host, seen: &Observation) -> Option<Version> {
    let target = seen.link(&format!("{}/etcd", host.paths.bin))?;
    let release = target.strip_prefix(&format!("{}/releases/", host.paths.install))?;
    let version: Version = release.split('/').next()?.parse().ok()?;
    // Which of several builds it is says nothing of what it can do.
    Some(Version { build: semver::BuildMetadata::EMPTY, ..version })
}
