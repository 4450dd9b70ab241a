//! The engine on one member whose fate is written beforehand.

use super::{Engine, Run, World};
use crate::error::{ExitStatus, Explain as _};
use crate::etcd::gate::gate;
use crate::etcd::health::ClusterHealth;
use crate::etcd::testing::State::{self, *};
use crate::etcd::testing::cluster;
use crate::host::{FileKind, FileState, Observation};
use crate::inventory::{Host, Inventory};
use crate::playbook::Playbook;
use crate::report::Reporter;
use crate::tasks::tests::scene::{Scene, crash, put_in_force, starting, stop};
use crate::tasks::{ControllerTaskKind, HostTaskKind, Needs, Overview, Remains, TaskError, View, Wanted};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

const WELL: [State; 3] = [Follows, Leads, Follows];

/// A cluster of which `node01` alone is acted upon.
struct Bench {
    scene: Scene,
    wanted: Arc<Wanted>,
    reporter: Reporter,
    stop: watch::Sender<bool>,
    /// `node01`.
    seen: RefCell<Observation>,
    cluster: RefCell<Arc<ClusterHealth>>,
    /// The tasks that were applied, and `take_back`.
    done: RefCell<Vec<&'static str>>,
    looks: Cell<usize>,
    /// The version that the members agreed on meanwhile.
    agreed: Cell<Option<(u64, u64)>>,
    /// What follows from what is done, and from every look in a wait (`look`).
    fate: fn(&Self, &str),
}

impl Bench {
    fn new(mut scene: Scene, fate: fn(&Self, &str)) -> Self {
        let seen = (*scene.seen["node01"]).clone();
        Self {
            wanted: Arc::new(scene.wanted.take().unwrap()),
            scene,
            reporter: Reporter::new(Vec::new()),
            stop: watch::Sender::new(false),
            seen: RefCell::new(seen),
            cluster: RefCell::new(Arc::new(cluster(&WELL))),
            done: RefCell::default(),
            looks: Cell::default(),
            agreed: Cell::default(),
            fate,
        }
    }

    /// The members are like this from now on, and `node01` too.
    fn turns_into(&self, states: &[State], change: impl FnOnce(&mut Observation)) {
        *self.cluster.borrow_mut() = Arc::new(cluster(states));
        change(&mut self.seen.borrow_mut());
    }

    /// As it was in the beginning, and nothing is unconfirmed.
    fn goes_back(&self) {
        let before = (*self.scene.seen["node01"]).clone();
        self.turns_into(&WELL, |seen| *seen = Observation { unconfirmed: false, ..before });
    }

    async fn run(&self, mode: &str, tasks: &str, dry: bool) -> Run {
        let text =
            format!("name: test\nplays:\n  - name: Play\n    mode: {mode}\n    hosts: node01\n    tasks: [{tasks}]\n");
        let playbook = Playbook::parse("test.yaml", &text).unwrap();
        let engine = Engine {
            world: self,
            gate,
            playbook: &playbook,
            dry,
            forks: 1,
            limit: &[],
            ask: None,
            stop: self.stop.subscribe(),
        };
        engine.run().await.unwrap()
    }

    fn does(&self, what: &'static str) {
        self.done.borrow_mut().push(what);
        (self.fate)(self, what);
    }
}

impl World for Bench {
    fn inventory(&self) -> &Inventory {
        &self.scene.inventory
    }

    fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    fn health_timeout(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn look_around(&self) {}

    async fn seen(&self, host: &Host) -> Result<Arc<Observation>, TaskError> {
        let other = self.scene.seen[&host.name].clone();
        Ok(if host.name == "node01" { Arc::new(self.seen.borrow().clone()) } else { other })
    }

    async fn overview(&self, _needs: &Needs, _since: Option<Instant>) -> Result<Overview<'_>, TaskError> {
        let mut overview = self.scene.overview();
        overview.seen.insert("node01", Arc::new(self.seen.borrow().clone()));
        overview.cluster = Some(self.cluster.borrow().clone());
        if let Some((major, minor)) = self.agreed.get() {
            overview.cluster_version = Some(semver::Version::new(major, minor, 0));
        }
        Ok(overview)
    }

    async fn wanted(&self, _host: &Host) -> Result<Arc<Wanted>, TaskError> {
        Ok(self.wanted.clone())
    }

    async fn cluster(&self, _since: Option<Instant>) -> Result<Arc<ClusterHealth>, TaskError> {
        Ok(self.cluster.borrow().clone())
    }

    async fn probe(&self, _host: &Host, _script: &str) -> Result<i64, TaskError> {
        Ok(0)
    }

    async fn remains(&self, _host: &Host) -> Result<Remains, TaskError> {
        Ok(Remains::default())
    }

    async fn forget(&self, _host: &Host) {}

    async fn look_again(&self, host: &Host) {
        if host.name == "node01" {
            self.looks.update(|looks| looks + 1);
            (self.fate)(self, "look");
        }
    }

    async fn apply(&self, task: &HostTaskKind, _view: &View<'_>) -> Result<bool, TaskError> {
        self.does(task.name());
        Ok(true)
    }

    async fn apply_on_controller(&self, _task: &ControllerTaskKind, _of: &Overview<'_>) -> Result<(), TaskError> {
        Ok(())
    }

    async fn take_back(&self, _host: &Host) -> Result<(), TaskError> {
        self.does("take_back");
        Ok(())
    }
}

/// How the only failure of a run ends it, and in which words.
fn ended(run: &Run) -> (ExitStatus, String) {
    let [failure] = &run.failures[..] else { panic!("{:?}", run.failures) };
    (failure.exit(), failure.source.to_string())
}

const TAKEN_BACK: &str = "the change was taken back, and the member is healthy with what it had before";

#[tokio::test(start_paused = true)]
async fn an_interruption_waits_until_a_change_is_taken_back() {
    let scene = Scene::deployed().seen(|seen| seen.unconfirmed = true);
    let bench = Bench::new(scene, |bench, what| match what {
        "restart" => bench.turns_into(&[Down, Leads, Follows], crash),
        "take_back" => {
            bench.stop.send_replace(true);
            let generation = bench.wanted.generation.clone();
            bench.goes_back();
            bench.turns_into(&WELL, |seen| starting(seen, Some(&generation)));
        }
        "look" if bench.looks.get() > 3 => bench.goes_back(),
        _ => {}
    });
    let run = bench.run("rolling", "restart: { always: true }, wait_healthy", false).await;
    assert_eq!(ended(&run), (ExitStatus::RolledBack, TAKEN_BACK.to_owned()));
    assert_eq!(*bench.done.borrow(), ["restart", "take_back"]);
}

/// The members agree on the newer version between the run's look and the host's try.
#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_go_back_any_more_is_not_said_to_have_done_so() {
    let mut scene = Scene::deployed().seen(|seen| {
        (seen.unconfirmed, seen.previous) = (true, Some("older".into()));
        let binary = FileKind::Link { target: "/opt/etcd/releases/3.4.23/etcd".into() };
        let link = FileState { kind: binary, mode: 0o777, owner: "root:root".into() };
        seen.files.insert("/etc/etcd/.previous/binary".into(), link);
    });
    scene.cluster_version = Some("3.4.0".parse().unwrap());
    let bench = Bench::new(scene, |bench, what| match what {
        "restart" => bench.turns_into(&[Down, Leads, Follows], crash),
        "take_back" => {
            bench.agreed.set(Some((3, 5)));
            bench.goes_back();
        }
        _ => {}
    });
    let run = bench.run("rolling", "restart: { always: true }, wait_healthy", false).await;
    let words =
        "there is no way back to etcd 3.4.23: the cluster has agreed on 3.5.0, with which 3.4.23 refuses to start";
    assert_eq!(ended(&run), (ExitStatus::Failed, words.to_owned()));
    assert_eq!(*bench.done.borrow(), ["restart", "take_back"]);
}

/// Nothing was wrong with the change, and nothing has to be spared: the process runs on.
#[tokio::test(start_paused = true)]
async fn an_interruption_between_activation_and_restart_puts_the_files_back() {
    let bench = Bench::new(Scene::deployed().wanting_another_setting(), |bench, what| match what {
        "activate" => {
            bench.stop.send_replace(true);
            bench.turns_into(&[Follows, NoLeader, Leads], |seen| {
                let (unit, process) = (seen.unit.clone(), seen.process.clone());
                let previous = seen.generation().map(str::to_owned);
                put_in_force(seen, &bench.scene.inventory.hosts[0], &bench.wanted, "ssl");
                (seen.unit, seen.process, seen.previous, seen.unconfirmed) = (unit, process, previous, true);
            });
        }
        "take_back" => bench.goes_back(),
        _ => {}
    });
    let run = bench.run("rolling", "activate, restart, wait_healthy, confirm", false).await;
    assert_eq!(ended(&run), (ExitStatus::Interrupted, TAKEN_BACK.to_owned()));
    assert_eq!(*bench.done.borrow(), ["activate", "take_back"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_only_waited_for_is_not_taken_back() {
    for mode in ["parallel", "sequence"] {
        let scene = Scene::deployed().seen(|seen| {
            starting(seen, None);
            seen.unconfirmed = true;
        });
        let bench = Bench::new(scene, |bench, what| {
            if what == "look" {
                bench.stop.send_replace(true);
            }
        });
        let run = bench.run(mode, "wait_healthy", false).await;
        assert_eq!(ended(&run), (ExitStatus::Interrupted, "interrupted".to_owned()), "{mode}");
        assert!(bench.done.borrow().is_empty(), "{mode}");
    }
}

/// No earlier play starts it, so that a rolling play has to say it; and what is pending may mend what crashes.
#[tokio::test(start_paused = true)]
async fn a_dry_run_takes_members_that_are_down_into_account() {
    for change in [stop as fn(&mut Observation), crash] {
        let bench = Bench::new(Scene::deployed(), |_, _| {});
        bench.turns_into(&[Down, Leads, Follows], change);
        let run = bench.run("rolling", "restart: { always: true }, wait_healthy", true).await;
        assert!(run.failures.is_empty(), "{:?}", run.failures);
        let pending: Vec<_> = run.plan.pending.iter().map(|pending| pending.change.summary.as_str()).collect();
        assert_eq!(pending, ["start etcd, which is down"]);
        let gates: Vec<_> = run.plan.rolling.iter().map(|turn| turn.gate.as_str()).collect();
        assert_eq!(gates, ["3 voters, 2 healthy, 2 needed: 0 to spare"]);
        assert!(bench.done.borrow().is_empty());
    }
}
