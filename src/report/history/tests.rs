use super::*;
use crate::report::{HostRecap, RunLog, Sink as _, json_line, run_log_path};
use proptest::prelude::*;
use time::macros::datetime;

const AT: OffsetDateTime = datetime!(2026-11-22 10:14:30.12 UTC);

fn events() -> Vec<Event> {
    let recap = HostRecap { host: "node01".into(), ok: 1, changed: 2, failed: 0, seconds: 0.5 };
    let task = |outcome| Event::TaskFinished { host: "node01".into(), task: "activate".into(), outcome, seconds: 0.25 };
    vec![
        Event::RunStarted {
            command: "deploy".into(),
            cluster: "prod".into(),
            hosts: vec!["node01".into()],
            by: Some("ada@desk".into()),
        },
        Event::HopStarted { hop: 1, hops: 2, version: "3.5.16".into() },
        Event::PlayStarted { play: "Stage".into(), mode: "parallel".into(), hosts: vec!["node01".into()] },
        Event::TaskStarted { host: "node01".into(), task: "activate".into() },
        Event::TaskProgress {
            host: "node01".into(),
            task: "activate".into(),
            message: "at it".into(),
            done: Some(1),
            total: None,
        },
        task(Outcome::Ok),
        task(Outcome::Changed { changes: vec!["one".into(), "two".into()] }),
        task(Outcome::Skipped { reason: "no".into() }),
        task(Outcome::Failed { error: "it broke".into(), hint: None }),
        Event::HopPending { hop: 1, hops: 2, version: "3.5.16".into() },
        Event::ChangePending { host: "node01".into(), task: "activate".into(), change: "x".into(), diff: None },
        Event::TurnPending { host: "node01".into(), gate: "open".into() },
        Event::HostState { host: "node01".into(), state: "well".into() },
        Event::Warning { host: None, message: "mind".into() },
        Event::Probed {
            writes: 3,
            failed: 0,
            retried: 1,
            longest_gap: 0.08,
            during: Some("node01 restart".into()),
            leader_changes: 1,
        },
        Event::RunFinished {
            command: "deploy".into(),
            cluster: "prod".into(),
            exit: ExitStatus::Failed,
            message: "it broke".into(),
            recap: vec![recap],
            seconds: 4.2,
        },
    ]
}

/// Every event that a run can write is read as it was.
#[test]
fn what_was_written_is_read() {
    let state = tempfile::tempdir().unwrap();
    let path = run_log_path(state.path(), "prod", "deploy", AT, 7);
    let mut log = RunLog::create(path.clone()).unwrap();
    for event in events() {
        log.event(AT, &event).unwrap();
    }
    drop(log);
    let mut read = Vec::new();
    assert_eq!(super::read(&path, |at, event| read.push((at, event))).unwrap(), 0);
    // Progress is written when its task ends, so the order is the log's.
    assert!(read.iter().all(|(at, _)| *at == AT));
    assert_eq!(read.len(), events().len());
    for event in events() {
        assert!(read.contains(&(AT, event.clone())), "{event:?}");
    }
    let [log] = &logs(path.parent().unwrap()).unwrap()[..] else { panic!("one log") };
    assert_eq!((log.number, log.at, log.command.as_str(), log.pid), (1, AT, "deploy", 7));
    let run = summary(log).unwrap();
    let end = End { exit: ExitStatus::Failed, message: "it broke".into(), seconds: 4.2 };
    assert_eq!((run.end, run.changes, run.by.as_deref()), (Some(end), 2, Some("ada@desk")));
}

#[test]
fn every_exit_code_is_read_back() {
    use ExitStatus::*;
    for exit in [Done, Failed, Usage, Unhealthy, Refused, Locked, RolledBack, Pending, Interrupted] {
        let event = Event::RunFinished {
            command: String::new(),
            cluster: String::new(),
            exit,
            message: String::new(),
            recap: Vec::new(),
            seconds: 0.0,
        };
        let line: Line = serde_json::from_str(&json_line(AT, &event)).unwrap();
        assert_eq!(line.event, event);
    }
}

/// A run that was killed, lines that are none, and files that are no logs.
#[test]
fn logs_of_any_shape() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let killed: String = events().iter().take(4).map(|event| json_line(AT, event)).collect();
    write("20261122T101430.120Z-deploy-7.jsonl", format!("{killed}{{\"v\":1,\"ti").as_bytes());
    write("20261122T101431.120Z-stop-some-8.jsonl", b"\xff\xfe\n\n{}\n{\"v\":1,\"time\":\"x\",\"event\":\"nope\"}\n");
    write("20261121T101431.120Z-stop-9.jsonl", b"");
    for none in ["notes.txt", "20261122T101431.120Z-stop.jsonl", "x-stop-9.jsonl", "20261122T101431.120Z-stop-x.jsonl"]
    {
        write(none, killed.as_bytes());
    }
    fs::create_dir(folder.path().join("20261122T101439.120Z-deploy-7.jsonl")).unwrap();
    let logs = logs(folder.path()).unwrap();
    let names: Vec<_> = logs.iter().map(|log| (log.number, log.command.as_str(), log.pid)).collect();
    assert_eq!(names, [(1, "stop", 9), (2, "deploy", 7), (3, "stop-some", 8)]);
    let run = summary(&logs[1]).unwrap();
    assert_eq!((run.end, run.unreadable), (None, 1));
    assert_eq!(run.last, Some(("node01".into(), "activate".into())));
    assert_eq!(summary(&logs[2]).unwrap().unreadable, 4);
    assert_eq!(summary(&logs[0]).unwrap().unreadable, 0);
    assert_eq!(super::logs(&folder.path().join("nowhere")).unwrap(), []);
}

/// A line longer than any that a run writes is not held in memory.
#[test]
fn a_line_without_end_is_read_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("20261122T101430.120Z-deploy-7.jsonl");
    let mut text = vec![b'x'; usize::try_from(LONGEST_LINE).unwrap() + 10];
    text.push(b'\n');
    text.extend(json_line(AT, &events()[0]).bytes());
    fs::write(&path, text).unwrap();
    let mut events = 0;
    assert_eq!(read(&path, |_, _| events += 1).unwrap(), 2);
    assert_eq!(events, 1);
}

proptest! {
    #[test]
    fn no_log_causes_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("20261122T101430.120Z-deploy-7.jsonl");
        fs::write(&path, &bytes).unwrap();
        let logs = logs(folder.path()).unwrap();
        prop_assert!(summary(&logs[0]).is_ok());
    }
}
