//! `deploy`, `plan` and `run`, to hosts that cannot be reached.

use super::{Desk, UNREACHABLE, json, steady};
use serde_json::Value;

const REFUSED: [&str; 6] = [
    "node01 preflight: failed: host `node01`: `127.0.0.1:1` refused the connection",
    "node01 preflight: hint: check that sshd runs there and listens on port 1",
    "node02 preflight: failed: host `node02`: `127.0.0.1:2` refused the connection",
    "node02 preflight: hint: check that sshd runs there and listens on port 2",
    "node03 preflight: failed: host `node03`: `127.0.0.1:3` refused the connection",
    "node03 preflight: hint: check that sshd runs there and listens on port 3",
];
const STOPPED: &str = "failed: cluster prod: stopped on 3 hosts in `Look at every host`; later plays were not begun; \
                       mend the cause and run the same command again (…)";

#[test]
fn a_deploy_to_hosts_that_cannot_be_reached() {
    let desk = Desk::with_inventory();
    let ended = desk.run("deploy -i prod.yaml");
    let lines = [
        &["deploy: cluster prod, 3 hosts", "play: Look at every host (3 hosts, parallel)"][..],
        &REFUSED,
        &[
            "node01   ok 0  changed 0  failed 1",
            "node02   ok 0  changed 0  failed 1",
            "node03   ok 0  changed 0  failed 1",
            "run log: …",
            STOPPED,
        ],
    ]
    .concat();
    assert_eq!((ended.status, ended.stdout.as_str()), (1, ""));
    assert_eq!(steady(&ended.stderr), lines);
    // Nothing was made here, but for the log that is named.
    assert_eq!(desk.names(), ["prod.yaml"]);
    let [log] = &desk.logs()[..] else { panic!("{:?}", desk.logs()) };
    assert!(ended.stderr.contains(&format!("run log: {}\n", log.display())), "{}", ended.stderr);
    let name = log.file_name().unwrap().to_str().unwrap();
    assert!(name.contains("-deploy-") && name.ends_with(".jsonl"), "{name}");
}

#[test]
fn a_plan_for_hosts_that_cannot_be_reached() {
    for line in ["plan -i prod.yaml", "deploy --dry-run -i prod.yaml", "plan --detailed-exitcode -i prod.yaml"] {
        let desk = Desk::with_inventory();
        let ended = desk.run(line);
        assert_eq!((ended.status, ended.stdout.as_str()), (1, ""), "{line}");
        let lines = [&["plan: cluster prod, 3 hosts"][..], &REFUSED, &["run log: …", STOPPED]].concat();
        assert_eq!(steady(&ended.stderr), lines, "{line}");
        assert_eq!(desk.names(), ["prod.yaml"], "{line}");
    }
}

#[test]
fn a_deploy_as_json_lines() {
    let desk = Desk::with_inventory();
    let ended = desk.run("-o json deploy -i prod.yaml");
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""));
    let events = json(&ended.stdout);
    for event in &events {
        assert_eq!(event["v"], 1, "{event}");
        assert!(event["time"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')), "{event}");
    }
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    // All hosts are connected to at once, then each is looked at.
    let mut want = vec!["run_started", "task_progress", "task_progress", "task_progress", "play_started"];
    want.extend(["task_started", "task_finished"].repeat(3));
    want.push("run_finished");
    assert_eq!(kinds, want);
    let last = events.last().unwrap();
    assert_eq!((&last["exit"], &last["cluster"], &last["command"]), (&1.into(), &"prod".into(), &"deploy".into()));
    let failed: Vec<(&Value, &Value)> =
        last["recap"].as_array().unwrap().iter().map(|host| (&host["host"], &host["failed"])).collect();
    let one = Value::from(1);
    assert_eq!(failed, [(&"node01".into(), &one), (&"node02".into(), &one), (&"node03".into(), &one)]);
    let ends: Vec<&Value> = events.iter().filter(|event| event["event"] == "task_finished").collect();
    assert_eq!(ends[1]["error"], "host `node02`: `127.0.0.1:2` refused the connection");
    assert_eq!(ends[1]["hint"], "check that sshd runs there and listens on port 2");
    // The log of the run says the same, with the last of each progress at the end of what it was of.
    let [log] = &desk.logs()[..] else { panic!("{:?}", desk.logs()) };
    let logged = json(&std::fs::read_to_string(log).unwrap());
    let kinds_logged: Vec<&str> = logged.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let without_progress = |kinds: Vec<&str>| {
        kinds.into_iter().filter(|kind| *kind != "task_progress").map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_progress(kinds_logged), without_progress(kinds));
}

#[test]
fn warnings_come_before_anything_is_tried() {
    let desk = Desk::new();
    desk.write("prod.yaml", &UNREACHABLE.lines().take(4).map(|line| format!("{line}\n")).collect::<String>());
    let ended = desk.run("deploy -i prod.yaml");
    let lines = steady(&ended.stderr);
    assert_eq!(
        lines[..3],
        [
            "deploy: cluster prod, 2 hosts",
            "warning: 2 members tolerate no failure, as 1 does; quorum is 2, so the cluster stops when either host is down",
            "play: Look at every host (2 hosts, parallel)",
        ]
    );
}

#[test]
fn without_a_home_there_is_no_log_and_that_is_said() {
    let desk = Desk::with_inventory();
    let ended = desk.run_with("deploy -i prod.yaml", &[("HOME", "")]);
    assert_eq!(ended.status, 1);
    let lines = steady(&ended.stderr);
    let warning = "warning: no run log is kept: neither `XDG_STATE_HOME` nor `HOME` is an absolute path";
    assert!(lines.contains(&warning.to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("run log")), "{lines:?}");
}

#[test]
fn a_playbook_for_a_host_that_is_not_there() {
    let desk = Desk::with_inventory();
    desk.write(
        "mine.yaml",
        "name: mine\nplays:\n  - name: Elsewhere\n    hosts: [node01, node09]\n    tasks: [preflight]\n",
    );
    let ended = desk.run("run mine.yaml -i prod.yaml");
    assert_eq!((ended.status, ended.stdout.as_str()), (2, ""));
    assert_eq!(
        steady(&ended.stderr),
        [
            "run: cluster prod, 3 hosts",
            "run log: …",
            "failed: cluster prod: play `Elsewhere` is for host `node09`, which is not in the inventory; \
             nothing was touched (…)",
        ]
    );
    let ended = desk.run("-o json deploy --playbook mine.yaml -i prod.yaml");
    assert_eq!((ended.status, ended.stderr.as_str()), (2, ""));
    let events = json(&ended.stdout);
    assert_eq!(events.last().unwrap()["exit"], 2);
}

#[test]
fn a_playbook_of_ones_own_runs_on_the_hosts_it_names() {
    let desk = Desk::with_inventory();
    desk.write("mine.yaml", "name: mine\nplays:\n  - name: One\n    hosts: node02\n    tasks: [preflight]\n");
    let ended = desk.run("run mine.yaml -i prod.yaml");
    assert_eq!(ended.status, 1);
    assert_eq!(
        steady(&ended.stderr),
        [
            "run: cluster prod, 3 hosts",
            "play: One (node02)",
            "node02 preflight: failed: host `node02`: `127.0.0.1:2` refused the connection",
            "node02 preflight: hint: check that sshd runs there and listens on port 2",
            "node01   ok 0  changed 0  failed 0",
            "node02   ok 0  changed 0  failed 1",
            "node03   ok 0  changed 0  failed 0",
            "run log: …",
            "failed: cluster prod: stopped on node02 in `One`; later plays were not begun; \
             mend the cause and run the same command again (…)",
        ]
    );
}

#[test]
fn a_bandwidth_that_is_none() {
    let desk = Desk::with_inventory();
    for (rate, why) in [
        (
            "20Mbit",
            "bytes a second are wanted, a whole number with a unit of KiB, MiB, GiB, KB, MB, GB or none: `20MiB`",
        ),
        ("100", "1KiB a second is the least"),
    ] {
        for command in ["deploy", "plan", "upgrade --to 3.5.33"] {
            let ended = desk.run(&format!("{command} -i prod.yaml --bandwidth {rate}"));
            let said = format!(
                "error: invalid value '{rate}' for '--bandwidth <RATE>': {why}\n\nFor more information, try '--help'.\n"
            );
            assert_eq!((ended.status, ended.stdout, ended.stderr), (2, String::new(), said));
        }
    }
    // The hosts are gone to.
    let ended = desk.run("plan -i prod.yaml --bandwidth 20MiB");
    assert!(steady(&ended.stderr).contains(&REFUSED[0].to_owned()), "{}", ended.stderr);
    assert_eq!(desk.names(), ["prod.yaml"]);
}
