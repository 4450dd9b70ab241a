//! `etcd-ha certs issue`: a client certificate for an application.

use super::Refused;
use crate::cli::Context;
use crate::cli::ca_passphrase::CaPassphrase;
use crate::cli::options::{OutputFormat, Target};
use crate::error::{Error, ExitStatus};
use crate::inventory::duration;
use crate::pki::{self, ClientName, ClientRequest, IssuedClient, Passphrase, PkiError, moment};
use clap::Args;
use serde_json::json;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, Args)]
pub(super) struct Issue {
    #[command(flatten)]
    target: Target,
    /// The application's name, and that of the files.
    #[arg(long)]
    name: ClientName,
    /// Issue a client's certificate, the one kind that is issued by hand.
    #[arg(long)]
    client: bool,
    /// The common name, which is the user that etcd takes the client for once authentication is enabled;
    /// the name, if it is not given.
    #[arg(long, value_name = "NAME", value_parser = common_name)]
    cn: Option<String>,
    /// How long it is valid, for example `90d` or `12h`; as long as the members' certificates, if not given.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    lifetime: Option<Duration>,
    /// Put it in the place of the one of the same name, with a new key.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    passphrase: CaPassphrase,
}

fn common_name(text: &str) -> Result<String, &'static str> {
    if text.trim() != text || text.is_empty() || text.chars().any(char::is_control) {
        Err("a name without spaces around it is wanted")
    } else if text.chars().count() > 64 {
        Err("a certificate takes 64 characters")
    } else {
        Ok(text.to_owned())
    }
}

fn lifetime(text: &str) -> Result<Duration, &'static str> {
    match duration(text) {
        Some(time) if time < Duration::from_secs(60) => Err("a minute is the least"),
        Some(time) => Ok(time),
        None => Err("a whole number and a unit are wanted: `30m`, `12h`, `90d`"),
    }
}

impl Issue {
    pub(super) fn run(self, context: &Context) -> Result<ExitStatus, Error> {
        if !self.client {
            return Err(Refused::OnlyClients.into());
        }
        if self.name.is_admin() {
            return Err(Refused::Admin.into());
        }
        let inventory = self.target.load()?;
        let now = OffsetDateTime::now_utc();
        let name = self.name.to_string();
        let request =
            ClientRequest { name: self.name, common_name: self.cn, lifetime: self.lifetime, replace: self.force };
        let issue = |passphrase: Option<&Passphrase>| pki::issue_client(&inventory.pki, &request, passphrase, now);
        let issued = match issue(None) {
            Err(PkiError::Sealed { path, .. }) => {
                self.passphrase.with(context, &path, |passphrase| issue(Some(passphrase)))?.1
            }
            issued => issued?,
        };
        for warning in warnings(&issued) {
            context.output.err(&format!("warning: {warning}\n"));
        }
        match context.global.output {
            OutputFormat::Json => context.output.out(&as_json(&name, &issued))?,
            _ => context.output.err(&format!(
                "wrote {} and {}: common name `{}`, valid until {}\n\
                 next: `etcd-ha certs export -i {} --name {name}` for one file with the CA\n",
                issued.certificate.display(),
                issued.key.display(),
                issued.common_name,
                moment(issued.not_after),
                self.target.inventory.display(),
            )),
        }
        Ok(ExitStatus::Done)
    }
}

fn warnings(issued: &IssuedClient) -> Vec<String> {
    let mut warnings = Vec::new();
    if issued.common_name == "root" {
        warnings.push(
            "etcd takes who shows this certificate for `root`, who may do everything once authentication is enabled"
                .to_owned(),
        );
    }
    if issued.cut_short {
        warnings.push(format!("it ends with its CA, on {}", moment(issued.not_after)));
    }
    if let Some(end) = issued.replaced {
        warnings.push(format!(
            "the certificate in whose place it was put is accepted until {}: etcd asks for no revocation list",
            moment(end)
        ));
    }
    warnings
}

fn as_json(name: &str, issued: &IssuedClient) -> String {
    let line = json!({
        "v": 1,
        "name": name,
        "common_name": issued.common_name,
        "certificate": issued.certificate,
        "key": issued.key,
        "not_after": issued.not_after.format(&Rfc3339).ok(),
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_names_and_lifetimes() {
        for (text, good) in [("app1", true), ("Ä b", true), ("", false), (" a", false), ("a\n", false), ("a\tb", false)]
        {
            assert_eq!(common_name(text).is_ok(), good, "{text:?}");
        }
        assert!(common_name(&"ü".repeat(64)).is_ok());
        assert!(common_name(&"ü".repeat(65)).is_err());
        for (text, want) in [
            ("90d", Ok(90 * 86_400)),
            ("1m", Ok(60)),
            ("59s", Err("a minute is the least")),
            ("90", Err("a whole number and a unit are wanted: `30m`, `12h`, `90d`")),
            ("-1d", Err("a whole number and a unit are wanted: `30m`, `12h`, `90d`")),
        ] {
            assert_eq!(lifetime(text), want.map(Duration::from_secs), "{text}");
        }
    }
}
