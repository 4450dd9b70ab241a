//! The passphrase of the CA's key: asked for once something is to be issued, or handed over by a script.

use super::Context;
use super::ask::{self, Asker};
use super::pause::is_terminal;
use super::secret::Flags;
use crate::error::Error;
use crate::pki::{Keeper, Occasion, Passphrase, PkiError};
use crate::report::Reporter;
use crate::ssh::{Prompt as _, Question};
use clap::Args;
use futures::future::BoxFuture;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How often somebody may mistype it.
const TRIES: usize = 3;

const WRONG: &str = "That passphrase is wrong.";
const EMPTY: &str = "An empty passphrase protects nothing.";
const DIFFERENT: &str = "The two differ.";
const AGAIN: &str = "The same again: ";

/// Where the passphrase of the CA's key comes from; without these, a terminal is asked.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(super) struct CaPassphrase {
    /// Read the passphrase of an encrypted CA key from this file descriptor, once it is needed; its first line counts.
    #[arg(long, value_name = "N")]
    ca_pass_fd: Option<u32>,
    /// Have a shell command say the passphrase of an encrypted CA key, once it is needed; its first line counts.
    #[arg(long, value_name = "CMD")]
    ca_pass_command: Option<String>,
}

/// Where a new passphrase comes from; without these, a terminal is asked.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(super) struct NewCaPassphrase {
    /// Read the new passphrase from this file descriptor; its first line counts.
    #[arg(long, value_name = "N")]
    new_ca_pass_fd: Option<u32>,
    /// Have a shell command say the new passphrase; its first line counts.
    #[arg(long, value_name = "CMD")]
    new_ca_pass_command: Option<String>,
}

fn question(key: &Path) -> String {
    format!("Passphrase of the CA key `{}`: ", key.display())
}

fn new_question(key: &Path) -> String {
    format!("New passphrase for the CA key `{}`: ", key.display())
}

/// Whether what was typed twice can be a new passphrase, or else what is said of it.
fn agreed(typed: Zeroizing<String>, again: &str) -> Result<Passphrase, &'static str> {
    if *typed == again { Passphrase::new(typed).ok_or(EMPTY) } else { Err(DIFFERENT) }
}

impl CaPassphrase {
    const FLAGS: Flags = Flags::without_question("--ca-pass-fd", "--ca-pass-command");

    /// What was handed over without a question.
    fn given(&self) -> Result<Option<Passphrase>, Error> {
        let given = Self::FLAGS.given(self.ca_pass_fd, self.ca_pass_command.as_deref())?;
        Ok(given.and_then(Passphrase::new))
    }

    fn is_given(&self) -> bool {
        self.ca_pass_fd.is_some() || self.ca_pass_command.is_some()
    }

    /// Does what takes the passphrase of the CA's key, before anything else is told on the terminal. The passphrase is
    /// handed back, too.
    pub fn with<T>(
        &self,
        context: &Context,
        key: &Path,
        mut work: impl FnMut(&Passphrase) -> Result<T, PkiError>,
    ) -> Result<(Passphrase, T), Error> {
        if let Some(passphrase) = self.given()? {
            let done = work(&passphrase)?;
            return Ok((passphrase, done));
        }
        let nobody = || PkiError::Sealed { path: key.to_owned(), new: false };
        let mut tries = 1;
        loop {
            let typed = typed(context, &question(key), nobody)?;
            let passphrase = Passphrase::new(typed).ok_or_else(nobody)?;
            match work(&passphrase) {
                Ok(done) => return Ok((passphrase, done)),
                Err(error) if error.is_wrong_passphrase() && tries < TRIES => {
                    context.output.err(&format!("{WRONG}\n"));
                }
                Err(error) => return Err(error.into()),
            }
            tries += 1;
        }
    }

    /// What asks for it in a run, once it is needed.
    pub fn keeper(self, asker: Option<Arc<Asker>>, reporter: Reporter) -> Arc<dyn Keeper> {
        Arc::new(Hand { flags: self, asker, reporter })
    }
}

impl NewCaPassphrase {
    const FLAGS: Flags = Flags::without_question("--new-ca-pass-fd", "--new-ca-pass-command");

    /// A new passphrase; typed twice, if it is typed.
    pub fn read(&self, context: &Context, key: &Path) -> Result<Passphrase, Error> {
        let nobody = || PkiError::NoNewPassphrase { path: key.to_owned() };
        let given = Self::FLAGS.given(self.new_ca_pass_fd, self.new_ca_pass_command.as_deref())?;
        if let Some(passphrase) = given.and_then(Passphrase::new) {
            return Ok(passphrase);
        }
        for _ in 0..TRIES {
            let once = typed(context, &new_question(key), nobody)?;
            match agreed(once, &typed(context, AGAIN, nobody)?) {
                Ok(passphrase) => return Ok(passphrase),
                Err(flaw) => context.output.err(&format!("{flaw}\n")),
            }
        }
        Err(nobody().into())
    }
}

/// What is typed on the terminal; an error where there is none, or nobody types.
fn typed(context: &Context, question: &str, nobody: impl Fn() -> PkiError) -> Result<Zeroizing<String>, Error> {
    if !is_terminal(context) {
        return Err(nobody().into());
    }
    Ok(ask::secret(&context.output, question)?.ok_or_else(nobody)?)
}

/// Hands it over in a run.
struct Hand {
    flags: CaPassphrase,
    asker: Option<Arc<Asker>>,
    reporter: Reporter,
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hand")
    }
}

impl Hand {
    async fn given(&self) -> Result<Option<Passphrase>, Error> {
        // A password store may ask on the terminal for what opens it.
        let _quiet = self.reporter.hold();
        let flags = self.flags.clone();
        // It cannot be waited for only if the run is over.
        tokio::task::spawn_blocking(move || flags.given()).await.unwrap_or(Ok(None))
    }

    async fn asked(&self, occasion: &Occasion, again: bool) -> Option<Passphrase> {
        let asker = self.asker.as_deref()?;
        let ask = |text: String| Question { text, echo: false };
        if !occasion.new {
            let notice: Vec<String> = again.then(|| WRONG.to_owned()).into_iter().collect();
            let mut typed = asker.ask(&notice, &[ask(question(&occasion.key))]).await?;
            return Passphrase::new(typed.pop()?);
        }
        let questions = [ask(new_question(&occasion.key)), ask(AGAIN.to_owned())];
        let mut notice = Vec::new();
        for _ in 0..TRIES {
            let mut typed = asker.ask(&notice, &questions).await?;
            let (second, first) = (typed.pop()?, typed.pop()?);
            match agreed(first, &second) {
                Ok(passphrase) => return Some(passphrase),
                Err(flaw) => notice = vec![flaw.to_owned()],
            }
        }
        None
    }
}

impl Keeper for Hand {
    fn hand_over<'a>(&'a self, occasion: &'a Occasion, again: bool) -> BoxFuture<'a, Result<Passphrase, Error>> {
        Box::pin(async move {
            let passphrase =
                if self.flags.is_given() { self.given().await? } else { self.asked(occasion, again).await };
            passphrase.ok_or_else(|| occasion.refusal().into())
        })
    }

    fn tries(&self) -> usize {
        if self.flags.is_given() { 1 } else { TRIES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_passphrase_is_typed_twice_and_is_not_empty() {
        for (first, second, want) in
            [("a b", "a b", Ok(())), ("a", "b", Err(DIFFERENT)), ("", "", Err(EMPTY)), ("a", "", Err(DIFFERENT))]
        {
            assert_eq!(agreed(Zeroizing::new(first.to_owned()), second).map(drop), want, "{first} {second}");
        }
    }
}
