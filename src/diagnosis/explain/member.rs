//! What is wrong with one member, as far as it is its own.

use super::words::{ago, bytes, list};
use super::{Finding, Near, Scene, Step, Unreached, Weight, certificates, remedy};
use crate::diagnosis::{Drift, drift};
use crate::etcd::client::CallError;
use crate::etcd::config::UNIT;
use crate::etcd::health::Ailment;
use crate::etcd::signature::{self, known};
use crate::host::Observation;
use crate::inventory::Host;
use crate::tasks::{Why, last_said, why};

/// With less free space than this a disk is full: a member's next write may be as large (etcd's `--max-request-bytes`).
const NO_ROOM: u64 = 1 << 20;

/// The signatures of members that have to join anew.
pub(super) const LOSSES: &[&str] =
    &["bootstrapped", "broken-db", "broken-wal", "data-lost", "other-cluster", "other-count", "removed"];

/// How a member is, looked at by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It does well.
    Well,
    /// It does not serve, and nothing shows that it is to blame.
    Waits,
    /// There is a cause of its own.
    Ill(Finding),
}

/// How the member on a host is.
pub(super) fn state(scene: &Scene, host: &Host, near: &Result<Near, Unreached>) -> State {
    let near = match near {
        Ok(near) => near,
        Err(unreached) => return State::Ill(out_of_reach(host, unreached)),
    };
    let (seen, unit) = (&*near.seen, &near.seen.unit);
    if let Some(finding) = not_startable(scene, host, seen) {
        return State::Ill(finding);
    }
    if let Some(disk) = full_disk(host, near) {
        return State::Ill(remedy::no_room(scene, host, near, disk));
    }
    let why = heard(scene, host, seen);
    let member = scene.member(host);
    let ailment = member.and_then(|member| member.ailment.as_ref());
    if let Some(id) = scene.awaited(host) {
        return State::Ill(remedy::to_be_started(scene, host, near, id));
    }
    if unit.crashed() || (unit.restarts > 0 && !unit.ready()) {
        return State::Ill(crashed(scene, host, near, why.as_ref()));
    }
    if unit.is_down() {
        return State::Ill(match why {
            Some(why) if why.told.signature.name == "removed" => remedy::finding(scene, host, near, &why),
            _ => stopped(scene, host, near),
        });
    }
    let cause = why.as_ref().filter(|why| why.told.signature.weight == signature::Weight::Cause);
    match (ailment, cause) {
        // An alarm is the cluster's.
        (Some(Ailment::Alarm(_)) | None, None) => State::Well,
        (Some(Ailment::Learner), None) => State::Well,
        // It serves, but is found fault with: it may serve no more once its connections end.
        (None | Some(Ailment::Alarm(_) | Ailment::Learner), Some(why)) if why.said_by == host.name => {
            if serves_with(why) { State::Ill(remedy::finding(scene, host, near, why)) } else { State::Well }
        }
        // A peer's prober tells of its last try until the next one.
        (None | Some(Ailment::Alarm(_) | Ailment::Learner), Some(why)) if why.told.words.starts_with("prober ") => {
            State::Well
        }
        (None | Some(Ailment::Alarm(_) | Ailment::Learner), Some(why)) => {
            State::Ill(remedy::finding(scene, host, near, why))
        }
        (Some(Ailment::Unreachable(CallError::Tls(words))), None) => State::Ill(refused_to_us(scene, host, words)),
        (Some(_), Some(why)) => State::Ill(remedy::finding(scene, host, near, why)),
        (Some(Ailment::Unreachable(CallError::Timeout { .. })), None) if unit.ready() => {
            State::Ill(silent(scene, host, near, member.map(|member| member.ailment.as_ref())))
        }
        (Some(_), None) => match &why {
            // What its peers hear of it is its own; what it hears itself may be theirs.
            Some(why) if why.said_by != host.name && scene.serves() => {
                State::Ill(remedy::finding(scene, host, near, why))
            }
            _ => State::Waits,
        },
    }
}

/// What journals tell of the member, unless that is over.
fn heard(scene: &Scene, host: &Host, seen: &Observation) -> Option<Why> {
    let why = why(host, seen, &scene.health.hosts_by_id(), &scene.journals())?;
    let name = why.told.signature.name;
    // Whatever is heard of it, a member that serves has its data: nobody shall be told to move that away.
    let serves = scene.member(host).is_some_and(|member| member.ailment.is_none());
    // What was said before it joined anew is over.
    let listed = name == "removed" && scene.serves() && scene.is_listed(host);
    let refuted = LOSSES.contains(&name) && (serves || listed);
    // A certificate may be as it should be, and not name an address that the member comes from.
    let named = why.from.as_ref().is_none_or(|from| *from == host.address || host.extra_names.contains(from));
    let over = named && certificates::over(scene, host, name);
    (!refuted && !over).then_some(why)
}

/// Whether the words are of what a member serves with, but not for long or not to all.
fn serves_with(why: &Why) -> bool {
    ["disk-full", "gateway"].contains(&why.told.signature.name)
}

fn out_of_reach(host: &Host, unreached: &Unreached) -> Finding {
    let hint = unreached.hint.clone().unwrap_or_else(|| "see that the host runs and that its network is up".to_owned());
    let mut next = vec![Step::Do(hint)];
    next.push(Step::Do("its member starts by itself when the host boots; its data stays where it is".to_owned()));
    Finding {
        host: Some(host.name.clone()),
        kind: "unreachable".to_owned(),
        cause: "the host cannot be reached over SSH".to_owned(),
        evidence: vec![unreached.why.clone()],
        next,
        weight: Weight::Fault,
    }
}

/// A unit that cannot be started at all, whatever etcd would say.
fn not_startable(scene: &Scene, host: &Host, seen: &Observation) -> Option<Finding> {
    let unit = &seen.unit;
    let deploy = || scene.deploy();
    let exec = |words: &str| scene.type_in("exec", &format!("{} -- {words}", host.name));
    let (kind, cause, evidence, next) = if !seen.booted_by_systemd {
        let evidence = "there is no /run/systemd/system".to_owned();
        (
            "no-systemd",
            "the host was not booted with systemd".to_owned(),
            evidence,
            vec![Step::Do("run etcd on another host".to_owned())],
        )
    } else if unit.load == "masked" {
        (
            "masked",
            format!("{UNIT} is masked, so that nothing can start it"),
            format!("systemd says: {} {}", unit.load, unit.describe()),
            vec![exec(&format!("systemctl unmask {UNIT}")), scene.type_in("start", &format!("--limit {}", host.name))],
        )
    } else if unit.load == "not-found" || (seen.unit_text.is_none() && unit.load != "loaded") {
        let evidence = format!("there is no {UNIT}");
        ("not-set-up", "no member is set up on it".to_owned(), evidence, vec![deploy()])
    } else if unit.load == "bad-setting" || unit.load == "error" {
        let drop_ins = if unit.drop_ins.is_empty() { String::new() } else { format!(", drop-ins {}", unit.drop_ins) };
        (
            "bad-unit",
            "systemd does not understand the unit, or a drop-in of it".to_owned(),
            format!("systemd says: {}; unit file {}{drop_ins}", unit.load, unit.fragment),
            vec![
                Step::Do("this names the line; take it out, or the whole drop-in, then start the member".to_owned()),
                exec(&format!("systemd-analyze verify {UNIT}")),
                scene.type_in("start", &format!("--limit {}", host.name)),
            ],
        )
    } else {
        return None;
    };
    Some(Finding {
        host: Some(host.name.clone()),
        kind: kind.to_owned(),
        cause,
        evidence: vec![evidence],
        next,
        weight: Weight::Fault,
    })
}

/// A member whose process does not stay up.
fn crashed(scene: &Scene, host: &Host, near: &Near, why: Option<&Why>) -> Finding {
    let unit = format!("etcd does not stay up: {}", near.seen.unit.describe());
    match why {
        Some(why) => {
            let mut finding = remedy::finding(scene, host, near, why);
            finding.evidence.push(unit);
            if let Some(options) = changed_options(scene, host, near) {
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                finding.evidence.push(format!(
                    "options differ from the inventory: {} (in {}/etcd.conf on the host)",
                    list(&options),
                    host.paths.config
                ));
            }
            finding
        }
        None => unknown(scene, host, near, "etcd does not stay up, and why is not known", unit),
    }
}

/// The options that were changed on the host, or not taken over yet.
fn changed_options(scene: &Scene, host: &Host, near: &Near) -> Option<Vec<String>> {
    let drift = drift(&scene.inventory, host, None, &near.seen);
    drift.into_iter().find_map(|one| if let Drift::Options(names) = one { Some(names) } else { None })
}

/// A member that somebody has stopped.
fn stopped(scene: &Scene, host: &Host, near: &Near) -> Finding {
    let unit = &near.seen.unit;
    let since = near.close.inactive_for.map_or_else(String::new, |since| format!(" for {}", ago(since)));
    let mut evidence = format!("systemd says: {}{since}", unit.describe());
    if unit.enabled != "enabled" {
        evidence += "; a reboot would not start it either";
    }
    Finding {
        host: Some(host.name.clone()),
        kind: "stopped".to_owned(),
        cause: "etcd was stopped, and nothing starts it again by itself".to_owned(),
        evidence: vec![evidence],
        next: vec![scene.type_in("start", &format!("--limit {}", host.name))],
        weight: Weight::Fault,
    }
}

/// A member with which no TLS connection comes about.
fn refused_to_us(scene: &Scene, host: &Host, words: &str) -> Finding {
    let (kind, cause) = match known(words) {
        Some(signature) => (signature.name, signature.cause),
        None => ("tls", "no TLS connection with its client port comes about"),
    };
    Finding {
        host: Some(host.name.clone()),
        kind: kind.to_owned(),
        cause: cause.to_owned(),
        evidence: vec![format!("asked at its client port {}: {words}", host.client_port)],
        next: vec![
            Step::Do(format!("this brings the certificates from {} anew", scene.inventory.pki.dir.display())),
            scene.deploy(),
        ],
        weight: Weight::Fault,
    }
}

/// A member that has its port open and does not answer.
fn silent(scene: &Scene, host: &Host, near: &Near, ailment: Option<Option<&Ailment>>) -> Finding {
    let asked = ailment.flatten().map_or_else(String::new, ToString::to_string);
    let pid = near.seen.unit.main_pid;
    Finding {
        host: Some(host.name.clone()),
        kind: "silent".to_owned(),
        cause: "etcd runs, but does not answer: it is frozen, or the host's disk or CPU is far too slow".to_owned(),
        evidence: vec![asked, format!("systemd says: {}, process {pid}", near.seen.unit.describe())],
        next: vec![
            Step::Do(
                "look at the process (state T is stopped, D waits for the disk), and restart it if need be".to_owned(),
            ),
            scene.type_in("exec", &format!("{} -- cat /proc/{pid}/status", host.name)),
            scene.type_in("restart", &format!("--limit {}", host.name)),
        ],
        weight: Weight::Fault,
    }
}

/// A member that does not serve although there are enough others, and nobody says why; or all of them.
pub(super) fn waits(scene: &Scene, host: &Host) -> Option<Finding> {
    let near = scene.near(host)?;
    let why = heard(scene, host, &near.seen);
    let unit = format!("systemd says: {}", near.seen.unit.describe());
    let asked = scene.member(host).and_then(|member| Some(member.ailment.as_ref()?.to_string()));
    let mut finding = match why {
        Some(why) => remedy::finding(scene, host, near, &why),
        None => unknown(scene, host, near, "it does not serve, and why is not known", unit),
    };
    finding.evidence.extend(asked.map(|asked| format!("asked for its state: {asked}")));
    Some(finding)
}

/// Nothing that is known fits: what it said last is shown.
fn unknown(scene: &Scene, host: &Host, near: &Near, cause: &str, unit: String) -> Finding {
    let said = last_said(&near.close).map(|said| format!("the last that it said: {said}"));
    let mut next = vec![scene.type_in("logs", &host.name)];
    next.push(scene.type_in("plan", ""));
    Finding {
        host: Some(host.name.clone()),
        kind: "unknown".to_owned(),
        cause: cause.to_owned(),
        evidence: said.into_iter().chain([unit]).collect(),
        next,
        weight: Weight::Fault,
    }
}

/// How full the disk with the data dir is.
pub(super) fn disk_of(host: &Host, near: &Near) -> Option<String> {
    let space = near.seen.space.get(&host.paths.data)?;
    let size = near.close.data_disk.map_or_else(String::new, |size| format!(" of {}", bytes(size)));
    let inodes = space
        .free_inodes
        .filter(|inodes| *inodes < 1000)
        .map_or_else(String::new, |inodes| format!(", {inodes} inodes"));
    let lies = if space.mount == host.paths.data { String::new() } else { format!(", where {} lies", host.paths.data) };
    Some(format!("{}{size} free{inodes} at {}{lies}", bytes(space.free), space.mount))
}

/// The disk with the data dir, if there is no room on it for what a member writes next; whatever it said before.
fn full_disk(host: &Host, near: &Near) -> Option<String> {
    let space = near.seen.space.get(&host.paths.data)?;
    let full = space.free < NO_ROOM || space.free_inodes == Some(0);
    if full { disk_of(host, near) } else { None }
}
