//! Everything together: what is there, what has to be issued, and writing it.

use super::authority::{Authority, read_pair};
use super::error::{PkiError, date};
use super::folder::{Content, Folder, KEY_SUFFIX, NewFile};
use super::issue::{self, end_of};
use super::key::{self, Key, SecretPem};
use super::leaf::{Found, Reason, Renewal, Wanted, judge};
use super::names;
use super::passphrase::{Occasion, Passphrase};
use super::sealed;
use super::source::{AUTHORITY, AUTHORITY_KEY, Source, Start};
use super::verify::Verifier;
use super::{Kind, Member, Settings};
use rcgen::KeyPair;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use time::{Duration, OffsetDateTime, UtcOffset};
use zeroize::Zeroizing;

/// A certificate with its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate in PEM form.
    pub certificate: String,
    /// Its key.
    pub key: SecretPem,
}

/// The certificates of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCertificates {
    /// For its client port.
    pub server: Pair,
    /// For its peer port, and for dialling its peers.
    pub peer: Pair,
}

/// Something that [`Pki::persist`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Issues a certificate, with a key of its own.
    Issue {
        /// What it is for.
        kind: Kind,
        /// Its file.
        file: PathBuf,
        /// Why.
        reason: Reason,
    },
    /// Takes the access to a key or to the folder away from all but its owner.
    Restrict {
        /// The file or folder.
        path: PathBuf,
        /// The mode that it has.
        mode: u32,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue { kind, reason, .. } => write!(f, "issue {kind}: {reason}"),
            Self::Restrict { path, mode } => {
                write!(f, "restrict `{}` to its owner: its mode is {mode:04o}", path.display())
            }
        }
    }
}

/// The CA, a server and a peer certificate for each member, and the administrator's.
///
/// Where something has to be issued and the CA's key is not open, it is listed among the changes, and what stands for
/// it here is empty.
#[derive(Debug)]
pub struct Pki {
    occasion: Option<Occasion>,
    folder: Folder,
    authority: Authority,
    members: BTreeMap<String, MemberCertificates>,
    admin: Pair,
    changes: Vec<Change>,
    warnings: Vec<String>,
    new_authority: Vec<NewFile>,
    new_leaves: Vec<NewFile>,
}

impl Pki {
    /// Reads the folder, keeps what is still right at `now` and issues in memory what is not, as far as that takes
    /// no passphrase. Nothing is written.
    ///
    /// `cluster` names a CA that is made here. RSA keys take up to seconds of all processors.
    ///
    /// # Errors
    /// If the CA cannot be used, its key is lost, a file cannot be read, or what the inventory
    /// says cannot be put into a certificate.
    pub fn load_or_issue(
        settings: &Settings,
        cluster: &str,
        members: &[Member],
        now: OffsetDateTime,
    ) -> Result<Self, PkiError> {
        Self::with(settings, cluster, members, None, now)
    }

    /// The same with the passphrase that [`occasion`](Self::occasion) asks for, so that all is issued that has to be.
    ///
    /// # Errors
    /// As [`load_or_issue`](Self::load_or_issue), and if the passphrase is wrong.
    pub fn open(
        settings: &Settings,
        cluster: &str,
        members: &[Member],
        passphrase: &Passphrase,
        now: OffsetDateTime,
    ) -> Result<Self, PkiError> {
        Self::with(settings, cluster, members, Some(passphrase), now)
    }

    fn with(
        settings: &Settings,
        cluster: &str,
        members: &[Member],
        passphrase: Option<&Passphrase>,
        now: OffsetDateTime,
    ) -> Result<Self, PkiError> {
        // Certificates know no fractions of a second.
        let now = now.to_offset(UtcOffset::UTC).truncate_to_second();
        let wanted = wanted(members)?;
        let folder = Folder::new(&settings.dir);
        let mut changes: Vec<_> =
            folder.too_open()?.into_iter().map(|(path, mode)| Change::Restrict { path, mode }).collect();
        let source = Source::find(settings, &folder)?;
        let mut occasion = None;
        let mut wants = |new| occasion = Some(Occasion { key: source.key.clone(), new });
        let (authority, new_authority) = match source.load(&folder, passphrase, now)? {
            Start::Ready(authority) => (authority, Vec::new()),
            Start::Key(Some(key)) => make_authority(settings, cluster, &source, key, Vec::new(), now)?,
            // In the place of the key that is not open another, which issues nothing that stays.
            Start::Key(None) => {
                wants(false);
                make_authority(settings, cluster, &source, generate_one(settings)?, Vec::new(), now)?
            }
            Start::Nothing => {
                let key = generate_one(settings)?;
                let secret = match (settings.encrypt_ca_key, passphrase) {
                    (false, _) => Some(SecretPem::of(&key)),
                    (true, Some(passphrase)) => Some(sealed::seal(&key, passphrase)?),
                    (true, None) => {
                        wants(true);
                        None
                    }
                };
                let file =
                    secret.map(|secret| NewFile { name: AUTHORITY_KEY.to_owned(), content: Content::Key(secret) });
                make_authority(settings, cluster, &source, key, file.into_iter().collect(), now)?
            }
        };
        if !new_authority.is_empty() {
            changes.push(Change::Issue {
                kind: Kind::Authority,
                file: folder.file(AUTHORITY),
                reason: Reason::Missing,
            });
        }
        let plain = authority.key.is_some() && new_authority.is_empty() && passphrase.is_none();
        let mut warnings = source.warnings(settings.encrypt_ca_key && plain);
        let renew_before = Duration::try_from(settings.renew_before).unwrap_or(Duration::MAX);
        if authority.not_after - now < renew_before && new_authority.is_empty() {
            warnings.push(format!("the CA expires on {}, and all certificates with it", date(authority.not_after)));
        }
        let mut issuer = Issuing {
            settings,
            source: &source,
            folder: &folder,
            verifier: Verifier::new(&authority.bundle).map_err(|reason| source.unfit(reason))?,
            renewal: Renewal {
                now,
                before: renew_before,
                not_after: end_of(now, settings.leaf_lifetime).min(authority.not_after),
            },
            authority: &authority,
            changes,
            new_leaves: Vec::new(),
            postponed: false,
        };
        let pairs = issuer.pairs(&wanted)?;
        if issuer.postponed {
            occasion = Some(Occasion { key: source.key.clone(), new: false });
        }
        let Issuing { changes, new_leaves, .. } = issuer;

        let mut pairs = pairs.into_iter();
        let mut next = || {
            pairs.next().ok_or_else(|| PkiError::Issue {
                kind: Kind::Admin,
                reason: "fewer certificates than asked for".to_owned(),
            })
        };
        // In the order of `wanted`.
        let admin = next()?;
        let mut by_name = BTreeMap::new();
        for member in members {
            let certificates = MemberCertificates { server: next()?, peer: next()? };
            by_name.insert(member.name.clone(), certificates);
        }
        Ok(Self { occasion, folder, authority, members: by_name, admin, changes, warnings, new_authority, new_leaves })
    }

    /// Whether a new CA is among what [`Pki::persist`] makes.
    #[must_use]
    pub fn makes_authority(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Issue { kind: Kind::Authority, .. }))
    }

    /// What [`persist`](Self::persist) will do, in its order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What the passphrase of the CA's key is wanted for, if [`persist`](Self::persist) cannot do without it.
    #[must_use]
    pub fn occasion(&self) -> Option<&Occasion> {
        self.occasion.as_ref()
    }

    /// What the user should know although it stops nothing, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Writes what was issued; without changes it touches nothing.
    ///
    /// The folder is made 0700 and keeps itself out of git, keys are 0600 before their first byte.
    /// A kill at any point leaves what the next run repairs.
    ///
    /// # Errors
    /// If a file cannot be written, another run made a CA in the meantime, or the passphrase of the CA's key is wanted.
    pub fn persist(&self) -> Result<(), PkiError> {
        if let Some(occasion) = &self.occasion {
            return Err(occasion.refusal());
        }
        if self.changes.is_empty() {
            return Ok(());
        }
        let open: Vec<_> = self
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Restrict { path, .. } => Some(path.clone()),
                Change::Issue { .. } => None,
            })
            .collect();
        self.folder.write(&open, &self.new_authority, &self.new_leaves)
    }

    /// The CA bundle for the hosts: the CA's certificate and those above it, nothing else.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.authority.pem
    }

    /// When the CA, or one above it, ends.
    #[must_use]
    pub fn ca_not_after(&self) -> OffsetDateTime {
        self.authority.not_after
    }

    /// The SHA-256 of the issuing CA certificate, as `openssl x509 -fingerprint -sha256` prints it.
    #[must_use]
    pub fn ca_fingerprint(&self) -> String {
        self.authority.fingerprint()
    }

    /// The certificates of the member of this name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&MemberCertificates> {
        self.members.get(name)
    }

    /// The administrator's client certificate.
    #[must_use]
    pub fn admin(&self) -> &Pair {
        &self.admin
    }
}

/// Every leaf that should be there: the administrator's, then for each member its server's and
/// its peer's.
fn wanted(members: &[Member]) -> Result<Vec<Wanted>, PkiError> {
    let mut wanted = vec![Wanted::new(Kind::Admin, Vec::new())];
    for (index, member) in members.iter().enumerate() {
        if members[..index].iter().any(|other| other.name == member.name) {
            return Err(PkiError::Member {
                member: member.name.clone(),
                problem: "the name is there twice".to_owned(),
            });
        }
        let names = names::of_member(member)?;
        for kind in [Kind::Server(member.name.clone()), Kind::Peer(member.name.clone())] {
            wanted.push(Wanted::new(kind, names.clone()));
        }
    }
    Ok(wanted)
}

pub(super) fn generate_one(settings: &Settings) -> Result<Key, PkiError> {
    key::generate(settings.key, 1)?.pop().ok_or_else(|| PkiError::Generate { reason: "there is no key".to_owned() })
}

/// A CA for `key`, whose certificate is added to `files`.
fn make_authority(
    settings: &Settings,
    cluster: &str,
    source: &Source,
    key: Key,
    mut files: Vec<NewFile>,
    now: OffsetDateTime,
) -> Result<(Authority, Vec<NewFile>), PkiError> {
    let pem = issue::authority(cluster, &settings.subject, &key, settings.ca_lifetime, now)?;
    let authority = Authority::new(&pem, key, now).map_err(|refusal| source.refused(refusal))?;
    files.push(NewFile { name: AUTHORITY.to_owned(), content: Content::Certificate(pem) });
    Ok((authority, files))
}

/// The work on the leaves.
struct Issuing<'a> {
    settings: &'a Settings,
    source: &'a Source,
    folder: &'a Folder,
    authority: &'a Authority,
    verifier: Verifier,
    renewal: Renewal,
    changes: Vec<Change>,
    new_leaves: Vec<NewFile>,
    /// Whether something has to be issued for which the CA's key is not open.
    postponed: bool,
}

/// Why a pair cannot stay, and the pair, if there is one.
type Replaced = (Reason, Option<Pair>);

impl Issuing<'_> {
    /// A pair for each of `wanted`, in their order.
    fn pairs(&mut self, wanted: &[Wanted]) -> Result<Vec<Pair>, PkiError> {
        let found = wanted.iter().map(|wanted| self.find(wanted)).collect::<Result<Vec<_>, _>>()?;
        let missing = found.iter().filter(|found| found.is_err()).count();
        let open = self.authority.key.is_some();
        let missing = if open { missing } else { 0 };
        let mut keys = key::generate(self.settings.key, missing)?.into_iter();
        let mut pairs = Vec::with_capacity(wanted.len());
        for (wanted, found) in wanted.iter().zip(found) {
            pairs.push(match found {
                Ok(pair) => pair,
                Err((reason, old)) if !open => self.postpone(wanted, reason, old),
                Err((reason, _)) => {
                    let key = keys
                        .next()
                        .ok_or_else(|| PkiError::Generate { reason: "fewer keys than asked for".to_owned() })?;
                    self.issue(wanted, &key, reason)?
                }
            });
        }
        Ok(pairs)
    }

    /// The pair in the folder if it is still right, else why not.
    fn find(&self, wanted: &Wanted) -> Result<Result<Pair, Replaced>, PkiError> {
        let stem = wanted.stem();
        let Some(certificate) = self.folder.read(&format!("{stem}.pem"))? else {
            return Ok(Err((Reason::Missing, None)));
        };
        let Some(key) = self.folder.read(&format!("{stem}{KEY_SUFFIX}"))? else {
            return Ok(Err((Reason::KeyMissing, None)));
        };
        let found = read_pair(&certificate, &key).and_then(|(der, key_matches)| {
            let now = self.renewal.now;
            Found::read(&der, key_matches, wanted, self.authority, &self.verifier, now)
        });
        let pair = Pair { certificate: certificate.to_string(), key: SecretPem::new(key) };
        Ok(match found.map(|found| judge(&found, wanted, self.renewal)) {
            Ok(None) => Ok(pair),
            Ok(Some(reason)) => Err((reason, Some(pair))),
            Err(what) => Err((Reason::Damaged(what), None)),
        })
    }

    /// Leaves a pair to be issued once the CA's key is open. Until then members are asked with the admin's old one.
    fn postpone(&mut self, wanted: &Wanted, reason: Reason, old: Option<Pair>) -> Pair {
        self.postponed = true;
        let (kind, file) = (wanted.kind.clone(), self.folder.file(&format!("{}.pem", wanted.stem())));
        let old = old.filter(|_| kind == Kind::Admin);
        self.changes.push(Change::Issue { kind, file, reason });
        old.unwrap_or_else(|| Pair { certificate: String::new(), key: SecretPem::new(Zeroizing::default()) })
    }

    fn issue(&mut self, wanted: &Wanted, key: &KeyPair, reason: Reason) -> Result<Pair, PkiError> {
        let kind = wanted.kind.clone();
        let certificate = issue::leaf(
            wanted,
            &self.settings.subject,
            key,
            self.renewal.not_after,
            self.authority,
            &self.verifier,
            self.renewal.now,
        )
        .map_err(|error| self.source.not_issued(kind.clone(), error))?;
        let pair = Pair { certificate, key: SecretPem::of(key) };
        let stem = wanted.stem();
        let name = format!("{stem}.pem");
        self.changes.push(Change::Issue { kind, file: self.folder.file(&name), reason });
        self.new_leaves.push(NewFile { name: format!("{stem}{KEY_SUFFIX}"), content: Content::Key(pair.key.clone()) });
        self.new_leaves.push(NewFile { name, content: Content::Certificate(pair.certificate.clone()) });
        Ok(pair)
    }
}
