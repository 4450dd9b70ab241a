//! Which cluster the hosts' data dirs belong to, and what follows for members that have none.
//!
//! A wrong answer loses data in silence (a stale data dir with the same token joins as a healthy
//! member with other data; members that lost their disks form an empty cluster if they are told
//! that it is new), so everything that does not fit together is refused.

use super::config::{CLUSTER_ID, Membership, value_of};
use super::health::quorum;
use super::identity::{ClusterId, MemberId, WalHead};
use crate::error::{ExitStatus, Explain};

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

/// Why the hosts' data dirs do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// A data dir holds something, but no WAL that can be read.
    #[error("host `{host}`: data dir `{data_dir}` is not empty, but is no etcd data dir")]
    NotEtcd {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
    },
    /// A data dir holds a member that this tool did not set up there.
    #[error("host `{host}`: data dir `{data_dir}` holds a member of cluster {cluster} that etcd-ha did not set up")]
    Foreign {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster that it belongs to.
        cluster: ClusterId,
    },
    /// Two data dirs belong to different clusters.
    #[error(
        "host `{host}`: data dir `{data_dir}` belongs to cluster {cluster}, but that of `{other_host}` to cluster {other}"
    )]
    Different {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster that it belongs to.
        cluster: ClusterId,
        /// The host that it is compared with.
        other_host: String,
        /// That host's cluster.
        other: ClusterId,
    },
    /// Two hosts hold the data of one member.
    #[error("hosts `{host}` and `{other_host}` both hold the data of member {member}")]
    SameMember {
        /// One host.
        host: String,
        /// The other.
        other_host: String,
        /// The member.
        member: MemberId,
    },
    /// A bootstrap that never had a quorum was begun with other members than the inventory has now.
    #[error(
        "host `{host}`: data dir `{data_dir}` is left from a bootstrap that never had a quorum, with other members ({began})"
    )]
    Abandoned {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The members that it was begun with.
        began: String,
    },
    /// The cluster stands, and the inventory has other members than it.
    #[error("cluster {cluster} has other members than the inventory: {}", difference(.added, .removed))]
    Members {
        /// The host whose record of the members was read.
        host: String,
        /// The cluster.
        cluster: ClusterId,
        /// What only the inventory has, `name=URL` each.
        added: Vec<String>,
        /// What only the cluster has, `name=URL` each.
        removed: Vec<String>,
    },
    /// The member was set up with something else that cannot be changed under it.
    #[error("host `{host}`: its member was set up with {what} `{was}`, the inventory says `{now}`")]
    Moved {
        /// The host.
        host: String,
        /// What it is about: `data dir`.
        what: &'static str,
        /// What its environment file says.
        was: String,
        /// What the inventory says.
        now: String,
    },
    /// The cluster lives, but this host has no data.
    #[error(
        "host `{host}`: data dir `{data_dir}` is empty, but cluster {cluster} exists (`{other_host}` holds a member of it)"
    )]
    Lost {
        /// The host.
        host: String,
        /// Its data dir.
        data_dir: String,
        /// The cluster that the others belong to.
        cluster: ClusterId,
        /// A host that has data.
        other_host: String,
    },
}

impl BootstrapError {
    /// Whether it is about the host `name`.
    #[must_use]
    pub fn concerns(&self, name: &str) -> bool {
        match self {
            Self::NotEtcd { host, .. }
            | Self::Foreign { host, .. }
            | Self::Different { host, .. }
            | Self::Abandoned { host, .. }
            | Self::Members { host, .. }
            | Self::Moved { host, .. }
            | Self::Lost { host, .. } => host == name,
            Self::SameMember { host, other_host, .. } => host == name || other_host == name,
        }
    }
}

fn difference(added: &[String], removed: &[String]) -> String {
    let side = |sign: char, peers: &[String]| peers.iter().map(|peer| format!("{sign}{peer}")).collect::<Vec<_>>();
    [side('+', added), side('-', removed)].concat().join(" ")
}

impl Explain for BootstrapError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Members { .. } => {
                "members are not added, removed, renamed or moved by a deploy: put the inventory back to \
                 the members that the cluster has (`+` is only in the inventory, `-` only in the cluster)"
                    .to_owned()
            }
            Self::Moved { what, was, .. } => {
                format!("put the inventory's {what} back to `{was}`: a deploy does not move a member")
            }
            Self::NotEtcd { host, data_dir } => format!(
                "etcd-ha never deletes data: look at `{data_dir}` on `{host}`, move it aside or set another `paths.data`"
            ),
            Self::Foreign { host, data_dir, .. } | Self::Different { host, data_dir, .. } => format!(
                "etcd-ha never deletes data: if it is no longer needed, move `{data_dir}` on `{host}` aside and run again"
            ),
            Self::Abandoned { host, data_dir, .. } => format!(
                "no data was ever written to it: move `{data_dir}` on `{host}` aside and run again, or restore the inventory"
            ),
            Self::SameMember { .. } => {
                "do not start either: one of the data dirs is a copy; move the copy aside".to_owned()
            }
            Self::Lost { host, .. } => format!(
                "if `{host}` lost its disk, its member has to be removed and added anew \
                 (`etcdctl member remove`, `etcdctl member add`); if the disk is only not mounted, mount it"
            ),
        })
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Refused
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
    for host in found.iter().filter(|host| host.data && host.wal.is_none()) {
        problems.push(BootstrapError::NotEtcd { host: host.host.clone(), data_dir: host.data_dir.clone() });
    }
    let members: Vec<(&Found, WalHead)> = found.iter().filter_map(|host| Some((host, host.wal?))).collect();
    let Some(&(first, head)) = members.first() else {
        // Data dirs that are empty because the inventory points elsewhere are no fresh hosts.
        problems.extend(found.iter().flat_map(moved));
        return if problems.is_empty() { Ok(fresh) } else { Err(problems) };
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
    for ((host, wal), recorded) in members.iter().zip(&own) {
        let ours = recorded.as_ref().is_some_and(|own| own.established.unwrap_or(own.cluster_id()) == wal.cluster);
        if !ours && wal.cluster == head.cluster {
            problems.push(BootstrapError::Foreign {
                host: host.host.clone(),
                data_dir: host.data_dir.clone(),
                cluster: wal.cluster,
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
    let without: Vec<_> = found.iter().filter(|host| !host.data).filter(was_member).collect();
    let recorded_anywhere = found.iter().filter_map(|host| recorded(host, &fresh)).any(|own| own.established.is_some());
    let running = members.iter().filter(|(host, _)| host.runs).count();
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

/// What a member on `found` was set up with that the inventory has changed since.
fn moved(found: &Found) -> Vec<BootstrapError> {
    let Some(environment) = found.environment.as_deref() else { return Vec::new() };
    // A file of a bootstrap that never put data there binds nobody.
    if value_of(environment, CLUSTER_ID).is_none() && !found.data {
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
mod tests {
    use super::*;

    fn fresh() -> Membership {
        let peers = (1..=3).map(|n| (format!("node0{n}"), format!("https://10.19.0.5{}:2380", 4 + n))).collect();
        Membership { token: "fresh".into(), peers, established: None }
    }

    /// A host whose member took part in the bootstrap with `token`.
    fn member(n: usize, token: &str, had_leader: bool, established: bool) -> Found {
        let own = Membership { token: token.into(), ..fresh() };
        let host = format!("node0{n}");
        let wal = WalHead { member: own.member_id(&host).unwrap(), cluster: own.cluster_id(), had_leader };
        let mut environment =
            format!("ETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_CLUSTER_TOKEN={token}\n", own.initial_cluster());
        if established {
            environment += &format!("{CLUSTER_ID}={}\n", own.cluster_id());
        }
        let client_url = "https://10.19.0.55:2379".into();
        Found {
            host,
            data_dir: "/var/lib/etcd".into(),
            client_url,
            data: true,
            runs: true,
            wal: Some(wal),
            environment: Some(environment),
        }
    }

    fn empty(n: usize) -> Found {
        Found { host: format!("node0{n}"), data_dir: "/var/lib/etcd".into(), ..Found::default() }
    }

    #[test]
    fn empty_hosts_form_a_new_cluster() {
        assert_eq!(membership(&[empty(1), empty(2), empty(3)], fresh()), Ok(fresh()));
    }

    #[test]
    fn a_bootstrap_that_broke_off_goes_on_with_its_token() {
        let go_on = membership(&[member(1, "t1", false, false), empty(2), empty(3)], fresh()).unwrap();
        assert_eq!((go_on.token.as_str(), go_on.established), ("t1", None));
    }

    #[test]
    fn a_cluster_that_had_a_leader_is_established_even_if_nobody_wrote_it_down() {
        let hosts = [member(1, "t1", true, false), member(2, "t1", false, false), member(3, "t1", true, false)];
        let cluster = Membership { token: "t1".into(), ..fresh() }.cluster_id();
        assert_eq!(membership(&hosts, fresh()).unwrap().established, Some(cluster));
    }

    #[test]
    fn a_bootstrap_that_broke_off_between_two_starts_goes_on() {
        let hosts = [member(1, "t1", true, false), member(2, "t1", true, false), empty(3)];
        let go_on = membership(&hosts, fresh()).unwrap();
        // Written down only once every member has data: until then a host without is no loss.
        assert_eq!((go_on.token.as_str(), go_on.established), ("t1", None));
        // The record of a host that has no data any more counts, too.
        let mut lost = hosts;
        lost[2].environment = member(3, "t1", true, true).environment;
        let problems = membership(&lost, fresh()).unwrap_err();
        assert!(matches!(&problems[..], [BootstrapError::Lost { host, .. }] if host == "node03"), "{problems:?}");
    }

    #[test]
    fn a_bootstrap_that_broke_off_with_other_members_is_refused() {
        let mut now = fresh();
        now.peers[2].1 = "https://10.19.0.99:2380".into();
        let problems = membership(&[member(1, "t1", false, false), empty(2), empty(3)], now).unwrap_err();
        assert!(matches!(&problems[..], [BootstrapError::Abandoned { host, .. }] if host == "node01"), "{problems:?}");
    }

    #[test]
    fn a_lost_disk_is_refused_once_the_cluster_stood() {
        for (had_leader, established, runs) in [(true, false, false), (false, true, true), (true, true, true)] {
            let mut hosts = [member(1, "t1", had_leader, established), member(2, "t1", true, false), empty(3)];
            hosts[0].runs = runs;
            let problems = membership(&hosts, fresh()).unwrap_err();
            assert!(matches!(&problems[..], [BootstrapError::Lost { host, .. }] if host == "node03"), "{problems:?}");
        }
    }

    #[test]
    fn other_members_than_the_cluster_has_are_refused() {
        let hosts = [member(1, "t1", true, true), member(2, "t1", true, true), member(3, "t1", true, true)];
        let mut grown = fresh();
        grown.peers.push(("node04".into(), "https://10.19.0.58:2380".into()));
        let mut found = hosts.to_vec();
        found.push(empty(4));
        let problems = membership(&found, grown).unwrap_err();
        assert!(
            matches!(&problems[..], [BootstrapError::Members { added, removed, .. }]
            if added == &["node04=https://10.19.0.58:2380"] && removed.is_empty()),
            "{problems:?}"
        );
        let mut shrunk = fresh();
        shrunk.peers.truncate(2);
        let problems = membership(&hosts[..2], shrunk).unwrap_err();
        assert!(
            matches!(&problems[..], [BootstrapError::Members { removed, .. }] if removed.len() == 1),
            "{problems:?}"
        );
        let mut turned = fresh();
        turned.peers.reverse();
        assert!(membership(&hosts, turned).is_ok());
    }

    #[test]
    fn an_inventory_that_points_to_another_data_dir_does_not_make_the_hosts_fresh() {
        let elsewhere = |n| {
            let mut host =
                Found { data_dir: "/srv/etcd".into(), data: false, wal: None, ..member(n, "t1", true, true) };
            host.environment = host.environment.map(|text| text + "ETCD_DATA_DIR=/var/lib/etcd\n");
            host
        };
        let problems = membership(&[elsewhere(1), elsewhere(2), elsewhere(3)], fresh()).unwrap_err();
        assert_eq!(problems.len(), 3);
        assert!(matches!(&problems[0], BootstrapError::Moved { what: "data dir", .. }), "{problems:?}");
    }

    #[test]
    fn data_of_another_cluster_is_refused_with_both_ids() {
        let problems = membership(&[member(1, "t1", true, true), member(2, "t2", true, true), empty(3)], fresh());
        let problems = problems.unwrap_err();
        assert!(problems.iter().any(|p| matches!(p, BootstrapError::Different { host, .. } if host == "node02")));
    }

    #[test]
    fn data_that_we_did_not_set_up_is_refused() {
        let mut foreign = member(1, "t1", true, false);
        foreign.environment = None;
        assert!(matches!(
            &membership(&[foreign, empty(2), empty(3)], fresh()).unwrap_err()[0],
            BootstrapError::Foreign { .. }
        ));
        // Our own file of a later bootstrap does not make old data ours.
        let mut stale = member(1, "t1", true, false);
        stale.environment = member(1, "t2", true, false).environment;
        assert!(matches!(
            &membership(&[stale, empty(2), empty(3)], fresh()).unwrap_err()[0],
            BootstrapError::Foreign { .. }
        ));
    }

    #[test]
    fn a_copied_data_dir_is_refused() {
        let mut copy = member(2, "t1", true, true);
        copy.wal = member(1, "t1", true, true).wal;
        let problems = membership(&[member(1, "t1", true, true), copy, member(3, "t1", true, true)], fresh());
        assert!(matches!(&problems.unwrap_err()[..], [BootstrapError::SameMember { .. }]));
    }

    #[test]
    fn something_that_is_no_data_dir_is_refused() {
        let odd = Found { data: true, ..empty(2) };
        assert!(matches!(
            &membership(&[empty(1), odd, empty(3)], fresh()).unwrap_err()[..],
            [BootstrapError::NotEtcd { .. }]
        ));
    }
}
