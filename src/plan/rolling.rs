//! In which order a rolling play touches the members.

use crate::etcd::health::ClusterHealth;

/// Sorts `hosts`: members that are down first, since nothing can hurt them; then followers in the
/// inventory's order; the leader last, so that leadership moves once at most.
#[must_use]
pub(super) fn order(hosts: &[String], cluster: &ClusterHealth) -> Vec<String> {
    let leader = cluster.leader();
    let rank = |host: &String| {
        let Some(member) = cluster.members.iter().find(|member| &member.look.host == host) else { return 0 };
        match &member.ailment {
            Some(_) => 0,
            None if member.id.is_some() && member.id == leader => 2,
            None => 1,
        }
    };
    let mut sorted = hosts.to_vec();
    sorted.sort_by_key(rank);
    sorted
}
