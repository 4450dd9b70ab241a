//! Whether a leaf is still right: a pure decision over what was read.

use super::Kind;
use super::authority::{Authority, parse};
use super::error::date;
use super::names::Name;
use super::verify::Verifier;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// A leaf as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What it is for.
    pub(super) kind: Kind,
    /// The name in its subject.
    pub(super) common_name: String,
    /// Its names and addresses, in the order in which they are written.
    pub(super) names: Vec<Name>,
}

impl Wanted {
    /// One with the common name that is usual for its kind.
    pub(super) fn new(kind: Kind, names: Vec<Name>) -> Self {
        let common_name = match &kind {
            Kind::Server(name) | Kind::Peer(name) | Kind::Client(name) => name.clone(),
            Kind::Admin | Kind::Authority => "root".to_owned(),
        };
        Self { kind, common_name, names }
    }

    /// Its files are `<stem>.pem` and `<stem>-key.pem`.
    pub(super) fn stem(&self) -> String {
        match &self.kind {
            Kind::Server(member) => format!("{member}-server"),
            Kind::Peer(member) => format!("{member}-peer"),
            Kind::Admin => "admin".to_owned(),
            Kind::Authority => "ca".to_owned(),
            Kind::Client(name) => name.clone(),
        }
    }

    /// Whether it serves connections. What serves also connects: a peer dials its peers with the
    /// same certificate, and etcd's HTTP gateway dials its own client port.
    pub(super) fn serves(&self) -> bool {
        matches!(self.kind, Kind::Server(_) | Kind::Peer(_))
    }
}

/// A leaf as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) common_name: String,
    pub(super) names: Vec<Name>,
    pub(super) server_auth: bool,
    pub(super) client_auth: bool,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    /// Whether the key beside it is its own.
    pub(super) key_matches: bool,
    /// Whether the CA issued it.
    pub(super) ours: bool,
    /// What a TLS library has against it, if anything.
    pub(super) objection: Option<String>,
}

impl Found {
    /// Reads the facts off `der`.
    pub(super) fn read(
        der: &[u8],
        key_matches: bool,
        wanted: &Wanted,
        authority: &Authority,
        verifier: &Verifier,
        now: OffsetDateTime,
    ) -> Result<Self, String> {
        let certificate = parse(der)?;
        let usage = certificate.extended_key_usage().map_err(|e| e.to_string())?;
        Ok(Self {
            common_name: common_name(&certificate),
            names: names(&certificate)?,
            server_auth: usage.as_ref().is_some_and(|usage| usage.value.server_auth),
            client_auth: usage.as_ref().is_some_and(|usage| usage.value.client_auth),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            key_matches,
            ours: authority.issued(&certificate),
            objection: verifier.check(der, wanted.serves(), now).err(),
        })
    }
}

/// The first common name in the subject, or nothing.
pub(super) fn common_name(certificate: &X509Certificate<'_>) -> String {
    certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
}

/// The subject alternative names.
pub(super) fn names(certificate: &X509Certificate<'_>) -> Result<Vec<Name>, String> {
    let Some(extension) = certificate.subject_alternative_name().map_err(|e| e.to_string())? else {
        return Ok(Vec::new());
    };
    let name = |general: &GeneralName<'_>| match general {
        GeneralName::DNSName(name) => Name::Dns(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => <[u8; 4]>::try_from(*octets)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from))
            .map_or_else(|_| Name::Other(general.to_string()), Name::Ip),
        other => Name::Other(other.to_string()),
    };
    Ok(extension.value.general_names.iter().map(name).collect())
}

/// Why a certificate is issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is none.
    Missing,
    /// Its private key is gone.
    KeyMissing,
    /// Its file or its key's file cannot be read.
    Damaged(String),
    /// The key beside it belongs to another certificate.
    KeyMismatch,
    /// Another CA issued it.
    OtherAuthority,
    /// It is for somebody else.
    CommonName(String),
    /// It lacks extended key usages, by their names in RFC 5280.
    Usages(Vec<&'static str>),
    /// Names and addresses were added to what is wanted, or taken away.
    Names {
        /// What it lacks.
        added: Vec<String>,
        /// What it should not have.
        removed: Vec<String>,
    },
    /// It begins in the future.
    NotYetValid(OffsetDateTime),
    /// It has expired.
    Expired(OffsetDateTime),
    /// It expires soon.
    ExpiresSoon(OffsetDateTime),
    /// TLS libraries would not accept it.
    Unverifiable(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none yet"),
            Self::KeyMissing => f.write_str("its key is missing"),
            Self::Damaged(what) => write!(f, "it cannot be read: {what}"),
            Self::KeyMismatch => f.write_str("its key belongs to another certificate"),
            Self::OtherAuthority => f.write_str("another CA issued it"),
            Self::CommonName(name) => write!(f, "its common name is `{name}`"),
            Self::Usages(lacking) => write!(f, "it lacks the usage {}", lacking.join(" and ")),
            Self::Names { added, removed } => {
                let added = added.iter().map(|name| format!("+{name}"));
                let removed = removed.iter().map(|name| format!("-{name}"));
                let names: Vec<_> = added.chain(removed).collect();
                write!(f, "names differ ({})", names.join(", "))
            }
            Self::NotYetValid(at) => write!(f, "it is not valid before {}", date(*at)),
            Self::Expired(at) => write!(f, "it expired on {}", date(*at)),
            Self::ExpiresSoon(at) => write!(f, "it expires on {}", date(*at)),
            Self::Unverifiable(why) => write!(f, "it would not verify: {why}"),
        }
    }
}

/// When a leaf is worth renewing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    /// The time.
    pub(super) now: OffsetDateTime,
    /// With less than this left, a leaf is issued anew.
    pub(super) before: Duration,
    /// When a leaf issued now would end.
    pub(super) not_after: OffsetDateTime,
}

impl Renewal {
    /// Whether `found` ends soon and a new one would last longer.
    ///
    /// A leaf that lives shorter than `before` from the start, by configuration or since its CA
    /// ends, would otherwise be issued at every run: such ones are renewed in their last third.
    fn is_due(&self, found: &Found) -> bool {
        let before = self.before.min((found.not_after - found.not_before) / 3);
        found.not_after - self.now < before && self.not_after > found.not_after
    }
}

/// Why `found` has to be replaced by `wanted`, or `None` if it is still right.
pub(super) fn judge(found: &Found, wanted: &Wanted, renewal: Renewal) -> Option<Reason> {
    if !found.key_matches {
        return Some(Reason::KeyMismatch);
    }
    if !found.ours {
        return Some(Reason::OtherAuthority);
    }
    if found.common_name != wanted.common_name {
        return Some(Reason::CommonName(found.common_name.clone()));
    }
    let lacking: Vec<_> = [("serverAuth", wanted.serves() && !found.server_auth), ("clientAuth", !found.client_auth)]
        .into_iter()
        .filter_map(|(usage, lacks)| lacks.then_some(usage))
        .collect();
    if !lacking.is_empty() {
        return Some(Reason::Usages(lacking));
    }
    let has: BTreeSet<_> = found.names.iter().collect();
    let wants: BTreeSet<_> = wanted.names.iter().collect();
    if has != wants {
        let minus = |a: &BTreeSet<&Name>, b| a.difference(b).map(ToString::to_string).collect();
        return Some(Reason::Names { added: minus(&wants, &has), removed: minus(&has, &wants) });
    }
    if renewal.now >= found.not_after {
        return Some(Reason::Expired(found.not_after));
    }
    if renewal.now < found.not_before {
        return Some(Reason::NotYetValid(found.not_before));
    }
    if renewal.is_due(found) {
        return Some(Reason::ExpiresSoon(found.not_after));
    }
    found.objection.clone().map(Reason::Unverifiable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-10 12:00 UTC);

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| name.parse().map_or_else(|_| Name::Dns((*name).to_owned()), Name::Ip)).collect()
    }

    fn wanted() -> Wanted {
        Wanted::new(Kind::Peer("node01".to_owned()), names(&["10.19.0.55", "localhost"]))
    }

    fn found() -> Found {
        Found {
            common_name: "node01".to_owned(),
            names: names(&["10.19.0.55", "localhost"]),
            server_auth: true,
            client_auth: true,
            not_before: NOW - Duration::days(100),
            not_after: NOW + Duration::days(265),
            key_matches: true,
            ours: true,
            objection: None,
        }
    }

    fn renewal() -> Renewal {
        Renewal { now: NOW, before: Duration::days(30), not_after: NOW + Duration::days(365) }
    }

    #[test]
    fn decides() {
        type Change = fn(&mut Found);
        let cases: &[(&str, Change, Option<&str>)] = &[
            ("right", |_| {}, None),
            ("other order", |f| f.names.reverse(), None),
            ("key", |f| f.key_matches = false, Some("its key belongs to another certificate")),
            ("CA", |f| f.ours = false, Some("another CA issued it")),
            ("CN", |f| f.common_name = "node02".into(), Some("its common name is `node02`")),
            ("server", |f| f.server_auth = false, Some("it lacks the usage serverAuth")),
            ("client", |f| f.client_auth = false, Some("it lacks the usage clientAuth")),
            (
                "both",
                |f| (f.server_auth, f.client_auth) = (false, false),
                Some("it lacks the usage serverAuth and clientAuth"),
            ),
            (
                "names",
                |f| f.names = names(&["10.19.0.60", "localhost"]),
                Some("names differ (+10.19.0.55, -10.19.0.60)"),
            ),
            (
                "an address written as a name",
                |f| f.names = vec![Name::Dns("10.19.0.55".into()), Name::Dns("localhost".into())],
                Some("names differ (+10.19.0.55, -10.19.0.55)"),
            ),
            ("31 days", |f| f.not_after = NOW + Duration::days(31), None),
            ("30 days", |f| f.not_after = NOW + Duration::days(30), None),
            (
                "under 30 days",
                |f| f.not_after = NOW + Duration::days(30) - Duration::SECOND,
                Some("it expires on 2026-12-10 11:59 UTC"),
            ),
            ("expired", |f| f.not_after = NOW, Some("it expired on 2026-11-10 12:00 UTC")),
            ("future", |f| f.not_before = NOW + Duration::HOUR, Some("it is not valid before 2026-11-10 13:00 UTC")),
            ("short-lived, fresh", |f| (f.not_before, f.not_after) = (NOW - Duration::HOUR, NOW + Duration::DAY), None),
            (
                "short-lived, old",
                |f| (f.not_before, f.not_after) = (NOW - Duration::DAY, NOW + Duration::HOUR),
                Some("it expires on 2026-11-10 13:00 UTC"),
            ),
            ("objection", |f| f.objection = Some("no".into()), Some("it would not verify: no")),
        ];
        for (case, change, reason) in cases {
            let mut found = found();
            change(&mut found);
            let decided = judge(&found, &wanted(), renewal()).map(|reason| reason.to_string());
            assert_eq!(decided.as_deref(), *reason, "{case}");
        }
    }

    #[test]
    fn a_leaf_that_ends_with_its_authority_is_kept() {
        let mut found = found();
        found.not_after = NOW + Duration::days(3);
        let renewal = Renewal { not_after: found.not_after, ..renewal() };
        assert_eq!(judge(&found, &wanted(), renewal), None);
    }

    #[test]
    fn an_admin_needs_no_server_usage() {
        let wanted = Wanted::new(Kind::Admin, vec![]);
        let found = Found { common_name: "root".to_owned(), names: vec![], server_auth: false, ..found() };
        assert_eq!(judge(&found, &wanted, renewal()), None);
    }

    proptest! {
        /// Or else every run would issue it again.
        #[test]
        fn a_leaf_just_issued_is_right(lifetime in 1i64..400_000_000, before in 0i64..400_000_000, left in 1i64..400_000_000) {
            let authority_end = NOW + Duration::seconds(left);
            let not_after = (NOW + Duration::seconds(lifetime)).min(authority_end);
            let fresh = Found { not_before: NOW - Duration::HOUR, not_after, ..found() };
            let renewal = Renewal { now: NOW, before: Duration::seconds(before), not_after };
            prop_assert_eq!(judge(&fresh, &wanted(), renewal), None);
        }

        /// Or else a cluster would stop without a warning.
        #[test]
        fn a_leaf_is_renewed_before_it_ends_if_that_helps(lifetime in 10i64..400_000_000, before in 1i64..400_000_000) {
            let old = Found { not_before: NOW, not_after: NOW + Duration::seconds(lifetime), ..found() };
            let now = old.not_after - Duration::SECOND;
            let renewal = Renewal {
                now,
                before: Duration::seconds(before.max(2)),
                not_after: now + Duration::seconds(lifetime),
            };
            prop_assert_eq!(judge(&old, &wanted(), renewal), Some(Reason::ExpiresSoon(old.not_after)));
        }
    }
}
