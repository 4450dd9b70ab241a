//! Whether every host reaches every other's peer port, found out before etcd runs.
//!
//! Where no etcd listens yet, systemd's own `systemd-socket-activate` stands in for it for a few
//! seconds. The connections are made by the hosts' sshds (direct-tcpip), so nothing is installed.

mod ways;

pub use ways::{Arrival, Door, Port, Way, Ways};

use super::fleet::Fleet;
use crate::host::{Connection, Held, listening};
use crate::inventory::Host;
use crate::ssh::quote;
use futures::future::join_all;
use std::time::{Duration, Instant};

/// How long a connection attempt may take before the port counts as closed to that host.
const LIMIT: Duration = Duration::from_secs(3);

/// How long a member whose process runs may refuse its peers: so long a restart takes that a run which
/// was killed has begun.
const RESTART: Duration = Duration::from_secs(5);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Who reaches whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// What does not work, a sentence each.
    pub failures: Vec<String>,
    /// What could not be found out, a sentence each.
    pub unknown: Vec<String>,
}

impl Reach {
    /// Tries every pair of hosts.
    pub async fn probe(fleet: &Fleet) -> Self {
        let mut reach = Self::default();
        let hosts = &fleet.inventory.hosts;
        let listening = join_all(hosts.iter().map(|host| listen(fleet, host, host.peer_port))).await;
        for outcome in &listening {
            match outcome {
                Listening::Etcd | Listening::Coming | Listening::Probe(_) => {}
                Listening::Impossible(why) => reach.failures.push(why.clone()),
                Listening::Unknown(why) => reach.unknown.push(why.clone()),
            }
        }
        let open = |index: usize| matches!(listening[index], Listening::Etcd | Listening::Probe(_));
        let pairs = hosts.iter().flat_map(|from| hosts.iter().enumerate().map(move |(index, to)| (from, index, to)));
        let attempts = pairs.filter(|(from, index, to)| from.name != to.name && open(*index));
        let patience = |index: usize| match listening[index] {
            Listening::Etcd => RESTART,
            Listening::Coming | Listening::Probe(_) | Listening::Impossible(_) | Listening::Unknown(_) => {
                Duration::ZERO
            }
        };
        let tried = attempts.map(|(from, index, to)| async move {
            let patience = patience(index);
            (from, to, connect(fleet, from, to, to.peer_port, patience).await)
        });
        for (from, to, attempt) in join_all(tried).await {
            match attempt {
                Attempt::Reached => {}
                Attempt::Refused(why) => reach.failures.push(format!(
                    "host `{}` does not reach `{}` at {}:{}: {why}",
                    from.name, to.name, to.address, to.peer_port
                )),
                Attempt::Unknown(why) => reach.unknown.push(why),
            }
        }
        let probes = listening.into_iter().filter_map(|outcome| match outcome {
            Listening::Probe(held) => Some(held.end()),
            _ => None,
        });
        join_all(probes).await;
        reach
    }
}

enum Listening {
    /// The member itself listens.
    Etcd,
    /// The member comes and goes.
    Coming,
    /// Our stand-in listens for as long as this is held.
    Probe(Box<Held>),
    Impossible(String),
    Unknown(String),
}

/// Has something listen on a port of `host`, if nothing of ours does already.
async fn listen(fleet: &Fleet, host: &Host, port: u16) -> Listening {
    let name = &host.name;
    let (seen, connection) = match (fleet.seen(host).await, fleet.connection(host).await) {
        (Ok(seen), Ok(connection)) => (seen, connection),
        _ => return Listening::Unknown(format!("host `{name}` could not be looked at")),
    };
    if seen.unit.ready() {
        return Listening::Etcd;
    }
    if seen.unit.runs() || seen.unit.crashed() {
        // It comes and goes, and would meet ours on the port.
        return Listening::Coming;
    }
    match start(&connection, host, port).await {
        Ok((held, answer)) => match answer.split_once(' ') {
            Some(("listening", _)) => Listening::Probe(Box::new(held)),
            Some(("failed", why)) => {
                Listening::Impossible(format!("host `{name}` cannot listen on {}:{port}: {}", host.address, why.trim()))
            }
            _ => Listening::Unknown(format!("host `{name}` has no `systemd-socket-activate` to try its ports with")),
        },
        Err(error) => Listening::Unknown(error.to_string()),
    }
}

async fn start(connection: &Connection, host: &Host, port: u16) -> Result<(Held, String), crate::host::HostError> {
    let address = match host.address.parse::<std::net::IpAddr>() {
        Ok(_) => format!("{}:{port}", crate::etcd::config::url_host(&host.address)),
        Err(_) => port.to_string(),
    };
    // It ends with the connection, should the controller die.
    let text = format!(
        r#"command -v systemd-socket-activate >/dev/null 2>&1 || {{ echo none; exit 0; }}
said=$(mktemp)
timeout 60 systemd-socket-activate --accept --inetd -l {address} cat </dev/null >/dev/null 2>"$said" &
pid=$!
trap 'kill "$pid" 2>/dev/null || :; rm -f "$said"' EXIT
i=0
while [ "$i" -lt 100 ]; do
  if ! kill -0 "$pid" 2>/dev/null; then echo "failed $(tail -n 1 "$said")"; exit 0; fi
  if {listening}; then echo "listening $pid"; cat >/dev/null; exit 0; fi
  sleep 0.05; i=$((i + 1))
done
echo "failed nothing listens after 5 s"
"#,
        address = quote(&address),
        listening = listening(port),
    );
    connection.hold(&format!("listen on port {port} for a moment"), &text).await
}

/// What came of connecting from one host to another.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    Reached,
    /// The port is closed to that host, and why.
    Refused(String),
    /// It could not be tried, and why.
    Unknown(String),
}

/// Connects from one host to another's port, trying again for as long as `patience`.
async fn connect(fleet: &Fleet, from: &Host, to: &Host, port: u16, patience: Duration) -> Attempt {
    let Ok(connection) = fleet.connection(from).await else {
        return Attempt::Unknown(format!("host `{}` could not be looked at", from.name));
    };
    let begun = Instant::now();
    loop {
        let attempt = tokio::time::timeout(LIMIT, connection.session().tunnel(&to.address, port));
        let failure = match attempt.await {
            Ok(Ok(_)) => return Attempt::Reached,
            Ok(Err(error)) if error.is_tunnel_prohibited() => {
                let why = format!("host `{}` forbids TCP forwarding, so its way to its peers was not tried", from.name);
                return Attempt::Unknown(why);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
        };
        if begun.elapsed() >= patience {
            return Attempt::Refused(failure);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
