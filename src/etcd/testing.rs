//! Clusters for tests: a word a member.

use super::client::{Alarm, CallError, Listed, Report, Status};
use super::health::{ClusterHealth, Look};
use super::identity::{ClusterId, MemberId};
use super::lint::Rules;
use crate::inventory::Inventory;
use std::path::Path;
use std::time::Duration;

/// How a member is. The first one that leads is whom the others follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It leads.
    Leads,
    /// It follows the leader.
    Follows,
    /// It follows another one, the member in this place (from 1).
    FollowsOther(usize),
    /// It cannot be asked.
    Down,
    /// It answers, but knows no leader.
    NoLeader,
    /// It raised this alarm.
    Alarm(&'static str),
    /// It has no vote yet.
    Learner,
    /// It has applied so many raft entries less than the others.
    Behind(u64),
    /// Its linearizable read fails.
    Stuck,
    /// It belongs to a cluster of its own.
    Elsewhere,
}

/// The raft index of members that are not behind.
pub(crate) const FRONT: u64 = 5000;

pub(crate) fn inventory(text: &str) -> Inventory {
    Inventory::parse(Path::new("prod.yaml"), text, &Rules)
        .unwrap_or_else(|error| panic!("{}", crate::error::Error::from(error).render()))
}

/// The name of the member in this place (from 1).
pub(crate) fn name(place: usize) -> String {
    format!("node{place:02}")
}

/// The id of the member in this place (from 1).
pub(crate) fn id(place: usize) -> MemberId {
    MemberId(0xa0 + place as u64)
}

/// The members as all of them list each other.
pub(crate) fn list(states: &[State]) -> Vec<Listed> {
    (1..)
        .zip(states)
        .map(|(place, state)| Listed {
            id: id(place),
            name: name(place),
            peer_urls: vec![format!("https://10.19.0.{}:2380", 54 + place)],
            client_urls: vec![format!("https://10.19.0.{}:2379", 54 + place)],
            learner: *state == State::Learner,
        })
        .collect()
}

/// One look at every member.
pub(crate) fn looks(states: &[State]) -> Vec<Look> {
    let leader = states.iter().position(|state| *state == State::Leads).map(|index| id(index + 1));
    let list = list(states);
    let look = |(place, state): (usize, &State)| {
        let own = id(place);
        let status = Status {
            member: own,
            cluster: ClusterId(if *state == State::Elsewhere { 0xbad } else { 0xc1 }),
            version: "3.5.16".into(),
            storage: None,
            downgrade: None,
            leader: match state {
                State::NoLeader => None,
                State::Elsewhere => Some(own),
                State::FollowsOther(place) => Some(id(*place)),
                _ => leader,
            },
            term: 2,
            raft_index: FRONT,
            applied_index: if let State::Behind(entries) = state { FRONT - entries } else { FRONT },
            learner: *state == State::Learner,
            db_size: 25_000,
            db_in_use: 20_000,
            db_quota: None,
            errors: Vec::new(),
        };
        let alarm = |kind: &str| Alarm { member: own, kind: kind.to_owned() };
        let own_list = vec![list[place - 1].clone()];
        let report = Report {
            members: Ok(if *state == State::Elsewhere { own_list } else { list.clone() }),
            alarms: Ok(if let State::Alarm(kind) = state { vec![alarm(kind)] } else { Vec::new() }),
            read: match state {
                State::Stuck => Err(CallError::Timeout { call: "linearizable read", limit: Duration::from_secs(5) }),
                _ => Ok(()),
            },
            round_trip: Duration::from_millis(3),
            status,
        };
        let refused = CallError::Tcp(format!("`10.19.0.{}:2379` refused the connection", 54 + place));
        Look {
            host: name(place),
            endpoint: format!("https://10.19.0.{}:2379", 54 + place),
            peer_url: format!("https://10.19.0.{}:2380", 54 + place),
            report: if *state == State::Down { Err(refused) } else { Ok(report) },
        }
    };
    (1..).zip(states).map(look).collect()
}

/// What follows from these looks, if everybody's list of members is changed so.
pub(crate) fn listing(mut looks: Vec<Look>, change: impl Fn(&mut Vec<Listed>)) -> ClusterHealth {
    let reports = looks.iter_mut().filter_map(|look| look.report.as_mut().ok());
    for list in reports.filter_map(|report| report.members.as_mut().ok()) {
        change(list);
    }
    ClusterHealth::assess(looks)
}

/// What follows from one look at every member.
pub(crate) fn cluster(states: &[State]) -> ClusterHealth {
    ClusterHealth::assess(looks(states))
}
