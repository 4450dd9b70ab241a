//! `etcd-ha playbook`: the embedded playbooks, to be copied.

use super::Context;
use crate::error::{Error, ExitStatus, Explain};
use crate::inventory::nearest;
use crate::playbook::{embedded, names};
use clap::Args;

/// `etcd-ha playbook`
#[derive(Debug, Args)]
pub(super) struct Playbook {
    /// Its name; without one, the names of all.
    name: Option<String>,
}

/// There is no such playbook.
#[derive(Debug, thiserror::Error)]
#[error("there is no playbook `{name}`; there are: {}", names().collect::<Vec<_>>().join(", "))]
struct Unknown {
    name: String,
}

impl Explain for Unknown {
    fn hint(&self) -> Option<String> {
        nearest(&self.name, names()).map(|near| format!("did you mean `{near}`?"))
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl Playbook {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let text = match self.name {
            None => names().map(|name| format!("{name}\n")).collect(),
            Some(name) => embedded(&name).ok_or(Unknown { name })?.to_owned(),
        };
        context.output.out(&text)?;
        Ok(ExitStatus::Done)
    }
}
