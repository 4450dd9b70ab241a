//! How a subcommand that connects logs in: the flags for it, and what answers the hosts' questions.

use super::Context;
use super::ask::Asker;
use super::secret::Flags;
use crate::error::Error;
use crate::report::Reporter;
use crate::ssh::{Connector, Credentials, Prompt, Secret};
use clap::Args;
use std::sync::Arc;

const FLAGS: Flags = Flags {
    ask: "--ask-pass",
    fd: "--pass-fd",
    command: "--pass-command",
    question: "Password for SSH on the hosts: ",
    instead: "say `--pass-command` or `--pass-fd` where nobody is there to type it",
};

/// The password for the hosts' sshd, where keys will not do. Jump hosts are not given it.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(super) struct LoginPassword {
    /// Ask on the terminal, once, for the password that SSH wants on the hosts.
    #[arg(long)]
    ask_pass: bool,
    /// Read that password from this file descriptor; its first line counts.
    #[arg(long, value_name = "N")]
    pass_fd: Option<u32>,
    /// Have a shell command say that password; its first line counts.
    #[arg(long, value_name = "CMD")]
    pass_command: Option<String>,
}

impl LoginPassword {
    /// The password, if the command line says where it is. Nothing may be told while it is asked for.
    pub fn read(&self, context: &Context) -> Result<Option<Secret>, Error> {
        let Self { ask_pass, pass_fd, pass_command } = self;
        let secret = FLAGS.read(context, *ask_pass, *pass_fd, pass_command.as_deref())?;
        Ok(secret.map(Secret::new))
    }
}

/// What connects with the credentials of this process, and whom it may ask.
pub(super) fn connector(
    context: &Context,
    password: Option<Secret>,
    reporter: &Reporter,
) -> (Connector, Option<Arc<Asker>>) {
    let asker = Asker::new(context, reporter.clone());
    let prompt = asker.clone().map(|asker| asker as Arc<dyn Prompt>);
    (Connector::new(Credentials { password, prompt, ..Credentials::from_env() }), asker)
}
