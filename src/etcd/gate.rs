//! The gate before a member is touched: may it go down without costing the cluster its quorum?
//!
//! A pure function over what every member says of itself and of the others. It opens only if every
//! *other* voter is healthy, all agree on members and leader, none lags and quorum holds with the
//! touched member down.

use super::health::{Ailment, ClusterHealth, quorum};
use std::fmt;

/// How many raft entries a voter may be behind the furthest one and still count as caught up.
pub const MAX_LAG: u64 = 1000;

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
        write!(f, "{voters} voters, {healthy} healthy, {needed} needed: {spare} to spare")
    }
}

/// May the member on `host` be stopped or restarted now?
///
/// A member that is itself broken may be touched while the others have their quorum: that is how
/// it is repaired. Where the only voter is touched there is no quorum to keep; it is let through.
#[must_use]
pub fn gate(health: &ClusterHealth, host: &str) -> Gate {
    let known: Vec<_> =
        health.members.iter().filter_map(|m| m.look.report.as_ref().ok()?.members.as_ref().ok()).collect();
    let voters = known.first().map_or(health.members.len(), |list| list.iter().filter(|m| !m.learner).count());
    let healthy = health.healthy();
    let margin = Margin { voters, healthy };
    let target_healthy = health.members.iter().any(|m| m.look.host == host && m.ailment.is_none());
    if voters <= 1 {
        return Gate::Go(margin);
    }
    if let Some(problem) = health.problems.first() {
        let settling = problem.contains("different leaders") || problem.contains("do not agree");
        return if settling { Gate::Wait(problem.clone()) } else { Gate::Refuse(problem.clone()) };
    }
    for other in health.members.iter().filter(|member| member.look.host != host) {
        let name = &other.look.host;
        match &other.ailment {
            None => {}
            Some(ailment @ (Ailment::Alarm(_) | Ailment::Learner)) => {
                return Gate::Refuse(format!("member `{name}`: {ailment} ({margin})"));
            }
            Some(ailment) if !target_healthy && healthy >= quorum(voters) => {
                // The quorum stands without this member and the broken target alike.
                let _ = ailment;
            }
            Some(ailment @ (Ailment::NoLeader | Ailment::Call(_))) => {
                return Gate::Wait(format!("member `{name}`: {ailment}"));
            }
            Some(ailment @ Ailment::Unreachable(_)) => {
                return Gate::Refuse(format!("member `{name}` is down: {ailment} ({margin})"));
            }
        }
    }
    let left = if target_healthy { healthy - 1 } else { healthy };
    if left < quorum(voters) {
        return Gate::Refuse(format!("without `{host}` {left} of {voters} voters would be left ({margin})"));
    }
    let statuses =
        health.members.iter().filter(|m| m.look.host != host).filter_map(|m| Some((m, m.look.report.as_ref().ok()?)));
    let statuses: Vec<_> = statuses.map(|(member, report)| (&member.look.host, &report.status)).collect();
    let front =
        health.members.iter().filter_map(|m| Some(m.look.report.as_ref().ok()?.status.raft_index)).max().unwrap_or(0);
    for (name, status) in statuses {
        // 3.4 tells no applied index before its first entries; the committed one is the floor.
        let lag = front.saturating_sub(status.applied_index.min(status.raft_index));
        if lag > MAX_LAG {
            return Gate::Wait(format!("member `{name}` catches up: {lag} raft entries behind"));
        }
    }
    Gate::Go(margin)
}
