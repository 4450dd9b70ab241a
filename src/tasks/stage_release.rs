//! `stage_release`: the release archive goes to the host once and is unpacked beside the others.
//!
//! Nothing of it is in force yet. The archive is unpacked while it arrives; only if its digest is
//! right, and the host can run what was unpacked, is the folder renamed into place, so that a
//! killed upload leaves nothing that looks finished.

use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::host::Script;
use crate::release::Archive;
use crate::report::{Event, human_bytes};
use crate::ssh::quote;
use serde::Deserialize;
use std::sync::Arc;

/// How many unpacked releases are kept on a host.
const KEPT: usize = 3;

/// Bring the release to the host and unpack it beside the others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRelease {}

impl HostTask for StageRelease {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs { wanted: true, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let wanted = view.wanted()?;
        let (archive, name) = (&wanted.archive, wanted.release_name(view.seen));
        let version = &archive.version;
        Ok(match view.seen.releases.get(&name) {
            Some(there) if there.whole && there.archive_sha256 == archive.sha256 => Decision::Nothing,
            Some(_) => Decision::change(format!("unpack etcd {version} anew, since its files were altered")),
            None if name != version.to_string() => Decision::change(format!(
                "upload and unpack another build of etcd {version} ({}) as {name}",
                human_bytes(archive.size)
            )),
            None => Decision::change(format!("upload and unpack etcd {version} ({})", human_bytes(archive.size))),
        })
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        // An upload and its unpacking slow the member beside it down. Where members run, it is one at a time, so that
        // the others answer their clients as fast as ever.
        let gently = view.seen.unit.runs();
        let _turn = if gently {
            hands.progress("waiting for its turn, since members run");
            Some(hands.fleet.staging().await)
        } else {
            None
        };
        let wanted = view.wanted()?;
        let archive = &wanted.archive;
        let version = archive.version.to_string();
        let total = archive.size;
        let (reporter, host, task) = (hands.reporter.clone(), view.host.name.clone(), hands.task.to_owned());
        let message = format!("uploading etcd {version}");
        let progress = Arc::new(move |done| {
            reporter.emit(Event::TaskProgress {
                host: host.clone(),
                task: task.clone(),
                message: message.clone(),
                done: Some(done),
                total: Some(total),
            });
        });
        let text =
            script(&format!("{}/releases", view.host.paths.install), archive, &wanted.release_name(view.seen), gently);
        let what = format!("unpack etcd {version}");
        hands.connection.run(Script::new(&what, &text).with_file(&archive.path, progress)).await?;
        Ok(())
    }
}

pub(super) fn script(releases: &str, archive: &Archive, name: &str, gently: bool) -> String {
    let names: Vec<String> = archive.binaries.iter().map(|binary| quote(&binary.name)).collect();
    format!(
        r#"releases={releases} version={version} name={name} gently='{gently}' sha256={sha256} top={top}
cd "$releases"
now=$(date +%s)
for old in .incoming.*; do
  # Uploads that were killed; one that still runs is younger.
  if [ -d "$old" ] && [ $((now - $(stat -c %Y "$old"))) -gt 3600 ]; then rm -rf "$old"; fi
done
umask 077
tmp=$(mktemp -d .incoming.XXXXXX)
trap 'rm -rf "$releases/$tmp"' EXIT
mkdir "$tmp/new"
mkfifo "$tmp/pipe"
$gently sha256sum <"$tmp/pipe" >"$tmp/sum" &
sum=$!
tee "$tmp/pipe" | $gently tar -xzf - -C "$tmp/new" --no-same-owner --no-same-permissions || {{
  wait "$sum"; echo "the archive arrived incomplete or cannot be unpacked" >&2; exit 1; }}
wait "$sum"
read -r got _ <"$tmp/sum"
if [ "$got" != "$sha256" ]; then echo "the archive arrived with digest $got instead of $sha256" >&2; exit 1; fi
cd "$tmp/new/$top"
chmod 755 . {names}
said=$(./etcd --version 2>&1) || {{ echo "the unpacked etcd cannot be run: $said" >&2; exit 1; }}
case $said in
  *"etcd Version: $version"[!0-9]*) ;;
  *) echo "the unpacked etcd is another version: $said" >&2; exit 1;;
esac
{{ echo "$sha256"; stat -c '%n %s %Y %a' etcd etcdctl etcdutl 2>/dev/null || :; }} >.archive
sync {names} .archive
cd "$releases"
if [ -e "$name" ]; then
  # A running binary may be moved, not overwritten.
  mv -T "$name" "$tmp/old"
fi
mv -T "$tmp/new/$top" "$name"
sync .
count=0
for dir in $(ls -1dt [0-9]*/ 2>/dev/null); do
  dir=${{dir%/}}
  count=$((count + 1))
  if [ "$count" -le {KEPT} ] || [ "$dir" = "$name" ]; then continue; fi
  used=
  for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" 2>/dev/null || :) in "$releases/$dir/"*) used=yes;; esac
  done
  if [ -z "$used" ]; then rm -rf "$dir"; fi
done
"#,
        releases = quote(releases),
        version = quote(&archive.version.to_string()),
        name = quote(name),
        gently = if gently { "nice -n 19" } else { "" },
        sha256 = quote(&archive.sha256),
        top = quote(&archive.top_folder()),
        names = names.join(" "),
    )
}
