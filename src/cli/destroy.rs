//! `etcd-ha destroy`: the cluster is given up, and what was put on its hosts is deleted.

use super::Context;
use super::giving_up::GivingUp;
use super::operation::{Acting, Ending, How, Operation, own_or};
use super::options::Safeguards;
use super::pause::somebody_there;
use crate::error::{Error, ExitStatus, Explain};
use crate::inventory::{Inventory, quoted};
use crate::report::{cluster_folder, state_folder};
use clap::Args;

/// `etcd-ha destroy`
#[derive(Debug, Args)]
#[command(mut_arg("limit", |limit| limit.hide(true)))]
pub(super) struct Destroy {
    #[command(flatten)]
    operation: Operation,
    /// Delete the data of all members, too. Without it the data stays, and `etcd-ha deploy` goes on with it.
    #[arg(long)]
    data: bool,
    /// Do not ask for the cluster's name: this is it.
    #[arg(long, value_name = "NAME")]
    yes_destroy: Option<String>,
    /// Take no snapshot first: there will be no way back to the data.
    #[arg(long)]
    no_snapshot: bool,
    /// Say what would be deleted on which host, and touch nothing.
    #[arg(long, conflicts_with = "yes_destroy")]
    dry_run: bool,
}

/// What keeps a cluster from being destroyed, before any host is asked.
#[derive(Debug, thiserror::Error)]
enum NotLikeThis {
    /// Some hosts only.
    #[error("`destroy` is for the whole cluster, and `--limit` names some of its hosts")]
    Limited,
    /// Another name was given.
    #[error("`--yes-destroy` says {}, and the cluster of this inventory is {}; nothing was touched", quoted(.said), quoted(.cluster))]
    OtherName { said: String, cluster: String },
}

impl Explain for NotLikeThis {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Limited => Some(
                "to take one member out of a cluster that goes on is another thing: the others have to be told first \
                 (`etcdctl member remove`)"
                    .to_owned(),
            ),
            Self::OtherName { .. } => Some("is it the right inventory?".to_owned()),
        }
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl Destroy {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        if !self.operation.limit.is_empty() {
            return Err(NotLikeThis::Limited.into());
        }
        let inventory = self.operation.target.load()?;
        let cluster = inventory.cluster.clone();
        match &self.yes_destroy {
            Some(said) if *said != cluster => {
                return Err(NotLikeThis::OtherName { said: said.clone(), cluster }.into());
            }
            None if !self.dry_run => {
                somebody_there(
                    &context,
                    "destroy",
                    "say `--yes-destroy NAME` where nobody is there to type the cluster's name; `--dry-run` says what it \
                     would delete",
                )?;
            }
            Some(_) | None => {}
        }
        let what = if self.data { "including its data" } else { "but for its data" };
        let question = format!("All of this is deleted, {what}.\nType the cluster's name, `{cluster}`, to go on: ");
        let kept = what_stays(&inventory, self.data);
        let remind = |_: &Ending| Ok(Some(kept.clone()));
        let how = How {
            command: "destroy",
            dry: self.dry_run,
            detailed: false,
            acting: Acting::default(),
            supplies: None,
            giving_up: Some(GivingUp {
                snapshots: Safeguards { no_snapshot: self.no_snapshot }.snapshots(&cluster),
                question: self.yes_destroy.is_none().then_some(question),
            }),
            way: None,
            up: false,
            at_the_end: &remind,
        };
        let playbook = if self.data { "destroy-data" } else { "destroy" };
        self.operation.run(&context, &own_or(playbook, None)?, inventory, how)
    }
}

/// What is not deleted, and where it is.
fn what_stays(inventory: &Inventory, data: bool) -> String {
    let mut stays = vec![format!("the PKI `{}`", inventory.pki.dir.display())];
    if let Some(state) = state_folder(|name| std::env::var_os(name)) {
        let folder = cluster_folder(&state, &inventory.cluster);
        stays.push(format!("snapshots and run logs in `{}`", folder.display()));
    }
    stays.push(format!("`{}`", inventory.path.display()));
    let on_hosts = if data {
        "on the hosts the system user `etcd`; `etcd-ha deploy` makes a new, empty cluster"
    } else {
        "on the hosts the system user `etcd` and the data, with which `etcd-ha deploy` goes on"
    };
    format!("kept: {}, {on_hosts}", stays.join(", "))
}
