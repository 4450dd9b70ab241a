//! A host that means harm: an SSH server that knows our framing, says whatever an attack wants, and keeps all that
//! it is sent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, MethodSet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::ssh::server::new_key;

/// What a fresh host and one whose member runs answer to a look.
pub const FRESH: &str = include_str!("../../../src/host/observe/fresh.txt");
pub const RUNNING: &str = include_str!("../../../src/host/observe/running.txt");

/// Something that the host does on a channel, in turn.
#[derive(Clone)]
pub enum Say {
    /// Bytes on stdout.
    Out(Vec<u8>),
    /// Bytes on stderr.
    Err(Vec<u8>),
    /// The same bytes for ever, as fast as they are taken, on stdout or in the stream of this number.
    Flood(Vec<u8>, u32),
    /// The same bytes for ever, with a pause between.
    Trickle(Vec<u8>, Duration),
    /// Nothing, for so long.
    Pause(Duration),
    /// An exit status, and the end of the channel.
    Exit(u32),
    /// The end of the channel, without a status.
    Close,
}

/// A command that was asked for.
pub struct Asked {
    /// The command line.
    pub command: String,
    /// The script that came on stdin, or what of it came by now.
    pub script: String,
}

impl Asked {
    /// The word that frames the answer.
    pub fn marker(&self) -> String {
        self.script.split('\'').find(|word| word.starts_with("etcd-ha-")).expect("a marker").to_owned()
    }

    /// The question that sudo is told to ask.
    pub fn prompt(&self) -> Option<String> {
        let (_, rest) = self.command.split_once(" -p ")?;
        Some(rest.trim_start_matches(['\\', '\'', '"']).split(['\'', '"', '\\']).next()?.replace("%%", "%"))
    }

    /// Whether it is the look at the host.
    pub fn is_look(&self) -> bool {
        self.script.contains("v uname ")
    }

    /// Whether its output is taken as it comes.
    pub fn is_stream(&self) -> bool {
        self.script.contains("/proc/self/stat")
            && !["echo watching", "echo taken"].iter().any(|held| self.script.contains(held))
    }

    /// A whole answer that is framed as it should be.
    pub fn answer(&self, body: &[u8], status: i64) -> Vec<Say> {
        let marker = self.marker();
        let mut out = format!("{marker}\n").into_bytes();
        if self.is_stream() {
            out.extend_from_slice(b"4242 4242 1\n");
            out.extend_from_slice(body);
            return vec![Say::Out(out), Say::Exit(u32::try_from(status).unwrap_or(255))];
        }
        if self.script.contains("echo watching") {
            out.extend_from_slice(b"watching\n");
            return vec![Say::Out(out)];
        }
        out.extend_from_slice(body);
        out.extend_from_slice(format!("\n{marker} {status}\n").as_bytes());
        vec![Say::Out(out), Say::Exit(u32::try_from(status).unwrap_or(255))]
    }

    /// The beginning of an answer, and then this.
    pub fn begun(&self, then: Say) -> Vec<Say> {
        let who = if self.is_stream() { "4242 4242 1\n" } else { "" };
        vec![Say::Out(format!("{}\n{who}", self.marker()).into_bytes()), then]
    }

    /// The same of what is taken as it comes, and watched over as it should be.
    pub fn begun_in_time(&self, then: Say) -> Vec<Say> {
        if !self.is_stream() {
            return self.answer(b"", 0);
        }
        let mut said = self.begun(then);
        // What comes before somebody listens holds up what else is on its way.
        said.insert(1, Say::Pause(Duration::from_millis(300)));
        said
    }

    /// A good answer for a host that looks like `look`, but for what is asked beside the look.
    pub fn good(&self, look: &str, body: &[u8]) -> Vec<Say> {
        if self.is_look() { self.answer(look.as_bytes(), 0) } else { self.answer(body, 0) }
    }
}

/// When a command is asked for, what it is sent, and when its script is whole.
pub type Play = Arc<dyn Fn(&Asked) -> Vec<Say> + Send + Sync>;

/// What the host does.
#[derive(Clone)]
pub struct Attack {
    /// As soon as a command is asked for.
    pub at_once: Play,
    /// Whenever anything comes for it; the script is what came by then.
    pub at_data: Play,
    /// Once the script is whole.
    pub at_script: Play,
    /// What it opens and asks of its own accord, once somebody has logged in.
    pub opens: bool,
    /// It logs nobody in before these questions are answered, again and again.
    pub questions: Option<(&'static str, Vec<&'static str>)>,
    /// Shown at log-in.
    pub banner: Option<String>,
    /// Where tunnels go; none: nowhere.
    pub member: Option<u16>,
}

impl Attack {
    /// With this answer to every script.
    pub fn answer(at_script: impl Fn(&Asked) -> Vec<Say> + Send + Sync + 'static) -> Self {
        let nothing: Play = Arc::new(|_| Vec::new());
        Self {
            at_once: nothing.clone(),
            at_data: nothing,
            at_script: Arc::new(at_script),
            opens: false,
            questions: None,
            banner: None,
            member: None,
        }
    }
}

/// What the host got.
#[derive(Default)]
pub struct Got {
    /// Every byte that reached it inside SSH.
    pub bytes: Mutex<Vec<u8>>,
    /// Passwords and answers at log-in.
    pub answers: Mutex<Vec<String>>,
    /// How many bytes it has sent.
    pub sent: AtomicU64,
    /// How many channels were opened to us that it asked for.
    pub opened: AtomicUsize,
    /// How many channels it asked for in vain.
    pub declined: AtomicUsize,
    /// What it was asked to do.
    pub commands: AtomicUsize,
}

impl Got {
    fn note(&self, bytes: &[u8]) {
        self.bytes.lock().unwrap().extend_from_slice(bytes);
    }

    /// Whether any of these bytes reached the host.
    pub fn has(&self, needle: &str) -> bool {
        let bytes = self.bytes.lock().unwrap();
        memmem(&bytes, needle.as_bytes())
    }
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    haystack.iter().enumerate().any(|(at, byte)| *byte == first && haystack[at..].starts_with(needle))
}

/// A running host; gone when dropped.
pub struct Hostile {
    pub address: SocketAddr,
    pub key: PrivateKey,
    pub got: Arc<Got>,
    _tasks: JoinSet<()>,
}

impl Hostile {
    pub async fn start(attack: Attack) -> Self {
        let key = new_key();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let methods: &[MethodKind] = match attack.questions {
            Some(_) => &[MethodKind::KeyboardInteractive, MethodKind::Password],
            None => &[MethodKind::PublicKey],
        };
        let config = Arc::new(server::Config {
            keys: vec![key.clone()],
            nodelay: true,
            methods: MethodSet::from(methods),
            auth_rejection_time: Duration::from_millis(1),
            ..server::Config::default()
        });
        let got = Arc::new(Got::default());
        let mut tasks = JoinSet::new();
        let noted = got.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let handler = Handler {
                    attack: attack.clone(),
                    got: noted.clone(),
                    channels: HashMap::new(),
                    tasks: JoinSet::new(),
                };
                let config = config.clone();
                connections.spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, handler).await {
                        let _ = session.await;
                    }
                });
            }
        });
        Self { address, key, got, _tasks: tasks }
    }

    /// The line of a known_hosts file.
    pub fn known(&self) -> String {
        let key = self.key.public_key().to_openssh().unwrap();
        format!("[127.0.0.1]:{} {key}\n", self.address.port())
    }
}

struct Handler {
    attack: Attack,
    got: Arc<Got>,
    channels: HashMap<ChannelId, Channel<Msg>>,
    tasks: JoinSet<()>,
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok(self.attack.banner.clone())
    }

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        self.got.answers.lock().unwrap().push(password.to_owned());
        Ok(Auth::reject())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        answers: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some((name, questions)) = &self.attack.questions else { return Ok(Auth::reject()) };
        for answer in answers.into_iter().flatten() {
            self.got.answers.lock().unwrap().push(String::from_utf8_lossy(&answer).into_owned());
        }
        let prompts = questions.iter().map(|text| ((*text).into(), false)).collect::<Vec<_>>().into();
        Ok(Auth::Partial { name: (*name).into(), instructions: "".into(), prompts })
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        if self.attack.opens {
            let (handle, got) = (session.handle(), self.got.clone());
            self.tasks.spawn(async move {
                for round in 0..200u32 {
                    let opened = [
                        handle.channel_open_agent().await.is_ok(),
                        handle.channel_open_x11("127.0.0.1", round).await.is_ok(),
                        handle.channel_open_session().await.is_ok(),
                        handle.channel_open_forwarded_tcpip("127.0.0.1", 22, "127.0.0.1", round).await.is_ok(),
                        handle.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", round).await.is_ok(),
                        handle.channel_open_forwarded_streamlocal("/var/run/docker.sock").await.is_ok(),
                        handle.channel_open_direct_streamlocal("/var/run/docker.sock").await.is_ok(),
                    ];
                    let opened = opened.iter().filter(|opened| **opened).count();
                    got.opened.fetch_add(opened, Ordering::SeqCst);
                    got.declined.fetch_add(7 - opened, Ordering::SeqCst);
                }
            });
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(port) = self.attack.member else {
            reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        reply.accept().await;
        self.tasks.spawn(async move {
            let mut channel = channel.into_stream();
            let _ = tokio::io::copy_bidirectional(&mut channel, &mut stream).await;
        });
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        self.got.note(command);
        self.got.commands.fetch_add(1, Ordering::SeqCst);
        let Some(channel) = self.channels.remove(&id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let command = String::from_utf8_lossy(command).into_owned();
        let (reader, writer) = channel.split();
        self.tasks.spawn(run(reader, writer, command, self.attack.clone(), self.got.clone()));
        Ok(())
    }
}

/// Listens to one command, and does what the attack says.
async fn run(
    mut reader: ChannelReadHalf,
    writer: ChannelWriteHalf<Msg>,
    command: String,
    attack: Attack,
    got: Arc<Got>,
) {
    let length: usize = command
        .split_once("head -c ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .unwrap_or_default();
    let (queue, queued) = tokio::sync::mpsc::unbounded_channel();
    let mut speaking = JoinSet::new();
    speaking.spawn(speak(writer, queued, got.clone()));
    let mut asked = Asked { command, script: String::new() };
    let mut heard = Vec::new();
    let mut whole = false;
    let say = |play: &Play, asked: &Asked| play(asked).into_iter().for_each(|said| drop(queue.send(said)));
    say(&attack.at_once, &asked);
    loop {
        match reader.wait().await {
            Some(ChannelMsg::Data { data }) => {
                got.note(&data);
                if heard.len() < 1 << 20 {
                    heard.extend_from_slice(&data);
                }
                if whole {
                    continue;
                }
                // A password may come before the script.
                let begin = heard.windows(5).position(|window| window == b"LC_AL").unwrap_or(heard.len());
                whole = heard.len() >= begin + length && length > 0;
                asked.script = String::from_utf8_lossy(&heard).into_owned();
                if whole {
                    say(&attack.at_script, &asked);
                } else {
                    say(&attack.at_data, &asked);
                }
            }
            Some(ChannelMsg::Close) | None => return,
            Some(_) => {}
        }
    }
}

async fn speak(writer: ChannelWriteHalf<Msg>, mut queued: tokio::sync::mpsc::UnboundedReceiver<Say>, got: Arc<Got>) {
    while let Some(said) = queued.recv().await {
        match said {
            Say::Out(bytes) => drop(writer.data_bytes(bytes).await),
            Say::Err(bytes) => drop(writer.extended_data_bytes(1, bytes).await),
            Say::Flood(bytes, stream) => {
                let (length, bytes) = (bytes.len() as u64, bytes::Bytes::from(bytes));
                loop {
                    let sent = match stream {
                        0 => writer.data_bytes(bytes.clone()).await,
                        stream => writer.extended_data_bytes(stream, bytes.clone()).await,
                    };
                    if sent.is_err() {
                        return;
                    }
                    got.sent.fetch_add(length, Ordering::Relaxed);
                }
            }
            Say::Trickle(bytes, pause) => {
                while writer.data_bytes(bytes.clone()).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
                return;
            }
            Say::Pause(pause) => tokio::time::sleep(pause).await,
            Say::Exit(status) => {
                let _ = writer.exit_status(status).await;
                let _ = writer.eof().await;
                let _ = writer.close().await;
            }
            Say::Close => drop(writer.close().await),
        }
    }
}

/// A port that speaks no SSH, or no more than the beginning of it.
pub struct Port {
    pub address: SocketAddr,
    pub sent: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Port {
    /// Says `first`, and then `again` for ever; nothing more if that is empty.
    pub async fn start(first: &'static [u8], again: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut tasks, sent) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        let (again, count) = (Arc::new(again), sent.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (again, count) = (again.clone(), count.clone());
                connections.spawn(async move {
                    let (mut reader, mut writer) = stream.into_split();
                    let listen = async { while matches!(reader.read(&mut [0; 4096]).await, Ok(1..)) {} };
                    let talk = async {
                        let mut sent = writer.write_all(first).await;
                        while sent.is_ok() && !again.is_empty() {
                            sent = writer.write_all(&again).await;
                            count.fetch_add(again.len() as u64, Ordering::Relaxed);
                        }
                    };
                    tokio::join!(listen, talk);
                });
            }
        });
        Self { address, sent, _tasks: tasks }
    }
}
