//! What is seen of TLS servers in this process: good ones, wrong ones, and what is none.

// clippy.toml allows these in `#[test]` functions only, not in what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use etcd_ha::etcd::client::{Access, CallError};
use etcd_ha::etcd::handshake::{Admission, Handshake, shake};
use etcd_ha::pki::{Inspector, KeyAlgorithm, Member, Pki, Role, Settings, Subject};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(5);

/// A PKI folder of one cluster, with two members.
struct Cluster {
    folder: TempDir,
    settings: Settings,
    pki: Pki,
}

fn members() -> [Member; 2] {
    [1, 2].map(|n| Member { name: format!("node0{n}"), names: vec![format!("10.19.0.{n}")] })
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let year = Duration::from_secs(365 * 86_400);
        let settings = Settings {
            dir: folder.path().join("prod.pki"),
            ca_cert: None,
            ca_key: None,
            encrypt_ca_key: false,
            key: KeyAlgorithm::EcdsaP256,
            subject: Subject::default(),
            ca_lifetime: 10 * year,
            leaf_lifetime: year,
            renew_before: Duration::from_secs(30 * 86_400),
        };
        let pki = Pki::load_or_issue(&settings, "prod", &members(), OffsetDateTime::now_utc()).unwrap();
        pki.persist().unwrap();
        Self { folder, settings, pki }
    }

    fn access(&self) -> Access {
        Access {
            ca: self.pki.ca_pem().to_owned(),
            certificate: self.pki.admin().certificate.clone(),
            key: Zeroizing::new(self.pki.admin().key.expose().to_owned()),
        }
    }

    /// Has a server that trusts our clients, or anybody, show a pair of `from`; what was seen of it.
    async fn shown(&self, server: Server<'_>, access: Option<&Access>) -> Handshake {
        let (here, there) = duplex(1 << 16);
        let serving = tokio::spawn(serve(server.config(), there));
        let seen = shake(here, "10.19.0.1", access, LIMIT).await.unwrap();
        let _ = serving.await;
        seen
    }

    /// What is wrong with it as the client port's of `node01`.
    fn flaws(&self, seen: &Handshake, at: OffsetDateTime) -> Vec<String> {
        let inspector = Inspector::new(&self.settings, at).unwrap();
        let judgement = inspector.judge(&members()[0], Role::Client, &seen.chain).unwrap();
        judgement.flaws.iter().map(ToString::to_string).collect()
    }
}

/// A server: what it shows, and whose clients it lets in.
#[derive(Clone, Copy)]
struct Server<'a> {
    certificate: &'a str,
    key: &'a str,
    clients_of: Option<&'a str>,
    version: &'static SupportedProtocolVersion,
}

impl<'a> Server<'a> {
    fn of(cluster: &'a Cluster, member: &str) -> Self {
        let pair = &cluster.pki.member(member).unwrap().server;
        Self {
            certificate: &pair.certificate,
            key: pair.key.expose(),
            clients_of: Some(cluster.pki.ca_pem()),
            version: &rustls::version::TLS13,
        }
    }

    fn config(self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&[self.version]).unwrap();
        let builder = match self.clients_of {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect();
        builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()).unwrap()
    }
}

/// Answers a question, as etcd does, to who is let in.
async fn serve(config: ServerConfig, stream: DuplexStream) {
    if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
        let mut asked = [0; 512];
        let _ = stream.read(&mut asked).await;
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await;
        let _ = stream.shutdown().await;
    }
}

#[tokio::test]
async fn the_right_certificate_is_right_and_lets_in_whom_it_should() {
    let cluster = Cluster::new();
    let now = OffsetDateTime::now_utc();
    for (version, name) in [(&rustls::version::TLS13, "1.3"), (&rustls::version::TLS12, "1.2")] {
        let server = Server { version, ..Server::of(&cluster, "node01") };
        let seen = cluster.shown(server, Some(&cluster.access())).await;
        assert_eq!((seen.version, &seen.admission), (Some(name), &Admission::Granted));
        assert_eq!(cluster.flaws(&seen, now), [""; 0]);

        let stranger = cluster.shown(server, None).await;
        assert!(matches!(stranger.admission, Admission::Refused(_)), "{name}: {:?}", stranger.admission);
        assert_eq!(stranger.chain, seen.chain, "{name}");

        let other = Cluster::new();
        let stranger = cluster.shown(server, Some(&other.access())).await;
        assert!(matches!(stranger.admission, Admission::Refused(_)), "{name}: {:?}", stranger.admission);

        let open = Server { clients_of: None, ..server };
        assert_eq!(cluster.shown(open, None).await.admission, Admission::Granted, "{name}");
    }
}

#[tokio::test]
async fn wrong_certificates_are_told_apart() {
    let cluster = Cluster::new();
    let now = OffsetDateTime::now_utc();
    let access = cluster.access();
    let text = |file: &str| std::fs::read_to_string(cluster.settings.dir.join(file)).unwrap();

    // Another member's.
    let seen = cluster.shown(Server::of(&cluster, "node02"), Some(&access)).await;
    let flaws = cluster.flaws(&seen, now);
    assert_eq!(flaws[0], "it does not name `10.19.0.1`");
    assert!(flaws[1].starts_with("it is not `node01-server.pem` of the PKI folder, whose serial number is "));
    assert_eq!(flaws.len(), 2);

    // The peer's in the place of the server's is as good, but not the one in the folder.
    let (certificate, key) = (text("node01-peer.pem"), text("node01-peer-key.pem"));
    let peer = Server { certificate: &certificate, key: &key, ..Server::of(&cluster, "node01") };
    let flaws = cluster.flaws(&cluster.shown(peer, Some(&access)).await, now);
    assert!(flaws.len() == 1 && flaws[0].starts_with("it is not `node01-server.pem`"), "{flaws:?}");

    // A client's.
    let (certificate, key) = (text("admin.pem"), text("admin-key.pem"));
    let admin = Server { certificate: &certificate, key: &key, ..Server::of(&cluster, "node01") };
    let flaws = cluster.flaws(&cluster.shown(admin, Some(&access)).await, now);
    assert_eq!(flaws[0], "it does not name `10.19.0.1`, `localhost`, `127.0.0.1`, `::1`");
    assert_eq!(flaws[1], "it lacks the usage serverAuth");

    // One of another cluster, whose CA has the same name and signs members of the same names.
    let other = Cluster::new();
    let stranger = Server { clients_of: Some(cluster.pki.ca_pem()), ..Server::of(&other, "node01") };
    let flaws = cluster.flaws(&cluster.shown(stranger, Some(&access)).await, now);
    assert_eq!(flaws[0], "another CA issued it: `CN=prod etcd CA`");

    // The right one, later.
    let seen = cluster.shown(Server::of(&cluster, "node01"), Some(&access)).await;
    let soon = cluster.flaws(&seen, now + time::Duration::days(340));
    assert!(soon.len() == 1 && soon[0].starts_with("it expires on "), "{soon:?}");
    let late = cluster.flaws(&seen, now + time::Duration::days(366));
    assert!(late.len() == 1 && late[0].starts_with("it expired on "), "{late:?}");

    // Where the folder has lost its own.
    std::fs::remove_file(cluster.folder.path().join("prod.pki/node01-server.pem")).unwrap();
    assert_eq!(cluster.flaws(&seen, now), ["there is no `node01-server.pem` in the PKI folder"]);
}

#[tokio::test]
async fn what_is_no_tls_is_told_and_nothing_is_waited_for_too_long() {
    let (here, mut there) = duplex(1 << 16);
    there.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nwhat was that?").await.unwrap();
    let failed = shake(here, "10.19.0.1", None, LIMIT).await.unwrap_err();
    assert_eq!(failed, CallError::Tls("what answers there does not speak TLS".to_owned()));

    let (here, there) = duplex(1 << 16);
    drop(there);
    assert!(matches!(shake(here, "10.19.0.1", None, LIMIT).await, Err(CallError::Tls(_))));

    let (here, _silent) = duplex(1 << 16);
    let (limit, begun) = (Duration::from_millis(50), Instant::now());
    let failed = shake(here, "10.19.0.1", None, limit).await.unwrap_err();
    assert_eq!(failed, CallError::Timeout { call: "TLS handshake", limit });
    assert!(begun.elapsed() < LIMIT);
}
