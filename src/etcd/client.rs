//! One member's client port, reached through an SSH tunnel or directly, always with TLS verified.

mod downgrade;
mod download;
mod error;
mod leased;
mod line;
mod version;

pub use download::Download;
pub use error::CallError;
pub use leased::LeaseId;

use super::config::client_url;
use super::identity::{ClusterId, MemberId};
use crate::error::paints;
use crate::inventory::Host;
use crate::ssh::{Session, SshError};
use crate::timing::round_trip;
use error::{call_error, transport_error};
use etcd_client::{AlarmAction, AlarmType, Channel, GetOptions};
use hyper_util::rt::TokioIo;
use line::Line;
use semver::Version;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Uri};
use zeroize::Zeroizing;

/// What a client shows and trusts: the CA and the admin's certificate.
pub struct Access {
    /// The CA bundle, PEM.
    pub ca: String,
    /// The client certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: Zeroizing<String>,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its id.
    pub member: MemberId,
    /// Its cluster's id.
    pub cluster: ClusterId,
    /// The version that it runs.
    pub version: String,
    /// The version whose format its data has, if it tells; etcd does so from 3.6 on.
    pub storage: Option<Version>,
    /// The version that the cluster has agreed to go down to, if it tells that it has.
    pub downgrade: Option<Version>,
    /// Whom it follows, if anyone.
    pub leader: Option<MemberId>,
    /// The raft term.
    pub term: u64,
    /// The last raft entry that it has committed.
    pub raft_index: u64,
    /// The last raft entry that it has applied.
    pub applied_index: u64,
    /// Whether it is a learner, which has no vote.
    pub learner: bool,
    /// Size of its database file in bytes.
    pub db_size: u64,
    /// How much of it is in use, in bytes; the rest comes free by defragmentation.
    pub db_in_use: u64,
    /// The size at which it takes no more writes, in bytes, if it tells; etcd does so from 3.6 on.
    pub db_quota: Option<u64>,
    /// What it complains of.
    pub errors: Vec<String>,
}

/// A member as another member lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: MemberId,
    /// Its name; empty before it first started.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// Its client URLs; empty before it first started.
    pub client_urls: Vec<String>,
    /// Whether it is a learner.
    pub learner: bool,
}

/// An alarm that a member has raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The member.
    pub member: MemberId,
    /// `NOSPACE` or `CORRUPT`.
    pub kind: String,
}

/// All that one look at a member tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it says of itself.
    pub status: Status,
    /// Whom it knows, sorted by id.
    pub members: Result<Vec<Listed>, CallError>,
    /// The alarms that it knows of, its own and others'.
    pub alarms: Result<Vec<Alarm>, CallError>,
    /// Whether a linearizable read succeeds, which takes a leader and a quorum.
    pub read: Result<(), CallError>,
    /// How long the slowest of the calls took.
    pub round_trip: Duration,
}

/// A hash over all keys of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash {
    /// The hash.
    pub hash: u32,
    /// The revision up to which history was dropped; only hashes with the same one can be compared.
    pub compacted: i64,
}

/// How long a hash may take at the least: a member reads all of its data for it.
const HASH_LIMIT: Duration = Duration::from_secs(30);

/// A connection to one member.
#[derive(Clone)]
pub struct MemberClient {
    host: Arc<str>,
    client: etcd_client::Client,
    /// The same connection, for what is no RPC.
    channel: tonic::transport::Channel,
    limit: Duration,
    lost: watch::Receiver<bool>,
}

impl MemberClient {
    /// Connects to the host's member through an SSH session to that host.
    ///
    /// # Errors
    /// How far it got: SSH, TCP or TLS.
    pub async fn through(session: &Session, host: &Host, access: &Access, limit: Duration) -> Result<Self, CallError> {
        let (session, address, port) = (session.clone(), host.address.clone(), host.client_port);
        let (lost, told) = watch::channel(false);
        let connector = tower::service_fn(move |_: Uri| {
            let (session, address, lost) = (session.clone(), address.clone(), lost.clone());
            async move { Ok::<_, SshError>(TokioIo::new(Line::new(session.tunnel(&address, port).await?, lost))) }
        });
        let endpoint = endpoint(host, access)?;
        Self::over(host, endpoint.connect_with_connector(connector), limit, told).await
    }

    /// Connects to the host's member straight from this machine.
    ///
    /// # Errors
    /// How far it got: TCP or TLS.
    pub async fn direct(host: &Host, access: &Access, limit: Duration) -> Result<Self, CallError> {
        let (address, port) = (host.address.clone(), host.client_port);
        let (lost, told) = watch::channel(false);
        let connector = tower::service_fn(move |_: Uri| {
            let (address, lost) = (address.clone(), lost.clone());
            async move {
                let stream = TcpStream::connect((address, port)).await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(Line::new(stream, lost)))
            }
        });
        let endpoint = endpoint(host, access)?;
        Self::over(host, endpoint.connect_with_connector(connector), limit, told).await
    }

    async fn over(
        host: &Host,
        connecting: impl Future<Output = Result<tonic::transport::Channel, tonic::transport::Error>>,
        limit: Duration,
        lost: watch::Receiver<bool>,
    ) -> Result<Self, CallError> {
        let connecting = async {
            match tokio::time::timeout(limit, connecting).await {
                Ok(channel) => channel.map_err(|error| transport_error(&error)),
                Err(_) => Err(CallError::Timeout { call: "connect", limit }),
            }
        };
        let channel = round_trip(&host.name, "connect to its member").of(connecting).await?;
        let client = etcd_client::Client::from_channel(Channel::Tonic(channel.clone()), None);
        let client = client.await.map_err(|error| call_error("connect", &error))?;
        Ok(Self { host: host.name.as_str().into(), client, channel, limit, lost })
    }

    /// Waits until the connection has ended. The next call makes a new one, but for that it has to wait.
    pub async fn lost(&self) {
        // That nobody is left to tell says the same.
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }

    async fn call<T>(
        &self,
        call: &'static str,
        future: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, CallError> {
        let answer = async {
            match tokio::time::timeout(self.limit, future).await {
                Ok(result) => result.map_err(|error| call_error(call, &error)),
                Err(_) => Err(CallError::Timeout { call, limit: self.limit }),
            }
        };
        round_trip(&self.host, call).of(answer).await
    }

    /// Looks at the member: status, members, alarms and a linearizable read, all at once.
    ///
    /// # Errors
    /// The member does not even tell its status.
    pub async fn report(&self) -> Result<Report, CallError> {
        let begun = Instant::now();
        let (mut maintenance, mut cluster) = (self.client.maintenance_client(), self.client.cluster_client());
        let (mut alarms, mut kv) = (self.client.maintenance_client(), self.client.kv_client());
        // The key that etcdctl's own health check reads; it need not exist.
        let read = kv.get("health", Some(GetOptions::new().with_keys_only()));
        let (status, members, alarms, read) = tokio::join!(
            self.call("status", maintenance.status()),
            self.call("member list", cluster.member_list()),
            self.call("alarm list", alarms.alarm(AlarmAction::Get, AlarmType::None, None)),
            self.call("linearizable read", read),
        );
        let status = status?;
        let header = |header: Option<&etcd_client::ResponseHeader>| {
            header.map(|header| (MemberId(header.member_id()), ClusterId(header.cluster_id())))
        };
        let (member, cluster) = header(status.header()).unwrap_or((MemberId(0), ClusterId(0)));
        Ok(Report {
            status: Status {
                member,
                cluster,
                version: tame(status.version()),
                storage: status.storage_version().parse().ok(),
                downgrade: status
                    .downgrade_info()
                    .filter(|info| info.enabled())
                    .and_then(|info| info.target_version().parse().ok()),
                leader: Some(status.leader()).filter(|leader| *leader != 0).map(MemberId),
                term: status.raft_term(),
                raft_index: status.raft_index(),
                applied_index: status.raft_applied_index(),
                learner: status.is_learner(),
                db_size: u64::try_from(status.db_size()).unwrap_or_default(),
                // The library's name for `dbSizeInUse`.
                db_in_use: u64::try_from(status.raft_used_db_size()).unwrap_or_default(),
                db_quota: u64::try_from(status.db_size_quota()).ok().filter(|quota| *quota > 0),
                errors: status.errors().iter().map(|text| tame(text)).collect(),
            },
            members: members.map(|list| {
                let mut members: Vec<_> = list.members().iter().map(listed).collect();
                members.sort_by_key(|member| member.id);
                members
            }),
            alarms: alarms.map(|list| {
                let alarm = |alarm: &etcd_client::AlarmMember| Alarm {
                    member: MemberId(alarm.member_id()),
                    kind: match alarm.alarm() {
                        AlarmType::Nospace => "NOSPACE".to_owned(),
                        AlarmType::Corrupt => "CORRUPT".to_owned(),
                        AlarmType::None => "NONE".to_owned(),
                    },
                };
                list.alarms().iter().map(alarm).collect()
            }),
            read: read.map(|_| ()),
            round_trip: begun.elapsed(),
        })
    }

    /// The hash of all keys up to `revision`, or up to the newest with 0.
    ///
    /// # Errors
    /// The call failed.
    pub async fn hash_kv(&self, revision: i64) -> Result<KeyHash, CallError> {
        let mut maintenance = self.client.maintenance_client();
        let limit = self.limit.max(HASH_LIMIT);
        let hash = Self { limit, ..self.clone() }.call("hash", maintenance.hash_kv(revision)).await?;
        Ok(KeyHash { hash: hash.hash(), compacted: hash.compact_version() })
    }

    /// Asks this member, which has to be the leader, to hand leadership to another voter.
    ///
    /// # Errors
    /// The call failed.
    pub async fn move_leader(&self, to: MemberId) -> Result<(), CallError> {
        let mut maintenance = self.client.maintenance_client();
        self.call("move leader", maintenance.move_leader(to.0)).await.map(|_| ())
    }
}

/// A member's words, on one line that paints nothing and has an end: they are shown, and compared with what is sound.
fn tame(text: &str) -> String {
    text.chars().map(|c| if paints(c) { '\u{fffd}' } else { c }).take(1000).collect()
}

fn listed(member: &etcd_client::Member) -> Listed {
    Listed {
        id: MemberId(member.id()),
        name: tame(member.name()),
        peer_urls: member.peer_urls().iter().map(|url| tame(url)).collect(),
        client_urls: member.client_urls().iter().map(|url| tame(url)).collect(),
        learner: member.is_learner(),
    }
}

fn endpoint(host: &Host, access: &Access) -> Result<Endpoint, CallError> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&access.ca))
        .identity(Identity::from_pem(&access.certificate, access.key.as_bytes()))
        .domain_name(host.address.clone());
    Endpoint::from_shared(client_url(host))
        .and_then(|endpoint| endpoint.tls_config(tls))
        // No time limits of its own: ours say which call it was that was not answered.
        .map_err(|error| transport_error(&error))
}
