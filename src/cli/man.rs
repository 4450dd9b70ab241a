//! `etcd-ha man`: manual pages, made of the same list of flags that `--help` shows.

use super::{Cli, Context};
use crate::error::{Error, ExitStatus, Explain};
use crate::inventory::{nearest, quoted};
use clap::{Args, Command, CommandFactory as _};
use std::path::PathBuf;

/// What every page says at its foot.
const SOURCE: &str = concat!("etcd-ha ", env!("CARGO_PKG_VERSION"));

/// `etcd-ha man`
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The subcommand, with its own subcommands' names; without one, the page of the whole program.
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write all pages into this folder, which is made if it is not there: etcd-ha.1, etcd-ha-deploy.1 and so on.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A page cannot be had.
#[derive(Debug, thiserror::Error)]
enum ManError {
    #[error("there is no subcommand {}", quoted(word))]
    Unknown { word: String, near: Option<String> },
    #[error("cannot make a manual page")]
    Render(#[source] std::io::Error),
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

impl Explain for ManError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { near: Some(near), .. } => Some(format!("did you mean `{near}`?")),
            Self::Unknown { near: None, .. } => Some("`etcd-ha --help` lists the subcommands".to_owned()),
            Self::Render(_) | Self::Write { .. } => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::Unknown { .. } => ExitStatus::Usage,
            Self::Render(_) | Self::Write { .. } => ExitStatus::Failed,
        }
    }
}

impl Man {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let mut command = Cli::command();
        command.build();
        let Some(dir) = self.dir else {
            let mut at = &command;
            for word in &self.command {
                at = at.find_subcommand(word).ok_or_else(|| {
                    let near = nearest(word, at.get_subcommands().map(Command::get_name)).map(str::to_owned);
                    ManError::Unknown { word: word.clone(), near }
                })?;
            }
            context.output.out(&page(at)?)?;
            return Ok(ExitStatus::Done);
        };
        std::fs::create_dir_all(&dir).map_err(|source| ManError::Write { path: dir.clone(), source })?;
        let (mut left, mut names) = (vec![&command], Vec::new());
        while let Some(command) = left.pop() {
            let name = format!("{}.1", title(command));
            let path = dir.join(&name);
            std::fs::write(&path, page(command)?).map_err(|source| ManError::Write { path, source })?;
            names.push(name);
            left.extend(command.get_subcommands());
        }
        names.sort();
        let lines: String = names.iter().map(|name| format!("{}\n", dir.join(name).display())).collect();
        context.output.out(&lines)?;
        Ok(ExitStatus::Done)
    }
}

/// `etcd-ha-certs-show`
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// A subcommand's page, or the whole program's, as roff.
fn page(command: &Command) -> Result<String, ManError> {
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    let rendered = page
        .render_title(&mut text)
        .and_then(|()| page.render_name_section(&mut text))
        .and_then(|()| page.render_synopsis_section(&mut text))
        .and_then(|()| page.render_description_section(&mut text))
        .and_then(|()| page.render_options_section(&mut text))
        .and_then(|()| match command.has_subcommands() {
            true => page.render_subcommands_section(&mut text),
            false => Ok(()),
        });
    rendered.map_err(ManError::Render)?;
    // An empty date has to be quoted, or the source is taken for it.
    let head = format!(".TH \"{}\" 1 \"\" \"{SOURCE}\" \"etcd-ha manual\"", title(command));
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(|line| if line.starts_with(".TH ") { head.as_str() } else { line });
    let mut text = lines.flat_map(|line| [line, "\n"]).flat_map(str::chars).map(ascii).collect::<String>();
    text += ".SH \"EXIT STATUS\"\n";
    for status in ExitStatus::ALL {
        let meaning = status.meaning().replace('-', "\\-").replace('`', "\\(ga");
        text += &format!(".TP\n\\fB{}\\fR\n{meaning}\n", status.code());
    }
    Ok(text)
}

/// What roff takes of any locale.
fn ascii(c: char) -> String {
    if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) }
}
