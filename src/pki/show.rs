//! The certificates as they are, for people to look at.

use super::authority::{Authority, belongs_to, parse};
use super::error::{PkiError, date};
use super::folder::{Folder, KEY_SUFFIX};
use super::served::is_due;
use super::source::{AUTHORITY, Source};
use super::{Kind, Settings, key, leaf, pem};
use crate::error::Error;
use serde::{Serialize, Serializer};
use std::io;
use std::path::{Path, PathBuf};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};
use x509_parser::certificate::X509Certificate;

/// A certificate file as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
    /// The file.
    pub file: PathBuf,
    /// What it is for, as far as its name tells.
    #[serde(flatten)]
    pub kind: Option<Kind>,
    /// What it says, if it can be read.
    #[serde(flatten)]
    pub details: Option<Details>,
    /// What is wrong with it, in words; nothing if it can be used.
    pub problems: Vec<String>,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Details {
    /// Whose it is.
    pub subject: String,
    /// The names and addresses it is valid for.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Its serial number, in hexadecimal as OpenSSL writes it.
    pub serial: String,
    /// The beginning of its validity.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: OffsetDateTime,
    /// The end of its validity.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: OffsetDateTime,
    /// Whole days left, rounded down; negative once it has expired.
    pub days_left: i64,
}

impl Details {
    /// Whether it ends within `renew_before` of `now`, or is in its last third if it never had that much.
    #[must_use]
    pub fn expires_soon(&self, renew_before: std::time::Duration, now: OffsetDateTime) -> bool {
        let renew_before = Duration::try_from(renew_before).unwrap_or(Duration::MAX);
        now < self.not_after && is_due(self.not_before, self.not_after, renew_before, now)
    }
}

pub(super) fn rfc3339<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = at.format(&Rfc3339).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

/// Every certificate of the CA and in the folder, as they are at `now`; bad ones with what is
/// wrong with them. Nothing is made or written.
///
/// # Errors
/// If the folder cannot be read, or only one of a CA's two files is named in the inventory.
pub fn show(settings: &Settings, now: OffsetDateTime) -> Result<Vec<CertificateInfo>, PkiError> {
    let now = now.to_offset(UtcOffset::UTC).truncate_to_second();
    let folder = Folder::new(&settings.dir);
    let source = Source::find(settings, &folder)?;
    let (authority, problem) = match source.authority(&folder, now) {
        Ok(authority) => (authority, None),
        Err(error) => (None, Some(Error::from(error).line())),
    };
    let mut shown = Vec::new();
    match super::folder::read(&source.certificate) {
        Ok(text) => {
            let mut infos = of_text(&source.certificate, Some(Kind::Authority), &text, now);
            if let (Some(first), Some(problem)) = (infos.first_mut(), problem) {
                // The CA's own flaws say which certificate they mean.
                first.problems = vec![problem];
            }
            shown.append(&mut infos);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && problem.is_none() => {}
        Err(error) => shown.push(CertificateInfo {
            file: source.certificate.clone(),
            kind: Some(Kind::Authority),
            details: None,
            problems: vec![problem.unwrap_or_else(|| error.to_string())],
        }),
    }
    for name in folder.pem_files()? {
        if name.ends_with(KEY_SUFFIX) || (name == AUTHORITY && !source.given) {
            continue;
        }
        shown.append(&mut of_file(&folder, &name, kind_of(&name), authority.as_ref(), now));
    }
    let clients = folder.clients();
    for name in clients.pem_files()?.iter().filter(|name| !name.ends_with(KEY_SUFFIX)) {
        let kind = name.strip_suffix(".pem").map(|stem| Kind::Client(stem.to_owned()));
        shown.append(&mut of_file(&clients, name, kind, authority.as_ref(), now));
    }
    Ok(shown)
}

/// One entry for each certificate in a file of the folder.
fn of_file(
    folder: &Folder,
    name: &str,
    kind: Option<Kind>,
    authority: Option<&Authority>,
    now: OffsetDateTime,
) -> Vec<CertificateInfo> {
    let text = match folder.read(name) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => {
            let problems = vec![Error::from(error).line()];
            return vec![CertificateInfo { file: folder.file(name), kind, details: None, problems }];
        }
    };
    let is_authority = kind == Some(Kind::Authority);
    let mut infos = of_text(&folder.file(name), kind, &text, now);
    if let Some(leaf) = infos.first_mut() {
        if is_authority {
            leaf.problems.push("not in use: the inventory names another CA".to_owned());
        } else {
            leaf.problems.append(&mut problems_of_leaf(name, &text, folder, authority));
        }
    }
    infos
}

/// What the name of a file in the folder says about the certificate in it.
fn kind_of(name: &str) -> Option<Kind> {
    let stem = name.strip_suffix(".pem")?;
    if stem == "ca" {
        return Some(Kind::Authority);
    }
    if stem == "admin" {
        return Some(Kind::Admin);
    }
    let member = |suffix| stem.strip_suffix(suffix).map(str::to_owned);
    member("-server").map(Kind::Server).or_else(|| member("-peer").map(Kind::Peer))
}

/// One entry for each certificate in a file; one with a problem if there is none.
fn of_text(file: &Path, kind: Option<Kind>, text: &str, now: OffsetDateTime) -> Vec<CertificateInfo> {
    let info = |details, problems| CertificateInfo { file: file.to_owned(), kind: kind.clone(), details, problems };
    let certificates = match pem::certificates(text) {
        Ok(certificates) if certificates.is_empty() => {
            return vec![info(None, vec!["it holds no certificate in PEM form".to_owned()])];
        }
        Ok(certificates) => certificates,
        Err(flaw) => return vec![info(None, vec![flaw.to_string()])],
    };
    certificates
        .iter()
        .map(|der| {
            let details = parse(der).and_then(|certificate| details(&certificate, now));
            match details {
                Ok(details) => {
                    let problems = problems_of_time(&details, now);
                    info(Some(details), problems)
                }
                Err(problem) => info(None, vec![problem]),
            }
        })
        .collect()
}

fn details(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> Result<Details, String> {
    let not_after = certificate.validity().not_after.to_datetime();
    let left = not_after - now;
    Ok(Details {
        subject: certificate.subject().to_string(),
        names: leaf::names(certificate)?.iter().map(ToString::to_string).collect(),
        issuer: certificate.issuer().to_string(),
        serial: data_encoding::HEXUPPER.encode(certificate.raw_serial()),
        not_before: certificate.validity().not_before.to_datetime(),
        not_after,
        days_left: left.whole_seconds().div_euclid(86_400),
    })
}

/// When the first certificate of a PEM text ends; `None` if there is none that can be read.
#[must_use]
pub fn not_after(text: &str) -> Option<OffsetDateTime> {
    let der = pem::certificates(text).ok()?.into_iter().next()?;
    Some(parse(&der).ok()?.validity().not_after.to_datetime())
}

fn problems_of_time(details: &Details, now: OffsetDateTime) -> Vec<String> {
    if now >= details.not_after {
        vec![format!("it expired on {}", date(details.not_after))]
    } else if now < details.not_before {
        vec![format!("it is not valid before {}", date(details.not_before))]
    } else {
        Vec::new()
    }
}

fn problems_of_leaf(name: &str, text: &str, folder: &Folder, authority: Option<&Authority>) -> Vec<String> {
    let Some(der) = pem::certificates(text).ok().and_then(|all| all.into_iter().next()) else {
        return Vec::new();
    };
    let Ok(certificate) = parse(&der) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if authority.is_some_and(|authority| !authority.issued(&certificate)) {
        problems.push("another CA issued it".to_owned());
    }
    let stem = name.strip_suffix(".pem").unwrap_or(name);
    match folder.read(&format!("{stem}{KEY_SUFFIX}")) {
        Ok(None) => problems.push("its key is missing".to_owned()),
        Ok(Some(text)) => match key::load(&text) {
            Ok(key) if belongs_to(&key, &certificate) => {}
            Ok(_) => problems.push("its key belongs to another certificate".to_owned()),
            Err(flaw) => problems.push(format!("its key {flaw}")),
        },
        Err(error) => problems.push(Error::from(error).line()),
    }
    problems
}
