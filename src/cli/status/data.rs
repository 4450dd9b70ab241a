//! The status as data, for JSON and YAML.

use crate::diagnosis::{ClusterStatus, MemberStatus};
use crate::etcd::health::Verdict;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// All of it; what is not known is null.
pub(super) fn of(status: &ClusterStatus) -> Value {
    let verdict = status.verdict.map(|verdict| match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Degraded => "degraded",
        Verdict::Unhealthy => "unhealthy",
    });
    json!({
        "v": 1,
        "time": rfc3339(status.at),
        "cluster": status.cluster,
        "health": verdict,
        "voters": status.voters,
        "healthy_members": status.healthy,
        "quorum": status.needed(),
        "leader": status.leader,
        "raft_term": status.term,
        "problems": status.problems,
        "members": status.members.iter().map(|one| member(one, status.at)).collect::<Vec<_>>(),
    })
}

fn member(member: &MemberStatus, now: OffsetDateTime) -> Value {
    let said = member.report.as_ref().map(|report| &report.status);
    json!({
        "member": member.name,
        "id": member.id.map(|id| id.to_string()),
        "endpoint": member.endpoint,
        "role": member.role.name(),
        "state": member.state.name(),
        "cause": member.cause,
        "unit": member.unit,
        "version": said.map(|said| &said.version),
        "db_size": said.map(|said| said.db_size),
        "db_in_use": said.map(|said| said.db_in_use),
        "db_quota": said.map(|_| member.quota),
        "raft_term": said.map(|said| said.term),
        "raft_index": said.map(|said| said.raft_index),
        "raft_applied_index": said.map(|said| said.applied_index),
        "raft_lag": member.lag,
        "disk_free": member.free.as_ref().map(|(free, _)| free),
        "alarms": member.alarms,
        "certificate": member.ends.as_ref().map(|(name, end)| json!({
            "name": name,
            "not_after": rfc3339(*end),
            "days_left": (*end - now).whole_seconds().div_euclid(86_400),
        })),
        "round_trip_ms": member.report.as_ref().map(|report| report.round_trip.as_millis()),
        "drift": member.drift.as_ref().map(|drift| {
            drift.iter().map(|one| json!({ "what": one.key(), "text": one.to_string() })).collect::<Vec<_>>()
        }),
    })
}

fn rfc3339(at: OffsetDateTime) -> Option<String> {
    at.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}
