//! Walks the cases of one scene on one site, in order, with all as it was between them.

use super::data::{Case, Row, Scene, Step, Thing, catalogue};
use super::results::{Result, keep};
use crate::fixture::version_of;
use crate::members::{Members, node};
use crate::site::{Ran, Site, differences};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const HOSTS: usize = 3;

/// How long a cluster may take to be as well as before, once a fault was mended.
const RECOVERY: Duration = Duration::from_secs(60);

/// What a command could have touched.
#[derive(Clone, PartialEq, Eq)]
struct Look {
    /// By host: its files, and the pid of its etcd. Nothing of a host without power.
    hosts: Vec<Option<(String, u32)>>,
    pki: String,
    desk: String,
}

/// A cluster as its clients know it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Content {
    members: String,
    /// The digest of all keys and values, through each member.
    keys: String,
}

struct Walk {
    site: Site,
    scene: Scene,
    /// The hosts and, where there is one, the cluster, as the scene begins.
    begun: Look,
    content: Option<Content>,
    /// The last look behind a command.
    seen: Option<Look>,
    failures: Vec<String>,
}

pub fn walk(scene: Scene) {
    let kinds = catalogue();
    let site = Site::up(HOSTS);
    let content = (scene == Scene::Cluster).then(|| {
        site.run("deploy").exits(0);
        let members = Members::of(&site, HOSTS);
        for key in 1..=20 {
            members.etcdctl(1, &format!("put kept/{key} value-{key}"));
        }
        members.assert_whole();
        content(&site).expect("a cluster that was just found whole")
    });
    let begun = Look::take(&site);
    for name in OPERATORS {
        copy(&site, name, &format!("kept/{name}"));
    }
    let mut walk = Walk { site, scene, begun, content, seen: None, failures: Vec::new() };
    let mut results = BTreeMap::new();
    let cases = kinds.iter().flat_map(|kind| &kind.rows).flat_map(|row| row.cases.iter().map(move |case| (row, case)));
    for (row, case) in cases.filter(|(_, case)| case.scene == scene && wanted(&case.id)) {
        let failed = walk.failures.len();
        let result = walk.case(row, case);
        let restored = walk.restored(case);
        let ill = walk.failures.len() - failed;
        eprintln!("{}: exit {:?}, {:.1} s, {ill} failures: {}", case.id, result.exit, result.seconds, result.said);
        results.insert(case.id.clone(), result);
        if !restored && scene == Scene::Cluster {
            walk.failures.push(format!("{}: the cases after it were left out", case.id));
            break;
        }
    }
    keep(scene, results, wanted(""));
    assert!(walk.failures.is_empty(), "{} failures\n{}", walk.failures.len(), walk.failures.join("\n\n"));
}

/// `ETCD_HA_LAB_FAULTS=I01,S` names those that are wanted by how their ids begin.
fn wanted(id: &str) -> bool {
    let only = std::env::var("ETCD_HA_LAB_FAULTS").unwrap_or_default();
    only.is_empty() || only.split(',').any(|begin| id.starts_with(begin))
}

/// What of the operator's a case may change, and gets back afterwards.
const OPERATORS: [&str; 3] = ["lab.yaml", "known_hosts", "lab.pki"];

fn copy(site: &Site, from: &str, to: &str) {
    let script = format!("mkdir -p kept; rm -rf {to}; [ ! -e {from} ] || cp -a {from} {to}");
    here(site, &script).unwrap();
}

fn here(site: &Site, script: &str) -> std::result::Result<String, String> {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(site.path("")).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(format!("{script}: {}", text(&output.stderr))) }
}

/// Whether any of these is done on a host or to it.
fn on_hosts(steps: &[Step]) -> bool {
    steps.iter().any(|step| !matches!(step, Step::Here(_) | Step::Inventory(_)))
}

impl Look {
    fn take(site: &Site) -> Self {
        Self { hosts: Self::of_hosts(site), ..Self::of_controller(site) }
    }

    fn of_hosts(site: &Site) -> Vec<Option<(String, u32)>> {
        // At the same time: each look is several processes.
        thread::scope(|scope| {
            let looks: Vec<_> = (1..=HOSTS).map(|host| scope.spawn(move || look_at(site, host))).collect();
            looks.into_iter().map(|look| look.join().unwrap()).collect()
        })
    }

    fn of_controller(site: &Site) -> Self {
        let all =
            "find $0 -type f -exec sha256sum {} + 2>/dev/null | sort; find $0 -printf '%p %M %u\\n' 2>/dev/null | sort";
        Self {
            hosts: Vec::new(),
            pki: here(site, &all.replace("$0", "lab.pki")).unwrap(),
            desk: here(site, &all.replace("$0", "lab.yaml known_hosts")).unwrap(),
        }
    }

    fn pids(&self) -> Vec<Option<u32>> {
        self.hosts.iter().map(|host| host.as_ref().map(|(_, pid)| *pid)).collect()
    }

    /// What is there, but for when it was changed.
    fn shape(&self) -> Vec<Option<String>> {
        let without_time = |line: &str| {
            let mut words: Vec<&str> = line.split(' ').collect();
            if words.len() > 4 {
                words.remove(4);
            }
            words.join(" ") + "\n"
        };
        // What passwd and its like leave as their backups.
        let counts = |line: &&str| !line.starts_with("/etc/") || !line.contains("- ");
        let shape = |(files, _): &(String, u32)| files.lines().filter(counts).map(without_time).collect::<String>();
        self.hosts.iter().map(|host| host.as_ref().map(shape)).collect()
    }
}

fn look_at(site: &Site, host: usize) -> Option<(String, u32)> {
    let script = format!(
        "{}; find /etc/etcd /etc/systemd/system -type f -exec sha256sum {{}} + 2>/dev/null | sort; \
         systemctl show etcd -p MainPID --value",
        crate::site::MANIFEST
    );
    let output = site.lab.exec(&node(host), &script);
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let (files, pid) = text.rsplit_once('\n')?;
    output.status.success().then(|| (files.to_owned(), pid.parse().unwrap()))
}

/// Members and keys, if every member answers for them.
fn content(site: &Site) -> Option<Content> {
    let members = Members::of(site, HOSTS);
    let each: String = (1..=HOSTS)
        .map(|host| {
            let etcdctl = members.etcdctl_line(host);
            format!("{etcdctl} --command-timeout=2s get '' --from-key | sha256sum\n")
        })
        .collect();
    let script = format!("set -e; {} --command-timeout=2s member list\n{each}", members.etcdctl_line(1));
    let output = site.lab.exec("node01", &script);
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (keys, members) = text.lines().partition::<Vec<_>, _>(|line| line.ends_with("  -"));
    Some(Content { members: members.join("\n"), keys: keys.join("\n") })
}

impl Walk {
    fn fail(&mut self, case: &Case, what: &str) {
        self.failures.push(format!("{}: {what}", case.id));
    }

    /// Sets the fault, runs the command, compares, and mends it.
    fn case(&mut self, row: &Row, case: &Case) -> Result {
        if let Err(error) = self.steps(&case.set) {
            self.fail(case, &format!("it cannot be set: {error}"));
        }
        let mut before = Look::of_controller(&self.site);
        // A look costs as much as most commands, and nobody has been on these hosts since the last one.
        before.hosts = if self.scene == Scene::Fresh && !on_hosts(&case.set) {
            self.begun.hosts.clone()
        } else {
            Look::of_hosts(&self.site)
        };
        let ran = self.run(&case.command, case.within);
        let after = Look::take(&self.site);
        self.judge(row, case, &ran);
        self.compare(case, &before, &after);
        self.seen = Some(after);
        if let Err(error) = self.steps(&case.heal) {
            self.fail(case, &format!("it cannot be mended: {error}"));
        }
        let said = case.says.first().map(|words| ran.line_with(&self.filled(words))).unwrap_or_default();
        Result { exit: ran.code, said: self.neutral(&said), seconds: ran.took.as_secs_f64() }
    }

    fn judge(&mut self, row: &Row, case: &Case, ran: &Ran) {
        let mut wrong = Vec::new();
        if ran.code != Some(case.exit) {
            wrong.push(format!("exit code {:?} in the place of {}", ran.code, case.exit));
        }
        for words in &case.says {
            let words = self.filled(words);
            if !ran.has_said(&words) {
                wrong.push(format!("it does not say {words:?}"));
            }
        }
        for words in &case.never_says {
            let words = self.filled(words);
            if ran.has_said(&words) {
                wrong.push(format!("it says {words:?}"));
            }
        }
        if ran.took > Duration::from_secs(case.within) {
            wrong.push(format!("it took longer than {} s", case.within));
        }
        if !wrong.is_empty() {
            let fault = row.fault_of(case);
            self.fail(case, &format!("{fault}: {}\n{}", wrong.join("; "), ran.whole()));
        }
    }

    fn compare(&mut self, case: &Case, before: &Look, after: &Look) {
        let mut touched = String::new();
        for thing in &case.untouched {
            let differ: Vec<String> = match thing {
                Thing::Files => before
                    .hosts
                    .iter()
                    .zip(&after.hosts)
                    .zip(1..)
                    .filter_map(|((before, after), host)| {
                        let files = |look: &Option<(String, u32)>| {
                            look.as_ref().map_or("without power\n".to_owned(), |(files, _)| files.clone())
                        };
                        differences(&files(before), &files(after)).map(|what| format!("{}: {what}", node(host)))
                    })
                    .collect(),
                Thing::Pids => {
                    differences(&format!("{:?}", before.pids()), &format!("{:?}", after.pids())).into_iter().collect()
                }
                Thing::Pki => differences(&before.pki, &after.pki).into_iter().collect(),
                Thing::Desk => differences(&before.desk, &after.desk).into_iter().collect(),
            };
            for what in differ {
                touched += &format!("{thing:?} touched. {what}\n");
            }
        }
        if !touched.is_empty() {
            self.fail(case, &touched);
        }
    }

    /// Gives the operator back what is his, runs what he would run then, and checks that all is as it was.
    fn restored(&mut self, case: &Case) -> bool {
        for name in OPERATORS {
            copy(&self.site, &format!("kept/{name}"), name);
        }
        if let Some(then) = &case.then {
            let before = Look::take(&self.site).pids();
            let ran = self.run(&then.command, 60);
            let wrong: Vec<_> = then.says.iter().filter(|words| !ran.has_said(&self.filled(words))).collect();
            if ran.code != Some(0) || !wrong.is_empty() {
                self.fail(case, &format!("then: expected exit code 0 and {wrong:?}\n{}", ran.whole()));
            }
            let after = Look::take(&self.site).pids();
            let touched = |(host, (before, after)): (usize, (Option<u32>, Option<u32>))| {
                (before != after).then(|| node(host + 1))
            };
            let touched: BTreeSet<String> = before.into_iter().zip(after).enumerate().filter_map(touched).collect();
            if touched != then.restarts {
                self.fail(
                    case,
                    &format!("then: restarted were {touched:?}, meant were {:?}\n{}", then.restarts, ran.whole()),
                );
            }
        }
        match self.scene {
            Scene::Fresh => {
                let seen =
                    self.seen.take().filter(|_| !on_hosts(&case.set) && !on_hosts(&case.heal) && case.then.is_none());
                let look = seen.unwrap_or_else(|| Look::take(&self.site));
                // The next case is compared with what this one left.
                let begun = std::mem::replace(&mut self.begun, look).shape();
                let mut same = true;
                for (host, (before, after)) in begun.into_iter().zip(self.begun.shape()).enumerate() {
                    if let Some(what) = differences(&before.unwrap_or_default(), &after.unwrap_or_default()) {
                        self.fail(case, &format!("{} is not mended. {what}", node(host + 1)));
                        same = false;
                    }
                }
                same
            }
            Scene::Cluster => self.well_again(case),
        }
    }

    /// Every member answers, ids and keys are those of the beginning, and there is nothing to change.
    fn well_again(&mut self, case: &Case) -> bool {
        let begun = Instant::now();
        loop {
            let now = content(&self.site);
            if now == self.content {
                break;
            }
            if begun.elapsed() > RECOVERY {
                self.fail(case, &format!("afterwards members and keys are {now:?}\nand were {:?}", self.content));
                return false;
            }
            thread::sleep(Duration::from_millis(100));
        }
        if !on_hosts(&case.set) && case.then.is_none() {
            return true;
        }
        let plan = self.run("plan --detailed-exitcode", 60);
        if plan.code != Some(0) {
            self.fail(case, &format!("afterwards the hosts are not as the inventory says\n{}", plan.whole()));
        }
        plan.code == Some(0)
    }

    fn run(&self, words: &str, limit: u64) -> Ran {
        let words = if words.contains("-i ") { words.to_owned() } else { format!("{words} -i lab.yaml") };
        let inner = self.site.command(&words);
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", &(limit + 10).to_string()]).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(self.site.path("")).env_clear().stdin(Stdio::null());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let begun = Instant::now();
        let output = command.output().unwrap();
        Ran::new(&words, &output, begun.elapsed())
    }

    fn steps(&self, steps: &[Step]) -> std::result::Result<(), String> {
        for step in steps {
            let on = |hosts: &[usize], script: &str| {
                for &host in hosts {
                    let output = self.site.lab.exec(&node(host), &format!("set -e; {}", self.filled(script)));
                    if !output.status.success() {
                        return Err(format!("{}: {script}: {}", node(host), String::from_utf8_lossy(&output.stderr)));
                    }
                }
                Ok(())
            };
            match step {
                Step::Node01(script) => on(&[1], script)?,
                Step::Node02(script) => on(&[2], script)?,
                Step::Node03(script) => on(&[3], script)?,
                Step::All(script) => on(&[1, 2, 3], script)?,
                Step::Lab(verb) => {
                    let output = self.site.lab.command().args(verb.split(' ')).output().unwrap();
                    if !output.status.success() {
                        return Err(format!("lab {verb}: {}", String::from_utf8_lossy(&output.stderr)));
                    }
                }
                Step::Here(script) => drop(here(&self.site, &self.filled(script))?),
                Step::Inventory(edit) => {
                    let text = fs::read_to_string(self.site.path("lab.yaml")).unwrap();
                    let (from, to) = (self.filled(&edit.from), self.filled(&edit.to));
                    if !text.contains(&from) {
                        return Err(format!("{from:?} is not in the inventory:\n{text}"));
                    }
                    self.site.write_file("lab.yaml", &text.replace(&from, &to));
                }
            }
        }
        Ok(())
    }

    /// What differs from lab to lab: addresses, and Debian's versions of etcd.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for host in 1..=HOSTS {
            text = text.replace(&format!("$IP{host}"), &self.site.lab.address(host));
        }
        text = text.replace("$NETWORK", self.site.lab.address(1).rsplit_once('.').unwrap().0);
        for (name, suite) in [("$OLD", "bookworm"), ("$NEWEST", "sid")] {
            if text.contains(name) {
                text = text.replace(name, &version_of(suite));
            }
        }
        text
    }

    /// The same without what differs from run to run.
    fn neutral(&self, said: &str) -> String {
        let mut said = said.to_owned();
        for folder in [self.site.path(""), self.site.lab.folder()] {
            said = said.replace(&format!("{}/", folder.display().to_string().trim_end_matches('/')), "");
        }
        let network = self.site.lab.address(1).rsplit_once('.').unwrap().0.to_owned();
        super::table::neutral(&said.replace(&format!("{network}."), "10.19.0."))
    }
}
