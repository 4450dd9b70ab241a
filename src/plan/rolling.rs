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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::State::{self, *};
    use crate::etcd::testing::{cluster, name};
    use proptest::prelude::*;

    #[test]
    fn the_broken_first_and_the_leader_last() {
        for (states, want) in [
            (&[Follows, Follows, Leads][..], "123"),
            (&[Leads, Follows, Follows], "231"),
            (&[Follows, Leads, Follows], "132"),
            (&[Leads, Follows, Down], "321"),
            (&[Alarm("NOSPACE"), Leads, Follows], "132"),
            (&[Down, Down, NoLeader], "123"),
            (&[Leads, Learner, Follows], "231"),
            // Nobody can say who leads: the inventory's order.
            (&[Leads, FollowsOther(3), Follows], "123"),
            (&[Leads], "1"),
        ] {
            let hosts: Vec<String> = (1..=states.len()).map(name).collect();
            let order: String = order(&hosts, &cluster(states)).iter().map(|host| &host[5..]).collect();
            assert_eq!(order, want, "{states:?}");
        }
    }

    #[test]
    fn only_those_that_are_due() {
        let due = [name(3), name(1)];
        assert_eq!(order(&due, &cluster(&[Leads, Follows, Follows])), due);
        assert_eq!(order(&[], &cluster(&[Leads])), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn nobody_is_left_out_or_touched_twice(
            states in prop::collection::vec(prop_oneof![Just(Follows), Just(Leads), Just(Down), Just(State::NoLeader)], 1..8),
            due in prop::collection::vec(any::<bool>(), 8),
        ) {
            let hosts: Vec<String> = (1..=states.len()).filter(|place| due[place - 1]).map(name).collect();
            let mut ordered = order(&hosts, &cluster(&states));
            ordered.sort();
            prop_assert_eq!(ordered, hosts);
        }
    }
}
