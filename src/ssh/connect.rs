//! From a hop to a session: a way there, key exchange, host key, log-in.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::{AlgorithmKind, Preferred, SshId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::algorithms::{HOST_KEY, preferred};
use super::auth::{Credentials, Keys, Resources, Unlocked, log_in};
use super::client::{Client, ClientError, Looked, News};
use super::dial::dial;
use super::error::SshError;
use super::facts::{Means, Peer};
use super::hop::{Hop, Proxy};
use super::judge::{Judge, Unpinned};
use super::known_hosts::KnownFiles;
use super::prompt::Patience;
use super::proxy::{self, LastWords};
use super::session::Session;
use super::trust::Found;
use super::wire::{Watch, Wire, printable};
use crate::timing::part;

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
pub(super) async fn connect(
    hop: &Hop,
    through: Option<&Session>,
    access: &Access<'_>,
    files: &KnownFiles,
) -> Result<Connected, SshError> {
    let keys = access.credentials.keys(&hop.login)?;
    let typed = Mutex::default();
    let mut tries = Tries::default();
    loop {
        match connect_once(hop, through, access, (&keys, &typed), (files, &tries.unpinned)).await {
            Ok(connected) => return Ok(connected),
            Err(error) => tries.again(error, hop).await?,
        }
    }
}

/// Connects as far as the machine's key, and no further.
pub(super) async fn look(hop: &Hop, through: Option<&Session>, files: &KnownFiles) -> Result<Found, SshError> {
    let mut tries = Tries::default();
    loop {
        match look_once(hop, through, (files, &tries.unpinned)).await {
            Ok(found) => return Ok(found),
            Err(error) => tries.again(error, hop).await?,
        }
    }
}

/// What was tried so far to come to one connection.
#[derive(Default)]
struct Tries {
    retries: u32,
    unpinned: Unpinned,
}

impl Tries {
    /// Waits until it is time for the next try, or says that there shall be none.
    async fn again(&mut self, error: SshError, hop: &Hop) -> Result<(), SshError> {
        if !error.is_retryable() {
            return self.unpinned.go_on(error, &hop.host_keys.pinned);
        }
        if self.retries >= RETRIES {
            return Err(error);
        }
        // Jitter, lest a crowd that was turned away together comes back together.
        let jitter = rand::random_range(0.5..1.5);
        tokio::time::sleep(Duration::from_millis(150 << self.retries).mul_f64(jitter)).await;
        self.retries += 1;
        Ok(())
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
    (keys, typed): (&Keys, &Mutex<Option<Zeroizing<String>>>),
    known: (&KnownFiles, &Unpinned),
) -> Result<Connected, SshError> {
    let limit = hop.connect_timeout;
    let Met { peer, mut handle, news, watch, mut cutting } = meet(hop, through, known, None).await?;
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
    let outcome = part("log-in", async {
        tokio::select! {
            outcome = log_in(&mut handle, &hop.user, &hop.login, keys, &resources, &patience) => Some(outcome),
            () = patience.has_run_out() => None,
        }
    });
    let outcome = outcome.await;
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

async fn look_once(hop: &Hop, through: Option<&Session>, known: (&KnownFiles, &Unpinned)) -> Result<Found, SshError> {
    let looked = Arc::<Looked>::default();
    let met = meet(hop, through, known, Some(&looked)).await;
    let looked = looked.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (looked, met) {
        // What becomes of a connection once the key is seen is of no interest.
        (Some((public, judged)), _) => judged.map(|judged| Found::new(hop, public, judged)),
        (None, Err(error)) => Err(error),
        (None, Ok(met)) => Err(SshError::ClosedEarly { peer: met.peer, said: None }),
    }
}

/// A connection to a machine that has proved who it is; nobody is logged in.
struct Met {
    peer: Peer,
    handle: Handle<Client>,
    news: Arc<News>,
    watch: Arc<Watch>,
    cutting: CutOnDrop,
}

/// Goes there, exchanges keys and has the machine's judged, or noted in `looked`.
async fn meet(
    hop: &Hop,
    through: Option<&Session>,
    (files, unpinned): (&KnownFiles, &Unpinned),
    looked: Option<&Arc<Looked>>,
) -> Result<Met, SshError> {
    let limit = hop.connect_timeout;
    let mut peer = hop.peer();
    let mut judge = Judge::new(peer.clone(), hop.host_keys.clone(), files, looked.is_some())?;
    let preferred = preferred(&peer, &hop.algorithms, &judge.expected(), unpinned.shown())?;
    let config = config(hop, preferred);
    let (stream, last_words) = open(hop, through, &mut peer).await?;
    judge.at(peer.clone());
    let watch = Arc::new(Watch::default());
    let news = Arc::new(News::default());
    let wire = Wire::new(stream, Arc::clone(&watch), hop.keepalive * (hop.keepalive_max + 1));
    let client = Client::new(judge, looked.cloned(), Arc::clone(&news));
    let cutting = CutOnDrop(Some(Arc::clone(&watch)));
    let exchange = timeout(limit, client::connect_stream(Arc::new(config), wire, client));
    match part("key exchange", exchange).await {
        Ok(Ok(handle)) => Ok(Met { peer, handle, news, watch, cutting }),
        Ok(Err(error)) => {
            let error = refused_to_talk(error, peer, news.good_bye().or_else(|| watch.words()));
            Err(match (error, last_words) {
                (SshError::ClosedEarly { peer, said: None }, Some(words)) => {
                    let why = words.last().await.unwrap_or_else(|| "it ended and said nothing".to_owned());
                    SshError::ProxyCommand { peer: Peer { via: None, ..peer }, why }
                }
                (error, _) => error,
            })
        }
        Err(_) if watch.speaks_ssh() => Err(SshError::KexTimeout { peer, after: limit }),
        Err(_) => Err(SshError::BannerTimeout { peer, after: limit }),
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

fn config(hop: &Hop, preferred: Preferred) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-etcdha_", env!("CARGO_PKG_VERSION")))),
        window_size: WINDOW,
        keepalive_interval: Some(hop.keepalive),
        keepalive_max: hop.keepalive_max as usize,
        nodelay: true,
        preferred,
        ..client::Config::default()
    }
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
                AlgorithmKind::Key => HOST_KEY,
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
