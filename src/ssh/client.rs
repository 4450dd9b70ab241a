//! The receiving half of a connection: what the SSH library tells us of its own accord.

use std::sync::{Arc, Mutex, PoisonError};

use russh::Channel;
use russh::client::{self, ChannelOpenHandle, DisconnectReason};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tokio::sync::watch;

use super::error::SshError;
use super::facts::{ChangedHostKey, HostKeyFacts, Loss, Peer};
use super::hop::HostKeys;
use super::known_hosts::{self, KnownHosts, Verdict, fingerprint};
use super::target::HostKeyChecking;
use super::wire::printable;

/// Checks host keys and takes notes.
pub(super) struct Client {
    peer: Peer,
    host_keys: HostKeys,
    known: KnownHosts,
    news: Arc<News>,
}

/// What a connection has said besides answers.
#[derive(Debug, Default)]
pub(super) struct News {
    /// How it ended, once it has.
    pub(super) ended: watch::Sender<Option<Loss>>,
    banner: Mutex<Option<String>>,
}

/// Either the library's error or one of ours, from within its callbacks.
#[derive(Debug)]
pub(super) enum ClientError {
    Library(russh::Error),
    HostKey(Box<SshError>),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Library(error)
    }
}

impl News {
    /// The server's last words, if it said any.
    pub(super) fn good_bye(&self) -> Option<String> {
        match &*self.ended.borrow() {
            Some(Loss::Disconnected(words)) => Some(words.clone()),
            _ => None,
        }
    }

    /// What the server gave as its reasons: its last words, or the banner shown at log-in.
    pub(super) fn words(&self) -> Option<String> {
        if let Some(words) = self.good_bye() {
            return Some(format!("it closed the connection, saying `{words}`"));
        }
        let banner = self.banner.lock().unwrap_or_else(PoisonError::into_inner);
        banner.as_ref().map(|banner| format!("it says `{banner}`"))
    }
}

impl Client {
    pub(super) fn new(peer: Peer, host_keys: HostKeys, known: KnownHosts, news: Arc<News>) -> Self {
        Self { peer, host_keys, known, news }
    }

    fn judge(&self, key: &PublicKey) -> Result<bool, SshError> {
        let HostKeys { names, files, global_files, checking, .. } = &self.host_keys;
        let verdict = match checking {
            HostKeyChecking::Off => return Ok(true),
            HostKeyChecking::Strict => self.known.check(names, key),
            HostKeyChecking::AcceptNew => match (self.known.check(names, key), files.first()) {
                (Verdict::Unknown, Some(file)) => known_hosts::learn(file, names, key)?,
                (verdict, _) => verdict,
            },
        };
        let peer = self.peer.clone();
        let presented = HostKeyFacts {
            name: names.first().map(|name| name.text.clone()).unwrap_or_default(),
            algorithm: key.algorithm().to_string(),
            fingerprint: fingerprint(key),
        };
        Err(match verdict {
            Verdict::Trusted => return Ok(true),
            Verdict::Unknown => SshError::HostKeyUnknown {
                peer,
                key: Box::new(presented),
                files: files.iter().chain(global_files).cloned().collect(),
            },
            Verdict::Revoked(known) => {
                SshError::HostKeyRevoked { peer, key: Box::new(presented), file: known.file, line: known.line }
            }
            Verdict::Changed(known) => SshError::HostKeyChanged {
                peer,
                key: Box::new(ChangedHostKey {
                    presented,
                    known_algorithm: known.key.algorithm().to_string(),
                    known_fingerprint: fingerprint(&known.key),
                    file: known.file,
                    line: known.line,
                }),
            },
        })
    }
}

/// How the library's reason reads in our words.
fn loss(reason: &DisconnectReason<ClientError>) -> Loss {
    let error = match reason {
        DisconnectReason::ReceivedDisconnect(info) => {
            return Loss::Disconnected(printable(&info.message));
        }
        DisconnectReason::Error(ClientError::HostKey(error)) => {
            return Loss::Broken(error.to_string());
        }
        DisconnectReason::Error(ClientError::Library(error)) => error,
    };
    match error {
        russh::Error::KeepaliveTimeout => Loss::Silent,
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::TimedOut => Loss::Silent,
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Loss::Closed,
        russh::Error::Disconnect | russh::Error::HUP => Loss::Closed,
        error => Loss::Broken(error.to_string()),
    }
}

/// Only the checks and notes are ours; every channel that a server would open to us is declined, as
/// dropping its handle does (the library's defaults would accept).
impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, ClientError> {
        self.judge(&presented.public_key()).map_err(|error| ClientError::HostKey(Box::new(error)))
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), ClientError> {
        *self.news.banner.lock().unwrap_or_else(PoisonError::into_inner) = Some(printable(banner));
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<ClientError>) -> Result<(), ClientError> {
        let loss = loss(&reason);
        self.news.ended.send_if_modified(|ended| ended.is_none().then(|| *ended = Some(loss)).is_some());
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<client::Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<client::Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        Ok(())
    }
}
