//! `etcd-ha init`: an inventory to begin with.

use super::Context;
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::lint::Rules;
use crate::etcd::version;
use crate::inventory::{Inventory, SCHEMA_FILE, json_schema, starter};
use clap::Args;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// `etcd-ha init`
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The cluster's name.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// A host, as ADDRESS or NAME=ADDRESS; once for each. Without a name they are node01, node02, …
    #[arg(long, value_name = "[NAME=]ADDRESS", required = true)]
    host: Vec<String>,
    /// Where to write it; `NAME.yaml` of the cluster by default, `-` for stdout.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
struct CannotWrite {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl Explain for CannotWrite {
    fn hint(&self) -> Option<String> {
        match self.source.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Some("nothing was overwritten; give another name with --file".to_owned())
            }
            std::io::ErrorKind::NotFound => Some("make its folder first".to_owned()),
            _ => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl Init {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let hosts: Vec<(String, String)> = self
            .host
            .iter()
            .enumerate()
            .map(|(index, host)| match host.split_once('=') {
                Some((name, address)) => (name.to_owned(), address.to_owned()),
                None => (format!("node{:02}", index + 1), host.clone()),
            })
            .collect();
        let text = starter(&self.cluster, &hosts, &version::recommended());
        let path = self.file.unwrap_or_else(|| PathBuf::from(format!("{}.yaml", self.cluster)));
        // What would be refused later is refused now, and nothing is written.
        let inventory = Inventory::parse(&path, &text, &Rules)?;
        if path == Path::new("-") {
            context.output.out(&text)?;
            return Ok(ExitStatus::Done);
        }
        write_new(&path, &text)?;
        let schema = path.with_file_name(SCHEMA_FILE);
        let mut wrote = path.display().to_string();
        if !schema.exists() {
            write_new(&schema, &json_schema())?;
            wrote += &format!(" and {}", schema.display());
        }
        for warning in &inventory.warnings {
            context.output.err(&format!("warning: {warning}\n"));
        }
        context.output.err(&format!(
            "wrote {wrote}\nnext: look through it, then `etcd-ha plan -i {path}` and `etcd-ha deploy -i {path}`\n",
            path = path.display(),
        ));
        Ok(ExitStatus::Done)
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), CannotWrite> {
    let failed = |source| CannotWrite { path: path.to_owned(), source };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
