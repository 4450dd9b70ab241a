//! `command`: a step of the user's own, as a list of arguments; no shell reads them.

use super::template::Template;
use super::{Decision, Hands, HostTask, Needs, TaskError, View};
use crate::host::Script;
use crate::ssh::quote;
use serde::Deserialize;

/// Run a command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments.
    #[serde(deserialize_with = "program")]
    argv: Vec<Template>,
    /// Not needed where this path is there.
    #[serde(default)]
    creates: Option<Template>,
    /// Not needed where this command succeeds; it must change nothing.
    #[serde(default, deserialize_with = "maybe_program")]
    unless: Option<Vec<Template>>,
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
        let unless = self.unless.as_ref().map(|argv| format!("{} >/dev/null 2>&1 </dev/null", words(argv, view)));
        let tests: Vec<String> = creates.into_iter().chain(unless).collect();
        Needs { probe: (!tests.is_empty()).then(|| tests.join(" || ")), ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        Ok(match view.probe {
            Some(0) => Decision::Nothing,
            _ => Decision::change(format!("run `{}`", words(&self.argv, view))),
        })
    }

    fn verify(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        if self.creates.is_none() && self.unless.is_none() { Ok(Decision::Nothing) } else { self.check(view) }
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let command = words(&self.argv, view);
        let what = format!("`{command}`");
        hands.connection.run(Script::new(&what, &format!("{command} </dev/null\n"))).await?;
        Ok(())
    }
}
