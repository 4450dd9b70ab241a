//! `activate`: what is staged takes the place of what is in force; the old stays in `.previous`.
//!
//! On a member that serves this happens only in its turn of a rolling play, since a crash-restart or
//! a reboot would pick it up.

use super::{Change, Decision, Hands, HostTask, Mode, Needs, TaskError, TextDiff, View, Wanted, way_back};
use crate::etcd::config::UNIT;
use crate::etcd::health::Ailment;
use crate::host::Script;
use crate::ssh::quote;
use crate::tasks::fleet::places;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Put what is staged in the place of what is in force.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activate {}

/// What differs between what is in force and what is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Differences {
    /// The environment file.
    pub environment: bool,
    /// The unit.
    pub unit: bool,
    /// The certificates.
    pub certificates: bool,
    /// Where the binaries' links point.
    pub binaries: bool,
    /// Whether something is staged at all.
    pub leftovers: bool,
}

impl Differences {
    /// Compares what was seen on the host with what it should have.
    #[must_use]
    pub fn between(view: &View<'_>, wanted: &Wanted) -> Self {
        let (seen, host) = (view.seen, view.host);
        let places = places(host);
        Self {
            environment: seen.sha256(&places.environment_file()) != Some(&wanted.environment_sha256)
                && !wanted.differs_harmlessly(seen),
            unit: seen.sha256(&places.unit_file()) != Some(&wanted.unit_sha256),
            certificates: !wanted.certificates_in(&format!("{}/ssl", host.paths.config), seen),
            binaries: wanted.binaries.iter().any(|name| {
                seen.link(&format!("{}/{name}", host.paths.bin))
                    != Some(&format!("{}/{name}", wanted.release_folder(host, view.seen)))
            }),
            leftovers: seen.staged,
        }
    }
}

impl Differences {
    /// Whether anything that is in force differs.
    #[must_use]
    pub fn any(&self) -> bool {
        self.environment || self.unit || self.certificates || self.binaries
    }
}

/// Whether a member that nobody reaches needs only other certificates of the CA that it trusts, as where its own have
/// expired. etcd reads them at every handshake, so that nothing is restarted; and until then no gate would open.
fn heals(view: &View<'_>, wanted: &Wanted, differences: &Differences) -> bool {
    let only = Differences { certificates: true, leftovers: differences.leftovers, ..Differences::default() };
    let own = view.overview.cluster.iter().flat_map(|cluster| &cluster.members);
    let unreached = own
        .filter(|member| member.look.host == view.host.name)
        .any(|member| matches!(member.ailment, Some(Ailment::Unreachable(_))));
    unreached && *differences == only && wanted.ca_in(&format!("{}/ssl", view.host.paths.config), view.seen)
}

impl HostTask for Activate {
    fn needs(&self, view: &View<'_>) -> Needs {
        Needs { wanted: true, cluster: view.seen.unit.ready() && view.mode != Mode::Rolling, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let wanted = view.wanted()?;
        let (seen, host) = (view.seen, view.host);
        let differences = Differences::between(view, wanted);
        if seen.unit.ready() && view.mode != Mode::Rolling && differences.any() && !heals(view, wanted, &differences) {
            return Ok(Decision::Nothing);
        }
        let mut changes = Vec::new();
        if differences.binaries {
            let folder = wanted.release_folder(host, view.seen);
            changes.push(Change::new(format!("link {}/etcd to {folder}", host.paths.bin)));
        }
        if differences.certificates {
            let ca = !wanted.ca_in(&format!("{}/ssl", host.paths.config), seen);
            changes.push(Change::new(if ca {
                "put CA and certificates in force"
            } else {
                "put certificates in force"
            }));
        }
        let places = places(host);
        let mut text = |differs: bool, path: String, old: &Option<String>, new: &str| {
            if differs {
                let diff = TextDiff { path: path.clone(), old: old.clone().unwrap_or_default(), new: new.to_owned() };
                changes.push(Change { summary: format!("write {path}"), diff: Some(diff) });
            }
        };
        text(differences.environment, places.environment_file(), &seen.environment, &wanted.environment);
        text(differences.unit, places.unit_file(), &seen.unit_text, &wanted.unit);
        if changes.is_empty() && differences.leftovers {
            changes.push(Change::new("remove what an interrupted run left staged"));
        }
        Ok(Decision::changes(changes))
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let wanted = view.wanted()?;
        let patience =
            (view.mode == Mode::Rolling && view.seen.unit.ready()).then_some(hands.fleet.options.health_timeout);
        let text = script(view, wanted, &Differences::between(view, wanted), patience);
        hands.connection.run(Script::new("put the staged files in force", &text).silent_for(way_back::LIMIT)).await?;
        Ok(())
    }
}

/// What puts the wanted files in force. Where a member runs, its way back is armed before anything is moved,
/// with the controller's `patience`.
pub(super) fn script(
    view: &View<'_>,
    wanted: &Wanted,
    differences: &Differences,
    patience: Option<Duration>,
) -> String {
    let (host, places) = (view.host, places(view.host));
    let digest = |text: &str| data_encoding::HEXLOWER.encode(&Sha256::digest(text));
    let mut text = format!(
        "config={config} unit={unit} bin={bin} release={release} ssl=.ssl-{ssl}\n\
         cd \"$config\"\n\
         # What was staged has to be what is wanted, to the last byte, before anything is moved.\n",
        config = quote(&host.paths.config),
        unit = quote(&places.unit_file()),
        bin = quote(&host.paths.bin),
        release = quote(&wanted.release_folder(host, view.seen)),
        ssl = wanted.certificates_digest,
    );
    let mut sums = String::new();
    if differences.environment {
        sums += &format!("{}  .next/etcd.conf\n", digest(&wanted.environment));
    }
    if differences.unit {
        sums += &format!("{}  .next/{UNIT}\n", digest(&wanted.unit));
    }
    if differences.certificates {
        for file in &wanted.certificates {
            sums += &format!("{}  .next/ssl/{}\n", file.sha256, file.name);
        }
    }
    if !sums.is_empty() {
        text += &format!(
            "sha256sum --status -c - <<'END' || {{ echo 'what is staged is not what is wanted' >&2; exit 1; }}\n{sums}END\n"
        );
    }
    // What is in force now, links kept as links. What no member ever ran well with is nothing to go back to.
    if patience.is_some() || view.seen.unconfirmed {
        text += &way_back::quiet();
    }
    text += &format!("umask 022\nif [ ! -e .previous/unconfirmed ]; then\n{}", way_back::KEEP);
    if patience.is_some() {
        text += &way_back::write(host);
    }
    text += &format!("{}fi\n", way_back::KEPT);
    match patience {
        Some(patience) => text += &way_back::arm(&host.paths.config, patience),
        // The member is down: what is done now is its repair.
        None if view.seen.unconfirmed && !view.seen.unit.ready() && differences.any() => text += &way_back::disarm(),
        None => {}
    }
    if differences.binaries {
        text += "mkdir -p \"$bin\"\n";
        // An older release may lack one of the programs.
        for name in ["etcdctl", "etcdutl"].into_iter().filter(|name| !wanted.binaries.iter().any(|other| other == name))
        {
            text += &format!("rm -f \"$bin\"/{name}\n");
        }
        for name in &wanted.binaries {
            let name = quote(name);
            text += &format!(
                "ln -sfn \"$release\"/{name} \"$bin\"/.{name}.new\nmv -T \"$bin\"/.{name}.new \"$bin\"/{name}\n"
            );
        }
    }
    if differences.certificates {
        // One link is flipped, so that no handshake ever sees a certificate without its key.
        text += "rm -rf \"$ssl\"\nmv -T .next/ssl \"$ssl\"\nln -sfn \"$ssl\" .ssl.new\nmv -T .ssl.new ssl\n\
                 kept=$(readlink .previous/ssl || :)\n\
                 for old in .ssl-*; do\n\
                 \x20 if [ \"$old\" != \"$ssl\" ] && [ \"$old\" != \"$kept\" ]; then rm -rf \"$old\"; fi\n\
                 done\n";
    }
    if differences.environment {
        text += "mv -T .next/etcd.conf etcd.conf\n";
    }
    if differences.unit {
        // Another file system, maybe: copied beside its place, then renamed.
        text += "cp .next/";
        text += UNIT;
        text += " \"$unit.new\"\nsync \"$unit.new\"\nmv -T \"$unit.new\" \"$unit\"\n";
        // Enabling makes systemd read its units anew, too.
        let enabled = view.seen.unit.enabled == "enabled";
        text += &if enabled {
            "systemctl daemon-reload\n".to_owned()
        } else {
            format!("systemctl enable --quiet {UNIT}\n")
        };
    }
    text + "rm -rf .next\nsync .\n"
}
