//! What a run looks like from outside: JSON lines, plain lines, the run log, pipes that close.

#![allow(clippy::unwrap_used)]

mod demo;

use etcd_ha::error::ExitStatus;
use etcd_ha::report::{
    Detail, Event, HostRecap, JsonLines, Outcome, Output, Plain, ReportError, Reporter, RunLog, Sink, json_line,
    run_log_path,
};
use std::io::{self, BufRead as _, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::macros::datetime;

/// A buffer that the test keeps a hand on.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that always fails in the same way.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run_started(hosts: &[&str]) -> Event {
    Event::RunStarted {
        command: "deploy".into(),
        cluster: "prod".into(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        by: None,
    }
}

fn play(title: &str, mode: &str, hosts: &[&str]) -> Event {
    Event::PlayStarted { play: title.into(), mode: mode.into(), hosts: hosts.iter().map(ToString::to_string).collect() }
}

fn started(host: &str, task: &str) -> Event {
    Event::TaskStarted { host: host.into(), task: task.into() }
}

fn progress(host: &str, task: &str, message: &str, moved: Option<(u64, u64)>) -> Event {
    Event::TaskProgress {
        host: host.into(),
        task: task.into(),
        message: message.into(),
        done: moved.map(|(done, _)| done),
        total: moved.map(|(_, total)| total),
    }
}

fn finished(host: &str, task: &str, outcome: Outcome, seconds: f64) -> Event {
    Event::TaskFinished { host: host.into(), task: task.into(), outcome, seconds }
}

fn changed(changes: &[&str]) -> Outcome {
    Outcome::Changed { changes: changes.iter().map(ToString::to_string).collect() }
}

fn run_finished(exit: ExitStatus, message: &str, recap: Vec<HostRecap>, seconds: f64) -> Event {
    Event::RunFinished {
        command: "deploy".into(),
        cluster: "prod".into(),
        exit,
        message: message.into(),
        recap,
        seconds,
    }
}

fn warning(message: &str) -> Event {
    Event::Warning { host: None, message: message.into() }
}

fn done() -> Event {
    run_finished(ExitStatus::Done, "cluster prod is healthy", vec![], 4.2)
}

/// The value of `event` in each line, and the check that each line is a JSON object of this version.
fn events_in(lines: &str) -> Vec<String> {
    assert!(lines.is_empty() || lines.ends_with('\n'));
    let names = lines.lines().map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["v"], 1);
        assert!(line.starts_with("{\"v\":1,\"time\":\"20"), "{line}");
        value["event"].as_str().unwrap().to_string()
    });
    names.collect()
}

#[test]
fn every_event_has_its_json_line() {
    let recap = HostRecap { host: "node01".into(), ok: 4, changed: 3, failed: 0, seconds: 0.1 + 0.2 };
    let failed = Outcome::Failed { error: "no\nspace".into(), hint: Some("free some".into()) };
    let skipped = Outcome::Skipped { reason: "not its turn".into() };
    let warning_on_host = Event::Warning { host: Some("node01".into()), message: "clock \u{1b}[31m".into() };
    let cases = [
        (
            run_started(&["node01", "node02"]),
            r#""event":"run_started","command":"deploy","cluster":"prod","hosts":["node01","node02"]}"#,
        ),
        (
            play("Verify", "parallel", &["controller"]),
            r#""event":"play_started","play":"Verify","mode":"parallel","hosts":["controller"]}"#,
        ),
        (
            Event::HopStarted { hop: 1, hops: 2, version: "3.5.33".into() },
            r#""event":"hop_started","hop":1,"hops":2,"version":"3.5.33"}"#,
        ),
        (
            Event::HopPending { hop: 2, hops: 2, version: "3.6.14".into() },
            r#""event":"hop_pending","hop":2,"hops":2,"version":"3.6.14"}"#,
        ),
        (started("node01", "start"), r#""event":"task_started","host":"node01","task":"start"}"#),
        (
            progress("node01", "start", "waiting", None),
            r#""event":"task_progress","host":"node01","task":"start","message":"waiting"}"#,
        ),
        (
            progress("node01", "start", "uploading", Some((1, 2))),
            r#""event":"task_progress","host":"node01","task":"start","message":"uploading","done":1,"total":2}"#,
        ),
        (
            finished("node01", "start", Outcome::Ok, 0.1 + 0.2),
            r#""event":"task_finished","host":"node01","task":"start","outcome":"ok","seconds":0.3}"#,
        ),
        (
            finished("node01", "start", changed(&["a", "b"]), 2.0),
            r#""event":"task_finished","host":"node01","task":"start","outcome":"changed","changes":["a","b"],"seconds":2.0}"#,
        ),
        (
            finished("node01", "start", skipped, 0.0),
            r#""event":"task_finished","host":"node01","task":"start","outcome":"skipped","reason":"not its turn","seconds":0.0}"#,
        ),
        (
            finished("node01", "start", failed, 0.0),
            r#""event":"task_finished","host":"node01","task":"start","outcome":"failed","error":"no\nspace","hint":"free some","seconds":0.0}"#,
        ),
        (warning("even"), r#""event":"warning","message":"even"}"#),
        (warning_on_host, r#""event":"warning","host":"node01","message":"clock \u001b[31m"}"#),
        (
            Event::Probed {
                writes: 412,
                failed: 0,
                retried: 1,
                longest_gap: 0.0841,
                during: Some("node02 restart".into()),
                leader_changes: 1,
            },
            r#""event":"probed","writes":412,"failed":0,"retried":1,"longest_gap":0.084,"during":"node02 restart","leader_changes":1}"#,
        ),
        (
            run_finished(ExitStatus::Unhealthy, "m", vec![recap], 4.2),
            r#""event":"run_finished","command":"deploy","cluster":"prod","exit":3,"message":"m","recap":[{"host":"node01","ok":4,"changed":3,"failed":0,"seconds":0.3}],"seconds":4.2}"#,
        ),
    ];
    for (event, expected) in cases {
        let line = json_line(datetime!(2026-11-22 11:14:30.0049 +1), &event);
        let expected = format!("{{\"v\":1,\"time\":\"2026-11-22T10:14:30.004Z\",{expected}\n");
        assert_eq!(line, expected);
    }
}

#[test]
fn the_last_json_line_is_the_end_of_the_run() {
    let buffer = Buffer::default();
    let reporter = Reporter::new(vec![Box::new(JsonLines::new(buffer.clone()))]);
    reporter.emit(run_started(&["node01"]));
    reporter.clone().emit(started("node01", "start"));
    reporter.emit(done());
    reporter.emit(warning("too late"));
    reporter.finish();
    reporter.emit(warning("far too late"));
    reporter.finish();
    assert_eq!(events_in(&buffer.text()), ["run_started", "task_started", "run_finished"]);
}

#[test]
fn the_last_reporter_to_go_finishes_the_sinks() {
    let buffer = Buffer::default();
    let reporter = Reporter::new(vec![Box::new(Plain::new(buffer.clone(), Detail::default()))]);
    let clone = reporter.clone();
    clone.emit(warning("one"));
    drop(reporter);
    clone.emit(warning("two"));
    drop(clone);
    let text = buffer.text();
    assert!(text.contains("warning: one\n") && text.ends_with("warning: two\n"), "{text}");
}

#[test]
fn a_closed_pipe_ends_nothing() {
    let (mut reader, writer) = io::pipe().unwrap();
    let log = Buffer::default();
    let reporter = Reporter::new(vec![
        Box::new(JsonLines::new(writer)),
        Box::new(Plain::new(Broken(io::ErrorKind::BrokenPipe), Detail::default())),
        Box::new(JsonLines::new(log.clone())),
    ]);
    reporter.emit(run_started(&["node01"]));
    let mut first = [0; 9];
    reader.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"{\"v\":1,\"t");
    drop(reader);
    for _ in 0..100 {
        reporter.emit(started("node01", "start"));
    }
    reporter.emit(done());
    reporter.finish();
    let events = events_in(&log.text());
    assert_eq!(events.len(), 102);
    assert!(!events.contains(&"warning".to_string()));
}

#[test]
fn any_other_failure_is_told_once_to_the_other_sinks() {
    let (before, after) = (Buffer::default(), Buffer::default());
    let reporter = Reporter::new(vec![
        Box::new(JsonLines::new(before.clone())),
        Box::new(JsonLines::new(Broken(io::ErrorKind::StorageFull))),
        Box::new(JsonLines::new(after.clone())),
    ]);
    reporter.emit(run_started(&["node01"]));
    reporter.emit(done());
    reporter.finish();
    assert_eq!(events_in(&before.text()), ["run_started", "warning", "run_finished"]);
    assert_eq!(events_in(&after.text()), ["warning", "run_started", "run_finished"]);
    assert!(after.text().contains("cannot write to stdout: no storage space"), "{}", after.text());
}

#[test]
fn a_failure_at_the_end_does_not_follow_the_end() {
    let (before, after) = (Buffer::default(), Buffer::default());
    let reporter = Reporter::new(vec![
        Box::new(JsonLines::new(before.clone())),
        Box::new(JsonLines::new(Broken(io::ErrorKind::StorageFull))),
        Box::new(JsonLines::new(after.clone())),
    ]);
    reporter.emit(done());
    reporter.finish();
    assert_eq!(events_in(&before.text()), ["run_finished"]);
    assert_eq!(events_in(&after.text()), ["warning", "run_finished"]);
}

/// A sink like a terminal that was stopped with Ctrl-S.
struct Stopped(Arc<Mutex<Vec<Event>>>, Arc<Mutex<()>>);

impl Sink for Stopped {
    fn event(&mut self, _: OffsetDateTime, event: &Event) -> Result<(), ReportError> {
        let _go = self.1.lock().unwrap();
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

#[test]
fn a_stopped_terminal_holds_nobody_up_and_loses_only_progress() {
    let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(())));
    let reporter = Reporter::new(vec![Box::new(Stopped(Arc::clone(&seen), Arc::clone(&gate)))]);
    let stop = gate.lock().unwrap();
    let before = Instant::now();
    for number in 0..20_000 {
        reporter.emit(progress("node01", "start", "uploading", Some((number, 20_000))));
    }
    for _ in 0..50 {
        reporter.emit(finished("node01", "start", Outcome::Ok, 0.0));
    }
    assert!(before.elapsed() < Duration::from_secs(5));
    drop(stop);
    reporter.finish();
    let seen = seen.lock().unwrap();
    let endings = seen.iter().filter(|event| matches!(event, Event::TaskFinished { .. })).count();
    assert_eq!(endings, 50);
    assert!(seen.len() < 2_000, "{}", seen.len());
}

#[test]
fn the_run_log_is_private_and_leaves_the_steps_out() {
    let state = tempfile::tempdir().unwrap();
    let path = run_log_path(state.path(), "prod", "deploy", datetime!(2026-11-22 10:14:30.5 UTC), 42);
    assert_eq!(
        path.strip_prefix(state.path()).unwrap(),
        Path::new("etcd-ha/prod/runs/20261122T101430.500Z-deploy-42.jsonl")
    );
    let reporter = Reporter::new(vec![Box::new(RunLog::create(path.clone()).unwrap())]);
    reporter.emit(run_started(&["node01", "node02"]));
    for host in ["node01", "node02"] {
        reporter.emit(started(host, "stage_release"));
        for done in 0..=100 {
            reporter.emit(progress(host, "stage_release", "uploading", Some((done, 100))));
        }
    }
    reporter.emit(finished("node01", "stage_release", Outcome::Ok, 1.0));
    reporter.emit(done());
    reporter.finish();

    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    for folder in path.ancestors().skip(1).take(3) {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        events_in(&text),
        [
            "run_started",
            "task_started",
            "task_started",
            "task_progress",
            "task_finished",
            "task_progress",
            "run_finished",
        ]
    );
    assert_eq!(text.matches("\"done\":100").count(), 2);
    // Another run never writes into the same file.
    assert!(RunLog::create(path).is_err());
}

#[test]
fn a_state_folder_that_cannot_be_written_is_a_warning() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("etcd-ha"), "a file in the way").unwrap();
    let path = run_log_path(state.path(), "prod", "deploy", OffsetDateTime::UNIX_EPOCH, 1);
    let Err(error) = RunLog::create(path) else {
        panic!("a file was made inside a file");
    };
    let event = Event::from(error);
    let Event::Warning { host: None, message } = &event else {
        panic!("{event:?}");
    };
    assert!(message.starts_with("cannot write the run log `"), "{message}");
    assert!(message.contains("etcd-ha/prod/runs`: "), "{message}");
}

/// Runs only as a child of the test below, which kills it.
#[test]
#[ignore = "the child of another test"]
fn logs_until_killed() {
    let Some(path) = std::env::var_os("ETCD_HA_TEST_RUN_LOG") else {
        return;
    };
    let reporter = Reporter::new(vec![Box::new(RunLog::create(path.into()).unwrap())]);
    // Should the parent be killed first, this must not fill the disk.
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        reporter.emit(finished("node01", "start", changed(&["x".repeat(5000).as_str()]), 1.0));
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_killed_run_leaves_whole_lines() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("run.jsonl");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "report::logs_until_killed"])
        .env("ETCD_HA_TEST_RUN_LOG", &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let size = || path.metadata().map(|meta| meta.len()).unwrap_or_default();
    while size() < 200_000 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    // The kernel may break off the last write between two pages.
    let whole = &text[..text.rfind('\n').unwrap() + 1];
    assert!(text.len() - whole.len() < 6000);
    assert!(events_in(whole).len() >= 39);
}

#[test]
fn plain_lines_have_no_colour_and_no_tricks() {
    let buffer = Buffer::default();
    let reporter = Reporter::new(vec![Box::new(Plain::new(buffer.clone(), Detail::default()))]);
    reporter.emit(play("\x1b[31mStage\x1b[0m", "parallel", &["node01", "node02"]));
    reporter.emit(finished("node01", "start", changed(&["\x1b[2Jall\rgone"]), 1.0));
    reporter.emit(run_finished(ExitStatus::Failed, "1 of 2 hosts failed\n", vec![], 4.2));
    reporter.finish();
    let text = buffer.text();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let lines: Vec<&str> = text.lines().map(|line| line.split_once("Z ").map_or(line, |(_, rest)| rest)).collect();
    assert_eq!(
        lines,
        [
            "play: Stage (2 hosts, parallel)",
            "node01 start: changed: all\u{fffd}gone (1.0 s)",
            "failed: 1 of 2 hosts failed (4.2 s)",
        ]
    );
}

#[test]
fn output_takes_a_closed_pipe_for_an_end_not_for_an_error() {
    let (reader, writer) = io::pipe().unwrap();
    let output = Output::new(writer, Broken(io::ErrorKind::StorageFull));
    output.out("one\ntwo\n").unwrap();
    let mut lines = io::BufReader::new(reader).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    drop(lines);
    output.out("three\n").unwrap();
    output.err("nobody hears this\n");

    let full = Output::new(Broken(io::ErrorKind::StorageFull), Buffer::default());
    let error = full.out("data").unwrap_err();
    assert_eq!(error.to_string(), "cannot write to stdout");
}

#[test]
fn folders_of_the_user_keep_their_mode() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("etcd-ha");
    std::fs::DirBuilder::new().mode(0o755).create(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = run_log_path(state.path(), "prod", "health", OffsetDateTime::UNIX_EPOCH, 1);
    RunLog::create(path).unwrap();
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(folder.join("prod").metadata().unwrap().permissions().mode() & 0o777, 0o700);
}
