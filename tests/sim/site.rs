//! All that is simulated: hosts, links, clusters, and the time that passes.

use crate::chance::Chance;
use crate::fault::{Fault, Trigger};
use crate::goods::Variant;
use crate::judge::Judge;
use crate::machine::{Bad, Machine, Phase, Process, Stage, Time};
use crate::raft::Cluster;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// What will happen by itself.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// The process in this place listens for its peers.
    Listens(usize, u32),
    /// It begins to serve.
    Serves(usize, u32),
    /// It tells systemd that it is ready.
    Ready(usize, u32),
    /// It ends with an error.
    Dies(usize, u32, &'static str),
    /// It ends a while after it was ready.
    Late(usize, u32),
    /// systemd starts it again, unless another process was started since.
    StartsAgain(usize, u32),
    /// The way back's timer elapses.
    TakesBack(usize),
    /// The members of a cluster vote.
    Votes(usize),
    /// A fault strikes.
    Strikes(usize),
    /// A fault ends.
    Ends(Fault),
}

/// The simulated world.
#[derive(Clone)]
pub struct Site {
    pub now: Time,
    pub chance: Chance,
    pub machines: Vec<Machine>,
    pub clusters: Vec<Cluster>,
    /// Whether the controller reaches the host.
    pub wire: Vec<bool>,
    /// Whether two hosts reach each other.
    pub peers: Vec<Vec<bool>>,
    pub faults: Vec<(Trigger, Fault)>,
    /// How often a disk was lost.
    pub disks_lost: usize,
    /// When a fault struck or ended last.
    pub struck: Option<Time>,
    /// Which change is bad, and how.
    pub bad: Option<(Variant, Bad)>,
    pub judge: Judge,
    /// The releases that are on the controller.
    pub fetched: BTreeSet<String>,
    /// What the run that works now has done so far.
    pub controller: Controller,
    /// Entries that are written in a millisecond.
    pub writes: u64,
    /// What happened, if it is wanted.
    pub trace: Option<String>,
    events: Vec<(Time, u64, Event)>,
    serial: u64,
}

/// The program on the controller.
#[derive(Debug, Clone, Default)]
pub struct Controller {
    /// Whether it was killed.
    pub dead: bool,
    /// Whether the user has asked it to stop.
    pub interrupted: bool,
    /// How often it has called the world.
    pub calls: usize,
    /// How many steps its scripts have done.
    pub steps: usize,
    /// When the members were asked last.
    pub looked: Time,
    /// How many changes it has made.
    pub changes: usize,
}

impl Site {
    /// Hosts that nobody has touched.
    pub fn new(hosts: usize, chance: Chance) -> Self {
        let machine = Machine { up: true, ..Machine::default() };
        Self {
            now: 0,
            chance,
            machines: vec![machine; hosts],
            clusters: Vec::new(),
            wire: vec![true; hosts],
            peers: vec![vec![true; hosts]; hosts],
            faults: Vec::new(),
            disks_lost: 0,
            struck: None,
            bad: None,
            judge: Judge::new(hosts),
            fetched: BTreeSet::new(),
            controller: Controller::default(),
            writes: 1,
            trace: None,
            events: Vec::new(),
            serial: 0,
        }
    }

    /// Writes down what happens.
    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{:>9.3}  {}", self.now as f64 / 1000.0, what());
        }
    }

    /// Has something happen in so many milliseconds.
    pub fn after(&mut self, delay: Time, event: Event) {
        self.serial += 1;
        self.events.push((self.now + delay, self.serial, event));
    }

    /// What was drawn and has not struck yet never will.
    pub fn no_more_faults(&mut self) {
        self.faults.clear();
        self.events.retain(|(.., event)| !matches!(event, Event::Strikes(_) | Event::Ends(_) | Event::Late(..)));
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Time> {
        self.events.iter().map(|(at, ..)| *at).min()
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: Time) {
        while let Some(next) = self.earliest(now) {
            let (at, _, event) = self.events.swap_remove(next);
            self.flow(at);
            self.happens(event);
            self.settle();
        }
        self.flow(now);
    }

    fn earliest(&self, now: Time) -> Option<usize> {
        let due = self.events.iter().enumerate().filter(|(_, (at, ..))| *at <= now);
        due.min_by_key(|(_, (at, serial, _))| (*at, *serial)).map(|(index, _)| index)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Listens(place, pid) if self.is(place, pid) => self.listens(place),
            Event::Serves(place, pid) if self.is(place, pid) => self.serves(place),
            Event::Ready(place, pid) if self.is(place, pid) => {
                self.say(|| format!("node{:02}: ready", place + 1));
                self.change(place);
                if let Some(process) = &mut self.machines[place].process {
                    process.stage = Stage::Ready;
                    if let Some(after) = process.dies_after {
                        self.after(after, Event::Late(place, pid));
                    }
                }
            }
            Event::Dies(place, pid, why) if self.is(place, pid) => self.dies(place, why),
            Event::Late(place, pid) if self.is(place, pid) => self.dies(place, "panic: it was too much"),
            Event::StartsAgain(place, pid)
                if self.machines[place].up
                    && self.machines[place].unit.phase == Phase::Waiting
                    && self.machines[place].last_pid == pid =>
            {
                self.machines[place].unit.restarts += 1;
                self.machines[place].started_by_us = false;
                self.launch(place);
            }
            Event::TakesBack(place) if self.machines[place].up && self.machines[place].timer == Some(self.now) => {
                self.say(|| format!("node{:02}: the way back's timer elapses", place + 1));
                self.machines[place].timer = None;
                self.way_back(place, false);
            }
            Event::Votes(cluster) => self.votes(cluster),
            Event::Strikes(index) => self.strikes(self.faults[index].1),
            Event::Ends(fault) => self.ends(fault),
            _ => {}
        }
    }

    fn is(&self, place: usize, pid: u32) -> bool {
        let machine = &self.machines[place];
        machine.up && machine.process.as_ref().is_some_and(|process| process.pid == pid)
    }

    /// Notes that the host does not look as it did.
    pub fn change(&mut self, place: usize) {
        self.machines[place].look = None;
    }

    /// systemd starts the unit.
    pub fn launch(&mut self, place: usize) {
        self.change(place);
        let machine = &mut self.machines[place];
        if machine.unit.loaded.is_none() {
            machine.reload();
        }
        machine.last_pid += 1;
        let pid = machine.last_pid + 100 * place as u32;
        let files = &machine.disk.in_force;
        let (Some(environment), Some(release), Some(_), Some(_)) =
            (&files.environment, &files.release, &files.certificates, &machine.unit.loaded)
        else {
            return self.fails(place, 203, "etcd.service: Failed at step EXEC");
        };
        if !machine.disk.releases.contains_key(&release.version) {
            return self.fails(place, 203, "etcd.service: Failed at step EXEC");
        }
        let bad = self.bad.filter(|(variant, _)| match variant {
            Variant::Setting => environment.text.contains("ETCD_HEARTBEAT_INTERVAL=150"),
            Variant::Own(_) => environment.text.contains("ETCD_SNAPSHOT_COUNT="),
            Variant::Unit => environment.text.contains("ETCD_LOG_OUTPUTS="),
            Variant::Patch => release.version == "3.5.33",
            Variant::Minor => release.minor == 6,
            // No process is started for them.
            Variant::Leaves => false,
            Variant::Base => release.minor == 5,
        });
        let bad = bad.map(|(_, bad)| bad);
        let process = Process {
            pid,
            environment: environment.clone(),
            release: Arc::clone(release),
            stage: Stage::Born,
            hangs: bad == Some(Bad::Hangs),
            coming: false,
            dies_after: match bad {
                Some(Bad::Later(after)) => Some(after),
                Some(Bad::Flaps) => Some(self.chance.between(100, 8000)),
                _ => None,
            },
        };
        let broken = machine.broken;
        let generation = process.environment.generation.clone().unwrap_or_default();
        machine.process = Some(process);
        machine.unit.phase = Phase::Running;
        self.say(|| format!("node{:02}: etcd starts, pid {pid}, generation {:.8}", place + 1, generation));
        let listens = self.chance.between(60, 150);
        match bad {
            _ if broken => self.after(200, Event::Dies(place, pid, "panic: the host is broken")),
            Some(Bad::Crashes) => self.after(200, Event::Dies(place, pid, "panic: runtime error")),
            Some(Bad::Refuses) => self.after(50, Event::Dies(place, pid, "failed to verify flags")),
            Some(Bad::Flaps) if self.chance.percent(30) => {
                self.after(200, Event::Dies(place, pid, "panic: not this time"));
            }
            _ => self.after(listens, Event::Listens(place, pid)),
        }
    }

    fn fails(&mut self, place: usize, status: i32, journal: &'static str) {
        self.say(|| format!("node{:02}: etcd does not stay: {journal}", place + 1));
        self.change(place);
        let now = self.now;
        let machine = &mut self.machines[place];
        machine.process = None;
        machine.died = now;
        machine.unit.phase = Phase::Waiting;
        machine.unit.failed = Some(status);
        machine.unit.journal = journal;
        let pid = machine.last_pid;
        self.after(2000, Event::StartsAgain(place, pid));
    }

    /// The process ends by itself.
    pub fn dies(&mut self, place: usize, why: &'static str) {
        if self.machines[place].process.is_some() {
            self.fails(place, 1, why);
        }
    }

    /// systemd stops the unit.
    pub fn stop(&mut self, place: usize) {
        self.change(place);
        if self.machines[place].process.is_some() {
            self.say(|| format!("node{:02}: etcd is stopped", place + 1));
        }
        self.hands_over(place);
        let machine = &mut self.machines[place];
        machine.process = None;
        machine.unit.phase = Phase::Dead;
        machine.unit.restarts = 0;
    }

    /// The power goes: what is in memory is gone.
    pub fn power_off(&mut self, place: usize) {
        self.change(place);
        let machine = &mut self.machines[place];
        machine.up = false;
        machine.process = None;
        machine.timer = None;
        machine.unit.phase = Phase::Dead;
        machine.unit.restarts = 0;
        machine.unit.failed = None;
        machine.unit.loaded = None;
    }

    /// It comes back, and starts what is enabled.
    pub fn power_on(&mut self, place: usize) {
        self.change(place);
        let machine = &mut self.machines[place];
        if machine.up {
            return;
        }
        machine.up = true;
        machine.boot += 1;
        machine.reload();
        if machine.unit.enabled {
            machine.started_by_us = false;
            self.launch(place);
        }
    }
}
