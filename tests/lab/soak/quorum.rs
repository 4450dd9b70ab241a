//! Whether a quorum of members ran and could be reached all the while; where it was not so, whose doing that was.
//!
//! Looked at from outside: a host's processes are processes of this machine, and whether one is left in the unit's cgroup
//! costs the host nothing to tell.

use super::schedule::HOSTS;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many members make a quorum.
const QUORUM: usize = HOSTS / 2 + 1;

/// A fault that strikes this soon before or after a member is restarted strikes a restart that was right when it was
/// begun: the look before it, the hand-over and the stop take that long on a busy machine.
const TURN: Duration = Duration::from_secs(5);

/// The longest that nothing may be acknowledged while all hosts are well: a busy machine's election, and not a restart.
const CALM: Duration = Duration::from_secs(5);

/// The same around a host's fault: from its beginning until the host has had that long to be back among the others.
const STRUCK: Duration = Duration::from_secs(10);

/// A member's process was seen to begin or to end.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub at: Instant,
    pub host: usize,
    pub runs: bool,
}

/// A host's fault as it happened.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    pub host: usize,
    pub from: Instant,
    pub to: Instant,
}

/// A while without a quorum.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    pub lasted: Duration,
    /// Not explained by one host's fault that struck in the midst of a restart.
    pub by_us: bool,
    /// Which members were down and what happened, for whoever has to find out.
    pub how: String,
}

/// Finds the whiles without a quorum after the first one stood. `turns` are in the order of time, and begin with the
/// state of each host at the start.
pub fn losses(turns: &[Turn], outage: Option<Outage>, first_quorum: Instant, end: Instant) -> Vec<Loss> {
    let mut moments: Vec<Instant> = turns.iter().map(|turn| turn.at).collect();
    moments.extend(outage.iter().flat_map(|outage| [outage.from, outage.to]));
    moments.push(first_quorum);
    moments.retain(|at| (first_quorum..end).contains(at));
    moments.sort_unstable();
    moments.dedup();
    let mut found: Vec<Loss> = Vec::new();
    let mut open: Option<(Instant, bool, String)> = None;
    for at in moments {
        let cut = outage.filter(|outage| (outage.from..outage.to).contains(&at));
        // Since when each member is down that does not run at this moment, and whether it ever did.
        let last = |host: usize| turns.iter().rev().find(|turn| turn.host == host && turn.at <= at);
        let stopped = |host: usize| last(host).filter(|turn| !turn.runs).map(|turn| turn.at);
        let ran = |host: usize| turns.iter().any(|turn| turn.host == host && turn.at <= at && turn.runs);
        let gone = |host: &usize| stopped(*host).is_some() || cut.is_some_and(|outage| outage.host == *host);
        let down: Vec<usize> = (1..=HOSTS).filter(gone).collect();
        if HOSTS - down.len() >= QUORUM {
            found.extend(open.take().map(|(from, by_us, how)| Loss { lasted: at - from, by_us, how }));
        } else if open.is_none() {
            let struck = outage.filter(|outage| outage.from <= at && down.contains(&outage.host));
            // The others that were up before: how far from the fault they went down.
            let others = down.iter().filter(|host| struck.is_none_or(|outage| outage.host != **host) && ran(**host));
            let apart = |host: &usize| {
                let (stopped, outage) = (stopped(*host)?, struck?);
                Some(stopped.max(outage.from) - stopped.min(outage.from))
            };
            let apart: Vec<_> = others.map(apart).collect();
            let explained = match apart[..] {
                // The rest never ran: a first deploy was still at it.
                [] => struck.is_some(),
                [Some(apart)] => apart <= TURN,
                _ => false,
            };
            open = Some((at, !explained, format!("down were {down:?}; fault and restart were apart: {apart:?}")));
        }
    }
    found.extend(open.map(|(from, by_us, how)| Loss { lasted: end - from, by_us, how }));
    found
}

/// Those of the gaps between acknowledgements that an election does not explain, nor a quorum that was lost as the fault
/// met a restart. After a host's fault elections may fail again and again, above all those of etcd 3.4, which holds none
/// to ask beforehand: without a member that stopped, that is not our doing.
pub fn too_long(
    gaps: &[(Instant, Duration)],
    turns: &[Turn],
    outage: Option<Outage>,
    losses: &[Loss],
) -> Vec<(Instant, Duration)> {
    let excused: Duration = losses.iter().filter(|loss| !loss.by_us).map(|loss| loss.lasted).sum();
    let long = |&(from, gap): &(Instant, Duration)| {
        let near = |outage: &Outage| from + gap >= outage.from && from <= outage.to + STRUCK;
        let Some(outage) = outage.filter(near) else { return gap > CALM };
        let meanwhile = |turn: &&Turn| turn.at + TURN >= from && turn.at <= from + gap;
        let stopped = turns.iter().filter(meanwhile).any(|turn| !turn.runs && turn.host != outage.host);
        stopped && gap > STRUCK + excused
    };
    gaps.iter().filter(|gap| long(gap)).copied().collect()
}

/// Looks at the members' processes until it is stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<Vec<Turn>>,
}

impl Watch {
    pub fn begin(lab: u8) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let looking = thread::spawn(move || {
            let mut turns: Vec<Turn> = Vec::new();
            let mut last = [None; HOSTS];
            while !stopped.load(Ordering::Relaxed) {
                for (host, last) in (1..=HOSTS).zip(&mut last) {
                    let runs = runs(lab, host);
                    if *last != Some(runs) {
                        *last = Some(runs);
                        turns.push(Turn { at: Instant::now(), host, runs });
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
            turns
        });
        Self { stop, looking }
    }

    pub fn end(self) -> Vec<Turn> {
        self.stop.store(true, Ordering::Relaxed);
        self.looking.join().unwrap()
    }
}

/// Whether a process is left in the unit's cgroup, in whichever hierarchy of the machine systemd keeps it.
fn runs(lab: u8, host: usize) -> bool {
    let unit = format!("lab{lab}/node{host:02}/host/payload/system.slice/etcd.service/cgroup.procs");
    let tops = ["", "systemd", "unified"].map(|top| Path::new("/sys/fs/cgroup").join(top));
    let file: Option<PathBuf> = tops.iter().map(|top| top.join(&unit)).find(|file| file.exists());
    // The folder goes with the last process.
    file.is_some_and(|file| fs::read(file).is_ok_and(|pids| !pids.is_empty()))
}

pub fn only_what_one_host_s_fault_explains_is_not_our_doing() {
    let start = Instant::now();
    let at = |second: f64| start + Duration::from_secs_f64(second);
    let all = [1, 2, 3].map(|host| (0.0, host, true));
    // The turns after all run, the fault, and what comes of it.
    let cases = [
        ("one after the other", vec![(1.0, 1, false), (2.0, 1, true), (2.1, 2, false), (3.0, 2, true)], None, vec![]),
        (
            "two at once",
            vec![(1.0, 1, false), (1.5, 2, false), (2.0, 1, true), (3.0, 2, true)],
            None,
            vec![(0.5, true)],
        ),
        ("a fault alone", vec![(5.0, 2, false), (7.0, 2, true)], Some((2, 5.0, 6.0)), vec![]),
        ("a restart before a fault", vec![(4.0, 1, false), (5.5, 1, true)], Some((2, 5.0, 9.0)), vec![(0.5, false)]),
        ("a restart right after a cut", vec![(6.0, 1, false), (7.0, 1, true)], Some((2, 5.0, 9.0)), vec![(1.0, false)]),
        (
            "a restart while a host is cut",
            vec![(12.0, 1, false), (13.0, 1, true)],
            Some((2, 5.0, 20.0)),
            vec![(1.0, true)],
        ),
        (
            "a restart while a host boots",
            vec![(5.0, 2, false), (17.5, 1, false), (18.0, 2, true), (19.0, 1, true)],
            Some((2, 5.0, 17.0)),
            vec![(0.5, true)],
        ),
        ("left down, and then a fault", vec![(5.0, 1, false)], Some((2, 15.0, 18.0)), vec![(3.0, true)]),
        (
            "two at once, and then a fault of one of them",
            vec![(1.0, 1, false), (1.5, 2, false), (2.5, 1, true), (4.0, 2, true)],
            Some((2, 3.0, 3.5)),
            vec![(1.0, true)],
        ),
        ("two that are never up again", vec![(5.0, 1, false), (6.0, 3, false)], None, vec![(24.0, true)]),
    ];
    for (what, turns, fault, expected) in cases {
        let turns = all.iter().chain(&turns);
        let turns: Vec<_> = turns.map(|&(second, host, runs)| Turn { at: at(second), host, runs }).collect();
        let outage = fault.map(|(host, from, to)| Outage { host, from: at(from), to: at(to) });
        let found = losses(&turns, outage, at(0.5), at(30.0));
        let found: Vec<_> = found.iter().map(|loss| (loss.lasted.as_secs_f64(), loss.by_us)).collect();
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|(one, other)| (one.0 - other.0).abs() < 1e-6 && one.1 == other.1);
        assert!(same, "{what}: {found:?}");
    }
    // A first deploy that has two up: nothing was lost before that; then one is struck, and later one is stopped.
    let begun = [(0.0, 1, false), (0.0, 2, false), (0.0, 3, false), (1.0, 1, true), (2.0, 2, true)];
    let turn = |&(second, host, runs): &(f64, usize, bool)| Turn { at: at(second), host, runs };
    let turns: Vec<_> = begun.iter().map(turn).collect();
    assert_eq!(losses(&turns, None, at(2.5), at(9.0)), []);
    let outage = Some(Outage { host: 1, from: at(4.0), to: at(6.0) });
    let found = losses(&turns, outage, at(2.5), at(9.0));
    assert!(found.len() == 1 && !found[0].by_us, "{found:?}");
    let turns: Vec<_> = begun.iter().chain(&[(4.0, 1, false)]).map(turn).collect();
    let found = losses(&turns, None, at(2.5), at(9.0));
    assert!(found.len() == 1 && found[0].by_us, "{found:?}");
}

pub fn gaps_are_measured_by_what_happened_meanwhile() {
    let start = Instant::now();
    let at = |second: f64| start + Duration::from_secs_f64(second);
    let outage = Some(Outage { host: 1, from: at(20.0), to: at(24.0) });
    let met = [Loss { lasted: Duration::from_secs(3), by_us: false, how: String::new() }];
    let ours = [Loss { lasted: Duration::from_secs(3), by_us: true, how: String::new() }];
    let stops = |host| [Turn { at: at(19.0), host, runs: false }];
    let (another, own) = (stops(2), stops(1));
    for (from, gap, turns, outage, losses, long) in [
        (1.0, 4.9, &another, None, &[][..], false),
        (1.0, 5.1, &another, None, &[], true),
        // Over before the fault began, and long after it ended.
        (1.0, 5.1, &another, outage, &[], true),
        (40.0, 5.1, &another, outage, &[], true),
        (18.0, 9.9, &another, outage, &[], false),
        (30.0, 9.9, &another, outage, &[], false),
        (18.0, 12.9, &another, outage, &[], true),
        (18.0, 12.9, &own, outage, &[], false),
        (25.0, 12.9, &another, outage, &[], false),
        (18.0, 12.9, &another, outage, &met, false),
        (18.0, 12.9, &another, outage, &ours, true),
    ] {
        let gaps = [(at(from), Duration::from_secs_f64(gap)), (at(60.0), Duration::from_secs(1))];
        assert_eq!(!too_long(&gaps, turns, outage, losses).is_empty(), long, "{gap} s from {from} on");
    }
}
