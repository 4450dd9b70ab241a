//! Where a secret comes from that must not stand on the command line: the terminal, a file descriptor, or a command.

use super::Context;
use super::ask;
use super::pause::somebody_there;
use crate::error::{Error, ExitStatus, Explain};
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// The longest line that is taken for a secret.
const LONGEST: usize = 1024;

/// The flags by which a secret is handed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    /// Ask on the terminal.
    pub ask: &'static str,
    /// Read it from a file descriptor.
    pub fd: &'static str,
    /// Have a command say it.
    pub command: &'static str,
    /// What is asked on the terminal.
    pub question: &'static str,
    /// What to do where nobody is there to be asked.
    pub instead: &'static str,
}

/// There is no secret where the command line says that there is one.
#[derive(Debug, thiserror::Error)]
enum NoSecret {
    #[error("cannot read what `{0} {1}` is to hand over")]
    Descriptor(&'static str, u32, #[source] std::io::Error),
    #[error("cannot run the command of `{0}`")]
    Command(&'static str, #[source] std::io::Error),
    // The command itself is not repeated: it may hold what nobody is to see.
    #[error("the command of `{0}` failed: {1}")]
    CommandFailed(&'static str, std::process::ExitStatus),
    #[error("nothing came from `{0}`")]
    Empty(&'static str),
}

impl Explain for NoSecret {
    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl Flags {
    /// For a secret about which whoever needs it asks by itself.
    pub const fn without_question(fd: &'static str, command: &'static str) -> Self {
        Self { ask: "", fd, command, question: "", instead: "" }
    }

    /// The secret, if one of the flags was given.
    pub fn read(
        self,
        context: &Context,
        ask: bool,
        fd: Option<u32>,
        command: Option<&str>,
    ) -> Result<Option<Zeroizing<String>>, Error> {
        if !ask {
            return self.given(fd, command);
        }
        let secret = self.asked(context)?;
        if secret.is_empty() { Err(NoSecret::Empty(self.ask).into()) } else { Ok(Some(secret)) }
    }

    /// The secret, if one of the flags was given that hand it over without a question.
    pub fn given(self, fd: Option<u32>, command: Option<&str>) -> Result<Option<Zeroizing<String>>, Error> {
        let (secret, flag) = match (fd, command) {
            (Some(number), _) => {
                (from_descriptor(number).map_err(|source| NoSecret::Descriptor(self.fd, number, source))?, self.fd)
            }
            (None, Some(command)) => (from_command(command, self.command)?, self.command),
            (None, None) => return Ok(None),
        };
        if secret.is_empty() { Err(NoSecret::Empty(flag).into()) } else { Ok(Some(secret)) }
    }

    fn asked(self, context: &Context) -> Result<Zeroizing<String>, Error> {
        somebody_there(context, self.ask, self.instead)?;
        Ok(ask::secret(&context.output, self.question)?.unwrap_or_default())
    }
}

/// By way of /proc, since a descriptor that is only a number cannot be taken over safely.
fn from_descriptor(number: u32) -> std::io::Result<Zeroizing<String>> {
    let open = |folder: &str| File::open(format!("{folder}/{number}"));
    let file = open("/proc/self/fd").or_else(|error| open("/dev/fd").map_err(|_| error));
    file.and_then(first_line)
}

fn from_command(command: &str, flag: &'static str) -> Result<Zeroizing<String>, NoSecret> {
    // Its stdin and stderr are ours: password stores ask for what opens them.
    let child = Command::new("sh").args(["-c", command]).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|source| NoSecret::Command(flag, source))?;
    let read = child.stdout.take().map_or_else(
        || Ok(Zeroizing::default()),
        |mut stdout| {
            let line = first_line(&mut stdout);
            // It may have more to say, and would die if nobody listened.
            std::io::copy(&mut stdout, &mut std::io::sink()).and(line)
        },
    );
    let status = child.wait().map_err(|source| NoSecret::Command(flag, source))?;
    if !status.success() {
        return Err(NoSecret::CommandFailed(flag, status));
    }
    read.map_err(|source| NoSecret::Command(flag, source))
}

/// The first line without its end. No buffer keeps a copy of it.
fn first_line(mut from: impl Read) -> std::io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new([0; LONGEST]);
    let mut length = 0;
    while length < LONGEST && !line[..length].contains(&b'\n') {
        match from.read(&mut line[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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
        assert_eq!(*from_command("echo pa ss; yes | head -c 1000000", "--x").unwrap(), "pa ss");
        let error = from_command("echo hunter2; exit 3", "--x").unwrap_err();
        assert_eq!(error.to_string(), "the command of `--x` failed: exit status: 3");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
