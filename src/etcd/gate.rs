//! The gate before a member is touched: may it go down without costing the cluster its quorum?
//!
//! A pure function over what every member says of itself and of the others. It opens only if every
//! *other* voter is healthy, all agree on members and leader, none lags and quorum holds with the
//! touched member down.

use super::health::{Ailment, ClusterHealth, quorum};
use std::collections::BTreeMap;
use std::fmt;

/// How many raft entries a voter may be behind the furthest one and still count as caught up.
pub const MAX_LAG: u64 = 1000;

/// What the gate is shown.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What every member says of itself and of the others.
    pub health: &'a ClusterHealth,
    /// What the hosts say of their members' processes, by host; of those that were looked at.
    pub processes: &'a BTreeMap<String, Process>,
}

/// What a host says of its member's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Whether it has reported itself ready.
    pub ready: bool,
    /// Whether there is one, be it ready or still starting.
    pub runs: bool,
    /// The state of its unit, in words.
    pub unit: String,
}

/// A gate: may the member on this host be stopped or restarted now?
pub type Gating = fn(&Scene<'_>, &str) -> Gate;

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// The member may be touched.
    Go(Margin),
    /// Not now, but likely soon.
    Wait(String),
    /// It would cost quorum, or nobody can tell that it would not.
    Refuse(String),
}

/// How many voters there are, and how many failures are left to spare while one is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margin {
    /// Voters in all.
    pub voters: usize,
    /// Healthy ones, the one to be touched counted in if it is.
    pub healthy: usize,
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { voters, healthy } = *self;
        let needed = quorum(voters);
        let spare = healthy.saturating_sub(needed);
        let word = if voters == 1 { "voter" } else { "voters" };
        write!(f, "{voters} {word}, {healthy} healthy, {needed} needed: {spare} to spare")
    }
}

/// Whether a refusal is for want of members and not of their health: there are two, and both are well.
#[must_use]
pub fn too_few(health: &ClusterHealth) -> bool {
    health.voters() == 2 && health.healthy() == health.members.len() && health.problems.is_empty()
}

/// May the member on `host` be stopped or restarted now?
///
/// A member that is itself broken may be touched while the others have their quorum: that is how
/// it is repaired. Where the only voter is touched there is no quorum to keep; it is let through.
#[must_use]
pub fn gate(scene: &Scene<'_>, host: &str) -> Gate {
    let health = scene.health;
    let (voters, healthy) = (health.voters(), health.healthy());
    let margin = Margin { voters, healthy };
    let target_healthy = health.members.iter().any(|m| m.look.host == host && m.ailment.is_none());
    if voters <= 1 {
        return Gate::Go(margin);
    }
    // What settles by itself is waited for, unless something else is wrong that does not.
    if let Some(problem) = health.problems.iter().find(|problem| !problem.settles()) {
        return Gate::Refuse(problem.to_string());
    }
    if let Some(problem) = health.problems.first() {
        return Gate::Wait(problem.to_string());
    }
    for other in health.members.iter().filter(|member| member.look.host != host) {
        let name = &other.look.host;
        match &other.ailment {
            None => {}
            Some(ailment @ (Ailment::Alarm(_) | Ailment::Learner)) => {
                return Gate::Refuse(format!("member `{name}`: {ailment} ({margin})"));
            }
            // The quorum stands without this member and the broken target alike.
            Some(_) if !target_healthy && healthy >= quorum(voters) => {}
            Some(ailment @ (Ailment::NoLeader | Ailment::Call(_))) => {
                return Gate::Wait(format!("member `{name}`: {ailment}"));
            }
            // It listens to nobody before it has found the others.
            Some(ailment @ Ailment::Unreachable(_))
                if scene.processes.get(name).is_some_and(|process| process.runs && !process.ready) =>
            {
                return Gate::Wait(format!("member `{name}` is starting: {ailment}"));
            }
            Some(ailment @ Ailment::Unreachable(_)) => {
                return Gate::Refuse(format!("member `{name}` is down: {ailment} ({margin})"));
            }
        }
    }
    let left = if target_healthy { healthy - 1 } else { healthy };
    if left < quorum(voters) {
        // All others are well, so there are two voters: of three, two would be left.
        return Gate::Refuse(format!(
            "without `{host}` {left} of {voters} voters would be left, which is no quorum: \
             two members cannot spare one, three can ({margin})"
        ));
    }
    let statuses =
        health.members.iter().filter(|m| m.look.host != host).filter_map(|m| Some((m, m.look.report.as_ref().ok()?)));
    let statuses: Vec<_> = statuses.map(|(member, report)| (&member.look.host, &report.status)).collect();
    let front = health.front();
    for (name, status) in statuses {
        // 3.4 tells no applied index before its first entries; the committed one is the floor.
        let lag = front.saturating_sub(status.applied_index.min(status.raft_index));
        if lag > MAX_LAG {
            return Gate::Wait(format!("member `{name}` catches up: {lag} raft entries behind"));
        }
        // It answers, yet its host would start it again, or count it as failed, at the next opportunity.
        if let Some(process) = scene.processes.get(name).filter(|process| !process.ready) {
            return Gate::Wait(format!("member `{name}` answers, but its unit is still {}", process.unit));
        }
    }
    Gate::Go(margin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::State::{self, *};
    use crate::etcd::testing::{cluster, id, looks, name};
    use proptest::prelude::*;

    /// The gate's answer for the member in this place (from 1), in words.
    fn answer(states: &[State], place: usize) -> String {
        words(&ask(&cluster(states), &name(place)))
    }

    /// The gate's answer where every unit is as its member.
    fn ask(health: &ClusterHealth, host: &str) -> Gate {
        gate(&Scene { health, processes: &BTreeMap::new() }, host)
    }

    fn words(gate: &Gate) -> String {
        match gate {
            Gate::Go(margin) => format!("go: {margin}"),
            Gate::Wait(reason) => format!("wait: {reason}"),
            Gate::Refuse(reason) => format!("refuse: {reason}"),
        }
    }

    #[test]
    fn answers() {
        let down = |n: usize| format!("tcp: `10.19.0.{}:2379` refused the connection", 54 + n);
        for (what, states, place, want) in [
            (
                "all is well",
                &[Leads, Follows, Follows][..],
                2,
                "go: 3 voters, 3 healthy, 2 needed: 1 to spare".to_owned(),
            ),
            ("the leader", &[Leads, Follows, Follows], 1, "go: 3 voters, 3 healthy, 2 needed: 1 to spare".into()),
            (
                "another one is down",
                &[Leads, Down, Follows],
                3,
                format!("refuse: member `node02` is down: {} (3 voters, 2 healthy, 2 needed: 0 to spare)", down(2)),
            ),
            (
                "the broken one itself",
                &[Leads, Down, Follows],
                2,
                "go: 3 voters, 2 healthy, 2 needed: 0 to spare".into(),
            ),
            (
                "two are down, one of them touched",
                &[NoLeader, Down, Down],
                2,
                "wait: member `node01`: no leader".into(),
            ),
            (
                "two are down, the last one touched",
                &[NoLeader, Down, Down],
                1,
                format!("refuse: member `node02` is down: {} (3 voters, 0 healthy, 2 needed: 0 to spare)", down(2)),
            ),
            (
                "another one has an alarm",
                &[Leads, Follows, Alarm("NOSPACE")],
                2,
                "refuse: member `node03`: alarm NOSPACE (3 voters, 2 healthy, 2 needed: 0 to spare)".into(),
            ),
            (
                "the one with the alarm",
                &[Leads, Follows, Alarm("NOSPACE")],
                3,
                "go: 3 voters, 2 healthy, 2 needed: 0 to spare".into(),
            ),
            (
                "another one is a learner",
                &[Leads, Follows, Follows, Learner],
                2,
                "refuse: member `node04`: learner, which has no vote yet (3 voters, 3 healthy, 2 needed: 1 to spare)"
                    .into(),
            ),
            (
                "the learner itself",
                &[Leads, Follows, Follows, Learner],
                4,
                "go: 3 voters, 3 healthy, 2 needed: 1 to spare".into(),
            ),
            ("nobody leads", &[NoLeader, NoLeader, NoLeader], 1, "wait: member `node02`: no leader".into()),
            (
                "another one has no leader",
                &[Leads, Follows, NoLeader],
                2,
                "wait: member `node03`: no leader".into(),
            ),
            (
                "two leaders",
                &[Leads, FollowsOther(3), Follows],
                2,
                "wait: the members follow different leaders".into(),
            ),
            (
                "another one's read fails",
                &[Leads, Follows, Stuck],
                1,
                "wait: member `node03`: no answer to `linearizable read` within 5 s".into(),
            ),
            (
                "another one lags",
                &[Leads, Follows, Behind(MAX_LAG + 1)],
                2,
                "wait: member `node03` catches up: 1001 raft entries behind".into(),
            ),
            (
                "another one lags a little",
                &[Leads, Follows, Behind(MAX_LAG)],
                2,
                "go: 3 voters, 3 healthy, 2 needed: 1 to spare".into(),
            ),
            (
                "it lags itself",
                &[Leads, Follows, Behind(MAX_LAG + 1)],
                3,
                "go: 3 voters, 3 healthy, 2 needed: 1 to spare".into(),
            ),
            (
                "another one is a cluster of its own, and its list is the first",
                &[Elsewhere, Leads, Follows],
                2,
                "refuse: the members belong to different clusters (c1 and bad)".into(),
            ),
            ("the only one", &[Leads], 1, "go: 1 voter, 1 healthy, 1 needed: 0 to spare".into()),
            ("the only one, down", &[Down], 1, "go: 1 voter, 0 healthy, 1 needed: 0 to spare".into()),
            (
                "one of two",
                &[Leads, Follows],
                2,
                "refuse: without `node02` 1 of 2 voters would be left, which is no quorum: two members cannot spare one, \
                 three can (2 voters, 2 healthy, 2 needed: 0 to spare)"
                    .into(),
            ),
            (
                "the broken one of two",
                &[NoLeader, Down],
                2,
                "wait: member `node01`: no leader".into(),
            ),
            (
                "one of four",
                &[Leads, Follows, Follows, Follows],
                2,
                "go: 4 voters, 4 healthy, 3 needed: 1 to spare".into(),
            ),
            (
                "one of five with one down",
                &[Leads, Follows, Down, Follows, Follows],
                2,
                format!("refuse: member `node03` is down: {} (5 voters, 4 healthy, 3 needed: 1 to spare)", down(3)),
            ),
            (
                "the first of two broken ones of five",
                &[Leads, Down, Down, Follows, Follows],
                2,
                "go: 5 voters, 3 healthy, 3 needed: 0 to spare".into(),
            ),
            (
                "a broken one of five beside one with an alarm",
                &[Leads, Down, Alarm("CORRUPT"), Follows, Follows],
                2,
                "refuse: member `node03`: alarm CORRUPT (5 voters, 3 healthy, 3 needed: 0 to spare)".into(),
            ),
        ] {
            assert_eq!(answer(states, place), want, "{what}");
        }
    }

    #[test]
    fn two_that_are_well_are_too_few_and_no_others() {
        for (states, want) in [
            (&[Leads, Follows][..], true),
            (&[Leads], false),
            (&[Leads, Follows, Follows], false),
            (&[Leads, Alarm("NOSPACE")], false),
            (&[NoLeader, Down], false),
            (&[Leads, Follows, Learner], false),
        ] {
            assert_eq!(too_few(&cluster(states)), want, "{states:?}");
        }
    }

    #[test]
    fn members_that_list_different_members_are_waited_for() {
        let mut looks = looks(&[Leads, Follows, Follows]);
        if let Ok(report) = &mut looks[2].report {
            report.members.as_mut().unwrap().pop();
        }
        let health = ClusterHealth::assess(looks);
        let want = "wait: the members do not agree on who is a member";
        assert_eq!(words(&ask(&health, "node01")), want);
    }

    #[test]
    fn a_unit_that_is_not_ready_is_waited_for_unless_it_is_the_one_to_be_touched() {
        let health = cluster(&[Leads, Follows, Follows]);
        let starting = Process { ready: false, runs: true, unit: "activating (start)".to_owned() };
        let processes = BTreeMap::from([("node03".to_owned(), starting.clone())]);
        let scene = Scene { health: &health, processes: &processes };
        let want = "wait: member `node03` answers, but its unit is still activating (start)";
        assert_eq!(words(&gate(&scene, "node02")), want);
        assert_eq!(words(&gate(&scene, "node03")), "go: 3 voters, 3 healthy, 2 needed: 1 to spare");

        let refused = "tcp: `10.19.0.57:2379` refused the connection";
        let spare = "(3 voters, 2 healthy, 2 needed: 0 to spare)";
        let ended = Process { ready: false, runs: false, unit: "activating (auto-restart)".to_owned() };
        let frozen = Process { ready: true, runs: true, unit: "active (running)".to_owned() };
        let health = cluster(&[Leads, Follows, Down]);
        for (process, want) in [
            (starting, format!("wait: member `node03` is starting: {refused}")),
            (ended, format!("refuse: member `node03` is down: {refused} {spare}")),
            (frozen, format!("refuse: member `node03` is down: {refused} {spare}")),
        ] {
            let processes = BTreeMap::from([("node03".to_owned(), process)]);
            assert_eq!(words(&gate(&Scene { health: &health, processes: &processes }, "node02")), want);
        }
    }

    #[test]
    fn a_change_by_someone_else_is_refused() {
        for (stranger, want) in [
            ("extra", "refuse: member a4 (extra) is not in the inventory"),
            ("", "refuse: member a4 (without a name) is not in the inventory"),
        ] {
            let mut looks = looks(&[Leads, Follows, Follows]);
            for look in &mut looks {
                let members = look.report.as_mut().unwrap().members.as_mut().unwrap();
                let added = crate::etcd::client::Listed { id: id(4), name: stranger.into(), ..members[0].clone() };
                members.push(added);
            }
            assert_eq!(words(&ask(&ClusterHealth::assess(looks), "node01")), want);
        }
    }

    fn state() -> impl Strategy<Value = State> {
        prop_oneof![
            6 => Just(Follows),
            1 => Just(Leads),
            1 => (1usize..8).prop_map(FollowsOther),
            2 => Just(Down),
            1 => Just(NoLeader),
            1 => Just(Alarm("NOSPACE")),
            1 => Just(Learner),
            1 => (0u64..3000).prop_map(Behind),
            1 => Just(Stuck),
            1 => Just(Elsewhere),
        ]
    }

    proptest! {
        /// Whatever the members say, and whoever of them says nothing: with the touched one down, the
        /// others have a quorum of their own.
        #[test]
        fn whoever_is_let_through_leaves_a_quorum(states in prop::collection::vec(state(), 1..8), place in 0usize..8) {
            let place = place % states.len() + 1;
            let health = cluster(&states);
            if let Gate::Go(_) = ask(&health, &name(place)) {
                let voters = states.iter().filter(|state| **state != Learner).count();
                let well = |state: &State| matches!(state, Leads | Follows | FollowsOther(_) | Behind(_));
                let others = (1..).zip(&states).filter(|(other, state)| *other != place && well(state)).count();
                let alone = health.voters() <= 1;
                prop_assert!(alone || others >= quorum(voters), "{others} healthy others of {voters} voters: {states:?}");
                prop_assert!(alone || !states.contains(&Elsewhere), "two clusters: {states:?}");
            }
        }
    }
}
