//! What is brought to a host and put in force.

use super::scene::{Scene, archive, crash, file, folder, link, other_pki, put_certificates, starting, stop};
use super::{Case, Want, case, changes, fails, nothing, refusal};
use crate::error::ExitStatus;
use crate::etcd::config::{self, value_of};
use crate::etcd::testing::State::*;
use crate::host::{Observation, Release};
use crate::tasks::activate::Activate;
use crate::tasks::{Decision, HostTask as _, Wanted};

/// The wanted files, staged.
fn staged(scene: Scene) -> Scene {
    let host = scene.inventory.hosts[0].clone();
    let mut seen = (*scene.seen["node01"]).clone();
    put_certificates(&mut seen, &host, scene.wanted(), ".next/ssl");
    let wanted = scene.wanted();
    seen.files.insert("/etc/etcd/.next/etcd.conf".into(), file(&wanted.environment, 0o644, "root:root"));
    seen.files.insert("/etc/etcd/.next/etcd.service".into(), file(&wanted.unit, 0o644, "root:root"));
    seen.staged = true;
    scene.seen(|old| *old = seen)
}

/// A deployed host that should get certificates of another CA.
fn wanting_another_ca() -> Scene {
    let scene = Scene::deployed();
    let membership = scene.membership.clone().unwrap().unwrap();
    let wanted = Wanted::of(&scene.inventory.hosts[0], &membership, &other_pki(), archive("3.5.16"));
    Scene { wanted, ..scene }
}

/// A deployed host whose server certificate is not the one in the PKI folder any more.
fn wanting_another_leaf() -> Scene {
    Scene::deployed().seen(|seen| {
        seen.files.insert("/etc/etcd/ssl/server.pem".into(), file("the one before", 0o644, "etcd:etcd"));
    })
}

/// A deployed host whose etcd should be another version.
fn wanting_another_version() -> Scene {
    let scene = Scene::deployed();
    let membership = scene.membership.clone().unwrap().unwrap();
    let wanted = Wanted::of(&scene.inventory.hosts[0], &membership, super::scene::pki(), archive("3.5.30"));
    Scene { wanted, ..scene }
}

/// A cluster that stands now, of which the files on the host do not know yet.
fn wanting_to_record_the_cluster() -> Scene {
    let mut fresh = Scene::fresh();
    let wanted = std::mem::take(&mut fresh.wanted).unwrap();
    Scene::deployed().seen(|seen| {
        seen.files.insert("/etc/etcd/etcd.conf".into(), file(&wanted.environment, 0o644, "root:root"));
        seen.environment = Some(wanted.environment);
    })
}

const ALL: [&str; 4] = [
    "link /usr/local/bin/etcd to /opt/etcd/releases/3.5.16",
    "put CA and certificates in force",
    "write /etc/etcd/etcd.conf",
    "write /etc/systemd/system/etcd.service",
];

pub(super) fn cases() -> Vec<Case> {
    let release = |sha256: &str, whole| Release { archive_sha256: sha256.into(), whole };
    vec![
        case(
            "prepare_host",
            "a fresh host",
            Scene::fresh(),
            changes([
                "create the system user `etcd`",
                "create /opt/etcd",
                "create /opt/etcd/releases",
                "create /etc/etcd",
                "create /var/lib/etcd",
            ]),
        ),
        case("prepare_host", "a host that is as it should be", Scene::deployed(), nothing()),
        case(
            "prepare_host",
            "a data folder that others can read",
            Scene::deployed().seen(|seen| {
                seen.files.insert("/var/lib/etcd".into(), folder(0o755, "etcd:etcd"));
            }),
            changes(["set owner and mode of /var/lib/etcd"]),
        ),
        case(
            "prepare_host",
            "a data folder that is root's",
            Scene::deployed().seen(|seen| {
                seen.files.insert("/var/lib/etcd".into(), folder(0o700, "root:root"));
            }),
            changes(["set owner and mode of /var/lib/etcd"]),
        ),
        case(
            "prepare_host",
            "a data folder that is a link to another disk",
            Scene::deployed().seen(|seen| {
                seen.files.insert("/var/lib/etcd".into(), link("/srv/etcd"));
            }),
            nothing(),
        ),
        case(
            "prepare_host",
            "folders that others made their own way",
            Scene::deployed().seen(|seen| {
                seen.files.insert("/etc/etcd".into(), folder(0o750, "root:etcd"));
            }),
            nothing(),
        ),
        case(
            "prepare_host",
            "a folder in which others can write",
            Scene::deployed().seen(|seen| {
                seen.files.insert("/etc/etcd".into(), folder(0o777, "nobody:root"));
            }),
            changes(["keep others from writing in /etc/etcd"]),
        ),
        case("stage_release", "a fresh host", Scene::fresh(), changes(["upload and unpack etcd 3.5.16 (21.0 MiB)"])),
        case("stage_release", "a host that has it", Scene::deployed(), nothing()),
        case(
            "stage_release",
            "another version beside the old one",
            wanting_another_version(),
            changes(["upload and unpack etcd 3.5.30 (21.0 MiB)"]),
        ),
        case(
            "stage_release",
            "its files were altered",
            Scene::deployed().seen(|seen| {
                seen.releases.insert("3.5.16".into(), release(&"5".repeat(64), false));
            }),
            changes(["unpack etcd 3.5.16 anew, since its files were altered"]),
        ),
        case(
            "stage_release",
            "another build",
            Scene::deployed().seen(|seen| {
                seen.releases.insert("3.5.16".into(), release(&"6".repeat(64), true));
            }),
            changes(["upload and unpack another build of etcd 3.5.16 (21.0 MiB) as 3.5.16+55555555"]),
        ),
        case("stage_certificates", "a fresh host", Scene::fresh(), changes(["stage its certificates and keys"])),
        case("stage_certificates", "in force already", Scene::deployed(), nothing()),
        case("stage_certificates", "staged already", staged(Scene::fresh()), nothing()),
        case(
            "stage_certificates",
            "a renewed leaf",
            wanting_another_leaf(),
            changes(["stage its certificates and keys"]),
        ),
        case(
            "stage_certificates",
            "a key that others can read",
            Scene::deployed().seen(|seen| {
                if let Some(key) = seen.files.get_mut("/etc/etcd/ssl/peer-key.pem") {
                    key.mode = 0o644;
                }
            }),
            changes(["stage its certificates and keys"]),
        ),
        case(
            "stage_certificates",
            "a key that etcd cannot read",
            Scene::deployed().seen(|seen| {
                if let Some(key) = seen.files.get_mut("/etc/etcd/ssl/peer-key.pem") {
                    key.owner = "root:root".into();
                }
            }),
            changes(["stage its certificates and keys"]),
        ),
        case(
            "stage_certificates",
            "another CA",
            wanting_another_ca(),
            fails("the member on `node01` trusts another CA than the one in the PKI folder"),
        ),
        case(
            "stage_certificates",
            "another CA where there is no data yet",
            wanting_another_ca().seen(|seen| seen.data = None),
            changes(["stage its certificates and keys"]),
        ),
        case("stage_config", "a fresh host", Scene::fresh(), changes(["stage etcd.conf", "stage etcd.service"])),
        case("stage_config", "in force already", Scene::deployed(), nothing()),
        case("stage_config", "staged already", staged(Scene::fresh()), nothing()),
        case(
            "stage_config",
            "another setting",
            Scene::deployed().wanting_another_setting(),
            changes(["stage etcd.conf"]),
        ),
        case("stage_config", "a cluster that stands now", wanting_to_record_the_cluster(), nothing()),
        case("activate", "a fresh host", staged(Scene::fresh()), changes(ALL)),
        case("activate", "a host that is as it should be", Scene::deployed(), nothing()),
        case(
            "activate",
            "another setting for a member that serves",
            staged(Scene::deployed().wanting_another_setting()),
            nothing(),
        ),
        case(
            "activate",
            "the same in its turn",
            staged(Scene::deployed().wanting_another_setting()).rolling(),
            changes(["write /etc/etcd/etcd.conf"]),
        ),
        case(
            "activate",
            "the same, but its member is down",
            staged(Scene::deployed().wanting_another_setting()).seen(stop),
            changes(["write /etc/etcd/etcd.conf"]),
        ),
        case(
            "activate",
            "the same, but its member crashes",
            staged(Scene::deployed().wanting_another_setting()).seen(crash),
            changes(["write /etc/etcd/etcd.conf"]),
        ),
        // Else `start` would restart it with what it has, for ever.
        case(
            "activate",
            "the same, but its member is still starting",
            staged(Scene::deployed().wanting_another_setting()).seen(|seen| starting(seen, Some("older"))),
            changes(["write /etc/etcd/etcd.conf"]),
        ),
        case("activate", "what etcd ignores once it has data", wanting_to_record_the_cluster(), nothing()),
        case(
            "record_cluster",
            "a cluster that stands now",
            wanting_to_record_the_cluster(),
            changes(["record the cluster in /etc/etcd/etcd.conf"]),
        ),
        case("record_cluster", "a cluster that is on record", Scene::deployed(), nothing()),
        case("record_cluster", "another setting, too", Scene::deployed().wanting_another_setting(), nothing()),
        case(
            "activate",
            "a renewed leaf in its turn",
            wanting_another_leaf().rolling(),
            changes(["put certificates in force"]),
        ),
        case("activate", "a renewed leaf of a member that serves", wanting_another_leaf(), nothing()),
        case(
            "activate",
            "a renewed leaf of a member that nobody reaches, since its own has expired",
            wanting_another_leaf().members(&[Down, Leads, Follows]),
            changes(["put certificates in force"]),
        ),
        case(
            "activate",
            "the same, and a setting",
            staged(Scene::deployed().wanting_another_setting()).members(&[Down, Leads, Follows]),
            nothing(),
        ),
        case(
            "activate",
            "another build of the same version in its turn",
            Scene::deployed()
                .seen(|seen| {
                    seen.releases.insert("3.5.16".into(), release(&"6".repeat(64), true));
                    seen.releases.insert("3.5.16+55555555".into(), release(&"5".repeat(64), true));
                })
                .rolling(),
            changes(["link /usr/local/bin/etcd to /opt/etcd/releases/3.5.16+55555555"]),
        ),
        case(
            "activate",
            "another version in its turn",
            wanting_another_version().rolling(),
            changes(["link /usr/local/bin/etcd to /opt/etcd/releases/3.5.30", "write /etc/etcd/etcd.conf"]),
        ),
        case(
            "activate",
            "another unit in its turn",
            Scene::deployed()
                .seen(|seen| {
                    seen.files.insert("/etc/systemd/system/etcd.service".into(), file("older", 0o644, "root:root"));
                })
                .rolling(),
            changes(["write /etc/systemd/system/etcd.service"]),
        ),
        case(
            "activate",
            "leftovers",
            staged(Scene::deployed()).rolling(),
            changes(["remove what an interrupted run left staged"]),
        ),
    ]
}

#[test]
fn another_ca_is_refused_with_a_way_out() {
    let case = case("stage_certificates", "another CA", wanting_another_ca(), Want::Nothing);
    let (exit, hint) = refusal(&case, &case.scene.overview());
    assert_eq!(exit, ExitStatus::Refused);
    assert_eq!(
        hint.as_deref(),
        Some(
            "put back the PKI folder that the cluster was made with (`pki.dir`, `pki.ca_cert`); to exchange the CA of a living \
             cluster takes a rotation in three passes, which a deploy does not do"
        )
    );
}

#[test]
fn text_files_are_shown_as_differences_and_keys_never() {
    let scene = staged(Scene::deployed().wanting_another_setting()).rolling();
    let overview = scene.overview();
    let Ok(Decision::Changes(changes)) = (Activate {}).check(&scene.view(&overview)) else { panic!() };
    let diff = changes[0].diff.as_ref().unwrap();
    assert_eq!(diff.path, "/etc/etcd/etcd.conf");
    assert_eq!(value_of(&diff.old, "ETCD_HEARTBEAT_INTERVAL"), None);
    assert_eq!(value_of(&diff.new, "ETCD_HEARTBEAT_INTERVAL"), Some("150"));
    let scene = staged(Scene::fresh());
    let overview = scene.overview();
    let Ok(Decision::Changes(changes)) = (Activate {}).check(&scene.view(&overview)) else { panic!() };
    let shown: Vec<Option<&str>> =
        changes.iter().map(|change| change.diff.as_ref().map(|diff| diff.old.as_str())).collect();
    assert_eq!(shown, [None, None, Some(""), Some("")]);
}

#[test]
fn what_a_host_should_have() {
    let scene = Scene::fresh();
    let wanted = scene.wanted();
    let names: Vec<(&str, u32)> = wanted.certificates.iter().map(|file| (file.name, file.mode)).collect();
    assert_eq!(
        names,
        [
            ("ca.pem", 0o644),
            ("server.pem", 0o644),
            ("server-key.pem", 0o600),
            ("peer.pem", 0o644),
            ("peer-key.pem", 0o600)
        ]
    );
    for file in &wanted.certificates {
        assert_eq!(file.content.contains("PRIVATE KEY"), file.name.ends_with("-key.pem"), "{}", file.name);
    }
    assert!(!wanted.environment.contains("PRIVATE") && !wanted.unit.contains("PRIVATE"));
    assert_eq!(value_of(&wanted.environment, config::GENERATION), Some(wanted.generation.as_str()));
    let release = |digit: &str| Release { archive_sha256: digit.repeat(64), whole: true };
    let seen = |builds: &[(&str, &str)]| {
        let builds = builds.iter().map(|(name, digit)| ((*name).to_owned(), release(digit)));
        Observation { releases: builds.collect(), ..Observation::default() }
    };
    for (builds, want) in [
        (&[][..], "3.5.16"),
        (&[("3.5.16", "5")], "3.5.16"),
        // Another build is there, and may be in force.
        (&[("3.5.16", "6")], "3.5.16+55555555"),
        (&[("3.5.16", "6"), ("3.5.16+55555555", "5")], "3.5.16+55555555"),
        (&[("3.5.16+55555555", "5")], "3.5.16+55555555"),
        (&[("3.5.16+66666666", "6")], "3.5.16"),
    ] {
        let folder = wanted.release_folder(&scene.inventory.hosts[0], &seen(builds));
        assert_eq!(folder, format!("/opt/etcd/releases/{want}"), "{builds:?}");
    }
    let stranger = crate::inventory::Host { name: "node09".into(), ..scene.inventory.hosts[0].clone() };
    let membership = scene.membership.clone().unwrap().unwrap();
    assert!(Wanted::of(&stranger, &membership, super::scene::pki(), archive("3.5.16")).is_none());
}
