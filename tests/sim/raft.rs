//! The members: who leads, how far each one is, who serves.

use crate::look;
use crate::machine::{Data, Stage, Time};
use crate::site::{Event, Site};
use etcd_ha::etcd::client::{Alarm, CallError, Listed, Report, Status};
use etcd_ha::etcd::config::{Membership, value_of};
use etcd_ha::etcd::gate::MAX_LAG;
use etcd_ha::etcd::health::quorum;
use etcd_ha::etcd::identity::{ClusterId, MemberId};
use etcd_ha::inventory::Inventory;
use std::cell::OnceCell;
use std::time::Duration;

/// A cluster: what all members together know.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub id: ClusterId,
    /// The members' ids, by place.
    pub members: Vec<MemberId>,
    /// Who has told the others of itself.
    pub published: Vec<bool>,
    pub leader: Option<usize>,
    pub term: u64,
    /// How far a quorum has the log.
    pub committed: u64,
    /// Whether a vote is coming.
    voting: bool,
    /// The oldest minor version that all members run at least.
    pub minor: u64,
    /// The members as they list each other; in all inventories they have the same names and addresses.
    listed: OnceCell<Vec<Listed>>,
}

impl Site {
    /// Which cluster the member in this place takes part in.
    pub fn takes_part(&self, place: usize) -> Option<usize> {
        let machine = &self.machines[place];
        machine.stage().filter(|stage| *stage >= Stage::Peers)?;
        let data = machine.disk.data.as_ref().filter(|data| !data.amnesia && !data.foreign)?;
        self.clusters.iter().position(|cluster| cluster.id == data.cluster)
    }

    /// Whether two hosts reach each other.
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        from == to || (self.peers[from][to] && self.machines[from].up && self.machines[to].up)
    }

    /// How many members of the cluster reach this one, itself counted in.
    fn company(&self, cluster: usize, place: usize) -> usize {
        (0..self.machines.len())
            .filter(|other| self.takes_part(*other) == Some(cluster) && self.reaches(place, *other))
            .count()
    }

    /// The leader that the member follows.
    pub fn follows(&self, place: usize) -> Option<usize> {
        let leader = self.clusters[self.takes_part(place)?].leader?;
        self.reaches(place, leader).then_some(leader)
    }

    fn log(&self, place: usize) -> u64 {
        self.machines[place].disk.data.as_ref().map_or(0, |data| data.log)
    }

    /// Whether the member serves its clients, as `health` has it.
    pub fn well(&self, place: usize) -> bool {
        let machine = &self.machines[place];
        machine.stage().is_some_and(|stage| stage >= Stage::Serves)
            && !machine.alarm
            && self.follows(place).is_some()
            && self
                .takes_part(place)
                .is_some_and(|cluster| self.clusters[cluster].committed.saturating_sub(self.log(place)) <= MAX_LAG)
    }

    /// Clients write until `to`.
    pub fn flow(&mut self, to: Time) {
        let passed = to.saturating_sub(self.now);
        self.now = to.max(self.now);
        if passed == 0 {
            return;
        }
        for cluster in 0..self.clusters.len() {
            if self.clusters[cluster].leader.is_none() {
                continue;
            }
            let follow: Vec<usize> = (0..self.machines.len())
                .filter(|place| {
                    self.takes_part(*place) == Some(cluster)
                        && self.follows(*place).is_some()
                        && !self.machines[*place].slow
                })
                .collect();
            let all = self.machines.len();
            if follow.len() < quorum(all) {
                continue;
            }
            self.clusters[cluster].committed += passed * self.writes;
            let (committed, minors) = (self.clusters[cluster].committed, self.minors(cluster));
            for place in follow {
                if let Some(data) = &mut self.machines[place].disk.data {
                    data.log = committed;
                    if !data.had_leader {
                        data.had_leader = true;
                        self.machines[place].look = None;
                    }
                }
            }
            if let Some(minor) = minors {
                self.clusters[cluster].minor = minor.max(self.clusters[cluster].minor);
            }
        }
    }

    /// The oldest minor version, if all members serve.
    fn minors(&self, cluster: usize) -> Option<u64> {
        let minors: Vec<u64> = (0..self.machines.len())
            .filter(|place| self.takes_part(*place) == Some(cluster) && self.well(*place))
            .filter_map(|place| Some(self.machines[place].process.as_ref()?.release.minor))
            .collect();
        if minors.len() == self.machines.len() { minors.into_iter().min() } else { None }
    }

    /// What follows at once from whatever has changed.
    pub fn settle(&mut self) {
        let all = self.machines.len();
        for cluster in 0..self.clusters.len() {
            if let Some(leader) = self.clusters[cluster].leader
                && (self.takes_part(leader) != Some(cluster) || self.company(cluster, leader) < quorum(all))
            {
                self.say(|| format!("node{:02} leads no more", leader + 1));
                self.clusters[cluster].leader = None;
            }
            if self.clusters[cluster].leader.is_none()
                && !self.clusters[cluster].voting
                && self.candidate(cluster).is_some()
            {
                let delay = self.chance.between(1000, 2000);
                self.vote_in(cluster, delay);
            }
        }
        for place in 0..all {
            let follows = self.follows(place).is_some();
            let (near, far) = (self.chance.between(30, 200), self.takes_part(place));
            if let Some(process) = &mut self.machines[place].process
                && process.stage == Stage::Peers
                && !process.coming
                && !process.hangs
                && follows
                && far.is_some()
            {
                process.coming = true;
                let pid = process.pid;
                self.after(near, Event::Serves(place, pid));
            }
            let well = self.well(place);
            let now = self.now;
            self.judge.note(place, well, now);
        }
    }

    /// The member that would win a vote: nobody votes for one whose log is behind its own.
    fn candidate(&self, cluster: usize) -> Option<usize> {
        let all = self.machines.len();
        let votes = |place: usize, other: usize| {
            self.takes_part(other) == Some(cluster) && self.reaches(place, other) && self.log(other) <= self.log(place)
        };
        let can = |place: &usize| (0..all).filter(|other| votes(*place, *other)).count() >= quorum(all);
        let running = (0..all).filter(|place| self.takes_part(*place) == Some(cluster));
        running.filter(can).max_by_key(|place| (self.log(*place), std::cmp::Reverse(*place)))
    }

    fn vote_in(&mut self, cluster: usize, delay: Time) {
        self.clusters[cluster].voting = true;
        self.after(delay, Event::Votes(cluster));
    }

    pub fn votes(&mut self, cluster: usize) {
        self.clusters[cluster].voting = false;
        if self.clusters[cluster].leader.is_some() {
            return;
        }
        let Some(winner) = self.candidate(cluster) else { return };
        self.say(|| format!("node{:02} is elected", winner + 1));
        let log = self.log(winner);
        let state = &mut self.clusters[cluster];
        state.leader = Some(winner);
        state.term += 1;
        if log < state.committed {
            let lost = state.committed - log;
            state.committed = log;
            self.judge.breaks(6, format!("node{:02} was elected without {lost} acknowledged writes", winner + 1));
        }
    }

    /// A leader that is stopped hands leadership over by itself.
    pub fn hands_over(&mut self, place: usize) {
        let Some(cluster) = self.takes_part(place).filter(|cluster| self.clusters[*cluster].leader == Some(place))
        else {
            return;
        };
        self.clusters[cluster].leader = None;
        if !self.clusters[cluster].voting {
            self.vote_in(cluster, 20);
        }
    }

    /// Leadership is moved by hand; false if the member does not lead, or the other one cannot.
    pub fn move_leader(&mut self, from: usize, to: MemberId) -> bool {
        let Some(cluster) = self.takes_part(from).filter(|cluster| self.clusters[*cluster].leader == Some(from)) else {
            return false;
        };
        let Some(to) = self.clusters[cluster].members.iter().position(|member| *member == to) else { return false };
        if self.takes_part(to) != Some(cluster)
            || !self.reaches(from, to)
            || self.log(to) < self.clusters[cluster].committed
        {
            return false;
        }
        if self.company(cluster, to) < quorum(self.machines.len()) {
            return false;
        }
        self.say(|| format!("node{:02} leads by our wish", to + 1));
        self.clusters[cluster].leader = Some(to);
        self.clusters[cluster].term += 1;
        true
    }

    /// The process listens for its peers: it has its data dir by now.
    pub fn listens(&mut self, place: usize) {
        let Some(process) = &self.machines[place].process else { return };
        let (pid, environment, hangs, minor) =
            (process.pid, process.environment.clone(), process.hangs, process.release.minor);
        self.change(place);
        let membership = membership_in(&environment.text);
        if self.machines[place].disk.data.is_none() {
            let id = membership.cluster_id();
            let member = membership.peers.get(place).and_then(|(name, _)| membership.member_id(name));
            let Some(member) = member else { return };
            let knows = |other: &usize| {
                let cluster = self.takes_part(*other).filter(|_| self.reaches(place, *other) && *other != place);
                cluster.filter(|cluster| self.clusters[*cluster].id == id)
            };
            let known = (0..self.machines.len()).find_map(|other| knows(&other));
            let existing = value_of(&environment.text, "ETCD_INITIAL_CLUSTER_STATE") == Some("existing");
            match known {
                None if existing => return self.dies(place, "cannot fetch cluster info from peer urls"),
                Some(cluster) if !existing && self.clusters[cluster].published[place] => {
                    return self.dies(place, "member has already been bootstrapped");
                }
                _ => {}
            }
            let others = self.machines.iter().filter_map(|machine| machine.disk.data.as_ref());
            let lives = others.clone().any(|data| data.had_leader && !data.foreign);
            if !existing && lives && self.machines[place].served && self.machines[place].started_by_us {
                self.judge.breaks(3, format!("node{:02} lost its disk, and was started as a new member", place + 1));
            }
            if !self.clusters.iter().any(|cluster| cluster.id == id) {
                let members: Vec<_> =
                    membership.peers.iter().filter_map(|(name, _)| membership.member_id(name)).collect();
                let published = vec![false; members.len()];
                let (leader, voting) = (None, false);
                self.clusters.push(Cluster {
                    id,
                    members,
                    published,
                    leader,
                    term: 1,
                    committed: 0,
                    voting,
                    minor: 0,
                    listed: OnceCell::new(),
                });
            }
            let machine = &mut self.machines[place];
            machine.disk.data =
                Some(Data { member, cluster: id, had_leader: false, log: 0, amnesia: existing, foreign: false });
            machine.had_data = true;
        }
        if let Some(process) = &mut self.machines[place].process
            && !hangs
        {
            process.stage = Stage::Peers;
        }
        let data = self.machines[place].disk.data.as_ref();
        if data.is_some_and(|data| data.amnesia) {
            return self.after(300, Event::Dies(place, pid, "panic: tocommit(10) is out of range [lastIndex(0)]"));
        }
        if self.takes_part(place).is_some_and(|cluster| self.clusters[cluster].minor > minor) {
            self.dies(place, "invalid downgrade; server version is lower than determined cluster version");
        }
    }

    /// The process serves, if it still follows a leader.
    pub fn serves(&mut self, place: usize) {
        let Some(cluster) = self.takes_part(place) else { return };
        let follows = self.follows(place).is_some();
        let delay = if self.chance.percent(5) { 1500 } else { self.chance.between(10, 100) };
        self.change(place);
        let Some(process) = &mut self.machines[place].process else { return };
        process.coming = false;
        if follows {
            process.stage = Stage::Serves;
            let pid = process.pid;
            self.clusters[cluster].published[place] = true;
            self.machines[place].served = true;
            self.after(delay, Event::Ready(place, pid));
        }
    }

    /// What the member says to the controller.
    pub fn report(&self, place: usize, inventory: &Inventory) -> Result<Report, CallError> {
        let machine = &self.machines[place];
        if !machine.up || !self.wire[place] {
            return Err(CallError::Ssh("the connection timed out".to_owned()));
        }
        let address = format!("`{}:{}`", inventory.hosts[place].address, inventory.hosts[place].client_port);
        let serves = machine.stage().is_some_and(|stage| stage >= Stage::Serves);
        let cluster = self.takes_part(place).filter(|_| serves).map(|cluster| &self.clusters[cluster]);
        let (Some(cluster), Some(data), Some(process)) = (cluster, &machine.disk.data, &machine.process) else {
            return Err(CallError::Tcp(format!("{address} refused the connection")));
        };
        let leader = self.follows(place).map(|leader| cluster.members[leader]);
        let alarms = (0..self.machines.len()).filter(|other| self.machines[*other].alarm);
        Ok(Report {
            status: Status {
                member: data.member,
                cluster: data.cluster,
                version: process.release.version.clone(),
                storage: None,
                downgrade: None,
                leader,
                term: cluster.term,
                raft_index: data.log,
                applied_index: data.log,
                learner: false,
                db_size: 25_000,
                db_in_use: 20_000,
                db_quota: None,
                errors: Vec::new(),
            },
            members: Ok(cluster.listed.get_or_init(|| listed(cluster, inventory)).clone()),
            alarms: Ok(alarms.map(|other| Alarm { member: cluster.members[other], kind: "NOSPACE".into() }).collect()),
            read: match leader {
                Some(_) => Ok(()),
                None => Err(CallError::Timeout { call: "linearizable read", limit: Duration::from_secs(5) }),
            },
            round_trip: Duration::from_millis(3),
        })
    }
}

fn listed(cluster: &Cluster, inventory: &Inventory) -> Vec<Listed> {
    let mut listed: Vec<Listed> = inventory
        .hosts
        .iter()
        .zip(&cluster.members)
        .map(|(host, id)| Listed {
            id: *id,
            name: host.name.clone(),
            peer_urls: vec![etcd_ha::etcd::config::peer_url(host)],
            client_urls: vec![etcd_ha::etcd::config::client_url(host)],
            learner: false,
        })
        .collect();
    listed.sort_by_key(|member| member.id);
    listed
}

/// The membership in an environment file, its members in the order of their places.
pub fn membership_in(environment: &str) -> Membership {
    let value = |name| value_of(environment, name).unwrap_or_default();
    let peers = value("ETCD_INITIAL_CLUSTER").split(',').filter_map(|peer| peer.split_once('='));
    let peers = peers.map(|(name, url)| (name.to_owned(), url.to_owned())).collect();
    Membership { token: value("ETCD_INITIAL_CLUSTER_TOKEN").to_owned(), peers, established: None }
}

/// A look at the host in this place, made once and kept until the host changes.
pub fn look_at(site: &mut Site, inventory: &Inventory, place: usize) -> std::sync::Arc<etcd_ha::host::Observation> {
    let machine = &site.machines[place];
    if let Some(look) = &machine.look {
        return look.clone();
    }
    let look = std::sync::Arc::new(look::observe(machine, &inventory.hosts[place], place));
    site.machines[place].look = Some(look.clone());
    look
}
