//! How long a disk takes to have a small write safe, as a member's write-ahead log needs it all the time.

use super::connection::{Connection, Script};
use super::error::HostError;
use crate::ssh::quote;
use std::time::Duration;

/// The most writes; a fast disk is through with them in less than the time that is given.
const WRITES: u32 = 1000;

/// Writes 8 KiB blocks one behind the other, each with `fdatasync`, for at most `limit`, to the file system in which the
/// folder `data` is or will be, and gives the seconds that each took, in the order in which they were made.
///
/// Each is a `dd` of its own that says its own time: without its start, but with the sync. The file grows with every
/// write, as in the `fio` run that etcd's documentation tells to judge disks by, and is gone at the end, also if the
/// controller dies meanwhile. It lies beside the data dir unless that is a mount point.
///
/// # Errors
/// The file cannot be made, or the host cannot be reached.
pub async fn sync_times(connection: &Connection, data: &str, limit: Duration) -> Result<Vec<f64>, HostError> {
    let text = script(data, limit);
    Ok(read(&connection.run(Script::new("measure its disk", &text).silent_for(limit)).await?))
}

fn script(data: &str, limit: Duration) -> String {
    format!(
        r#"at={data}
while [ ! -d "$at" ]; do at=${{at%/*}}; at=${{at:-/}}; done
at=$(cd "$at" && pwd -P)
# A folder that a power failure leaves behind must not make an empty data dir look used.
up=$(dirname "$at")
if [ -d {data} ] && [ "$(stat -c %d "$at")" = "$(stat -c %d "$up")" ] && [ -w "$up" ]; then at=$up; fi
now=$(date +%s)
for old in "${{at%/}}"/.etcd-ha-check.*; do
  if [ -d "$old" ] && [ $((now - $(stat -c %Y "$old"))) -gt 3600 ]; then rm -rf "$old"; fi
done
umask 077
tmp=$(mktemp -d "${{at%/}}/.etcd-ha-check.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
said=$(timeout {limit} sh -c 'i=0; while [ "$i" -lt {WRITES} ]; do
  dd if=/dev/zero of="$0" bs=8k count=1 seek="$i" conv=notrunc,fdatasync || exit 1; i=$((i + 1)); done' "$tmp/file" 2>&1) || {{
  status=$?
  if [ "$status" != 124 ]; then printf '%s\n' "$said" | tail -n 1 >&2; exit 1; fi
}}
rm -rf "$tmp"
printf '%s\n' "$said"
"#,
        data = quote(data),
        limit = limit.as_secs(),
    )
}

/// The times that `dd` says: `8192 bytes (8.2 kB, 8.0 KiB) copied, 0.00473464 s, 1.7 MB/s`.
fn read(answer: &[u8]) -> Vec<f64> {
    let text = String::from_utf8_lossy(answer);
    let time = |line: &str| line.split_once("copied, ")?.1.split_whitespace().next()?.parse::<f64>().ok();
    text.lines().filter_map(time).filter(|time| time.is_finite() && *time >= 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_that_dd_says_are_read() {
        let said = "1+0 records in\n1+0 records out\n8192 bytes (8.2 kB, 8.0 KiB) copied, 0.00473464 s, 1.7 MB/s\n\
                    8192 bytes (8.2 kB, 8.0 KiB) copied, 9.1e-05 s, 90.1 MB/s\n8192 bytes (8.0KB) copied, 2.5 seconds, 1KB/s\n\
                    8192 bytes copied, NaN s\n8192 bytes copied, -1 s\ncopied, \n";
        assert_eq!(read(said.as_bytes()), [0.004_734_64, 9.1e-05, 2.5]);
        assert_eq!(read(b"\xff\x00"), Vec::<f64>::new());
    }

    #[test]
    fn it_writes_here_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("lib/etcd");
        std::fs::create_dir_all(data.parent().unwrap()).unwrap();
        let text = format!("set -eu\n{}", script(data.to_str().unwrap(), Duration::from_secs(1)));
        let output = std::process::Command::new("sh").args(["-c", &text]).env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let times = read(&output.stdout);
        assert!(!times.is_empty() && times.len() <= WRITES as usize, "{times:?}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lib"]);
        assert_eq!(std::fs::read_dir(folder.path().join("lib")).unwrap().count(), 0);
    }
}
