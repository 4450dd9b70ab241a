//! The password for sudo or doas on the hosts: asked for on the terminal, or handed over by a script.

use super::Context;
use super::secret::Flags;
use crate::error::Error;
use crate::host::Password;
use clap::Args;
use std::sync::Arc;

const FLAGS: Flags = Flags {
    ask: "--ask-become-pass",
    fd: "--become-pass-fd",
    command: "--become-pass-command",
    question: "Password for sudo or doas on the hosts: ",
    instead: "say `--become-pass-command` or `--become-pass-fd` where nobody is there to type it",
};

/// Where the password comes from.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(super) struct BecomePassword {
    /// Ask on the terminal, once, for the password that sudo or doas wants on the hosts.
    #[arg(long)]
    ask_become_pass: bool,
    /// Read that password from this file descriptor; its first line counts.
    #[arg(long, value_name = "N")]
    become_pass_fd: Option<u32>,
    /// Have a shell command say that password; its first line counts.
    #[arg(long, value_name = "CMD")]
    become_pass_command: Option<String>,
}

impl BecomePassword {
    /// The password, if the command line says where it is. Nothing may be told while it is asked for.
    pub fn read(&self, context: &Context) -> Result<Option<Arc<Password>>, Error> {
        let Self { ask_become_pass, become_pass_fd, become_pass_command } = self;
        let secret = FLAGS.read(context, *ask_become_pass, *become_pass_fd, become_pass_command.as_deref())?;
        Ok(secret.map(|text| Arc::new(Password::new(text))))
    }
}
