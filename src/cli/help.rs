//! `etcd-ha help`: a subcommand's flags, or one of the topics.

use super::{Cli, Context, told_by_clap, topics};
use crate::error::{Error, ExitStatus, Explain};
use crate::inventory::{nearest, quoted};
use clap::{Args, CommandFactory as _};

/// `etcd-ha help`
#[derive(Debug, Args)]
pub(super) struct Help {
    /// A topic (inventory, playbook, exit-codes, environment) or a subcommand with its own subcommands' names.
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

/// There is nothing of this name to be explained.
#[derive(Debug, thiserror::Error)]
#[error("there is no subcommand {}{}", if of.is_empty() { "and no topic " } else { "" }, self.named())]
struct Unknown {
    word: String,
    /// The subcommand that has none of this name.
    of: String,
    near: Option<String>,
}

impl Unknown {
    fn named(&self) -> String {
        if self.of.is_empty() { quoted(&self.word) } else { format!("{} of `{}`", quoted(&self.word), self.of) }
    }
}

impl Explain for Unknown {
    fn hint(&self) -> Option<String> {
        let topics = topics::NAMES.join(", ");
        Some(match &self.near {
            Some(near) => format!("did you mean `{near}`?"),
            None if !self.of.is_empty() => format!("`etcd-ha {} --help` lists them", self.of),
            None => format!("the topics are {topics}; `etcd-ha help` lists the subcommands"),
        })
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl Help {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        if let [topic] = &self.topic[..] {
            let columns = context.around.columns.map_or(100, usize::from).clamp(40, 100);
            if let Some(text) = topics::text(topic, columns) {
                context.output.out(&text)?;
                return Ok(ExitStatus::Done);
            }
        }
        let mut command = Cli::command();
        command.build();
        let mut at = &command;
        for (depth, word) in self.topic.iter().enumerate() {
            at = at.find_subcommand(word).ok_or_else(|| {
                let known = at.get_subcommands().map(clap::Command::get_name);
                let topics = topics::NAMES.into_iter().filter(|_| depth == 0);
                let near = nearest(word, known.chain(topics)).map(str::to_owned);
                Unknown { word: word.clone(), of: self.topic[..depth].join(" "), near }
            })?;
        }
        let words = std::iter::once("etcd-ha").chain(self.topic.iter().map(String::as_str)).chain(["--help"]);
        match Cli::command().try_get_matches_from(words) {
            Err(text) => Ok(told_by_clap(&text, &context.around, &context.output)),
            // `--help` is always answered by a text.
            Ok(_) => Ok(ExitStatus::Done),
        }
    }
}
