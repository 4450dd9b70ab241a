//! What hosts say is shown without what could paint a terminal, and becomes no part of a command to be typed.

use data_encoding::BASE64;
use futures::StreamExt as _;
use time::OffsetDateTime;

use super::host::{Asked, Attack, FRESH, RUNNING};
use super::{ACTING, READ_ONLY, against};

/// What would take over a terminal, and a shell if it came to run there.
const POISON: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\r\u{8}';touch ~/owned;$(touch ~/owned)`touch ~/owned`\"&|<>\\";

/// How the value of a line is spoilt.
type Spoil = fn(&str) -> String;

const SPOILS: &[(&str, Spoil)] = &[
    ("poison behind", |value| format!("{value}{POISON}")),
    ("poison instead", |_| POISON.to_owned()),
    ("nothing", |_| String::new()),
    ("numbers beyond all", |value| digits(value, "99999999999999999999999999")),
    ("numbers below all", |value| digits(value, "-1")),
    ("no numbers", |value| digits(value, "NaN")),
    ("out of the folder", |value| value.replace('/', "/../../../../../../tmp/owned/")),
];

fn digits(value: &str, with: &str) -> String {
    let mut spoilt = String::new();
    let mut inside = false;
    for c in value.chars() {
        if !c.is_ascii_digit() {
            spoilt.push(c);
        } else if !inside {
            spoilt.push_str(with);
        }
        inside = c.is_ascii_digit();
    }
    spoilt
}

/// A look of which every line, or those with this key, have a spoilt value; what is in Base64 is spoilt inside.
fn spoilt(look: &str, only: Option<&str>, spoil: Spoil) -> String {
    let mut text = String::new();
    for line in look.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        if only.is_some_and(|only| only != key) || (only.is_none() && key == "clock") {
            text += &format!("{line}\n");
            continue;
        }
        let inside = matches!(key, "unit-text" | "environment" | "wal" | "journal" | "certificate");
        let value = if inside {
            let bytes = BASE64.decode(value.as_bytes()).unwrap();
            BASE64.encode(spoil(&String::from_utf8_lossy(&bytes)).as_bytes())
        } else if let (true, Some((name, value))) = (key == "unit", value.split_once('=')) {
            format!("{name}={}", spoil(value))
        } else {
            spoil(value)
        };
        text += &format!("{key} {value}\n");
    }
    text
}

/// Lines that no host of the recordings has, with bait in all of them.
fn more() -> String {
    let inside = BASE64
        .encode(format!("etcd.service: {POISON}\n{POISON}\n{{\"level\":\"fatal\",\"msg\":\"{POISON}\"}}").as_bytes());
    format!(
        "missing {POISON}\nread-only {POISON}\nodd /etc/systemd/system/{POISON}\nprevious {POISON}\ntaken-back {POISON}\n\
         previous-is newer\nunconfirmed yes\ngoing-back yes\nnext present\nvariable ETCD_{POISON}\njournal {inside}\n\
         unit DropInPaths=/etc/{POISON}\nunit Result={POISON}\nrelease 3.5.16{POISON} x\nrelease ../../../tmp/owned {POISON}\n"
    )
}

/// The answer to what is asked beside the look: journals, notes and measurements with bait.
fn beside(asked: &Asked) -> Vec<u8> {
    let quoted = serde_json::Value::from(POISON).to_string();
    let script = &asked.script;
    if script.contains("echo taken") {
        return b"taken\n".to_vec();
    }
    if script.contains("echo unknown") {
        let holder = format!("{{\"run\":{quoted},\"by\":{quoted},\"command\":{quoted},\"from\":{quoted}}}");
        return format!("held 1 2 {holder}\n").into_bytes();
    }
    if script.contains("ExecMainStartTimestampMonotonic") {
        let mut journal = String::new();
        for line in RECORDED {
            // What was recorded of real members, so that every remedy is gone through; bait in every value.
            for line in line.lines().filter(|line| !line.starts_with('#')) {
                let line = line.replace("\",\"", &format!("{},\",\"", &quoted[1..quoted.len() - 1]));
                journal += &format!("1000.5 etcd[7]: {line}\n1001.5 etcd[7]: {line} {POISON}\n");
            }
        }
        let journal = BASE64.encode(journal.as_bytes());
        return format!(
            "unit ActiveState=failed{POISON}\njournal {journal}\ndata-empty yes\nholder 094B 77 {POISON}\nholder 094C 78 {POISON}\n\
             size 99999999999999999999\nuptime NaN\nclock 1002\n"
        )
        .into_bytes();
    }
    if script.contains("journalctl -q -a") {
        let entry = |message: &str| {
            format!(
                "{{\"__CURSOR\":{quoted},\"__REALTIME_TIMESTAMP\":\"-9223372036854775808\",\"SYSLOG_IDENTIFIER\":{quoted},\"MESSAGE\":{message}}}\n"
            )
        };
        let inner = serde_json::Value::from(format!(
            "{{\"level\":\"warn\",\"msg\":{quoted},{quoted}:{quoted},\"stacktrace\":{quoted}}}"
        ));
        return format!("{}{}{}{POISON}\n", entry(&quoted), entry(&inner.to_string()), entry("[27,91,50,74]"))
            .into_bytes();
    }
    if script.contains("tail -c") {
        return format!(
            "{{\"time\":\"2026-11-22T10:14:30Z\",\"run\":{quoted},\"by\":{quoted},\"command\":{quoted},\"version\":{quoted},\"exit\":0,\"result\":{quoted},\"from\":{quoted}}}\n"
        )
        .into_bytes();
    }
    format!(
        "memory 99999999999999999999\nopen-files {POISON}\nzone {POISON}\nmount /var/lib/etcd {POISON} {POISON} {POISON}\n\
         8192 bytes copied, 1e308 s\n8192 bytes copied, inf s\n{POISON}\n"
    )
    .into_bytes()
}

/// What real members said of what was wrong with them.
const RECORDED: &[&str] = &[
    include_str!("../../../src/etcd/signature/recorded/port-taken.txt"),
    include_str!("../../../src/etcd/signature/recorded/wrong-name.txt"),
    include_str!("../../../src/etcd/signature/recorded/no-permission.txt"),
    include_str!("../../../src/etcd/signature/recorded/removed.txt"),
];

fn now() -> String {
    format!("clock {}\n", OffsetDateTime::now_utc().unix_timestamp())
}

/// One case: what it is called, what the host answers to a look, and what is typed.
struct Case {
    name: String,
    look: String,
    line: &'static str,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (base, look) in [("fresh", FRESH), ("running", RUNNING)] {
        for (at, (name, spoil)) in SPOILS.iter().enumerate() {
            let whole = format!("{}{}{}", spoilt(look, None, *spoil), more(), now());
            // All commands where it is new, and each in its turn elsewhere.
            let all = base == "running" && *name == SPOILS[0].0;
            let lines = READ_ONLY.iter().enumerate().filter(|(number, _)| all || (number + at) % 4 == 0);
            let lines = lines.map(|(_, line)| *line).chain(ACTING.iter().copied().filter(|_| at % 2 == 0));
            cases.extend(lines.map(|line| Case { name: format!("{base}, {name}"), look: whole.clone(), line }));
        }
    }
    // One value at a time, so that the others lead further.
    let mut keys: Vec<&str> = RUNNING.lines().map(|line| line.split_once(' ').map_or(line, |(key, _)| key)).collect();
    keys.sort_unstable();
    keys.dedup();
    for (at, key) in keys.into_iter().enumerate() {
        let (name, spoil) = SPOILS[at % 2];
        let look = format!("{}{}{}", spoilt(RUNNING, Some(key), spoil), more(), now());
        let line = ["explain -i prod.yaml -o json", "plan -i prod.yaml"][at / 2 % 2];
        cases.push(Case { name: format!("{key}, {name}"), look, line });
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hosts_say_paints_nothing_and_is_never_typed() {
    let cases = cases();
    let run = |case: Case| async move {
        let look = case.look.clone();
        let attack = Attack::answer(move |asked| asked.good(&look, &beside(asked)));
        let (ended, host) = against(attack, case.line).await;
        let row = format!("{}: {}", case.name, case.line);
        let mut wrong = ended.wrong(&row);
        assert!(
            host.got.commands.load(std::sync::atomic::Ordering::SeqCst) > 0 || !case.line.starts_with("status"),
            "{row}"
        );
        // What is said to be typed is ours alone.
        let typed = ended.said();
        let typed = typed.lines().filter(|line| line.contains("\"type\"") || line.trim_start().starts_with("etcd-ha "));
        for line in typed {
            let typed: Vec<&str> = match line.split_once("\"type\":\"") {
                Some((_, rest)) => rest.split("\"type\":\"").map(|rest| rest.split('"').next().unwrap()).collect(),
                None => vec![line],
            };
            if typed.iter().any(|typed| typed.contains("owned")) {
                wrong.push(format!("{row}: to be typed: {typed:?}"));
            }
        }
        (row, ended, wrong)
    };
    let ran: Vec<_> = futures::stream::iter(cases).map(run).buffer_unordered(4).collect().await;
    let wrong: Vec<&String> = ran.iter().flat_map(|(_, _, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
    // The bait was taken: hosts' words do come on the screen, only tamed.
    let shown = ran.iter().filter(|(_, ended, _)| ended.said().contains("owned")).count();
    assert!(shown > 10, "{shown} of {} show anything of it", ran.len());
    assert!(ran.iter().any(|(row, ended, _)| row.ends_with("logs -i prod.yaml") && ended.said().contains("owned")));
}
