//! A TLS handshake with a member's port that takes whatever certificate is shown, so that a wrong one can be
//! looked at, and tells whether the member takes ours.

use super::client::{Access, CallError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, SignatureScheme};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

/// A question that either port of etcd answers, if it answers anything: its answer tells that we were let in. In
/// TLS 1.3 the handshake itself does not, since the member looks at our certificate after it.
const QUESTION: &[u8] = b"GET /version HTTP/1.0\r\n\r\n";

/// What a port has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The certificates in DER, the member's own first.
    pub chain: Vec<Vec<u8>>,
    /// The version of TLS, if it came so far: `1.3`.
    pub version: Option<&'static str>,
    /// Whether we were let in, with or without a certificate.
    pub admission: Admission,
}

/// Whether a member has let us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It has.
    Granted,
    /// It has not, and says why.
    Refused(String),
    /// It did not come to that, since we could not go on with what it shows.
    Unknown(String),
}

/// Shakes hands over `stream` with who calls itself `address`, with the certificate of `access` or without one.
///
/// # Errors
/// It came to no certificate: the port does not speak TLS, hangs up, or is silent for longer than `limit`.
pub async fn shake<S>(
    stream: S,
    address: &str,
    access: Option<&Access>,
    limit: Duration,
) -> Result<Handshake, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let taken = Arc::new(Taken::new());
    let config = config(&taken, access).map_err(|error| CallError::Tls(error.to_string()))?;
    let name = ServerName::try_from(address.to_owned()).map_err(|error| CallError::Tls(error.to_string()))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let timeout = |call| CallError::Timeout { call, limit };
    let mut stream = match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let chain = taken.chain();
            let words = words(&error);
            // In TLS 1.2 the member looks at our certificate within the handshake.
            return if chain.is_empty() {
                Err(CallError::Tls(words))
            } else {
                let ours = inner(&error).is_some_and(|error| !matches!(error, Error::AlertReceived(_)));
                let admission = if ours { Admission::Unknown(words) } else { Admission::Refused(words) };
                Ok(Handshake { chain, version: None, admission })
            };
        }
        Err(_) => return Err(timeout("TLS handshake")),
    };
    let version = stream.get_ref().1.protocol_version().map(version);
    let ask = async {
        stream.write_all(QUESTION).await?;
        stream.flush().await?;
        let mut first = [0];
        stream.read(&mut first).await
    };
    let admission = match tokio::time::timeout(limit, ask).await {
        Ok(Ok(0)) => Admission::Refused("it hung up".to_owned()),
        Ok(Ok(_)) => Admission::Granted,
        Ok(Err(error)) => Admission::Refused(words(&error)),
        Err(_) => return Err(timeout("GET /version")),
    };
    Ok(Handshake { chain: taken.chain(), version, admission })
}

fn config(taken: &Arc<Taken>, access: Option<&Access>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(taken.provider.clone()).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(taken.clone());
    let Some(access) = access else {
        return Ok(builder.with_no_client_auth());
    };
    let unreadable = |error: rustls::pki_types::pem::Error| Error::General(error.to_string());
    let chain = CertificateDer::pem_slice_iter(access.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(access.key.as_bytes()).map_err(unreadable)?;
    builder.with_client_auth_cert(chain, key)
}

fn version(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "1.3",
        ProtocolVersion::TLSv1_2 => "1.2",
        _ => "?",
    }
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What went wrong with TLS, from within the error that streams have.
fn words(error: &io::Error) -> String {
    match inner(error) {
        Some(Error::InvalidMessage(_)) => "what answers there does not speak TLS".to_owned(),
        Some(Error::AlertReceived(alert)) => format!("it says `{alert:?}`"),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "it hung up".to_owned(),
        None => error.to_string(),
    }
}

/// Takes any certificate, and keeps what was shown. That who shows it has its key is checked.
#[derive(Debug)]
struct Taken {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<Vec<u8>>>,
}

impl Taken {
    fn new() -> Self {
        Self { provider: Arc::new(rustls::crypto::ring::default_provider()), chain: Mutex::default() }
    }

    fn chain(&self) -> Vec<Vec<u8>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Taken {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(between).map(|der| der.to_vec()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
