//! From a hop to a session: a way there, key exchange, host key, log-in.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{AlgorithmKind, Preferred, SshId, cipher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::auth::{Credentials, Keys, Resources, Unlocked, log_in};
use super::client::{Client, ClientError, News};
use super::dial::dial;
use super::error::SshError;
use super::facts::{Means, Peer};
use super::hop::{Hop, Proxy};
use super::known_hosts::KnownHosts;
use super::prompt::Patience;
use super::proxy::{self, LastWords};
use super::session::Session;
use super::target::HostKeyChecking;
use super::wire::{Watch, Wire, printable};

/// How often a connection that was closed before log-in is tried again.
const RETRIES: u32 = 5;

/// How much may be under way to us before we have to confirm any of it: lets a download fill a
/// line of 1 Gbit/s and 100 ms.
const WINDOW: u32 = 16 << 20;

/// A connection, logged in.
pub(super) struct Connected {
    pub(super) peer: Peer,
    pub(super) handle: Handle<Client>,
    pub(super) news: Arc<News>,
    pub(super) watch: Arc<Watch>,
}

/// What a connection may log in with.
pub(super) struct Access<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) unlocked: &'a Unlocked,
    /// What questions call the machine.
    pub(super) name: &'a str,
    /// Whether it is a jump host.
    pub(super) jump: bool,
}

/// Connects and logs in, again if the server closes the door at first.
pub(super) async fn connect(hop: &Hop, through: Option<&Session>, access: &Access<'_>) -> Result<Connected, SshError> {
    let keys = access.credentials.keys(&hop.login)?;
    let typed = Mutex::default();
    let mut retries = 0;
    loop {
        match connect_once(hop, through, access, &keys, &typed).await {
            Err(error) if error.is_retryable() && retries < RETRIES => {
                // Jitter, lest a crowd that was turned away together comes back together.
                let jitter = rand::random_range(0.5..1.5);
                tokio::time::sleep(Duration::from_millis(150 << retries).mul_f64(jitter)).await;
                retries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// A way to the machine's sshd: TCP, a tunnel of the jump host, or a command.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn open(
    hop: &Hop,
    through: Option<&Session>,
    peer: &mut Peer,
) -> Result<(Box<dyn Stream>, Option<LastWords>), SshError> {
    match (&hop.proxy, through) {
        (Proxy::Command(command), _) => match proxy::start(command) {
            Ok((stream, words)) => Ok((Box::new(stream), Some(words))),
            Err(error) => {
                let peer = Peer { via: None, ..peer.clone() };
                Err(SshError::ProxyCommand { peer, why: error.to_string() })
            }
        },
        (_, Some(jump)) => match jump.tunnel(&hop.host, hop.port).await {
            Ok(tunnel) => Ok((Box::new(tunnel), None)),
            Err(source) => Err(SshError::JumpHost { peer: peer.clone(), source: Arc::new(source) }),
        },
        (_, None) => Ok((Box::new(dial(peer, hop.connect_timeout).await?), None)),
    }
}

async fn connect_once(
    hop: &Hop,
    through: Option<&Session>,
    access: &Access<'_>,
    keys: &Keys,
    typed: &Mutex<Option<Zeroizing<String>>>,
) -> Result<Connected, SshError> {
    let limit = hop.connect_timeout;
    let mut peer = hop.peer();
    let known = match hop.host_keys.checking {
        HostKeyChecking::Off => KnownHosts::default(),
        HostKeyChecking::Strict | HostKeyChecking::AcceptNew => KnownHosts::load(&hop.host_keys.all_files())?,
    };
    let config = config(hop, &known.algorithms(&hop.host_keys.names));
    let (stream, last_words) = open(hop, through, &mut peer).await?;
    let watch = Arc::new(Watch::default());
    let news = Arc::new(News::default());
    let wire = Wire::new(stream, Arc::clone(&watch), hop.keepalive * (hop.keepalive_max + 1));
    let client = Client::new(peer.clone(), hop.host_keys.clone(), known, Arc::clone(&news));
    let mut cutting = CutOnDrop(Some(Arc::clone(&watch)));
    let mut handle = match timeout(limit, client::connect_stream(Arc::new(config), wire, client)).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) => {
            let error = refused_to_talk(error, peer, news.good_bye().or_else(|| watch.words()));
            return Err(match (error, last_words) {
                (SshError::ClosedEarly { peer, said: None }, Some(words)) => {
                    let why = words.last().await.unwrap_or_else(|| "it ended and said nothing".to_owned());
                    SshError::ProxyCommand { peer: Peer { via: None, ..peer }, why }
                }
                (error, _) => error,
            });
        }
        Err(_) if watch.speaks_ssh() => return Err(SshError::KexTimeout { peer, after: limit }),
        Err(_) => return Err(SshError::BannerTimeout { peer, after: limit }),
    };
    let credentials = access.credentials;
    let resources = Resources {
        agent: credentials.agent.as_deref(),
        password: credentials.password.as_ref().filter(|_| !access.jump),
        prompt: credentials.prompt.as_deref(),
        unlocked: access.unlocked,
        name: access.name,
        jump: access.jump,
        typed,
    };
    let patience = Patience::new(limit);
    let outcome = tokio::select! {
        outcome = log_in(&mut handle, &hop.user, &hop.login, keys, &resources, &patience) => Some(outcome),
        () = patience.has_run_out() => None,
    };
    match outcome {
        Some(Ok(())) => {
            cutting.0 = None;
            Ok(Connected { peer, handle, news, watch })
        }
        Some(Err(refusal)) => {
            let words = news.words();
            let mut failure = refusal.failure;
            // Closed at the very first key, without a word about it: not about our keys. A password that was refused so
            // is not tried again, since accounts are locked for that. Nor is it about us if somebody was asked meanwhile.
            let about_keys = |means: &Means| !matches!(means, Means::Password | Means::KeyboardInteractive);
            let early = failure.tried.len() <= 1 && failure.tried.iter().all(|attempt| about_keys(&attempt.means));
            if refusal.gone && words.is_none() && (early || patience.was_tried()) {
                return Err(SshError::ClosedEarly { peer, said: None });
            }
            failure.remark = words.or(failure.remark);
            Err(SshError::AuthFailed { peer, failure: Box::new(failure) })
        }
        None => Err(SshError::AuthTimeout { peer, user: hop.user.clone(), after: limit }),
    }
}

/// Ends the connection's background work unless it was handed on.
struct CutOnDrop(Option<Arc<Watch>>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(watch) = &self.0 {
            watch.cut();
        }
    }
}

fn config(hop: &Hop, known: &[Algorithm]) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-etcdha_", env!("CARGO_PKG_VERSION")))),
        window_size: WINDOW,
        keepalive_interval: Some(hop.keepalive),
        keepalive_max: hop.keepalive_max as usize,
        nodelay: true,
        preferred: Preferred {
            key: Cow::Owned(host_key_order(known)),
            // The first is the fastest where the processor knows AES, as servers' do.
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_192_CTR,
                cipher::AES_128_CTR,
            ]),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// The host key types to ask for: those that are on file for the host first.
fn host_key_order(known: &[Algorithm]) -> Vec<Algorithm> {
    let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let all = [
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        rsa(HashAlg::Sha512),
        rsa(HashAlg::Sha256),
    ];
    let is_known = |algorithm: &Algorithm| {
        known.iter().any(|known| {
            known == algorithm || matches!((known, algorithm), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
        })
    };
    let (mut first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(is_known);
    first.extend(rest);
    first
}

/// Puts the failure of a key exchange into our words.
fn refused_to_talk(error: ClientError, peer: Peer, said: Option<String>) -> SshError {
    let error = match error {
        ClientError::HostKey(error) => return *error,
        ClientError::Library(error) => error,
    };
    match error {
        russh::Error::Version => SshError::NotSsh { peer, said },
        russh::Error::NoCommonAlgo { kind, ours, theirs } => SshError::NoCommonAlgorithm {
            peer,
            kind: match kind {
                AlgorithmKind::Kex => "key exchange",
                AlgorithmKind::Key => "host key",
                AlgorithmKind::Cipher => "cipher",
                AlgorithmKind::Compression => "compression",
                AlgorithmKind::Mac => "MAC",
            },
            ours: ours.join(", "),
            theirs: printable(&theirs.join(", ")),
        },
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) => SshError::ClosedEarly { peer, said },
        error => SshError::Handshake { peer, source: Box::new(error) },
    }
}
