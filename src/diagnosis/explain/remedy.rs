//! What is to be done about a known cause on a given host: the commands, with everything filled in.

use super::member::{LOSSES, disk_of};
use super::words::ago;
use super::{Finding, Near, Scene, Step, Weight};
use crate::etcd::config::{UNIT, USER, peer_url};
use crate::etcd::identity::MemberId;
use crate::inventory::Host;
use crate::tasks::Why;

/// Clocks that differ by less, in seconds, are no reason for anything.
const CLOCKS_AGREE: f64 = 2.0;

/// The finding for a cause that journals tell.
pub(super) fn finding(scene: &Scene, host: &Host, near: &Near, why: &Why) -> Finding {
    let signature = why.told.signature;
    let words = why.told.words.trim_end_matches('.');
    let mut evidence = vec![format!("{} said {} ago: {words}", why.said_by, ago(why.age))];
    let (cause, next) = remedy(scene, host, near, why);
    match signature.name {
        "disk-full" => evidence.extend(disk_of(host, near)),
        "port-taken" => {
            let others = near.close.holders.iter().filter(|holder| holder.pid != near.seen.unit.main_pid);
            evidence.extend(others.map(|holder| {
                format!("`{}`, process {}, listens on port {} of {}", holder.name, holder.pid, holder.port, host.name)
            }));
        }
        "expired" | "told-expired" => {
            evidence.extend(near.seen.clock_skew.map(|skew| {
                if skew.abs() < CLOCKS_AGREE {
                    "its clock agrees with this machine's".to_owned()
                } else {
                    format!("its clock is {skew:+.0} s from this machine's")
                }
            }));
        }
        _ => {}
    }
    Finding {
        host: Some(host.name.clone()),
        kind: signature.name.to_owned(),
        cause: cause.unwrap_or_else(|| signature.cause.to_owned()),
        evidence,
        next,
        weight: Weight::Fault,
    }
}

/// The cause in better words than it has in general, if there are any, and what to do.
fn remedy(scene: &Scene, host: &Host, near: &Near, why: &Why) -> (Option<String>, Vec<Step>) {
    let signature = why.told.signature;
    let limit = format!("--limit {}", host.name);
    let exec = |words: &str| scene.type_in("exec", &format!("{} -- {words}", host.name));
    let deploy = || scene.deploy();
    let say = |words: &str| Step::Do(words.to_owned());
    let anew = || say("this brings certificates and options anew, as the PKI folder and the inventory have them");
    if LOSSES.contains(&signature.name) && !scene.others_have_all(host) {
        let next = "leave every data dir as it is: its data can come from the others only once a quorum of them is well. See to \
                    them first; if most members have lost their data, it has to come from a snapshot (`etcdutl snapshot restore`)";
        return (None, vec![say(next)]);
    }
    match signature.name {
        "port-taken" => {
            let mut others = near.close.holders.iter().filter(|holder| holder.pid != near.seen.unit.main_pid);
            let stop = "stop that program (its unit, if it is a service's), or choose other ports; etcd then starts by itself \
                        within seconds";
            match others.next() {
                None => (None, vec![say(stop)]),
                Some(holder) => (
                    Some(format!("another program listens on its port {}", holder.port)),
                    vec![say(stop), say("this names its unit:"), exec(&format!("cat /proc/{}/cgroup", holder.pid))],
                ),
            }
        }
        "bootstrapped" | "data-lost" | "other-count" => {
            let cause = (near.close.data_empty != Some(false) || signature.name != "other-count").then(|| {
                format!("it has lost its data: {} is empty, or older than what the others know", host.paths.data)
            });
            (cause, replaced(scene, host))
        }
        "removed" => {
            let cause = "it was removed from the cluster, and its data dir is that of a former member".to_owned();
            let mut next = vec![say(
                "if that was meant, take the host out of the inventory; to have it back, its data dir is moved aside and it joins \
                 as a new member",
            )];
            // The quorum gate knows nothing of a host that is no member.
            next.push(exec(&format!("systemctl stop {UNIT}")));
            next.push(exec(&format!("mv {0}/member {0}.removed", host.paths.data)));
            next.extend(joined(scene, host));
            (Some(cause), next)
        }
        "other-cluster" => {
            let cause = format!("its data dir, {}, belongs to another cluster than that of its peers", host.paths.data);
            let next = vec![
                say(
                    "delete nothing. If this is not the data that counts, stop the member and move its data dir aside; it then \
                     joins as a new member",
                ),
                scene.type_in("stop", &limit),
                exec(&format!("mv {0}/member {0}.other", host.paths.data)),
            ];
            (Some(cause), next.into_iter().chain(replaced(scene, host).into_iter().skip(1)).collect())
        }
        "wrong-name" | "wrong-dns-name" => {
            let from = why.from.as_deref().unwrap_or(&host.address);
            let cause = format!("its certificate does not name {from}, so the other members refuse it");
            let next = if from == host.address {
                vec![anew(), deploy()]
            } else {
                vec![
                    Step::Do(format!(
                        "if {} connects from {from} on purpose, add that to its `extra_names`, then:",
                        host.name
                    )),
                    deploy(),
                ]
            };
            (Some(cause), next)
        }
        "expired" | "told-expired" => {
            let cause = "its certificate has expired or is not valid yet, so the other members refuse it".to_owned();
            let unless = if near.seen.clock_skew.is_some_and(|skew| skew.abs() < CLOCKS_AGREE) {
                "this brings a certificate that is valid"
            } else {
                "unless a clock is wrong, this brings a certificate that is valid"
            };
            (Some(cause), vec![say(unless), deploy()])
        }
        "other-ca" | "told-other-ca" | "told-bad" => {
            let cause = "its certificate is not from the CA that the other members trust, so they refuse it".to_owned();
            (Some(cause), vec![anew(), deploy()])
        }
        "no-client-usage" => {
            let cause = "its peer certificate is not for clients, so the other members refuse every connection that it opens; \
                         health does not show that";
            (Some(cause.to_owned()), vec![anew(), deploy()])
        }
        "gateway" => {
            let cause =
                "its server certificate is not for clients, so its JSON gateway (/v3/…) answers with 503; gRPC is fine";
            (Some(cause.to_owned()), vec![anew(), deploy()])
        }
        "disk-full" => (None, make_room(scene, host)),
        "no-permission" => {
            let path = why.told.words.split("open ").nth(1).and_then(|rest| rest.split(": permission denied").next());
            let cause = path.map(|path| format!("etcd's user, `{USER}`, may not open {path}"));
            let next = vec![
                Step::Do(format!("this sets owners and modes; the folders above have to be open to `{USER}`, too")),
                deploy(),
            ];
            (cause, next)
        }
        "broken-wal" | "broken-db" => {
            let mut next = vec![
                say("keep what is left of it aside, and have the member join anew: the others have all the data"),
                scene.type_in("stop", &limit),
                exec(&format!("mv {0}/member {0}.damaged", host.paths.data)),
            ];
            next.extend(replaced(scene, host).into_iter().skip(1));
            (None, next)
        }
        "peer-silent" | "peer-refuses" => {
            let cause = format!("the other members get no answer from its peer port {}", host.peer_port);
            let next = vec![
                Step::Do(format!(
                    "open port {} between the hosts in both directions: firewalls, routes, addresses",
                    host.peer_port
                )),
                scene.type_in("check", ""),
            ];
            (Some(cause), next)
        }
        "no-answer-of-others" | "no-quorum" | "start-timeout" => {
            let next = vec![
                Step::Do(format!(
                    "see to the other members, and that port {} is open between the hosts",
                    host.peer_port
                )),
                scene.type_in("check", ""),
            ];
            (None, next)
        }
        "downgrade" | "downgraded" | "older-version" => {
            let next = vec![
                Step::Do(format!(
                    "have `etcd.version` in the inventory no older than what the others run (it says {}), then:",
                    scene.inventory.version
                )),
                deploy(),
            ];
            (None, next)
        }
        "bad-unit" | "unknown-flag" | "no-user" => {
            let drop_ins = &near.seen.unit.drop_ins;
            let mut next = Vec::new();
            if !drop_ins.is_empty() {
                next.push(Step::Do(format!("a drop-in changes the unit: {drop_ins}; take it out, then:")));
                next.push(exec("systemctl daemon-reload"));
            }
            next.push(deploy());
            (None, next)
        }
        _ => {
            let next = if signature.next.contains("etcd-ha deploy") {
                vec![Step::Do(signature.next.replace("`etcd-ha deploy`", "deploy")), deploy()]
            } else {
                vec![
                    Step::Do(format!("{}; what somebody changed on the host, this puts back:", signature.next)),
                    deploy(),
                ]
            };
            (None, next)
        }
    }
}

/// How a member whose data is gone joins anew: removed first, then added as a learner.
fn replaced(scene: &Scene, host: &Host) -> Vec<Step> {
    let mut next = vec![Step::Do(format!(
        "if the data is on a disk that is not mounted, mount it at {}. If it is gone for good, have the member join anew, \
         with an empty data dir, one command after the other:",
        host.paths.data
    ))];
    next.push(scene.type_in("stop", &format!("--limit {}", host.name)));
    if scene.near(host).is_none_or(|near| near.close.data_empty != Some(true)) {
        next.push(scene.type_in("exec", &format!("{} -- mv {1}/member {1}.lost", host.name, host.paths.data)));
    }
    let listed = scene.health.members.iter().find(|member| member.look.host == host.name).and_then(|member| member.id);
    if let Some(id) = listed {
        next.push(scene.type_in("ctl", &format!("-- member remove {id}")));
    }
    next.extend(joined(scene, host));
    next
}

/// How a member that the cluster does not know joins it.
fn joined(scene: &Scene, host: &Host) -> Vec<Step> {
    let url = peer_url(host);
    vec![
        scene.type_in("ctl", &format!("-- member add {} --learner --peer-urls={url}", host.name)),
        scene.type_in("exec", &format!("{} -- systemctl restart etcd", host.name)),
        Step::Do("it comes up as a learner; this then says how it is given its vote:".to_owned()),
        scene.type_in("explain", ""),
    ]
}

/// What comes next for a member that was added and has not started yet.
pub(super) fn to_be_started(scene: &Scene, host: &Host, near: &Near, id: MemberId) -> Finding {
    Finding {
        host: Some(host.name.clone()),
        kind: "awaited".to_owned(),
        cause: "it was added to the cluster as a new member, and has not started as such yet".to_owned(),
        evidence: vec![
            format!("the cluster lists {id} at its peer URL, without a name"),
            format!("systemd says: {}", near.seen.unit.describe()),
        ],
        next: vec![
            Step::Do("with an empty data dir it joins by itself; then it is given its vote:".to_owned()),
            scene.type_in("exec", &format!("{} -- systemctl restart etcd", host.name)),
            scene.type_in("ctl", &format!("-- member promote {id}")),
        ],
        weight: Weight::Fault,
    }
}

/// A disk on which there is no room, whether or not the member has noticed.
pub(super) fn no_room(scene: &Scene, host: &Host, near: &Near, disk: String) -> Finding {
    let unit = &near.seen.unit;
    let down = (!unit.ready()).then(|| format!("systemd says: {}", unit.describe()));
    Finding {
        host: Some(host.name.clone()),
        kind: "disk-full".to_owned(),
        cause: "the disk with its data is full".to_owned(),
        evidence: std::iter::once(disk).chain(down).collect(),
        next: make_room(scene, host),
        weight: Weight::Fault,
    }
}

fn make_room(scene: &Scene, host: &Host) -> Vec<Step> {
    let data = &host.paths.data;
    vec![
        Step::Do(format!(
            "make room there, but leave {data}/member as it is; if etcd has ended, it starts again by itself within seconds. \
             This shows what lies there:"
        )),
        scene.type_in("exec", &format!("{} -- du -xh --max-depth=1 {data}", host.name)),
    ]
}
