//! What the ways between hosts mean.

use super::{Finding, Source, Verdict, trip};
use crate::inventory::Host;
use crate::tasks::{Arrival, Door, Obstacle, Port, Way, Ways};

/// A way from one host to another's peer port.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// To itself.
    Own,
    /// It is open; with a round trip in seconds, where that was measured.
    Open(Option<f64>),
    /// It is closed.
    Closed,
    /// It was not tried.
    Untried,
}

/// The ways between the hosts' peer ports, a row for each host that goes.
pub(super) fn matrix(hosts: usize, ways: &Ways) -> Vec<Vec<Cell>> {
    let cell = |from: usize, to: usize| {
        if from == to {
            return Cell::Own;
        }
        let way = ways.ways.iter().find(|way| (way.from, way.to, way.port) == (from, to, Port::Peer));
        match way.map(|way| &way.arrival) {
            Some(Arrival::Reached(trip)) => Cell::Open(*trip),
            // The network has nothing against it.
            Some(Arrival::Barred(_)) => Cell::Open(None),
            Some(Arrival::Refused(_)) => Cell::Closed,
            Some(Arrival::Unknown(_)) | None => Cell::Untried,
        }
    };
    (0..hosts).map(|from| (0..hosts).map(|to| cell(from, to)).collect()).collect()
}

/// The longest round trip in seconds, and between whom.
pub(super) fn longest(hosts: &[&Host], ways: &Ways) -> Option<(f64, String, String)> {
    let trips = ways.ways.iter().filter_map(|way| match way.arrival {
        Arrival::Reached(Some(seconds)) => Some((seconds, way.from, way.to)),
        _ => None,
    });
    let (seconds, from, to) = trips.max_by(|one, other| one.0.total_cmp(&other.0))?;
    Some((seconds, hosts.get(from)?.name.clone(), hosts.get(to)?.name.clone()))
}

/// Judges what host number `place` can listen on, and whom it reaches.
pub(super) fn judge(place: usize, hosts: &[&Host], ways: &Ways) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, port, door) in ways.doors.iter().filter(|(at, ..)| *at == place) {
        let subject = match port {
            Port::Peer => "peer port",
            Port::Client => "client port",
        };
        match door {
            Door::Open => {}
            Door::Impossible(why) => findings.push(
                Finding::new(subject, Verdict::Failed, why.clone())
                    .wants("the member can listen on it", Source::EtcdHa)
                    .hint("correct the host's `address`, which has to be one of its own"),
            ),
            Door::Unknown(why) => findings.push(
                Finding::new(subject, Verdict::Warning, format!("not tried from other hosts: {why}"))
                    .wants("every other host reaches it", Source::EtcdHa),
            ),
        }
    }
    if hosts.len() > 1 {
        findings.extend([Port::Peer, Port::Client].map(|port| reached(place, hosts, ways, port)));
    }
    findings
}

/// Which of the others' ports a host reaches.
fn reached(place: usize, hosts: &[&Host], ways: &Ways, port: Port) -> Finding {
    let subject = match port {
        Port::Peer => "peer ports",
        Port::Client => "client ports",
    };
    let tried: Vec<&Way> = ways.ways.iter().filter(|way| way.from == place && way.port == port).collect();
    let (mut wrong, mut unknown, mut open, mut slowest) = (Vec::new(), Vec::new(), 0, None::<f64>);
    let mut hint = format!("open the {} port between the hosts in the firewall, or correct `address`", port.name());
    for way in &tried {
        match &way.arrival {
            Arrival::Reached(seconds) => {
                open += 1;
                slowest = seconds.iter().copied().chain(slowest).reduce(f64::max);
            }
            Arrival::Refused(why) => {
                let to = hosts[way.to];
                wrong.push(format!("not `{}` at {}:{}: {why}", to.name, to.address, port.of(to)));
            }
            Arrival::Barred(obstacle) => {
                open += 1;
                hint = obstacle.hint();
                let doubted = matches!(obstacle, Obstacle::Unnamed { told: false, .. });
                (if doubted { &mut unknown } else { &mut wrong }).push(obstacle.to_string());
            }
            // All that is not tried from a host has one cause, which is the host's own.
            Arrival::Unknown(why) => {
                if !unknown.contains(why) {
                    unknown.push(why.clone());
                }
            }
        }
    }
    let mut measured = match (open, wrong.is_empty()) {
        (0, true) => vec!["none was tried".to_owned()],
        _ => vec![format!("{open} of {} reached", hosts.len() - 1)],
    };
    if let Some(slowest) = slowest {
        measured.push(format!("round trip {} ms at most", trip(slowest)));
    }
    let verdict = match (wrong.is_empty(), open + 1 == hosts.len()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Warning,
        (true, true) if unknown.is_empty() => Verdict::Ok,
        (true, true) => Verdict::Warning,
    };
    measured.extend(wrong);
    measured.extend(unknown);
    let finding =
        Finding::new(subject, verdict, measured.join(", ")).wants("every other host's, within 3 s", Source::EtcdHa);
    let barred = tried.iter().any(|way| matches!(way.arrival, Arrival::Barred(_)));
    if verdict == Verdict::Failed || barred { finding.hint(hint) } else { finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::lint::Rules;
    use crate::inventory::Inventory;
    use std::net::Ipv4Addr;
    use std::path::Path;

    fn inventory() -> Inventory {
        let text = "cluster: prod\nhosts:\n  - { name: a, address: 192.0.2.1 }\n  - { name: b, address: 192.0.2.2 }\n  \
                    - { name: c, address: 192.0.2.3 }\n";
        Inventory::parse(Path::new("prod.yaml"), text, &Rules).unwrap()
    }

    fn way(from: usize, to: usize, port: Port, arrival: Arrival) -> Way {
        Way { from, to, port, arrival }
    }

    #[test]
    fn who_reaches_whom() {
        use Arrival::{Barred, Reached, Refused, Unknown};
        let barred = |told: bool| {
            let (from, to, address, of) = ("a".into(), "b".into(), Ipv4Addr::new(192, 0, 2, 9).into(), None);
            Barred(Obstacle::Unnamed { from, to, address, of, told })
        };
        let inventory = inventory();
        let hosts: Vec<&Host> = inventory.hosts.iter().collect();
        for (to_b, to_c, verdict, measured) in [
            (Reached(Some(0.0004)), Reached(Some(0.02)), Verdict::Ok, "2 of 2 reached, round trip 20 ms at most"),
            (Reached(None), Reached(None), Verdict::Ok, "2 of 2 reached"),
            (
                Reached(Some(0.0004)),
                Refused("no answer within 3 s".into()),
                Verdict::Failed,
                "1 of 2 reached, round trip 0.4 ms at most, not `c` at 192.0.2.3:2380: no answer within 3 s",
            ),
            (
                Unknown("no forwarding".into()),
                Unknown("no forwarding".into()),
                Verdict::Warning,
                "none was tried, no forwarding",
            ),
            (
                barred(true),
                Reached(None),
                Verdict::Failed,
                "2 of 2 reached, host `a` comes to `b` from 192.0.2.9, which its certificate does not name: \
                 etcd would turn it away",
            ),
            (
                barred(false),
                Reached(None),
                Verdict::Warning,
                "2 of 2 reached, by its routes host `a` would come to `b` from 192.0.2.9, which its certificate does not \
                 name: etcd would turn it away",
            ),
            (
                Unknown("no forwarding".into()),
                Refused("refused".into()),
                Verdict::Failed,
                "0 of 2 reached, not `c` at 192.0.2.3:2380: refused, no forwarding",
            ),
        ] {
            let ways = vec![
                way(0, 1, Port::Peer, to_b),
                way(0, 2, Port::Peer, to_c),
                way(1, 0, Port::Peer, Reached(Some(9.0))),
            ];
            let found = judge(0, &hosts, &Ways { doors: vec![(0, Port::Peer, Door::Open)], ways });
            assert_eq!((found[0].verdict, found[0].measured.as_str()), (verdict, measured));
            assert_eq!(found[0].hint.is_some(), verdict == Verdict::Failed || measured.contains("turn it away"));
            // Nothing was tried on the client ports.
            assert_eq!((found[1].verdict, found[1].measured.as_str()), (Verdict::Warning, "none was tried"));
            assert_eq!(found.len(), 2);
        }
    }

    #[test]
    fn a_host_without_its_own_ports() {
        let inventory = inventory();
        let doors = vec![
            (0, Port::Peer, Door::Impossible("Cannot assign requested address".into())),
            (0, Port::Client, Door::Unknown("its member comes and goes".into())),
            (1, Port::Peer, Door::Impossible("another's".into())),
        ];
        // Alone, a host has nobody to reach.
        let found = judge(0, &[&inventory.hosts[0]], &Ways { doors, ways: Vec::new() });
        let found: Vec<_> = found.iter().map(|one| (one.subject, one.verdict, one.measured.as_str())).collect();
        assert_eq!(
            found,
            [
                ("peer port", Verdict::Failed, "Cannot assign requested address"),
                ("client port", Verdict::Warning, "not tried from other hosts: its member comes and goes"),
            ]
        );
    }

    #[test]
    fn ways_as_a_matrix() {
        let inventory = inventory();
        let hosts: Vec<&Host> = inventory.hosts.iter().collect();
        let ways = vec![
            way(0, 1, Port::Peer, Arrival::Reached(Some(0.001))),
            way(0, 1, Port::Client, Arrival::Refused("closed".into())),
            way(1, 0, Port::Peer, Arrival::Refused("closed".into())),
            way(2, 0, Port::Peer, Arrival::Reached(Some(0.003))),
            way(2, 1, Port::Peer, Arrival::Reached(None)),
        ];
        let ways = Ways { doors: Vec::new(), ways };
        let (own, untried) = (Cell::Own, Cell::Untried);
        assert_eq!(
            matrix(3, &ways),
            [
                [own, Cell::Open(Some(0.001)), untried],
                [Cell::Closed, own, untried],
                [Cell::Open(Some(0.003)), Cell::Open(None), own],
            ]
        );
        assert_eq!(longest(&hosts, &ways), Some((0.003, "c".to_owned(), "a".to_owned())));
        assert_eq!(longest(&hosts, &Ways::default()), None);
    }
}
