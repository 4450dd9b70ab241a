use super::*;
use crate::report::End;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

fn run(number: usize, command: &str, end: Option<(ExitStatus, &str)>) -> (LogFile, PastRun, bool) {
    let at = NOW - time::Duration::hours(10 - i64::try_from(number).unwrap());
    let log = LogFile { number, path: "/s/x.jsonl".into(), bytes: 2048, at, command: command.into(), pid: 7 };
    let end = end.map(|(exit, message)| End { exit, message: message.into(), seconds: 4.2 });
    let last = Some(("node02".to_owned(), "stage_release".to_owned()));
    let past = PastRun { command: command.into(), at, by: None, changes: number, end, last, unreadable: 0 };
    (log, past, false)
}

fn some_runs() -> Vec<(LogFile, PastRun, bool)> {
    let mut runs = vec![
        run(1, "deploy", Some((ExitStatus::Done, "cluster prod is healthy, 3 of 3 members, 53 changes"))),
        run(2, "upgrade", None),
        run(3, "stop", Some((ExitStatus::Refused, "it would cost quorum"))),
        run(4, "restart", None),
        run(5, "plan", None),
    ];
    runs[0].1.by = Some("ada@desk".into());
    runs[3].2 = true;
    runs[4].1.last = None;
    runs
}

#[test]
fn the_list_has_the_newest_first() {
    let text = as_text(&some_runs(), "prod", Path::new("/s/runs"), NOW, None, Style::new(false));
    // The moment is in the zone of whoever runs this.
    let lines: Vec<String> = text
        .lines()
        .map(|line| match (line.get(..3), line.get(29..)) {
            (Some(number), Some(rest)) if line.contains("ago") => format!("{number}{rest}"),
            _ => line.to_owned(),
        })
        .collect();
    assert_eq!(
        lines,
        [
            "N  WHEN                        AGE      COMMAND  BY        CHANGES  TOOK   RESULT",
            "5    5 h ago  plan     -         5        -      broken off before anything was begun",
            "4    6 h ago  restart  -         4        -      still runs",
            "3    7 h ago  stop     -         3        4.2 s  refused: it would cost quorum",
            "2    8 h ago  upgrade  -         2        -      broken off after `stage_release` on node02",
            "1    9 h ago  deploy   ada@desk  1        4.2 s  done: cluster prod is healthy, 3 of 3 members, 53 changes",
            "5 runs, 10.0 KiB in /s/runs; nothing there is ever deleted",
        ]
    );
    let none = as_text(&[], "prod", Path::new("/s/runs"), NOW, None, Style::new(false));
    assert_eq!(none, "no run of cluster prod was logged on this machine (in /s/runs)\n");
}

#[test]
fn on_a_terminal_no_line_is_longer_than_it() {
    for columns in [80, 200] {
        let text = as_text(&some_runs(), "prod", Path::new("/s"), NOW, Some(columns), Style::new(true));
        assert!(text.lines().all(|line| width(line) <= columns), "{text}");
        // How it ended is what one looks for: on a narrow terminal it stands below.
        assert_eq!(text.contains("\n   broken off after `stage_release` on node02\n"), columns == 80, "{text}");
    }
}

#[test]
fn a_list_for_programs() {
    let text = as_json(&some_runs()[1..2]);
    assert_eq!(
        text,
        "{\"v\":1,\"run\":2,\"time\":\"2026-11-22T04:00:00Z\",\"command\":\"upgrade\",\"by\":null,\"changes\":2,\
         \"exit\":null,\"message\":null,\"seconds\":null,\"goes_on\":false,\"last_host\":\"node02\",\
         \"last_task\":\"stage_release\",\"unreadable_lines\":0,\"log\":\"/s/x.jsonl\",\"bytes\":2048}\n"
    );
}
