use super::{json, text};
use crate::diagnosis::check::{Cell, Finding, Report, Source, Suggestion, Verdict};
use crate::report::Style;

fn finding(host: Option<&str>, subject: &'static str, verdict: Verdict, measured: &str, threshold: &str) -> Finding {
    Finding {
        host: host.map(str::to_owned),
        subject,
        verdict,
        measured: measured.to_owned(),
        threshold: threshold.to_owned(),
        source: Source::Hardware,
        hint: None,
        numbers: Vec::new(),
    }
}

fn report() -> Report {
    let (one, two) = (Some("node01"), Some("node02"));
    let mut disk = finding(one, "disk", Verdict::Warning, "p50 1.0 ms, p99 18 ms of 983 writes", "p99 under 10 ms");
    disk.hint = Some("give etcd's data a disk of its own, an SSD if possible".to_owned());
    disk.numbers = vec![("p99_ms", 18.000_04), ("writes", 983.0)];
    let mut closed = finding(two, "peer ports", Verdict::Failed, "0 of 1 reached,\n\u{1b}[2Jclosed", "");
    closed.source = Source::EtcdHa;
    let mut timing = finding(None, "heartbeat-interval", Verdict::Ok, "100 ms", "100 ms or more");
    timing.source = Source::Tuning;
    Report {
        hosts: vec!["node01".to_owned(), "node02".to_owned()],
        findings: vec![finding(one, "memory", Verdict::Ok, "23.5 GiB", "2 GB; 8 GB is typical"), disk, closed, timing],
        trips: vec![vec![Cell::Own, Cell::Open(Some(0.000_42))], vec![Cell::Closed, Cell::Own]],
        suggestion: Some(Suggestion {
            heartbeat_interval: 100,
            election_timeout: 1000,
            trip: (0.000_42, "node01".to_owned(), "node02".to_owned()),
            disk: Some((0.018, "node01".to_owned())),
        }),
    }
}

#[test]
fn as_it_is_read_in_a_pipe() {
    assert_eq!(
        text::page(&report(), Style::default(), None),
        "node01
  ok       memory  23.5 GiB (2 GB; 8 GB is typical; etcd hardware guide)
  warning  disk    p50 1.0 ms, p99 18 ms of 983 writes (p99 under 10 ms; etcd hardware guide)
                   hint: give etcd's data a disk of its own, an SSD if possible

node02
  failed   peer ports  0 of 1 reached, / closed

all hosts
  ok       heartbeat-interval  100 ms (100 ms or more; etcd tuning guide)

round trips between peer ports, in ms
  FROM / TO  node01  node02
  node01     -       0.4
  node02     closed  -

suggested settings
  heartbeat-interval: 100
  election-timeout: 1000
  # a round trip of 0.4 ms from node01 to node02, a disk p99 of 18 ms on node01; etcd tuning guide

check: 2 hosts, 2 ok, 1 warning, 1 failed
"
    );
}

#[test]
fn as_it_is_read_on_a_terminal() {
    let mut report = report();
    report.findings.drain(2..);
    report.hosts.pop();
    report.suggestion = None;
    assert_eq!(
        text::page(&report, Style::default(), Some(60)),
        "node01
  ok       memory  23.5 GiB (2 GB; 8 GB is typical; etcd
                   hardware guide)
  warning  disk    p50 1.0 ms, p99 18 ms of 983 writes (p99
                   under 10 ms; etcd hardware guide)
                   hint: give etcd's data a disk of its own,
                   an SSD if possible

check: 1 host, 1 ok, 1 warning, 0 failed
"
    );
    let coloured = text::page(&report, Style::new(true), Some(60));
    assert!(coloured.contains("  \u{1b}[32mok     \u{1b}[0m  memory"), "{coloured}");
    assert!(coloured.contains("\u{1b}[33m1 warning\u{1b}[0m, 0 failed\n"), "{coloured}");
}

#[test]
fn as_a_program_reads_it() {
    assert_eq!(
        json::lines(&report()),
        r#"{"v":1,"host":"node01","subject":"memory","verdict":"ok","measured":"23.5 GiB","numbers":{},"threshold":"2 GB; 8 GB is typical","source":"etcd hardware guide","url":"https://etcd.io/docs/latest/op-guide/hardware/","hint":null}
{"v":1,"host":"node01","subject":"disk","verdict":"warning","measured":"p50 1.0 ms, p99 18 ms of 983 writes","numbers":{"p99_ms":18,"writes":983},"threshold":"p99 under 10 ms","source":"etcd hardware guide","url":"https://etcd.io/docs/latest/op-guide/hardware/","hint":"give etcd's data a disk of its own, an SSD if possible"}
{"v":1,"host":"node02","subject":"peer ports","verdict":"failed","measured":"0 of 1 reached,\n\u001b[2Jclosed","numbers":{},"threshold":"","source":"etcd-ha","url":null,"hint":null}
{"v":1,"host":null,"subject":"heartbeat-interval","verdict":"ok","measured":"100 ms","numbers":{},"threshold":"100 ms or more","source":"etcd tuning guide","url":"https://etcd.io/docs/latest/tuning/","hint":null}
{"v":1,"from":"node01","to":"node02","port":"peer","reached":true,"round_trip_ms":0.42}
{"v":1,"from":"node02","to":"node01","port":"peer","reached":false,"round_trip_ms":null}
{"v":1,"suggestion":{"heartbeat_interval_ms":100,"election_timeout_ms":1000,"round_trip_ms":0.42,"from":"node01","to":"node02","disk_p99_ms":18,"disk":"node01"}}
{"v":1,"check":"failed","hosts":2,"ok":2,"warnings":1,"failed":1}
"#
    );
}
