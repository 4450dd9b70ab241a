//! A member that means harm: it has the certificate of its host, and answers what it likes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::codegen::http;

use super::desk::Desk;
use super::host::{Attack, Hostile, RUNNING};

const POISON: &str =
    "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{200b}\r';touch ~/owned;$(touch ~/owned)`touch ~/owned`";

/// How it answers.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// With poison in every text.
    Poison,
    /// With numbers beyond all.
    Numbers,
    /// With an error whose words are poison.
    Refusal,
    /// With a message that claims to be of 4 GiB, and bytes without end.
    Endless,
    /// With thousands of members and alarms.
    Crowd,
    /// With what is no message.
    Garbage,
    /// Not at all.
    Silence,
    /// With headers as long as may be.
    Headers,
}

struct Member {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Member {
    /// Behind the certificate of `node01` in the desk's PKI.
    async fn start(desk: &Desk, manner: Manner) -> Self {
        let read = |name: &str| std::fs::read(desk.path("prod.pki").join(name)).unwrap();
        let chain = CertificateDer::pem_slice_iter(&read("node01-server.pem")).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(&read("node01-server-key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut tasks, sent) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        let count = sent.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, acceptor.clone(), manner, count.clone()));
            }
        });
        Self { address, sent, _tasks: tasks }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, manner: Manner, sent: Arc<AtomicU64>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut answers = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        answers.spawn(answer(request.uri().path().to_owned(), respond, manner, sent.clone()));
    }
}

async fn answer(path: String, mut respond: h2::server::SendResponse<Bytes>, manner: Manner, sent: Arc<AtomicU64>) {
    let mut head = http::Response::builder().header("content-type", "application/grpc");
    if let Manner::Headers = manner {
        for number in 0..200 {
            head = head.header(format!("x-{number}"), "y".repeat(4000));
        }
    }
    if let Manner::Refusal = manner {
        // As gRPC writes it: percent-encoded.
        let words: String = POISON.repeat(50).bytes().map(|byte| format!("%{byte:02X}")).collect();
        let head = head.header("grpc-status", "14").header("grpc-message", words).body(()).unwrap();
        let _ = respond.send_response(head, true);
        return;
    }
    if let Manner::Silence = manner {
        std::future::pending::<()>().await;
    }
    let Ok(mut stream) = respond.send_response(head.body(()).unwrap(), false) else { return };
    if let Manner::Endless = manner {
        let _ = stream.send_data(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]), false);
        let part = Bytes::from(vec![0; 16 << 10]);
        loop {
            stream.reserve_capacity(part.len());
            match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
                Some(Ok(room)) if room > 0 => {
                    sent.fetch_add(room as u64, Ordering::Relaxed);
                    let part = part.slice(..room.min(part.len()));
                    if stream.send_data(part, false).is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                _ => return,
            }
        }
    }
    let message = if let Manner::Garbage = manner { vec![0xff; 300] } else { message(&path, manner) };
    let mut data = vec![0];
    data.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    data.extend(message);
    let _ = stream.send_data(data.into(), false);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let _ = stream.send_trailers(trailers);
}

/// A message in the encoding of protocol buffers, field by field.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn number(mut self, field: u8, mut value: u64) -> Self {
        self.0.push(field << 3);
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
        self
    }

    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        let length = Self::default().number(0, bytes.len() as u64).0;
        self.0.push(field << 3 | 2);
        self.0.extend(&length[1..]);
        self.0.extend(bytes);
        self
    }
}

/// An answer of etcd's (`rpc.proto`), with whatever in it.
fn message(path: &str, manner: Manner) -> Vec<u8> {
    let (number, text) = match manner {
        Manner::Numbers => (u64::MAX, "99999999999.99999999999.99999999999"),
        _ => (7, POISON),
    };
    let header = Fields::default().number(1, number).number(2, number).number(3, number).number(4, number).0;
    let many = if let Manner::Crowd = manner { 20_000 } else { 3 };
    match path {
        "/etcdserverpb.Maintenance/Status" => {
            let mut status = Fields::default().bytes(1, &header).bytes(2, text.as_bytes()).bytes(11, text.as_bytes());
            for field in [3, 4, 5, 6, 7, 9] {
                status = status.number(field, number);
            }
            (0..many.min(100)).fold(status, |status, _| status.bytes(8, text.as_bytes())).0
        }
        "/etcdserverpb.Cluster/MemberList" => {
            (0..many)
                .fold(Fields::default().bytes(1, &header), |list, id| {
                    let member = Fields::default().number(1, number.wrapping_add(id)).bytes(2, text.as_bytes());
                    let member = member.bytes(3, text.as_bytes()).bytes(4, text.as_bytes());
                    list.bytes(2, &member.0)
                })
                .0
        }
        "/etcdserverpb.Maintenance/Alarm" => {
            (0..many)
                .fold(Fields::default().bytes(1, &header), |list, id| {
                    list.bytes(2, &Fields::default().number(1, id).number(2, 1 + id % 2).0)
                })
                .0
        }
        _ => Fields::default().bytes(1, &header).0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_can_lie_and_no_more() {
    use Manner::{Crowd, Endless, Garbage, Headers, Numbers, Poison, Refusal, Silence};
    let manners = [Poison, Numbers, Refusal, Endless, Crowd, Garbage, Silence, Headers];
    let cases = manners.into_iter().flat_map(|manner| LINES.iter().map(move |line| (manner, *line)));
    let ran: Vec<_> =
        futures::stream::iter(cases).map(|(manner, line)| one(manner, line)).buffer_unordered(4).collect().await;
    let wrong: Vec<&String> = ran.iter().flat_map(|(wrong, _)| wrong).collect();
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
    assert!(ran.iter().filter(|(_, shown)| *shown).count() > 3, "what the member says is shown nowhere");
}

const LINES: &[&str] = &[
    "health -i prod.yaml --timeout 1",
    "health -i prod.yaml --timeout 1 -o json",
    "status -i prod.yaml --timeout 1 -o wide",
    "status -i prod.yaml --timeout 1 -o json",
    "explain -i prod.yaml --timeout 1 -o json",
    "certs verify -i prod.yaml --timeout 1",
];

/// Runs the program against one member: what is wrong, and whether the member's words are shown.
async fn one(manner: Manner, line: &str) -> (Vec<String>, bool) {
    use Manner::{Crowd, Numbers, Poison};
    let mut wrong = Vec::new();
    // The PKI comes first, then the member that has a certificate of it, then the host that leads to it.
    let mut desk = Desk::new(&[SocketAddr::from(([127, 0, 0, 1], 1))], "", "false");
    let member = Member::start(&desk, manner).await;
    let look = format!("{RUNNING}clock {}\n", time::OffsetDateTime::now_utc().unix_timestamp());
    let attack = Attack { member: Some(member.address.port()), ..Attack::answer(move |asked| asked.good(&look, b"")) };
    let host = Hostile::start(attack).await;
    desk.leads_to(&host);
    let ended = desk.run(line).await;
    let row = format!("{manner:?}: {line}");
    wrong.extend(ended.wrong(&row));
    if ended.status == Some(0) && !line.starts_with("certs") && !matches!(manner, Numbers | Poison | Crowd) {
        wrong.push(format!("{row}: it is taken for good: {}", ended.said()));
    }
    if ended.took > Duration::from_secs(12) {
        wrong.push(format!("{row}: {:?}", ended.took));
    }
    if member.sent.load(Ordering::Relaxed) > 64 << 20 {
        wrong.push(format!("{row}: {} MiB were taken", member.sent.load(Ordering::Relaxed) >> 20));
    }
    let said = ended.said();
    for typed in said.split("\"type\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        if typed.contains("owned") {
            wrong.push(format!("{row}: to be typed: {typed}"));
        }
    }
    // The administrator's key is shown to nobody: TLS proves it.
    wrong.extend(desk.leaked(&host.got, &[]).into_iter().map(|leak| format!("{row}: {leak}")));
    (wrong, said.contains("owned"))
}
