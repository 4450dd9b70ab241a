//! What the members' ports really show and whom they let in, beside what the CA and the inventory say.

use crate::etcd::client::{Access, CallError};
use crate::etcd::handshake::{Admission, Handshake, shake};
use crate::inventory::Host;
use crate::pki::{Inspector, Judgement, PkiError, Role, ServedFlaw};
use crate::tasks::{Fleet, TaskError, certificate_names};
use futures::future::join_all;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// One port of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortReport {
    /// The host.
    pub host: String,
    /// Which of its ports.
    pub role: Role,
    /// The port's number.
    pub port: u16,
    /// What it shows, or why that could not be found out.
    pub outcome: Result<Served, CallError>,
}

/// What a port shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The certificate.
    pub certificate: Judgement,
    /// The version of TLS, if the handshake came to its end.
    pub version: Option<&'static str>,
    /// Whether the admin's certificate is let in.
    pub with_certificate: Admission,
    /// Whether anybody is let in without a certificate; `Err`: that could not be asked.
    pub without_certificate: Result<Admission, CallError>,
}

/// What is wrong at a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortProblem {
    /// It could not be asked.
    #[error("{0}")]
    Unasked(CallError),
    /// The certificate is not right.
    #[error("{0}")]
    Flaw(ServedFlaw),
    /// It does not let the admin in.
    #[error("it does not let the admin's certificate in: {0}")]
    Refuses(String),
    /// Nobody can talk to it.
    #[error("with what it shows no connection comes about: {0}")]
    Useless(String),
    /// It lets anybody in.
    #[error("it lets in who shows no certificate")]
    Open,
    /// Whether it lets anybody in could not be found out.
    #[error("whether it lets in who shows no certificate could not be found out: {0}")]
    Unknown(CallError),
}

impl PortProblem {
    /// Whether it only wants to be seen to in time.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Flaw(flaw) if flaw.can_wait())
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Unasked(CallError::Ssh(_)) => {
                "`etcd-ha ssh-config` shows how the host is reached; `--direct` asks members without SSH"
            }
            Self::Unasked(CallError::Tcp(_)) => {
                "look whether the member runs: `systemctl status etcd` on the host, `etcd-ha start`"
            }
            Self::Unasked(CallError::Tls(_)) => "look what listens on that port of the host",
            Self::Unasked(CallError::Timeout { .. } | CallError::Broken { .. } | CallError::Refused { .. })
            | Self::Unknown(_) => "`etcd-ha health` says how the member is; `--timeout` waits longer",
            Self::Flaw(flaw) => flaw.hint(),
            Self::Useless(_) => "`etcd-ha deploy` puts the certificate in the PKI folder in its place",
            Self::Refuses(_) => {
                "the member may trust another CA: compare `ca.pem` there with the one in the PKI folder"
            }
            Self::Open => "`etcd-ha deploy` writes the settings that want client certificates, and restarts the member",
        }
    }
}

impl PortReport {
    /// All that is wrong.
    #[must_use]
    pub fn problems(&self) -> Vec<PortProblem> {
        let served = match &self.outcome {
            Ok(served) => served,
            Err(error) => return vec![PortProblem::Unasked(error.clone())],
        };
        let mut problems: Vec<_> = served.certificate.flaws.iter().cloned().map(PortProblem::Flaw).collect();
        match &served.with_certificate {
            Admission::Granted => {}
            Admission::Refused(why) => problems.push(PortProblem::Refuses(why.clone())),
            Admission::Unknown(why) => problems.push(PortProblem::Useless(why.clone())),
        }
        match &served.without_certificate {
            // What stops us with a certificate stops us without one, and was said.
            Ok(Admission::Refused(_) | Admission::Unknown(_)) => {}
            Ok(Admission::Granted) => problems.push(PortProblem::Open),
            Err(error) => problems.push(PortProblem::Unknown(error.clone())),
        }
        problems
    }
}

/// The next steps, each once: of all that is wrong with a certificate, one step mends the rest.
#[must_use]
pub fn next_steps(problems: &[PortProblem]) -> Vec<&'static str> {
    let flaws = problems.iter().filter_map(|problem| match problem {
        PortProblem::Flaw(flaw) => Some(flaw),
        _ => None,
    });
    let certificate = flaws.min_by_key(|flaw| flaw.rank()).map(ServedFlaw::hint);
    let others = problems.iter().filter(|problem| match problem {
        PortProblem::Flaw(_) => false,
        PortProblem::Useless(_) => certificate.is_none(),
        PortProblem::Unasked(_) | PortProblem::Refuses(_) | PortProblem::Open | PortProblem::Unknown(_) => true,
    });
    let mut steps = Vec::new();
    for step in certificate.into_iter().chain(others.map(PortProblem::hint)) {
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

/// Looks at the client port and the peer port of every member, all at once; in the order of the inventory.
///
/// # Errors
/// There are no certificates to ask with, or the PKI folder cannot be read.
pub async fn served(fleet: &Fleet, now: OffsetDateTime) -> Result<Vec<PortReport>, TaskError> {
    let access = fleet.standing_access().await?;
    let inspector = Inspector::new(&fleet.inventory.pki, now)?;
    let hosts = fleet.inventory.hosts.iter().map(|host| {
        let (access, inspector) = (&access, &inspector);
        async move {
            let ports = [(Role::Client, host.client_port), (Role::Peer, host.peer_port)];
            join_all(ports.map(|(role, port)| async move {
                let outcome = look(fleet, host, port, access).await;
                let outcome = outcome.map(|looked| looked.judged(inspector, host, role));
                let (outcome, host) = (transpose(outcome)?, host.name.clone());
                Ok::<_, TaskError>(PortReport { host, role, port, outcome })
            }))
            .await
        }
    });
    join_all(hosts).await.into_iter().flatten().collect()
}

fn transpose<T, E, F>(outcome: Result<Result<T, E>, F>) -> Result<Result<T, F>, E> {
    match outcome {
        Ok(Ok(value)) => Ok(Ok(value)),
        Ok(Err(error)) => Err(error),
        Err(error) => Ok(Err(error)),
    }
}

/// What was seen of a port.
struct Looked {
    with: Handshake,
    without: Result<Handshake, CallError>,
}

impl Looked {
    fn judged(self, inspector: &Inspector, host: &Host, role: Role) -> Result<Served, PkiError> {
        let Self { with, without } = self;
        Ok(Served {
            certificate: inspector.judge(&certificate_names(host), role, &with.chain)?,
            version: with.version,
            with_certificate: with.admission,
            without_certificate: without.map(|handshake| handshake.admission),
        })
    }
}

async fn look(fleet: &Fleet, host: &Host, port: u16, access: &Access) -> Result<Looked, CallError> {
    let shakes = async |access| -> Result<Handshake, CallError> {
        let limit = fleet.options.call_limit;
        shake(stream(fleet, host, port, limit).await?, &host.address, access, limit).await
    };
    let (with, without) = tokio::join!(shakes(Some(access)), shakes(None));
    Ok(Looked { with: with?, without })
}

/// What bytes go over to a port.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn stream(fleet: &Fleet, host: &Host, port: u16, limit: Duration) -> Result<Box<dyn Stream>, CallError> {
    if fleet.options.direct {
        let connecting = TcpStream::connect((host.address.as_str(), port));
        return match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(CallError::Tcp(error.to_string())),
            Err(_) => Err(CallError::Timeout { call: "connect", limit }),
        };
    }
    let connection = fleet.connection(host).await.map_err(|error| CallError::Ssh(crate::error::line(&error)))?;
    match tokio::time::timeout(limit, connection.session().tunnel(&host.address, port)).await {
        Ok(Ok(tunnel)) => Ok(Box::new(tunnel)),
        Ok(Err(error)) if error.is_tunnel_refused() => Err(CallError::Tcp(error.to_string())),
        Ok(Err(error)) => Err(CallError::Ssh(error.to_string())),
        Err(_) => Err(CallError::Timeout { call: "connect", limit }),
    }
}
