//! Client certificates for applications: issued by hand, kept beside the members' in a folder of their own.

use super::authority::{Authority, belongs_to, parse};
use super::error::{PkiError, date};
use super::folder::{Content, Folder, KEY_SUFFIX, NewFile};
use super::issue::{self, end_of};
use super::keep::generate_one;
use super::key::Key;
use super::leaf::{self, Wanted};
use super::names::LONGEST_COMMON_NAME;
use super::passphrase::Passphrase;
use super::source::{Source, Start};
use super::verify::Verifier;
use super::{Kind, Pair, SecretPem, Settings, key, pem};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration as StdDuration;
use time::{OffsetDateTime, UtcOffset};

/// The name under which the admin's certificate is asked for.
const ADMIN: &str = "admin";

/// The name of a client certificate, which is also that of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(String);

impl FromStr for ClientName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !text.bytes().all(fits) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            Err("letters, digits, `-`, `_` and `.` make a name, and the first is a letter or a digit")
        } else if text.len() > LONGEST_COMMON_NAME {
            Err("a name has 64 characters at most")
        } else if text.ends_with("-key") {
            // `app-key.pem` is the key of `app`.
            Err("a name does not end in `-key`: so do the files of keys")
        } else if text == "ca" {
            Err("`ca` is the CA's")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ClientName {
    /// Whether it means the admin's certificate, which a deploy makes.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.0 == ADMIN
    }
}

/// A client certificate that is wanted.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    /// Its name.
    pub name: ClientName,
    /// The common name, which is the user that etcd takes the client for. `None`: as in the one that is replaced,
    /// else as its name.
    pub common_name: Option<String>,
    /// How long it is valid; `None`: as long as the members' certificates.
    pub lifetime: Option<StdDuration>,
    /// Whether it may take the place of another.
    pub replace: bool,
}

/// A client certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedClient {
    /// Its file.
    pub certificate: PathBuf,
    /// Its key's file.
    pub key: PathBuf,
    /// The common name that it has.
    pub common_name: String,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// Whether it ends before the lifetime that was asked for, since its CA does.
    pub cut_short: bool,
    /// When the one in whose place it was put ends.
    pub replaced: Option<OffsetDateTime>,
}

/// Issues a client certificate by the cluster's CA, and writes it and its key.
///
/// # Errors
/// There is no CA, its key is encrypted and there is no passphrase or a wrong one, there is a certificate of that name
/// already, or a file cannot be written.
pub fn issue_client(
    settings: &Settings,
    request: &ClientRequest,
    passphrase: Option<&Passphrase>,
    now: OffsetDateTime,
) -> Result<IssuedClient, PkiError> {
    let now = now.to_offset(UtcOffset::UTC).truncate_to_second();
    let folder = Folder::new(&settings.dir);
    let source = Source::find(settings, &folder)?;
    // Before a passphrase is asked for in vain.
    let known = authority(settings, source.authority(&folder, now)?)?;
    let (clients, name) = (folder.clients(), request.name.to_string());
    let (file, key_file) = (format!("{name}.pem"), format!("{name}{KEY_SUFFIX}"));
    let there = clients.read(&file)?;
    if !request.replace && (there.is_some() || clients.read(&key_file)?.is_some()) {
        return Err(PkiError::ClientExists { name, file: clients.file(&file) });
    }
    let old = there.and_then(|text| pem::certificates(&text).ok()?.into_iter().next());
    let old = old.as_deref().and_then(|der| parse(der).ok());

    let old_name = old.as_ref().map(leaf::common_name).filter(|name| !name.is_empty());
    let common_name = match (&request.common_name, old_name) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => name,
        (None, None) if name == "root" => return Err(PkiError::RootUnasked),
        (None, None) => name.clone(),
    };
    let wished = end_of(now, request.lifetime.unwrap_or(settings.leaf_lifetime));
    let authority = match passphrase {
        Some(_) => match source.load(&folder, passphrase, now)? {
            Start::Ready(authority) => authority,
            Start::Key(_) | Start::Nothing => known,
        },
        None if known.key.is_some() => known,
        None => return Err(PkiError::Sealed { path: source.key, new: false }),
    };
    let not_after = wished.min(authority.not_after);
    let key = generate_one(settings)?;
    let kind = Kind::Client(name);
    let wanted = Wanted { common_name: common_name.clone(), ..Wanted::new(kind.clone(), Vec::new()) };
    let verifier = Verifier::new(&authority.bundle).map_err(|reason| source.unfit(reason))?;
    let certificate = issue::leaf(&wanted, &settings.subject, &key, not_after, &authority, &verifier, now)
        .map_err(|error| source.not_issued(kind, error))?;
    let files = [
        NewFile { name: key_file.clone(), content: Content::Key(SecretPem::of(&key)) },
        NewFile { name: file.clone(), content: Content::Certificate(certificate) },
    ];
    // Else the folder that holds it would be made without what keeps it out of git.
    folder.write(&[], &[], &[])?;
    clients.write(&[], &[], &files)?;
    Ok(IssuedClient {
        certificate: clients.file(&file),
        key: clients.file(&key_file),
        common_name,
        not_after,
        cut_short: not_after < wished,
        replaced: old.map(|old| old.validity().not_after.to_datetime()).filter(|end| *end > now),
    })
}

fn authority(settings: &Settings, found: Option<Authority>) -> Result<Authority, PkiError> {
    found.ok_or_else(|| PkiError::NoAuthority { dir: settings.dir.clone() })
}

/// The names of the client certificates that there are, the admin's first.
///
/// # Errors
/// The folder cannot be read.
pub fn client_names(settings: &Settings) -> Result<Vec<String>, PkiError> {
    let files = Folder::new(&settings.dir).clients().pem_files()?;
    let clients = files.iter().filter(|name| !name.ends_with(KEY_SUFFIX)).filter_map(|name| name.strip_suffix(".pem"));
    Ok(std::iter::once(ADMIN).chain(clients).map(str::to_owned).collect())
}

/// All that a client needs to be let in by the members.
#[derive(Debug)]
pub struct ClientCertificate {
    /// Its name: `admin` or an application's.
    pub name: ClientName,
    /// The CA bundle.
    pub ca: String,
    /// The certificate and its key.
    pub pair: Pair,
    /// What the user should know of it although it can be handed on, a sentence each.
    pub warnings: Vec<String>,
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) decoded: Key,
}

/// The admin's certificate or an application's, as it is in the PKI folder.
///
/// # Errors
/// There is none of that name, or it and its key are of no use.
pub fn client_certificate(
    settings: &Settings,
    name: &ClientName,
    now: OffsetDateTime,
) -> Result<ClientCertificate, PkiError> {
    let folder = Folder::new(&settings.dir);
    let source = Source::find(settings, &folder)?;
    let authority = authority(settings, source.authority(&folder, now)?)?;
    let folder = if name.is_admin() { folder } else { folder.clients() };
    let file = folder.file(&format!("{name}.pem"));
    let unusable = |problem: String| PkiError::Unusable { file: file.clone(), problem };
    let Some(text) = folder.read(&format!("{name}.pem"))? else {
        return Err(if name.is_admin() {
            PkiError::NoAuthority { dir: settings.dir.clone() }
        } else {
            PkiError::NoClient { name: name.to_string(), known: client_names(settings)? }
        });
    };
    let key = folder.read(&format!("{name}{KEY_SUFFIX}"))?;
    let key = key.ok_or_else(|| unusable("its key is missing".to_owned()))?;
    let mut chain = pem::certificates(&text).map_err(|flaw| unusable(flaw.to_string()))?;
    let leaf = chain.first().ok_or_else(|| unusable("it holds no certificate in PEM form".to_owned()))?;
    let leaf = parse(leaf).map_err(unusable)?;
    let decoded = key::load(&key).map_err(|flaw| unusable(format!("its key {flaw}")))?;
    if !belongs_to(&decoded, &leaf) {
        return Err(unusable("its key belongs to another certificate".to_owned()));
    }
    let mut warnings = Vec::new();
    let end = leaf.validity().not_after.to_datetime();
    if !authority.issued(&leaf) {
        warnings.push(format!("the certificate of `{name}` was issued by another CA than the cluster's"));
    }
    if end <= now {
        warnings.push(format!("the certificate of `{name}` expired on {}", date(end)));
    }
    // Encoded anew, so that nothing but certificates goes out with it.
    let certificate = chain.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string()).collect();
    chain.extend(authority.bundle.iter().cloned());
    let pair = Pair { certificate, key: SecretPem::of(&decoded) };
    Ok(ClientCertificate { name: name.clone(), ca: authority.pem, pair, warnings, chain, decoded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_file_names() {
        for good in ["app1", "a", "App_2.prod-eu", "0", &"x".repeat(64), "admin", "key"] {
            assert_eq!(good.parse::<ClientName>().map(|name| name.to_string()).as_deref(), Ok(good));
        }
        for bad in
            ["", ".", "..", "../x", "a/b", ".hidden", "-x", "_x", "a b", "a\n", "ä", "app-key", "-key", "ca", "a\0"]
        {
            assert!(bad.parse::<ClientName>().is_err(), "{bad:?}");
        }
        assert_eq!("x".repeat(65).parse::<ClientName>(), Err("a name has 64 characters at most"));
    }
}
