//! `etcd-ha certs encrypt-ca` and `decrypt-ca`: the CA's key under a passphrase, or for whoever can read its file.

use crate::cli::Context;
use crate::cli::ca_passphrase::{CaPassphrase, NewCaPassphrase};
use crate::cli::options::{OutputFormat, Target};
use crate::error::{Error, ExitStatus};
use crate::pki::{AuthorityKey, Passphrase};
use clap::Args;
use serde_json::json;
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct EncryptCa {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    passphrase: CaPassphrase,
    #[command(flatten)]
    new: NewCaPassphrase,
}

#[derive(Debug, Args)]
pub(super) struct DecryptCa {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    passphrase: CaPassphrase,
}

/// The passphrase that the key has by now, if it has one.
fn old(context: &Context, key: &AuthorityKey, passphrase: &CaPassphrase) -> Result<Option<Passphrase>, Error> {
    if !key.encrypted {
        return Ok(None);
    }
    let (passphrase, ()) = passphrase.with(context, &key.path(), |passphrase| key.check(passphrase))?;
    Ok(Some(passphrase))
}

impl EncryptCa {
    pub(super) fn run(self, context: &Context) -> Result<ExitStatus, Error> {
        let key = AuthorityKey::find(&self.target.load()?.pki)?;
        let old = old(context, &key, &self.passphrase)?;
        let new = self.new.read(context, &key.path())?;
        key.rewrite(old.as_ref(), Some(&new))?;
        let words = if old.is_some() {
            "encrypted under the new passphrase; older copies have the old one"
        } else {
            "encrypted; copies of before, in backups say, are not"
        };
        tell(context, &key.path(), true, words)
    }
}

impl DecryptCa {
    pub(super) fn run(self, context: &Context) -> Result<ExitStatus, Error> {
        let key = AuthorityKey::find(&self.target.load()?.pki)?;
        let Some(old) = old(context, &key, &self.passphrase)? else {
            return tell(context, &key.path(), false, "not encrypted, nothing to do");
        };
        key.rewrite(Some(&old), None)?;
        tell(context, &key.path(), false, "no longer encrypted: whoever can read the file has the CA")
    }
}

fn tell(context: &Context, key: &Path, encrypted: bool, words: &str) -> Result<ExitStatus, Error> {
    match context.global.output {
        OutputFormat::Json => {
            context.output.out(&format!("{}\n", json!({ "v": 1, "key": key, "encrypted": encrypted })))?;
        }
        _ => context.output.err(&format!("{}: {words}\n", key.display())),
    }
    Ok(ExitStatus::Done)
}
