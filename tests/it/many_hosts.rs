//! A thousand hosts, each an SSH server on an address of its own, looked at by one run of the program.
//!
//! The servers live in this process and answer the look from a recording, so that what is measured is the
//! program: its time, memory and descriptors are printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, key::safe_rng};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

/// What a fresh Debian 12 answers; the same that the reader of answers is tested with.
const FRESH: &str = include_str!("../../src/host/observe/fresh.txt");

/// A look at every host and nothing else: a whole plan would ask how each of them reaches each other.
const LOOK: &str = "name: look\nplays:\n  - name: Look at every host\n    tasks: [preflight]\n";

/// The goals for a thousand hosts on two cores that have nothing else to do. The hosts
/// take half of that; where there is more to do, it is the time on a processor that tells.
const TIME: Duration = Duration::from_secs(20);
const MEMORY: u64 = 256 << 20;

/// How many hosts are in hand: connected, and the look at them not answered yet.
#[derive(Default)]
struct Hands {
    now: AtomicUsize,
    most: AtomicUsize,
    looks: AtomicUsize,
}

/// One in hand; not any more when dropped.
struct InHand(Arc<Hands>);

impl InHand {
    fn new(hands: &Arc<Hands>) -> Self {
        let now = hands.now.fetch_add(1, Ordering::SeqCst) + 1;
        hands.most.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(hands))
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Hosts that answer a look, on addresses of their own.
struct Hosts {
    folder: TempDir,
    hands: Arc<Hands>,
    _tasks: JoinSet<()>,
}

impl Hosts {
    /// Starts `count` hosts, and writes down what it takes to reach them. An answer takes `pause`.
    async fn start(count: usize, pause: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host_key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let public = host_key.public_key().to_openssh().unwrap();
        let config = Arc::new(server::Config { keys: vec![host_key], nodelay: true, ..server::Config::default() });
        let hands = Arc::new(Hands::default());
        let mut tasks = JoinSet::new();
        let mut inventory =
            String::from("cluster: many\nssh: { identity: ./id, known_hosts: ./known_hosts }\nhosts:\n");
        let mut known = String::new();
        for number in 0..count {
            let [.., high, low] = u32::try_from(number + 1).unwrap().to_be_bytes();
            let address = Ipv4Addr::new(127, 77, high, low);
            let listener = TcpListener::bind(SocketAddr::from((address, 0))).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let _ = writeln!(
                inventory,
                "  - {{ name: node{number:04}, address: 10.77.{high}.{low}, ssh: {{ address: {address}, port: {port} }} }}"
            );
            let _ = writeln!(known, "[{address}]:{port} {public}");
            // No two hosts are the same machine.
            let machine = FRESH.lines().map(|line| match line.split_once(' ') {
                Some((id @ ("machine-id" | "boot-id"), _)) => format!("{id} {number:032x}\n"),
                _ => format!("{line}\n"),
            });
            let answer: Arc<str> = machine.collect::<String>().into();
            let (config, hands) = (Arc::clone(&config), Arc::clone(&hands));
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).unwrap();
                    let handler = Host {
                        in_hand: Some(InHand::new(&hands)),
                        answer: Arc::clone(&answer),
                        pause,
                        scripts: HashMap::new(),
                    };
                    let config = Arc::clone(&config);
                    connections.spawn(async move {
                        if let Ok(session) = server::run_stream(config, stream, handler).await {
                            let _ = session.await;
                        }
                    });
                }
            });
        }
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        let identity = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        write("id", &identity.to_openssh(LineEnding::LF).unwrap());
        write("known_hosts", &known);
        write("many.yaml", &inventory);
        write("look.yaml", LOOK);
        Self { folder, hands, _tasks: tasks }
    }

    /// Looks at all of them with the program, in a shell that was told `limit` before.
    async fn look(&self, limit: &str, flags: &str) -> Figures {
        let program = env!("CARGO_BIN_EXE_etcd-ha");
        let line = format!("{limit} && exec '{program}' plan -i many.yaml --playbook look.yaml --plain {flags}");
        let begun = Instant::now();
        let child = Command::new("sh")
            .args(["-c", &line])
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let process = Path::new("/proc").join(child.id().unwrap().to_string());
        let watching = tokio::task::spawn_blocking(move || watch(&process));
        let output = child.wait_with_output().await.unwrap();
        let took = begun.elapsed();
        let (memory, descriptors, processor) = watching.await.unwrap();
        Figures {
            took,
            processor,
            memory,
            descriptors,
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// What a run took, and how it ended.
struct Figures {
    took: Duration,
    processor: Duration,
    memory: u64,
    descriptors: usize,
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// The most memory and the most descriptors that a process had until it ends, and its time on a processor.
fn watch(process: &Path) -> (u64, usize, Duration) {
    let (mut memory, mut descriptors, mut processor) = (0, 0, Duration::ZERO);
    while let Ok(status) = fs::read_to_string(process.join("status")) {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        // Without the line it has ended, and waits to be told so.
        let Some(kib) = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()) else { break };
        memory = memory.max(kib << 10);
        // The 14th and 15th field, in hundredths of a second; the second ends with the last bracket.
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        processor = processor.max(Duration::from_millis(10 * ticks));
        descriptors = descriptors.max(fs::read_dir(process.join("fd")).map_or(0, Iterator::count));
        std::thread::sleep(Duration::from_millis(20));
    }
    (memory, descriptors, processor)
}

/// A host, as one connection meets it.
struct Host {
    in_hand: Option<InHand>,
    answer: Arc<str>,
    pause: Duration,
    /// What is still to come of the script on a channel.
    scripts: HashMap<ChannelId, (usize, Vec<u8>)>,
}

impl server::Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        // `sh -c 'eval "$(head -c N)"'`
        let command = String::from_utf8_lossy(command);
        let length = command.split_once("head -c ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
        let Some(length) = length else { return session.channel_failure(id) };
        self.scripts.insert(id, (length, Vec::new()));
        session.channel_success(id)
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let Some((length, script)) = self.scripts.get_mut(&id) else { return Ok(()) };
        script.extend_from_slice(data);
        if script.len() < *length {
            return Ok(());
        }
        let text = String::from_utf8_lossy(script);
        let marker = text.split('\'').find(|word| word.starts_with("etcd-ha-")).expect("a marker").to_owned();
        self.scripts.remove(&id);
        tokio::time::sleep(self.pause).await;
        if let Some(InHand(hands)) = self.in_hand.take().as_ref() {
            hands.looks.fetch_add(1, Ordering::SeqCst);
        }
        // The last word counts.
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        session.data(id, format!("{marker}\n{}clock {clock}\n\n{marker} 0\n", self.answer))?;
        session.exit_status_request(id, 0)?;
        session.eof(id)?;
        session.close(id)
    }
}

/// Room for `count` servers and their connections in this process, and for the program's; says so if there is none.
fn room(count: u64) -> bool {
    let needed = 2 * count + 200;
    let raised = rlimit::increase_nofile_limit(needed.max(8192));
    let enough = raised.is_ok_and(|limit| limit >= needed);
    if !enough {
        eprintln!("left out: {needed} file descriptors are not to be had here");
    }
    enough
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_hosts_are_looked_at() {
    const COUNT: usize = 1000;
    if !room(COUNT as u64) {
        return;
    }
    let hosts = Hosts::start(COUNT, Duration::ZERO).await;
    let figures = hosts.look("ulimit -S -n 1024", "").await;
    let Figures { took, processor, memory, descriptors, status, stdout, stderr } = figures;
    eprintln!(
        "{COUNT} hosts looked at: {:.1} s ({:.1} s of a processor), {} MiB and {descriptors} descriptors at most, {} at once",
        took.as_secs_f64(),
        processor.as_secs_f64(),
        memory >> 20,
        hosts.hands.most.load(Ordering::SeqCst)
    );
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    assert!(stderr.contains("cluster many: no changes"), "{stderr}");
    assert_eq!(hosts.hands.looks.load(Ordering::SeqCst), COUNT);
    assert!(processor < TIME / 2, "{processor:?}");
    assert!(took < 3 * TIME, "{took:?}");
    assert!(memory < MEMORY, "{memory}");
}

/// `--forks` bounds the hosts in hand from the moment that they are connected to, not only their tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_hosts_than_forks_are_in_hand() {
    const COUNT: usize = 24;
    if !room(COUNT as u64) {
        return;
    }
    for (flags, most) in [("--forks 3", 3), ("--forks 1", 1), ("", 24)] {
        let hosts = Hosts::start(COUNT, Duration::from_millis(30)).await;
        let figures = hosts.look("ulimit -S -n 1024", flags).await;
        assert_eq!(figures.status, Some(0), "{}{}", figures.stdout, figures.stderr);
        assert_eq!(hosts.hands.looks.load(Ordering::SeqCst), COUNT);
        let at_once = hosts.hands.most.load(Ordering::SeqCst);
        // How many of those that may be in hand are so at one moment is a matter of how busy the machine is.
        assert!(at_once <= most && at_once > most / 3, "{flags}: {at_once}");
    }
}

/// What cannot be done with the descriptors that there are is said before anything is connected to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_descriptors_are_told_of_up_front() {
    let hosts = Hosts::start(100, Duration::ZERO).await;
    let figures = hosts.look("ulimit -n 120", "").await;
    let said = "a run on 100 hosts takes 164 open files, and this process may have 120";
    assert_eq!(figures.status, Some(2), "{}{}", figures.stdout, figures.stderr);
    assert!(figures.stderr.contains(said), "{}", figures.stderr);
    assert_eq!(hosts.hands.most.load(Ordering::SeqCst), 0);
    // A soft limit is no limit.
    let figures = hosts.look("ulimit -S -n 64", "").await;
    assert_eq!(figures.status, Some(0), "{}{}", figures.stdout, figures.stderr);
}
