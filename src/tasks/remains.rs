//! What of a member lies on a host: every path that was put there by us, and what lies among them and was not.

use crate::etcd::config::{MARK, UNIT};
use crate::host::DOOMED;
use crate::inventory::{Host, Paths};
use crate::ssh::quote;
use crate::tasks::fleet::places;

/// How many paths a host may tell of.
const MOST: usize = 1000;

/// What of a member lies on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// What we put there.
    pub things: Vec<Thing>,
    /// What lies in our folders and is not ours.
    pub others: Vec<String>,
}

/// A file, folder or link that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// Its path.
    pub path: String,
    /// How much room it takes, in bytes.
    pub bytes: u64,
}

/// What a thing on the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The unit file.
    Unit,
    /// A link to a binary of ours.
    Link,
    /// An unpacked release, or one that was not unpacked to its end.
    Release,
    /// Certificates, and what was in force before.
    Config,
    /// etcd.conf: it says whose the data is.
    Record,
    /// etcd's data.
    Data,
    /// A folder with nothing in it that is not ours.
    Folder,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "unit" => Self::Unit,
            "link" => Self::Link,
            "release" => Self::Release,
            "config" => Self::Config,
            "record" => Self::Record,
            "data" => Self::Data,
            "folder" => Self::Folder,
            _ => return None,
        })
    }
}

/// Looks, and prints a line for each: kind, kilobytes, path.
pub(super) fn script(host: &Host) -> String {
    let Paths { install, config, data, bin } = &host.paths;
    format!(
        r#"install={install} config={config} data={data} bin={bin} unit={unit} mark={mark}
t() {{
  case $2 in *[[:cntrl:]]*) set -- other "${{2%/*}}/?";; esac
  size=$(du -sk "$2" 2>/dev/null) || :
  size=${{size%%[!0-9]*}}
  printf '%s %s %s\n' "$1" "${{size:-0}}" "$2"
}}
there() {{ [ -e "$1" ] || [ -L "$1" ]; }}
ours() {{ [ -f "$1" ] && IFS= read -r line <"$1" && [ "$line" = "$mark" ]; }}
folder() {{ if [ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %m "$1")" != "$1" ]; then t folder "$1"; fi; }}
if ours "$unit"; then t unit "$unit"; fi
if there "$unit.new"; then t unit "$unit.new"; fi
for f in etcd etcdctl etcdutl .etcd.new .etcdctl.new .etcdutl.new; do
  f=$bin/$f
  if [ -L "$f" ]; then case $(readlink "$f") in "$install"/releases/*) t link "$f";; esac; fi
done
if [ -d "$install" ]; then
  whole=yes
  for f in "$install"/releases/* "$install"/releases/.[!.]*; do
    there "$f" || continue
    case ${{f##*/}} in .incoming.*) t release "$f"; continue;; esac
    if [ -f "$f/.archive" ]; then t release "$f"; else whole=; t other "$f"; fi
  done
  if [ -n "$whole" ]; then folder "$install/releases"; fi
  for f in "$install"/* "$install"/.[!.]*; do
    there "$f" || continue
    if [ "$f" != "$install/releases" ]; then whole=; t other "$f"; fi
  done
  if [ -n "$whole" ]; then folder "$install"; fi
fi
if [ -d "$config" ]; then
  whole=yes
  for f in "$config"/* "$config"/.[!.]*; do
    there "$f" || continue
    case ${{f##*/}} in
      etcd.conf) if ours "$f"; then t record "$f"; else whole=; t other "$f"; fi;;
      ssl) if [ -L "$f" ]; then t config "$f"; else whole=; t other "$f"; fi;;
      .ssl-*|.ssl.new|.next|.previous|.previous.new|.previous.old|.failed|.taken-back) t config "$f";;
      *) whole=; t other "$f";;
    esac
  done
  if [ -n "$whole" ]; then folder "$config"; fi
fi
if [ -d "$data" ]; then
  whole=yes
  for f in "$data"/* "$data"/.[!.]*; do
    there "$f" || continue
    case ${{f##*/}} in
      member|{DOOMED}) t data "$f";;
      lost+found) whole=;;
      *) whole=; t other "$f";;
    esac
  done
  if [ -n "$whole" ]; then folder "$data"; fi
fi
"#,
        install = quote(install),
        config = quote(config),
        data = quote(data),
        bin = quote(bin),
        unit = quote(&places(host).unit_file()),
        mark = quote(MARK),
    )
}

/// Reads the script's answer. A host is not trusted: a path that is not where such a thing of ours can be is left out.
pub(super) fn read(host: &Host, answer: &[u8]) -> Remains {
    let mut remains = Remains::default();
    for line in String::from_utf8_lossy(answer).lines().take(MOST) {
        let [kind, kilobytes, path] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { continue };
        if kind == "other" {
            remains.others.push(path.to_owned());
        } else if let Some(kind) = Kind::named(kind).filter(|kind| may_be(host, *kind, path)) {
            let bytes = kilobytes.parse::<u64>().unwrap_or_default().saturating_mul(1024);
            remains.things.push(Thing { kind, path: path.to_owned(), bytes });
        }
    }
    remains
}

/// Whether such a thing of ours can have this path.
fn may_be(host: &Host, kind: Kind, path: &str) -> bool {
    let Paths { install, config, data, bin } = &host.paths;
    let within = |folder: &str| {
        let name = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        name.filter(|name| !name.is_empty() && !name.contains('/') && !matches!(*name, "." | ".."))
    };
    match kind {
        Kind::Unit => path.starts_with(&format!("/etc/systemd/system/{UNIT}")) && !path.contains(".."),
        Kind::Link => within(bin).is_some_and(|name| name.contains("etcd")),
        Kind::Release => within(&format!("{install}/releases")).is_some(),
        Kind::Config => within(config).is_some(),
        Kind::Record => path == places(host).environment_file(),
        Kind::Data => within(data).is_some_and(|name| name == "member" || name == DOOMED),
        Kind::Folder => [install, config, data].contains(&&path.to_owned()) || path == format!("{install}/releases"),
    }
}
