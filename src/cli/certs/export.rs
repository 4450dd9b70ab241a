//! `etcd-ha certs export`: a client's certificate, key and CA in one file.

use super::Refused;
use crate::cli::Context;
use crate::cli::options::{OutputFormat, Target};
use crate::cli::secret::Flags;
use crate::error::{Error, ExitStatus};
use crate::pki::{self, ClientName, PkiError};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use zeroize::Zeroizing;

const FLAGS: Flags = Flags {
    ask: "--ask-export-pass",
    fd: "--export-pass-fd",
    command: "--export-pass-command",
    question: "Password for the PKCS#12 file: ",
    instead: "say `--export-pass-command` or `--export-pass-fd` where nobody is there to type it, or `--no-export-pass`",
};

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    target: Target,
    /// Whose: `admin`, or the name of a client certificate that was issued.
    #[arg(long, default_value = "admin")]
    name: ClientName,
    /// In which form.
    #[arg(long, value_enum, default_value_t = Format::Pem)]
    format: Format,
    /// The file; `-` is stdout. NAME.pem or NAME.p12 here, if it is not given.
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    password: ExportPassword,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Certificate, key and CA as PEM, one after the other.
    Pem,
    /// The same as PKCS#12, encrypted: for Java, browsers and Windows.
    Pkcs12,
}

/// Where the password of a PKCS#12 file comes from; it is asked for on the terminal, if nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct ExportPassword {
    /// Ask for the password of the PKCS#12 file on the terminal, as it is done without this.
    #[arg(long)]
    ask_export_pass: bool,
    /// Read that password from this file descriptor; its first line counts.
    #[arg(long, value_name = "N")]
    export_pass_fd: Option<u32>,
    /// Have a shell command say that password; its first line counts.
    #[arg(long, value_name = "CMD")]
    export_pass_command: Option<String>,
    /// Encrypt the PKCS#12 file under the empty password: who can read it has the key.
    #[arg(long)]
    no_export_pass: bool,
}

impl ExportPassword {
    fn is_given(&self) -> bool {
        self.ask_export_pass
            || self.no_export_pass
            || self.export_pass_fd.is_some()
            || self.export_pass_command.is_some()
    }

    fn read(&self, context: &Context) -> Result<Zeroizing<String>, Error> {
        if self.no_export_pass {
            return Ok(Zeroizing::default());
        }
        let (fd, command) = (self.export_pass_fd, self.export_pass_command.as_deref());
        let ask = fd.is_none() && command.is_none();
        let password = FLAGS.read(context, ask, fd, command)?.unwrap_or_default();
        if ask {
            let again = Flags { question: "The same again: ", ..FLAGS }.read(context, true, None, None)?;
            if again.unwrap_or_default() != password {
                return Err(Refused::Typo.into());
            }
        }
        Ok(password)
    }
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Result<ExitStatus, Error> {
        if self.format == Format::Pem && self.password.is_given() {
            return Err(Refused::Password.into());
        }
        let suffix = match self.format {
            Format::Pem => "pem",
            Format::Pkcs12 => "p12",
        };
        let to = self.to.clone().unwrap_or_else(|| PathBuf::from(format!("{}.{suffix}", self.name)));
        let on_stdout = to == Path::new("-");
        if on_stdout && context.around.stdout_tty {
            return Err(Refused::Terminal.into());
        }
        // Before a password is asked for.
        if !on_stdout && !self.force && to.symlink_metadata().is_ok() {
            return Err(Refused::Exists(to).into());
        }
        let inventory = self.target.load()?;
        let client = pki::client_certificate(&inventory.pki, &self.name, OffsetDateTime::now_utc())?;
        for warning in &client.warnings {
            context.output.err(&format!("warning: {warning}\n"));
        }
        let bytes = match self.format {
            Format::Pem => pki::pem_bundle(&client),
            Format::Pkcs12 => pki::pkcs12(&client, &self.password.read(context)?)?,
        };
        if on_stdout {
            context.output.pass(&bytes)?;
            return Ok(ExitStatus::Done);
        }
        pki::put(&to, &bytes, self.force).map_err(|error| match error {
            PkiError::Write { path, source } if source.kind() == io::ErrorKind::AlreadyExists => {
                Error::from(Refused::Exists(path))
            }
            other => other.into(),
        })?;
        match context.global.output {
            OutputFormat::Json => {
                let line = json!({ "v": 1, "name": self.name.to_string(), "format": self.word(), "file": to });
                context.output.out(&format!("{line}\n"))?;
            }
            _ => {
                let protected = match self.format {
                    Format::Pkcs12 if !self.password.no_export_pass => "",
                    Format::Pem | Format::Pkcs12 => "; its key is not encrypted",
                };
                context.output.err(&format!(
                    "wrote {}: certificate, key and CA of `{}`{protected}\n",
                    to.display(),
                    self.name
                ));
            }
        }
        Ok(ExitStatus::Done)
    }

    fn word(&self) -> &'static str {
        match self.format {
            Format::Pem => "pem",
            Format::Pkcs12 => "pkcs12",
        }
    }
}
