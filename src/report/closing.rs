//! The end of a run in words: the recap, a row a host, and the line that says how it ended.

use super::human::{count, human_seconds};
use super::text::{cut, one_line, pad, pad_left, width};
use super::{Event, HostRecap, Look, Style};
use crate::error::ExitStatus;
use std::fmt::Display;

/// How an ending is called, and whether it is a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub word: &'static str,
    pub mood: Mood,
}

/// What the user should feel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Attention,
    Bad,
}

/// The word for each exit code.
pub(super) fn ending(exit: ExitStatus) -> Ending {
    let (word, mood) = match exit {
        ExitStatus::Done => ("done", Mood::Good),
        ExitStatus::Pending => ("changes pending", Mood::Attention),
        ExitStatus::Interrupted => ("interrupted", Mood::Attention),
        ExitStatus::Command(0) => ("done", Mood::Good),
        ExitStatus::Failed | ExitStatus::Usage | ExitStatus::Command(_) => ("failed", Mood::Bad),
        ExitStatus::Unhealthy => ("unhealthy", Mood::Bad),
        ExitStatus::Refused => ("refused", Mood::Bad),
        ExitStatus::Locked => ("locked", Mood::Bad),
        ExitStatus::RolledBack => ("rolled back", Mood::Bad),
    };
    Ending { word, mood }
}

/// `done: cluster prod is healthy, 3 of 3 members (4.2 s)`
pub(super) fn last_line(exit: ExitStatus, message: &str, seconds: f64) -> String {
    let (word, message) = (ending(exit).word, one_line(message));
    format!("{word}: {message} ({})", human_seconds(seconds))
}

/// [`last_line`] with its sign and colour.
pub(super) fn last_line_for_terminal(look: Look, exit: ExitStatus, message: &str, seconds: f64) -> String {
    let Ending { word, mood } = ending(exit);
    let symbols = look.symbols;
    let head = |sign: &str| format!("{sign} {word}:");
    let head = match mood {
        Mood::Good => look.style.good(head(symbols.done)),
        Mood::Attention => look.style.warn(head(symbols.attention)),
        Mood::Bad => look.style.bad(head(symbols.failed)),
    };
    let span = look.style.dim(format!("({})", human_seconds(seconds)));
    format!("{head} {} {span}", one_line(message))
}

/// `probe: 412 writes, 0 failed, 1 retried, longest gap 84 ms (node02 restart), 1 leader change`
pub(super) fn probe_line(event: &Event) -> Option<String> {
    let Event::Probed { writes, failed, retried, longest_gap, during, leader_changes } = event else { return None };
    if *writes == 0 {
        return Some("probe: no member took a write".to_owned());
    }
    let gap = match *longest_gap {
        // The tenth of a second that people read elsewhere is too coarse here.
        gap if gap < 0.9995 => format!("{:.0} ms", gap * 1000.0),
        gap => human_seconds(gap),
    };
    let during = during.as_ref().map(|during| format!(" ({})", one_line(during))).unwrap_or_default();
    let (writes, changes) = (count(*writes, "write"), count(*leader_changes, "leader change"));
    Some(format!("probe: {writes}, {failed} failed, {retried} retried, longest gap {gap}{during}, {changes}"))
}

/// A row a host: `node01   ok 4  changed 3  failed 0   2.1 s`. Where that is wider than `columns`,
/// names are cut, and on the narrowest screens the time is left out.
pub(super) fn recap_rows(look: Look, hosts: &[HostRecap], columns: usize) -> Vec<String> {
    let times: Vec<String> = hosts.iter().map(|host| human_seconds(host.seconds)).collect();
    let digits = |number: fn(&HostRecap) -> usize| {
        let widths = hosts.iter().map(|host| number(host).to_string().len());
        widths.max().unwrap_or(1)
    };
    let (ok, changed, failed) = (digits(|h| h.ok), digits(|h| h.changed), digits(|h| h.failed));
    let time = times.iter().map(|time| width(time)).max().unwrap_or_default();
    let names: Vec<String> = hosts.iter().map(|host| one_line(&host.host)).collect();
    let widest = names.iter().map(|name| width(name)).max().unwrap_or_default();

    let counts = "   ok   changed   failed ".len() + ok + changed + failed;
    let room = columns.saturating_sub(counts);
    let timed = room >= widest.min(8) + 3 + time;
    let name_columns = widest.min(if timed { room - 3 - time } else { room });

    let style = look.style;
    let mut rows = Vec::with_capacity(hosts.len());
    for ((host, name), seconds) in hosts.iter().zip(&names).zip(&times) {
        let name = pad(&cut(name, name_columns, look.symbols.cut), name_columns);
        let ok = weigh(style, host.ok, Style::good, "ok", ok);
        let changed = weigh(style, host.changed, Style::warn, "changed", changed);
        let failed = weigh(style, host.failed, Style::bad, "failed", failed);
        let mut row = format!("{name}   {ok}  {changed}  {failed}");
        if timed {
            row.push_str(&format!("   {}", style.dim(pad_left(seconds, time))));
        }
        rows.push(row);
    }
    rows
}

/// `changed 3` in its colour, or dim where there is nothing to count.
fn weigh(
    style: Style,
    number: usize,
    colour: fn(Style, String) -> String,
    word: impl Display,
    digits: usize,
) -> String {
    let text = format!("{word} {number:>digits$}");
    if number == 0 { style.dim(text) } else { colour(style, text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Symbols;

    const BARE: Look = Look { style: Style::new(false), symbols: Symbols::UNICODE };

    fn host(host: &str, ok: usize, changed: usize, failed: usize, seconds: f64) -> HostRecap {
        HostRecap { host: host.into(), ok, changed, failed, seconds }
    }

    #[test]
    fn what_a_client_saw() {
        let probed = |writes, failed, retried, longest_gap, during: Option<&str>, leader_changes| {
            let during = during.map(ToOwned::to_owned);
            Event::Probed { writes, failed, retried, longest_gap, during, leader_changes }
        };
        for (event, want) in [
            (
                probed(412, 0, 1, 0.0841, Some("node02 restart"), 1),
                "probe: 412 writes, 0 failed, 1 retried, longest gap 84 ms (node02 restart), 1 leader change",
            ),
            (
                probed(1, 0, 0, 0.507, None, 0),
                "probe: 1 write, 0 failed, 0 retried, longest gap 507 ms, 0 leader changes",
            ),
            (
                probed(300, 12, 13, 12.5, Some("stop\non 2 hosts"), 2),
                "probe: 300 writes, 12 failed, 13 retried, longest gap 13 s (stop / on 2 hosts), 2 leader changes",
            ),
            (
                probed(9, 1, 1, 0.9995, None, 0),
                "probe: 9 writes, 1 failed, 1 retried, longest gap 1.0 s, 0 leader changes",
            ),
            (probed(0, 0, 0, 0.0, None, 0), "probe: no member took a write"),
        ] {
            assert_eq!(probe_line(&event).as_deref(), Some(want));
        }
    }

    #[test]
    fn rows_line_up() {
        let hosts = [host("node01", 4, 13, 0, 2.1), host("節点二", 4, 3, 1, 75.0), host("controller", 10, 0, 0, 0.02)];
        assert_eq!(
            recap_rows(BARE, &hosts, 80),
            [
                "node01       ok  4  changed 13  failed 0        2.1 s",
                "節点二       ok  4  changed  3  failed 1   1 min 15 s",
                "controller   ok 10  changed  0  failed 0        20 ms",
            ]
        );
        // 53 columns hold all of it; below, names give way first and the time at last.
        assert_eq!(
            recap_rows(BARE, &hosts, 51),
            [
                "node01     ok  4  changed 13  failed 0        2.1 s",
                "節点二     ok  4  changed  3  failed 1   1 min 15 s",
                "control…   ok 10  changed  0  failed 0        20 ms",
            ]
        );
        assert_eq!(
            recap_rows(BARE, &hosts, 40),
            [
                "node01       ok  4  changed 13  failed 0",
                "節点二       ok  4  changed  3  failed 1",
                "controller   ok 10  changed  0  failed 0",
            ]
        );
        assert!(recap_rows(BARE, &[], 80).is_empty());
    }

    #[test]
    fn colour_follows_the_counts() {
        let look = Look { style: Style::new(true), ..BARE };
        assert_eq!(
            recap_rows(look, &[host("a", 1, 0, 2, 1.0)], 80),
            ["a   \x1b[32mok 1\x1b[0m  \x1b[2mchanged 0\x1b[0m  \x1b[31mfailed 2\x1b[0m   \x1b[2m1.0 s\x1b[0m"]
        );
    }

    #[test]
    fn every_exit_has_its_last_line() {
        let cases = [
            (ExitStatus::Done, "✓ done: m (4.2 s)"),
            (ExitStatus::Pending, "! changes pending: m (4.2 s)"),
            (ExitStatus::Interrupted, "! interrupted: m (4.2 s)"),
            (ExitStatus::Failed, "✗ failed: m (4.2 s)"),
            (ExitStatus::Usage, "✗ failed: m (4.2 s)"),
            (ExitStatus::Unhealthy, "✗ unhealthy: m (4.2 s)"),
            (ExitStatus::Refused, "✗ refused: m (4.2 s)"),
            (ExitStatus::Locked, "✗ locked: m (4.2 s)"),
            (ExitStatus::RolledBack, "✗ rolled back: m (4.2 s)"),
        ];
        for (exit, expected) in cases {
            assert_eq!(last_line_for_terminal(BARE, exit, "m\n", 4.2), expected);
            let plain = expected.split_once(' ').map(|(_, rest)| rest);
            assert_eq!(Some(last_line(exit, "m", 4.2).as_str()), plain);
        }
    }
}
