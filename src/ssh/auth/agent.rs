//! The agent, and what it holds.

use std::io;
use std::path::Path;

use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};
use tokio::net::UnixStream;

use crate::ssh::client::Client;
use crate::ssh::wire::printable;

/// The agent, and the keys and certificates that it holds, each with its comment.
pub(super) struct Agent {
    pub(super) client: AgentClient<UnixStream>,
    pub(super) keys: Vec<(PublicKey, String)>,
    pub(super) certificates: Vec<(Certificate, String)>,
}

impl Agent {
    pub(super) async fn open(path: &Path, handle: &Handle<Client>) -> Result<Self, String> {
        let why = |why: String| format!("the agent at `{}` is of no use: {why}", path.display());
        let stream = UnixStream::connect(path).await.map_err(|error: io::Error| why(error.to_string()))?;
        let mut client = AgentClient::connect(stream);
        // Keys that may only go to certain hosts are shown once the agent knows which host this is;
        // older agents know nothing of that and refuse, to no harm.
        if let Some(binding) = handle.agent_session_binding() {
            let _ = client.bind_session(binding, false).await;
        }
        let identities = client.request_identities().await.map_err(|error| why(error.to_string()))?;
        let mut agent = Self { client, keys: Vec::new(), certificates: Vec::new() };
        for identity in identities {
            match identity {
                AgentIdentity::PublicKey { key, comment } => agent.keys.push((key, printable(&comment))),
                AgentIdentity::Certificate { certificate, comment } => {
                    agent.certificates.push((certificate, printable(&comment)));
                }
            }
        }
        Ok(agent)
    }

    /// Its copy of a key.
    pub(super) fn key(&self, wanted: &KeyData) -> Option<&PublicKey> {
        self.keys.iter().map(|(key, _)| key).find(|key| key.key_data() == wanted)
    }
}
