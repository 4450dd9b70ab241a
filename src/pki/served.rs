//! Whether what a member shows on one of its ports is what it should show: a pure decision over the chain that was
//! read in a handshake.

use super::authority::{Authority, parse};
use super::error::{PkiError, date};
use super::folder::Folder;
use super::leaf::{self, Wanted};
use super::names::{self, Name};
use super::show::rfc3339;
use super::source::Source;
use super::verify::Verifier;
use super::{Kind, Member, Settings, pem};
use serde::Serialize;
use std::fmt;
use time::{Duration, OffsetDateTime, UtcOffset};

/// Which of a member's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Where clients are served.
    Client,
    /// Where peers are.
    Peer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Peer => "peer",
        })
    }
}

/// What is wrong with what a member shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServedFlaw {
    /// It shows no certificate, or what is none.
    Damaged(String),
    /// None of the CA's certificates signed it.
    OtherAuthority {
        /// Who is said to have.
        issuer: String,
    },
    /// It has expired.
    Expired(OffsetDateTime),
    /// It begins in the future.
    NotYetValid(OffsetDateTime),
    /// It ends soon. It works until then.
    ExpiresSoon(OffsetDateTime),
    /// It lacks names by which the member is reached.
    Names(Vec<String>),
    /// It lacks usages that etcd needs, by their names in RFC 5280: members are each other's clients.
    Usages(Vec<&'static str>),
    /// It is not the one in the PKI folder.
    Other {
        /// The file there.
        filed: String,
        /// The serial number of the one there; `None` if there is none that can be read.
        serial: Option<String>,
    },
    /// TLS libraries do not accept it.
    Unverifiable(String),
}

impl ServedFlaw {
    /// Whether it only wants to be seen to in time.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::ExpiresSoon(_))
    }

    /// Of several flaws the one with the least rank says what to do: it is the cause of the others, or mends them
    /// with it.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self {
            Self::Damaged(_) | Self::OtherAuthority { .. } | Self::Unverifiable(_) => 0,
            Self::Other { .. } => 1,
            Self::NotYetValid(_) => 2,
            Self::Expired(_) | Self::ExpiresSoon(_) | Self::Names(_) | Self::Usages(_) => 3,
        }
    }

    /// The next step.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Damaged(_) | Self::OtherAuthority { .. } | Self::Unverifiable(_) => {
                "look who put it there; `etcd-ha deploy` puts the one in the PKI folder in its place"
            }
            Self::Expired(_) | Self::ExpiresSoon(_) | Self::Names(_) | Self::Usages(_) => {
                "`etcd-ha deploy` issues a new one and puts it in its place"
            }
            Self::NotYetValid(_) => "compare the clocks of this machine and of the one that issued it",
            Self::Other { serial: Some(_), .. } => "`etcd-ha deploy` puts the one in the PKI folder in its place",
            Self::Other { serial: None, .. } => {
                "`etcd-ha deploy` makes one; if another controller deploys this cluster, copy its PKI folder"
            }
        }
    }
}

impl fmt::Display for ServedFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "it cannot be read: {what}"),
            Self::OtherAuthority { issuer } => write!(f, "another CA issued it: `{issuer}`"),
            Self::Expired(at) => write!(f, "it expired on {}", date(*at)),
            Self::NotYetValid(at) => write!(f, "it is not valid before {}", date(*at)),
            Self::ExpiresSoon(at) => write!(f, "it expires on {}", date(*at)),
            Self::Names(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "it does not name {}", names.join(", "))
            }
            Self::Usages(usages) => write!(f, "it lacks the usage {}", usages.join(" and ")),
            Self::Other { filed, serial: Some(serial) } => {
                write!(f, "it is not `{filed}` of the PKI folder, whose serial number is {serial}")
            }
            Self::Other { filed, serial: None } => write!(f, "there is no `{filed}` in the PKI folder"),
            Self::Unverifiable(why) => write!(f, "it does not verify: {why}"),
        }
    }
}

/// What a certificate that was shown says, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What it says, if it can be read.
    #[serde(flatten)]
    pub shown: Option<Shown>,
    /// What is wrong with it.
    #[serde(skip)]
    pub flaws: Vec<ServedFlaw>,
}

/// What a certificate that was shown says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Whose it is.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// The end of its validity.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: OffsetDateTime,
    /// Whole days left, rounded down; negative once it has expired.
    pub days_left: i64,
}

/// Looks at what members show, with the CA and the PKI folder at hand.
pub struct Inspector {
    folder: Folder,
    authority: Authority,
    verifier: Verifier,
    renew_before: Duration,
    now: OffsetDateTime,
}

impl Inspector {
    /// # Errors
    /// The CA cannot be used, or there is none.
    pub fn new(settings: &Settings, now: OffsetDateTime) -> Result<Self, PkiError> {
        let now = now.to_offset(UtcOffset::UTC).truncate_to_second();
        let folder = Folder::new(&settings.dir);
        let source = Source::find(settings, &folder)?;
        let authority = source.authority(&folder, now)?;
        let authority = authority.ok_or_else(|| PkiError::NoAuthority { dir: settings.dir.clone() })?;
        let verifier = Verifier::new(&authority.bundle).map_err(|reason| source.unfit(reason))?;
        let renew_before = Duration::try_from(settings.renew_before).unwrap_or(Duration::MAX);
        Ok(Self { folder, authority, verifier, renew_before, now })
    }

    /// Judges the chain that `member` shows, its own certificate first.
    ///
    /// # Errors
    /// The PKI folder cannot be read, or the member's names cannot be in a certificate.
    pub fn judge(&self, member: &Member, role: Role, chain: &[Vec<u8>]) -> Result<Judgement, PkiError> {
        let kind = match role {
            Role::Client => Kind::Server(member.name.clone()),
            Role::Peer => Kind::Peer(member.name.clone()),
        };
        let wanted = Wanted::new(kind, names::of_member(member)?);
        let filed = format!("{}.pem", wanted.stem());
        let text = self.folder.read(&filed)?;
        let there = text.and_then(|text| pem::certificates(&text).ok()?.into_iter().next());
        let Some((leaf, between)) = chain.split_first() else {
            return Ok(Judgement { shown: None, flaws: vec![ServedFlaw::Damaged("there is none".to_owned())] });
        };
        let facts = match self.facts(leaf, between, there.as_deref()) {
            Ok(facts) => facts,
            Err(what) => return Ok(Judgement { shown: None, flaws: vec![ServedFlaw::Damaged(what)] }),
        };
        let flaws = judge(&facts, &wanted.names, &filed, self.renew_before, self.now);
        let days_left = (facts.not_after - self.now).whole_seconds().div_euclid(86_400);
        let Facts { subject, issuer, serial, not_after, .. } = facts;
        Ok(Judgement { shown: Some(Shown { subject, issuer, serial, not_after, days_left }), flaws })
    }

    fn facts(&self, leaf: &[u8], between: &[Vec<u8>], filed: Option<&[u8]>) -> Result<Facts, String> {
        let certificate = parse(leaf)?;
        let usage = certificate.extended_key_usage().map_err(|e| e.to_string())?;
        let usage = usage.as_ref().map(|usage| usage.value);
        let objection = self.verifier.check_chain(leaf, between, self.now).err();
        Ok(Facts {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: serial(&certificate),
            names: leaf::names(&certificate)?,
            server_auth: usage.is_none_or(|usage| usage.any || usage.server_auth),
            client_auth: usage.is_none_or(|usage| usage.any || usage.client_auth),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            // By way of others is as good: members and clients verify the chain.
            ours: self.authority.issued(&certificate) || objection.is_none(),
            filed: filed.map(|filed| (filed == leaf, parse(filed).map(|filed| serial(&filed)).ok())),
            objection,
        })
    }
}

fn serial(certificate: &x509_parser::certificate::X509Certificate<'_>) -> String {
    data_encoding::HEXUPPER.encode(certificate.raw_serial())
}

/// A certificate that was shown, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    subject: String,
    issuer: String,
    serial: String,
    names: Vec<Name>,
    server_auth: bool,
    client_auth: bool,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    /// Whether our CA issued it.
    ours: bool,
    /// Whether it is the one in the PKI folder, and that one's serial number.
    filed: Option<(bool, Option<String>)>,
    /// What a TLS library has against it.
    objection: Option<String>,
}

/// All that is wrong with what was shown.
fn judge(facts: &Facts, wanted: &[Name], filed: &str, renew_before: Duration, now: OffsetDateTime) -> Vec<ServedFlaw> {
    let mut flaws = Vec::new();
    if !facts.ours {
        flaws.push(ServedFlaw::OtherAuthority { issuer: facts.issuer.clone() });
    }
    if now >= facts.not_after {
        flaws.push(ServedFlaw::Expired(facts.not_after));
    } else if now < facts.not_before {
        flaws.push(ServedFlaw::NotYetValid(facts.not_before));
    }
    let missing: Vec<_> = wanted.iter().filter(|name| !facts.names.contains(name)).map(ToString::to_string).collect();
    if !missing.is_empty() {
        flaws.push(ServedFlaw::Names(missing));
    }
    let usages = [("serverAuth", facts.server_auth), ("clientAuth", facts.client_auth)];
    let lacking: Vec<_> = usages.into_iter().filter_map(|(usage, has)| (!has).then_some(usage)).collect();
    if !lacking.is_empty() {
        flaws.push(ServedFlaw::Usages(lacking));
    }
    // The library stops at the first thing that it finds, which we have said in plainer words.
    if let (true, Some(objection)) = (flaws.is_empty(), &facts.objection) {
        flaws.push(ServedFlaw::Unverifiable(objection.clone()));
    }
    match &facts.filed {
        Some((true, _)) => {}
        Some((false, serial)) => {
            flaws.push(ServedFlaw::Other { filed: filed.to_owned(), serial: serial.clone() });
        }
        None => flaws.push(ServedFlaw::Other { filed: filed.to_owned(), serial: None }),
    }
    if flaws.is_empty() && is_due(facts.not_before, facts.not_after, renew_before, now) {
        flaws.push(ServedFlaw::ExpiresSoon(facts.not_after));
    }
    flaws
}

/// Whether a certificate ends soon: within `renew_before`, or in its last third if it never had that much.
pub(super) fn is_due(
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    renew_before: Duration,
    now: OffsetDateTime,
) -> bool {
    not_after - now < renew_before.min((not_after - not_before) / 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-10 12:00 UTC);

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| name.parse().map_or_else(|_| Name::Dns((*name).to_owned()), Name::Ip)).collect()
    }

    fn facts() -> Facts {
        Facts {
            subject: "CN=node01".to_owned(),
            issuer: "CN=prod etcd CA".to_owned(),
            serial: "51".to_owned(),
            names: names(&["10.19.0.55", "node01", "localhost", "more"]),
            server_auth: true,
            client_auth: true,
            not_before: NOW - Duration::days(100),
            not_after: NOW + Duration::days(265),
            ours: true,
            filed: Some((true, Some("51".to_owned()))),
            objection: None,
        }
    }

    #[test]
    fn says_all_that_is_wrong() {
        type Change = fn(&mut Facts);
        let cases: &[(&str, Change, &[&str])] = &[
            ("right", |_| {}, &[]),
            ("31 days", |f| f.not_after = NOW + Duration::days(31), &[]),
            ("soon", |f| f.not_after = NOW + Duration::days(29), &["it expires on 2026-12-09 12:00 UTC"]),
            ("short-lived, fresh", |f| (f.not_before, f.not_after) = (NOW - Duration::HOUR, NOW + Duration::DAY), &[]),
            ("expired", |f| f.not_after = NOW, &["it expired on 2026-11-10 12:00 UTC"]),
            ("future", |f| f.not_before = NOW + Duration::HOUR, &["it is not valid before 2026-11-10 13:00 UTC"]),
            (
                "another host's",
                |f| {
                    f.names = names(&["10.19.0.56", "node02", "localhost"]);
                    f.filed = Some((false, Some("51".to_owned())));
                },
                &[
                    "it does not name `10.19.0.55`, `node01`",
                    "it is not `node01-server.pem` of the PKI folder, whose serial number is 51",
                ],
            ),
            (
                "a stranger's, in all respects",
                |f| {
                    f.ours = false;
                    f.issuer = "CN=stranger".to_owned();
                    f.names.clear();
                    (f.server_auth, f.client_auth) = (false, false);
                    f.filed = None;
                    f.objection = Some("UnknownIssuer".to_owned());
                },
                &[
                    "another CA issued it: `CN=stranger`",
                    "it does not name `10.19.0.55`, `node01`, `localhost`",
                    "it lacks the usage serverAuth and clientAuth",
                    "there is no `node01-server.pem` in the PKI folder",
                ],
            ),
            ("no client", |f| f.client_auth = false, &["it lacks the usage clientAuth"]),
            ("objection", |f| f.objection = Some("no".to_owned()), &["it does not verify: no"]),
            (
                "the one in the folder cannot be read",
                |f| f.filed = Some((false, None)),
                &["there is no `node01-server.pem` in the PKI folder"],
            ),
        ];
        let wanted = names(&["10.19.0.55", "node01", "localhost"]);
        for (case, change, want) in cases {
            let mut facts = facts();
            change(&mut facts);
            let flaws = judge(&facts, &wanted, "node01-server.pem", Duration::days(30), NOW);
            let said: Vec<_> = flaws.iter().map(ToString::to_string).collect();
            assert_eq!(said, *want, "{case}");
            assert_eq!(flaws.iter().all(ServedFlaw::can_wait), want.is_empty() || *case == "soon", "{case}");
        }
    }
}
