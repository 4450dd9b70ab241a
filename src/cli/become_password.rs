//! The password for sudo or doas on the hosts: asked for on the terminal, or handed over by a script.

use super::Context;
use super::pause::somebody_there;
use crate::error::{Error, ExitStatus, Explain};
use crate::host::Password;
use clap::Args;
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The longest line that is taken for a password; sudo itself takes 1023 bytes.
const LONGEST: usize = 1024;

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

/// There is no password where the command line says that there is one.
#[derive(Debug, thiserror::Error)]
enum NoPassword {
    #[error("cannot read a password from the terminal")]
    Terminal(#[source] std::io::Error),
    #[error("cannot read a password from file descriptor {0}")]
    Descriptor(u32, #[source] std::io::Error),
    #[error("cannot run the command of `--become-pass-command`")]
    Command(#[source] std::io::Error),
    // The command itself is not repeated: it may hold what nobody is to see.
    #[error("the command of `--become-pass-command` failed: {0}")]
    CommandFailed(std::process::ExitStatus),
    #[error("no password came from {0}")]
    Empty(&'static str),
}

impl Explain for NoPassword {
    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl BecomePassword {
    /// The password, if the command line says where it is.
    pub fn read(&self, context: &Context) -> Result<Option<Arc<Password>>, Error> {
        let (text, from) = if self.ask_become_pass {
            (ask(context)?, "the terminal")
        } else if let Some(descriptor) = self.become_pass_fd {
            (from_descriptor(descriptor)?, "`--become-pass-fd`")
        } else if let Some(command) = &self.become_pass_command {
            (from_command(command)?, "`--become-pass-command`")
        } else {
            return Ok(None);
        };
        if text.is_empty() {
            return Err(NoPassword::Empty(from).into());
        }
        Ok(Some(Arc::new(Password::new(text))))
    }
}

fn ask(context: &Context) -> Result<Zeroizing<String>, Error> {
    let instead = "say `--become-pass-fd` or `--become-pass-command` where nobody is there to type it";
    somebody_there(context, "--ask-become-pass", instead)?;
    context.output.err("Password for sudo or doas on the hosts: ");
    let typed = rpassword::read_password().map_err(NoPassword::Terminal)?;
    Ok(Zeroizing::new(typed))
}

/// By way of /proc, since a descriptor that is only a number cannot be taken over safely.
fn from_descriptor(descriptor: u32) -> Result<Zeroizing<String>, NoPassword> {
    let open = |folder: &str| File::open(format!("{folder}/{descriptor}"));
    let file = open("/proc/self/fd").or_else(|_| open("/dev/fd"));
    file.and_then(first_line).map_err(|source| NoPassword::Descriptor(descriptor, source))
}

fn from_command(command: &str) -> Result<Zeroizing<String>, NoPassword> {
    // Its stdin and stderr are ours: password stores ask for what opens them.
    let mut child =
        Command::new("sh").args(["-c", command]).stdout(Stdio::piped()).spawn().map_err(NoPassword::Command)?;
    let read = child.stdout.take().map_or_else(
        || Ok(Zeroizing::default()),
        |mut stdout| {
            let line = first_line(&mut stdout);
            // It may have more to say, and would die if nobody listened.
            std::io::copy(&mut stdout, &mut std::io::sink()).and(line)
        },
    );
    let status = child.wait().map_err(NoPassword::Command)?;
    if !status.success() {
        return Err(NoPassword::CommandFailed(status));
    }
    read.map_err(NoPassword::Command)
}

/// The first line without its end. No buffer keeps a copy of it.
fn first_line(mut from: impl Read) -> std::io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new([0; LONGEST]);
    let mut length = 0;
    while !line[..length].contains(&b'\n') {
        let count = from.read(&mut line[length..])?;
        if count == 0 {
            break;
        }
        length += count;
    }
    let end = line[..length].iter().position(|byte| *byte == b'\n').unwrap_or(length);
    if end == LONGEST {
        return Err(std::io::Error::other("its first line is too long"));
    }
    let text = std::str::from_utf8(&line[..end]).map_err(std::io::Error::other)?;
    Ok(Zeroizing::new(text.trim_end_matches('\r').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts() {
        for (text, want) in [
            (&b"secret\nmore\n"[..], Some("secret")),
            (b"no end", Some("no end")),
            (b" with spaces \r\n", Some(" with spaces ")),
            (b"\nsecond", Some("")),
            (b"", Some("")),
            (b"\xff\xfe\n", None),
            (&[b'x'; 1023], Some(&"x".repeat(1023))),
            (&[b'x'; 1024], None),
        ] {
            let read = first_line(text).ok();
            assert_eq!(read.as_deref().map(String::as_str), want, "{text:?}");
        }
    }

    #[test]
    fn a_command_says_it_and_its_failure_does_not_repeat_it() {
        assert_eq!(*from_command("echo pa ss; yes | head -c 1000000").unwrap(), "pa ss");
        let error = from_command("echo hunter2; exit 3").unwrap_err();
        assert_eq!(error.to_string(), "the command of `--become-pass-command` failed: exit status: 3");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
