//! `etcd-ha proxy`: ports of this machine that lead to the members, through SSH, for tools on this machine.

mod forward;

use super::Context;
use super::options::OutputFormat;
use super::query::{Patience, Query};
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::config::{client_url, url_host};
use crate::inventory::{Host, Inventory};
use crate::report::{self, Output, count, table};
use clap::Args;
use forward::{Forward, Served};
use futures::future::join_all;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a host may take to be connected to, each time.
const CONNECT: Duration = Duration::from_secs(3);

/// `etcd-ha proxy`
#[derive(Debug, Args)]
#[command(after_help = "One port a member, in the inventory's order. TLS goes from the tool to the member: the \
members' certificates name localhost, 127.0.0.1 and ::1. A tool that is given all the endpoints goes on with the \
next where a member is down. Keep to these endpoints: the members' own list (`--cluster`) has URLs that lead past \
the proxy. A connection to a host that broke is made again when the next one comes in.
Ctrl-C ends it, with exit code 0.")]
pub(super) struct Proxy {
    #[command(flatten)]
    query: Query,
    /// The first member's port, the next one's being one higher; 0: any that are free.
    #[arg(long, value_name = "PORT", default_value_t = 12379)]
    port: u16,
    /// Where to listen; anything but loopback lets other machines in, too.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
}

impl Proxy {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let Self { query, port, address } = self;
        let mut inventory = query.target.load()?;
        // What is printed of it is for any folder.
        if let Ok(dir) = std::path::absolute(&inventory.pki.dir) {
            inventory.pki.dir = dir;
        }
        let ports = ports(port, inventory.hosts.len())?;
        let patience = Patience { call: CONNECT, connect: Some(CONNECT), direct: false };
        let (output, format) = (context.output.clone(), context.global.output);
        let ended = query.ask(&context, inventory, patience, |fleet, stop| async move {
            let listeners = listen(address, &ports).await?;
            let (inventory, connector) = (&fleet.inventory, &fleet.options.connector);
            let forward = |host: &Host| Arc::new(Forward::new(host.clone(), connector.clone(), output.clone()));
            let forwards = inventory.hosts.iter().map(forward).collect();
            serve(inventory, forwards, listeners, stop, &output, format).await
        })?;
        ended.unwrap_or_else(Ok)
    }
}

/// A port for each of so many members.
fn ports(first: u16, members: usize) -> Result<Vec<u16>, ProxyError> {
    if first == 0 {
        return Ok(vec![0; members]);
    }
    let ports: Option<Vec<u16>> = (0..members).map(|n| first.checked_add(u16::try_from(n).ok()?)).collect();
    ports.ok_or(ProxyError::TooHigh { first, members })
}

async fn listen(address: IpAddr, ports: &[u16]) -> Result<Vec<TcpListener>, ProxyError> {
    let mut listeners = Vec::new();
    for port in ports {
        let address = SocketAddr::new(address, *port);
        listeners.push(TcpListener::bind(address).await.map_err(|source| ProxyError::Listen { address, source })?);
    }
    Ok(listeners)
}

/// Forwards until it is told to stop.
async fn serve(
    inventory: &Inventory,
    forwards: Vec<Arc<Forward>>,
    listeners: Vec<TcpListener>,
    mut stop: watch::Receiver<bool>,
    output: &Output,
    format: OutputFormat,
) -> Result<ExitStatus, Error> {
    let serving = async {
        let mut rows = Vec::new();
        let problems = join_all(forwards.iter().map(|forward| forward.try_out())).await;
        for ((host, listener), problem) in inventory.hosts.iter().zip(&listeners).zip(problems) {
            let listens = listener.local_addr().map_err(ProxyError::Listening)?;
            rows.push(Row { host, listens, problem });
        }
        match format {
            OutputFormat::Json => output.out(&as_json(&rows))?,
            _ => {
                output.out(&as_text(&rows, inventory))?;
                notices(&rows).iter().for_each(|line| output.err(line));
            }
        }
        let mut accepting = JoinSet::new();
        for (forward, listener) in forwards.iter().zip(listeners) {
            accepting.spawn(forward.clone().accept(listener));
        }
        accepting.join_all().await;
        Ok::<_, Error>(())
    };
    tokio::select! {
        ended = serving => ended?,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    let served = forwards.iter().map(|forward| forward.served()).fold(Served::default(), Served::and);
    if format == OutputFormat::Text {
        output.err(&format!("{}\n", farewell(served)));
    }
    Ok(ExitStatus::Done)
}

/// A member and the port that leads to it.
struct Row<'a> {
    host: &'a Host,
    listens: SocketAddr,
    problem: Option<String>,
}

impl Row<'_> {
    /// What a tool on this machine is given; of a port on all addresses one that the certificates name.
    fn url(&self) -> String {
        let ip = match self.listens.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        format!("https://{}:{}", url_host(&ip.to_string()), self.listens.port())
    }
}

/// A table, and what an etcdctl of this machine is given.
fn as_text(rows: &[Row<'_>], inventory: &Inventory) -> String {
    let head = ["MEMBER", "HERE", "THERE"].map(str::to_owned).to_vec();
    let lines = rows.iter().map(|row| vec![row.host.name.clone(), row.url(), client_url(row.host)]);
    let mut text = table(&std::iter::once(head).chain(lines).collect::<Vec<_>>());
    let urls: Vec<String> = rows.iter().map(Row::url).collect();
    let dir = &inventory.pki.dir;
    let ca = inventory.pki.ca_cert.clone().unwrap_or_else(|| dir.join("ca.pem"));
    let variables = [
        ("ENDPOINTS", urls.join(",")),
        ("CACERT", ca.display().to_string()),
        ("CERT", dir.join("admin.pem").display().to_string()),
        ("KEY", dir.join("admin-key.pem").display().to_string()),
    ];
    text += "\nfor an etcdctl on this machine:\n";
    for (name, value) in variables {
        text += &format!("  export ETCDCTL_{name}={}\n", crate::ssh::quote(&value));
    }
    text
}

/// One object a forward.
fn as_json(rows: &[Row<'_>]) -> String {
    let line = |row: &Row<'_>| {
        let line = json!({
            "v": 1,
            "member": row.host.name,
            "local": row.url(),
            "address": row.listens.ip(),
            "port": row.listens.port(),
            "remote": client_url(row.host),
            "reachable": row.problem.is_none(),
            "problem": row.problem,
        });
        report::json(&line)
    };
    rows.iter().map(line).collect()
}

/// What is said beside the table.
fn notices(rows: &[Row<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(row) = rows.first()
        && !row.listens.ip().is_loopback()
    {
        lines.push(format!(
            "warning: other machines can connect to {}; members take only those who show a certificate of theirs, and \
             their own names no other address of this machine\n",
            row.listens.ip()
        ));
    }
    for row in rows {
        if let Some(problem) = &row.problem {
            lines.push(format!(
                "warning: member {} cannot be reached: {problem}; it is tried again at every connection\n",
                row.host.name
            ));
        }
    }
    lines.push("forwarding until Ctrl-C\n".to_owned());
    lines
}

fn farewell(served: Served) -> String {
    let connections = count(served.connections, "connection");
    match served.failed {
        0 => format!("{connections} forwarded"),
        failed => format!("{connections} forwarded, {failed} closed since the member could not be reached"),
    }
}

/// Why nothing is forwarded.
#[derive(Debug, thiserror::Error)]
enum ProxyError {
    #[error("there are no ports for {members} members from {first} on: 65535 is the highest")]
    TooHigh { first: u16, members: usize },
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot tell which ports are listened on")]
    Listening(#[source] std::io::Error),
}

impl Explain for ProxyError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrNotAvailable => {
                "`--address` takes an address of this machine".to_owned()
            }
            _ => "`--port` chooses the first port; `--port 0` takes any that are free".to_owned(),
        })
    }

    fn exit(&self) -> ExitStatus {
        match self {
            Self::TooHigh { .. } => ExitStatus::Usage,
            Self::Listen { .. } | Self::Listening(_) => ExitStatus::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::inventory;

    #[test]
    fn a_port_for_every_member() {
        for (first, members, want) in [
            (12379, 3, Some(vec![12379, 12380, 12381])),
            (0, 2, Some(vec![0, 0])),
            (65535, 1, Some(vec![65535])),
            (65534, 3, None),
        ] {
            assert_eq!(ports(first, members).ok(), want, "{first} {members}");
        }
    }

    fn rows<'a>(inventory: &'a Inventory, address: &str) -> Vec<Row<'a>> {
        let listens = |n: usize| SocketAddr::new(address.parse().unwrap(), 12379 + u16::try_from(n).unwrap());
        let problem = |n: usize| (n == 1).then(|| "no route".to_owned());
        let rows = inventory.hosts.iter().enumerate();
        rows.map(|(n, host)| Row { host, listens: listens(n), problem: problem(n) }).collect()
    }

    const TWO: &str = "cluster: x
pki: { dir: /p k/i }
hosts:
  - { name: a, address: 192.0.2.1 }
  - { name: member02, address: \"fd00::2\", etcd: { client_port: 4001 } }
";

    #[test]
    fn what_is_printed() {
        let inventory = inventory(TWO);
        let on_loopback = rows(&inventory, "127.0.0.1");
        assert_eq!(
            as_text(&on_loopback, &inventory),
            "MEMBER    HERE                     THERE
a         https://127.0.0.1:12379  https://192.0.2.1:2379
member02  https://127.0.0.1:12380  https://[fd00::2]:4001

for an etcdctl on this machine:
  export ETCDCTL_ENDPOINTS=https://127.0.0.1:12379,https://127.0.0.1:12380
  export ETCDCTL_CACERT='/p k/i/ca.pem'
  export ETCDCTL_CERT='/p k/i/admin.pem'
  export ETCDCTL_KEY='/p k/i/admin-key.pem'
"
        );
        assert_eq!(
            as_json(&on_loopback).lines().nth(1).unwrap(),
            r#"{"v":1,"member":"member02","local":"https://127.0.0.1:12380","address":"127.0.0.1","port":12380,"remote":"https://[fd00::2]:4001","reachable":false,"problem":"no route"}"#
        );
        let unreachable =
            "warning: member member02 cannot be reached: no route; it is tried again at every connection\n";
        let last = "forwarding until Ctrl-C\n";
        assert_eq!(notices(&on_loopback), [unreachable, last]);
        for (address, url) in [("0.0.0.0", "https://127.0.0.1:12379"), ("::", "https://[::1]:12379")] {
            let open = rows(&inventory, address);
            assert_eq!(open[0].url(), url);
            assert!(notices(&open)[0].starts_with(&format!("warning: other machines can connect to {address};")));
        }
    }

    #[test]
    fn how_it_takes_its_leave() {
        for (connections, failed, want) in [
            (0, 0, "0 connections forwarded"),
            (1, 0, "1 connection forwarded"),
            (5, 2, "5 connections forwarded, 2 closed since the member could not be reached"),
        ] {
            assert_eq!(farewell(Served { connections, failed }), want);
        }
    }
}
