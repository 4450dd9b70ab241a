//! `etcd-ha certs show`: what is in the PKI folder.

use super::Context;
use super::options::{OutputFormat, Target};
use crate::error::{Error, ExitStatus};
use crate::pki::{self, CertificateInfo};
use crate::report::table;
use clap::{Args, Subcommand};
use time::OffsetDateTime;

/// `etcd-ha certs`
#[derive(Debug, Args)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// List every certificate: subject, names, issuer, days left.
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    target: Target,
}

impl Certs {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let CertsCommand::Show(show) = self.command;
        let inventory = show.target.load()?;
        let certificates = pki::show(&inventory.pki, OffsetDateTime::now_utc())?;
        let text = match context.global.output {
            OutputFormat::Json => as_json(&certificates),
            _ if certificates.is_empty() => {
                format!(
                    "there are no certificates in {} yet; `etcd-ha deploy` makes them\n",
                    inventory.pki.dir.display()
                )
            }
            _ => as_table(&certificates),
        };
        context.output.out(&text)?;
        let whole = certificates.iter().all(|certificate| certificate.problems.is_empty());
        Ok(if whole { ExitStatus::Done } else { ExitStatus::Failed })
    }
}

fn as_json(certificates: &[CertificateInfo]) -> String {
    certificates.iter().filter_map(|one| serde_json::to_string(one).ok()).map(|line| line + "\n").collect()
}

fn as_table(certificates: &[CertificateInfo]) -> String {
    let head = ["FILE", "SUBJECT", "NAMES", "ISSUER", "DAYS LEFT"].map(str::to_owned).to_vec();
    let rows = certificates.iter().map(|certificate| {
        let file = certificate.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match &certificate.details {
            Some(details) => {
                let names = if details.names.is_empty() { "-".to_owned() } else { details.names.join(" ") };
                vec![file, details.subject.clone(), names, details.issuer.clone(), details.days_left.to_string()]
            }
            None => vec![file, "?".to_owned(), "-".to_owned(), "-".to_owned(), "-".to_owned()],
        }
    });
    let mut text = table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    for certificate in certificates {
        for problem in &certificate.problems {
            text += &format!("{}: {problem}\n", certificate.file.display());
        }
    }
    text
}
