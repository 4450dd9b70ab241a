//! What the tasks' scripts do to a host, step by step, as a script may be cut short between any two.

use crate::goods::Goods;
use crate::machine::{Files, Previous, Stage, Time};
use crate::site::{Event, Site};
use etcd_ha::host::UnitState;
use etcd_ha::tasks::{Differences, GRACE, HostTaskKind, Mode, View, Wanted, version_of};
use std::rc::Rc;
use std::time::Duration;

/// A step of a script.
#[derive(Debug, Clone)]
pub enum Step {
    Prepare,
    Unpack(Rc<Goods>),
    StageCertificates(Rc<Goods>),
    StageEnvironment(Rc<Goods>),
    StageUnit(Rc<Goods>),
    /// What was staged has to be what is wanted.
    CheckStaged(Rc<Goods>, Differences),
    /// What is in force is kept; with a way back, if it is said whether that crosses a minor version.
    Keep(Option<bool>),
    Arm(Duration),
    /// Armed anew if it was armed a while ago.
    ArmAgain(Duration),
    Disarm,
    LinkBinaries(Rc<Goods>),
    FlipCertificates,
    MoveEnvironment,
    MoveUnit,
    Enable,
    Reload,
    ClearNext,
    WriteEnvironment(Rc<Goods>),
    StopForStart,
    Start,
    Restart,
    /// The next of these ends the script at once.
    TakeBack,
}

/// What a task does on the host.
pub fn steps(task: &HostTaskKind, view: &View<'_>, goods: Option<Rc<Goods>>, patience: Duration) -> Vec<Step> {
    let goods = || goods.clone().expect("the task has said that it needs what is wanted");
    let unit = &view.seen.unit;
    match task {
        HostTaskKind::PrepareHost(_) => vec![Step::Prepare],
        HostTaskKind::StageRelease(_) => vec![Step::Unpack(goods())],
        HostTaskKind::StageCertificates(_) => vec![Step::StageCertificates(goods())],
        HostTaskKind::StageConfig(_) => vec![Step::StageEnvironment(goods()), Step::StageUnit(goods())],
        HostTaskKind::Activate(_) => activate(view, &goods(), patience),
        HostTaskKind::Start(_) => start(unit),
        HostTaskKind::RecordCluster(_) => vec![Step::WriteEnvironment(goods())],
        HostTaskKind::Restart(_) => {
            let mut steps = Vec::new();
            if view.seen.unconfirmed {
                steps.push(Step::ArmAgain(patience));
            }
            if unit.needs_reload {
                steps.push(Step::Reload);
            }
            steps.push(Step::Restart);
            steps
        }
        HostTaskKind::Confirm(_) => vec![Step::Disarm],
        other => panic!("the simulation does not know what `{}` does", other.name()),
    }
}

/// Whether the change brings another minor version, as the script on the host finds it out by the links.
fn crosses_minor(view: &View<'_>, wanted: &Wanted) -> bool {
    let now = view.seen.link(&format!("{}/etcd", view.host.paths.bin)).and_then(version_of);
    now.is_some_and(|now| now.minor != wanted.archive.version.minor)
}

fn activate(view: &View<'_>, goods: &Rc<Goods>, patience: Duration) -> Vec<Step> {
    let wanted = view.wanted().expect("activate is shown what is wanted");
    let differences = Differences::between(view, wanted);
    let serves = view.mode == Mode::Rolling && view.seen.unit.ready();
    let mut steps =
        vec![Step::CheckStaged(goods.clone(), differences), Step::Keep(serves.then(|| crosses_minor(view, wanted)))];
    if serves {
        steps.push(Step::Arm(patience));
    } else if view.seen.unconfirmed && !view.seen.unit.ready() && differences.any() {
        steps.push(Step::Disarm);
    }
    if differences.binaries {
        steps.push(Step::LinkBinaries(goods.clone()));
    }
    if differences.certificates {
        steps.push(Step::FlipCertificates);
    }
    if differences.environment {
        steps.push(Step::MoveEnvironment);
    }
    if differences.unit {
        steps.push(Step::MoveUnit);
        steps.push(if view.seen.unit.enabled == "enabled" { Step::Reload } else { Step::Enable });
    }
    steps.push(Step::ClearNext);
    steps
}

fn start(unit: &UnitState) -> Vec<Step> {
    let mut steps = Vec::new();
    if unit.enabled != "enabled" {
        steps.push(Step::Enable);
    } else if unit.needs_reload {
        steps.push(Step::Reload);
    }
    if !unit.ready() {
        if unit.runs() || unit.crashed() {
            steps.push(Step::StopForStart);
        }
        steps.push(Step::Start);
    }
    steps
}

impl Site {
    /// Does a step; the error is what the script says at its end.
    pub fn does(&mut self, place: usize, step: &Step) -> Result<(), &'static str> {
        self.say(|| format!("node{:02}: {}", place + 1, name(step)));
        self.change(place);
        let now = self.now;
        let well = self.well(place);
        let machine = &mut self.machines[place];
        let ready = machine.stage() == Some(Stage::Ready);
        let disk = &mut machine.disk;
        match step {
            Step::Prepare => disk.prepared = true,
            Step::Unpack(goods) => _ = disk.releases.insert(goods.release.version.clone(), goods.release.clone()),
            Step::StageCertificates(goods) => {
                disk.next.get_or_insert_default().certificates = Some(goods.certificates.clone());
            }
            Step::StageEnvironment(goods) => {
                disk.next.get_or_insert_default().environment = Some(goods.environment.clone());
            }
            Step::StageUnit(goods) => disk.next.get_or_insert_default().unit = Some(goods.unit.clone()),
            Step::CheckStaged(goods, differences) => {
                let next = disk.next.clone().unwrap_or_default();
                let same = (!differences.environment
                    || next.environment.is_some_and(|text| text.sha256 == goods.environment.sha256))
                    && (!differences.unit || next.unit.is_some_and(|text| text.sha256 == goods.unit.sha256))
                    && (!differences.certificates
                        || next.certificates.is_some_and(|staged| staged.digest == goods.certificates.digest));
                if !same {
                    return Err("what is staged is not what is wanted");
                }
            }
            Step::Keep(way_back) => {
                if disk.previous.as_ref().is_none_or(|previous| previous.unconfirmed.is_none()) {
                    let unconfirmed = way_back.map(|_| now);
                    let files = disk.in_force.clone();
                    disk.previous = Some(Previous { files, unconfirmed, way_back: *way_back });
                }
            }
            Step::Arm(patience) => self.arm(place, *patience),
            Step::ArmAgain(patience) => {
                if let Some(since) = disk.previous.as_mut().and_then(|previous| previous.unconfirmed.as_mut())
                    && now - *since > 5000
                {
                    *since = now;
                    self.arm(place, *patience);
                }
            }
            Step::Disarm => {
                machine.timer = None;
                disk.taken_back = None;
                if let Some(previous) = &mut disk.previous {
                    (previous.unconfirmed, previous.way_back) = (None, None);
                }
            }
            Step::LinkBinaries(goods) => disk.in_force.release = Some(goods.release.clone()),
            Step::FlipCertificates => {
                disk.in_force.certificates = disk.next.as_mut().and_then(|next| next.certificates.take());
            }
            Step::MoveEnvironment => {
                disk.in_force.environment = disk.next.as_mut().and_then(|next| next.environment.take());
            }
            Step::MoveUnit => disk.in_force.unit = disk.next.as_ref().and_then(|next| next.unit.clone()),
            Step::Enable => {
                machine.unit.enabled = true;
                machine.reload();
            }
            Step::Reload => machine.reload(),
            Step::ClearNext => disk.next = None,
            Step::WriteEnvironment(goods) => disk.in_force.environment = Some(goods.environment.clone()),
            // One that serves by now is left alone.
            Step::StopForStart if ready || well => {}
            Step::StopForStart => {
                self.takes_down(place, true);
                self.stop(place);
            }
            Step::Start if ready => {}
            Step::Start => self.begin(place),
            Step::Restart => {
                self.takes_down(place, true);
                self.stop(place);
                self.begin(place);
            }
            Step::TakeBack => {
                machine.timer = None;
                if disk.previous.as_ref().is_none_or(|previous| previous.way_back.is_none()) {
                    return Err("/bin/sh: cannot open /etc/etcd/.previous/way-back: No such file");
                }
                self.way_back(place, true);
            }
        }
        self.settle();
        Ok(())
    }

    fn arm(&mut self, place: usize, patience: Duration) {
        let after = Time::try_from((patience + GRACE).as_millis()).unwrap_or(Time::MAX);
        self.machines[place].timer = Some(self.now + after);
        self.after(after, Event::TakesBack(place));
    }

    /// Our own start.
    fn begin(&mut self, place: usize) {
        let machine = &mut self.machines[place];
        machine.unit.failed = None;
        machine.unit.restarts = 0;
        if machine.process.is_none() {
            self.judge.starts(place, machine.disk.data.as_ref().is_some_and(|data| data.foreign));
            machine.started_by_us = true;
            self.launch(place);
        }
    }

    /// The script that takes the last change back; `now` if the controller has asked for it.
    pub fn way_back(&mut self, place: usize, now: bool) {
        self.change(place);
        let well = self.well(place);
        let machine = &mut self.machines[place];
        let Some(previous) = machine.disk.previous.clone().filter(|previous| previous.unconfirmed.is_some()) else {
            return;
        };
        let Some(crosses_minor) = previous.way_back else { return };
        let in_force = machine.disk.in_force.generation().map(str::to_owned);
        let before = previous.files.generation().map(str::to_owned);
        if !now && machine.runs() == in_force.as_deref() && well {
            self.say(|| format!("node{:02}: the way back confirms the change", place + 1));
            if let Some(previous) = &mut self.machines[place].disk.previous {
                (previous.unconfirmed, previous.way_back) = (None, None);
            }
            return;
        }
        self.say(|| format!("node{:02}: the change is taken back", place + 1));
        let machine = &mut self.machines[place];
        let failed = machine.disk.in_force.clone();
        machine.put(&previous.files);
        let mut before = before;
        if machine.runs() != before.as_deref() {
            self.takes_down(place, now);
            self.stop(place);
            self.begin(place);
            // Once the cluster's version is raised the old binary refuses to start; the new one goes on then.
            let cluster = self.machines[place].disk.data.as_ref().map(|data| data.cluster);
            let raised =
                self.clusters.iter().find(|raised| Some(raised.id) == cluster).map_or(0, |cluster| cluster.minor);
            if crosses_minor && previous.files.release.as_ref().is_some_and(|release| release.minor < raised) {
                self.machines[place].put(&failed);
                self.stop(place);
                self.begin(place);
                before.clone_from(&in_force);
            }
        }
        let machine = &mut self.machines[place];
        if before != in_force {
            machine.disk.taken_back = in_force;
        }
        machine.disk.previous = None;
        self.settle();
    }
}

impl crate::machine::Machine {
    /// These files go in force.
    fn put(&mut self, files: &Files) {
        let reload =
            files.unit.as_ref().map(|unit| &unit.sha256) != self.disk.in_force.unit.as_ref().map(|unit| &unit.sha256);
        self.disk.in_force = files.clone();
        if reload {
            self.reload();
        }
    }
}

/// How the trace calls a step.
fn name(step: &Step) -> &'static str {
    match step {
        Step::Prepare => "make user and folders",
        Step::Unpack(_) => "unpack the release",
        Step::StageCertificates(_) => "stage the certificates",
        Step::StageEnvironment(_) => "stage etcd.conf",
        Step::StageUnit(_) => "stage the unit",
        Step::CheckStaged(..) => "compare what is staged",
        Step::Keep(Some(_)) => "keep what is in force, with a way back",
        Step::Keep(None) => "keep what is in force",
        Step::Arm(_) => "arm the way back",
        Step::ArmAgain(_) => "arm the way back anew, if it is old",
        Step::Disarm => "disarm the way back",
        Step::LinkBinaries(_) => "link the binaries",
        Step::FlipCertificates => "put the certificates in force",
        Step::MoveEnvironment => "put etcd.conf in force",
        Step::MoveUnit => "put the unit in force",
        Step::Enable => "systemctl enable",
        Step::Reload => "systemctl daemon-reload",
        Step::ClearNext => "remove .next",
        Step::WriteEnvironment(_) => "record the cluster",
        Step::StopForStart => "systemctl stop, to start it",
        Step::Start => "systemctl start",
        Step::Restart => "systemctl restart",
        Step::TakeBack => "take the change back now",
    }
}
