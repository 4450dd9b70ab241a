//! Whether a member and the cluster are healthy, and if not, why.

use super::client::{CallError, Listed, Report};
use super::config::{client_url, peer_url};
use super::identity::MemberId;
use super::problem::Problem;
use crate::inventory::Host;
use semver::Version;
use std::collections::BTreeMap;
use std::fmt;

/// What one look at one host's member gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The host's name, which is the member's.
    pub host: String,
    /// The URL that was asked.
    pub endpoint: String,
    /// The URL by which the inventory has its peers reach it.
    pub peer_url: String,
    /// What it said, or how far the question got.
    pub report: Result<Report, CallError>,
}

impl Look {
    /// A look at `host`.
    #[must_use]
    pub fn new(host: &Host, report: Result<Report, CallError>) -> Self {
        Self { host: host.name.clone(), endpoint: client_url(host), peer_url: peer_url(host), report }
    }

    /// Why the member is not healthy; `None` if it is.
    #[must_use]
    pub fn ailment(&self) -> Option<Ailment> {
        let report = match &self.report {
            Ok(report) => report,
            Err(error) => return Some(Ailment::Unreachable(error.clone())),
        };
        let status = &report.status;
        if let Ok(alarms) = &report.alarms
            && let Some(alarm) = alarms.iter().find(|alarm| alarm.member == status.member)
        {
            return Some(Ailment::Alarm(alarm.kind.clone()));
        }
        if status.leader.is_none() {
            return Some(Ailment::NoLeader);
        }
        if status.learner {
            return Some(Ailment::Learner);
        }
        match (&report.read, &report.alarms) {
            (Err(error), _) | (Ok(()), Err(error)) => Some(Ailment::Call(error.clone())),
            (Ok(()), Ok(_)) => None,
        }
    }
}

/// Why a member is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ailment {
    /// It could not be asked.
    Unreachable(CallError),
    /// It follows no leader.
    NoLeader,
    /// It raised this alarm.
    Alarm(String),
    /// It has no vote yet.
    Learner,
    /// It answers, but a call that a healthy member serves failed.
    Call(CallError),
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) | Self::Call(error) => write!(f, "{error}"),
            Self::NoLeader => write!(f, "no leader"),
            Self::Alarm(kind) => write!(f, "alarm {kind}"),
            Self::Learner => write!(f, "learner, which has no vote yet"),
        }
    }
}

/// How many voters of `voters` have to be up.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// The state of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every member of the inventory is healthy, and there is none beside them.
    Healthy,
    /// There is a quorum, but not all is well.
    Degraded,
    /// There is no quorum.
    Unhealthy,
}

/// The health of a whole cluster, as seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterHealth {
    /// The members, sorted by id, those without a known id last.
    pub members: Vec<MemberHealth>,
    /// What is wrong with the cluster as a whole.
    pub problems: Vec<Problem>,
    /// The state of the whole.
    pub verdict: Verdict,
}

/// The health of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHealth {
    /// Its id, from itself or from the others' member lists.
    pub id: Option<MemberId>,
    /// The look at it.
    pub look: Look,
    /// Why it is not healthy, if it is not.
    pub ailment: Option<Ailment>,
}

impl MemberHealth {
    /// The line that `health` prints for it, in the words of etcd's own tools.
    #[must_use]
    pub fn line(&self) -> String {
        let id = self.id.map_or_else(|| format!("of {}", self.look.host), |id| id.to_string());
        let endpoint = &self.look.endpoint;
        match &self.ailment {
            None => format!("member {id} is healthy: got healthy result from {endpoint}"),
            Some(Ailment::Unreachable(error)) => {
                format!("member {id} is unreachable: no result from {endpoint}: {error}")
            }
            Some(ailment) => format!("member {id} is unhealthy: got unhealthy result from {endpoint}: {ailment}"),
        }
    }
}

impl ClusterHealth {
    /// Puts the looks at all hosts of the inventory together.
    #[must_use]
    pub fn assess(looks: Vec<Look>) -> Self {
        let mut problems = Vec::new();
        let reports: Vec<(&Look, &Report)> =
            looks.iter().filter_map(|look| Some((look, look.report.as_ref().ok()?))).collect();
        let lists: Vec<_> = reports.iter().filter_map(|(_, report)| report.members.as_ref().ok()).collect();
        let known = lists.first().map(|list| list.as_slice()).unwrap_or_default();
        if lists.iter().any(|list| list.as_slice() != known) {
            problems.push(Problem::Lists);
        }
        let mut clusters: Vec<_> = reports.iter().map(|(_, report)| report.status.cluster).collect();
        clusters.sort();
        clusters.dedup();
        if let [first, .., last] = clusters[..] {
            problems.push(Problem::Clusters(first, last));
        }
        let mut leaders: Vec<_> = reports.iter().filter_map(|(_, report)| report.status.leader).collect();
        leaders.sort();
        leaders.dedup();
        if leaders.len() > 1 {
            problems.push(Problem::Leaders);
        }
        // By id, where it is known: a name is nobody's own.
        let own = |look: &Look| look.report.as_ref().ok().map(|report| report.status.member);
        let is = |look: &Look, member: &Listed| own(look).map_or(look.host == member.name, |id| id == member.id);
        for member in known {
            let name = member.name.clone();
            match looks.iter().find(|look| is(look, member)) {
                None => problems.push(Problem::Stranger { id: member.id, name }),
                Some(look) if !member.peer_urls.contains(&look.peer_url) => problems.push(Problem::Moved {
                    name,
                    known: member.peer_urls.clone(),
                    wanted: look.peer_url.clone(),
                }),
                Some(_) => {}
            }
        }
        let listed = |look: &Look| known.iter().find(|member| member.name == look.host).map(|member| member.id);
        let ids: Vec<Option<MemberId>> = looks.iter().map(|look| own(look).or_else(|| listed(look))).collect();
        for (look, _) in looks.iter().zip(&ids).filter(|(_, id)| !known.is_empty() && id.is_none()) {
            problems.push(Problem::NoMember { host: look.host.clone() });
        }
        let members = ids.into_iter().zip(looks);
        let mut members: Vec<MemberHealth> =
            members.map(|(id, look)| MemberHealth { id, ailment: look.ailment(), look }).collect();
        members.sort_by_key(|member| (member.id.is_none(), member.id));
        let mut health = Self { members, problems, verdict: Verdict::Unhealthy };
        health.verdict = if health.healthy() == health.members.len() && health.problems.is_empty() {
            Verdict::Healthy
        } else if health.healthy() >= quorum(health.voters()) && clusters.len() == 1 {
            Verdict::Degraded
        } else {
            Verdict::Unhealthy
        };
        health
    }

    /// The hosts of the members whose ids are known.
    #[must_use]
    pub fn hosts_by_id(&self) -> BTreeMap<MemberId, String> {
        self.members.iter().filter_map(|member| Some((member.id?, member.look.host.clone()))).collect()
    }

    /// How many members are healthy.
    #[must_use]
    pub fn healthy(&self) -> usize {
        self.members.iter().filter(|member| member.ailment.is_none()).count()
    }

    /// Whether every member on these hosts, or every one if none are named, is healthy and runs this version.
    #[must_use]
    pub fn all_run(&self, version: &Version, hosts: &[String]) -> bool {
        let version = version.to_string();
        let meant = |member: &&MemberHealth| hosts.is_empty() || hosts.contains(&member.look.host);
        let runs = |member: &MemberHealth| {
            member.ailment.is_none() && member.look.report.as_ref().is_ok_and(|report| report.status.version == version)
        };
        self.members.iter().filter(meant).all(runs)
    }

    /// The members as those that answer list them, each as often as it is listed.
    pub fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.members.iter().filter_map(|m| m.look.report.as_ref().ok()?.members.as_ref().ok()).flatten()
    }

    /// How many members have a vote, as the members list them; where the lists differ, the longest
    /// one counts. If nobody tells, all of the inventory count.
    #[must_use]
    pub fn voters(&self) -> usize {
        let lists = self.members.iter().filter_map(|m| m.look.report.as_ref().ok()?.members.as_ref().ok());
        let voters = lists.map(|list| list.iter().filter(|member| !member.learner).count());
        voters.max().unwrap_or(self.members.len())
    }

    /// The furthest raft index that any member has committed.
    #[must_use]
    pub fn front(&self) -> u64 {
        let indexes = self.members.iter().filter_map(|m| Some(m.look.report.as_ref().ok()?.status.raft_index));
        indexes.max().unwrap_or_default()
    }

    /// The leader, if the members agree on one.
    #[must_use]
    pub fn leader(&self) -> Option<MemberId> {
        let mut leaders = self.members.iter().filter_map(|m| m.look.report.as_ref().ok()?.status.leader);
        let leader = leaders.next()?;
        leaders.all(|other| other == leader).then_some(leader)
    }

    /// The last line of `health`.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.verdict {
            Verdict::Healthy => "cluster is healthy".to_owned(),
            Verdict::Degraded => format!("cluster is degraded: {}", self.causes()),
            Verdict::Unhealthy => format!("cluster is unhealthy: {}", self.causes()),
        }
    }

    fn causes(&self) -> String {
        let (healthy, all) = (self.healthy(), self.members.len());
        let mut causes = vec![format!("{healthy} of {all} members healthy, quorum is {}", quorum(self.voters()))];
        causes.extend(self.problems.iter().map(ToString::to_string));
        causes.join("; ")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn who_runs_a_version() {
        use crate::etcd::testing::{State::*, cluster};
        let version = |text: &str| text.parse().unwrap();
        for (states, at, want) in [
            ([Leads, Follows, Follows], "3.5.16", true),
            ([Leads, Follows, Follows], "3.5.17", false),
            ([Leads, Follows, Down], "3.5.16", false),
            ([Leads, Follows, Stuck], "3.5.16", false),
        ] {
            assert_eq!(cluster(&states).all_run(&version(at), &[]), want, "{states:?} {at}");
        }
        let ailing = cluster(&[Leads, Down, Follows]);
        for (hosts, want) in [(&["node01"][..], true), (&["node03", "node01"], true), (&["node01", "node02"], false)] {
            let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
            assert_eq!(ailing.all_run(&Version::new(3, 5, 16), &hosts), want, "{hosts:?}");
            assert!(!ailing.all_run(&Version::new(3, 5, 17), &hosts), "{hosts:?}");
        }
    }

    use super::*;
    use crate::etcd::testing::State::{self, *};
    use crate::etcd::testing::{cluster, looks};
    use proptest::prelude::*;

    /// All that `health` prints.
    fn printed(states: &[State]) -> Vec<String> {
        let health = cluster(states);
        health.members.iter().map(MemberHealth::line).chain([health.summary()]).collect()
    }

    #[test]
    fn lines() {
        let fine = |n: u32| format!("member a{n} is healthy: got healthy result from https://10.19.0.{}:2379", 54 + n);
        let ill = |n: u32, why: &str| {
            format!("member a{n} is unhealthy: got unhealthy result from https://10.19.0.{}:2379: {why}", 54 + n)
        };
        let unknown = |n: u32, id: &str| {
            let address = format!("10.19.0.{}:2379", 54 + n);
            format!(
                "member {id} is unreachable: no result from https://{address}: tcp: `{address}` refused the connection"
            )
        };
        for (states, want) in [
            (&[Leads, Follows, Follows][..], vec![fine(1), fine(2), fine(3), "cluster is healthy".to_owned()]),
            (&[Leads], vec![fine(1), "cluster is healthy".into()]),
            (
                &[Down, Leads, Follows],
                vec![
                    unknown(1, "a1"),
                    fine(2),
                    fine(3),
                    "cluster is degraded: 2 of 3 members healthy, quorum is 2".into(),
                ],
            ),
            (
                &[Leads, Alarm("NOSPACE"), Follows],
                vec![
                    fine(1),
                    ill(2, "alarm NOSPACE"),
                    fine(3),
                    "cluster is degraded: 2 of 3 members healthy, quorum is 2".into(),
                ],
            ),
            (
                &[NoLeader, Down, Down],
                vec![
                    ill(1, "no leader"),
                    unknown(2, "a2"),
                    unknown(3, "a3"),
                    "cluster is unhealthy: 0 of 3 members healthy, quorum is 2".into(),
                ],
            ),
            // Nobody is left to tell the ids.
            (
                &[Down, Down],
                vec![
                    unknown(1, "of node01"),
                    unknown(2, "of node02"),
                    "cluster is unhealthy: 0 of 2 members healthy, quorum is 2".into(),
                ],
            ),
            (
                &[Leads, Stuck, Learner],
                vec![
                    fine(1),
                    ill(2, "no answer to `linearizable read` within 5 s"),
                    ill(3, "learner, which has no vote yet"),
                    "cluster is unhealthy: 1 of 3 members healthy, quorum is 2".into(),
                ],
            ),
            (
                &[Leads, FollowsOther(3), Follows],
                vec![
                    fine(1),
                    fine(2),
                    fine(3),
                    "cluster is degraded: 3 of 3 members healthy, quorum is 2; the members follow different leaders"
                        .into(),
                ],
            ),
        ] {
            assert_eq!(printed(states), want, "{states:?}");
        }
    }

    #[test]
    fn two_clusters_are_never_called_a_cluster() {
        let health = cluster(&[Leads, Follows, Elsewhere]);
        assert_eq!(health.verdict, Verdict::Unhealthy);
        assert_eq!(
            health.summary(),
            "cluster is unhealthy: 3 of 3 members healthy, quorum is 2; the members do not agree on who is a member; \
             the members belong to different clusters (c1 and bad); the members follow different leaders"
        );
    }

    #[test]
    fn voters_that_are_not_in_the_inventory_count_for_the_quorum() {
        let mut looks = looks(&[Leads, Follows, Follows, Follows, Follows]);
        looks.truncate(2);
        let health = ClusterHealth::assess(looks);
        assert_eq!((health.voters(), health.verdict), (5, Verdict::Unhealthy));
        assert_eq!(
            health.summary(),
            "cluster is unhealthy: 2 of 2 members healthy, quorum is 3; member a3 (node03) is not in the inventory; \
             member a4 (node04) is not in the inventory; member a5 (node05) is not in the inventory"
        );
    }

    #[test]
    fn a_host_that_is_no_member_is_named() {
        let mut looks = looks(&[Leads, Follows, Down]);
        for look in &mut looks[..2] {
            look.report.as_mut().unwrap().members.as_mut().unwrap().pop();
        }
        let health = ClusterHealth::assess(looks);
        assert_eq!(health.problems, [Problem::NoMember { host: "node03".into() }]);
        assert_eq!(health.verdict, Verdict::Degraded);
    }

    #[test]
    fn the_leader_is_known_only_if_all_agree() {
        use crate::etcd::testing::id;
        assert_eq!(cluster(&[Follows, Leads, Down]).leader(), Some(id(2)));
        assert_eq!(cluster(&[Leads, FollowsOther(3), Follows]).leader(), None);
        assert_eq!(cluster(&[NoLeader, NoLeader]).leader(), None);
    }

    #[test]
    fn quorums() {
        let quorums: Vec<usize> = (1..=7).map(quorum).collect();
        assert_eq!(quorums, [1, 2, 2, 3, 3, 4, 4]);
    }

    proptest! {
        #[test]
        fn members_come_sorted_by_id_whatever_the_order_of_hosts(order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle()) {
            let looks = looks(&[Leads, Follows, Down, Follows, Follows]);
            let shuffled = order.iter().map(|index| looks[*index].clone()).collect();
            prop_assert_eq!(ClusterHealth::assess(shuffled), ClusterHealth::assess(looks));
        }
    }
}
