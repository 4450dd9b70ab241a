//! `remove_member_files`: the member is stopped for good, and what was put on its host is deleted.
//!
//! It is disabled before it is stopped, so that no boot starts one that is half gone; its unit goes before
//! its files, and what says whose the data is goes after the data.

use super::{Change, Decision, Hands, HostTask, Needs, TaskError, View};
use crate::etcd::config::UNIT;
use crate::host::{DOOMED, Script};
use crate::report::human_bytes;
use crate::ssh::quote;
use crate::tasks::check_owner::{objections, refused};
use crate::tasks::fleet::{found, places};
use crate::tasks::remains::{Kind, Remains, Thing};
use crate::tasks::way_back::quiet;
use serde::Deserialize;
use std::time::Duration;

/// How long it may take: systemd kills a member that does not end after 90 seconds, and disks are slow.
const LIMIT: Duration = Duration::from_secs(600);

/// Stop the member for good and delete what was put on its host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveMemberFiles {
    /// Delete its data, too.
    #[serde(default)]
    pub data: bool,
}

impl RemoveMemberFiles {
    /// What is to go. Where data stays, so does what says whose it is.
    pub(super) fn doomed<'a>(&self, view: &View<'_>, remains: &'a Remains) -> Vec<&'a Thing> {
        let data = &view.host.paths.data;
        let stays = !self.data && remains.things.iter().any(|thing| thing.kind == Kind::Data);
        let goes = |thing: &&Thing| match thing.kind {
            Kind::Data => self.data,
            Kind::Record => !stays,
            Kind::Folder => !stays || ![data, &view.host.paths.config].contains(&&thing.path),
            Kind::Unit | Kind::Link | Kind::Release | Kind::Config => true,
        };
        remains.things.iter().filter(goes).collect()
    }
}

fn remains<'a>(view: &View<'a>) -> Result<&'a Remains, TaskError> {
    view.remains.ok_or_else(|| TaskError::blind(view.host))
}

impl HostTask for RemoveMemberFiles {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs { remains: true, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let remains = remains(view)?;
        // Again, since the host may have been out of reach when all of them were looked at.
        let wal = found(view.host, view.seen).wal.is_some();
        let problems = objections(view.overview.inventory, std::iter::once((view.host, view.seen)), self.data && wal);
        if !problems.is_empty() {
            return Err(refused(problems));
        }
        let mut changes = Vec::new();
        let unit = remains.things.iter().any(|thing| thing.kind == Kind::Unit);
        if (unit || self.data) && !view.seen.unit.is_down() {
            changes.push(Change::new("stop etcd for good"));
        }
        for thing in self.doomed(view, remains) {
            let path = &thing.path;
            changes.push(Change::new(match thing.kind {
                Kind::Data => format!("delete the data in {path} ({})", human_bytes(thing.bytes)),
                Kind::Release => format!("delete {path} ({})", human_bytes(thing.bytes)),
                Kind::Unit | Kind::Link | Kind::Config | Kind::Record | Kind::Folder => format!("delete {path}"),
            }));
        }
        Ok(Decision::changes(changes))
    }

    fn warnings(&self, view: &View<'_>) -> Vec<String> {
        let Ok(remains) = remains(view) else { return Vec::new() };
        let mut warnings = Vec::new();
        let data: Vec<&Thing> = remains.things.iter().filter(|thing| thing.kind == Kind::Data).collect();
        if !self.data && !data.is_empty() {
            warnings.push(format!(
                "its data stays in `{}` ({}) and, to say whose it is, `{}/etcd.conf`",
                view.host.paths.data,
                human_bytes(data.iter().map(|thing| thing.bytes).sum()),
                view.host.paths.config,
            ));
        }
        if !remains.others.is_empty() {
            let others: Vec<_> = remains.others.iter().take(5).map(|path| format!("`{path}`")).collect();
            let more = remains.others.len() - others.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            warnings.push(format!("not put there by etcd-ha, so that it stays: {}{more}", others.join(", ")));
        }
        if !view.seen.unit.drop_ins.is_empty() {
            warnings.push(format!("not put there by etcd-ha, so that it stays: `{}`", view.seen.unit.drop_ins));
        }
        warnings
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        hands.progress("stopping etcd and deleting");
        let text = script(view, &self.doomed(view, remains(view)?));
        hands.connection.run(Script::new("stop etcd for good and delete its files", &text).silent_for(LIMIT)).await?;
        Ok(())
    }
}

/// Deletes these things, and the folders among them if they are empty by then.
pub(super) fn script(view: &View<'_>, doomed: &[&Thing]) -> String {
    let of = |kinds: &[Kind]| {
        let paths = doomed.iter().filter(|thing| kinds.contains(&thing.kind)).map(|thing| quote(&thing.path));
        paths.collect::<Vec<_>>()
    };
    let mut text = String::new();
    let units = of(&[Kind::Unit]);
    if !units.is_empty() {
        text += &quiet();
        // On the disk before anything else: a boot must not find it enabled and half gone.
        text += &format!(
            "if [ -e {unit} ]; then systemctl disable --quiet {UNIT}; sync /etc/systemd/system; systemctl stop {UNIT}; fi\n\
             rm -f {}\nsync /etc/systemd/system\nsystemctl daemon-reload\nsystemctl reset-failed {UNIT} 2>/dev/null || :\n",
            units.join(" "),
            unit = quote(&places(view.host).unit_file()),
        );
    }
    if !of(&[Kind::Data]).is_empty() {
        // Whose unit file is gone may run on nevertheless.
        if units.is_empty() && !view.seen.unit.is_down() {
            text += &format!("systemctl stop {UNIT}\n");
        }
        // Renamed first, so that what is half deleted is never taken for a member's data.
        text += &format!(
            "cd {data}\nif [ -e member ]; then rm -rf {DOOMED}; mv -T member {DOOMED}; sync .; fi\nrm -rf {DOOMED}\nsync .\ncd /\n",
            data = quote(&view.host.paths.data),
        );
    }
    for kinds in [&[Kind::Link, Kind::Release, Kind::Config][..], &[Kind::Record]] {
        let paths = of(kinds);
        if !paths.is_empty() {
            text += &format!("rm -rf {}\n", paths.join(" "));
        }
    }
    // In the order in which they were found, a folder stands behind those in it.
    for folder in of(&[Kind::Folder]) {
        text += &format!("rmdir {folder} 2>/dev/null || :\n");
    }
    text
}
