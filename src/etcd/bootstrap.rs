//! Which cluster the hosts' data dirs belong to, and what follows for members that have none.
//!
//! A wrong answer loses data in silence (a stale data dir with the same token joins as a healthy
//! member with other data; members that lost their disks form an empty cluster if they are told
//! that it is new), so everything that does not fit together is refused.

use super::config::{CLUSTER_ID, Membership, value_of};
use super::health::quorum;
use super::identity::{ClusterId, MemberId, WalHead};

mod error;
mod owner;

pub use error::BootstrapError;
pub use owner::of_others;

/// What a host holds of a member.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The host's name.
    pub host: String,
    /// Where its data dir is.
    pub data_dir: String,
    /// The URL by which clients are to reach it.
    pub client_url: String,
    /// Whether anything is in the data dir.
    pub data: bool,
    /// Whether its etcd runs.
    pub runs: bool,
    /// What its newest WAL says.
    pub wal: Option<WalHead>,
    /// The environment file that is in force, if it is ours.
    pub environment: Option<String>,
}

impl Found {
    /// Whether there is data that counts. A member that was just started has a data dir before it has a WAL therein, on a
    /// slow disk for seconds; it holds nothing until then.
    fn has_data(&self) -> bool {
        self.data && (self.wal.is_some() || !self.runs)
    }
}

/// Decides which cluster the members are to form or go on with.
///
/// `fresh` is the inventory's membership with a new random token; it is taken only where no host
/// holds any data. A bootstrap that broke off before its first quorum is taken up again with the
/// token that its members already have, and so is one that broke off after it, as long as nobody wrote
/// down that the cluster exists: a host without data was not started yet then. Should it have lost
/// its data in that moment, etcd finds out: at its start it asks the members that run whether it was
/// bootstrapped before, and ends if it was. So a quorum of them has to run.
///
/// # Errors
/// Every host whose data does not fit; all of them at once.
pub fn membership(found: &[Found], fresh: Membership) -> Result<Membership, Vec<BootstrapError>> {
    let mut problems = Vec::new();
    for host in found.iter().filter(|host| host.has_data() && host.wal.is_none()) {
        problems.push(BootstrapError::NotEtcd { host: host.host.clone(), data_dir: host.data_dir.clone() });
    }
    let members: Vec<(&Found, WalHead)> = found.iter().filter_map(|host| Some((host, host.wal?))).collect();
    let Some(&(first, head)) = members.first() else {
        // Data dirs that are empty because the inventory points elsewhere are no fresh hosts.
        problems.extend(found.iter().flat_map(moved));
        if problems.is_empty() {
            problems.extend(found.iter().filter_map(|host| {
                let cluster = recorded(host, &fresh)?.established?;
                Some(BootstrapError::Gone { host: host.host.clone(), data_dir: host.data_dir.clone(), cluster })
            }));
        }
        // A bootstrap that never got as far as data goes on with its token: etcd may be starting with it
        // again and again, and could write data under the old token while a new one is put in its place.
        let begun = found.iter().filter_map(|host| recorded(host, &fresh)).find(|own| own.peers == fresh.peers);
        let token = begun.map_or(fresh.token, |own| own.token);
        return if problems.is_empty() { Ok(Membership { token, ..fresh }) } else { Err(problems) };
    };
    for (index, (host, wal)) in members.iter().enumerate() {
        if wal.cluster != head.cluster {
            problems.push(BootstrapError::Different {
                host: host.host.clone(),
                data_dir: host.data_dir.clone(),
                cluster: wal.cluster,
                other_host: first.host.clone(),
                other: head.cluster,
            });
        } else if let Some((twin, _)) = members[..index].iter().find(|(_, other)| other.member == wal.member) {
            problems.push(BootstrapError::SameMember {
                host: twin.host.clone(),
                other_host: host.host.clone(),
                member: wal.member,
            });
        }
    }
    let own: Vec<Option<Membership>> = members.iter().map(|(host, _)| recorded(host, &fresh)).collect();
    let ours = |(_, wal): &(&Found, WalHead), recorded: &Option<Membership>| {
        recorded.as_ref().is_some_and(|own| own.established.unwrap_or(own.cluster_id()) == wal.cluster)
    };
    let of_ours = members.iter().zip(&own).find(|(member, own)| ours(member, own)).map(|((host, wal), _)| (*host, wal));
    for (member @ (host, wal), recorded) in members.iter().zip(&own) {
        if !ours(member, recorded) && wal.cluster == head.cluster {
            let (host, data_dir, cluster) = (host.host.clone(), host.data_dir.clone(), wal.cluster);
            problems.push(match (recorded, of_ours.filter(|(_, own)| own.cluster == cluster)) {
                (Some(_), _) => BootstrapError::Mismatch { host, data_dir, cluster },
                (None, Some((other, _))) => {
                    BootstrapError::Unrecorded { host, data_dir, cluster, other_host: other.host.clone() }
                }
                (None, None) => BootstrapError::Foreign { host, data_dir, cluster },
            });
        }
    }
    let stood =
        members.iter().any(|(_, wal)| wal.had_leader) || own.iter().flatten().any(|own| own.established.is_some());
    let known = own.iter().flatten().next().map(|own| own.peers.as_slice()).unwrap_or_default();
    if stood && known != fresh.peers {
        let only = |these: &[(String, String)], those: &[(String, String)]| {
            these.iter().filter(|peer| !those.contains(peer)).map(|(name, url)| format!("{name}={url}")).collect()
        };
        let (added, removed): (Vec<_>, Vec<_>) = (only(&fresh.peers, known), only(known, &fresh.peers));
        // Another order of the same members is nothing.
        if !known.is_empty() && added.len() + removed.len() > 0 {
            problems.push(BootstrapError::Members { host: first.host.clone(), cluster: head.cluster, added, removed });
        }
    }
    // A host that was never a member is among those that were added.
    let was_member = |host: &&Found| known.iter().any(|(name, _)| *name == host.host);
    let without: Vec<_> = found.iter().filter(|host| !host.has_data()).filter(was_member).collect();
    let recorded_anywhere = found.iter().filter_map(|host| recorded(host, &fresh)).any(|own| own.established.is_some());
    // Hosts are not looked at in the same moment: one whose etcd has just been started may have been seen without data, and
    // another a second later with the leader that the two have by then.
    let running = found.iter().filter(|host| host.runs).count();
    let broke_off = !recorded_anywhere && running >= quorum(found.len());
    if stood {
        for host in without.iter().filter(|_| !broke_off) {
            problems.push(BootstrapError::Lost {
                host: host.host.clone(),
                data_dir: host.data_dir.clone(),
                cluster: head.cluster,
                other_host: first.host.clone(),
            });
        }
    } else {
        for ((host, _), own) in members.iter().zip(own.iter().flatten()) {
            if own.peers != fresh.peers {
                problems.push(BootstrapError::Abandoned {
                    host: host.host.clone(),
                    data_dir: host.data_dir.clone(),
                    began: own.initial_cluster(),
                });
            }
        }
    }
    let Some(token) = own.iter().flatten().map(|own| own.token.clone()).next().filter(|_| problems.is_empty()) else {
        return Err(problems);
    };
    let established = (stood && without.is_empty()).then_some(head.cluster);
    Ok(Membership { token, peers: fresh.peers, established })
}

/// The same, where not every host could be looked at. `None`: only all of them together can tell.
///
/// It can be told where each of the `found` has data and one of them has written down that the cluster stands: then all of
/// the inventory's hosts were members of it, and what became of the others' data makes no difference to these.
#[must_use]
pub fn membership_of_some(found: &[Found], fresh: Membership) -> Option<Result<Membership, Vec<BootstrapError>>> {
    let stands = found.iter().filter_map(|host| recorded(host, &fresh)).any(|own| own.established.is_some());
    (stands && found.iter().all(Found::has_data)).then(|| membership(found, fresh))
}

/// What a member on `found` was set up with that the inventory has changed since.
fn moved(found: &Found) -> Vec<BootstrapError> {
    let Some(environment) = found.environment.as_deref() else { return Vec::new() };
    // A file of a bootstrap that never put data there binds nobody.
    if value_of(environment, CLUSTER_ID).is_none() && !found.data && !found.runs {
        return Vec::new();
    }
    let pairs = [
        ("name", "ETCD_NAME", &found.host),
        ("data dir", "ETCD_DATA_DIR", &found.data_dir),
        ("client URL", "ETCD_ADVERTISE_CLIENT_URLS", &found.client_url),
    ];
    let differs = pairs.into_iter().filter_map(|(what, variable, now)| {
        let was = value_of(environment, variable)?;
        (was != now).then(|| BootstrapError::Moved {
            host: found.host.clone(),
            what,
            was: was.to_owned(),
            now: now.clone(),
        })
    });
    differs.collect()
}

/// The membership that a host's own environment file records.
fn recorded(found: &Found, fresh: &Membership) -> Option<Membership> {
    let environment = found.environment.as_deref()?;
    let token = value_of(environment, "ETCD_INITIAL_CLUSTER_TOKEN")?.to_owned();
    let peers = value_of(environment, "ETCD_INITIAL_CLUSTER")?
        .split(',')
        .map(|peer| peer.split_once('=').map(|(name, url)| (name.to_owned(), url.to_owned())))
        .collect::<Option<_>>()
        .unwrap_or_else(|| fresh.peers.clone());
    let established = value_of(environment, CLUSTER_ID).and_then(|id| id.parse().ok());
    Some(Membership { token, peers, established })
}

#[cfg(test)]
mod tests;
