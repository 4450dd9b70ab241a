//! `prepare_host`: the system user that etcd runs as, and the folders.

use super::{Change, Decision, Hands, HostTask, Needs, TaskError, View};
use crate::etcd::config::USER;
use crate::host::{FileKind, Script};
use crate::inventory::Host;
use crate::ssh::quote;
use serde::Deserialize;

/// Make the system user and the folders.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareHost {}

/// A folder with the owner and mode that it must have; folders that others may have made keep theirs.
struct Folder {
    path: String,
    owner: &'static str,
    mode: u32,
    exact: bool,
}

fn folders(host: &Host) -> Vec<Folder> {
    let shared = |path: String| Folder { path, owner: "root:root", mode: 0o755, exact: false };
    vec![
        shared(host.paths.install.clone()),
        shared(format!("{}/releases", host.paths.install)),
        shared(host.paths.config.clone()),
        // etcd wants its data dir for itself alone.
        Folder { path: host.paths.data.clone(), owner: "etcd:etcd", mode: 0o700, exact: true },
    ]
}

impl HostTask for PrepareHost {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs::default()
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let mut changes = Vec::new();
        if !view.seen.account {
            changes.push(Change::new(format!("create the system user `{USER}`")));
        }
        for folder in folders(view.host) {
            match view.seen.files.get(&folder.path) {
                None => changes.push(Change::new(format!("create {}", folder.path))),
                Some(state) if folder.exact && state.kind == FileKind::Folder => {
                    if state.owner != folder.owner || state.mode & 0o7777 != folder.mode {
                        changes.push(Change::new(format!("set owner and mode of {}", folder.path)));
                    }
                }
                // Whoever can write there decides what etcd runs.
                Some(state)
                    if state.kind == FileKind::Folder
                        && (!state.owner.starts_with("root:") || state.mode & 0o022 != 0) =>
                {
                    changes.push(Change::new(format!("keep others from writing in {}", folder.path)));
                }
                Some(_) => {}
            }
        }
        Ok(Decision::changes(changes))
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        hands.connection.run(Script::new("make the user and the folders", &script(view.host))).await?;
        Ok(())
    }
}

pub(super) fn script(host: &Host) -> String {
    let mut text = format!(
        "if ! id -u {USER} >/dev/null 2>&1; then\n\
             \x20 if command -v useradd >/dev/null 2>&1; then\n\
             \x20   useradd --system --user-group --no-create-home --home-dir {data} --shell /usr/sbin/nologin {USER}\n\
             \x20 else\n\
             \x20   printf 'u {USER} - \"etcd\" {data}\\n' | systemd-sysusers -\n\
             \x20 fi\n\
             fi\n",
        data = host.paths.data,
    );
    for Folder { path, owner, mode, exact } in folders(host) {
        let path = quote(&path);
        // A path made on the way to it must be passable for etcd, whatever the umask.
        text += &format!("[ -d {path} ] || {{ mkdir -p {path}; chmod {mode:o} {path}; chown {owner} {path}; }}\n");
        if !exact {
            text += &format!("chown root {path}; chmod go-w {path}\n");
        }
        if exact {
            text += &format!("chmod {mode:o} {path}; chown {owner} {path}\n");
        }
    }
    text + &format!("mkdir -p {}\n", quote(&host.paths.bin))
}
