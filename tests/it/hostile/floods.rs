//! Too much, too little, and the wrong thing in the place of an answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;

use super::against;
use super::host::{Asked, Attack, FRESH, Say};

const KIB: usize = 1 << 10;

/// What comes in the place of an answer.
type Answer = fn(&Asked) -> Vec<Say>;

fn flood(bytes: &[u8]) -> Say {
    Say::Flood(bytes.repeat(32 * KIB / bytes.len()), 0)
}

/// Answers that are none, whatever was asked.
const ROWS: &[(&str, Answer)] = &[
    ("without end, without a line end", |_| vec![flood(b"x")]),
    ("line ends without end", |_| vec![flood(b"\n")]),
    ("NULs without end", |_| vec![flood(b"\0")]),
    ("lines without end", |asked| asked.begun(flood(b"stat /opt/etcd|directory|755|root|root|1|1|'/opt/etcd'\n"))),
    ("values without end", |asked| asked.begun(flood(b"missing x\nodd y\nvariable z\n"))),
    ("a value without end", |asked| asked.begun(flood(b"journal AAAA"))),
    ("stderr without end", |asked| asked.begun(Say::Flood(b"oops\n".repeat(6 * KIB), 1))),
    ("a stream that nobody knows, without end", |asked| asked.begun(Say::Flood(vec![b'x'; 32 * KIB], 7))),
    ("the marker without end", |asked| vec![flood(format!("{}\n", asked.marker()).as_bytes())]),
    ("more after the end, without end", |asked| {
        let mut said = asked.answer(FRESH.as_bytes(), 0);
        said.pop();
        said.push(flood(b"more\n"));
        said
    }),
    ("the script again", |asked| vec![Say::Out(asked.script.clone().into_bytes()), Say::Exit(0)]),
    ("the command line again", |asked| vec![Say::Out(asked.command.clone().into_bytes()), Say::Exit(0)]),
    ("the marker again and again", |asked| {
        vec![Say::Out(format!("{}\n", asked.marker()).repeat(9).into_bytes()), Say::Exit(0)]
    }),
    ("an end before the beginning", |asked| {
        vec![Say::Out(format!("\n{} 0\n", asked.marker()).into_bytes()), Say::Exit(0)]
    }),
    ("nothing, and done", |_| vec![Say::Exit(0)]),
    ("nothing, and gone", |_| vec![Say::Close]),
    ("half of it, and gone", |asked| asked.begun(Say::Close)),
    ("a status beyond all numbers", |asked| {
        let marker = asked.marker();
        vec![Say::Out(format!("{marker}\nx\n{marker} 99999999999999999999999\n").into_bytes()), Say::Exit(0)]
    }),
    ("a status below all numbers", |asked| asked.answer(b"x", i64::MIN)),
    ("no status", |asked| {
        let marker = asked.marker();
        vec![Say::Out(format!("{marker}\nx\n{marker} done\n").into_bytes()), Say::Exit(u32::MAX)]
    }),
    ("a failure and a success", |asked| {
        let marker = asked.marker();
        vec![Say::Out(format!("{marker}\nx\n{marker} 1\nx\n{marker} 0\n").into_bytes()), Say::Exit(0)]
    }),
    ("an error as long as may be", |asked| {
        let part = Say::Err("\u{1b}[2Joops \u{202e}\n".repeat(2 * KIB).into_bytes());
        [vec![part; 100], asked.answer(b"", 7)].concat()
    }),
];

/// The commands that wait for an answer to a script. `exec` passes on whatever comes, for as long as it may.
const COMMANDS: &[&str] = &[
    "status -i prod.yaml",
    "explain -i prod.yaml",
    "check -i prod.yaml --no-disk",
    "history -i prod.yaml --hosts",
    "plan -i prod.yaml",
    "ctl -i prod.yaml -- version",
    "exec -i prod.yaml --timeout 1 -o json -- id",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_is_an_error_in_time_and_within_bounds() {
    // Some commands a row: all of them over two or three rows.
    let cases = ROWS
        .iter()
        .enumerate()
        .flat_map(|(at, row)| (0..3).map(move |n| (row, COMMANDS[(3 * at + n) % COMMANDS.len()])));
    let run = |((name, answer), line): (&'static (&'static str, Answer), &'static str)| async move {
        let mut wrong = Vec::new();
        let (ended, host) = against(Attack::answer(answer), line).await;
        let row = format!("{name}: {line}");
        wrong.extend(ended.wrong(&row));
        let passes_on = line.starts_with("exec");
        if !passes_on && ended.status == Some(0) {
            wrong.push(format!("{row}: it is taken for good: {}", ended.said()));
        }
        if !passes_on && host.got.sent.load(Ordering::Relaxed) > 64 << 20 {
            wrong.push(format!("{row}: {} MiB were taken", host.got.sent.load(Ordering::Relaxed) >> 20));
        }
        if ended.took > Duration::from_secs(10) {
            wrong.push(format!("{row}: {:?}", ended.took));
        }
        wrong
    };
    let wrong: Vec<Vec<String>> = futures::stream::iter(cases).map(run).buffer_unordered(4).collect().await;
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
}

/// Of several hosts, whose output is kept until its turn comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_says_without_end_is_cut_off_when_its_time_is_up() {
    use super::{Desk, Hostile};
    let attack = || Attack::answer(|asked| asked.begun_in_time(flood(b"y")));
    let hosts = [Hostile::start(attack()).await, Hostile::start(attack()).await];
    let known: String = hosts.iter().map(Hostile::known).collect();
    let desk = Desk::new(&[hosts[0].address, hosts[1].address], &known, "false");
    let ended = desk.run("exec -i prod.yaml --timeout 2 -- yes").await;
    assert_eq!(ended.unbounded("exec"), [""; 0]);
    assert_eq!(ended.status, Some(124));
    assert!(ended.stderr.contains("stdout is cut off after 4.0 MiB"), "{}", ended.stderr);
    assert!(ended.stdout.len() < 9 << 20, "{}", ended.stdout.len());
    let sent: u64 = hosts.iter().map(|host| host.got.sent.load(Ordering::Relaxed)).sum();
    assert!(sent > 16 << 20, "the hosts sent no more than {} MiB", sent >> 20);
}

/// A journal of which so many entries are wanted ends there, whoever goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_without_end_ends_where_it_was_asked_to() {
    let entry = b"{\"__CURSOR\":\"s\",\"__REALTIME_TIMESTAMP\":\"1795661606000566\",\"MESSAGE\":\"hello\"}\n";
    let (ended, _host) =
        against(Attack::answer(|asked| asked.begun_in_time(flood(entry))), "logs -i prod.yaml -n 300").await;
    assert_eq!(ended.wrong("logs"), [""; 0]);
    assert_eq!(ended.status, Some(1), "{}", ended.said());
    assert_eq!(String::from_utf8_lossy(&ended.stdout).lines().count(), 300);
    assert!(ended.stderr.contains("it gives more entries than it was asked for"), "{}", ended.stderr);
}
