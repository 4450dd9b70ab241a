//! A web server on the loopback that misbehaves as it is told.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// `Range: bytes=N-`
    pub fn from(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// What it is answered.
#[derive(Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Hang up after so many bytes of the body.
    pub cut: Option<usize>,
    /// Fall silent after so many bytes of the body.
    pub stall: Option<usize>,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// The whole file, whatever range is asked for.
    pub fn whole(body: &[u8]) -> Self {
        Self { status: 200, body: body.to_vec(), ..Self::default() }
    }

    /// The file or the range of it that is asked for.
    pub fn file(request: &Request, body: &[u8]) -> Self {
        let Some(from) = request.from() else {
            return Self::whole(body);
        };
        let total = body.len();
        if from >= total {
            return Self { headers: vec![("content-range", format!("bytes */{total}"))], ..Self::status(416) };
        }
        Self {
            headers: vec![("content-range", format!("bytes {from}-{}/{total}", total - 1))],
            body: body[from..].to_vec(),
            ..Self::status(206)
        }
    }

    pub fn redirect(to: String) -> Self {
        Self { headers: vec![("location", to)], ..Self::status(302) }
    }

    pub fn cut(mut self, at: usize) -> Self {
        self.cut = Some(at);
        self
    }

    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// Serves until it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    log: Mutex<Vec<Request>>,
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            log: Mutex::default(),
            sent: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    // A client that hangs up is part of the game.
                    thread::spawn(move || stream.and_then(|stream| serve(stream, &shared)));
                }
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Serves these files, with ranges.
    pub fn of(files: Vec<(String, Vec<u8>)>) -> Self {
        Self::start(move |request| {
            let file = files.iter().find(|(path, _)| *path == request.target);
            file.map_or_else(|| Answer::status(404), |(_, body)| Answer::file(request, body))
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn log(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }

    pub fn targets(&self) -> Vec<String> {
        self.log().into_iter().map(|r| r.target).collect()
    }

    /// Bytes of bodies sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let request = Request { method, target, headers };
    let answer = (shared.handler)(&request);
    shared.log.lock().unwrap().push(request);

    let mut stream = reader.into_inner();
    let mut head = format!("HTTP/1.1 {} Whatever\r\nconnection: close\r\n", answer.status);
    if !answer.headers.iter().any(|(name, _)| *name == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let stop = answer.cut.or(answer.stall).unwrap_or(usize::MAX);
    for piece in answer.body[..answer.body.len().min(stop)].chunks(16 * 1024) {
        stream.write_all(piece)?;
        shared.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
    }
    if answer.stall.is_some() {
        // Until the client loses its patience.
        let _ = stream.read(&mut [0]);
    }
    Ok(())
}
