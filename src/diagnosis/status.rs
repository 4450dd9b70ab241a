//! The state of a cluster at a glance: every member and every host, whatever is wrong with it.

use super::drift::{Drift, drift};
use crate::error;
use crate::etcd::client::{CallError, Report};
use crate::etcd::health::{Ailment, ClusterHealth, MemberHealth, Verdict, quorum};
use crate::etcd::identity::MemberId;
use crate::etcd::journal::last_words;
use crate::etcd::options::DEFAULT_QUOTA_BYTES;
use crate::etcd::problem::Problem;
use crate::host::Observation;
use crate::inventory::{Host, Inventory};
use crate::pki;
use crate::tasks::{Fleet, TaskError};
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// What was found out of one host of the inventory.
pub struct Known {
    /// The host as it looks, or why it could not be looked at.
    pub seen: Result<Arc<Observation>, String>,
    /// In what it differs from the inventory.
    pub drift: Vec<Drift>,
    /// When the first of its certificates ends, and which it is.
    pub ends: Option<(String, OffsetDateTime)>,
}

/// What a member is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It has a vote.
    Voter,
    /// It has none yet.
    Learner,
    /// None of these, or nobody knows.
    None,
}

impl Role {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Learner => "learner",
            Self::None => "-",
        }
    }
}

/// How a member is, by its unit and its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Healthy,
    /// It has raised this alarm.
    Alarm(String),
    /// It follows no leader.
    NoLeader,
    /// It has no vote yet.
    Learner,
    /// It answers, but does not serve as it should.
    Ailing,
    /// Its process runs, and is not ready yet.
    Starting,
    /// Its process runs, and it does not answer.
    NoAnswer,
    /// Its process does not stay.
    Failed,
    /// Nobody has started it.
    Stopped,
    /// Its unit is not there.
    NotDeployed,
    /// The host cannot be reached.
    Unreachable,
    /// The host is none of the cluster's members.
    NoMember,
    /// The inventory does not have it.
    NotInInventory,
    /// Its process runs; it was not asked.
    NotAsked,
}

impl State {
    /// In a word or two.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Healthy => "healthy",
            Self::Alarm(kind) => kind,
            Self::NoLeader => "no leader",
            Self::Learner => "learner",
            Self::Ailing => "ailing",
            Self::Starting => "starting",
            Self::NoAnswer => "no answer",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::NotDeployed => "not deployed",
            Self::Unreachable => "unreachable",
            Self::NoMember => "no member",
            Self::NotInInventory => "not in inventory",
            Self::NotAsked => "not asked",
        }
    }
}

/// One line of the table: a member, a host, or both, as they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member's name, which is the host's; empty of a member that never started.
    pub name: String,
    /// The member's id.
    pub id: Option<MemberId>,
    /// Where its clients reach it.
    pub endpoint: Option<String>,
    /// What it is.
    pub role: Role,
    /// How it is.
    pub state: State,
    /// Why it is not healthy.
    pub cause: Option<String>,
    /// The state of its unit.
    pub unit: Option<String>,
    /// What it said of itself, if it answered.
    pub report: Option<Report>,
    /// The alarms that it has raised.
    pub alarms: Vec<String>,
    /// The size at which its database takes no more writes, in bytes.
    pub quota: u64,
    /// How many raft entries it has yet to apply of those that any member has committed.
    pub lag: Option<u64>,
    /// When the first of its certificates ends, and which it is.
    pub ends: Option<(String, OffsetDateTime)>,
    /// In what its host differs from the inventory; `None` if nobody knows.
    pub drift: Option<Vec<Drift>>,
    /// Free bytes on the disk with its data, and where that is mounted.
    pub free: Option<(u64, String)>,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster: String,
    /// How it is; `None` if the members were not asked.
    pub verdict: Option<Verdict>,
    /// How many members have a vote.
    pub voters: usize,
    /// How many members are healthy.
    pub healthy: usize,
    /// The leader's name, if the members agree on one.
    pub leader: Option<String>,
    /// The raft term, the highest that a member knows.
    pub term: Option<u64>,
    /// In the inventory's order, then those that are not in it.
    pub members: Vec<MemberStatus>,
    /// What is wrong with the cluster as a whole, or why the members were not asked.
    pub problems: Vec<String>,
    /// When it was looked at.
    pub at: OffsetDateTime,
}

/// Looks at every host and asks every member, all at once. A host that is dead holds nobody up for longer than its
/// time limit to connect, and one that does not go on answering no longer than `limit`.
pub async fn gather(fleet: &Fleet, limit: Duration) -> ClusterStatus {
    let looks = join_all(fleet.inventory.hosts.iter().map(|host| look(fleet, host, limit)));
    let (looks, cluster) = tokio::join!(looks, fleet.standing_cluster());
    let pki = fleet.pki().await.ok();
    let known = fleet.inventory.hosts.iter().zip(looks).map(|(host, seen)| {
        let drift = seen.as_ref().map(|seen| drift(&fleet.inventory, host, pki.as_deref(), seen)).unwrap_or_default();
        let ends = seen.as_ref().ok().and_then(|seen| ends(seen));
        Known { seen, drift, ends }
    });
    let known: Vec<Known> = known.collect();
    ClusterStatus::of(&fleet.inventory, &known, &cluster.map_err(|error| words(&error)), OffsetDateTime::now_utc())
}

async fn look(fleet: &Fleet, host: &Host, limit: Duration) -> Result<Arc<Observation>, String> {
    fleet.connection(host).await.map_err(|error| words(&error))?;
    match tokio::time::timeout(limit, fleet.seen(host)).await {
        Ok(seen) => seen.map_err(|error| words(&error)),
        Err(_) => Err(format!("host `{}` is logged in to, but gave no answer within {} s", host.name, limit.as_secs())),
    }
}

fn words(error: &TaskError) -> String {
    error::line(error)
}

fn ends(seen: &Observation) -> Option<(String, OffsetDateTime)> {
    let all = seen.certificates.iter().filter_map(|(name, text)| Some((name.clone(), pki::not_after(text)?)));
    all.min_by_key(|(_, end)| *end)
}

impl ClusterStatus {
    /// Puts together what was found out. `known` is in the inventory's order.
    #[must_use]
    pub fn of(
        inventory: &Inventory,
        known: &[Known],
        cluster: &Result<Arc<ClusterHealth>, String>,
        at: OffsetDateTime,
    ) -> Self {
        let health = cluster.as_deref().ok();
        let mut members: Vec<MemberStatus> =
            inventory.hosts.iter().zip(known).map(|(host, known)| member(host, known, health)).collect();
        members.extend(health.into_iter().flat_map(strangers));
        let mut problems = Vec::new();
        match cluster {
            Ok(health) => {
                // Who is a stranger, and who is no member, has a line of its own.
                let said = |problem: &&Problem| !matches!(problem, Problem::Stranger { .. } | Problem::NoMember { .. });
                problems.extend(health.problems.iter().filter(said).map(ToString::to_string));
            }
            Err(why) => problems.push(format!("the members were not asked: {why}")),
        }
        let leader = health.and_then(ClusterHealth::leader);
        let terms = members.iter().filter_map(|member| Some(member.report.as_ref()?.status.term));
        Self {
            cluster: inventory.cluster.clone(),
            verdict: health.map(|health| health.verdict),
            voters: health.map_or(inventory.hosts.len(), ClusterHealth::voters),
            healthy: health.map_or(0, ClusterHealth::healthy),
            leader: members.iter().find(|member| leader.is_some() && member.id == leader).map(|one| one.name.clone()),
            term: terms.max(),
            members,
            problems,
            at,
        }
    }

    /// How many of the members have to be healthy.
    #[must_use]
    pub fn needed(&self) -> usize {
        quorum(self.voters)
    }

    /// The first line: `cluster prod: healthy, 3 of 3 voters, 1 failure to spare`.
    #[must_use]
    pub fn head(&self) -> String {
        let Self { cluster, healthy, voters, .. } = self;
        let verdict = match self.verdict {
            Some(Verdict::Healthy) => "healthy",
            Some(Verdict::Degraded) => "degraded",
            Some(Verdict::Unhealthy) => "unhealthy",
            None => return format!("cluster {cluster}: the members were not asked"),
        };
        let spare = match healthy.checked_sub(self.needed()) {
            None => format!("no quorum ({} needed)", self.needed()),
            Some(0) => "no failure to spare".to_owned(),
            Some(1) => "1 failure to spare".to_owned(),
            Some(more) => format!("{more} failures to spare"),
        };
        // Without a quorum a member that is cut off may still take itself for the leader.
        let leads = self.leader.as_ref().filter(|_| self.verdict != Some(Verdict::Unhealthy));
        let leads = leads.map(|leader| format!("; leader {leader}")).unwrap_or_default();
        let hosts = self.members.iter().filter(|member| member.state != State::NotInInventory).count();
        let hosts = if hosts == *voters { String::new() } else { format!("; the inventory has {hosts} hosts") };
        let full = self.members.iter().any(|member| member.alarms.iter().any(|alarm| alarm == "NOSPACE"));
        let full = if full { "; WRITES ARE REFUSED (NOSPACE)" } else { "" };
        format!("cluster {cluster}: {verdict}, {healthy} of {voters} voters, {spare}{leads}{hosts}{full}")
    }
}

/// A host of the inventory, and the member on it.
fn member(host: &Host, known: &Known, health: Option<&ClusterHealth>) -> MemberStatus {
    let own = health.and_then(|health| health.members.iter().find(|member| member.look.host == host.name));
    let report = own.and_then(|member| member.look.report.as_ref().ok());
    let seen = known.seen.as_ref().ok();
    let no_member = health.is_some_and(|health| {
        health.problems.iter().any(|problem| matches!(problem, Problem::NoMember { host: name } if *name == host.name))
    });
    let (state, cause) = state(&known.seen, own, no_member);
    let leader = health.and_then(ClusterHealth::leader);
    let learner = report.map(|report| report.status.learner);
    let id = own.and_then(|member| member.id);
    let role = match learner {
        _ if id.is_some() && id == leader => Role::Leader,
        Some(true) => Role::Learner,
        Some(false) => Role::Voter,
        None => listed(health, id),
    };
    let alarms = report.and_then(|report| report.alarms.as_ref().ok()).into_iter().flatten();
    let alarms = alarms.filter(|alarm| Some(alarm.member) == id).map(|alarm| alarm.kind.clone()).collect();
    let lag = report.zip(health).map(|(report, health)| health.front().saturating_sub(report.status.applied_index));
    MemberStatus {
        name: host.name.clone(),
        id,
        endpoint: own.map(|member| member.look.endpoint.clone()),
        role,
        state,
        cause,
        unit: seen.map(|seen| seen.unit.describe()),
        quota: quota(report, seen),
        report: report.cloned(),
        alarms,
        lag,
        ends: known.ends.clone(),
        drift: seen.map(|_| known.drift.clone()),
        free: seen.and_then(|seen| seen.space.get(&host.paths.data)).map(|space| (space.free, space.mount.clone())),
    }
}

/// The members of the cluster that the inventory does not have.
fn strangers(health: &ClusterHealth) -> Vec<MemberStatus> {
    let stranger = |problem: &Problem| match problem {
        Problem::Stranger { id, name } => Some(MemberStatus {
            name: name.clone(),
            id: Some(*id),
            endpoint: None,
            role: listed(Some(health), Some(*id)),
            state: State::NotInInventory,
            cause: Some(problem.to_string()),
            unit: None,
            report: None,
            alarms: Vec::new(),
            quota: DEFAULT_QUOTA_BYTES,
            lag: None,
            ends: None,
            drift: None,
            free: None,
        }),
        _ => None,
    };
    health.problems.iter().filter_map(stranger).collect()
}

/// What the others list a member as, that does not answer.
fn listed(health: Option<&ClusterHealth>, id: Option<MemberId>) -> Role {
    let mut listed = health.into_iter().flat_map(ClusterHealth::listed);
    match listed.find(|member| Some(member.id) == id) {
        Some(member) if member.learner => Role::Learner,
        Some(_) => Role::Voter,
        None => Role::None,
    }
}

/// The size at which a member's database takes no more writes, in bytes: by its own word, or as its process was told.
pub(super) fn quota(report: Option<&Report>, seen: Option<&Arc<Observation>>) -> u64 {
    let said = report.and_then(|report| report.status.db_quota);
    let variables = seen.and_then(|seen| seen.process.as_ref()).into_iter().flat_map(|process| &process.variables);
    let mut given = variables.filter_map(|line| line.strip_prefix("ETCD_QUOTA_BACKEND_BYTES=")?.parse().ok());
    said.or_else(|| given.next().filter(|quota| *quota > 0)).unwrap_or(DEFAULT_QUOTA_BYTES)
}

/// How a member is, and why it is not well.
fn state(
    seen: &Result<Arc<Observation>, String>,
    member: Option<&MemberHealth>,
    no_member: bool,
) -> (State, Option<String>) {
    let ailment = member.and_then(|member| member.ailment.as_ref());
    let state = match (member, ailment) {
        (Some(_), None) => return (State::Healthy, None),
        (_, Some(Ailment::Alarm(kind))) => State::Alarm(kind.clone()),
        (_, Some(Ailment::NoLeader)) => State::NoLeader,
        (_, Some(Ailment::Learner)) => State::Learner,
        (_, Some(Ailment::Call(_))) => State::Ailing,
        (_, Some(Ailment::Unreachable(error))) => return silent(seen, Some(error), no_member),
        (None, None) => return silent(seen, None, no_member),
    };
    (state, ailment.map(ToString::to_string))
}

/// How a member is that does not answer, by what its host says.
fn silent(
    seen: &Result<Arc<Observation>, String>,
    error: Option<&CallError>,
    no_member: bool,
) -> (State, Option<String>) {
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => return (State::Unreachable, Some(why.clone())),
    };
    let unit = &seen.unit;
    let state = if unit.load == "not-found" || unit.load.is_empty() {
        return (State::NotDeployed, Some("there is no unit etcd.service on the host".to_owned()));
    } else if unit.crashed() {
        State::Failed
    } else if !unit.runs() {
        State::Stopped
    } else if no_member {
        return (State::NoMember, Some("its process runs, but the others do not know it as a member".to_owned()));
    } else if !unit.ready() {
        State::Starting
    } else {
        let state = if error.is_some() { State::NoAnswer } else { State::NotAsked };
        return (state, error.map(ToString::to_string));
    };
    let said = (state == State::Failed).then(|| last_words(seen.journal.lines())).flatten();
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    (state, Some(format!("etcd.service is {}{said}", unit.describe())))
}
