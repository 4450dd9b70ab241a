//! Past runs, listed and told again.

use super::{Desk, json, said};
use std::fs;

const FIRST: &str = r#"{"v":1,"time":"2026-11-22T10:14:30.120Z","event":"run_started","command":"deploy","cluster":"prod","hosts":["node01","node02"],"by":"ada@desk"}
{"v":1,"time":"2026-11-22T10:14:30.200Z","event":"play_started","play":"Stage","mode":"parallel","hosts":["node01","node02"]}
{"v":1,"time":"2026-11-22T10:14:31.000Z","event":"task_started","host":"node01","task":"stage_config"}
{"v":1,"time":"2026-11-22T10:14:32.000Z","event":"task_finished","host":"node01","task":"stage_config","outcome":"changed","changes":["stage etcd.conf","stage etcd.service"],"seconds":0.5}
{"v":1,"time":"2026-11-22T10:14:33.000Z","event":"run_finished","command":"deploy","cluster":"prod","exit":0,"message":"cluster prod is healthy, 2 of 2 members, 2 changes","recap":[{"host":"node01","ok":0,"changed":1,"failed":0,"seconds":0.5}],"seconds":2.9}
"#;
/// Killed in the middle of a line, with one that somebody wrote into it.
const SECOND: &str = "{\"v\":1,\"time\":\"2026-11-22T11:00:00.000Z\",\"event\":\"run_started\",\"command\":\"stop\",\"cluster\":\"prod\",\"hosts\":[\"node01\"]}
not JSON \u{1b}[2J
{\"v\":1,\"time\":\"2026-11-22T11:00:01.000Z\",\"event\":\"task_started\",\"host\":\"node01\",\"task\":\"stop\"}
{\"v\":1,\"time\":\"2026-11-22T11:00:02.000Z\",\"ev";

fn desk() -> Desk {
    let desk = Desk::with_inventory();
    let runs = desk.home.path().join(".local/state/etcd-ha/prod/runs");
    fs::create_dir_all(&runs).unwrap();
    fs::write(runs.join("20261122T101430.120Z-deploy-4194305.jsonl"), FIRST).unwrap();
    fs::write(runs.join("20261122T110000.000Z-stop-4194306.jsonl"), SECOND).unwrap();
    fs::write(runs.join("notes"), "mine\n").unwrap();
    desk
}

#[test]
fn runs_are_listed() {
    let desk = desk();
    let ended = desk.run_with("history -i prod.yaml", &[("TZ", "XYZ-2")]);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [head, stop, deploy, rest] = lines[..] else { panic!("{}", ended.stdout) };
    assert!(head.starts_with("N  WHEN                        AGE"), "{head}");
    assert!(stop.starts_with("2  2026-11-22 13:00:00 +02:00  "), "{stop}");
    assert!(stop.ends_with("  stop     -         0        -      broken off after `stop` on node01"), "{stop}");
    assert!(deploy.starts_with("1  2026-11-22 12:14:30 +02:00  "), "{deploy}");
    assert!(
        deploy
            .ends_with("  deploy   ada@desk  2        2.9 s  done: cluster prod is healthy, 2 of 2 members, 2 changes")
    );
    assert!(rest.starts_with("2 runs, 1.1 KiB in ") && rest.ends_with("runs; nothing there is ever deleted"), "{rest}");

    let listed = json(&desk.run("-o json history -i prod.yaml").stdout);
    let short: Vec<_> = listed.iter().map(|run| (run["run"].as_u64(), run["exit"].as_u64())).collect();
    assert_eq!(short, [(Some(2), None), (Some(1), Some(0))]);
}

#[test]
fn a_run_is_told_again() {
    let desk = desk();
    let ended = desk.run_with("history show 1 -i prod.yaml", &[("TZ", "XYZ-2")]);
    let want = "run 1: deploy, 2026-11-22 12:14:30 +02:00 by ada@desk
10:14:30Z deploy: cluster prod, 2 hosts
10:14:30Z play: Stage (2 hosts, parallel)
10:14:32Z node01 stage_config: changed: stage etcd.conf; stage etcd.service
node01   ok 0  changed 1  failed 0   0.5 s
done: cluster prod is healthy, 2 of 2 members, 2 changes (2.9 s)
";
    assert_eq!(ended, said(0, want, ""));
    // The last one, if none is named.
    let ended = desk.run_with("history -i prod.yaml show", &[("TZ", "UTC")]);
    let log = desk.home.path().join(".local/state/etcd-ha/prod/runs/20261122T110000.000Z-stop-4194306.jsonl");
    let want = format!(
        "run 2: stop, 2026-11-22 11:00:00 +00:00
11:00:00Z stop: cluster prod, 1 host
broken off after `stop` on node01
2 lines of `{}` could not be read
",
        log.display()
    );
    assert_eq!(ended, said(0, &want, ""));
    let ended = desk.run("-o json history show 1 -i prod.yaml");
    assert_eq!(ended, said(0, FIRST, ""));
}

#[test]
fn runs_that_are_not_there() {
    let desk = desk();
    let error = "error: there is no run 3 of cluster `prod`; there are 1 to 2\n";
    assert_eq!(desk.run("history show 3 -i prod.yaml"), said(2, "", error));
    assert_eq!(desk.run("history show 0 -i prod.yaml").status, 2);
    let desk = Desk::with_inventory();
    let folder = desk.home.path().join(".local/state/etcd-ha/prod/runs");
    let none = format!("no run of cluster prod was logged on this machine (in {})\n", folder.display());
    assert_eq!(desk.run("history -i prod.yaml"), said(0, &none, ""));
    let error = "error: there is no run 0 of cluster `prod`; none was logged on this machine\n";
    assert_eq!(desk.run("history show -i prod.yaml"), said(2, "", error));
    // Nothing was made by asking.
    assert!(!folder.exists());
}

#[test]
fn hosts_that_cannot_be_asked_are_named() {
    let ended = desk().run("history --hosts -i prod.yaml");
    let want: String = (1..=3)
        .map(|n| format!("node0{n} could not be asked: host `node0{n}`: `127.0.0.1:{n}` refused the connection\n"))
        .collect();
    let none = "no run is noted in `/var/log/etcd-ha/prod.log` on the hosts that could be asked\n";
    assert_eq!(ended, said(1, none, &want));
}
