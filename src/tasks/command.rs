//! `command`: a step of the user's own, as a list of arguments; no shell reads them.

use super::template::Template;
use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::host::{APART, Script};
use crate::ssh::quote;
use serde::Deserialize;
use std::process::Stdio;

/// Run a command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments.
    #[serde(deserialize_with = "program")]
    argv: Vec<Template>,
    /// Where it runs.
    #[serde(default)]
    on: Place,
    /// Not needed where this path is there; asked on hosts only.
    #[serde(default)]
    creates: Option<Template>,
    /// Not needed where this command succeeds; it must change nothing, and is asked on hosts only.
    #[serde(default, deserialize_with = "maybe_program")]
    unless: Option<Vec<Template>>,
}

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    /// On the host.
    #[default]
    Host,
    /// On the controller, once for every host.
    Controller,
}

/// A program and its arguments. Of an empty list a shell would say that it succeeded.
fn program<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Template>, D::Error> {
    let argv = Vec::deserialize(deserializer)?;
    if argv.is_empty() {
        return Err(serde::de::Error::custom("there is no program in the list"));
    }
    Ok(argv)
}

fn maybe_program<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Template>>, D::Error> {
    program(deserializer).map(Some)
}

fn words(argv: &[Template], view: &View<'_>) -> String {
    argv.iter().map(|word| quote(&word.expand(view))).collect::<Vec<_>>().join(" ")
}

impl HostTask for Command {
    fn needs(&self, view: &View<'_>) -> Needs {
        let creates = self.creates.as_ref().map(|path| format!("[ -e {} ]", quote(&path.expand(view))));
        let unless =
            self.unless.as_ref().map(|argv| format!("{} >/dev/null 2>&1 </dev/null {APART}", words(argv, view)));
        let tests: Vec<String> = creates.into_iter().chain(unless).filter(|_| self.on == Place::Host).collect();
        Needs { probe: (!tests.is_empty()).then(|| tests.join(" || ")), ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        Ok(match view.probe {
            Some(0) => Decision::Nothing,
            _ => Decision::change(format!("run `{}`", words(&self.argv, view))),
        })
    }

    fn verify(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let asked = self.on == Place::Host && (self.creates.is_some() || self.unless.is_some());
        if asked { self.check(view) } else { Ok(Decision::Nothing) }
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let command = words(&self.argv, view);
        if self.on == Place::Controller {
            let argv: Vec<String> = self.argv.iter().map(|word| word.expand(view)).collect();
            return on_controller(&argv, command).await;
        }
        let what = format!("`{command}`");
        hands.connection.run(Script::new(&what, &format!("{command} </dev/null {APART}\n"))).await?;
        Ok(())
    }
}

/// Runs a command on the controller, without input; it is killed if the run is left.
async fn on_controller(argv: &[String], command: String) -> Result<(), TaskError> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ended = child.output().await;
    let (how, said) = match ended {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => {
            let all = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&all);
            let last = text.lines().rev().find(|line| !line.trim().is_empty());
            let said = last.map(|line| line.chars().filter(|c| !c.is_control()).take(300).collect());
            // `exit status: 3`, `signal: 9 (SIGKILL)`
            (format!("ended with {}", output.status), said)
        }
        Err(error) => (format!("could not be run: {error}"), None),
    };
    Err(TaskError::Command { command, how, said })
}
