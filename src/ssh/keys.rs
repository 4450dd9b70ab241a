//! Private key files for logging in.

use crate::files;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{self, Algorithm, PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// OpenSSH's default names in `~/.ssh` (ssh_config(5), IdentityFile), the strongest kind first.
pub(super) const DEFAULT_NAMES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Nothing that is a key is longer.
const MAX_SIZE: u64 = 1 << 20;

/// Why a key or a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It has a passphrase, and there is nobody to ask for it; only an agent can use it.
    Encrypted,
    /// It has a passphrase, which nobody typed.
    NoPassphrase,
    /// It has a passphrase, and all that were typed were wrong.
    WrongPassphrase,
    /// It belongs to a security key (FIDO), which only an agent can talk to.
    SecurityKey,
    /// It is ours and others may read it (these are its mode bits), so OpenSSH would refuse it, too.
    Permissions(u32),
    /// It holds, or there is, only the public half.
    PublicOnly,
    /// It cannot be read; with what the system said.
    Unreadable(String),
    /// It is no private key of a kind that is known here.
    Malformed(String),
    /// It is no certificate that can be read.
    NoCertificate(String),
    /// It is a certificate for a host.
    HostCertificate,
    /// It is a certificate that has expired; with the time, in UTC.
    Expired(String),
    /// It is a certificate that is not valid yet; with the time from which it will be, in UTC.
    NotYetValid(String),
    /// It is a certificate for a key that neither the agent nor an identity file has.
    NoKey,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted => f.write_str("it has a passphrase and is not in the agent"),
            Self::Permissions(mode) => write!(f, "its mode {mode:04o} lets others read it"),
            Self::NoPassphrase => f.write_str("it has a passphrase, and none was typed"),
            Self::WrongPassphrase => f.write_str("it has a passphrase, and what was typed was wrong"),
            Self::SecurityKey => f.write_str("it belongs to a security key, and is not in the agent"),
            Self::PublicOnly => f.write_str("it is only a public key, and the agent has no private one for it"),
            Self::Unreadable(why) => f.write_str(why),
            Self::Malformed(why) => write!(f, "no private key that can be read: {why}"),
            Self::NoCertificate(why) => write!(f, "no certificate that can be read: {why}"),
            Self::HostCertificate => f.write_str("it is a host's certificate, not a user's"),
            Self::Expired(when) => write!(f, "it expired on {when}"),
            Self::NotYetValid(when) => write!(f, "it is not valid before {when}"),
            Self::NoKey => f.write_str("neither the agent nor an identity file has its key"),
        }
    }
}

/// A key file as far as it could be read. `PrivateKey` keeps itself out of its Debug output and
/// wipes itself.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// Known for encrypted keys as well, so that the agent's copy can be told.
    pub(super) public: Option<PublicKey>,
    pub(super) private: Result<Arc<PrivateKey>, Unusable>,
}

/// Why a passphrase opens no key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closed {
    /// Another one might.
    Wrong,
    /// None will.
    Hopeless(Unusable),
}

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    /// With `NotFound` if there is neither the file nor one of that name and `.pub`; whatever else
    /// is wrong is kept in `private`, since another key may do.
    pub(super) fn load(path: &Path) -> io::Result<Self> {
        let beside = public_beside(path);
        let private = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && beside.is_none() => {
                return Err(error);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unusable::PublicOnly),
            Err(error) => Err(Unusable::Unreadable(error.to_string())),
            Ok(metadata) => return Ok(Self::read(path, &metadata, beside)),
        };
        Ok(Self { path: path.to_path_buf(), public: beside, private })
    }

    fn read(path: &Path, metadata: &fs::Metadata, beside: Option<PublicKey>) -> Self {
        let unusable = |public, why| Self { path: path.to_path_buf(), public, private: Err(why) };
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => return unusable(beside, Unusable::Unreadable(error.to_string())),
        };
        if let Some(public) = parse_public(&text) {
            return unusable(Some(public), Unusable::PublicOnly);
        }
        // sshkey_perm_ok() of OpenSSH: somebody else's file may be readable by a group.
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 && own_user().is_none_or(|user| user == metadata.uid()) {
            return unusable(beside, Unusable::Permissions(mode));
        }
        if is_encrypted(&text) {
            return unusable(beside, Unusable::Encrypted);
        }
        match keys::decode_secret_key(&text, None) {
            Ok(private) => {
                let public = Some(private.public_key().clone());
                let private =
                    if is_of_a_security_key(&private) { Err(Unusable::SecurityKey) } else { Ok(Arc::new(private)) };
                Self { path: path.to_path_buf(), public, private }
            }
            Err(keys::Error::KeyIsEncrypted) => {
                let locked = PrivateKey::from_openssh(text.as_bytes()).ok();
                let why = match &locked {
                    Some(locked) if is_of_a_security_key(locked) => Unusable::SecurityKey,
                    _ => Unusable::Encrypted,
                };
                unusable(locked.map(|locked| locked.public_key().clone()).or(beside), why)
            }
            Err(error) => unusable(beside, Unusable::Malformed(error.to_string())),
        }
    }

    /// Opens a key file that has a passphrase. Takes a while: such files are made to.
    pub(super) fn unlock(path: &Path, passphrase: &str) -> Result<PrivateKey, Closed> {
        let hopeless = |error: io::Error| Closed::Hopeless(Unusable::Unreadable(error.to_string()));
        let text = read_text(path).map_err(hopeless)?;
        let private = keys::decode_secret_key(&text, Some(passphrase)).map_err(|_| Closed::Wrong)?;
        if is_of_a_security_key(&private) { Err(Closed::Hopeless(Unusable::SecurityKey)) } else { Ok(private) }
    }
}

fn is_of_a_security_key(key: &PrivateKey) -> bool {
    matches!(key.algorithm(), Algorithm::SkEcdsaSha2NistP256 | Algorithm::SkEd25519)
}

pub(super) fn read_text(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = files::open(path)?;
    // Of its whole size, so that nothing stays behind where it was before it grew.
    let length = file.size()?.min(MAX_SIZE);
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    file.take(MAX_SIZE).read_to_string(&mut text)?;
    Ok(text)
}

/// The key in the file of the same name and `.pub`, where it is to be had.
fn public_beside(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    parse_public(&read_text(Path::new(&name)).ok()?)
}

fn parse_public(text: &str) -> Option<PublicKey> {
    PublicKey::from_openssh(text.trim()).ok()
}

/// PEM says so in a label or a header; OpenSSH's own format does not.
fn is_encrypted(text: &str) -> bool {
    text.lines()
        .any(|line| line.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY") || line.starts_with("Proc-Type: 4,ENCRYPTED"))
}

/// The user id of this process.
fn own_user() -> Option<u32> {
    Some(fs::metadata("/proc/self").ok()?.uid())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use russh::keys::PrivateKey;

    use super::{KeyFile, Unusable};

    /// Makes a key with `ssh-keygen`; false where that is not installed.
    fn keygen(path: &Path, options: &[&str]) -> bool {
        let made = Command::new("ssh-keygen").args(["-q", "-f"]).arg(path).args(options).output();
        made.is_ok_and(|made| made.status.success())
    }

    #[test]
    fn files_as_ssh_keygen_and_openssl_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let table: &[(&[&str], bool)] = &[
            (&["-t", "ed25519", "-N", ""], true),
            (&["-t", "rsa", "-b", "2048", "-N", ""], true),
            (&["-t", "ecdsa", "-N", ""], true),
            (&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""], true),
            (&["-t", "ecdsa", "-m", "PEM", "-N", ""], true),
            (&["-t", "ecdsa", "-b", "384", "-m", "PEM", "-N", ""], true),
            (&["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", ""], true),
            (&["-t", "ecdsa", "-m", "PKCS8", "-N", ""], true),
            (&["-t", "ed25519", "-N", "secret"], false),
            (&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "secret"], false),
            (&["-t", "ecdsa", "-m", "PKCS8", "-N", "secret"], false),
        ];
        for (index, (options, readable)) in table.iter().enumerate() {
            let path = folder.path().join(index.to_string());
            if !keygen(&path, options) {
                eprintln!("left out: no ssh-keygen here");
                return;
            }
            // The library cannot read one such key in 256: its number begins with a zero byte.
            while *options == ["-t", "ecdsa", "-N", ""] && PrivateKey::read_openssh_file(&path).is_err() {
                fs::remove_file(&path).unwrap();
                assert!(keygen(&path, options));
            }
            let expected = fs::read_to_string(path.with_extension("pub")).unwrap();
            for public_beside in [true, false] {
                if !public_beside {
                    fs::remove_file(path.with_extension("pub")).unwrap();
                }
                let key = KeyFile::load(&path).unwrap();
                match &key.private {
                    Ok(_) => assert!(readable, "{options:?}"),
                    Err(why) => {
                        assert!(!readable, "{options:?}: {why}");
                        assert_eq!(*why, Unusable::Encrypted, "{options:?}");
                    }
                }
                // PEM keeps nothing of an encrypted key in the clear.
                if public_beside || *readable || options.len() == 4 {
                    let public = key.public.unwrap().to_openssh().unwrap();
                    let (public, expected) = (public.split(' ').nth(1), expected.split(' ').nth(1));
                    assert_eq!(public, expected.map(str::trim), "{options:?}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        if !keygen(&path, &["-t", "ed25519", "-N", ""]) {
            eprintln!("left out: no ssh-keygen here");
            return;
        }
        for (mode, usable) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o666, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let key = KeyFile::load(&path).unwrap();
            assert_eq!(key.private.is_ok(), usable, "{mode:o}");
            if !usable {
                assert_eq!(key.private.unwrap_err(), Unusable::Permissions(mode));
                assert!(key.public.is_some(), "{mode:o}");
            }
        }
    }

    #[test]
    fn public_keys_and_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me@here\n";
        let load = |path: &PathBuf| KeyFile::load(path).unwrap();

        assert_eq!(KeyFile::load(&path).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        fs::write(path.with_extension("pub"), public).unwrap();
        assert_eq!(load(&path).private.unwrap_err(), Unusable::PublicOnly);
        assert!(load(&path).public.is_some());
        assert_eq!(load(&path.with_extension("pub")).private.unwrap_err(), Unusable::PublicOnly);

        for text in ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(load(&path).private, Err(Unusable::Malformed(_))), "{text:?}");
        }
        assert!(matches!(load(&folder.path().to_path_buf()).private, Err(Unusable::Unreadable(_))));
    }
}
