//! The command line: flags become a call. One file per query, one struct for the playbook-backed
//! operations.

mod ask;
mod become_password;
mod certs;
mod deploy;
mod descriptors;
mod explain;
mod health;
mod hops;
mod init;
mod interrupt;
mod login;
mod members;
mod operation;
mod options;
mod pause;
mod playbook;
mod probe;
mod query;
mod render;
mod schema;
mod secret;
mod ssh_config;
mod trust;
mod upgrade;

use crate::error::{Error, ExitStatus};
use crate::report::{Output, Surroundings};
use clap::{Parser, Subcommand};
use options::Global;
use std::ffi::OsString;
use std::process::ExitCode;

/// Stands up, changes and rescues etcd clusters on plain Linux machines over SSH.
#[derive(Debug, Parser)]
#[command(name = "etcd-ha", version, propagate_version = true, disable_help_subcommand = false)]
#[command(after_help = "Exit codes:
  0    done, or nothing to do
  1    a host or a task failed
  2    the command line, the inventory or the playbook is wrong
  3    the cluster is not healthy
  4    refused, since it would cost quorum or data
  6    a change did not come up and was taken back
  10   changes are pending (`plan --detailed-exitcode`)
  130  interrupted")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $module:ident :: $command:ident),* $(,)?) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$doc])* $command($module::$command),)*
        }

        impl Command {
            fn run(self, context: Context) -> Result<ExitStatus, Error> {
                match self { $(Self::$command(command) => command.run(context),)* }
            }
        }
    };
}

commands! {
    /// Bring the cluster up, or bring it to what the inventory says, one member at a time.
    deploy::Deploy,
    /// Say what `deploy` would change, and touch nothing.
    deploy::Plan,
    /// Bring the members to another version of etcd, and write it into the inventory.
    upgrade::Upgrade,
    /// Bring every member back to what was in force before its last change, one at a time.
    members::Rollback,
    /// Restart every member, one at a time.
    members::Restart,
    /// Stop the whole cluster or, with `--limit`, members that the others can spare.
    members::Stop,
    /// Start members that do not run.
    members::Start,
    /// Run a playbook.
    deploy::Run,
    /// Ask every member for its health.
    health::Health,
    /// Say why the cluster is not well, in plain words, and what to type next.
    explain::Explain,
    /// Fetch the hosts' keys, show their fingerprints, and write them down as known.
    trust::Trust,
    /// Show the certificates in the PKI folder.
    certs::Certs,
    /// Show how a host is reached over SSH, and where each setting comes from.
    ssh_config::SshConfig,
    /// Write a starter inventory.
    init::Init,
    /// Print the JSON Schema of inventories, for editors.
    schema::Schema,
    /// Print a playbook that comes with etcd-ha, to be copied and extended.
    playbook::Playbook,
}

/// What every subcommand works with.
struct Context {
    global: Global,
    output: Output,
    around: Surroundings,
}

/// Runs the program with `args`, the first of which is its name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    run(args, Output::process()).into()
}

/// Runs the program and says how it ended; a test can do so twice in one process.
pub fn run(args: impl Iterator<Item = OsString>, output: Output) -> ExitStatus {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render();
            let stderr = error.use_stderr();
            let text = if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            if stderr {
                output.err(&text);
                return ExitStatus::Usage;
            }
            return output.out(&text).map_or(ExitStatus::Failed, |()| ExitStatus::Done);
        }
    };
    let context = Context { global: cli.global, output: output.clone(), around: Surroundings::look() };
    let ended = cli.command.run(context);
    ended.unwrap_or_else(|error: Error| {
        output.err(&error.render());
        error.exit()
    })
}
