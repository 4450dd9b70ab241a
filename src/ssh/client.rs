//! The receiving half of a connection: what the SSH library tells us of its own accord.

use std::sync::{Arc, Mutex, PoisonError};

use russh::Channel;
use russh::client::{self, ChannelOpenHandle, DisconnectReason};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tokio::sync::watch;

use super::error::SshError;
use super::facts::Loss;
use super::judge::{Judge, Standing};
use super::wire::printable;

/// Has host keys judged, and takes notes.
pub(super) struct Client {
    judge: Judge,
    /// Where the key is noted, if nobody wants more than that.
    looked: Option<Arc<Looked>>,
    news: Arc<News>,
}

/// The key that a machine has shown, and what is made of it.
pub(super) type Looked = Mutex<Option<(PublicKey, Result<Standing, SshError>)>>;

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
    pub(super) fn new(judge: Judge, looked: Option<Arc<Looked>>, news: Arc<News>) -> Self {
        Self { judge, looked, news }
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
        let judged = self.judge.judge(presented).await;
        let Some(looked) = &self.looked else {
            return judged.map(|_| true).map_err(|error| ClientError::HostKey(Box::new(error)));
        };
        *looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((presented.public_key(), judged));
        Ok(false)
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
