//! `snapshot`: before another version runs on the data, or it is given up, all of it is brought to the controller.

use super::version_change::{VersionChange, pending, standing};
use super::{Change, ControllerTask, Decision, Fleet, Needs, Overview, SnapshotPlace, TaskError};
use crate::etcd::client::{Download, MemberClient};
use crate::etcd::health::{Ailment, ClusterHealth, MemberHealth};
use crate::etcd::identity::read_wal_head;
use crate::etcd::snapshot::{Contents, Draft, Manifest, Shelf, ShelfError, file_name};
use crate::host::UnitState;
use crate::inventory::{Host, Inventory};
use crate::report::Event;
use serde::Deserialize;
use std::cmp::Reverse;
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;

/// How long a member may be silent in the middle of a snapshot.
const SILENCE: Duration = Duration::from_secs(30);
/// How much of a snapshot is in memory.
const PART: usize = 1 << 20;

/// If the version is about to change, or always, take a snapshot of the data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Take one although the version does not change, and refuse to go on without one.
    #[serde(default)]
    pub always: bool,
}

/// The member that a snapshot is taken from: a healthy follower, which serves it with the least to do
/// beside, of the version of before, if there is one; else whoever answers, since a snapshot is given also
/// without a quorum and without space.
fn giver<'a>(cluster: &'a ClusterHealth, change: &VersionChange) -> Option<&'a MemberHealth> {
    let reports = cluster.members.iter().filter_map(|member| Some((member, &member.look.report.as_ref().ok()?.status)));
    let whole =
        reports.filter(|(member, _)| !matches!(&member.ailment, Some(Ailment::Alarm(kind)) if kind == "CORRUPT"));
    let best = whole.max_by_key(|(member, status)| {
        let follows = status.leader != Some(status.member);
        let old = status.version == change.from.to_string();
        (member.ailment.is_none(), !status.learner, follows, old, status.applied_index, Reverse(status.member))
    });
    best.map(|(member, _)| member)
}

/// Whether no host that was looked at has any data.
fn nothing_to_lose(overview: &Overview<'_>) -> bool {
    overview.seen.values().all(|seen| seen.data.is_none())
}

/// For how long an earlier run's snapshot may be the last one: between a run that was killed and the next.
const LAST_FOR: time::Duration = time::Duration::hours(1);

/// The snapshot that an earlier run took for the same reason, if nothing can have been written since: nobody runs,
/// and no boot would start anybody.
fn last<'a>(overview: &'a Overview<'_>) -> Option<&'a Manifest> {
    // One that an earlier run is still stopping, since only its controller was killed, takes no more writes.
    let serves = |unit: &UnitState| unit.runs() && unit.active != "deactivating";
    if overview.seen.values().any(|seen| serves(&seen.unit) || seen.unit.enabled == "enabled") {
        return None;
    }
    let heads = overview.seen.values().filter_map(|seen| read_wal_head(&seen.data.as_ref()?.wal));
    let clusters: Vec<String> = heads.map(|head| head.cluster.to_string()).collect();
    let same = |kept: &&Manifest| {
        let recent = overview.begun - kept.taken < LAST_FOR;
        recent && kept.from == kept.to && clusters.iter().all(|cluster| *cluster == kept.cluster_id)
    };
    if clusters.is_empty() {
        return None;
    }
    overview.kept.iter().find(same)
}

/// What is to be taken, and whither.
struct Wanted<'a> {
    change: VersionChange,
    from: &'a MemberHealth,
    folder: &'a Path,
    file: String,
}

impl Snapshot {
    fn wanted<'a>(&self, overview: &'a Overview<'_>) -> Result<Option<Wanted<'a>>, TaskError> {
        if overview.snapshot.is_some() || (self.always && (nothing_to_lose(overview) || last(overview).is_some())) {
            return Ok(None);
        }
        let change = if self.always { standing(overview) } else { pending(overview) };
        let (change, cluster) = match (change, &overview.cluster) {
            (Some(change), Some(cluster)) => (change, cluster),
            _ if self.always && *overview.snapshots != SnapshotPlace::Unwanted => {
                let runs = overview.seen.values().any(|seen| seen.unit.runs());
                let why = if runs { "no member answers" } else { "no member runs" };
                return Err(TaskError::NoGiver(why));
            }
            _ => return Ok(None),
        };
        let folder = match overview.snapshots {
            SnapshotPlace::Unwanted => return Ok(None),
            SnapshotPlace::Nowhere => return Err(TaskError::NoStateFolder),
            SnapshotPlace::Folder(folder) => folder,
        };
        let Some(from) = giver(cluster, &change) else {
            if self.always {
                return Err(TaskError::NoGiver("all members that answer have the alarm CORRUPT"));
            }
            let problem = "no member can give a snapshot: none that answers is without the alarm CORRUPT";
            return Err(TaskError::Unsound(vec![problem.to_owned()]));
        };
        let file = file_name(overview.begun, &change.from, &change.to);
        Ok(Some(Wanted { change, from, folder, file }))
    }
}

impl ControllerTask for Snapshot {
    fn needs(&self, _inventory: &Inventory) -> Needs {
        Needs { living: true, kept: self.always, ..Needs::default() }
    }

    fn check(&self, overview: &Overview<'_>) -> Result<Decision, TaskError> {
        let Some(wanted) = self.wanted(overview)? else { return Ok(Decision::Nothing) };
        let path = wanted.folder.join(&wanted.file);
        let host = &wanted.from.look.host;
        let before = if self.always { "anything is deleted".to_owned() } else { wanted.change.to_string() };
        let summary = format!("take a snapshot of member `{host}` before {before}: `{}`", path.display());
        Ok(Decision::Changes(vec![Change::new(summary)]))
    }

    fn warnings(&self, overview: &Overview<'_>) -> Vec<String> {
        if self.always {
            return match (overview.snapshots, last(overview)) {
                _ if nothing_to_lose(overview) || overview.snapshot.is_some() => Vec::new(),
                (SnapshotPlace::Unwanted, _) => vec!["no snapshot is taken, as `--no-snapshot` says".to_owned()],
                (SnapshotPlace::Folder(folder), Some(last)) => vec![format!(
                    "no member runs any more, so that the snapshot of an earlier run is the last: `{}`",
                    folder.join(&last.file).display()
                )],
                _ => Vec::new(),
            };
        }
        match (pending(overview), overview.snapshots) {
            (Some(change), SnapshotPlace::Unwanted) => {
                vec![format!("no snapshot is taken before {change}, as `--no-snapshot` says")]
            }
            _ => Vec::new(),
        }
    }

    async fn apply(&self, overview: &Overview<'_>, fleet: &Fleet) -> Result<(), TaskError> {
        let Some(wanted) = self.wanted(overview)? else { return Ok(()) };
        let host = overview.inventory.hosts.iter().find(|host| host.name == wanted.from.look.host);
        let (Some(host), Ok(report)) = (host, &wanted.from.look.report) else { return Ok(()) };
        let member = fleet.member(host).await?;
        let (draft, contents) = take(fleet, host, &member, wanted.folder).await?;
        let manifest = Manifest {
            file: wanted.file,
            cluster: overview.inventory.cluster.clone(),
            cluster_id: report.status.cluster.to_string(),
            member: host.name.clone(),
            member_id: report.status.member.to_string(),
            from: wanted.change.from,
            to: wanted.change.to,
            // Good to know for whoever restores it, and nothing to fail for.
            cluster_version: member.cluster_version().await.ok(),
            revision: contents.revision,
            keys: contents.keys,
            hash: format!("{:08x}", contents.hash),
            size: contents.size,
            sha256: contents.sha256,
            taken: OffsetDateTime::now_utc(),
            etcd_ha: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let path = on_disk(host, move || draft.keep(&manifest)).await?;
        fleet.note_snapshot(path);
        Ok(())
    }
}

/// Brings a member's snapshot to the controller and reads it back.
async fn take(
    fleet: &Fleet,
    host: &Host,
    member: &MemberClient,
    folder: &Path,
) -> Result<(Draft, Contents), TaskError> {
    let failed = |source| TaskError::Member { member: host.name.clone(), source };
    // Whatever was acknowledged by now has to be in it; without a quorum, what the member has.
    let before = match member.acknowledged_revision().await {
        Ok(revision) => revision,
        Err(_) => member.revision().await.map_err(failed)?,
    };
    let shelf = Shelf::new(folder.to_path_buf());
    let mut draft = on_disk(host, move || shelf.draft()).await?;
    let mut download = member.snapshot(SILENCE).await.map_err(failed)?;
    let mut done = 0;
    loop {
        let (part, left) = part_of(&mut download).await.map_err(failed)?;
        if part.is_empty() {
            break;
        }
        done += part.len() as u64;
        draft = on_disk(host, move || draft.write(&part).map(|()| draft)).await?;
        fleet.reporter.emit(Event::TaskProgress {
            host: "controller".to_owned(),
            task: "snapshot".to_owned(),
            message: format!("taking a snapshot of {}", host.name),
            done: Some(done),
            total: Some(done.saturating_add(left)),
        });
    }
    on_disk(host, move || draft.verify(before).map(|contents| (draft, contents))).await
}

/// The next [`PART`] or so of a snapshot, and how much is to come; empty at its end.
async fn part_of(download: &mut Download) -> Result<(Vec<u8>, u64), crate::etcd::client::CallError> {
    let (mut part, mut left) = (Vec::new(), 0);
    while part.len() < PART {
        match download.next().await? {
            Some((bytes, more)) => {
                part.extend(bytes);
                left = more;
            }
            None => break,
        }
    }
    Ok((part, left))
}

/// Does what waits for a disk where nobody else waits for it.
async fn on_disk<T: Send + 'static>(
    host: &Host,
    work: impl FnOnce() -> Result<T, ShelfError> + Send + 'static,
) -> Result<T, TaskError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| TaskError::Interrupted)?;
    done.map_err(|source| TaskError::Snapshot { member: host.name.clone(), source: Box::new(source) })
}
