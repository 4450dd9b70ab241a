//! An SSH server on loopback that behaves as well, or as badly, as a test wants.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey, key::safe_rng};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, Preferred, Sig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::door::{Door, Heard, Progress};

/// How the server behaves; the default is well.
#[derive(Default)]
pub struct Behaviour {
    /// Connections to close before a word of SSH, after saying this.
    pub turn_away: (usize, &'static str),
    /// Says this before its SSH banner.
    pub noise: &'static str,
    /// Shows this at log-in.
    pub banner: Option<&'static str>,
    /// Who may log in.
    pub door: Door,
    /// Refusals after which a client is cut off.
    pub max_auth_tries: Option<usize>,
    /// Sessions to refuse at first.
    pub refuse_sessions: usize,
    /// Sessions at once; more are refused. 0: any number.
    pub max_sessions: usize,
    /// Refuses every tunnel, as `AllowTcpForwarding no` does.
    pub no_tunnels: bool,
    /// Where tunnels go whose goal is this address: to a port of this machine.
    pub neighbours: HashMap<String, u16>,
    /// How much a client may send ahead; none: as much as OpenSSH allows.
    pub window: Option<u32>,
    /// Host keys; none: a fresh Ed25519 key.
    pub host_keys: Vec<PrivateKey>,
    /// Certificates of its host keys.
    pub certificates: Vec<Certificate>,
    /// Algorithms; none: the library's.
    pub algorithms: Option<Preferred>,
}

impl Behaviour {
    /// A server that lets these keys in, and nobody else.
    pub fn opened_by(keys: Vec<PublicKey>) -> Self {
        Self { door: Door { authorized: Some(keys), ..Door::default() }, ..Self::default() }
    }
}

/// What the server saw.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub most_sessions: AtomicUsize,
    pub refused_sessions: AtomicUsize,
    pub signals: Mutex<Vec<String>>,
    pub commands: Mutex<Vec<String>>,
    pub client_ids: Mutex<Vec<String>>,
    pub secrets: Heard,
}

/// A running server; ended, with all its connections, when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub host_keys: Vec<PublicKey>,
    pub seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

struct Shared {
    behaviour: Behaviour,
    to_turn_away: AtomicUsize,
    to_refuse: AtomicUsize,
    open: AtomicUsize,
    seen: Arc<Seen>,
}

impl Server {
    pub async fn start(mut behaviour: Behaviour) -> Self {
        if behaviour.host_keys.is_empty() {
            behaviour.host_keys.push(new_key());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host_keys = behaviour.host_keys.iter().map(|key| key.public_key().clone()).collect();
        let config = Arc::new(server::Config {
            keys: behaviour.host_keys.clone(),
            certificates: behaviour.certificates.clone(),
            preferred: behaviour.algorithms.clone().unwrap_or_default(),
            auth_rejection_time: Duration::from_millis(5),
            methods: behaviour.door.methods(),
            max_auth_attempts: behaviour.max_auth_tries.unwrap_or(6),
            window_size: behaviour.window.unwrap_or(2 << 20),
            nodelay: true,
            ..server::Config::default()
        });
        let seen = Arc::new(Seen::default());
        let shared = Arc::new(Shared {
            to_turn_away: AtomicUsize::new(behaviour.turn_away.0),
            to_refuse: AtomicUsize::new(behaviour.refuse_sessions),
            open: AtomicUsize::new(0),
            seen: Arc::clone(&seen),
            behaviour,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&config), Arc::clone(&shared)));
            }
        });
        Self { address, host_keys, seen, _tasks: tasks }
    }

    /// The line of a known_hosts file for its first key.
    pub fn known_hosts_line(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.address.port(), self.host_keys[0].to_openssh().unwrap())
    }

    pub fn fingerprint(&self) -> String {
        self.host_keys[0].fingerprint(HashAlg::Sha256).to_string()
    }
}

pub fn new_key() -> PrivateKey {
    PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()
}

/// One less, unless it is zero already.
fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

async fn serve(mut stream: TcpStream, config: Arc<server::Config>, shared: Arc<Shared>) {
    shared.seen.connections.fetch_add(1, Ordering::SeqCst);
    if take_one(&shared.to_turn_away) {
        let _ = stream.write_all(shared.behaviour.turn_away.1.as_bytes()).await;
        return;
    }
    stream.set_nodelay(true).unwrap();
    stream.write_all(shared.behaviour.noise.as_bytes()).await.unwrap();
    let handler =
        Connection { shared, progress: Progress::default(), channels: HashMap::new(), commands: JoinSet::new() };
    if let Ok(session) = server::run_stream(config, stream, handler).await {
        let _ = session.await;
    }
}

struct Connection {
    shared: Arc<Shared>,
    progress: Progress,
    channels: HashMap<ChannelId, Channel<Msg>>,
    commands: JoinSet<()>,
}

/// A session that counts as open until it is dropped.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl server::Handler for Connection {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok(self.shared.behaviour.banner.map(str::to_owned))
    }

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: server::PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.shared.behaviour.door.offered(offer.public_key, &self.progress))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.shared.behaviour.door.key(key.public_key, &mut self.progress))
    }

    async fn auth_openssh_certificate(&mut self, _: &str, certificate: &Certificate) -> Result<Auth, russh::Error> {
        Ok(self.shared.behaviour.door.certificate(certificate, &mut self.progress))
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(self.shared.behaviour.door.password(password, &self.shared.seen.secrets, &mut self.progress))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        answers: Option<server::Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.shared.behaviour.door.answers(answers, &self.shared.seen.secrets, &mut self.progress))
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        let id = String::from_utf8_lossy(session.remote_sshid()).into_owned();
        self.shared.seen.client_ids.lock().unwrap().push(id);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let open = self.shared.open.load(Ordering::SeqCst) + self.channels.len();
        let full = self.shared.behaviour.max_sessions;
        if take_one(&self.shared.to_refuse) || (full > 0 && open >= full) {
            self.shared.seen.refused_sessions.fetch_add(1, Ordering::SeqCst);
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        self.shared.seen.most_sessions.fetch_max(open + 1, Ordering::SeqCst);
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.shared.behaviour.no_tunnels {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        let goal = match self.shared.behaviour.neighbours.get(host) {
            Some(port) => ("127.0.0.1", *port),
            None => (host, u16::try_from(port).unwrap()),
        };
        match TcpStream::connect(goal).await {
            Ok(mut stream) => {
                reply.accept().await;
                self.commands.spawn(async move {
                    let _ = copy_bidirectional(&mut channel.into_stream(), &mut stream).await;
                });
            }
            Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let command = String::from_utf8_lossy(command).into_owned();
        self.shared.seen.commands.lock().unwrap().push(command.clone());
        let Some(channel) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        if command == "test: refuse" {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(Arc::clone(&self.shared));
        let handle = session.handle();
        self.commands.spawn(async move {
            run(channel, handle, id, &command).await;
            drop(counted);
        });
        Ok(())
    }

    async fn signal(&mut self, _: ChannelId, signal: Sig, _: &mut Session) -> Result<(), russh::Error> {
        self.shared.seen.signals.lock().unwrap().push(format!("{signal:?}"));
        Ok(())
    }
}

/// Runs a command by `sh -c`, or misbehaves as a command that begins with `test:` says.
async fn run(mut channel: Channel<Msg>, handle: server::Handle, id: ChannelId, command: &str) {
    match command {
        "test: no status" => {
            let _ = channel.data_bytes(&b"half a sentence"[..]).await;
        }
        "test: signal" => {
            let _ = channel.extended_data_bytes(1, &b"oh"[..]).await;
            let _ = handle.exit_signal_request(id, Sig::KILL, false, String::new(), String::new()).await;
        }
        "test: silence" => while channel.wait().await.is_some() {},
        "test: trickle" => {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(150)).await;
                let _ = channel.data_bytes(&b"."[..]).await;
            }
            let _ = channel.exit_status(0).await;
        }
        "test: flood" => while channel.data_bytes(vec![b'y'; 32 << 10]).await.is_ok() {},
        // No window is given back after this, just as OpenSSH does it.
        "test: exit without reading" => {
            let _ = channel.exit_status(3).await;
        }
        _ => return run_shell(channel, command).await,
    }
    let _ = channel.eof().await;
    let _ = channel.close().await;
}

async fn run_shell(channel: Channel<Msg>, command: &str) {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut reader, writer) = channel.split();
    // Without bounds: the library stands still while a channel is not read.
    let (queue, mut queued) = tokio::sync::mpsc::unbounded_channel::<bytes::Bytes>();
    let mut input = JoinSet::new();
    input.spawn(async move {
        while let Some(data) = queued.recv().await {
            let Ok(()) = stdin.write_all(&data).await else {
                return;
            };
        }
    });
    let (mut out, mut err) = (vec![0; 32 << 10], vec![0; 32 << 10]);
    let output = async {
        while let n @ 1.. = stdout.read(&mut out).await.unwrap() {
            let Ok(()) = writer.data_bytes(out[..n].to_vec()).await else {
                return;
            };
        }
    };
    let errors = async {
        while let n @ 1.. = stderr.read(&mut err).await.unwrap() {
            let Ok(()) = writer.extended_data_bytes(1, err[..n].to_vec()).await else {
                return;
            };
        }
    };
    let closed = async {
        let mut queue = Some(queue);
        loop {
            match reader.wait().await {
                Some(ChannelMsg::Data { data }) => drop(queue.as_ref().map(|queue| queue.send(data))),
                Some(ChannelMsg::Eof) => queue = None,
                Some(ChannelMsg::Close) | None => return,
                Some(_) => {}
            }
        }
    };
    tokio::select! {
        () = closed => return,
        _ = async { tokio::join!(output, errors) } => {}
    }
    let status = child.wait().await.unwrap();
    let _ = writer.exit_status(u32::try_from(status.code().unwrap_or(255)).unwrap()).await;
    let _ = writer.eof().await;
    let _ = writer.close().await;
}

/// A way to the server that can be cut.
pub struct Line {
    pub address: SocketAddr,
    frozen: tokio::sync::watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Line {
    pub async fn to(server: SocketAddr) -> Self {
        // Little fits into it, so that whoever writes into a frozen line is soon stuck.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let frozen = tokio::sync::watch::Sender::new(false);
        let watching = frozen.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut watching = watching.clone();
                lines.spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    near.set_nodelay(true).unwrap();
                    far.set_nodelay(true).unwrap();
                    let frozen = async { drop(watching.wait_for(|frozen| *frozen).await) };
                    let frozen = tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => false,
                        () = frozen => true,
                    };
                    // Nothing goes through any more, and nobody is told.
                    if frozen {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { address, frozen, tasks }
    }

    /// Lets nothing through any more, as a cut cable.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Closes every connection at once.
    pub fn cut(&mut self) {
        self.tasks.abort_all();
    }
}
