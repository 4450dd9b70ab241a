//! A closer look at a host whose member is not well: its journal, since when its unit is as it is, and who has its
//! ports.

use super::connection::{Connection, Script};
use super::error::HostError;
use super::observe::Places;
use crate::ssh::quote;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The most of the journal that is read: what is wrong now is said again and again, or was said last.
const LINES: u32 = 400;
const BYTES: u32 = 256 << 10;

/// What a closer look at a host tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CloseUp {
    /// The end of the unit's journal of this boot, oldest first.
    pub journal: Vec<JournalLine>,
    /// For how many seconds the unit is active, if it is.
    pub active_for: Option<f64>,
    /// For how many seconds the unit is not active, if it is not and ever was.
    pub inactive_for: Option<f64>,
    /// How many seconds ago its main process was started.
    pub process_age: Option<f64>,
    /// Who listens on the ports of interest, where that can be told.
    pub holders: Vec<Holder>,
    /// Size in bytes of the file system with the data dir.
    pub data_disk: Option<u64>,
    /// Whether the data dir is there and empty; `None` if it is not there.
    pub data_empty: Option<bool>,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalLine {
    /// How many seconds ago it was written.
    pub age: f64,
    /// The message.
    pub message: String,
}

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The port.
    pub port: u16,
    /// The process.
    pub pid: u32,
    /// Its name, as the kernel has it.
    pub name: String,
}

/// Looks closer at a host: one script, one round trip.
///
/// # Errors
/// The host cannot be reached, or its answer makes no sense.
pub async fn close_up(connection: &Connection, places: &Places) -> Result<CloseUp, HostError> {
    let answer = connection.run(Script::look("read the journal", &script(places))).await?;
    Ok(read(&answer))
}

fn script(places: &Places) -> String {
    let ports: Vec<String> = places.ports.iter().map(|port| format!("*:{port:04X}")).collect();
    let mut text = format!("unit={} data={}\n", quote(&places.unit), quote(&places.paths.data));
    let _ = write!(
        text,
        r#"v() {{ printf '%s %s\n' "$1" "$2"; }}
systemctl show "$unit" -p ActiveState,ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic 2>/dev/null |
  while IFS= read -r line; do v unit "$line"; done || :
v journal "$(timeout 5 journalctl -u "$unit" -b -n {LINES} -o short-unix --no-hostname --no-pager -q 2>/dev/null | tail -c {BYTES} | base64 -w 0)"
if [ -d "$data" ]; then
  empty=yes
  for entry in "$data"/* "$data"/.[!.]*; do
    if [ -e "$entry" ] && [ "${{entry##*/}}" != lost+found ]; then empty=no; break; fi
  done
  v data-empty "$empty"
  df --output=size -k "$data" 2>/dev/null | while IFS= read -r line; do v size "$line"; done || :
fi
# Sockets by inode, then the processes that have them open.
inodes=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _ state _ _ _ _ _ inode _; do
  case $state/$local in {ports}) printf '%s:%s ' "$inode" "${{local##*:}}";; esac
done) || inodes=
if [ -n "$inodes" ]; then
  ls -l /proc/[0-9]*/fd 2>/dev/null | while read -r line; do
    case $line in
      /proc/*/fd:) pid=${{line#/proc/}}; pid=${{pid%/fd:}};;
      *'socket:['*)
        socket=${{line##*socket:\[}}; socket=${{socket%\]*}}
        for pair in $inodes; do
          if [ "${{pair%%:*}}" = "$socket" ]; then
            name=$(tr '\0' ' ' <"/proc/$pid/cmdline" | head -c 120) || name=
            [ -n "$name" ] || read -r name <"/proc/$pid/comm" || :
            v holder "${{pair#*:}} $pid $name"
          fi
        done;;
    esac
  done || :
fi
read -r up _ </proc/uptime
v uptime "$up"
v clock "$(date +%s.%N)"
"#,
        ports = ports.iter().map(|port| format!("0A/{port}")).collect::<Vec<_>>().join("|"),
    );
    text
}

impl CloseUp {
    /// What a host answered to the closer look, whatever that is. What cannot be understood is left out.
    #[must_use]
    pub fn of(answer: &[u8]) -> Self {
        read(answer)
    }
}

fn read(answer: &[u8]) -> CloseUp {
    let text = String::from_utf8_lossy(answer);
    let mut near = CloseUp::default();
    let mut properties = BTreeMap::new();
    let (mut journal, mut up, mut clock) = (String::new(), 0.0, 0.0);
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "unit" => properties.extend(value.split_once('=')),
            "journal" => {
                let bytes = data_encoding::BASE64.decode(value.as_bytes()).unwrap_or_default();
                journal = String::from_utf8_lossy(&bytes).into_owned();
            }
            "data-empty" => near.data_empty = Some(value == "yes"),
            "size" => {
                near.data_disk =
                    value.trim().parse::<u64>().ok().map(|size| size.saturating_mul(1024)).or(near.data_disk)
            }
            "holder" => near.holders.extend(holder(value)),
            "uptime" => up = value.parse().unwrap_or_default(),
            "clock" => clock = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    near.journal = journal.lines().filter_map(|line| entry(line, clock)).collect();
    near.holders.sort_by_key(|holder| (holder.port, holder.pid));
    near.holders.dedup();
    // Zero is what never was.
    let since = |name: &str| {
        let microseconds: u64 = properties.get(name)?.parse().ok().filter(|moment| *moment > 0)?;
        Some((up - microseconds as f64 / 1e6).max(0.0))
    };
    let state = properties.get("ActiveState").copied().unwrap_or_default();
    near.active_for = since("ActiveEnterTimestampMonotonic").filter(|_| state == "active");
    near.inactive_for = since("InactiveEnterTimestampMonotonic").filter(|_| state == "inactive" || state == "failed");
    near.process_age = since("ExecMainStartTimestampMonotonic");
    near
}

fn holder(line: &str) -> Option<Holder> {
    let mut fields = line.splitn(3, ' ');
    let port = u16::from_str_radix(fields.next()?, 16).ok()?;
    let pid = fields.next()?.parse().ok()?;
    let name: String = fields.next()?.trim().chars().filter(|c| !c.is_control()).take(120).collect();
    Some(Holder { port, pid, name })
}

/// A line of `journalctl -o short-unix --no-hostname`: `1795660677.532431 etcd[260]: message`.
fn entry(line: &str, clock: f64) -> Option<JournalLine> {
    let (at, rest) = line.split_once(' ')?;
    let at: f64 = at.parse().ok()?;
    let (_, message) = rest.split_once(": ")?;
    Some(JournalLine { age: (clock - at).max(0.0), message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let journal = "1000.5 systemd[1]: Starting etcd.service - etcd...\n\
             1001.25 etcd[26]: {\"level\":\"info\",\"msg\":\"a: b\"}\n  torn\n";
        let answer = format!(
            "unit ActiveState=inactive\nunit ActiveEnterTimestampMonotonic=1000000\n\
             unit InactiveEnterTimestampMonotonic=40000000\nunit ExecMainStartTimestampMonotonic=0\njournal {}\n\
             data-empty no\nsize     1K-blocks\nsize   2048\nholder 094C 77 nc\nholder 094C 77 nc\nholder zz 1 x\nuptime 100.00\n\
             clock 1010.5\nnonsense\n",
            data_encoding::BASE64.encode(journal.as_bytes())
        );
        let want = CloseUp {
            journal: vec![
                JournalLine { age: 10.0, message: "Starting etcd.service - etcd...".into() },
                JournalLine { age: 9.25, message: "{\"level\":\"info\",\"msg\":\"a: b\"}".into() },
            ],
            active_for: None,
            inactive_for: Some(60.0),
            process_age: None,
            holders: vec![Holder { port: 2380, pid: 77, name: "nc".into() }],
            data_disk: Some(2 << 20),
            data_empty: Some(false),
        };
        assert_eq!(read(answer.as_bytes()), want);
        assert_eq!(read(b"\xff\0journal !!!"), CloseUp::default());
    }
}
