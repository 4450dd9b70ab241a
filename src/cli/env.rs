//! `etcd-ha env`: what a shell needs to use etcdctl on this machine.

use super::Context;
use super::options::{OutputFormat, Target};
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::config::client_url;
use crate::inventory::Inventory;
use crate::pki::{self, ClientName, Place};
use crate::report::{cluster_folder, state_folder};
use crate::ssh::quote;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use time::OffsetDateTime;

/// The variables that etcdctl reads (its `--help`: a flag's name in capitals after `ETCDCTL_`).
const VARIABLES: [&str; 5] = ["ETCDCTL_API", "ETCDCTL_ENDPOINTS", "ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"];

/// `etcd-ha env`
#[derive(Debug, Args)]
#[command(after_help = "Use:
  eval \"$(etcd-ha env -i FILE)\"                    sh, bash, zsh
  etcd-ha env -i FILE --shell fish | source        fish
  eval \"`etcd-ha env -i FILE --shell csh`\"         csh, tcsh")]
pub(super) struct Env {
    /// The inventory file.
    #[arg(short, long, value_name = "FILE", env = "ETCD_HA_INVENTORY", required_unless_present = "unset")]
    inventory: Option<PathBuf>,
    /// As whom: `admin`, or the name of a client certificate that was issued.
    #[arg(long, default_value = "admin")]
    name: ClientName,
    /// The shell's language.
    #[arg(long, value_enum, default_value_t = Shell::Sh)]
    shell: Shell,
    /// Print what takes the variables away again.
    #[arg(long)]
    unset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// sh, bash, zsh, ksh.
    Sh,
    /// fish.
    Fish,
    /// csh, tcsh.
    Csh,
}

#[derive(Debug, thiserror::Error)]
#[error("there is no folder to keep the client certificate in")]
struct NoFolder;

impl Explain for NoFolder {
    fn hint(&self) -> Option<String> {
        Some("set `XDG_STATE_HOME` or `HOME` to an absolute path".to_owned())
    }
}

impl Env {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        if !self.unset {
            return self.set(&context);
        }
        context.output.out(&match context.global.output {
            OutputFormat::Json => format!("{}\n", json!({ "v": 1, "unset": VARIABLES })),
            _ => VARIABLES.map(|name| self.shell.unset(name)).concat(),
        })?;
        Ok(ExitStatus::Done)
    }

    fn set(self, context: &Context) -> Result<ExitStatus, Error> {
        let path = self.inventory.clone().unwrap_or_default();
        let inventory = Target { inventory: path.clone() }.load()?;
        let state = state_folder(|name| std::env::var_os(name)).ok_or(NoFolder)?;
        let client = pki::client_certificate(&inventory.pki, &self.name, OffsetDateTime::now_utc())?;
        for warning in &client.warnings {
            context.output.err(&format!("warning: {warning}\n"));
        }
        let folder = cluster_folder(&state, &inventory.cluster).join("client");
        let place = pki::keep_for_a_client(&client, &folder)?;
        let values = values(&inventory, &place);
        let text = match context.global.output {
            OutputFormat::Json => {
                let values: Map<_, _> =
                    values.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
                format!(
                    "{}\n",
                    json!({ "v": 1, "cluster": inventory.cluster, "name": self.name.to_string(), "env": values })
                )
            }
            _ => values.iter().map(|(name, value)| self.shell.set(name, value)).collect(),
        };
        context.output.out(&text)?;
        if context.around.stdout_tty && context.global.output == OutputFormat::Text {
            let call = format!("etcd-ha env -i {}", quote(&path.to_string_lossy()));
            context.output.err(&format!("hint: `{}` sets them in this shell\n", self.shell.usage(&call, &self.name)));
        }
        Ok(ExitStatus::Done)
    }
}

fn values(inventory: &Inventory, place: &Place) -> [(&'static str, String); 5] {
    let endpoints: Vec<_> = inventory.hosts.iter().map(client_url).collect();
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let values = ["3".to_owned(), endpoints.join(","), path(&place.ca), path(&place.certificate), path(&place.key)];
    let mut values = values.into_iter();
    VARIABLES.map(|name| (name, values.next().unwrap_or_default()))
}

impl Shell {
    fn set(self, name: &str, value: &str) -> String {
        match self {
            Self::Sh => format!("export {name}={}\n", quote(value)),
            // Where the lines are made one by `eval`, each has to end by itself.
            Self::Fish => format!("set -gx {name} {};\n", fish(value)),
            Self::Csh => format!("setenv {name} {};\n", csh(value)),
        }
    }

    fn unset(self, name: &str) -> String {
        match self {
            Self::Sh => format!("unset {name}\n"),
            Self::Fish => format!("set -e {name};\n"),
            Self::Csh => format!("unsetenv {name};\n"),
        }
    }

    fn usage(self, call: &str, name: &ClientName) -> String {
        let name = if name.is_admin() { String::new() } else { format!(" --name {name}") };
        match self {
            Self::Sh => format!("eval \"$({call}{name})\""),
            Self::Fish => format!("{call}{name} --shell fish | source"),
            Self::Csh => format!("eval \"`{call}{name} --shell csh`\""),
        }
    }
}

/// In fish's single quotes a backslash stands for nothing but itself and for a single quote.
fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// As [`quote`] has it, but csh looks for `!` in single quotes, too.
fn csh(value: &str) -> String {
    quote(value).replace('!', "'\\!'")
}
