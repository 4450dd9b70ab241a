//! What goes wrong by itself.

use crate::machine::Time;
use crate::site::{Event, Site};
use etcd_ha::etcd::health::quorum;

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// At this time of the history.
    At(Time),
    /// At this call of a run to the world.
    Call(usize),
    /// Before this step of a run's scripts.
    Step(usize),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process crashes; systemd starts it again.
    Crash(usize),
    /// It crashes, and at every start.
    Breaks(usize),
    /// The member lags.
    Lags(usize),
    /// It raises an alarm.
    Alarm(usize),
    /// The leader loses its office.
    NoLeader,
    /// The data dir is lost, and the process with it.
    LosesDisk(usize),
    PowerOff(usize),
    /// The power comes back at once.
    Reboot(usize),
    /// The controller does not reach the host.
    CutOff(usize),
    /// Two hosts do not reach each other.
    Link(usize, usize),
    /// A host reaches no other.
    Alone(usize),
    /// The controller is killed.
    Killed,
    /// Ctrl-C.
    Interrupt,
}

impl Site {
    pub fn strikes(&mut self, fault: Fault) {
        self.say(|| format!("FAULT {fault:?}"));
        self.struck = Some(self.now);
        let hosts = self.machines.len();
        // Most faults end by themselves, some only with the history.
        let lasts = if self.chance.percent(70) { Some(self.chance.between(200, 15_000)) } else { None };
        match fault {
            Fault::Crash(place) => self.dies(place, "signal: killed"),
            Fault::Breaks(place) => {
                self.machines[place].broken = true;
                self.dies(place, "panic: the host is broken");
            }
            Fault::Lags(place) => self.machines[place].slow = true,
            Fault::Alarm(place) => {
                self.machines[place].alarm = true;
            }
            Fault::NoLeader => {
                for cluster in &mut self.clusters {
                    cluster.leader = None;
                }
            }
            Fault::LosesDisk(place) => {
                self.change(place);
                // Of a quorum that loses its disks nobody could keep the data.
                let bearable = self.disks_lost + 1 < quorum(hosts);
                if bearable && self.machines[place].disk.data.as_ref().is_some_and(|data| !data.foreign) {
                    self.disks_lost += 1;
                    self.machines[place].disk.data = None;
                    // What follows is systemd's doing.
                    self.machines[place].started_by_us = false;
                    self.dies(place, "the disk is gone");
                }
            }
            Fault::PowerOff(place) => self.power_off(place),
            Fault::Reboot(place) => {
                self.power_off(place);
                self.power_on(place);
            }
            Fault::CutOff(place) => self.wire[place] = false,
            Fault::Link(one, other) => self.link(one, other, false),
            Fault::Alone(place) => (0..hosts).for_each(|other| self.link(place, other, false)),
            Fault::Killed => self.controller.dead = true,
            Fault::Interrupt => self.controller.interrupted = true,
        }
        let ends = matches!(
            fault,
            Fault::Breaks(_)
                | Fault::Lags(_)
                | Fault::PowerOff(_)
                | Fault::CutOff(_)
                | Fault::Link(..)
                | Fault::Alone(_)
        );
        if let Some(lasts) = lasts.filter(|_| ends) {
            self.after(lasts, Event::Ends(fault));
        }
        self.settle();
    }

    pub fn ends(&mut self, fault: Fault) {
        self.say(|| format!("over: {fault:?}"));
        self.struck = Some(self.now);
        match fault {
            Fault::Breaks(place) => self.machines[place].broken = false,
            Fault::Lags(place) => self.machines[place].slow = false,
            Fault::PowerOff(place) => self.power_on(place),
            Fault::CutOff(place) => self.wire[place] = true,
            Fault::Link(one, other) => self.link(one, other, true),
            Fault::Alone(place) => (0..self.machines.len()).for_each(|other| self.link(place, other, true)),
            _ => {}
        }
        self.settle();
    }

    fn link(&mut self, one: usize, other: usize, whole: bool) {
        self.peers[one][other] = whole;
        self.peers[other][one] = whole;
    }

    /// All faults are over.
    pub fn heals(&mut self) {
        self.say(|| "all faults are over".to_owned());
        let hosts = self.machines.len();
        self.wire = vec![true; hosts];
        self.peers = vec![vec![true; hosts]; hosts];
        for place in 0..hosts {
            self.machines[place].broken = false;
            self.machines[place].slow = false;
            self.machines[place].alarm = false;
            self.power_on(place);
            if let Some(process) = &mut self.machines[place].process {
                process.dies_after = None;
            }
            if let Some(process) = self.machines[place].process.as_mut().filter(|process| process.hangs) {
                let pid = process.pid;
                process.hangs = false;
                self.after(100, Event::Listens(place, pid));
            }
        }
        self.no_more_faults();
        self.bad = None;
        self.settle();
    }

    /// Has the faults strike that were drawn for a time.
    pub fn arm_faults(&mut self) {
        let now = self.now;
        for index in 0..self.faults.len() {
            if let Trigger::At(at) = self.faults[index].0 {
                self.after(at.saturating_sub(now), Event::Strikes(index));
            }
        }
    }

    /// Has those strike that were drawn for this moment of a run.
    pub fn moment(&mut self, moment: Trigger) {
        for index in 0..self.faults.len() {
            if self.faults[index].0 == moment {
                let fault = self.faults[index].1;
                // Once.
                self.faults[index].0 = Trigger::At(0);
                self.strikes(fault);
            }
        }
    }
}
