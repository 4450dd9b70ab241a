//! What lies on the controller: where the binaries come from, and the certificates.

use super::{HOUR, Validation};
use crate::inventory::lint::Finding;
use crate::inventory::problem::{Problem, quoted};
use crate::inventory::tree::At;
use crate::inventory::values::{Texts, Time, show_duration};
use crate::inventory::{rules, schema};
use crate::{pki, release};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the official release archives are (etcd's own release page).
const OFFICIAL_RELEASE: &str =
    "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz";

/// Ten years, what long-lived clusters without a renewal routine use.
const LIFETIME: Duration = Duration::from_secs(87_600 * 3600);
/// A certificate must be valid in the year 9999 at the latest (RFC 5280, 4.1.2.5); nobody needs more than a century.
const LONGEST_LIFETIME: Duration = Duration::from_secs(100 * 8766 * 3600);
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

impl Validation<'_> {
    pub(super) fn release(&mut self, written: schema::Release) -> release::Source {
        let sources: Vec<(&str, &At<String>)> =
            [("url", &written.url), ("archive", &written.archive), ("binaries", &written.binaries)]
                .into_iter()
                .filter_map(|(key, value)| Some((key, value.as_ref()?)))
                .collect();
        if let [(first, _), (second, at), ..] = sources.as_slice() {
            let message = format!("`release.{first}` and `release.{second}` are both given");
            self.add(
                Problem::new(message, at.span.clone())
                    .label("a second source")
                    .help("the binaries come from one place: exactly one of `url`, `archive` and `binaries`"),
            );
        }
        if let (Some(_), Some(digests)) = (&written.binaries, &written.sha256) {
            self.add(
                Problem::new("`release.sha256` is given for bare binaries", digests.span.clone())
                    .label("digests are those of archives")
                    .help("leave it out, or use `archive`"),
            );
        }
        let mut sha256 = BTreeMap::new();
        if let Some(digests) = &written.sha256 {
            for (arch, digest) in
                [(release::Arch::Amd64, &digests.value.amd64), (release::Arch::Arm64, &digests.value.arm64)]
            {
                let Some(digest) = digest else { continue };
                if digest.value.len() != 64 || !digest.value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    let message = format!("{} is not a SHA-256 digest", quoted(&digest.value));
                    let finding = Finding::new(message).help("64 hexadecimal digits, as `sha256sum` prints them");
                    self.add_finding(finding, digest.span.clone());
                }
                sha256.insert(arch, digest.value.to_ascii_lowercase());
            }
        }
        if let Some(url) = written.url {
            self.check(&url, rules::release_url);
            if url.value.starts_with("http://") && sha256.is_empty() {
                self.warnings.push(
                    "`release.url` is fetched without TLS, and so is the SHA256SUMS beside it; `release.sha256` would tell a tampered archive"
                        .to_owned(),
                );
            }
            return release::Source::Url { template: url.value, sha256 };
        }
        if let Some(archive) = written.archive {
            self.check(&archive, rules::placeholders);
            return release::Source::Archive { path: self.local_path(&archive), sha256 };
        }
        if let Some(binaries) = written.binaries {
            return release::Source::Binaries(self.local_path(&binaries));
        }
        release::Source::Url { template: OFFICIAL_RELEASE.to_owned(), sha256 }
    }

    pub(super) fn pki(&mut self, written: schema::Pki, path: &Path) -> pki::Settings {
        match (&written.ca_cert, &written.ca_key) {
            (Some(given), None) => {
                self.add(
                    Problem::new("`pki.ca_cert` is given without `pki.ca_key`", given.span.clone())
                        .label("its key is needed, too")
                        .help("members' certificates are issued here, which takes the CA's private key"),
                );
            }
            (None, Some(given)) => {
                self.add(
                    Problem::new("`pki.ca_key` is given without `pki.ca_cert`", given.span.clone()).label("whose key?"),
                );
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let subject = written.subject.map(|at| at.value).unwrap_or_default();
        for (field, longest) in [(&subject.state, 128), (&subject.locality, 128), (&subject.organization, 64)] {
            if let Some(field) = field {
                self.check(field, |value| rules::subject_field(value, longest));
            }
        }
        if let Some(country) = &subject.country {
            self.check(country, rules::country);
        }
        let time = |at: &Option<At<Time>>, default| at.as_ref().map_or(default, |at| at.value.0);
        let ca_lifetime = time(&written.ca_lifetime, LIFETIME);
        // A leaf cannot outlive its CA, so a short-lived CA lowers the default, too.
        let leaf_lifetime = time(&written.leaf_lifetime, LIFETIME.min(ca_lifetime));
        let renew_before = time(&written.renew_before, RENEW_BEFORE);
        for (key, at) in [("ca_lifetime", &written.ca_lifetime), ("leaf_lifetime", &written.leaf_lifetime)] {
            if let Some(at) = at
                && !(HOUR..=LONGEST_LIFETIME).contains(&at.value.0)
            {
                let finding = Finding::new(format!("`pki.{key}` of {} is out of bounds", show_duration(at.value.0)));
                self.add_finding(finding.help("from 1h to 876600h (a hundred years)"), at.span.clone());
            }
        }
        if let Some(at) = &written.leaf_lifetime
            && written.ca_cert.is_none()
            && leaf_lifetime > ca_lifetime
        {
            let message = format!(
                "`pki.leaf_lifetime` of {} is longer than the CA's {}",
                show_duration(leaf_lifetime),
                show_duration(ca_lifetime)
            );
            self.add_finding(
                Finding::new(message).help("a certificate is worth nothing once its CA has expired"),
                at.span.clone(),
            );
        }
        let shown_at =
            written.renew_before.as_ref().or(written.leaf_lifetime.as_ref()).or(written.ca_lifetime.as_ref());
        if let Some(at) = shown_at
            && renew_before >= leaf_lifetime
        {
            let message = format!(
                "certificates are valid for {} and renewed {} before they expire",
                show_duration(leaf_lifetime),
                show_duration(renew_before)
            );
            let help =
                "every run would renew every certificate: make `pki.renew_before` shorter than `pki.leaf_lifetime`";
            self.add_finding(Finding::new(message).help(help), at.span.clone());
        }
        pki::Settings {
            dir: written.dir.map_or_else(|| path.with_extension("pki"), |dir| self.local_path(&dir)),
            ca_cert: written.ca_cert.map(|file| self.local_path(&file)),
            ca_key: written.ca_key.map(|file| self.local_path(&file)),
            encrypt_ca_key: written.encrypt_ca_key.map(|at| at.value).unwrap_or_default(),
            key: written.key.map(|at| at.value.0).unwrap_or_default(),
            subject: pki::Subject {
                country: subject.country.map(|at| at.value),
                state: subject.state.map(|at| at.value),
                locality: subject.locality.map(|at| at.value),
                organization: subject.organization.map(|at| at.value),
            },
            ca_lifetime,
            leaf_lifetime,
            renew_before,
        }
    }

    /// A path on the controller: `~` is the user's home, and a relative one starts at the inventory.
    pub(super) fn local_path(&mut self, at: &At<String>) -> PathBuf {
        let text = at.value.as_str();
        if text.chars().any(char::is_control) {
            let message = format!("path {} has a control character", quoted(text));
            self.add_finding(Finding::new(message), at.span.clone());
        }
        match text.strip_prefix('~') {
            None => self.folder.join(text),
            Some(rest) if rest.is_empty() || rest.starts_with('/') => match &self.home {
                Some(home) => home.join(rest.trim_start_matches('/')),
                None => {
                    let finding = Finding::new("`~` means nothing here: the environment has no HOME");
                    self.add_finding(finding.help("write the whole path"), at.span.clone());
                    PathBuf::new()
                }
            },
            Some(_) => {
                let finding = Finding::new(format!("path {} names another user's home", quoted(text)));
                self.add_finding(finding.help("only `~/` is understood; write the whole path"), at.span.clone());
                PathBuf::new()
            }
        }
    }

    pub(super) fn local_paths(&mut self, at: Option<&At<Texts>>) -> Vec<PathBuf> {
        at.map(|at| at.value.0.iter().map(|path| self.local_path(path)).collect()).unwrap_or_default()
    }
}
