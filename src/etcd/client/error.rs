//! How far a call got, found in the errors of the layers beneath.

use crate::ssh::SshError;
use std::error::Error as StdError;
use std::time::Duration;

/// How far a call got before it failed; the cause of an unhealthy member in one word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The host cannot be reached by SSH.
    #[error("ssh: {0}")]
    Ssh(String),
    /// Nothing answers on the client port.
    #[error("tcp: {0}")]
    Tcp(String),
    /// The TLS handshake failed.
    #[error("tls: {0}")]
    Tls(String),
    /// No answer in time.
    #[error("no answer to `{call}` within {} s", limit.as_secs_f64())]
    Timeout {
        /// The call.
        call: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The connection broke before there was a whole answer.
    #[error("the connection broke during `{call}`: {reason}")]
    Broken {
        /// The call.
        call: &'static str,
        /// The innermost cause.
        reason: String,
    },
    /// The member answered with an error.
    #[error("`{call}`: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// etcd's words.
        message: String,
    },
}

impl CallError {
    /// What to do about it, where it is the way or the process that failed and not what was asked for.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ssh(_) | Self::Tcp(_) | Self::Timeout { .. } | Self::Broken { .. } => Some(
                "`etcd-ha status` shows how the members are, and `etcd-ha explain` why; then run the same command again",
            ),
            Self::Tls(_) | Self::Refused { .. } => None,
        }
    }

    /// Whether the member has not come to the revision that it was asked about.
    #[must_use]
    pub fn is_future_revision(&self) -> bool {
        // etcd, `api/v3rpc/rpctypes`: ErrGRPCFutureRev.
        matches!(self, Self::Refused { message, .. } if message.contains("required revision is a future revision"))
    }

    /// Whether the cluster has agreed on a downgrade already.
    #[must_use]
    pub fn is_downgrade_in_process(&self) -> bool {
        // etcd, `api/v3rpc/rpctypes`: ErrGRPCDowngradeInProcess.
        matches!(self, Self::Refused { message, .. } if message.contains("cluster has a downgrade job in progress"))
    }

    /// Whether the member has dropped the history up to the revision that it was asked about.
    #[must_use]
    pub fn is_compacted_revision(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains("required revision has been compacted"))
    }
}

/// Finds the layer that failed in a transport error's chain of causes.
pub(super) fn transport_error(error: &tonic::transport::Error) -> CallError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(ssh) = inner.downcast_ref::<SshError>() {
            return if ssh.is_tunnel_refused() {
                CallError::Tcp(ssh.to_string())
            } else {
                CallError::Ssh(ssh.to_string())
            };
        }
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return CallError::Tls(tls.to_string());
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            // rustls errors arrive inside an io::Error, whose own source() skips over them.
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return CallError::Tls(tls.to_string());
            }
        }
        last = inner.to_string();
        cause = inner.source();
    }
    CallError::Tcp(last)
}

pub(super) fn call_error(call: &'static str, error: &etcd_client::Error) -> CallError {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            let mut cause = status.source();
            let mut innermost = None;
            while let Some(inner) = cause {
                let tls = inner.downcast_ref::<rustls::Error>().map(ToString::to_string).or_else(|| {
                    let io = inner.downcast_ref::<std::io::Error>()?;
                    io.get_ref()?.downcast_ref::<rustls::Error>().map(ToString::to_string)
                });
                if let Some(tls) = tls {
                    return CallError::Tls(tls);
                }
                innermost = Some(super::tame(&inner.to_string()));
                cause = inner.source();
            }
            match innermost {
                // What the member itself answers has no cause on this side.
                None => CallError::Refused { call, message: super::tame(status.message()) },
                Some(reason) => CallError::Broken { call, reason },
            }
        }
        etcd_client::Error::TransportError(error) => transport_error(error),
        other => CallError::Refused { call, message: other.to_string() },
    }
}
