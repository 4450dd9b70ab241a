//! What a TLS library says to a leaf: the one that this program itself connects with.

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Verifies leaves against a CA bundle: signature, times, usages, and the CA's name constraints.
pub(super) struct Verifier {
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Verifier {
    /// Trusts the certificates of `bundle`, as etcd does.
    pub(super) fn new(bundle: &[Vec<u8>]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for der in bundle {
            roots.add(CertificateDer::from_slice(der)).map_err(|e| e.to_string())?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self {
            servers: WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(|e| e.to_string())?,
            clients: WebPkiClientVerifier::builder_with_provider(roots, provider).build().map_err(|e| e.to_string())?,
        })
    }

    /// Verifies a leaf as a client's and as that of a server called `localhost`, with what it brings along
    /// between itself and the CA.
    pub(super) fn check_chain(&self, leaf: &[u8], between: &[Vec<u8>], now: OffsetDateTime) -> Result<(), String> {
        let between: Vec<_> = between.iter().map(|der| CertificateDer::from_slice(der)).collect();
        self.verify(leaf, &between, true, now)
    }

    /// Verifies a leaf as a client's and, if it `serves`, as a server's: of `localhost`, a name
    /// that every member's certificates have.
    pub(super) fn check(&self, leaf: &[u8], serves: bool, now: OffsetDateTime) -> Result<(), String> {
        self.verify(leaf, &[], serves, now)
    }

    fn verify(
        &self,
        leaf: &[u8],
        between: &[CertificateDer<'_>],
        serves: bool,
        now: OffsetDateTime,
    ) -> Result<(), String> {
        let leaf = CertificateDer::from_slice(leaf);
        let now = u64::try_from(now.unix_timestamp()).map_err(|_| "the clock stands before 1970")?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        self.clients.verify_client_cert(&leaf, between, now).map_err(|e| e.to_string())?;
        if serves {
            let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
            self.servers.verify_server_cert(&leaf, between, &name, &[], now).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
