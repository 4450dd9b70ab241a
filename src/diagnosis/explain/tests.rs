use super::{CloseUp, Explanation, Near, Scene, Unreached, explain};
use crate::diagnosis::certificates::{PortReport, Served};
use crate::etcd::client::{CallError, Listed};
use crate::etcd::handshake::Admission;
use crate::etcd::health::ClusterHealth;
use crate::etcd::testing::State::{self, *};
use crate::etcd::testing::{cluster, inventory, listing, looks};
use crate::host::{Holder, JournalLine, LockHolder, Observation, RunName, Space, UnitState};
use crate::pki::{Judgement, Role, ServedFlaw};
use crate::report::Style;
use std::sync::Arc;
use std::time::Duration;

const INVENTORY: &str = "cluster: prod
hosts:
  - { name: node01, address: 10.19.0.55 }
  - { name: node02, address: 10.19.0.56 }
  - { name: node03, address: 10.19.0.57 }
";

/// A host whose unit runs.
fn runs() -> Near {
    unit("active", "running", 77)
}

fn unit(active: &str, sub: &str, pid: u32) -> Near {
    let state = UnitState {
        load: "loaded".into(),
        active: active.into(),
        sub: sub.into(),
        result: "success".into(),
        main_pid: pid,
        enabled: "enabled".into(),
        ..UnitState::default()
    };
    let seen = Observation {
        booted_by_systemd: true,
        unit: state,
        unit_text: Some("[Service]".into()),
        space: [("/var/lib/etcd".into(), Space { free: 9 << 30, mount: "/".into(), free_inodes: None })].into(),
        ..Observation::default()
    };
    let close =
        CloseUp { process_age: Some(30.0), data_empty: Some(false), data_disk: Some(20 << 30), ..CloseUp::default() };
    Near { seen: Arc::new(seen), close }
}

/// A host whose unit ends again and again, after these words.
fn loops(words: &str) -> Near {
    let mut near = unit("activating", "auto-restart", 0);
    let seen = Arc::make_mut(&mut near.seen);
    (seen.unit.result, seen.unit.exit_status, seen.unit.restarts) = ("exit-code".into(), 1, 3);
    says(near, &[(2.5, "Starting etcd.service - etcd..."), (2.0, words)])
}

fn says(mut near: Near, lines: &[(f64, &str)]) -> Near {
    near.close.journal = lines.iter().map(|&(age, message)| JournalLine { age, message: message.to_owned() }).collect();
    near
}

fn scene(states: &[State], hosts: Vec<Result<Near, Unreached>>) -> Scene {
    let inventory = Arc::new(inventory(INVENTORY));
    Scene { inventory, health: Arc::new(cluster(states)), hosts, ports: Vec::new(), revision: Some(812), at_work: None }
}

fn off(host: u32) -> Result<Near, Unreached> {
    Err(Unreached {
        why: format!("host `node0{host}`: no answer from `10.19.0.{}:22` within 3 s", 54 + host),
        hint: Some("check that the host is up and that no firewall drops port 22".to_owned()),
    })
}

fn text(explanation: &Explanation) -> String {
    explanation.text(80, Style::new(false))
}

fn kinds(explanation: &Explanation) -> Vec<(&str, &str)> {
    let kind = |finding: &'_ super::Finding| (finding.host.clone().unwrap_or_default(), finding.kind.clone());
    let found: Vec<(String, String)> = explanation.findings.iter().map(kind).collect();
    found.into_iter().map(|(host, kind)| (&*host.leak(), &*kind.leak())).collect()
}

#[test]
fn all_is_well() {
    let explanation = explain(&scene(&[Leads, Follows, Follows], vec![Ok(runs()), Ok(runs()), Ok(runs())]));
    assert!(explanation.well());
    assert_eq!(text(&explanation), "cluster prod is healthy: 3 of 3 voters; nothing to explain\n");
}

#[test]
fn nothing_is_deployed() {
    let bare = || {
        let near = unit("inactive", "dead", 0);
        let unit = UnitState { load: "not-found".into(), ..near.seen.unit.clone() };
        let seen = Observation { unit, unit_text: None, data: None, ..(*near.seen).clone() };
        Near { seen: Arc::new(seen), ..near }
    };
    let explanation = explain(&scene(&[Down, Down, Down], vec![Ok(bare()), Ok(bare()), Ok(bare())]));
    assert_eq!(kinds(&explanation), [("", "not-deployed")]);
    assert!(text(&explanation).contains("etcd-ha deploy -i prod.yaml"), "{}", text(&explanation));
    // One that has a member is another story.
    let explanation =
        explain(&scene(&[Down, Down, Down], vec![Ok(unit("inactive", "dead", 0)), Ok(bare()), Ok(bare())]));
    assert!(!kinds(&explanation).contains(&("", "not-deployed")));
}

#[test]
fn a_run_that_is_at_work_is_told_first_where_something_is_wrong() {
    let run = RunName { id: "a".into(), by: "ada@desk".into(), command: "restart".into() };
    let at_work = Some(LockHolder { run, from: String::new(), age: Duration::from_secs(2) });
    let well = scene(&[Leads, Follows, Follows], vec![Ok(runs()), Ok(runs()), Ok(runs())]);
    assert!(explain(&Scene { at_work: at_work.clone(), ..well }).well());
    let ill = scene(&[Leads, Follows, Down], vec![Ok(runs()), Ok(runs()), off(3)]);
    let explanation = explain(&Scene { at_work, ..ill });
    assert_eq!(kinds(&explanation), [("", "run-at-work"), ("node03", "unreachable")]);
    assert!(text(&explanation).contains("`etcd-ha restart` of ada@desk for 2 s"), "{}", text(&explanation));
}

/// What peers say of a member that is off is not told as their own.
#[test]
fn a_host_that_is_off() {
    let complaint = r#"{"level":"warn","msg":"prober detected unhealthy status","remote-peer-id":"a3","error":"dial tcp 10.19.0.57:2380: i/o timeout"}"#;
    let peer = || Ok(says(runs(), &[(1.0, complaint)]));
    let explanation = explain(&scene(&[Leads, Follows, Down], vec![peer(), peer(), off(3)]));
    assert_eq!(
        text(&explanation),
        "cluster prod is degraded: 2 of 3 members healthy, quorum is 2

1. node03: the host cannot be reached over SSH
   because: host `node03`: no answer from `10.19.0.57:22` within 3 s
   do: check that the host is up and that no firewall drops port 22
       its member starts by itself when the host boots; its data stays where it
       is
"
    );
}

/// The one that is left has no fault of its own.
#[test]
fn two_of_three_are_off() {
    let explanation = explain(&scene(&[NoLeader, Down, Down], vec![Ok(runs()), off(2), off(3)]));
    assert_eq!(kinds(&explanation), [("", "no-quorum"), ("node02", "unreachable"), ("node03", "unreachable")]);
    let begin = "cluster prod is unhealthy: 0 of 3 members healthy, quorum is 2

1. there is no quorum: 1 of 3 members can vote, 2 are needed
   because: nothing can be written or read, but for serializable reads and
            snapshots
   do: before anything else, save what node01 has, into a file on that host:
       etcd-ha ctl -i prod.yaml --on node01 -- snapshot save /var/tmp/prod.db
       then bring 1 of node02 and node03 back, as said below; do not restart
       node01, and leave every data dir as it is

2. node02: the host cannot be reached over SSH
";
    assert_eq!(text(&explanation).get(..begin.len()), Some(begin));
}

#[test]
fn a_port_that_another_program_has() {
    let mut near = loops(
        r#"{"level":"fatal","msg":"discovery failed","error":"listen tcp 10.19.0.56:2380: bind: address already in use"}"#,
    );
    near.close.holders = vec![Holder { port: 2380, pid: 812, name: "haproxy".into() }];
    let explanation = explain(&scene(&[Leads, Down, Follows], vec![Ok(runs()), Ok(near), Ok(runs())]));
    assert_eq!(
        text(&explanation),
        "cluster prod is degraded: 2 of 3 members healthy, quorum is 2

1. node02: another program listens on its port 2380
   because: node02 said 2 s ago: discovery failed: listen tcp 10.19.0.56:2380:
            bind: address already in use
   because: `haproxy`, process 812, listens on port 2380 of node02
   because: etcd does not stay up: activating (auto-restart), last result
            exit-code with status 1, restarted 3 times by systemd
   do: stop that program (its unit, if it is a service's), or choose other
       ports; etcd then starts by itself within seconds
       this names its unit:
       etcd-ha exec -i prod.yaml node02 -- cat /proc/812/cgroup
"
    );
}

/// Its own journal knows only that it is refused; the reason stands in those of its peers.
#[test]
fn a_certificate_that_the_peers_refuse() {
    let own = r#"{"level":"warn","msg":"rejected connection on peer endpoint","remote-addr":"10.19.0.55:44986","error":"remote error: tls: bad certificate"}"#;
    let peers = r#"{"level":"warn","msg":"rejected connection on peer endpoint","remote-addr":"10.19.0.57:56844","error":"x509: certificate has expired or is not yet valid: current time 2026-11-26T02:42:19Z is after 2026-11-26T01:42:18Z"}"#;
    let ill = says(unit("activating", "start", 77), &[(3.0, own)]);
    let hosts = || vec![Ok(says(runs(), &[(2.0, peers)])), Ok(runs()), Ok(ill.clone())];
    let explanation = explain(&scene(&[Leads, Follows, Down], hosts()));
    assert_eq!(
        text(&explanation),
        "cluster prod is degraded: 2 of 3 members healthy, quorum is 2

1. node03: its certificate has expired or is not valid yet, so the other members
   refuse it
   because: node01 said 2 s ago: rejected connection on peer endpoint: x509:
            certificate has expired or is not yet valid: current time
            2026-11-26T02:42:19Z is after 2026-11-26T01:42:18Z
   do: unless a clock is wrong, this brings a certificate that is valid
       etcd-ha deploy -i prod.yaml
"
    );
    // A refusal of long ago, or of a process that was there before, is not what is wrong now.
    let mut old = hosts();
    old[0] = Ok(says(runs(), &[(45.0, peers)]));
    assert_eq!(kinds(&explain(&scene(&[Leads, Follows, Follows], old.clone()))), []);
    assert_eq!(kinds(&explain(&scene(&[Leads, Follows, Down], old))), [("node03", "told-bad")]);
}

#[test]
fn a_member_that_was_stopped_or_masked() {
    let mut stopped = unit("inactive", "dead", 0);
    stopped.close.inactive_for = Some(780.0);
    let explanation = explain(&scene(&[Leads, Down, Follows], vec![Ok(runs()), Ok(stopped.clone()), Ok(runs())]));
    assert_eq!(
        text(&explanation),
        "cluster prod is degraded: 2 of 3 members healthy, quorum is 2

1. node02: etcd was stopped, and nothing starts it again by itself
   because: systemd says: inactive (dead) for 13 min
   do: etcd-ha start -i prod.yaml --limit node02
"
    );
    Arc::make_mut(&mut stopped.seen).unit.load = "masked".into();
    let explanation = explain(&scene(&[Leads, Down, Follows], vec![Ok(runs()), Ok(stopped), Ok(runs())]));
    assert_eq!(kinds(&explanation), [("node02", "masked")]);
}

#[test]
fn a_database_at_its_quota() {
    let mut full = scene(&[Leads, Alarm("NOSPACE"), Follows], vec![Ok(runs()), Ok(runs()), Ok(runs())]);
    // With room in it again only the alarm is left.
    assert_eq!(
        text(&explain(&full)),
        "cluster prod is degraded: 2 of 3 members healthy, quorum is 2

1. the database had reached its quota, and the cluster refuses writes
   because: alarm NOSPACE, raised by node02
   because: the database of node02 has 24.4 KiB of its quota of 2.0 GiB
   do: there is room again; this takes the alarm away, and writes are taken
       again:
       etcd-ha ctl -i prod.yaml -- alarm disarm
"
    );
    for member in &mut Arc::make_mut(&mut full.health).members {
        member.look.report.as_mut().unwrap().status.db_size = 2 << 30;
    }
    assert_eq!(
        text(&explain(&full)),
        "cluster prod is degraded: 2 of 3 members healthy, quorum is 2

1. the database has reached its quota, and the cluster refuses writes
   because: alarm NOSPACE, raised by node02
   because: the database of node02 has 2.0 GiB of its quota of 2.0 GiB
   do: drop the history, give the space back, and only then take the alarm away:
       etcd-ha ctl -i prod.yaml -- compact 812
       etcd-ha ctl -i prod.yaml -- defrag --command-timeout=60s
       etcd-ha ctl -i prod.yaml -- alarm disarm
       so that it does not come back, raise `quota-backend-bytes` in the
       inventory's settings and deploy, or write less
"
    );
}

#[test]
fn a_disk_that_is_full() {
    let mut near = loops(
        r#"{"level":"fatal","msg":"failed to commit tx","error":"write /var/lib/etcd/member/snap/db: no space left on device"}"#,
    );
    let space = Space { free: 4096, mount: "/var/lib/etcd".into(), free_inodes: None };
    Arc::make_mut(&mut near.seen).space = [("/var/lib/etcd".into(), space)].into();
    let explanation = explain(&scene(&[Leads, Down, Follows], vec![Ok(runs()), Ok(near), Ok(runs())]));
    let finding = &explanation.findings[0];
    assert_eq!(finding.cause, "the disk with its data is full");
    assert_eq!(finding.evidence[0], "4.0 KiB of 20.0 GiB free at /var/lib/etcd");
    assert!(finding.evidence[1].starts_with("systemd says: activating (auto-restart)"), "{finding:?}");
    assert_eq!(explanation.findings.len(), 1, "{explanation:?}");
    // Whether or not the member has noticed.
    let mut near = runs();
    let space = Space { free: 0, mount: "/".into(), free_inodes: None };
    Arc::make_mut(&mut near.seen).space = [("/var/lib/etcd".into(), space)].into();
    let explanation = explain(&scene(&[Leads, Follows, Follows], vec![Ok(runs()), Ok(near), Ok(runs())]));
    assert_eq!(kinds(&explanation), [("node02", "disk-full")]);
    assert!(!explanation.well());
}

/// The one that was removed hears so of every peer that it dials, and names that peer: the peer is not meant, and a
/// member that serves is never told to move its data away.
#[test]
fn a_member_that_was_removed() {
    let heard = r#"{"level":"warn","msg":"peer became inactive (message send to peer failed)","peer-id":"a1","error":"failed to dial a1 on stream Message (the member has been permanently removed from the cluster)"}"#;
    let removed = || says(unit("activating", "auto-restart", 0), &[(5.0, heard)]);
    let mut without = scene(&[Follows, Leads, Down], vec![Ok(runs()), Ok(runs()), Ok(removed())]);
    // As long as the others list it, it is one of them: what it says is of before.
    assert_ne!(kinds(&explain(&without)), [("node03", "removed")]);
    without.health = Arc::new(listing(looks(&[Follows, Leads, Down]), |list| list.truncate(2)));
    let explanation = explain(&without);
    assert_eq!(kinds(&explanation), [("node03", "removed")]);
    assert!(
        text(&explanation).contains("etcd-ha exec -i prod.yaml node03 -- systemctl stop etcd.service\n"),
        "{}",
        text(&explanation)
    );
    let own = r#"{"level":"fatal","msg":"failed to list","error":"member count is unequal"}"#;
    let explanation =
        explain(&scene(&[Follows, Leads, Follows], vec![Ok(says(runs(), &[(2.0, own)])), Ok(runs()), Ok(runs())]));
    assert_eq!(kinds(&explanation), []);
}

/// A data dir is never to be moved away where the others could not give its data back.
#[test]
fn data_that_the_others_do_not_have() {
    let broken = || Ok(loops(r#"{"level":"fatal","msg":"failed to open WAL","error":"walpb: crc mismatch"}"#));
    let explanation = explain(&scene(&[NoLeader, Down, Down], vec![Ok(runs()), broken(), broken()]));
    let text = text(&explanation).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!text.contains(" mv ") && !text.contains("member remove") && !text.contains("member add"), "{text}");
    assert!(text.contains("leave every data dir as it is: its data can come from the others only once"), "{text}");
    let one = explain(&scene(&[Leads, Follows, Down], vec![Ok(runs()), Ok(runs()), broken()]));
    assert_eq!(kinds(&one), [("node03", "broken-wal")]);
    assert!(super::tests::text(&one).contains("mv /var/lib/etcd/member /var/lib/etcd.damaged"), "{one:?}");
}

/// Half-way through joining anew, what comes next is said, and nothing that undoes it.
#[test]
fn a_member_that_was_added_and_has_not_started() {
    let health = listing(looks(&[Leads, Follows, Down]), |list| {
        list[2] = Listed {
            id: crate::etcd::testing::id(9),
            name: String::new(),
            client_urls: Vec::new(),
            learner: true,
            ..list[2].clone()
        };
    });
    let mut half = scene(&[Leads, Follows, Down], vec![Ok(runs()), Ok(runs()), Ok(unit("inactive", "dead", 0))]);
    half.health = Arc::new(health);
    let explanation = explain(&half);
    assert_eq!(kinds(&explanation), [("node03", "awaited")]);
    let text = text(&explanation);
    let next = "       etcd-ha exec -i prod.yaml node03 -- systemctl restart etcd\n       etcd-ha ctl -i prod.yaml -- member promote a9\n";
    assert!(text.ends_with(next), "{text}");
}

#[test]
fn a_data_dir_that_is_lost() {
    let panic = "panic: tocommit(41) is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?";
    let explanation = explain(&scene(&[Leads, Follows, Down], vec![Ok(runs()), Ok(runs()), Ok(loops(panic))]));
    assert_eq!(
        text(&explanation),
        "cluster prod is degraded: 2 of 3 members healthy, quorum is 2

1. node03: it has lost its data: /var/lib/etcd is empty, or older than what the
   others know
   because: node03 said 2 s ago: panic: tocommit(41) is out of range
            [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?
   because: etcd does not stay up: activating (auto-restart), last result
            exit-code with status 1, restarted 3 times by systemd
   do: if the data is on a disk that is not mounted, mount it at /var/lib/etcd.
       If it is gone for good, have the member join anew, with an empty data
       dir, one command after the other:
       etcd-ha stop -i prod.yaml --limit node03
       etcd-ha exec -i prod.yaml node03 -- mv /var/lib/etcd/member /var/lib/etcd.lost
       etcd-ha ctl -i prod.yaml -- member remove a3
       etcd-ha ctl -i prod.yaml -- member add node03 --learner --peer-urls=https://10.19.0.57:2380
       etcd-ha exec -i prod.yaml node03 -- systemctl restart etcd
       it comes up as a learner; this then says how it is given its vote:
       etcd-ha explain -i prod.yaml
"
    );
}

#[test]
fn members_that_are_not_in_the_inventory_and_a_learner() {
    let mut with_stranger = looks(&[Leads, Follows, Follows, Follows]);
    with_stranger.truncate(3);
    let mut scene = scene(&[Leads, Follows, Follows], vec![Ok(runs()), Ok(runs()), Ok(runs())]);
    scene.health = Arc::new(ClusterHealth::assess(with_stranger));
    let explanation = explain(&scene);
    assert_eq!(kinds(&explanation), [("", "stranger")]);
    assert_eq!(explanation.findings[0].cause, "the cluster has node04, which is not in the inventory");
    scene.health = Arc::new(cluster(&[Leads, Follows, Learner]));
    let explanation = explain(&scene);
    assert_eq!(explanation.findings[0].cause, "node03 is a learner and has no vote yet");
    assert_eq!(
        explanation.findings[0].next[1],
        super::Step::Type("etcd-ha ctl -i prod.yaml -- member promote a3".to_owned())
    );
}

#[test]
fn what_works_but_is_worth_a_look() {
    let mut near = runs();
    let seen = Arc::make_mut(&mut near.seen);
    seen.clock_skew = Some(-300.0);
    seen.unit.enabled = "disabled".into();
    seen.taken_back = Some("1795660677 abc failed".into());
    seen.space = [("/var/lib/etcd".into(), Space { free: 1 << 20, mount: "/".into(), free_inodes: None })].into();
    let explanation = explain(&scene(&[Leads, Follows, Follows], vec![Ok(runs()), Ok(runs()), Ok(near)]));
    assert!(explanation.well());
    let want = ["clock", "little-space", "not-enabled", "taken-back"].map(|kind| ("node03", kind));
    assert_eq!(kinds(&explanation), want);
    let begin = "cluster prod is healthy: 3 of 3 voters

1. worth a look: node03: its clock is wrong, or this machine's is
   because: it is 5 min behind this machine's
   do: etcd-ha exec -i prod.yaml node03 -- timedatectl
";
    assert_eq!(text(&explanation).get(..begin.len()), Some(begin));
}

#[test]
fn words_that_nobody_knows() {
    let near = loops(r#"{"level":"fatal","msg":"something new","error":"out of luck"}"#);
    let explanation = explain(&scene(&[Leads, Follows, Down], vec![Ok(runs()), Ok(runs()), Ok(near)]));
    assert_eq!(
        text(&explanation),
        "cluster prod is degraded: 2 of 3 members healthy, quorum is 2

1. node03: etcd does not stay up, and why is not known
   because: the last that it said: something new: out of luck
   because: etcd does not stay up: activating (auto-restart), last result
            exit-code with status 1, restarted 3 times by systemd
   do: etcd-ha logs -i prod.yaml node03
       etcd-ha plan -i prod.yaml
"
    );
}

/// What a host says can neither colour the screen nor break a line.
#[test]
fn hosts_cannot_rewrite_the_screen() {
    let near = loops("panic: \u{1b}[2J\u{1b}[1;1H all is well\u{7}");
    let explanation = explain(&scene(&[Leads, Follows, Down], vec![Ok(runs()), Ok(runs()), Ok(near)]));
    assert!(!text(&explanation).chars().any(|c| c.is_control() && c != '\n'));
    assert!(!explanation.json().contains("\\u001b"));
}

/// Health is green, and yet the member cannot open a connection; a complaint of before it was mended is over.
#[test]
fn a_member_that_serves_and_is_refused() {
    let words = |msg: &str| {
        format!(
            r#"{{"level":"warn","msg":"{msg}","remote-addr":"10.19.0.57:5","error":"x509: certificate specifies an incompatible key usage"}}"#
        )
    };
    let refused = |age: f64, active_for: f64, msg: &str| {
        let mut near = runs();
        near.close.active_for = Some(active_for);
        let peer = says(runs(), &[(age, &words(msg))]);
        let explanation = explain(&scene(&[Leads, Follows, Follows], vec![Ok(peer), Ok(runs()), Ok(near)]));
        (explanation.well(), explanation.findings.len())
    };
    assert_eq!(refused(2.0, 600.0, "rejected connection on peer endpoint"), (false, 1));
    assert_eq!(refused(2.0, 1.5, "rejected connection on peer endpoint"), (true, 0));
    assert_eq!(refused(2.0, 600.0, "prober detected unhealthy status"), (true, 0));
}

/// What a host's ports show: the flaws of the certificate on the one for clients, and on the one for peers.
fn shows(host: &str, client: &[ServedFlaw], peer: &[ServedFlaw]) -> Vec<PortReport> {
    let port = |role, port, flaws: &[ServedFlaw]| PortReport {
        host: host.to_owned(),
        role,
        port,
        outcome: Ok(Served {
            certificate: Judgement { shown: None, flaws: flaws.to_vec() },
            version: Some("1.3"),
            with_certificate: Admission::Granted,
            without_certificate: Ok(Admission::Refused("certificate required".to_owned())),
        }),
    };
    vec![port(Role::Client, 2379, client), port(Role::Peer, 2380, peer)]
}

#[test]
fn certificates_that_nobody_complains_of_yet() {
    let lacking = ServedFlaw::Usages(vec!["clientAuth"]);
    let other = ServedFlaw::Other { filed: "node02-peer.pem".into(), serial: Some("77".into()) };
    let mut well = scene(&[Leads, Follows, Follows], vec![Ok(runs()), Ok(runs()), Ok(runs())]);
    well.ports =
        [shows("node01", &[], &[]), shows("node02", &[], &[lacking, other.clone()]), shows("node03", &[], &[])]
            .concat();
    let explanation = explain(&well);
    assert!(!explanation.well());
    assert_eq!(
        text(&explanation),
        "cluster prod is healthy: 3 of 3 voters

1. node02: the certificate at its peer port 2380 is wrong: new connections fail
   because: peer port: it lacks the usage clientAuth
   because: peer port: it is not `node02-peer.pem` of the PKI folder, whose
            serial number is 77
   do: deploy puts the one in the PKI folder in its place
       etcd-ha deploy -i prod.yaml
"
    );
    // Another one that is as good works, and is worth a look.
    well.ports = shows("node02", std::slice::from_ref(&other), std::slice::from_ref(&other));
    let explanation = explain(&well);
    assert!(explanation.well());
    assert_eq!(kinds(&explanation), [("node02", "certificate")]);
    // What ends soon is no finding; what cannot be asked is told elsewhere.
    well.ports = shows("node02", &[ServedFlaw::ExpiresSoon(time::macros::datetime!(2026-12-01 0:00 UTC))], &[]);
    well.ports[1].outcome = Err(CallError::Tcp("refused".to_owned()));
    assert_eq!(kinds(&explain(&well)), []);
}

#[test]
fn complaints_that_are_over_are_not_told() {
    let complaint = r#"{"level":"warn","msg":"rejected connection on peer endpoint","remote-addr":"10.19.0.56:5000","error":"tls: failed to find any PEM data in certificate input"}"#;
    let scene = |ports| {
        let hosts = vec![Ok(runs()), Ok(says(runs(), &[(7.0, complaint)])), Ok(runs())];
        Scene { ports, ..scene(&[Leads, Stuck, Follows], hosts) }
    };
    let cut = [("node02", "certificate-cut")];
    assert_eq!(kinds(&explain(&scene(Vec::new()))), cut);
    assert_eq!(kinds(&explain(&scene(shows("node02", &[], &[ServedFlaw::Damaged("it is empty".into())])))), cut);
    assert_ne!(kinds(&explain(&scene(shows("node02", &[], &[])))), cut);
}

/// That there is no quorum is said also where every member has a cause of its own.
#[test]
fn all_of_three_are_ill() {
    let explanation = explain(&scene(&[Down, Down, Down], vec![off(1), Ok(unit("inactive", "dead", 0)), off(3)]));
    assert_eq!(
        kinds(&explanation),
        [("", "no-quorum"), ("node01", "unreachable"), ("node02", "stopped"), ("node03", "unreachable")]
    );
    let text = text(&explanation);
    assert!(text.contains("there is no quorum: 0 of 3 members can vote, 2 are needed"), "{text}");
    assert!(text.contains("do: then bring 2 of node01, node02 and node03 back, as said below; leave"), "{text}");
}
