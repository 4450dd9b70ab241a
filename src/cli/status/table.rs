//! The status as a table, and beneath it a line for everything that is not as it should be.

use crate::diagnosis::{ClusterStatus, Drift, MemberStatus, State};
use crate::etcd::health::Verdict;
use crate::report::{Style, human_seconds, pad, visible, width, wrap};
use time::OffsetDateTime;

/// Certificates that end within so many days are told of: the first `deploy` within this time renews them.
const SOON: i64 = 30;

/// Less free space than this is told of: a member writes files of 64 MB at once.
const LITTLE: u64 = 64 << 20;

/// A cell: its text, and what colours it.
type Cell = (String, fn(Style, &str) -> String);

/// The whole of it, for a terminal with so many columns.
pub(super) fn of(status: &ClusterStatus, wide: bool, style: Style, columns: usize) -> String {
    let paint: fn(Style, &str) -> String = match status.verdict {
        Some(Verdict::Healthy) => good,
        Some(Verdict::Degraded) | None => warn,
        Some(Verdict::Unhealthy) => bad,
    };
    let mut text = String::new();
    for (index, line) in wrap(&status.head(), columns).iter().enumerate() {
        text += if index > 0 { "  " } else { "" };
        text += &paint(style, line);
        text.push('\n');
    }
    text.push('\n');
    let heads: &[&str] = if wide {
        &[
            "MEMBER",
            "ID",
            "ENDPOINT",
            "ROLE",
            "STATE",
            "UNIT",
            "VERSION",
            "DB",
            "IN USE",
            "QUOTA",
            "DISK FREE",
            "TERM",
            "INDEX",
            "LAG",
            "ALARMS",
            "CERTS",
            "RTT",
            "DRIFT",
        ]
    } else {
        &["MEMBER", "ROLE", "STATE", "VERSION", "DB", "LAG", "CERTS", "RTT", "DRIFT"]
    };
    let mut rows: Vec<Vec<Cell>> = vec![heads.iter().map(|head| ((*head).to_owned(), dim as _)).collect()];
    rows.extend(status.members.iter().map(|one| if wide { wide_row(one, status.at) } else { row(one, status.at) }));
    let widths: Vec<usize> =
        (0..heads.len()).map(|column| rows.iter().map(|row| width(&row[column].0)).max().unwrap_or_default()).collect();
    for row in &rows {
        let last = row.len() - 1;
        let cells = row.iter().zip(&widths).enumerate().map(|(column, ((cell, paint), width))| {
            let filled = if column == last { cell.clone() } else { pad(cell, *width) };
            // Colour only the words, so that a cut line stays a line.
            filled.replacen(cell.as_str(), &paint(style, cell), usize::from(!cell.is_empty()))
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    let notes = notes(status);
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        for (index, line) in wrap(&note, columns.saturating_sub(2)).iter().enumerate() {
            text += if index > 0 { "  " } else { "" };
            text += line;
            text.push('\n');
        }
    }
    text
}

fn good(style: Style, text: &str) -> String {
    style.good(text)
}

fn warn(style: Style, text: &str) -> String {
    style.warn(text)
}

fn bad(style: Style, text: &str) -> String {
    style.bad(text)
}

fn dim(style: Style, text: &str) -> String {
    style.dim(text)
}

fn plain(_: Style, text: &str) -> String {
    text.to_owned()
}

fn name(member: &MemberStatus) -> String {
    match (visible(&member.name), member.id) {
        (name, _) if !name.is_empty() => name,
        (_, Some(id)) => id.to_string(),
        _ => "?".to_owned(),
    }
}

fn state(member: &MemberStatus) -> Cell {
    let paint: fn(Style, &str) -> String = match member.state {
        State::Healthy => good,
        State::Learner | State::Starting | State::NotDeployed | State::NotInInventory | State::NotAsked => warn,
        _ => bad,
    };
    (visible(member.state.name()), paint)
}

fn certificates(member: &MemberStatus, now: OffsetDateTime) -> Cell {
    match &member.ends {
        None => unknown(),
        Some((_, end)) => match (*end - now).whole_seconds() {
            ..0 => ("expired".to_owned(), bad),
            seconds if seconds < SOON * 86_400 => (left(seconds), warn),
            seconds => (left(seconds), plain),
        },
    }
}

/// Seconds as people read them of what is far away.
fn left(seconds: i64) -> String {
    match seconds {
        0..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn drift(member: &MemberStatus) -> Cell {
    match member.drift.as_deref() {
        None => unknown(),
        Some([]) => ("no".to_owned(), plain),
        Some(_) => ("yes".to_owned(), warn),
    }
}

fn unknown() -> Cell {
    ("-".to_owned(), plain)
}

fn some(text: Option<String>) -> Cell {
    text.map_or_else(unknown, |text| (visible(&text), plain))
}

/// The database's size; its quota makes it conspicuous from four fifths on.
fn size(member: &MemberStatus) -> Cell {
    let Some(report) = &member.report else { return unknown() };
    let size = report.status.db_size;
    let paint: fn(Style, &str) -> String = if size / 4 >= member.quota / 5 { warn } else { plain };
    (format!("{} of {}", bytes(size), bytes(member.quota)), paint)
}

/// Bytes in few columns: `24K`, `1.5G`.
fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes}B"),
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            if tenths >= 100 || tenths % 10 == 0 {
                format!("{}{name}", tenths / 10)
            } else {
                format!("{}.{}{name}", tenths / 10, tenths % 10)
            }
        }
    }
}

fn disk(member: &MemberStatus) -> Cell {
    match &member.free {
        None => unknown(),
        Some((free, _)) => (bytes(*free), if *free < LITTLE { bad } else { plain }),
    }
}

fn lag(member: &MemberStatus) -> Cell {
    some(member.lag.map(|lag| lag.to_string()))
}

fn round_trip(member: &MemberStatus) -> Cell {
    some(member.report.as_ref().map(|report| human_seconds(report.round_trip.as_secs_f64())))
}

fn version(member: &MemberStatus) -> Cell {
    some(member.report.as_ref().map(|report| report.status.version.clone()))
}

fn row(member: &MemberStatus, now: OffsetDateTime) -> Vec<Cell> {
    vec![
        (name(member), plain),
        (member.role.name().to_owned(), plain),
        state(member),
        version(member),
        size(member),
        lag(member),
        certificates(member, now),
        round_trip(member),
        drift(member),
    ]
}

fn wide_row(member: &MemberStatus, now: OffsetDateTime) -> Vec<Cell> {
    let said = member.report.as_ref().map(|report| &report.status);
    let alarms = if member.alarms.is_empty() { "-".to_owned() } else { member.alarms.join(",") };
    vec![
        (name(member), plain),
        some(member.id.map(|id| id.to_string())),
        some(member.endpoint.clone()),
        (member.role.name().to_owned(), plain),
        state(member),
        some(member.unit.as_ref().map(|unit| unit.split(',').next().unwrap_or_default().to_owned())),
        version(member),
        some(said.map(|said| bytes(said.db_size))),
        some(said.map(|said| bytes(said.db_in_use))),
        some(said.map(|_| bytes(member.quota))),
        disk(member),
        some(said.map(|said| said.term.to_string())),
        some(said.map(|said| said.raft_index.to_string())),
        lag(member),
        (alarms, if member.alarms.is_empty() { plain } else { bad }),
        certificates(member, now),
        round_trip(member),
        drift(member),
    ]
}

/// A line for everything that is not as it should be.
fn notes(status: &ClusterStatus) -> Vec<String> {
    let mut notes: Vec<String> = status.problems.clone();
    for member in &status.members {
        let name = name(member);
        if let Some(cause) = &member.cause {
            notes.push(format!("{name}: {}", visible(cause).replace('\n', " ")));
        }
        if let Some((free, mount)) = &member.free
            && *free < LITTLE
        {
            notes.push(format!("{name}: {} are free on the disk with its data ({})", bytes(*free), visible(mount)));
        }
        if let Some((certificate, end)) = &member.ends
            && (*end - status.at).whole_days() < SOON
        {
            let when = if *end < status.at { "expired" } else { "ends" };
            notes.push(format!("{name}: its {certificate} certificate {when} on {}", end.date()));
        }
        match member.drift.as_deref() {
            None | Some([] | [Drift::NotDeployed]) => {}
            Some(drift) => {
                let words: Vec<String> = drift.iter().map(|one| visible(&one.to_string())).collect();
                notes.push(format!("{name} differs from the inventory: {}", words.join("; ")));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::tests::{status, status_of};
    use crate::etcd::testing::State::{Alarm, Behind, Down, Follows, Leads};
    use crate::tasks::tests::scene::Scene;
    use time::Duration;

    #[test]
    fn a_healthy_cluster() {
        let text = "cluster prod: healthy, 3 of 3 voters, 1 failure to spare; leader node02

MEMBER  ROLE    STATE    VERSION  DB         LAG  CERTS  RTT   DRIFT
node01  voter   healthy  3.5.16   24K of 2G  0    364 d  3 ms  no
node02  leader  healthy  3.5.16   24K of 2G  0    364 d  3 ms  no
node03  voter   healthy  3.5.16   24K of 2G  0    364 d  3 ms  no
";
        for columns in [80, 200, usize::MAX] {
            assert_eq!(of(&status(&Scene::deployed()), false, Style::default(), columns), text, "{columns}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_beneath() {
        let scene = Scene::deployed()
            .members(&[Down, Leads, Alarm("NOSPACE")])
            .wanting_another_setting()
            .seen(|seen| seen.unit.enabled = "disabled".into());
        let status = status_of(&scene, |mut known| {
            known[0].seen = Err("host `node01`: no answer from `10.19.0.55:22` within 2 s".into());
            known[1].ends = known[1].ends.take().map(|(name, end)| (name, end - Duration::days(360)));
            known[2].ends = known[2].ends.take().map(|(name, end)| (name, end - Duration::days(365)));
            known
        });
        assert_eq!(
            of(&status, false, Style::default(), 80),
            "cluster prod: unhealthy, 1 of 3 voters, no quorum (2 needed); WRITES ARE REFUSED
  (NOSPACE)

MEMBER  ROLE    STATE        VERSION  DB         LAG  CERTS    RTT   DRIFT
node01  voter   unreachable  -        -          -    364 d    -     -
node02  leader  healthy      3.5.16   24K of 2G  0    4 d      3 ms  yes
node03  voter   NOSPACE      3.5.16   24K of 2G  0    expired  3 ms  yes

node01: host `node01`: no answer from `10.19.0.55:22` within 2 s
node02: its server certificate ends on 2026-11-30
node02 differs from the inventory: options heartbeat-interval
node03: alarm NOSPACE
node03: its server certificate expired on 2026-11-25
node03 differs from the inventory: options heartbeat-interval
"
        );
        let narrow = of(&status, false, Style::default(), 40);
        assert!(narrow.contains("\nnode01: host `node01`: no answer from\n  `10.19.0.55:22` within 2 s\n"), "{narrow}");
    }

    #[test]
    fn more_columns() {
        assert_eq!(
            of(&status(&Scene::deployed().members(&[Leads, Behind(7), Alarm("NOSPACE")])), true, Style::default(), 200),
            "cluster prod: degraded, 2 of 3 voters, no failure to spare; leader node01; WRITES ARE REFUSED (NOSPACE)

MEMBER  ID  ENDPOINT                 ROLE    STATE    UNIT              VERSION  DB   IN USE  QUOTA  DISK FREE  TERM  INDEX  LAG  ALARMS   CERTS  RTT   DRIFT
node01  a1  https://10.19.0.55:2379  leader  healthy  active (running)  3.5.16   24K  19K     2G     60G        2     5000   0    -        364 d  3 ms  no
node02  a2  https://10.19.0.56:2379  voter   healthy  active (running)  3.5.16   24K  19K     2G     60G        2     5000   7    -        364 d  3 ms  no
node03  a3  https://10.19.0.57:2379  voter   NOSPACE  active (running)  3.5.16   24K  19K     2G     60G        2     5000   0    NOSPACE  364 d  3 ms  no

node03: alarm NOSPACE
"
        );
    }

    #[test]
    fn colours_change_no_column() {
        let status = status(&Scene::deployed().members(&[Down, Leads, Follows]));
        let colored = of(&status, false, Style::new(true), 80);
        assert!(
            colored.contains("\x1b[31mno answer\x1b[0m") && colored.contains("\x1b[32mhealthy\x1b[0m  "),
            "{colored}"
        );
        let bare: Vec<usize> = colored.lines().map(width).collect();
        let plain: Vec<usize> = of(&status, false, Style::default(), 80).lines().map(width).collect();
        assert_eq!(bare, plain);
    }

    #[test]
    fn sizes() {
        for (size, want) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1K"),
            (1536, "1.5K"),
            (20 << 10, "20K"),
            ((2 << 30) - 1, "1.9G"),
            (2 << 30, "2G"),
            (u64::MAX, "16777215T"),
        ] {
            assert_eq!(bytes(size), want, "{size}");
        }
    }
}
