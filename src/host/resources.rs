//! What a host has to offer a member: memory, swap, open files, and the file systems of the inventory's paths.

use super::connection::{Connection, Script};
use super::error::HostError;
use crate::inventory::Paths;
use crate::ssh::quote;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a host has to offer; what could not be read is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of swap that are switched on.
    pub swap: Option<u64>,
    /// How many files a service may open there that asks for as many as was said.
    pub open_files: Option<u64>,
    /// The time zone as hours and minutes from UTC, `+0200`.
    pub zone: Option<String>,
    /// Whether a temporary file could not be made.
    pub no_temporary: bool,
    /// The file system by path of the inventory, where it is or will be.
    pub mounts: BTreeMap<String, Mount>,
}

/// A mounted file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: String,
    /// Its type, `ext4`.
    pub kind: String,
    /// Its options, `rw`, `noexec` and so on: those of the mount, then those of the file system.
    pub options: Vec<String>,
}

impl Mount {
    /// Whether it is mounted with an option.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|one| one == option)
    }
}

impl Resources {
    /// What a host answered when it was asked for its resources, whatever that is. What cannot be understood is left out.
    #[must_use]
    pub fn of(answer: &[u8]) -> Self {
        read(answer)
    }

    /// Reads them: one script, one round trip. `open_files` is how many a service will ask for.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub async fn read(connection: &Connection, paths: &Paths, open_files: u64) -> Result<Self, HostError> {
        let text = script(paths, open_files);
        Ok(read(&connection.run(Script::look("look at its resources", &text)).await?))
    }
}

fn script(paths: &Paths, open_files: u64) -> String {
    let Paths { install, config, data, bin } = paths;
    let mut text = String::new();
    let _ = write!(
        text,
        r#"v() {{ printf '%s %s\n' "$1" "$2"; }}
if [ -r /proc/meminfo ]; then
  cat /proc/meminfo | while read -r key value _; do
    case $key in MemTotal:) v memory "$value";; SwapTotal:) v swap "$value";; esac
  done
fi
v zone "$(date +%z)"
if tmp=$(mktemp 2>/dev/null); then rm -f "$tmp"; else v no-temporary yes; fi
# Only systemd knows what it can give a service: the kernel's limit, its own rights and those of its container count.
if [ -d /run/systemd/system ]; then
  v open-files "$(systemd-run --quiet --wait --pipe --collect --property=LimitNOFILE={open_files} \
    sh -c 'ulimit -n' </dev/null 2>/dev/null || :)"
fi
for p in {paths}; do
  at=$p; while [ ! -d "$at" ]; do at=${{at%/*}}; at=${{at:-/}}; done
  real=$(cd "$at" 2>/dev/null && pwd -P) || continue
  cat /proc/self/mountinfo 2>/dev/null | while read -r _ _ _ _ point rest; do
    case ${{real%/}}/ in "${{point%/}}"/*) v mount "$p $point $rest";; esac
  done || :
done
"#,
        paths = [install, config, data, bin].map(|path| quote(path)).join(" "),
    );
    text
}

fn read(answer: &[u8]) -> Resources {
    let text = String::from_utf8_lossy(answer);
    let mut resources = Resources::default();
    let kib = |value: &str| value.parse::<u64>().ok()?.checked_mul(1024);
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "memory" => resources.memory = kib(value),
            "swap" => resources.swap = kib(value),
            "open-files" => {
                resources.open_files = if value == "unlimited" { Some(u64::MAX) } else { value.parse().ok() };
            }
            "zone" => resources.zone = zone(value),
            "no-temporary" => resources.no_temporary = true,
            "mount" => {
                if let Some((path, mount)) = mount(value) {
                    // The deepest counts, and of several at one place the one that was mounted last.
                    let known = resources.mounts.entry(path).or_default();
                    if mount.point.len() >= known.point.len() {
                        *known = mount;
                    }
                }
            }
            _ => {}
        }
    }
    resources
}

fn zone(value: &str) -> Option<String> {
    let digits = value.strip_prefix(['+', '-'])?;
    (digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| value.to_owned())
}

/// A path, and what is left of a line of /proc/self/mountinfo from its mount point on (proc(5)): optional fields end with
/// a lone `-`.
fn mount(line: &str) -> Option<(String, Mount)> {
    let (ours, theirs) = line.split_once(" - ")?;
    let [path, point, options] = ours.splitn(4, ' ').take(3).collect::<Vec<_>>()[..] else { return None };
    let mut fields = theirs.split(' ');
    let (kind, _source, further) = (fields.next()?, fields.next()?, fields.next().unwrap_or_default());
    let options = options.split(',').chain(further.split(',')).map(str::to_owned).collect();
    Some((path.to_owned(), Mount { point: point.to_owned(), kind: kind.to_owned(), options }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "memory 24684092
swap 0
zone +0200
open-files 20000
mount /opt/etcd / rw,relatime shared:4 - overlay overlay rw,lowerdir=/a,upperdir=/b
mount /opt/etcd /opt rw,noexec master:3 shared:9 - ext4 /dev/vdb1 rw
mount /var/lib/etcd / rw,relatime shared:4 - overlay overlay rw
mount /var/lib/etcd /var/lib/etcd rw - tmpfs tmpfs rw,size=300m
mount /var/lib/etcd /var/lib/etcd rw - nfs4 server:/export rw,vers=4.2
";

    #[test]
    fn what_a_host_says_is_read() {
        let resources = read(SAID.as_bytes());
        assert_eq!((resources.memory, resources.swap), (Some(24_684_092 << 10), Some(0)));
        assert_eq!((resources.open_files, resources.zone.as_deref()), (Some(20_000), Some("+0200")));
        assert!(!resources.no_temporary);
        let install = &resources.mounts["/opt/etcd"];
        assert_eq!((install.point.as_str(), install.kind.as_str()), ("/opt", "ext4"));
        assert!(install.has("noexec") && !install.has("ro"));
        // What was mounted last lies on top.
        assert_eq!(resources.mounts["/var/lib/etcd"].kind, "nfs4");
    }

    #[test]
    fn nonsense_is_left_out() {
        for said in [
            "",
            "memory x\nswap\nopen-files\nzone Europe\nmount\nmount /a /b rw\n\u{1b}[2J\n",
            "memory 99999999999999999999",
        ] {
            assert_eq!(read(said.as_bytes()), Resources::default(), "{said:?}");
        }
        assert_eq!(read(b"open-files unlimited\n").open_files, Some(u64::MAX));
    }
}
