//! The command line: flags become a call. One file per query, one struct for the playbook-backed
//! operations.

mod ask;
mod become_password;
mod ca_passphrase;
mod certs;
mod check;
mod completions;
mod core_files;
mod ctl;
mod deploy;
mod descriptors;
mod destroy;
mod env;
mod exec;
mod explain;
mod giving_up;
mod health;
mod help;
mod history;
mod hops;
mod init;
mod interrupt;
mod last_line;
mod lock;
mod login;
mod logs;
mod man;
mod members;
mod moment;
mod operation;
mod options;
mod pause;
mod playbook;
mod probe;
mod prometheus;
mod proxy;
mod query;
mod render;
mod schema;
mod secret;
mod ssh_config;
mod status;
mod timings;
mod topics;
mod trust;
mod upgrade;
mod when;
mod who;

use crate::error::{Error, ExitStatus};
use crate::report::{Color, Output, Style, Surroundings};
use clap::{Parser, Subcommand};
use options::Global;
use std::ffi::OsString;
use std::process::ExitCode;

/// Stands up, changes and rescues etcd clusters on plain Linux machines over SSH.
#[derive(Debug, Parser)]
#[command(name = "etcd-ha", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = topics::exit_codes_in_short())]
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
    /// Give the cluster up: stop it for good and delete what was put on its hosts.
    destroy::Destroy,
    /// Show every member and host in one table: state, version, data, drift.
    status::Status,
    /// Ask every member for its health.
    health::Health,
    /// Say why the cluster is not well, in plain words, and what to type next.
    explain::Explain,
    /// Look whether the hosts can run members, and measure disks and round trips.
    check::Check,
    /// Show the journals of all members, merged by time.
    logs::Logs,
    /// List past runs, or tell one again.
    history::History,
    /// Say who is at work on the cluster, or take the lock away from a run that hangs.
    lock::Lock,
    /// Run the cluster's own etcdctl on a member, with endpoints and certificates set.
    ctl::Ctl,
    /// Run a command on hosts, as root and in parallel.
    exec::Exec,
    /// Forward local ports to the members until Ctrl-C, for tools on this machine.
    proxy::Proxy,
    /// Print what a shell needs to use etcdctl here.
    env::Env,
    /// Show, issue and export certificates, and look at what members really serve.
    certs::Certs,
    /// Print how Prometheus scrapes the members, or alert rules.
    prometheus::Prometheus,
    /// Fetch the hosts' keys, show their fingerprints, and write them down as known.
    trust::Trust,
    /// Show how a host is reached over SSH, and where each setting comes from.
    ssh_config::SshConfig,
    /// Write a starter inventory.
    init::Init,
    /// Print the JSON Schema of inventories, for editors.
    schema::Schema,
    /// Print a playbook that comes with etcd-ha, to be copied and extended.
    playbook::Playbook,
    /// Print what makes a shell complete `etcd-ha`'s words, names of hosts among them.
    completions::Completions,
    /// Print a manual page, or write all of them into a folder.
    man::Man,
    /// Explain a subcommand, or one of: inventory, playbook, exit-codes, environment.
    help::Help,
}

/// What every subcommand works with.
struct Context {
    global: Global,
    output: Output,
    around: Surroundings,
}

/// Runs the program with `args`, the first of which is its name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    core_files::leave_out();
    run(args, Output::process()).into()
}

/// Runs the program and says how it ended; a test can do so twice in one process.
pub fn run(args: impl Iterator<Item = OsString>, output: Output) -> ExitStatus {
    let around = Surroundings::look();
    let args: Vec<OsString> = args.collect();
    if let Some(shell) = std::env::var_os(completions::VARIABLE) {
        return completions::answer(&shell, args, &output);
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return told_by_clap(&error, &around, &output),
    };
    let context = Context { global: cli.global, output: output.clone(), around };
    let ended = cli.command.run(context);
    ended.unwrap_or_else(|error: Error| {
        output.err(&error.render());
        error.exit()
    })
}

/// Prints a help text or what is wrong with the command line.
fn told_by_clap(error: &clap::Error, around: &Surroundings, output: &Output) -> ExitStatus {
    let text = error.render();
    let told = |style: Style| if style.is_colored() { text.ansi().to_string() } else { text.to_string() };
    if error.use_stderr() {
        output.err(&told(around.stderr_style(Color::Auto)));
        return ExitStatus::Usage;
    }
    output.out(&told(around.stdout_style(Color::Auto))).map_or(ExitStatus::Failed, |()| ExitStatus::Done)
}
