//! What is wrong with the cluster as a whole, and what is worth a look although it works.

use super::member::{State, disk_of};
use super::words::{ago, bytes, list};
use super::{Finding, Scene, Step, Weight};
use crate::diagnosis::status::quota;
use crate::etcd::health::{Verdict, quorum};
use crate::etcd::journal::words;
use crate::etcd::problem::Problem;
use crate::etcd::signature::known;
use crate::inventory::Host;
use std::collections::{BTreeMap, BTreeSet};

/// Clocks that differ by more than this are told, in seconds: certificates and leases look at them.
const SKEW: f64 = 2.0;

/// Less free space than this is told: a member writes two files of 64 MB at once.
const LITTLE: u64 = 256 << 20;

/// So many late heartbeats within the time that is looked at are told.
const LATE: usize = 3;

fn finding(kind: &str, cause: String, evidence: Vec<String>, next: Vec<Step>, weight: Weight) -> Finding {
    Finding { host: None, kind: kind.to_owned(), cause, evidence, next, weight }
}

/// The cluster's state in one line.
pub(super) fn summary(scene: &Scene, nothing: bool) -> String {
    let health = &scene.health;
    let (healthy, all, name) = (health.healthy(), health.members.len(), &scene.inventory.cluster);
    match health.verdict {
        Verdict::Healthy => {
            let rest = if nothing { "; nothing to explain" } else { "" };
            format!("cluster {name} is healthy: {healthy} of {all} voters{rest}")
        }
        Verdict::Degraded => {
            format!(
                "cluster {name} is degraded: {healthy} of {all} members healthy, quorum is {}",
                quorum(health.voters())
            )
        }
        Verdict::Unhealthy => {
            format!(
                "cluster {name} is unhealthy: {healthy} of {all} members healthy, quorum is {}",
                quorum(health.voters())
            )
        }
    }
}

/// There are not enough members: what that means, and what is not to be done.
pub(super) fn no_quorum(scene: &Scene, looked: &[(&Host, State)]) -> Option<Finding> {
    let needed = quorum(scene.health.voters());
    let able: Vec<&str> = looked
        .iter()
        .filter(|(_, state)| !matches!(state, State::Ill(_)))
        .map(|(host, _)| host.name.as_str())
        .collect();
    let ill: Vec<&str> =
        looked.iter().filter(|(_, state)| matches!(state, State::Ill(_))).map(|(host, _)| host.name.as_str()).collect();
    let reached = scene.hosts.iter().any(Result::is_ok);
    if able.len() >= needed || scene.serves() || ill.is_empty() || !reached {
        return None;
    }
    let missing = needed - able.len();
    let keep = if able.is_empty() { String::new() } else { format!("do not restart {}, and ", list(&able)) };
    let mut next = Vec::new();
    let standing = scene.health.members.iter().find(|member| member.look.report.is_ok());
    if let Some(member) = standing {
        let host = &member.look.host;
        next.push(Step::Do(format!("before anything else, save what {host} has, into a file on that host:")));
        next.push(
            scene.type_in("ctl", &format!("--on {host} -- snapshot save /var/tmp/{}.db", scene.inventory.cluster)),
        );
    }
    next.push(Step::Do(format!(
        "then bring {missing} of {} back, as said below; {keep}leave every data dir as it is",
        list(&ill)
    )));
    Some(finding(
        "no-quorum",
        format!(
            "there is no quorum: {} of {} members can vote, {needed} are needed",
            able.len(),
            scene.health.voters()
        ),
        vec!["nothing can be written or read, but for serializable reads and snapshots".to_owned()],
        next,
        Weight::Fault,
    ))
}

/// None of the hosts can be reached: what they share is the way from here.
pub(super) fn nobody_reached(scene: &Scene) -> Option<Finding> {
    let unreached: Vec<_> = scene.hosts.iter().filter_map(|near| near.as_ref().err()).collect();
    if unreached.len() < scene.hosts.len() || unreached.len() < 2 {
        return None;
    }
    let mut next =
        vec![Step::Do("see first to what they share: this machine's network, VPN, jump host, and SSH key".to_owned())];
    let hints: BTreeSet<&String> = unreached.iter().filter_map(|unreached| unreached.hint.as_ref()).collect();
    next.extend(hints.into_iter().map(|hint| Step::Do(hint.clone())));
    Some(finding(
        "unreachable",
        format!("none of the {} hosts can be reached over SSH; how the members are is not known", unreached.len()),
        unreached.iter().map(|unreached| unreached.why.clone()).collect(),
        next,
        Weight::Fault,
    ))
}

/// What is wrong with the cluster as a whole.
pub(super) fn findings(scene: &Scene) -> Vec<Finding> {
    let mut findings = alarms(scene);
    findings.extend(learners(scene));
    for problem in &scene.health.problems {
        let evidence = vec![problem.to_string()];
        let (kind, cause, next) = match problem {
            // Of the host that it was added for is told what comes next.
            Problem::Stranger { id, .. } if scene.is_awaited(*id) => continue,
            Problem::Stranger { id, name } => {
                let name = if name.is_empty() { "a member without a name" } else { name };
                let remove = scene.type_in("ctl", &format!("-- member remove {id}"));
                let well = scene.serves() && scene.health.members.iter().all(|member| member.ailment.is_none());
                let next = if well {
                    let words = "add its host to the inventory, or, if it is not wanted, remove it:";
                    vec![Step::Do(words.to_owned()), remove]
                } else {
                    vec![Step::Do("add its host to the inventory; remove nobody before all others are well".to_owned())]
                };
                ("stranger", format!("the cluster has {name}, which is not in the inventory"), next)
            }
            Problem::NoMember { host } if scene.serves() => {
                let found = scene.inventory.hosts.iter().find(|other| &other.name == host);
                // What its journal says of that is told of the host.
                if found.and_then(|host| scene.near(host)).is_none_or(|near| !near.seen.unit.ready())
                    && scene.health.members.len() > 1
                {
                    continue;
                }
                (
                    "no-member",
                    format!("{host} is in the inventory, but no member of the cluster"),
                    vec![scene.type_in("ctl", "-- member list")],
                )
            }
            Problem::NoMember { .. } => continue,
            Problem::Moved { name, wanted, .. } => {
                let member = scene.health.members.iter().find(|member| &member.look.host == name);
                let mut next = vec![Step::Do("correct its `address` in the inventory".to_owned())];
                // One that serves is where the others look for it.
                if let Some(id) = member.filter(|member| member.ailment.is_some()).and_then(|member| member.id) {
                    next.push(Step::Do("or, if the inventory is right, tell the cluster the new one:".to_owned()));
                    next.push(scene.type_in("ctl", &format!("-- member update {id} --peer-urls={wanted}")));
                }
                ("moved", format!("the others look for {name} at another peer URL than the inventory has"), next)
            }
            Problem::Clusters(..) => (
                "two-clusters",
                "the members belong to different clusters".to_owned(),
                vec![
                    Step::Do(
                        "stop writing, delete nothing, and find out which of them has the data that counts:".to_owned(),
                    ),
                    scene.type_in("ctl", "-- endpoint status -w table"),
                ],
            ),
            Problem::Lists | Problem::Leaders => (
                "disagreement",
                "the members do not agree; if that lasts longer than some seconds, they do not reach each other"
                    .to_owned(),
                vec![scene.type_in("check", "")],
            ),
        };
        findings.push(finding(kind, cause, evidence, next, Weight::Fault));
    }
    findings
}

/// Alarms that are raised, by kind.
fn alarms(scene: &Scene) -> Vec<Finding> {
    let hosts = scene.health.hosts_by_id();
    let mut raised: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for member in &scene.health.members {
        let Ok(report) = &member.look.report else { continue };
        for alarm in report.alarms.iter().flatten() {
            let host = hosts.get(&alarm.member).cloned().unwrap_or_else(|| alarm.member.to_string());
            raised.entry(alarm.kind.clone()).or_default().insert(host);
        }
    }
    raised.iter().map(|(kind, by)| alarm(scene, kind, by)).collect()
}

fn alarm(scene: &Scene, kind: &str, by: &BTreeSet<String>) -> Finding {
    let names: Vec<&str> = by.iter().map(String::as_str).collect();
    let raised = format!("alarm {kind}, raised by {}", list(&names));
    if kind != "NOSPACE" {
        let next = vec![
            Step::Do(format!(
                "stop writing, and keep every data dir: the data of {} differs from that of the others. Take a snapshot of a member \
                 that raised no alarm, then replace the one that did",
                list(&names)
            )),
            scene.type_in("ctl", "-- endpoint hashkv -w table"),
        ];
        let cause = format!("the data of {} is damaged; the cluster refuses writes", list(&names));
        return finding("corrupt", cause, vec![raised], next, Weight::Fault);
    }
    let mut evidence = vec![raised];
    let mut full = false;
    for host in scene.inventory.hosts.iter().filter(|host| by.contains(&host.name)) {
        let report = scene.member(host).and_then(|member| member.look.report.as_ref().ok());
        let quota = quota(report, scene.near(host).map(|near| &near.seen));
        if let Some(report) = report {
            full |= report.status.db_size > quota / 10 * 9;
            evidence.push(format!(
                "the database of {} has {} of its quota of {}",
                host.name,
                bytes(report.status.db_size),
                bytes(quota)
            ));
        }
    }
    let revision = scene.revision.map_or_else(|| "REVISION".to_owned(), |revision| revision.to_string());
    let disarm = scene.type_in("ctl", "-- alarm disarm");
    let next = if full || evidence.len() == 1 {
        vec![
            Step::Do("drop the history, give the space back, and only then take the alarm away:".to_owned()),
            scene.type_in("ctl", &format!("-- compact {revision}")),
            scene.type_in("ctl", "-- defrag --command-timeout=60s"),
            disarm,
            Step::Do("so that it does not come back, raise `quota-backend-bytes` in the inventory's settings and deploy, or write less".to_owned()),
        ]
    } else {
        vec![Step::Do("there is room again; this takes the alarm away, and writes are taken again:".to_owned()), disarm]
    };
    let cause = if full { "the database has reached its quota" } else { "the database had reached its quota" };
    finding("nospace", format!("{cause}, and the cluster refuses writes"), evidence, next, Weight::Fault)
}

fn learners(scene: &Scene) -> Vec<Finding> {
    let learners: BTreeMap<_, _> = scene
        .health
        .listed()
        .filter(|listed| listed.learner && !scene.is_awaited(listed.id))
        .map(|listed| (listed.id, listed.name.clone()))
        .collect();
    let one = |(id, name): (_, String)| {
        let name = if name.is_empty() { "a member that never started".to_owned() } else { name };
        finding(
            "learner",
            format!("{name} is a learner and has no vote yet"),
            vec![format!("the cluster lists {id} as a learner")],
            vec![
                Step::Do("once it has all the data, it is promoted; etcd refuses while it lags:".to_owned()),
                scene.type_in("ctl", &format!("-- member promote {id}")),
            ],
            Weight::Fault,
        )
    };
    learners.into_iter().map(one).collect()
}

/// What works, but is worth a look; without what was `found` already.
pub(super) fn notices(scene: &Scene, found: &[Finding]) -> Vec<Finding> {
    let mut notices = Vec::new();
    notices.extend(versions(scene));
    for (host, near) in scene.inventory.hosts.iter().zip(&scene.hosts) {
        let Ok(near) = near else { continue };
        let unit = &near.seen.unit;
        let mut notice = |kind: &str, cause: String, evidence: String, next: Vec<Step>| {
            notices.push(Finding {
                host: Some(host.name.clone()),
                ..finding(kind, cause, vec![evidence], next, Weight::Notice)
            });
        };
        if let Some(skew) = near.seen.clock_skew.filter(|skew| skew.abs() > SKEW) {
            let way = if skew > 0.0 { "ahead of" } else { "behind" };
            let status = scene.type_in("exec", &format!("{} -- timedatectl", host.name));
            let evidence = format!("it is {} {way} this machine's", ago(skew.abs()));
            notice("clock", "its clock is wrong, or this machine's is".to_owned(), evidence, vec![status]);
        }
        let space = near.seen.space.get(&host.paths.data);
        let size = near.close.data_disk.unwrap_or(u64::MAX);
        let little = space.is_some_and(|space| {
            space.free < LITTLE.min(size / 10) || space.free_inodes.is_some_and(|inodes| inodes < 100)
        });
        let told = found.iter().any(|finding| finding.kind == "disk-full" && finding.host.as_ref() == Some(&host.name));
        let little = little && !told;
        if little && let Some(disk) = disk_of(host, near) {
            let df = scene.type_in("exec", &format!("{} -- df -h {}", host.name, host.paths.data));
            notice("little-space", "its disk is nearly full; etcd ends when it is".to_owned(), disk, vec![df]);
        }
        if unit.ready() && unit.enabled != "enabled" {
            let start = scene.type_in("start", &format!("--limit {}", host.name));
            notice(
                "not-enabled",
                "etcd runs, but a reboot would not start it".to_owned(),
                format!("the unit is {}", unit.enabled),
                vec![start],
            );
        }
        if let Some(taken_back) = &near.seen.taken_back {
            let tried = taken_back.split_ascii_whitespace().last() != Some("untried");
            let cause =
                "the host took its last change back by itself, since the member did not come up with it".to_owned();
            let evidence = if tried {
                "the member was started with it and failed"
            } else {
                "the member was never started with it"
            };
            notice("taken-back", cause, evidence.to_owned(), vec![scene.type_in("plan", "")]);
        }
        let late = near
            .close
            .journal
            .iter()
            .filter(|entry| known(&words(&entry.message)).is_some_and(|known| known.name == "slow"));
        let late: Vec<f64> = late.map(|entry| entry.age).filter(|age| *age < 900.0).collect();
        if late.len() >= LATE
            && let Some(last) = late.last()
        {
            let evidence = format!("{} late heartbeats, the last {} ago", late.len(), ago(*last));
            let next = "look what else uses that host's disk and CPU; `etcd_disk_wal_fsync_duration_seconds` should stay below 10 ms";
            notice(
                "slow",
                "its disk or CPU is too slow for a leader".to_owned(),
                evidence,
                vec![Step::Do(next.to_owned())],
            );
        }
    }
    notices
}

/// Members of different versions: an upgrade that is half way.
fn versions(scene: &Scene) -> Option<Finding> {
    let mut by_version: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in &scene.inventory.hosts {
        if let Some(Ok(report)) = scene.member(host).map(|member| &member.look.report) {
            by_version.entry(&report.status.version).or_default().push(&host.name);
        }
    }
    if by_version.len() < 2 {
        return None;
    }
    let evidence = by_version.iter().map(|(version, hosts)| format!("{} on {version}", list(hosts))).collect();
    let words = format!("the inventory says {}; this finishes it:", scene.inventory.version);
    let next = vec![Step::Do(words), scene.deploy()];
    Some(finding(
        "half-way",
        "members run different versions: an upgrade is half way".to_owned(),
        evidence,
        next,
        Weight::Notice,
    ))
}

/// A run that is at work while something is wrong: what is wrong may be its doing, and over in a moment.
pub(super) fn run_at_work(scene: &Scene) -> Option<Finding> {
    let holder = scene.at_work.as_ref()?;
    let next = vec![
        Step::Do("wait for its end, and ask again; who it is and since when says:".to_owned()),
        scene.type_in("lock status", ""),
    ];
    let cause = "a run is at work on the cluster, and what is said below may be its doing".to_owned();
    Some(finding("run-at-work", cause, vec![holder.to_string()], next, Weight::Notice))
}

/// Nothing was ever deployed, or all of it is gone: what is said of members would help nobody.
pub(super) fn not_deployed(scene: &Scene, looked: &[(&Host, State)]) -> Option<Finding> {
    let bare = |(host, state): &(&Host, State)| {
        let not_set_up = matches!(state, State::Ill(finding) if finding.kind == "not-set-up");
        not_set_up && scene.near(host).is_some_and(|near| near.seen.data.is_none())
    };
    let cause = "nothing is deployed: no host has a member set up, nor any data".to_owned();
    looked.iter().all(bare).then(|| finding("not-deployed", cause, Vec::new(), vec![scene.deploy()], Weight::Fault))
}
