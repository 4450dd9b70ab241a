//! `logs` and `exec` on a cluster that runs.

use crate::members::node;
use crate::site::{Site, eventually};
use serde_json::Value;
use std::fs::{self, File};
use std::process::{Child, Command};
use std::time::Duration;

/// What runs of ours on a host: what we read, and what watches over it.
const OURS: &str = "pgrep -fa '^([^ ]*/)?journalctl .*json|[h]ead -c|^sleep 30[0-9]|etcd-ha-[0-9a-f]' || true";

/// Has a host's journal take in a line as if etcd's unit had a part in it.
fn say(site: &Site, host: usize, words: &str) {
    let script = format!(
        "printf 'MESSAGE={words}\\nSYSLOG_IDENTIFIER=test\\nOBJECT_SYSTEMD_UNIT=etcd.service\\n' | logger --journald"
    );
    site.lab.read(&node(host), &script);
}

/// Something that goes on, and what it has said.
struct Going {
    child: Child,
    name: &'static str,
}

impl Going {
    fn start(site: &Site, name: &'static str, words: &str) -> Self {
        let file = |end: &str| File::create(site.path(&format!("{name}.{end}"))).unwrap();
        let mut command = site.command(words);
        command.env("ETCD_HA_INVENTORY", "lab.yaml");
        Self { child: command.stdout(file("out")).stderr(file("err")).spawn().unwrap(), name }
    }

    fn said(&self, site: &Site, end: &str) -> String {
        fs::read_to_string(site.path(&format!("{}.{end}", self.name))).unwrap()
    }

    #[track_caller]
    fn says(&self, site: &Site, end: &str, words: &str) {
        let limit = Duration::from_secs(15);
        eventually(&format!("{} says {words:?}", self.name), limit, || self.said(site, end).contains(words));
    }

    fn ends(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

#[track_caller]
fn nothing_is_left(site: &Site) {
    for host in 1..=3 {
        let left = || site.lab.read(&node(host), OURS);
        eventually("nothing of ours runs any more", Duration::from_secs(10), || left().is_empty());
    }
}

pub fn journals_are_one_and_commands_leave_nothing_behind() {
    let site = Site::up(3);
    site.run("deploy").exits(0);

    let ran = site.run("logs --since 1h -o json").exits(0);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let times: Vec<&str> = lines.iter().map(|line| line["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{ran:?}");
    for host in 1..=3 {
        let own: Vec<&Value> = lines.iter().filter(|line| line["host"] == node(host).as_str()).collect();
        // As many as the host has itself.
        let count = site.lab.read(&node(host), "journalctl -q -u etcd.service -o json | wc -l");
        assert_eq!(own.len().to_string(), count, "{}", node(host));
        assert!(own.iter().any(|line| line["from"] == "systemd" && line["message"] == "Started etcd.service - etcd."));
        assert!(own.iter().any(|line| line["message"] == "ready to serve client requests" && line["level"] == "info"));
    }
    let ran = site.run("logs --grep BECAME.LEADER").exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    site.run("logs --grep ELECTED").exits(0).says(&["INFO   raft.node: ", " elected leader "]);
    let ran = site.run("logs -n 3 --raw node02").exits(0);
    let own = site.lab.read("node02", "journalctl -q -u etcd.service -o cat -n 3");
    assert_eq!(ran.stdout.trim_end(), own);

    follow(&site);
    exec(&site);
}

fn follow(site: &Site) {
    let follow = Going::start(site, "follow", "logs -f -n 0");
    // Nothing is missed between what was read and what is followed; to begin with it has to be there.
    for host in 1..=3 {
        let reads = || site.lab.read(&node(host), "pgrep -fc '^journalctl .*-f ' || true") == "1";
        eventually("it is followed", Duration::from_secs(10), reads);
    }
    for host in [2, 3, 1] {
        say(site, host, &format!("line of {host}"));
    }
    follow.says(site, "out", "line of 1");
    let said = follow.said(site, "out");
    let lines: Vec<&str> = said.lines().filter_map(|line| line.split_once("Z ")).map(|(_, line)| line).collect();
    assert_eq!(
        lines,
        ["node02         test: line of 2", "node03         test: line of 3", "node01         test: line of 1"]
    );

    // A connection that breaks is told, and nothing is lost or told twice.
    site.lab.read("node03", "pgrep -f '^sshd: root@notty' | xargs kill -9");
    say(site, 3, "meanwhile");
    follow.says(site, "err", "node03");
    follow.says(site, "err", "host `node03` is there again\n");
    say(site, 3, "afterwards");
    follow.says(site, "out", "afterwards");
    let said = follow.said(site, "out");
    for words in ["line of 3", "meanwhile", "afterwards"] {
        assert_eq!(said.matches(words).count(), 1, "{words}: {said}");
    }
    assert_eq!(follow.ends("INT"), Some(130));
    nothing_is_left(site);

    let follow = Going::start(site, "killed", "logs -f -n 1");
    follow.says(site, "out", "node01");
    assert_ne!(site.lab.read("node01", OURS), "", "the control: it would be seen");
    assert_eq!(follow.ends("KILL"), None);
    nothing_is_left(site);
}

fn exec(site: &Site) {
    let hostnames = String::from_utf8(site.command("exec -i lab.yaml -- hostname").output().unwrap().stdout).unwrap();
    let heads: Vec<&str> = hostnames.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(heads, ["node01", "node01", "node02", "node02", "node03", "node03"]);
    let whoami = site.command("exec node02 -i lab.yaml -- id -u").output().unwrap();
    assert_eq!((&whoami.stdout[..], &whoami.stderr[..]), (&b"0\n"[..], &b""[..]));
    let bytes = site.command("exec node02 -i lab.yaml -- cat /bin/true").output().unwrap();
    let digest = site.lab.read("node02", "wc -c </bin/true");
    assert_eq!(bytes.stdout.len().to_string(), digest);

    site.lab.read(
        "node02",
        "printf '#!/bin/sh\\necho wrong >&2; exit 7\\n' >/usr/local/bin/try; chmod +x /usr/local/bin/try",
    );
    let ran = site.command("exec -i lab.yaml node01 node02 -- try").output().unwrap();
    assert_eq!(ran.status.code(), Some(127));
    let ran = site.command("exec -i lab.yaml node02 -- try").output().unwrap();
    assert_eq!((ran.status.code(), &ran.stderr[..]), (Some(7), &b"wrong\n"[..]));

    for (words, signal, code) in
        [("--timeout 1", "", Some(124)), ("--forks 3", "INT", Some(130)), ("--forks 3", "KILL", None)]
    {
        let mut sleep = Going::start(site, "sleep", &format!("exec {words} -- sleep 300"));
        let sleeps = |host: usize| !site.lab.read(&node(host), "pgrep -fx 'sleep 300' || true").is_empty();
        if signal.is_empty() {
            assert_eq!(sleep.child.wait().unwrap().code(), code);
        } else {
            eventually("it sleeps", Duration::from_secs(10), || (1..=3).all(sleeps));
            assert_eq!(sleep.ends(signal), code);
        }
        nothing_is_left(site);
    }
}
