//! Questions on the terminal: before the next member, and before a whole cluster is stopped.

use super::Context;
use crate::error::{Error, ExitStatus, Explain};
use crate::plan::{Ask, Between};
use crate::report::{Output, Reporter};
use std::io::{BufRead as _, IsTerminal as _};
use tokio::sync::watch;

/// There is nobody who could answer.
#[derive(Debug, thiserror::Error)]
#[error("`{what}` asks on the terminal, and there is none")]
pub(super) struct NoTerminal {
    what: &'static str,
    instead: &'static str,
}

impl Explain for NoTerminal {
    fn hint(&self) -> Option<String> {
        Some(self.instead.to_owned())
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

/// Asks between the members of a rolling play.
pub(super) struct Pause {
    output: Output,
}

impl Pause {
    /// Fails where there is no terminal.
    pub fn new(context: &Context) -> Result<Self, Error> {
        somebody_there(context, "--pause", "leave `--pause` out, or take one host at a time with `--limit`")?;
        Ok(Self { output: context.output.clone() })
    }

    /// What the engine asks by. Ctrl-C is a no.
    pub fn ask(self, reporter: Reporter, stop: watch::Receiver<bool>) -> Box<Ask> {
        Box::new(move |between| {
            let (reporter, output, mut stop) = (reporter.clone(), self.output.clone(), stop.clone());
            Box::pin(async move {
                reporter.flush();
                consent(&output, &question(&between), &mut stop).await
            })
        })
    }
}

fn question(between: &Between) -> String {
    let Between { done, next, margin } = between;
    format!("{done} is done ({margin}). Go on with {next}? [y/N] ")
}

fn means_yes(said: &str) -> bool {
    matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Has the user type the cluster's name; false if they type anything else.
pub(super) fn confirm(context: &Context, meaning: &str, cluster: &str) -> Result<bool, Error> {
    somebody_there(context, "stop", "say `--yes` where nobody is there to type the cluster's name")?;
    context.output.err(&format!("{meaning}\nType the cluster's name, `{cluster}`, to go on: "));
    Ok(line().trim() == cluster)
}

/// Asks on the terminal. Ctrl-C is a no.
pub(super) async fn consent(output: &Output, question: &str, stop: &mut watch::Receiver<bool>) -> bool {
    output.err(question);
    tokio::select! {
        said = tokio::task::spawn_blocking(line) => said.is_ok_and(|said| means_yes(&said)),
        _ = stop.wait_for(|stop| *stop) => false,
    }
}

/// What somebody types on the terminal; `None` after Ctrl-C.
pub(super) async fn typed(output: &Output, question: &str, mut stop: watch::Receiver<bool>) -> Option<String> {
    output.err(question);
    tokio::select! {
        said = tokio::task::spawn_blocking(line) => said.ok(),
        _ = stop.wait_for(|stop| *stop) => None,
    }
}

/// Whether somebody can answer a question.
pub(super) fn is_terminal(context: &Context) -> bool {
    std::io::stdin().is_terminal() && context.around.stderr_tty
}

/// Fails where nobody can, and says what to do instead.
pub(super) fn somebody_there(context: &Context, what: &'static str, instead: &'static str) -> Result<(), NoTerminal> {
    if is_terminal(context) { Ok(()) } else { Err(NoTerminal { what, instead }) }
}

/// A line from stdin; nothing if it ended.
fn line() -> String {
    let mut said = String::new();
    // What cannot be read is no consent.
    let _ = std::io::stdin().lock().read_line(&mut said);
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::gate::Margin;

    #[test]
    fn only_yes_is_yes() {
        for (said, want) in
            [("y\n", true), ("Yes\n", true), (" y ", true), ("", false), ("\n", false), ("ja", false), ("n", false)]
        {
            assert_eq!(means_yes(said), want, "{said:?}");
        }
    }

    #[test]
    fn the_question_says_what_is_left_to_spare() {
        let margin = Margin { voters: 3, healthy: 3 };
        let between = Between { done: "node01".into(), next: "node03".into(), margin };
        let want = "node01 is done (3 voters, 3 healthy, 2 needed: 1 to spare). Go on with node03? [y/N] ";
        assert_eq!(question(&between), want);
    }
}
