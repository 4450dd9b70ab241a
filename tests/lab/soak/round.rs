//! One round of a sweep, on the lab's cluster as the last round left it.

use super::ledger::{Access, Ledger, Writers};
use super::quorum::{Outage, Watch, losses, too_long};
use super::report::Outcome;
use super::schedule::{Accident, Fault, HOSTS, Operation, Profile, Round};
use super::watched::{Progress, Watched};
use crate::broken::{assert_tidy, make_fresh};
use crate::fixture::version_of;
use crate::members::{Members, node};
use crate::site::{Ran, Site, eventually};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How many runs there may be once all hosts are well.
const TRIES: usize = 6;

/// How many runs may find the hosts locked by the one that was killed.
const LOCKED: usize = 15;

const HEALTHY: &str = "done: cluster lab is healthy, 3 of 3 members";

/// A lab's cluster, from round to round.
pub struct Cluster<'a> {
    members: Members<'a>,
    /// From the oldest to the newest.
    versions: [String; 3],
    /// Which of them is wanted.
    version: usize,
    changes: usize,
    /// Whether there is a whole cluster.
    stands: bool,
    ledger: Arc<Mutex<Ledger>>,
    profiles: [Profile; 3],
}

impl<'a> Cluster<'a> {
    /// Does each operation once undisturbed, to see how long it takes and what it says.
    pub fn begin(site: &'a Site) -> Self {
        let mut cluster = Self {
            members: Members::of(site, HOSTS),
            versions: ["bookworm", "trixie", "sid"].map(version_of),
            version: 0,
            changes: 0,
            stands: false,
            ledger: Arc::default(),
            profiles: Default::default(),
        };
        for operation in Operation::ALL {
            let words = cluster.prepare(operation);
            let (code, profile, said) = Watched::start(site, &words).wait();
            assert_eq!(code, Some(0), "undisturbed, {operation} failed:\n{}", said.join("\n"));
            cluster.stands = true;
            eprintln!("{operation}, undisturbed: {} lines in {:.1?}", profile.lines.len(), profile.took);
            cluster.profiles[operation as usize] = profile;
        }
        cluster
    }

    fn write_inventory(&self) {
        let site = self.members.site;
        let mut inventory = site.inventory(1..=HOSTS);
        inventory.version.clone_from(&self.versions[self.version]);
        inventory.settings = format!("snapshot-count: {}", self.snapshot_count());
        site.write(&inventory);
    }

    /// A setting whose value does no harm.
    fn snapshot_count(&self) -> usize {
        50_000 + self.changes
    }

    /// Brings hosts and inventory to where the operation begins; the command that is the operation.
    fn prepare(&mut self, operation: Operation) -> String {
        let newest = self.version + 1 == self.versions.len();
        if !self.stands || operation == Operation::FirstDeploy || (operation == Operation::Upgrade && newest) {
            make_fresh(self.members.site);
            self.version = 0;
            self.ledger = Arc::default();
            self.write_inventory();
            if operation != Operation::FirstDeploy {
                self.members.site.run("deploy").exits(0);
            }
        }
        match operation {
            Operation::FirstDeploy => "deploy".to_owned(),
            Operation::Change => {
                self.changes += 1;
                self.write_inventory();
                "deploy".to_owned()
            }
            Operation::Upgrade => {
                self.write_inventory();
                self.version += 1;
                format!("upgrade --to {}", self.versions[self.version])
            }
        }
    }

    /// After a round that failed the next one begins with fresh hosts.
    pub fn give_up(&mut self) {
        self.stands = false;
    }

    /// What the members said last, for whoever has to find out why a round failed.
    pub fn journals(&self) -> String {
        let last = "systemctl show etcd -p ActiveState,SubState,Result,NRestarts | tr '\\n' ' '; echo; \
                    journalctl -u etcd -o cat -n 15 | cut -c1-400";
        let said = |host| self.members.site.lab.exec(&node(host), last).stdout;
        (1..=HOSTS).map(|host| format!("--- {}\n{}", node(host), String::from_utf8_lossy(&said(host)))).collect()
    }

    /// Plays a round. What it finds stands in `outcome` also where it ends by a panic.
    pub fn play(&mut self, round: &Round, outcome: &mut Outcome) {
        let words = self.prepare(round.operation);
        self.stands = false;
        let site = self.members.site;
        let access = Access { addresses: [1, 2, 3].map(|host| site.lab.address(host)), pki: self.members.pki.clone() };
        let watch = Watch::begin(site.lab.id());
        let mut writers = Writers::begin(access, self.ledger.clone(), round.number);
        if round.operation != Operation::FirstDeploy {
            eventually("a first write", Duration::from_secs(20), || self.ledger.lock().unwrap().acknowledged() > 0);
        }
        let profile = &self.profiles[round.operation as usize];
        let progress = Progress::begin(profile);
        let mending = Mending::default();
        let outage = thread::scope(|scope| {
            let (progress, mending) = (&progress, &mending);
            let strike = |accident| scope.spawn(move || strike(site, accident, progress, mending));
            let striking = round.accident.as_ref().map(strike);
            if striking.is_none() {
                mending.set(Stage::Over);
            }
            outcome.struck = kill_at(site, &words, round, profile, progress, mending);
            finish(site, &words, round.accident.as_ref(), mending, outcome);
            striking.map(|striking| striking.join().unwrap())
        });
        // Through every member again, before it is looked at what there is.
        let before = self.ledger.lock().unwrap().acknowledged();
        let more = || self.ledger.lock().unwrap().acknowledged() > before + 2 * HOSTS;
        eventually("further writes", Duration::from_secs(20), more);
        let end = writers.stop();
        let turns = watch.end();
        let (first, gaps) = {
            let ledger = self.ledger.lock().unwrap();
            outcome.acknowledged = ledger.acknowledged();
            (ledger.first().unwrap(), ledger.gaps(end))
        };
        outcome.gap = gaps.iter().map(|(_, gap)| *gap).max().unwrap();
        for host in 1..=HOSTS {
            let last = turns.iter().rev().find(|turn| turn.host == host);
            assert!(last.is_some_and(|last| last.runs), "{} was not seen to run in the end", node(host));
        }
        let losses = losses(&turns, outage, first, end);
        let long = too_long(&gaps, &turns, outage, &losses);
        outcome.coincidences = losses.iter().filter(|loss| !loss.by_us).count();
        outcome.quorum_lost = losses.len() - outcome.coincidences + long.len();
        let (lost, wrong) = writers.audit().unwrap();
        outcome.lost = lost.len();

        let since = |at: Instant| at.saturating_duration_since(first);
        assert!(lost.is_empty() && wrong.is_empty(), "acknowledged, and not there: {lost:?}; wrong: {wrong:?}");
        assert!(
            outcome.quorum_lost == 0,
            "quorum lost: {losses:?}; gaps {:?} after the first write; the fault from {:?} to {:?}",
            long.iter().map(|(from, gap)| (since(*from), *gap)).collect::<Vec<_>>(),
            outage.map(|outage| since(outage.from)),
            outage.map(|outage| since(outage.to)),
        );
        self.assert_as_wanted(round.accident.as_ref());
        self.stands = true;
    }

    /// Checks that the members run what is wanted, that they are whole, and that nothing is left to do or to clear up.
    #[track_caller]
    fn assert_as_wanted(&self, accident: Option<&Accident>) {
        let site = self.members.site;
        for host in 1..=HOSTS {
            let exe = site.lab.read(&node(host), "readlink /proc/$(systemctl show etcd -p MainPID --value)/exe");
            assert_eq!(exe, format!("/opt/etcd/releases/{}/etcd", self.versions[self.version]), "{}", node(host));
            let count = self.members.variable(host, "ETCD_SNAPSHOT_COUNT");
            assert_eq!(count, Some(self.snapshot_count().to_string()), "{}", node(host));
        }
        self.members.assert_whole();
        if let Some(Accident { fault: Fault::Power, host, .. }) = accident {
            // Half an upload that no process clears up any more lies there until the next one finds it old, which a test
            // of its own sees. A cut link is no such excuse.
            site.lab.read(&node(*host), "rm -rf /opt/etcd/releases/.incoming.*");
        }
        site.run("deploy").exits(0).ends(&format!("{HEALTHY}, nothing to do"));
        assert_tidy(site);
    }
}

/// How far an accident is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd)]
enum Stage {
    #[default]
    Ahead,
    Struck,
    Over,
}

/// The same, for all who have to know.
#[derive(Default)]
struct Mending(Mutex<Stage>);

impl Mending {
    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap() = stage;
    }

    fn reached(&self, stage: Stage) -> bool {
        *self.0.lock().unwrap() >= stage
    }
}

/// Waits for the accident's moment, lets it happen, and mends it.
fn strike(site: &Site, accident: &Accident, progress: &Progress, mending: &Mending) -> Outage {
    let Accident { fault, host, at, lasts } = accident;
    while progress.now() < *at {
        thread::sleep(Duration::from_millis(5));
    }
    let (strike, mend) = match fault {
        Fault::Power => ("kill", "start"),
        Fault::Link => ("cut", "heal"),
    };
    mending.set(Stage::Struck);
    let from = Instant::now();
    site.lab.run(&[strike, &node(*host)]);
    thread::sleep(*lasts);
    site.lab.run(&[mend, &node(*host)]);
    mending.set(Stage::Over);
    Outage { host: *host, from, to: Instant::now() }
}

/// Runs the operation and kills it at the round's moment; whether it was still at it. Where an accident ended it before,
/// that happens to the next run.
fn kill_at(site: &Site, words: &str, round: &Round, profile: &Profile, progress: &Progress, mending: &Mending) -> bool {
    let line = profile.lines_at(round.kill);
    // A run that hangs says no further line.
    let latest = round.kill + if round.at_line { 0.3 } else { 0.0 };
    for run in 0..TRIES {
        let mut running = Watched::start(site, words);
        while !running.ended() {
            let (lines, since) = running.heard();
            let now = profile.progress(lines, since);
            if run == 0 {
                progress.set(now);
            }
            if now >= latest || (round.at_line && lines >= line) {
                running.kill();
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let (code, _, said) = running.wait();
        eprintln!("round {}: exit code {code:?} after: {}", round.number, said.last().map_or("", String::as_str));
        if code.is_none() || code == Some(0) {
            return code.is_none();
        }
        let struck = round.accident.is_some() && mending.reached(Stage::Struck);
        assert!(struck, "it failed by itself, exit code {code:?}:\n{}", said.join("\n"));
        thread::sleep(Duration::from_secs(1));
    }
    panic!("it failed {TRIES} times before it could be killed")
}

/// Runs the same command again until it says done, and no accident is ahead any more.
fn finish(site: &Site, words: &str, accident: Option<&Accident>, mending: &Mending, outcome: &mut Outcome) {
    let number = outcome.round.number;
    let mut since_over = 0;
    loop {
        let over = mending.reached(Stage::Over);
        let ran = site.run(words);
        let last = ran.stderr.lines().last().unwrap_or_default();
        eprintln!("round {number}: exit code {:?} after {:.1?}: {last}", ran.code, ran.took);
        if ran.code == Some(5) {
            outcome.locked += 1;
            assert!(outcome.locked <= LOCKED, "locked for good: {}", ran.whole());
        } else if ran.code == Some(0) && said_healthy(&ran) {
            if over {
                outcome.tries += 1;
                return;
            }
            eventually("the accident is over", Duration::from_secs(60), || mending.reached(Stage::Over));
            continue;
        } else {
            outcome.tries += 1;
            let Some(accident) = accident.filter(|_| mending.reached(Stage::Struck)) else {
                panic!("it was not finished by the next run: {}", ran.whole());
            };
            // 6: the host was away in its turn, and took the change back.
            assert!(matches!(ran.code, Some(1 | 3 | 4 | 6)), "{}", ran.whole());
            if over {
                since_over += 1;
                assert!(since_over < TRIES, "not finished after {TRIES} runs: {}", ran.whole());
            } else {
                let host = node(accident.host);
                assert!(ran.stderr.contains(&host), "it does not name {host}: {}", ran.whole());
            }
        }
        thread::sleep(Duration::from_secs(1));
    }
}

fn said_healthy(ran: &Ran) -> bool {
    ran.stderr.lines().any(|line| line.starts_with(HEALTHY))
}
