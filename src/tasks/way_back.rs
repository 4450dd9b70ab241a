//! The way back: a host takes its member's last change back by itself, unless the member comes up with it.
//!
//! It is armed on the host before the change goes in force: a script beside what was in force before, and
//! a transient timer that runs it. The controller disarms it once the member is healthy, and starts it at
//! once if the member is not; should the controller die or its link break, the timer runs it. Either way
//! it is the same script, run by systemd on the host, once.

use super::error::TaskError;
use crate::etcd::config::{self, GENERATION, UNIT};
use crate::host::{Connection, Observation, Script};
use crate::inventory::Host;
use crate::ssh::quote;
use semver::Version;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;

/// The transient units on the host: `.timer` and `.service`.
const NAME: &str = "etcd-ha-way-back";

/// How much longer than the controller the host waits before it takes a change back by itself.
pub const GRACE: Duration = Duration::from_secs(30);

/// How long the controller waits for the host's script, beyond what the script itself bounds.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// The generation of what is in force on the host.
#[must_use]
pub fn in_force(seen: &Observation) -> Option<&str> {
    seen.environment.as_deref().and_then(|text| config::value_of(text, GENERATION))
}

/// Whether the member runs with what is in force on its host.
#[must_use]
pub fn runs_what_is_in_force(seen: &Observation) -> bool {
    let in_force = in_force(seen);
    in_force.is_some() && seen.generation() == in_force
}

/// Writes the script that takes the change back into `.previous.new`, and the sign that the change is not
/// confirmed yet.
pub(super) fn write(host: &Host) -> String {
    format!("cat >.previous.new/way-back <<'WAY-BACK'\n{}WAY-BACK\n: >.previous.new/unconfirmed\n", script(host))
}

/// The version that was in force before the last change, if it is kept.
#[must_use]
pub fn previous_version(host: &Host, seen: &Observation) -> Option<Version> {
    seen.link(&format!("{}/.previous/binary", host.paths.config)).and_then(version_of)
}

/// The version of the release that a link into it leads to: `/opt/etcd/releases/3.5.16/etcd`.
#[must_use]
pub fn version_of(link: &str) -> Option<Version> {
    link.rsplit('/').nth(1)?.parse().ok()
}

/// Stops the timer, and waits for a host that is at it already, since its time has just run out: until then nobody
/// else may touch its files.
pub(super) fn quiet() -> String {
    format!(
        "{}while case $(systemctl is-active {NAME}.service {NAME}-now.service) in *activating*) :;; *) false;; esac; do sleep 0.2; done\n",
        leave_alone()
    )
}

/// Arms the timer, anew if it was armed before; after [`quiet`].
pub(super) fn arm(config: &str, patience: Duration) -> String {
    // A host that lost its power while it took a change back still has the order to do so.
    format!(
        "systemctl reset-failed {NAME}.service 2>/dev/null || :\n\
         rm -f {now}\n\
         systemd-run --quiet --unit={NAME} --description='take the last change of etcd back' \
         --on-active={seconds} --timer-property=AccuracySec=1s --property=Type=oneshot \
         --property=TimeoutStartSec=180 /bin/sh {script}\n",
        now = quote(&format!("{config}/.previous/now")),
        seconds = (patience + GRACE).as_secs(),
        script = quote(&format!("{config}/.previous/way-back")),
    )
}

/// Arms the timer anew, if the change went in force in an earlier run and its time is running out.
pub(super) fn rearm(config: &str, patience: Duration) -> String {
    format!(
        "if [ -e {sign} ] && [ $(($(date +%s) - $(stat -c %Y {sign}))) -gt 5 ]; then\ntouch {sign}\n{quiet}{arm}fi\n",
        quiet = quiet(),
        sign = quote(&format!("{config}/.previous/unconfirmed")),
        arm = arm(config, patience),
    )
}

/// Disarms the timer: what is in force stays. A rollback that was broken off before all was in force did not take
/// place: what it would have gone back to is kept as before.
pub(super) fn disarm() -> String {
    format!(
        "{}if [ -d .previous/target ]; then\n\
         rm -rf .previous.new\nmv -T .previous/target .previous.new\nrm -rf .previous\nmv -T .previous.new .previous\nsync .\nfi\n\
         rm -f .previous/unconfirmed .previous/way-back .previous/now .taken-back\nrm -rf .previous/origin .failed\n",
        quiet()
    )
}

/// Stops the timer of a member that is stopped on purpose, which nobody shall start meanwhile. The sign stays: the
/// next change or start finds out how the member does.
pub(super) fn leave_alone() -> String {
    format!("systemctl stop {NAME}.timer 2>/dev/null || :\n")
}

/// Has the host take its last change back now.
///
/// # Errors
/// The host cannot do it, or cannot be reached.
pub async fn take_back(connection: &Connection, config: &str) -> Result<(), TaskError> {
    // By systemd, so that it runs to its end whatever becomes of this connection.
    let text = format!(
        "cd {config}\n{quiet}[ -e .previous/unconfirmed ] || exit 0\n\
         : >.previous/now\n\
         systemctl reset-failed {NAME}-now.service 2>/dev/null || :\n\
         systemd-run --quiet --wait --unit={NAME}-now --property=Type=oneshot \
         /bin/sh {script}\n",
        config = quote(config),
        quiet = quiet(),
        script = quote(&format!("{config}/.previous/way-back")),
    );
    connection.run(Script::new("take the last change back", &text).silent_for(LIMIT)).await?;
    Ok(())
}

/// Copies what is in force into `.previous.new`, links as links, in a script that has `unit` and `bin`.
pub(super) const KEEP: &str = r#"[ -e .previous ] || [ ! -e .previous.old ] || mv -T .previous.old .previous
rm -rf .previous.new .previous.old
mkdir -m 755 .previous.new
for f in etcd.conf ssl; do if [ -e "$f" ]; then cp -a "$f" .previous.new/; fi; done
if [ -e "$unit" ]; then cp -a "$unit" .previous.new/; fi
if [ -L "$bin/etcd" ]; then cp -a "$bin/etcd" .previous.new/binary; fi
"#;

/// Puts `.previous.new` in the place of `.previous`, whole and on disk, in the script that [`KEEP`] began.
pub(super) const KEPT: &str = r#"for f in .previous.new/*; do if [ -f "$f" ] && [ ! -L "$f" ]; then sync "$f"; fi; done
sync .previous.new
if [ -e .previous ]; then mv -T .previous .previous.old; fi
mv -T .previous.new .previous
sync .
rm -rf .previous.old
"#;

/// A shell function that puts in force what [`KEEP`] kept in a folder, in a script that has `unit` and `bin`.
pub(super) fn put() -> String {
    format!(
        r#"put() {{ # what lies in folder $1 goes in force
  ln -sfn "$(readlink "$1/ssl")" .ssl.new && mv -T .ssl.new ssl
  if [ "$(sha256sum <"$1/{UNIT}")" != "$(sha256sum <"$unit")" ]; then
    cp "$1/{UNIT}" "$unit.new" && sync "$unit.new" && mv -T "$unit.new" "$unit" && sync "${{unit%/*}}"
    systemctl daemon-reload
  fi
  release=$(readlink "$1/binary") && release=${{release%/*}} && [ -e "$release/etcd" ] &&
    for name in etcd etcdctl etcdutl; do
      if [ -e "$release/$name" ]; then
        ln -sfn "$release/$name" "$bin/.$name.new" && mv -T "$bin/.$name.new" "$bin/$name"
      else
        rm -f "$bin/$name"
      fi
    done
  cp -a "$1/etcd.conf" .etcd.conf.new && sync .etcd.conf.new && mv -T .etcd.conf.new etcd.conf
  sync . "$bin"
}}
"#
    )
}

/// A shell command that succeeds if the host's member serves a linearizable read within so many seconds, in a script
/// that has `bin` and `endpoint` and stands in the `config` folder.
pub(super) fn healthy(seconds: u32) -> String {
    format!(
        "ETCDCTL_API=3 timeout {seconds} \"$bin/etcdctl\" --endpoints \"$endpoint\" --cacert ssl/ca.pem \\\n    \
         --cert ssl/server.pem --key ssl/server-key.pem endpoint health >/dev/null 2>&1"
    )
}

/// The script. Plain POSIX shell: it runs when nobody else is there to help.
fn script(host: &Host) -> String {
    format!(
        r#"# etcd-ha: takes the last change of etcd on this host back, unless the member came up with it.
set -u
config={config} unit={unit} bin={bin} endpoint={endpoint}
cd "$config" || exit 1
[ -e .previous/unconfirmed ] || exit 0
# What is not whole is nothing to go back to.
[ -s .previous/etcd.conf ] && [ -s ".previous/{UNIT}" ] || exit 1
of() {{ # the generation in the lines on stdin
  while IFS= read -r line; do case $line in {GENERATION}=*) echo "${{line#*=}}"; break;; esac; done
}}
runs() {{
  pid=$(systemctl show {UNIT} -p MainPID --value)
  [ "$pid" -gt 0 ] && tr '\0' '\n' <"/proc/$pid/environ" | of
}}
minor() {{ # of the release that link $1 leads into
  version=$(readlink "$1") && version=${{version%/*}} && version=${{version##*/}} && rest=${{version#*.}} &&
    echo "${{version%%.*}}.${{rest%%.*}}"
}}
in_force=$(of <etcd.conf) before=$(of <.previous/etcd.conf)
# It serves a moment before systemd hears of it.
if [ ! -e .previous/now ] && [ "$(runs)" = "$in_force" ] &&
  {healthy}
then
  # It came up, and nobody was there to confirm it.
  rm -f .previous/unconfirmed .previous/way-back .taken-back
  rm -rf .previous/origin
  exit 0
fi
# Whoever stopped it will start it.
idle=
if [ ! -e .previous/now ] && [ "$(systemctl is-active {UNIT})" = inactive ]; then idle=yes; fi
{put}start() {{
  if [ -n "$idle" ]; then return; fi
  timeout 20 systemctl stop {UNIT} || {{ systemctl kill -s KILL {UNIT}; timeout 20 systemctl stop {UNIT}; }}
  systemctl reset-failed {UNIT} 2>/dev/null
  systemctl start --no-block {UNIT}
}}
changed=$(stat -c %Y .previous/unconfirmed) tried=failed
if [ "$(runs)" = "$before" ]; then tried=untried; fi
if [ "$(minor "$bin/etcd")" = "$(minor .previous/binary)" ]; then
  put .previous
  if [ "$(runs)" != "$before" ]; then start; fi
else
  rm -rf .failed && mkdir .failed
  cp -a etcd.conf ssl "$unit" .failed/ && cp -a "$bin/etcd" .failed/binary
  put .previous
  if [ "$(runs)" != "$before" ]; then
    began=$(date +%s)
    start
    # Once the cluster's version is raised the old binary refuses to start; the new one has to go on then.
    count=0
    while [ -z "$idle" ] && [ "$count" -lt 60 ] && [ "$(systemctl is-active {UNIT})" != active ]; do
      case $(journalctl -u {UNIT} --since "@$began" -o cat -q --no-pager 2>/dev/null) in
        *'invalid downgrade'*) put .failed; start; before=$in_force; break;;
      esac
      count=$((count + 1))
      sleep 0.5
    done
  fi
  rm -rf .failed
fi
# Whoever gave the order knows; the next run tells of what was done without one.
if [ -e .previous/now ]; then rm -f .taken-back
elif [ "$before" != "$in_force" ]; then echo "$changed $in_force $tried" >.taken-back
fi
# A rollback that is taken back can be tried again.
for origin in target origin; do
  if [ -d ".previous/$origin" ]; then rm -rf .previous.new; mv -T ".previous/$origin" .previous.new; fi
done
rm -rf .previous
if [ -d .previous.new ]; then mv -T .previous.new .previous; fi
kept=$(readlink .previous/ssl)
for old in .ssl-*; do [ "$old" = "$(readlink ssl)" ] || [ "$old" = "$kept" ] || rm -rf "$old"; done
sync .
"#,
        config = quote(&host.paths.config),
        unit = quote(&format!("/etc/systemd/system/{UNIT}")),
        bin = quote(&host.paths.bin),
        endpoint = quote(&config::client_url(host)),
        healthy = healthy(10),
        put = put(),
    )
}

/// What the host took back by itself, from what its script noted: `1763953537 0123abcd failed`.
pub(super) fn taken_back(noted: &str) -> Option<String> {
    let mut words = noted.split(' ');
    let changed = OffsetDateTime::from_unix_timestamp(words.next()?.parse().ok()?).ok()?;
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let changed = changed.format(format).ok()?;
    Some(match words.nth(1)? {
        "untried" => format!(
            "it took the change of {changed} back by itself: the run that made it ended before the member was restarted"
        ),
        _ => format!("its member did not come up with the change of {changed}, and took it back by itself"),
    })
}
