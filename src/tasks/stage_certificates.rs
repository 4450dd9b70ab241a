//! `stage_certificates`: the host's certificates and keys, beside those in force.

use super::{Decision, Hands, HostTask, Needs, TaskError, View, Wanted};
use crate::etcd::config::USER;
use crate::host::Script;
use crate::ssh::quote;
use crate::tasks::certificates::same_ca;
use bytes::Bytes;
use serde::Deserialize;
use zeroize::Zeroizing;

/// Bring the certificates to the host, beside those in force.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageCertificates {}

impl HostTask for StageCertificates {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs { wanted: true, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let wanted = view.wanted()?;
        let config = &view.host.paths.config;
        let there = |folder: &str| wanted.certificates_in(&format!("{config}/{folder}"), view.seen);
        if let Some(ca) = wanted.certificates.iter().find(|file| file.name == "ca.pem") {
            same_ca(view.host, view.seen, &ca.content)?;
        }
        if there("ssl") || there(".next/ssl") {
            return Ok(Decision::Nothing);
        }
        Ok(Decision::change("stage its certificates and keys"))
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        // In a playbook that does not make them first.
        if let Some(occasion) = hands.fleet.pki().await?.occasion() {
            return Err(occasion.refusal().into());
        }
        let (text, data) = script(&view.host.paths.config, view.wanted()?);
        hands.connection.run(Script::new("stage the certificates", &text).with_bytes(data)).await?;
        Ok(())
    }
}

/// The script, and what it reads: keys travel on stdin only, and are born unreadable to others.
pub(super) fn script(config: &str, wanted: &Wanted) -> (String, Bytes) {
    let config = quote(config);
    let mut text =
        format!("cd {config}\nmkdir -p .next\nchmod 755 .next\numask 077\nrm -rf .next/ssl\nmkdir .next/ssl\n");
    // Of its whole size, so that no part of a key stays behind where it was before it grew.
    let length = wanted.certificates.iter().map(|file| file.content.len()).sum();
    let mut data = Zeroizing::new(Vec::with_capacity(length));
    for file in &wanted.certificates {
        let name = format!(".next/ssl/{}", file.name);
        text += &format!(
            "head -c {} >{name}\nchmod {:o} {name}\nchown {USER}:{USER} {name}\n",
            file.content.len(),
            file.mode
        );
        data.extend_from_slice(file.content.as_bytes());
    }
    text += "chmod 755 .next/ssl\nsync .next/ssl/*\n";
    (text, Bytes::from_owner(data))
}
