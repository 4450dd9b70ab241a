//! Whether every host reaches every other's peer port, found out before etcd runs.
//!
//! Where no etcd listens yet, systemd's own `systemd-socket-activate` stands in for it for a few
//! seconds. The connections are made by the hosts' sshds (direct-tcpip), so nothing is installed.

mod caller;
mod ways;

pub use ways::{Arrival, Door, Port, Way, Ways};

use super::fleet::{Fleet, certificate_names};
use crate::host::{Connection, Held, listening};
use crate::inventory::Host;
use crate::ssh::quote;
use futures::future::join_all;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a connection attempt may take before the port counts as closed to that host.
const LIMIT: Duration = Duration::from_secs(3);

/// How long a member whose process runs may refuse its peers: so long a restart takes that a run which
/// was killed has begun.
const RESTART: Duration = Duration::from_secs(5);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// How much is to be known of who reaches whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reaching {
    /// Nothing.
    #[default]
    Untold,
    /// What the hosts can tell of it.
    Told,
    /// What comes of trying.
    Tried,
}

/// Who reaches whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// What does not work.
    pub failures: Vec<Obstacle>,
    /// What could not be found out, a sentence each.
    pub unknown: Vec<String>,
}

/// What keeps members from being each other's peers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A port cannot be listened on or reached: a sentence.
    #[error("{0}")]
    Closed(String),
    /// etcd would turn a peer away for the address that it comes from.
    #[error(
        "{}, which its certificate does not name: etcd would turn it away",
        if *.told {
            format!("host `{from}` comes to `{to}` from {address}")
        } else {
            format!("by its routes host `{from}` would come to `{to}` from {address}")
        }
    )]
    Unnamed {
        /// Who connects.
        from: String,
        /// To whom.
        to: String,
        /// From which address.
        address: IpAddr,
        /// The host whose address that is by the inventory.
        of: Option<String>,
        /// Whether the called host saw it; or else the caller's routes are all there is to it, which is a doubt only.
        told: bool,
    },
}

impl Obstacle {
    /// What it is, and what to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        format!("{self}; {}", self.hint())
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Closed(_) => {
                "open the peer port between the members' hosts in the firewall, or correct `address`".to_owned()
            }
            // What a host says is not to make another host's certificate of its own.
            Self::Unnamed { from, address, of: Some(of), .. } => {
                format!("{address} is the address of `{of}`: look at addresses and routes of `{from}` (`ip route get`)")
            }
            Self::Unnamed { from, address, .. } => format!(
                "if `{from}` may come from {address}, add that to its `extra_names`; otherwise mend its routes (`ip route get`)"
            ),
        }
    }
}

impl Reach {
    /// What hosts tell that nobody has to try: from which address each would come to the others, by its routes.
    pub async fn told(fleet: &Fleet) -> Self {
        let hosts = &fleet.inventory.hosts;
        let pairs = hosts.iter().flat_map(|from| hosts.iter().map(move |to| (from, to)));
        let doubts = pairs.filter(|(from, to)| from.name != to.name).map(async |(from, to)| {
            let address = by_route(fleet, from, to).await?;
            turned_away(fleet, from, to, address).await.then(|| barred(fleet, from, to, address, false).advice())
        });
        Self { failures: Vec::new(), unknown: join_all(doubts).await.into_iter().flatten().collect() }
    }

    /// Tries every pair of hosts.
    pub async fn probe(fleet: &Fleet) -> Self {
        let mut reach = Self::default();
        let hosts = &fleet.inventory.hosts;
        let listening = join_all(hosts.iter().map(|host| listen(fleet, host, host.peer_port))).await;
        for outcome in &listening {
            match outcome {
                Listening::Etcd | Listening::Coming | Listening::Probe(_) => {}
                Listening::Impossible(why) => reach.failures.push(Obstacle::Closed(why.clone())),
                Listening::Unknown(why) => reach.unknown.push(why.clone()),
            }
        }
        let pairs = hosts.iter().flat_map(|from| hosts.iter().zip(&listening).map(move |(to, at)| (from, to, at)));
        let attempts = pairs.filter(|(from, to, at)| from.name != to.name && at.is_open());
        let tried =
            attempts.map(|(from, to, at)| async move { (from, to, connect(fleet, from, to, to.peer_port, at).await) });
        for (from, to, attempt) in join_all(tried).await {
            match attempt {
                Attempt::Reached => {}
                Attempt::Refused(why) => reach.failures.push(Obstacle::Closed(format!(
                    "host `{}` does not reach `{}` at {}:{}: {why}",
                    from.name, to.name, to.address, to.peer_port
                ))),
                Attempt::Barred(doubt @ Obstacle::Unnamed { told: false, .. }) => reach.unknown.push(doubt.advice()),
                Attempt::Barred(obstacle) => reach.failures.push(obstacle),
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

impl Listening {
    fn is_open(&self) -> bool {
        matches!(self, Self::Etcd | Self::Probe(_))
    }

    /// How long it may refuse a connection.
    fn patience(&self) -> Duration {
        if matches!(self, Self::Etcd) { RESTART } else { Duration::ZERO }
    }
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
timeout 60 systemd-socket-activate --accept --inetd -l {address} sh -c {tell} </dev/null >/dev/null 2>"$said" &
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
        tell = quote(caller::TELL),
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
    /// It is open, but etcd would turn that host away.
    Barred(Obstacle),
    /// It could not be tried, and why.
    Unknown(String),
}

/// Connects from one host to another's port, where something listens.
async fn connect(fleet: &Fleet, from: &Host, to: &Host, port: u16, at: &Listening) -> Attempt {
    let Ok(connection) = fleet.connection(from).await else {
        return Attempt::Unknown(format!("host `{}` could not be looked at", from.name));
    };
    let begun = Instant::now();
    loop {
        let attempt = tokio::time::timeout(LIMIT, connection.session().tunnel(&to.address, port));
        let failure = match attempt.await {
            Ok(Ok(tunnel)) if port == to.peer_port => {
                let told = matches!(at, Listening::Probe(_));
                let address = if told { caller::told(tunnel, LIMIT).await } else { by_route(fleet, from, to).await };
                return match address {
                    Some(address) if turned_away(fleet, from, to, address).await => {
                        Attempt::Barred(barred(fleet, from, to, address, told))
                    }
                    Some(_) | None => Attempt::Reached,
                };
            }
            Ok(Ok(_)) => return Attempt::Reached,
            Ok(Err(error)) if error.is_tunnel_prohibited() => {
                let why = format!("host `{}` forbids TCP forwarding, so its way to its peers was not tried", from.name);
                return Attempt::Unknown(why);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
        };
        if begun.elapsed() >= at.patience() {
            return Attempt::Refused(failure);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The address from which `from` would come to `to` by its own routes; it does not know what is changed on the way, nor what
/// is ruled for etcd's user alone.
async fn by_route(fleet: &Fleet, from: &Host, to: &Host) -> Option<IpAddr> {
    fleet.seen_before(from).await?.sources.get(&to.address.parse().ok()?).copied()
}

/// Whether etcd on `to` would turn `from` away if it came from `address`.
async fn turned_away(fleet: &Fleet, from: &Host, to: &Host, address: IpAddr) -> bool {
    if is_let_through(from, to) {
        return false;
    }
    match fleet.connection(to).await {
        Ok(called) => !caller::is_named(&called, &certificate_names(from).names, address).await,
        Err(_) => false,
    }
}

/// Whether etcd is set not to look: the one that is called by an option, or the caller to take its own address.
fn is_let_through(from: &Host, to: &Host) -> bool {
    let skips =
        |(option, value): (&String, &String)| option.ends_with("peer-skip-client-san-verification") && value == "true";
    let gates = from.settings.get("feature-gates");
    to.settings.iter().any(skips)
        || gates.is_some_and(|gates| gates.contains("SetMemberLocalAddr=true") || gates.contains("AllAlpha=true"))
}

/// What keeps `from` from `to`, since it comes from `address`: `told` by who is called, or else by its own routes.
fn barred(fleet: &Fleet, from: &Host, to: &Host, address: IpAddr, told: bool) -> Obstacle {
    let has = |host: &&Host| host.address.parse::<IpAddr>().is_ok_and(|own| own.to_canonical() == address);
    let of = fleet.inventory.hosts.iter().find(has).map(|host| host.name.clone());
    Obstacle::Unnamed { from: from.name.clone(), to: to.name.clone(), address, of, told }
}
