//! The one script that looks at a host, and how its answer is read.

use super::connection::{Connection, Script};
use super::error::HostError;
use super::observation::{DataDir, FileKind, FileState, Observation, Process, Release, Space};
use super::unit::UnitState;
use crate::inventory::Paths;
use crate::ssh::quote;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The name that a member's data gets before it is deleted: it is nobody's any more.
pub const DOOMED: &str = ".etcd-ha-removed";

/// Where to look on a host.
#[derive(Debug, Clone)]
pub struct Places {
    /// The inventory's paths.
    pub paths: Paths,
    /// The unit's name, `etcd.service`.
    pub unit: String,
    /// The system user, `etcd`.
    pub account: String,
    /// The variable of the process that carries the generation.
    pub generation: String,
    /// How the names of the other variables of the process begin that are of interest, `ETCD_`.
    pub variables: String,
    /// The variable in the environment file that says that the cluster stands.
    pub established: String,
    /// Ports whose listeners are of interest.
    pub ports: Vec<u16>,
    /// Addresses of other hosts: from which of its own would this one connect to them?
    pub peers: Vec<IpAddr>,
}

impl Places {
    /// The unit file that we write.
    #[must_use]
    pub fn unit_file(&self) -> String {
        format!("/etc/systemd/system/{}", self.unit)
    }

    /// The environment file that we write.
    #[must_use]
    pub fn environment_file(&self) -> String {
        format!("{}/etcd.conf", self.paths.config)
    }

    /// The text files and certificates: their digests are of interest, too.
    fn files(&self) -> Vec<String> {
        let config = &self.paths.config;
        let mut files = vec![
            self.unit_file(),
            self.environment_file(),
            format!("{config}/.next/etcd.conf"),
            format!("{config}/.next/{}", self.unit),
        ];
        for name in ["ca.pem", "server.pem", "server-key.pem", "peer.pem", "peer-key.pem"] {
            files.push(format!("{config}/ssl/{name}"));
            files.push(format!("{config}/.next/ssl/{name}"));
        }
        files
    }

    /// Folders and links. Behind the links are binaries, which are known by size and time: to digest
    /// them would take longer than all the rest.
    fn folders_and_links(&self) -> Vec<String> {
        let Paths { install, config, data, bin } = &self.paths;
        let mut all =
            vec![install.clone(), format!("{install}/releases"), config.clone(), data.clone(), format!("{config}/ssl")];
        all.extend(["etcd", "etcdctl", "etcdutl"].map(|name| format!("{bin}/{name}")));
        all.push(format!("{config}/.previous/binary"));
        all
    }
}

/// Looks at a host: one script, one round trip.
///
/// # Errors
/// The host cannot be reached, or its answer makes no sense.
pub async fn observe(connection: &Connection, places: &Places) -> Result<Observation, HostError> {
    let text = script(places);
    let answer = connection.run(Script::look("look at the host", &text)).await?;
    let received = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let mut seen = read(&answer);
    seen.clock_skew = seen.clock.map(|clock| clock - received);
    seen.own_name_unknown = connection.own_name_unknown();
    Ok(seen)
}

fn script(places: &Places) -> String {
    let Paths { install, config, data, bin } = &places.paths;
    let quoted = |paths: Vec<String>| paths.iter().map(|path| quote(path)).collect::<Vec<_>>().join(" ");
    let peers: Vec<String> = places.peers.iter().map(ToString::to_string).collect();
    let ports: Vec<String> = places.ports.iter().map(|port| format!("*:{port:04X}")).collect();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "unit={} account={} install={} config={} data={} bin={}\nunit_file={} environment={}",
        quote(&places.unit),
        quote(&places.account),
        quote(install),
        quote(config),
        quote(data),
        quote(bin),
        quote(&places.unit_file()),
        quote(&places.environment_file()),
    );
    let _ = write!(
        text,
        r#"v() {{ printf '%s %s\n' "$1" "$2"; }}
v uname "$(uname -sm)"
v uid "$(id -u)"
if [ -r /etc/machine-id ]; then read -r id </etc/machine-id || :; v machine-id "$id"; fi
if [ -r /proc/sys/kernel/random/boot_id ]; then read -r id </proc/sys/kernel/random/boot_id || :; v boot-id "$id"; fi
for c in systemctl journalctl tar gzip sha256sum base64 stat mktemp mkfifo tee readlink df tr sync timeout flock systemd-run; do
  command -v "$c" >/dev/null 2>&1 || v missing "$c"
done
if id -u "$account" >/dev/null 2>&1; then v account "$account"; fi
if [ -d /run/systemd/system ]; then
  v booted systemd
  # A host that has our unit was found fit already; every program that is started here counts.
  if [ ! -f "$unit_file" ]; then v systemd "$(systemctl --version | head -n 1)"; fi
  try=0 surroundings=
  while :; do
    show=$(systemctl show "$unit" -p {properties} 2>/dev/null) || show=
    pid=0 active= sub= restarts=0 name=
    while IFS= read -r line; do
      case $line in
        MainPID=*) pid=${{line#*=}};; ActiveState=*) active=${{line#*=}};;
        SubState=*) sub=${{line#*=}};; NRestarts=*) restarts=${{line#*=}};;
      esac
    done <<END
$show
END
    # Between fork and exec the process is still systemd, by that name and then as `(etcd)`, and its environment is not
    # the member's; one that has just ended has none, and is systemd's main process until systemd has heard of it.
    if [ "$pid" -gt 0 ] 2>/dev/null; then read -r name <"/proc/$pid/comm" || :; else break; fi 2>/dev/null
    case $name in
      ''|systemd*|'('*) ;;
      *)
        if [ ! -r "/proc/$pid/environ" ]; then break; fi
        surroundings=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ") || surroundings=
        if [ -n "$surroundings" ]; then break; fi;;
    esac
    if [ "$try" -ge 25 ]; then break; fi
    sleep 0.02; try=$((try + 1))
  done
  printf '%s\n' "$show" | while IFS= read -r line; do v unit "$line"; done
  printf '%s\n' "$surroundings" | while IFS= read -r line; do
    case $line in {generation}=*) v generation "${{line#*=}}";; {variables}*) v variable "$line";; esac
  done
  if [ "$active" = failed ] || [ "$sub" = auto-restart ] || [ "${{restarts:-0}}" -gt 0 ]; then
    v journal "$(journalctl -u "$unit" -n 40 -o cat --no-pager -q 2>/dev/null | base64 -w 0)"
  fi
fi
set --
for p in "$install" "$config" "$data" "$bin"; do
  at=$p; while [ ! -d "$at" ]; do at=${{at%/*}}; at=${{at:-/}}; done
  if [ ! -w "$at" ]; then v read-only "$p"; fi
  v space-of "$p"
  set -- "$@" "$at"
done
df --output=avail,iavail,target -k "$@" 2>/dev/null | while IFS= read -r line; do v space "$line"; done || :
set -- {files} {others}
for f in "$install"/releases/*/etcd "$install"/releases/*/etcdctl "$install"/releases/*/etcdutl; do
  if [ -f "$f" ]; then set -- "$@" "$f"; fi
done
stat -c 'stat %n|%F|%a|%U|%G|%s|%Y|%N' "$@" 2>/dev/null || :
set --
for f in {files}; do if [ -f "$f" ]; then set -- "$@" "$f"; fi; done
[ $# = 0 ] || sha256sum "$@" 2>/dev/null | while IFS= read -r line; do v sha256 "$line"; done || :
if [ -e "$config/.next" ]; then v next present; fi
if [ -e "$config/.previous/unconfirmed" ]; then v unconfirmed yes; fi
if [ -e "$config/.previous/newer" ]; then v previous-is newer; fi
if [ -d "$config/.previous/target" ]; then v going-back yes; fi
if [ -f "$config/.taken-back" ]; then read -r line <"$config/.taken-back" || :; v taken-back "$line"; fi
if [ -f "$config/.previous/etcd.conf" ]; then
  while IFS= read -r line; do
    case $line in {generation}=*) v previous "${{line#*=}}";; esac
  done <"$config/.previous/etcd.conf"
fi
if [ -f "$unit_file" ]; then v unit-text "$(base64 -w 0 <"$unit_file")"; elif [ -e "$unit_file" ]; then v odd "$unit_file"; fi
for name in ca server peer; do
  if [ -f "$config/ssl/$name.pem" ]; then v certificate "$name $(base64 -w 0 <"$config/ssl/$name.pem")"; fi
done
length=16384
if [ -f "$environment" ]; then
  v environment "$(base64 -w 0 <"$environment")"
  while IFS= read -r line; do case $line in {established}=*) length=1024;; esac; done <"$environment"
fi
if [ -d "$data" ]; then
  for entry in "$data"/* "$data"/.[!.]*; do
    if [ -e "$entry" ] && [ "${{entry##*/}}" != lost+found ] && [ "${{entry##*/}}" != {doomed} ]; then v data present; break; fi
  done
  wal=
  for entry in "$data"/member/wal/*.wal; do if [ -f "$entry" ]; then wal=$entry; fi; done
  if [ -n "$wal" ]; then v wal "$(head -c "$length" "$wal" | base64 -w 0)"; fi
fi
for list in "$install"/releases/*/.archive; do
  if [ ! -f "$list" ]; then continue; fi
  list=${{list%/.archive}}
  while IFS= read -r line; do v release "${{list##*/}} $line"; done <"$list/.archive"
done
# Through a pipe: shells read byte by byte, and the kernel walks its tables anew at every read.
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _ state _; do
  case $state/$local in {ports}) v listen "$local";; esac
done || :
set -- {peers}
if [ $# -gt 0 ] && command -v ip >/dev/null 2>&1; then
  printf 'route get %s\n' "$@" | ip -o -force -batch - 2>/dev/null | while IFS= read -r line; do v route "$line"; done || :
fi
# Last, since nobody knows how long sudo took before the first line.
v clock "$(date +%s.%N)"
"#,
        properties = UnitState::PROPERTIES,
        generation = places.generation,
        variables = places.variables,
        established = places.established,
        doomed = DOOMED,
        files = quoted(places.files()),
        others = quoted(places.folders_and_links()),
        peers = peers.join(" "),
        ports = ports.iter().map(|port| format!("0A/{port}")).collect::<Vec<_>>().join("|"),
    );
    text
}

impl Observation {
    /// What a host answered to the look at it, whatever that is. What cannot be understood is left out: a host is not
    /// trusted, and the checks refuse what they do not find.
    #[must_use]
    pub fn of(answer: &[u8]) -> Self {
        read(answer)
    }
}

fn read(answer: &[u8]) -> Observation {
    let text = String::from_utf8_lossy(answer);
    let mut seen = Observation::default();
    let mut properties = BTreeMap::new();
    let mut process = Process::default();
    let mut digests = Vec::new();
    let (mut places, mut spaces) = (Vec::new(), Vec::new());
    let mut unpacked: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut stamps = BTreeMap::new();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "uname" => {
                if let Some((kernel, machine)) = value.split_once(' ') {
                    (seen.kernel, seen.machine) = (kernel.to_owned(), machine.to_owned());
                }
            }
            "machine-id" => seen.machine_id = value.to_owned(),
            "boot-id" => seen.boot_id = value.to_owned(),
            "clock" => seen.clock = value.parse().ok(),
            "uid" => seen.uid = value.parse().ok(),
            "missing" => seen.missing.push(value.to_owned()),
            "account" => seen.account = true,
            "booted" => seen.booted_by_systemd = true,
            "systemd" => seen.systemd = value.split_ascii_whitespace().nth(1).and_then(|v| v.parse().ok()),
            "unit" => {
                if let Some((name, value)) = value.split_once('=') {
                    properties.insert(name.to_owned(), value.to_owned());
                }
            }
            "generation" => process.generation = Some(value.to_owned()),
            "variable" => {
                process.variables.insert(value.to_owned());
            }
            "journal" => seen.journal = decode(value),
            "space-of" => places.push(value.to_owned()),
            "space" => spaces.extend(space(value)),
            "read-only" => seen.read_only.push(value.to_owned()),
            "stat" => {
                if let Some((path, state, stamp)) = stat(value) {
                    stamps.insert(path.clone(), stamp);
                    seen.files.insert(path, state);
                }
            }
            "sha256" => {
                digests.extend(value.split_once("  ").map(|(digest, path)| (path.to_owned(), digest.to_owned())))
            }
            "next" => seen.staged = true,
            "unconfirmed" => seen.unconfirmed = true,
            "previous-is" => seen.previous_is_newer = true,
            "going-back" => seen.going_back = true,
            "previous" => seen.previous = Some(value.to_owned()),
            "taken-back" => seen.taken_back = Some(value.to_owned()),
            "odd" => seen.odd.push(value.to_owned()),
            "unit-text" => seen.unit_text = Some(decode(value)),
            "environment" => seen.environment = Some(decode(value)),
            "certificate" => {
                seen.certificates.extend(value.split_once(' ').map(|(name, text)| (name.to_owned(), decode(text))));
            }
            // Names in there are etcd's to choose, so none is told.
            "data" => _ = seen.data.get_or_insert_with(DataDir::default),
            "wal" => {
                let bytes = data_encoding::BASE64.decode(value.as_bytes()).unwrap_or_default();
                seen.data.get_or_insert_with(DataDir::default).wal = bytes;
            }
            "release" => {
                if let Some((version, line)) = value.split_once(' ') {
                    unpacked.entry(version.to_owned()).or_default().push(line.to_owned());
                }
            }
            "listen" => {
                let port = value.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
                seen.listening.extend(port);
            }
            "route" => seen.sources.extend(route(value)),
            _ => {}
        }
    }
    for (path, digest) in digests {
        if let Some(FileState { kind: FileKind::File { sha256 }, .. }) = seen.files.get_mut(&path) {
            *sha256 = digest;
        }
    }
    seen.space = places.into_iter().zip(spaces).collect();
    seen.releases = unpacked.into_iter().filter_map(|(version, lines)| release(version, &lines, &stamps)).collect();
    seen.unit = UnitState::parse(&properties);
    if seen.unit.runs() {
        seen.process = Some(process);
    }
    seen
}

/// A release is whole if every binary has the size, time and mode that were noted when it was unpacked.
fn release(version: String, lines: &[String], stamps: &BTreeMap<String, String>) -> Option<(String, Release)> {
    let (archive_sha256, binaries) = lines.split_first()?;
    let stamp_of = |name: &str| {
        let end = format!("/releases/{version}/{name}");
        stamps.iter().find(|(path, _)| path.ends_with(&end)).map(|(_, stamp)| stamp.as_str())
    };
    let whole = !binaries.is_empty()
        && binaries.iter().all(|line| line.split_once(' ').is_some_and(|(name, stamp)| stamp_of(name) == Some(stamp)));
    Some((version, Release { archive_sha256: archive_sha256.clone(), whole }))
}

fn decode(base64: &str) -> String {
    let bytes = data_encoding::BASE64.decode(base64.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A line of `df --output=avail,iavail,target -k`; its head is left out, being no numbers.
fn space(line: &str) -> Option<Space> {
    let mut fields = line.split_ascii_whitespace();
    let free: u64 = fields.next()?.parse().ok()?;
    // File systems that make inodes as needed tell none.
    let free_inodes = fields.next()?.parse().ok().filter(|inodes| *inodes > 0);
    Some(Space { free: free.saturating_mul(1024), mount: fields.next()?.to_owned(), free_inodes })
}

/// A line of `ip -o route get`, see ip-route(8): whither it leads, and from which address.
fn route(line: &str) -> Option<(IpAddr, IpAddr)> {
    let mut words = line.split_ascii_whitespace();
    let to = words.find(|word| *word != "local")?.parse().ok()?;
    let from = words.skip_while(|word| *word != "src").nth(1)?.parse().ok()?;
    Some((to, from))
}

/// A line of our `stat`: name, type, mode, owner, group, size, time and, for links, the quoted name
/// and target; and the stamp by which a binary is known: size, time and mode.
fn stat(line: &str) -> Option<(String, FileState, String)> {
    let [path, kind, mode, owner, group, size, time, link] = line.splitn(8, '|').collect::<Vec<_>>()[..] else {
        return None;
    };
    let kind = match kind {
        "regular file" | "regular empty file" => FileKind::File { sha256: String::new() },
        "directory" => FileKind::Folder,
        "symbolic link" => {
            let target = link.split_once(" -> ").map(|(_, target)| target.trim_matches(['\'', '"']));
            FileKind::Link { target: target.unwrap_or_default().to_owned() }
        }
        _ => FileKind::Other,
    };
    let stamp = format!("{size} {time} {mode}");
    let mode = u32::from_str_radix(mode, 8).ok()?;
    Some((path.to_owned(), FileState { kind, mode, owner: format!("{owner}:{group}") }, stamp))
}

#[cfg(test)]
mod tests;
