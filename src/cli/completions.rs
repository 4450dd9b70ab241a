//! `etcd-ha completions`: what makes a shell complete our words.
//!
//! The script that a shell takes in calls `etcd-ha` at every TAB with a variable that says which shell asks; then the
//! words so far are completed instead of done. So names of hosts come from the inventory that the line itself names.

use super::{Cli, Context, topics};
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::lint::Rules;
use crate::inventory::Inventory;
use crate::playbook;
use crate::report::Output;
use clap::{Arg, Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Says which shell wants words to be completed.
pub(super) const VARIABLE: &str = "ETCD_HA_COMPLETE";

/// How the script is put to use.
const INSTALLED: &str = "\
To have it in every new shell, add a line to the shell's start file:
  ~/.bashrc                   source <(etcd-ha completions bash)
  ~/.zshrc, after compinit    source <(etcd-ha completions zsh)
  ~/.config/fish/config.fish  etcd-ha completions fish | source
Names of hosts are those of the inventory that `-i` on the line names, or else ETCD_HA_INVENTORY.";

/// `etcd-ha completions`
#[derive(Debug, Args)]
#[command(after_help = INSTALLED)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The script could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the script")]
struct NoScript(#[source] std::io::Error);

impl Explain for NoScript {}

impl Completions {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let name = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let mut script = Vec::new();
        if let Some(shell) = Shells::builtins().completer(name) {
            shell.write_registration(VARIABLE, "etcd-ha", "etcd-ha", "etcd-ha", &mut script).map_err(NoScript)?;
        }
        context.output.out(&String::from_utf8_lossy(&script))?;
        Ok(ExitStatus::Done)
    }
}

/// Answers a shell that wants the words behind `--` to be completed. What is wrong is not said: nobody would see
/// anything but a line torn up.
pub(super) fn answer(shell: &OsStr, args: Vec<OsString>, output: &Output) -> ExitStatus {
    let shells = Shells::builtins();
    let Some(shell) = shell.to_str().and_then(|name| shells.completer(name)) else { return ExitStatus::Usage };
    let words: Vec<OsString> = args.into_iter().skip_while(|word| word != "--").skip(1).collect();
    let named = inventory_of(&words).or_else(|| std::env::var_os("ETCD_HA_INVENTORY").map(PathBuf::from));
    let inventory = named.and_then(|path| Inventory::load(&at_home(&path), &Rules).ok());
    let hosts = inventory.map(|inventory| inventory.hosts.into_iter().map(|host| host.name).collect::<Vec<_>>());
    let mut command = with_candidates(Cli::command(), &hosts.unwrap_or_default());
    let folder = std::env::current_dir().ok();
    let mut answer = Vec::new();
    if shell.write_complete(&mut command, words, folder.as_deref(), &mut answer).is_err() {
        return ExitStatus::Failed;
    }
    output.out(&String::from_utf8_lossy(&answer)).map_or(ExitStatus::Failed, |()| ExitStatus::Done)
}

/// The inventory that a line names. bash makes three words of `--inventory=FILE`.
fn inventory_of(words: &[OsString]) -> Option<PathBuf> {
    let mut words = words.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let value = match word {
            "-i" | "--inventory" => {
                words.next().map(|next| if next == "=" { words.next().unwrap_or("") } else { next })
            }
            _ if word.starts_with("--") => word.strip_prefix("--inventory="),
            _ => word.strip_prefix("-i").map(|value| value.trim_start_matches('=')),
        };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            return Some(value.into());
        }
    }
    None
}

/// Shells hand `~` on as it was typed.
fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// The same command, which knows what may stand where a host, a playbook, a topic or a subcommand is named.
fn with_candidates(command: Command, hosts: &[String]) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    let topics = topics::NAMES.map(str::to_owned).into_iter().filter(|topic| !names.contains(topic));
    let topics = topics.chain(names.iter().cloned()).collect();
    let command = of_hosts(command, hosts);
    let known = [
        ("playbook", "name", playbook::names().map(str::to_owned).collect()),
        ("help", "topic", topics),
        ("man", "command", names),
    ];
    known.into_iter().fold(command, |command, (subcommand, arg, values)| {
        command.mut_subcommand(subcommand, |command| command.mut_arg(arg, |arg| arg.add(candidates(values))))
    })
}

/// Has hosts completed wherever a subcommand that reads an inventory takes a `HOST`.
fn of_hosts(command: Command, hosts: &[String]) -> Command {
    let inventory = command.get_arguments().any(|arg| arg.get_id() == "inventory");
    let is_host = |arg: &Arg| arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "HOST"));
    let command = command.mut_args(|arg| match inventory && is_host(&arg) {
        true => arg.add(candidates(hosts.to_vec())),
        false => arg,
    });
    command.mut_subcommands(|command| of_hosts(command, hosts))
}

fn candidates(values: Vec<String>) -> ArgValueCandidates {
    ArgValueCandidates::new(move || values.iter().map(CompletionCandidate::new).collect())
}

#[cfg(test)]
mod tests {
    use super::inventory_of;
    use std::path::PathBuf;

    #[test]
    fn the_line_names_the_inventory() {
        for (line, want) in [
            ("etcd-ha deploy -i prod.yaml --limit no", Some("prod.yaml")),
            ("etcd-ha deploy -iprod.yaml", Some("prod.yaml")),
            ("etcd-ha deploy -i=prod.yaml", Some("prod.yaml")),
            ("etcd-ha deploy --inventory prod.yaml", Some("prod.yaml")),
            ("etcd-ha deploy --inventory=prod.yaml", Some("prod.yaml")),
            ("etcd-ha deploy --inventory = prod.yaml", Some("prod.yaml")),
            ("etcd-ha deploy --limit node01", None),
            ("etcd-ha deploy -i", None),
            ("", None),
        ] {
            let words: Vec<_> = line.split_whitespace().map(Into::into).collect();
            assert_eq!(inventory_of(&words), want.map(PathBuf::from), "{line}");
        }
    }
}
