//! What a history is about, drawn by chance.

use crate::chance::Chance;
use crate::fault::{Fault, Trigger};
use crate::goods::Variant;
use crate::machine::{Bad, Data, Time};
use crate::site::Site;
use etcd_ha::etcd::identity::{ClusterId, MemberId};
use etcd_ha::playbook::{Playbook, embedded};
use std::sync::OnceLock;
use std::time::Duration;

/// When histories of clusters that stand begin.
pub const BEGIN: Time = 60_000;

/// A playbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Book {
    /// The one that comes with the program.
    Deploy,
    /// A rolling restart.
    Restart,
    /// A restart that says nothing of one at a time.
    AllAtOnce,
}

const RESTART: &str = "
name: restart
plays:
  - name: Restart
    mode: rolling
    tasks:
      - hand_over_leadership: { always: true }
      - restart: { always: true }
      - wait_healthy
";
const ALL_AT_ONCE: &str = "
name: at once
plays:
  - name: Restart
    mode: parallel
    tasks:
      - restart: { always: true }
      - wait_healthy
";

/// The playbook.
pub fn book(book: Book) -> &'static Playbook {
    static BOOKS: OnceLock<[Playbook; 3]> = OnceLock::new();
    let parse = |text: &str| Playbook::parse("playbook.yaml", text).expect("a playbook");
    let [deploy, restart, at_once] =
        BOOKS.get_or_init(|| [parse(embedded("deploy").expect("it is there")), parse(RESTART), parse(ALL_AT_ONCE)]);
    match book {
        Book::Deploy => deploy,
        Book::Restart => restart,
        Book::AllAtOnce => at_once,
    }
}

/// What was drawn.
#[derive(Debug)]
pub struct Drawn {
    pub hosts: usize,
    /// Whether nothing is deployed yet.
    pub first: bool,
    pub book: Book,
    pub change: Variant,
    pub bad: Option<Bad>,
    /// What is wanted when all faults are over.
    pub then: Variant,
    pub patience: Duration,
    /// The runs at most, and the pause after each.
    pub runs: Vec<Time>,
    /// The pause after the last fault.
    pub rest: Time,
    pub faults: Vec<(Trigger, Fault)>,
    pub foreign: Option<usize>,
    pub writes: u64,
}

impl Drawn {
    pub fn new(chance: &mut Chance) -> Self {
        let hosts = chance.pick(&[1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 6, 7]);
        let first = chance.percent(15);
        let book = if first {
            Book::Deploy
        } else {
            chance.pick(&[Book::Deploy, Book::Deploy, Book::Deploy, Book::Deploy, Book::Restart, Book::AllAtOnce])
        };
        let own = chance.below(hosts);
        let change = match chance.below(8) {
            _ if first || book != Book::Deploy => Variant::Base,
            0 => Variant::Base,
            1 | 2 => Variant::Setting,
            3 => Variant::Unit,
            4 => Variant::Patch,
            5 => Variant::Minor,
            6 => Variant::Leaves,
            _ => Variant::Own(own),
        };
        let later = chance.between(50, 3000);
        let bad = [Bad::Crashes, Bad::Hangs, Bad::Refuses, Bad::Later(later), Bad::Flaps];
        let bad = Some(chance.pick(&bad)).filter(|_| chance.percent(30) && (first || change != Variant::Base));
        // What is bad is mended in the inventory or where it comes from. A minor version is not gone back from.
        let mended = bad.is_some() && change != Variant::Minor && chance.percent(50);
        let then = if !mended {
            change
        } else if first {
            Variant::Setting
        } else {
            Variant::Base
        };
        let begin = if first { 0 } else { BEGIN };
        let faults = (0..chance.pick(&[0, 1, 1, 2, 2, 3, 4])).map(|_| fault(chance, hosts, begin)).collect();
        let runs = (0..chance.between(1, 3)).map(|_| chance.pick(&[0, 500, 5000, 50_000])).collect();
        let foreign = if first && chance.percent(5) { Some(chance.below(hosts)) } else { None };
        Self {
            hosts,
            first,
            book,
            change,
            bad,
            then,
            patience: Duration::from_secs(6),
            runs,
            rest: chance.pick(&[0, 4000, 60_000]),
            faults,
            foreign,
            writes: chance.pick(&[0, 1, 1, 5]),
        }
    }

    /// What the time is when the history begins.
    pub fn now(&self) -> Time {
        if self.first { 0 } else { BEGIN }
    }

    /// Brings the site into its first state.
    pub fn lay_out(&self, site: &mut Site, chance: &mut Chance) {
        site.writes = self.writes;
        site.faults.clone_from(&self.faults);
        site.bad = self.bad.map(|bad| (self.change, bad));
        if let Some(cluster) = site.clusters.first_mut() {
            cluster.leader = Some(chance.below(self.hosts));
        }
        if let Some(place) = self.foreign {
            let (member, cluster) = (MemberId(7), ClusterId(7));
            site.machines[place].disk.data =
                Some(Data { member, cluster, had_leader: true, log: 7, amnesia: false, foreign: true });
        }
    }

    /// The user moves away what was not ours.
    pub fn settle_foreign(&self, site: &mut Site) {
        let Some(place) = self.foreign else { return };
        let data = site.machines[place].disk.data.take();
        if data.is_none_or(|data| !data.foreign || data.log != 7 || data.member != MemberId(7)) {
            site.judge.breaks(3, format!("the foreign data dir of node{:02} was changed", place + 1));
        }
        site.change(place);
    }
}

fn fault(chance: &mut Chance, hosts: usize, begin: Time) -> (Trigger, Fault) {
    let trigger = match chance.below(3) {
        0 => Trigger::At(begin + chance.between(0, 15_000)),
        1 => Trigger::Call(chance.below(250)),
        _ => Trigger::Step(chance.below(20 * hosts)),
    };
    let (place, other) = (chance.below(hosts), chance.below(hosts));
    let fault = match chance.below(24) {
        0..=2 => Fault::Crash(place),
        3 => Fault::Breaks(place),
        4 => Fault::Lags(place),
        5 => Fault::Alarm(place),
        6 | 7 => Fault::NoLeader,
        8 => Fault::LosesDisk(place),
        9..=11 => Fault::PowerOff(place),
        12 => Fault::Reboot(place),
        13 | 14 => Fault::CutOff(place),
        15 if place != other => Fault::Link(place, other),
        15 | 16 => Fault::Alone(place),
        17..=21 => Fault::Killed,
        _ => Fault::Interrupt,
    };
    (trigger, fault)
}
