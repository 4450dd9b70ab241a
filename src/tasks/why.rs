//! Why a member does not do well, as far as journals tell: its own and, for what it cannot know, those of its peers.

use super::TaskError;
use super::fleet::{Fleet, places};
use crate::etcd::identity::MemberId;
use crate::etcd::journal::{Subject, Told, last_run, last_words, subject, told};
use crate::host::{CloseUp, Observation, close_up};
use crate::inventory::Host;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// What was said longer ago than this by a member that runs is not taken for what is wrong now, in seconds: peers try
/// each other several times a second, and look after each other every five.
const RECENT: f64 = 15.0;

/// How long journals are waited for.
const LIMIT: Duration = Duration::from_secs(4);

/// What a journal says of why a member does not do well.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The host whose journal it is.
    pub said_by: String,
    /// How many seconds ago it was said.
    pub age: f64,
    /// The words and their meaning.
    pub told: Told,
    /// The address that the member was seen to connect from, if that was said.
    pub from: Option<String>,
}

/// A host and what a closer look at it gave.
#[derive(Debug, Clone, Copy)]
pub struct Journal<'a> {
    /// The host.
    pub host: &'a Host,
    /// The closer look at it.
    pub near: &'a CloseUp,
}

/// Why the member on `host` does not do well. Whose journal is nearest to the cause comes first: its own, where that
/// names a cause, then what its peers find in it; what is heard of many causes comes last.
#[must_use]
pub fn why(host: &Host, seen: &Observation, ids: &BTreeMap<MemberId, String>, journals: &[Journal<'_>]) -> Option<Why> {
    let unit = &seen.unit;
    let connects_from =
        |address: &str| address.parse().is_ok_and(|address: IpAddr| seen.sources.values().any(|own| *own == address));
    let own = journals.iter().find(|journal| journal.host.name == host.name);
    // What was said before it was as it is now is over: before it was ready, or, if it is not, before it was started.
    let near = own.map(|own| own.near);
    let age = if unit.ready() {
        near.and_then(|near| near.active_for)
    } else {
        near.and_then(|near| near.process_age).filter(|_| unit.runs()).map(|age| age + 1.0)
    };
    let age = age.unwrap_or(f64::INFINITY);
    let mut found: Vec<Why> = Vec::new();
    if let Some(own) = own {
        let lines: Vec<&str> = own.near.journal.iter().map(|entry| entry.message.as_str()).collect();
        let run = last_run(&lines);
        let entries = &own.near.journal[lines.len() - run.len()..];
        let limit = if unit.ready() { RECENT } else { f64::INFINITY };
        let entries = entries.iter().filter(|entry| entry.age <= limit && subject(&entry.message) == Subject::Itself);
        found.extend(pick(&own.host.name, entries.map(|entry| (entry.age, entry.message.as_str()))));
    }
    for peer in journals.iter().filter(|journal| journal.host.name != host.name) {
        let of_it = |message: &str| match subject(message) {
            Subject::Itself | Subject::Client => false,
            Subject::Address(address) => {
                address == host.address || host.extra_names.contains(&address) || connects_from(&address)
            }
            Subject::Peer(id) => ids.get(&id) == Some(&host.name),
        };
        let limit = RECENT.min(age);
        let entries = peer.near.journal.iter().filter(|entry| entry.age <= limit && of_it(&entry.message));
        found.extend(pick(&peer.host.name, entries.map(|entry| (entry.age, entry.message.as_str()))));
    }
    // The first of those that weigh most.
    let most = found.iter().map(|why| why.told.signature.weight).max()?;
    found.into_iter().find(|why| why.told.signature.weight == most)
}

fn pick<'a>(said_by: &str, entries: impl Iterator<Item = (f64, &'a str)>) -> Option<Why> {
    let entries: Vec<_> = entries.collect();
    let best = told(entries.iter().map(|(_, message)| *message))?;
    let (age, message) =
        entries.iter().rev().find(|(_, message)| crate::etcd::journal::words(message) == best.words)?;
    let from = match subject(message) {
        Subject::Address(address) => Some(address),
        Subject::Itself | Subject::Peer(_) | Subject::Client => None,
    };
    Some(Why { said_by: said_by.to_owned(), age: *age, told: best, from })
}

/// The last that a member said of its own accord in its last run.
#[must_use]
pub fn last_said(near: &CloseUp) -> Option<String> {
    let lines: Vec<&str> = near.journal.iter().map(|entry| entry.message.as_str()).collect();
    last_words(last_run(&lines).into_iter())
}

impl Fleet {
    /// A closer look at a host.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub async fn close_up(&self, host: &Host) -> Result<CloseUp, TaskError> {
        let connection = self.connection(host).await?;
        Ok(close_up(&connection, &places(host)).await?)
    }

    /// Why the member on `host` does not do well, as far as the journals of all hosts tell within a few seconds.
    pub async fn why(&self, host: &Host) -> Option<Why> {
        let look = async |host| tokio::time::timeout(LIMIT, self.close_up(host)).await.ok()?.ok();
        let hosts = &self.inventory.hosts;
        let (seen, looks) = tokio::join!(self.seen(host), join_all(hosts.iter().map(look)));
        let seen = seen.ok()?;
        let cluster = self.cluster(None).await.ok()?;
        let journals: Vec<Journal<'_>> =
            hosts.iter().zip(&looks).filter_map(|(host, near)| Some(Journal { host, near: near.as_ref()? })).collect();
        why(host, &seen, &cluster.hosts_by_id(), &journals)
    }
}
