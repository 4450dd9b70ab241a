//! Channels as byte streams.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use russh::client::Msg;
use russh::{Channel, ChannelStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::Inner;

/// A channel and the session that it lives on.
struct Stream {
    channel: ChannelStream<Msg>,
    inner: Arc<Inner>,
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.channel).poll_read(cx, buf))?;
        // To the library the end of the connection is the end of the stream; the reader must not
        // take what was cut off for the whole.
        if buf.filled().len() == before && buf.remaining() > 0 && self.inner.is_closed() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, self.inner.lost())));
        }
        Poll::Ready(Ok(()))
    }
}

macro_rules! channel_stream {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name(Stream);

        impl $name {
            pub(super) fn new(channel: Channel<Msg>, inner: Arc<Inner>) -> Self {
                Self(Stream { channel: channel.into_stream(), inner })
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.0.inner.peer.to_string()).finish()
            }
        }

        impl AsyncRead for $name {
            fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                self.0.poll_read(cx, buf)
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0.channel).poll_write(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0.channel).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0.channel).poll_shutdown(cx)
            }
        }
    };
}

channel_stream! {
    /// A TCP connection that starts at the machine; closed when dropped. Keeps its session alive.
    ///
    /// It must be read: data that nobody takes holds up the other channels of the session.
    Tunnel
}

channel_stream! {
    /// Standard input and output of a command; closed when dropped. Keeps its session alive.
    ///
    /// It must be read: data that nobody takes holds up the other channels of the session.
    Pipe
}
