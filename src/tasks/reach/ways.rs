//! The ways between hosts, each by itself: who reaches which port of whom, and how long a round trip takes.

use super::{Attempt, Listening, Obstacle, connect, listen};
use crate::inventory::Host;
use crate::tasks::Fleet;
use futures::future::join_all;
use std::time::{Duration, Instant};

/// How many times a round trip is measured.
const SAMPLES: usize = 7;

/// How long one measurement may take.
const LONGEST: Duration = Duration::from_secs(3);

/// One of a member's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The one for peers.
    Peer,
    /// The one for clients.
    Client,
}

impl Port {
    /// Its number on a host.
    #[must_use]
    pub fn of(self, host: &Host) -> u16 {
        match self {
            Self::Peer => host.peer_port,
            Self::Client => host.client_port,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Client => "client",
        }
    }
}

/// Whether there is something to knock at on a host's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// The member, or our stand-in, listens.
    Open,
    /// Nothing can listen there, and why.
    Impossible(String),
    /// It could not be tried, and why.
    Unknown(String),
}

/// What came of trying a way.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrival {
    /// It is open; with the seconds of a round trip, where they could be measured.
    Reached(Option<f64>),
    /// It is closed, and why.
    Refused(String),
    /// It is open, but etcd would turn that host away.
    Barred(Obstacle),
    /// It was not tried, and why.
    Unknown(String),
}

/// A way from one host to a port of another, by their places among the hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// Who goes.
    pub from: usize,
    /// Whither.
    pub to: usize,
    /// To which port.
    pub port: Port,
    /// What came of it.
    pub arrival: Arrival,
}

/// All ways between some hosts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ways {
    /// Whose port could be knocked at: the host's place, and which port.
    pub doors: Vec<(usize, Port, Door)>,
    /// The ways to those that could.
    pub ways: Vec<Way>,
}

impl Ways {
    /// Tries every pair of `hosts`, on both ports, and measures the round trips between them.
    ///
    /// Nothing is installed for this: the hosts' sshds make the connections (direct-tcpip). Such a channel is open after
    /// a round trip between controller and host, and the TCP handshake from that host to the other. The same towards the
    /// host's own port has all of it but the way to the other; so the difference between the medians of several of
    /// either is one round trip between the two hosts. What the sshds take for themselves falls out, too, to about a
    /// tenth of a millisecond on an idle network.
    pub async fn measure(fleet: &Fleet, hosts: &[&Host]) -> Self {
        let doors = hosts
            .iter()
            .enumerate()
            .flat_map(|(place, host)| [Port::Peer, Port::Client].map(|port| (place, *host, port)));
        let doors =
            join_all(doors.map(|(place, host, port)| async move { (place, port, open(fleet, host, port).await) }))
                .await;
        let mut ways = Self::default();
        let attempts = doors.iter().filter(|(.., at)| at.is_open()).flat_map(|(to, port, at)| {
            (0..hosts.len()).filter(move |from| from != to).map(move |from| (from, *to, *port, at))
        });
        let attempts = attempts.map(|(from, to, port, at)| async move {
            let arrival = match connect(fleet, hosts[from], hosts[to], port.of(hosts[to]), at).await {
                Attempt::Reached => Arrival::Reached(None),
                Attempt::Refused(why) => Arrival::Refused(why),
                Attempt::Barred(obstacle) => Arrival::Barred(obstacle),
                Attempt::Unknown(why) => Arrival::Unknown(why),
            };
            Way { from, to, port, arrival }
        });
        ways.ways = join_all(attempts).await;
        let own = |place| doors.iter().any(|(at, port, door)| *at == place && *port == Port::Peer && door.is_open());
        let reached = |from: usize| -> Vec<usize> {
            let open = ways.ways.iter().filter(|way| way.from == from && way.port == Port::Peer);
            open.filter(|way| matches!(way.arrival, Arrival::Reached(_))).map(|way| way.to).collect()
        };
        let trips =
            (0..hosts.len()).filter(|from| own(*from)).map(|from| round_trips(fleet, hosts, from, reached(from)));
        for (from, to, seconds) in join_all(trips).await.into_iter().flatten() {
            let way = ways.ways.iter_mut().find(|way| (way.from, way.to, way.port) == (from, to, Port::Peer));
            if let Some(way) = way {
                way.arrival = Arrival::Reached(Some(seconds));
            }
        }
        let mut probes = Vec::new();
        for (place, port, door) in doors {
            let door = match door {
                Listening::Etcd => Door::Open,
                Listening::Probe(held) => {
                    probes.push(held.end());
                    Door::Open
                }
                Listening::Coming => Door::Unknown("its member comes and goes".to_owned()),
                Listening::Impossible(why) => Door::Impossible(why),
                Listening::Unknown(why) => Door::Unknown(why),
            };
            ways.doors.push((place, port, door));
        }
        join_all(probes).await;
        ways
    }
}

async fn open(fleet: &Fleet, host: &Host, port: Port) -> Listening {
    let number = port.of(host);
    match fleet.seen(host).await {
        Ok(seen) if !seen.unit.runs() && seen.listening.contains(&number) => {
            Listening::Unknown(format!("something else listens on port {number}"))
        }
        _ => listen(fleet, host, number).await,
    }
}

/// The seconds of a round trip from one host to each of the others; they are measured one after the other, since they
/// would wait for each other.
async fn round_trips(fleet: &Fleet, hosts: &[&Host], from: usize, others: Vec<usize>) -> Vec<(usize, usize, f64)> {
    let mut samples = vec![Vec::new(); hosts.len()];
    for _ in 0..SAMPLES {
        for to in std::iter::once(from).chain(others.iter().copied()) {
            let Ok(connection) = fleet.connection(hosts[from]).await else { return Vec::new() };
            let begun = Instant::now();
            let tunnel = connection.session().tunnel(&hosts[to].address, hosts[to].peer_port);
            if let Ok(Ok(_)) = tokio::time::timeout(LONGEST, tunnel).await {
                samples[to].push(begun.elapsed().as_secs_f64());
            }
        }
    }
    let Some(own) = median(std::mem::take(&mut samples[from])) else { return Vec::new() };
    let trip = |to: usize| Some((from, to, (median(samples[to].clone())? - own).max(0.0)));
    others.into_iter().filter_map(trip).collect()
}

fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_middle_of_several() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0, 800.0, 3.0]), Some(3.0));
    }
}
