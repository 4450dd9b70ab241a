//! Where the facts come from.

use super::host::Facts;
use super::{Finding, Report, Source, Verdict, disk, network, timing};
use crate::error::{Explain, line};
use crate::etcd::config::OPEN_FILES;
use crate::host::{Resources, sync_times};
use crate::inventory::{Host, Inventory};
use crate::pki;
use crate::report::count;
use crate::tasks::fitness::objections;
use crate::tasks::{Fleet, Needs, TaskError, Ways};
use futures::future::join_all;
use std::time::Duration;
use time::OffsetDateTime;

/// What is going on, for who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The hosts are connected to and looked at.
    Looking(usize),
    /// Their disks are measured, for so long at most.
    Disks(usize, Duration),
    /// The ways between them are tried.
    Ways(usize),
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Looking(hosts) => write!(f, "looking at {}", count(*hosts, "host")),
            Self::Disks(1, limit) => write!(f, "measuring the disk of 1 host for up to {} s", limit.as_secs()),
            Self::Disks(hosts, limit) => {
                write!(f, "measuring the disks of {hosts} hosts for up to {} s", limit.as_secs())
            }
            Self::Ways(hosts) => write!(f, "trying the ways between {hosts} hosts"),
        }
    }
}

/// Looks at `hosts` of the fleet, and judges what is found. Disks are measured for as long as `disk` says, if it does.
pub async fn check(fleet: &Fleet, hosts: &[&Host], disk: Option<Duration>, tell: impl Fn(Told)) -> Report {
    tell(Told::Looking(hosts.len()));
    let looks = join_all(hosts.iter().map(|host| fleet.seen(host))).await;
    let mut reached: Vec<&Host> = Vec::new();
    let mut findings: Vec<(usize, Vec<Finding>)> = Vec::new();
    for (place, (host, look)) in hosts.iter().zip(&looks).enumerate() {
        match look {
            Ok(_) => reached.push(host),
            Err(error) => findings.push((place, vec![unreached(error).on(&host.name)])),
        }
    }
    let mut overview = fleet.overview(&needs(fleet, hosts).await, None).await;
    if overview.is_err() {
        // What the members say is missing then; what the hosts are is not.
        overview = fleet.overview(&Needs::default(), None).await;
    }
    let valid_from = valid_from(&fleet.inventory).await;
    let resources = join_all(reached.iter().map(|host| resources(fleet, host))).await;
    let times = match disk {
        Some(limit) if !reached.is_empty() => {
            tell(Told::Disks(reached.len(), limit));
            join_all(reached.iter().map(|host| times(fleet, host, limit))).await.into_iter().map(Some).collect()
        }
        _ => vec![None; reached.len()],
    };
    let ways = if reached.is_empty() {
        Ways::default()
    } else {
        if reached.len() > 1 {
            tell(Told::Ways(reached.len()));
        }
        Ways::measure(fleet, &reached).await
    };
    let all = reached.len() == fleet.inventory.hosts.len();
    let compared = all && overview.as_ref().is_ok_and(|overview| overview.membership.is_some());
    let mut slowest: Option<(f64, String)> = None;
    for (index, ((host, resources), times)) in reached.iter().zip(resources).zip(times).enumerate() {
        let Ok(seen) = fleet.seen(host).await else { continue };
        if let Some(Ok(times)) = &times
            && let Some(percentiles) = disk::percentiles(times)
            && slowest.as_ref().is_none_or(|(p99, _)| *p99 < percentiles.p99)
        {
            slowest = Some((percentiles.p99, host.name.clone()));
        }
        let objections = overview.as_ref().map(|overview| objections(overview, host, &seen)).unwrap_or_default();
        let facts = Facts { host, seen: &seen, objections, resources, disk: times, compared, valid_from };
        let all = facts.judge().into_iter().chain(network::judge(index, &reached, &ways));
        let place = hosts.iter().position(|other| other.name == host.name).unwrap_or_default();
        findings.push((place, all.map(|finding| finding.on(&host.name)).collect()));
    }
    findings.sort_by_key(|(place, _)| *place);
    let mut findings: Vec<Finding> = findings.into_iter().flat_map(|(_, findings)| findings).collect();
    let suggestion = network::longest(&reached, &ways).map(|trip| timing::suggest(trip, slowest));
    if let Some(suggestion) = &suggestion {
        let in_force: Vec<_> = hosts.iter().map(|host| timing::in_force(host)).collect();
        findings.extend(timing::judge(suggestion, &in_force));
    }
    let trips = network::matrix(reached.len(), &ways);
    Report { hosts: reached.iter().map(|host| host.name.clone()).collect(), findings, trips, suggestion }
}

/// What is needed to object to as much as a deploy would. Where only some hosts are to be looked at, the others are left
/// alone, and then nobody knows what all their data dirs make together.
async fn needs(fleet: &Fleet, hosts: &[&Host]) -> Needs {
    let all = hosts.len() == fleet.inventory.hosts.len();
    let mut ready = false;
    for host in hosts {
        ready |= fleet.seen(host).await.is_ok_and(|seen| seen.unit.ready());
    }
    // Without certificates nobody can be asked.
    let cluster = all && ready && fleet.standing_cluster().await.is_ok();
    Needs { membership: all, cluster, cluster_version: cluster, ..Needs::default() }
}

fn unreached(error: &TaskError) -> Finding {
    let finding =
        Finding::new("connection", Verdict::Failed, line(error)).wants("it can be logged in to", Source::EtcdHa);
    Finding { hint: error.hint(), ..finding }
}

async fn resources(fleet: &Fleet, host: &Host) -> Result<Resources, String> {
    let connection = fleet.connection(host).await.map_err(|error| line(&error))?;
    Resources::read(&connection, &host.paths, OPEN_FILES).await.map_err(|error| line(&error))
}

async fn times(fleet: &Fleet, host: &Host, limit: Duration) -> Result<Vec<f64>, String> {
    let connection = fleet.connection(host).await.map_err(|error| line(&error))?;
    sync_times(&connection, &host.paths.data, limit).await.map_err(|error| line(&error))
}

/// From when on all certificates that there are can be used, in seconds since the epoch.
async fn valid_from(inventory: &Inventory) -> Option<f64> {
    let settings = inventory.pki.clone();
    let shown =
        tokio::task::spawn_blocking(move || pki::show(&settings, OffsetDateTime::now_utc())).await.ok()?.ok()?;
    let latest = shown.iter().filter_map(|one| Some(one.details.as_ref()?.not_before)).max()?;
    #[allow(clippy::cast_precision_loss)]
    Some(latest.unix_timestamp() as f64)
}
