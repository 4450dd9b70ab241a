//! Writers that note what was acknowledged to them, and what is there of it in the end.

use super::schedule::HOSTS;
use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, SortOrder, SortTarget, TlsOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// How long a write may take. The cluster needs as long to elect a leader.
const LIMIT: Duration = Duration::from_secs(2);

/// Between two writes to a member.
const PAUSE: Duration = Duration::from_millis(30);

/// What was written to one cluster: by key, the value, and the revision if it was acknowledged.
#[derive(Default)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
    /// When writes were acknowledged since [`Ledger::turn_over`].
    acknowledged: Vec<Instant>,
}

struct Entry {
    value: String,
    revision: Option<i64>,
}

/// A key as a member has it.
#[derive(Clone, Debug)]
pub struct Found {
    pub value: String,
    pub created: i64,
    pub modified: i64,
}

impl Ledger {
    /// Begins the page of another round: what was written before stays in force.
    pub fn turn_over(&mut self) {
        self.acknowledged.clear();
    }

    fn attempt(&mut self, key: &str, value: &str) {
        self.entries.insert(key.to_owned(), Entry { value: value.to_owned(), revision: None });
    }

    fn acknowledge(&mut self, key: &str, revision: i64, at: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.revision = Some(revision);
        }
        self.acknowledged.push(at);
    }

    /// How many writes were acknowledged in this round.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// When the first write of this round was acknowledged.
    pub fn first(&self) -> Option<Instant> {
        self.acknowledged.iter().min().copied()
    }

    /// The times without an acknowledgement from the first one on: when each began, and how long it was.
    pub fn gaps(&self, end: Instant) -> Vec<(Instant, Duration)> {
        let mut all = self.acknowledged.clone();
        all.push(end);
        all.sort_unstable();
        all.windows(2).map(|pair| (pair[0], pair[1] - pair[0])).collect()
    }

    /// What was acknowledged and is not there.
    pub fn lost(&self, there: &BTreeMap<String, Found>) -> Vec<String> {
        let acknowledged = self.entries.iter().filter(|(_, entry)| entry.revision.is_some());
        acknowledged.filter(|(key, _)| !there.contains_key(*key)).map(|(key, _)| key.clone()).collect()
    }

    /// What is there and was not written, or not so: another value, written twice, at another revision.
    pub fn wrong(&self, there: &BTreeMap<String, Found>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, found) in there {
            let why = match self.entries.get(key) {
                None => Some("nobody wrote it"),
                Some(entry) if entry.value != found.value => Some("another value"),
                Some(_) if found.created != found.modified => Some("written twice"),
                Some(entry) if entry.revision.is_some_and(|revision| revision != found.modified) => {
                    Some("acknowledged at another revision")
                }
                Some(_) => None,
            };
            wrong.extend(why.map(|why| format!("{key}: {why}: {found:?}")));
        }
        wrong
    }
}

/// How the members of a lab are reached, and what certificates make their client.
#[derive(Clone)]
pub struct Access {
    pub addresses: [String; HOSTS],
    pub pki: PathBuf,
}

impl Access {
    /// Certificates are read anew every time: a first deploy makes them meanwhile.
    async fn connect(&self, member: usize) -> Option<Client> {
        let read = |name: &str| fs::read(Path::new(&self.pki).join(name)).ok();
        let address = &self.addresses[member - 1];
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read("ca.pem")?))
            .identity(Identity::from_pem(read("admin.pem")?, read("admin-key.pem")?))
            .domain_name(address);
        let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(Duration::from_secs(1));
        Client::connect([format!("https://{address}:2379")], Some(options)).await.ok()
    }

    /// All keys of the ledger as a member has them: as the cluster agrees it should, or as it is in its own store.
    async fn read(&self, member: usize, own: bool) -> Result<BTreeMap<String, Found>, String> {
        let mut client = self.connect(member).await.ok_or("no connection")?;
        let mut there = BTreeMap::new();
        let mut from = b"soak/".to_vec();
        loop {
            let mut options = GetOptions::new()
                .with_range(b"soak0".to_vec())
                .with_limit(5000)
                .with_sort(SortTarget::Key, SortOrder::Ascend);
            if own {
                options = options.with_serializable();
            }
            let read = client.get(from.clone(), Some(options)).await.map_err(|error| error.to_string())?;
            for one in read.kvs() {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (created, modified) = (one.create_revision(), one.mod_revision());
                there.insert(text(one.key()), Found { value: text(one.value()), created, modified });
            }
            let Some(last) = read.kvs().last().filter(|_| read.more()) else { return Ok(there) };
            from = [last.key(), &[0]].concat();
        }
    }
}

/// One writer for each member, until they are stopped.
pub struct Writers {
    runtime: Runtime,
    ledger: Arc<Mutex<Ledger>>,
    access: Access,
    stop: Arc<AtomicBool>,
    writing: Vec<JoinHandle<()>>,
}

impl Writers {
    pub fn begin(access: Access, ledger: Arc<Mutex<Ledger>>, round: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        ledger.lock().unwrap().turn_over();
        let write = |member| runtime.spawn(write(access.clone(), ledger.clone(), stop.clone(), round, member));
        let writing = (1..=HOSTS).map(write).collect();
        Self { ledger, access, stop, writing, runtime }
    }

    /// Ends the writing; says when.
    pub fn stop(&mut self) -> Instant {
        self.stop.store(true, Ordering::Relaxed);
        for writing in self.writing.drain(..) {
            self.runtime.block_on(writing).unwrap();
        }
        Instant::now()
    }

    /// Reads everything back through every member, and from every member's own store: what is lost, what is wrong.
    pub fn audit(&self) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
        let ledger = self.ledger.lock().unwrap();
        let (mut lost, mut wrong) = (BTreeSet::new(), BTreeSet::new());
        for member in 1..=HOSTS {
            // The first brings the member's own store up to date.
            for own in [false, true] {
                let reading = async {
                    let reading = self.access.read(member, own);
                    tokio::time::timeout(Duration::from_secs(20), reading).await.map_err(|_| "no answer".to_owned())?
                };
                let there = self.runtime.block_on(reading);
                let there = there.map_err(|error| format!("node{member:02} cannot be read: {error}"))?;
                lost.extend(ledger.lost(&there));
                wrong.extend(ledger.wrong(&there));
            }
        }
        Ok((lost, wrong))
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Each write is of a key of its own, so that none is ever tried twice.
async fn write(access: Access, ledger: Arc<Mutex<Ledger>>, stop: Arc<AtomicBool>, round: usize, member: usize) {
    let mut client = None;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        if client.is_none() {
            client = access.connect(member).await;
        }
        if let Some(connected) = &mut client {
            count += 1;
            let (key, value) = (format!("soak/{round:05}/{member}/{count:07}"), format!("{round} {member} {count}"));
            ledger.lock().unwrap().attempt(&key, &value);
            match tokio::time::timeout(LIMIT, connected.put(key.clone(), value, None)).await {
                Ok(Ok(put)) => {
                    let revision = put.header().map_or(0, etcd_client::ResponseHeader::revision);
                    ledger.lock().unwrap().acknowledge(&key, revision, Instant::now());
                }
                Ok(Err(_)) | Err(_) => client = None,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub fn what_is_lost_twice_or_different_is_found() {
    let mut ledger = Ledger::default();
    let start = Instant::now();
    let at = |second: u64| start + Duration::from_secs(second);
    for (key, revision) in [("a", Some(2)), ("b", None), ("c", Some(4)), ("d", None)] {
        ledger.attempt(key, &format!("value of {key}"));
        if let Some(revision) = revision {
            ledger.acknowledge(key, revision, at(revision.unsigned_abs()));
        }
    }
    let found = |value: &str, created, modified| Found { value: format!("value of {value}"), created, modified };
    // What was not acknowledged may be there or not.
    let right = BTreeMap::from([("a", found("a", 2, 2)), ("b", found("b", 3, 3)), ("c", found("c", 4, 4))]);
    let there = |change: Option<(&'static str, Option<Found>)>| {
        let mut there = right.clone();
        match change {
            Some((key, Some(found))) => drop(there.insert(key, found)),
            Some((key, None)) => drop(there.remove(key)),
            None => {}
        }
        let there = there.into_iter().map(|(key, found)| (key.to_owned(), found)).collect();
        (ledger.lost(&there).concat(), ledger.wrong(&there).concat())
    };
    assert_eq!(there(None), (String::new(), String::new()));
    assert_eq!(there(Some(("b", None))), (String::new(), String::new()));
    assert_eq!(there(Some(("c", None))), ("c".to_owned(), String::new()));
    for (key, found, why) in [
        ("a", found("b", 2, 2), "a: another value"),
        ("a", found("a", 2, 7), "a: written twice"),
        ("b", found("b", 3, 7), "b: written twice"),
        ("a", found("a", 7, 7), "a: acknowledged at another revision"),
        ("e", found("e", 8, 8), "e: nobody wrote it"),
    ] {
        let (lost, wrong) = there(Some((key, Some(found))));
        assert!(lost.is_empty() && wrong.starts_with(why), "{why}: {lost} {wrong}");
    }
    assert_eq!(ledger.gaps(at(9)), [(at(2), Duration::from_secs(2)), (at(4), Duration::from_secs(5))]);
    assert_eq!((ledger.first(), ledger.acknowledged()), (Some(at(2)), 2));
    ledger.turn_over();
    assert_eq!((ledger.first(), ledger.acknowledged()), (None, 0));
    assert_eq!(ledger.gaps(at(9)), []);
    // The last page's keys still count.
    assert_eq!(ledger.lost(&BTreeMap::new()), ["a", "c"]);
}
