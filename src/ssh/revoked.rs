//! The keys that RevokedHostKeys (ssh_config(5)) names: a file of public keys, or a list of OpenSSH's own format.
//!
//! When in doubt a host is refused: a list that cannot be read might have its key.

use std::path::Path;
use std::process::Stdio;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::wire::printable;

/// How a list of OpenSSH's own format begins (PROTOCOL.krl).
const KRL: &[u8] = b"SSHKRL\n\0";

/// What is revoked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Revoked {
    /// The key, by this line (from 1), or by a list without lines.
    Key(Option<usize>),
    /// The certificate, by a list without lines.
    Certificate,
    /// The authority that certified the key, by this line.
    Authority(usize),
}

/// The most that is read of such a file.
const LARGEST: u64 = 16 << 20;

/// Whether the file revokes a key, or the authority of its certificate.
///
/// # Errors
/// Why the file does not tell.
pub(super) async fn check(file: &Path, presented: &PublicKeyOrCertificate) -> Result<Option<Revoked>, String> {
    let bytes = crate::files::read(file, LARGEST).map_err(|error| error.to_string())?;
    if !bytes.starts_with(KRL) {
        return in_text(&String::from_utf8_lossy(&bytes), presented);
    }
    let key = presented.public_key().to_openssh().map_err(|error| error.to_string())?;
    if ask(file, &key).await? {
        return Ok(Some(Revoked::Key(None)));
    }
    let Some(certificate) = presented.certificate() else { return Ok(None) };
    // Revoked by its serial number or its name, or for its authority's sake.
    let certificate = certificate.to_openssh().map_err(|error| error.to_string())?;
    Ok(if ask(file, &certificate).await? { Some(Revoked::Certificate) } else { None })
}

/// A public key a line, as in `.pub` files.
fn in_text(text: &str, presented: &PublicKeyOrCertificate) -> Result<Option<Revoked>, String> {
    let key = presented.public_key();
    let authority = presented.certificate().map(|certificate| certificate.signature_key());
    let mut found = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A line that is passed over might be the one that counts.
        let revoked = PublicKey::from_openssh(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        let is = |other: &KeyData| revoked.key_data() == other;
        if is(key.key_data()) {
            found.get_or_insert(Revoked::Key(Some(index + 1)));
        } else if authority.is_some_and(is) {
            found.get_or_insert(Revoked::Authority(index + 1));
        }
    }
    Ok(found)
}

/// Has `ssh-keygen` look into a list of its own format.
async fn ask(file: &Path, key: &str) -> Result<bool, String> {
    let mut command = Command::new("ssh-keygen");
    command.arg("-Q").arg("-f").arg(file).arg("/dev/stdin").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let not_asked = |error: std::io::Error| format!("`ssh-keygen -Q` cannot be run: {error}");
    let mut child = command.spawn().map_err(not_asked)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(format!("{key}\n").as_bytes()).await.map_err(not_asked)?;
    }
    let output = child.wait_with_output().await.map_err(not_asked)?;
    let revoked = String::from_utf8_lossy(&output.stdout).trim_end().ends_with("REVOKED");
    match output.status.code() {
        Some(0) => Ok(false),
        Some(1) if revoked => Ok(true),
        _ => Err(format!("`ssh-keygen -Q` says `{}`", printable(&String::from_utf8_lossy(&output.stderr)))),
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::public::Ed25519PublicKey;

    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from(KeyData::Ed25519(Ed25519PublicKey([number; 32])))
    }

    #[tokio::test]
    async fn a_text_file_is_read_to_its_end() {
        let line = |number| key(number).to_openssh().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("revoked");
        for (text, want) in [
            (String::new(), Ok(None)),
            (format!("# a comment\n\n {} with a comment\n", line(2)), Ok(None)),
            (format!("{}\n\t{}\r\n", line(2), line(1)), Ok(Some(Revoked::Key(Some(2))))),
            (format!("{}\nnonsense\n", line(1)), Err("line 2: ")),
            (format!("node01 {}\n", line(1)), Err("line 1: ")),
        ] {
            std::fs::write(&file, &text).unwrap();
            let got = check(&file, &key(1).into()).await;
            match (got, want) {
                (Err(why), Err(begins)) => assert!(why.starts_with(begins), "{text}: {why}"),
                (got, want) => assert_eq!(got, want.map_err(str::to_owned), "{text}"),
            }
        }
        assert!(check(&folder.path().join("none"), &key(1).into()).await.is_err());
        // A damaged list, whether or not there is an `ssh-keygen` to look into it.
        std::fs::write(&file, [KRL, b"rubbish"].concat()).unwrap();
        assert!(check(&file, &key(1).into()).await.is_err());
    }
}
