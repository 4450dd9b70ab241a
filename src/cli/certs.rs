//! `etcd-ha certs`: what is in the PKI folder, client certificates by hand, and what members really serve.

mod authority_key;
mod export;
mod issue;
mod show;
mod verify;

use super::Context;
use crate::error::{Error, ExitStatus, Explain};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `etcd-ha certs`
#[derive(Debug, Args)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// List every certificate: subject, names, issuer, days left.
    Show(show::Show),
    /// Issue a client certificate for an application.
    Issue(issue::Issue),
    /// Write a client's certificate, key and CA into one file, for programs that want it so.
    Export(export::Export),
    /// Encrypt the CA's key under a passphrase, or under another one.
    EncryptCa(authority_key::EncryptCa),
    /// Write the CA's key as it is, for whoever can read its file.
    DecryptCa(authority_key::DecryptCa),
    /// Connect to every member's client and peer port, and check what is served against CA and names.
    Verify(verify::Verify),
}

impl Certs {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        match self.command {
            CertsCommand::Show(show) => show.run(&context),
            CertsCommand::Issue(issue) => issue.run(&context),
            CertsCommand::Export(export) => export.run(&context),
            CertsCommand::EncryptCa(encrypt) => encrypt.run(&context),
            CertsCommand::DecryptCa(decrypt) => decrypt.run(&context),
            CertsCommand::Verify(verify) => verify.run(&context),
        }
    }
}

/// What the command line asks for cannot be done.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("only client certificates are issued by hand")]
    OnlyClients,
    #[error("`admin` is the name of the administrator's own certificate")]
    Admin,
    #[error("a private key is not written to a terminal")]
    Terminal,
    #[error("a password goes with `--format pkcs12` only")]
    Password,
    #[error("the two passwords differ")]
    Typo,
    #[error("`{0}` is there already")]
    Exists(PathBuf),
}

impl Explain for Refused {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::OnlyClients => "say `--client`; the members' certificates come with `etcd-ha deploy`",
            Self::Admin => "`etcd-ha deploy` issues and renews it; `etcd-ha certs export` exports it",
            Self::Terminal => "name a file with `--to`, or send the output into a file or a pipe",
            Self::Password => "PEM files with encrypted keys are not written: few programs take them",
            Self::Typo => "nothing was written; run the same command again",
            Self::Exists(_) => "nothing was overwritten; `--force` does so, `--to` names another file",
        };
        Some(hint.to_owned())
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}
