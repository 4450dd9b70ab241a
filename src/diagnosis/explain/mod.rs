//! Why a cluster is not well, in plain words, and what to type next.
//!
//! Everything is gathered at once ([`look`]): what the members say, and of every host what it looks like and the end
//! of its journal. What follows from it is decided by pure functions: each host has at most one cause of its own
//! ([`member`]), what only follows from others' causes is left out, and what concerns the whole comes around it
//! ([`cluster`]).

mod certificates;
mod cluster;
mod member;
mod remedy;
mod words;

#[cfg(test)]
mod tests;

use super::certificates::{PortReport, served};
use crate::error::Explain as _;
use crate::etcd::config::peer_url;
use crate::etcd::health::{ClusterHealth, MemberHealth, Verdict, quorum};
use crate::etcd::identity::MemberId;
use crate::host::{CloseUp, LockHolder, Observation};
use crate::inventory::{Host, Inventory};
use crate::tasks::{Fleet, Journal, TaskError};
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How long one host may take to tell of itself.
const LIMIT: Duration = Duration::from_secs(10);

/// All that is known of a cluster at one moment.
#[derive(Debug, Clone)]
pub struct Scene {
    /// What should be there.
    pub inventory: Arc<Inventory>,
    /// What the members say.
    pub health: Arc<ClusterHealth>,
    /// What the hosts look like, in the inventory's order.
    pub hosts: Vec<Result<Near, Unreached>>,
    /// What the members' ports show; a port that could not be asked says so.
    pub ports: Vec<PortReport>,
    /// The store's revision, if a member tells it.
    pub revision: Option<i64>,
    /// The run that is at work, if one is.
    pub at_work: Option<LockHolder>,
}

/// A host that could be looked at.
#[derive(Debug, Clone)]
pub struct Near {
    /// What it looks like.
    pub seen: Arc<Observation>,
    /// What its journal says, and more.
    pub close: CloseUp,
}

/// A host that could not be looked at.
#[derive(Debug, Clone)]
pub struct Unreached {
    /// Why.
    pub why: String,
    /// What helps.
    pub hint: Option<String>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The host that it is found on; `None` if it is the cluster's.
    pub host: Option<String>,
    /// What it is called in a program's eyes: the signature's name, or one of ours.
    pub kind: String,
    /// What is wrong.
    pub cause: String,
    /// What shows that, a sentence each.
    pub evidence: Vec<String>,
    /// What to do.
    pub next: Vec<Step>,
    /// How much it matters.
    pub weight: Weight,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something does not work, or will not after the next restart.
    Fault,
    /// It works, but is worth a look.
    Notice,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// In words.
    Do(String),
    /// A command to type.
    Type(String),
}

/// Why a cluster is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The cluster's state in one line.
    pub summary: String,
    /// What is wrong, what matters most first.
    pub findings: Vec<Finding>,
}

impl Explanation {
    /// Whether nothing is wrong that does not work.
    #[must_use]
    pub fn well(&self) -> bool {
        self.findings.iter().all(|finding| finding.weight == Weight::Notice)
    }
}

/// Looks at all hosts and members.
///
/// # Errors
/// There are no certificates to ask members with.
pub async fn look(fleet: &Fleet) -> Result<Scene, TaskError> {
    let hosts = &fleet.inventory.hosts;
    let near = async |host: &Host| {
        let both = async { tokio::try_join!(fleet.seen(host), fleet.close_up(host)) };
        match tokio::time::timeout(LIMIT, both).await {
            Ok(Ok((seen, close))) => Ok(Near { seen, close }),
            Ok(Err(error)) => Err(Unreached { why: crate::error::line(&error), hint: error.hint() }),
            Err(_) => Err(Unreached {
                why: format!("host `{}` gave no answer within {} s", host.name, LIMIT.as_secs()),
                hint: Some("the host is overloaded or its disk hangs: look at its console".to_owned()),
            }),
        }
    };
    let shown = served(fleet, OffsetDateTime::now_utc());
    // Before anything else is looked at, so that what such a run does meanwhile is not told without it.
    let held = async |host| tokio::time::timeout(LIMIT, fleet.lock_holder(host)).await.ok()?.ok()?;
    let at_work = join_all(hosts.iter().map(held)).await.into_iter().flatten().next();
    let (health, near, shown) = tokio::join!(fleet.standing_cluster(), join_all(hosts.iter().map(near)), shown);
    let health = health?;
    let well = health.members.iter().find(|member| member.look.report.is_ok());
    let asked = well.and_then(|member| hosts.iter().find(|host| host.name == member.look.host));
    let revision = match asked {
        Some(host) => match fleet.member(host).await {
            Ok(member) => member.revision().await.ok(),
            Err(_) => None,
        },
        None => None,
    };
    // Whoever cannot be asked with certificates was told so above.
    let ports = shown.unwrap_or_default();
    Ok(Scene { inventory: fleet.inventory.clone(), health, hosts: near, ports, revision, at_work })
}

/// Says why a cluster is not well.
#[must_use]
pub fn explain(scene: &Scene) -> Explanation {
    let looked: Vec<(&Host, member::State)> = scene
        .inventory
        .hosts
        .iter()
        .zip(&scene.hosts)
        .map(|(host, near)| (host, member::state(scene, host, near)))
        .collect();
    if let Some(finding) = cluster::not_deployed(scene, &looked) {
        return Explanation { summary: cluster::summary(scene, false), findings: vec![finding] };
    }
    let mut findings = Vec::new();
    findings.extend(cluster::no_quorum(scene, &looked));
    findings.extend(cluster::nobody_reached(scene));
    let nobody = scene.hosts.iter().all(Result::is_err) && scene.hosts.len() > 1;
    // A member that waits for a quorum, or finds no leader, is well by itself while others are not.
    let others_fail = looked.iter().any(|(_, state)| matches!(state, member::State::Ill(_)));
    for (host, state) in &looked {
        match state {
            member::State::Ill(_) if nobody => {}
            member::State::Ill(finding) => findings.push(finding.clone()),
            member::State::Waits if others_fail && !scene.has_quorum(&looked) => {}
            member::State::Waits => findings.extend(member::waits(scene, host)),
            member::State::Well => {}
        }
        if !has_fault(state) {
            findings.extend(certificates::shown(scene, host));
        }
    }
    findings.extend(cluster::findings(scene));
    let notices = cluster::notices(scene, &findings);
    findings.extend(notices);
    findings.sort_by_key(|finding| finding.weight);
    if !findings.is_empty() {
        findings.splice(0..0, cluster::run_at_work(scene));
    }
    Explanation { summary: cluster::summary(scene, findings.is_empty()), findings }
}

/// Whether a fault of the member's own is told already, from which what its ports show may follow.
fn has_fault(state: &member::State) -> bool {
    matches!(state, member::State::Ill(finding) if finding.weight == Weight::Fault)
}

impl Scene {
    /// What the members say of the one on `host`.
    fn member(&self, host: &Host) -> Option<&MemberHealth> {
        self.health.members.iter().find(|member| member.look.host == host.name)
    }

    /// Whether the others know a member on `host`.
    fn is_listed(&self, host: &Host) -> bool {
        let url = peer_url(host);
        self.health.listed().any(|listed| listed.name == host.name || listed.peer_urls.contains(&url))
    }

    /// Whether a quorum of voters is well without the member on `host`.
    fn others_have_all(&self, host: &Host) -> bool {
        let others = self.health.members.iter().filter(|member| member.look.host != host.name);
        self.serves() && others.filter(|member| member.ailment.is_none()).count() >= quorum(self.health.voters())
    }

    /// The member that was added for `host` and has not started yet: the others know its peer URL, but no name.
    fn awaited(&self, host: &Host) -> Option<MemberId> {
        let url = peer_url(host);
        let listed = self.health.listed().find(|listed| listed.name.is_empty() && listed.peer_urls.contains(&url));
        listed.map(|listed| listed.id)
    }

    /// Whether a member is one that was added for a host of the inventory and has not started yet.
    fn is_awaited(&self, id: MemberId) -> bool {
        self.inventory.hosts.iter().any(|host| self.awaited(host) == Some(id))
    }

    /// What is known of a host that could be looked at.
    fn near(&self, host: &Host) -> Option<&Near> {
        let place = self.inventory.hosts.iter().position(|other| other.name == host.name)?;
        self.hosts.get(place)?.as_ref().ok()
    }

    /// All journals that could be read.
    fn journals(&self) -> Vec<Journal<'_>> {
        let hosts = self.inventory.hosts.iter().zip(&self.hosts);
        hosts.filter_map(|(host, near)| Some(Journal { host, near: &near.as_ref().ok()?.close })).collect()
    }

    /// Whether those that have no cause of their own would be enough.
    fn has_quorum(&self, looked: &[(&Host, member::State)]) -> bool {
        let able = looked.iter().filter(|(_, state)| !has_fault(state)).count();
        able >= quorum(self.health.voters())
    }

    /// Whether a quorum serves.
    fn serves(&self) -> bool {
        self.health.verdict != Verdict::Unhealthy
    }

    /// `etcd-ha WORD -i FILE`, with what else is to be typed behind it.
    fn command(&self, word: &str, more: &str) -> String {
        let path = self.inventory.path.display().to_string();
        let more = if more.is_empty() { String::new() } else { format!(" {more}") };
        format!("etcd-ha {word} -i {}{more}", words::shell(&path))
    }

    /// `deploy` as a step, without the hosts that cannot be reached: it would stop at them.
    fn deploy(&self) -> Step {
        let (near, away): (Vec<_>, Vec<_>) =
            self.inventory.hosts.iter().zip(&self.hosts).partition(|(_, near)| near.is_ok());
        // One without data may have lost it: that takes a look at all hosts.
        let bare = near.iter().any(|(_, near)| near.as_ref().is_ok_and(|near| near.seen.data.is_none()));
        if near.is_empty() || away.is_empty() || bare {
            return self.type_in("deploy", "");
        }
        let names: Vec<_> = near.iter().map(|(host, _)| host.name.as_str()).collect();
        self.type_in("deploy", &format!("--limit {}", names.join(",")))
    }

    /// The same as a step.
    fn type_in(&self, word: &str, more: &str) -> Step {
        Step::Type(self.command(word, more))
    }
}
