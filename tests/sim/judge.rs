//! What must never happen, whatever fails.

use crate::machine::Time;
use crate::site::Site;
use etcd_ha::etcd::health::quorum;

/// How old what the members said may be when a member is taken down for it: nobody can know of a failure
/// that comes between a look and what follows from it.
const FRESH: Time = 2000;

/// An invariant that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub invariant: u8,
    pub what: String,
}

/// Watches over the invariants.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The first one that was broken.
    pub broken: Option<Broken>,
    /// Since when a member is not well, by place.
    unwell: Vec<Option<Time>>,
    /// Who was taken down by an action of ours, and is not back yet.
    moving: Vec<bool>,
}

impl Judge {
    pub fn new(hosts: usize) -> Self {
        Self { broken: None, unwell: vec![Some(0); hosts], moving: vec![false; hosts] }
    }

    pub fn breaks(&mut self, invariant: u8, what: String) {
        self.broken.get_or_insert(Broken { invariant, what });
    }

    /// Notes how a member is.
    pub fn note(&mut self, place: usize, well: bool, now: Time) {
        if well {
            self.unwell[place] = None;
            self.moving[place] = false;
        } else {
            self.unwell[place].get_or_insert(now);
        }
    }

    /// A process is started by us.
    pub fn starts(&mut self, place: usize, foreign: bool) {
        if foreign {
            self.breaks(3, format!("etcd was started on the foreign data dir of node{:02}", place + 1));
        }
    }
}

impl Site {
    /// A process is about to be taken down by an action of ours: of the controller, or of the host's timer.
    pub fn takes_down(&mut self, place: usize, by_controller: bool) {
        let voters = self.machines.len();
        if !self.well(place) || voters == 1 {
            return;
        }
        // A member may have caught up without anything else having happened.
        for other in 0..voters {
            let well = self.well(other);
            self.judge.note(other, well, self.now);
        }
        let looked = self.controller.looked;
        let unseen = |since: Time| by_controller && since >= looked && self.now - looked <= FRESH;
        let others: Vec<usize> = (0..voters).filter(|other| *other != place).collect();
        let well =
            others.iter().filter(|other| self.well(**other) || self.judge.unwell[**other].is_none_or(unseen)).count();
        let moving = others.iter().copied().find(|other| self.judge.moving[*other]);
        if well < quorum(voters) {
            let what = format!("node{:02} was taken down, and only {well} of {voters} voters were left", place + 1);
            self.judge.breaks(1, what);
        } else if let Some(moving) = moving {
            let what = format!("node{:02} was taken down while node{:02} was not back yet", place + 1, moving + 1);
            self.judge.breaks(2, what);
        }
        self.judge.moving[place] = true;
    }
}
