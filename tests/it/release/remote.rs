//! Archives from a web server that is slow, forgetful, wrong or gone.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use etcd_ha::error::Explain as _;
use etcd_ha::release::{Arch, Proxies};

use super::fake::{Archive, files, sha256};
use super::server::{Answer, Request, Server};
use super::{Desk, NAME, VERSION, assert_whole, exit, said, url, url_with};

const TEMPLATE: &str = "/v{version}/etcd-v{version}-linux-{arch}.tar.gz";
const TARGET: &str = "/v3.5.16/etcd-v3.5.16-linux-amd64.tar.gz";
const SUMS: &str = "/v3.5.16/SHA256SUMS";

fn release() -> Vec<u8> {
    Archive::release(VERSION, Arch::Amd64).pack()
}

fn sums(content: &[u8]) -> Vec<u8> {
    format!("{}  other.tar.gz\n{}  {NAME}\n", sha256(b"other"), sha256(content)).into_bytes()
}

fn mirror(content: &[u8]) -> Server {
    Server::of(vec![(TARGET.to_owned(), content.to_vec()), (SUMS.to_owned(), sums(content))])
}

/// Serves the digests as they are, and the archive as `answer` wants it; the count starts at 0.
fn moody(content: &[u8], answer: impl Fn(&Request, &[u8], usize) -> Answer + Send + Sync + 'static) -> Server {
    let content = content.to_vec();
    let count = AtomicUsize::new(0);
    Server::start(move |request| match request.target.as_str() {
        SUMS => Answer::whole(&sums(&content)),
        TARGET => answer(request, &content, count.fetch_add(1, Ordering::SeqCst)),
        _ => Answer::status(404),
    })
}

#[test]
fn fetched_once_and_never_asked_for_again() {
    let content = release();
    let desk = Desk::new();
    let server = mirror(&content);
    let source = url(server.url(TEMPLATE));
    let archive = desk.obtain(&source).unwrap();
    assert_whole(&archive, &content);
    assert_eq!(server.targets(), [SUMS, TARGET]);
    assert_eq!(archive.path, desk.cache().join("releases").join(sha256(&content)).join(NAME));

    let told = desk.told();
    let download: Vec<_> = told.iter().filter(|(m, ..)| m.starts_with("downloading")).collect();
    let size = content.len() as u64;
    assert!(download.is_sorted_by_key(|(_, done, _)| *done));
    assert!(download.iter().all(|(_, _, total)| *total == Some(size)));
    assert_eq!(download.last().unwrap().1, size);

    assert_eq!(desk.obtain(&source).unwrap(), archive);
    assert_eq!(desk.told(), [], "nothing to do");
    assert_eq!(server.targets().len(), 2);
    drop(server);
    assert_eq!(desk.obtain(&source).unwrap(), archive);

    // Nor does it wait for a run that has something to do.
    let lock = format!("partial/{}.lock", archive.sha256);
    let lock = fs::File::open(desk.cache().join(lock)).unwrap();
    lock.lock().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            lock.unlock().unwrap();
        });
        assert_eq!(desk.obtain(&source).unwrap(), archive);
    });
    assert_eq!(desk.told(), []);
}

#[test]
fn with_a_digest_in_the_inventory_the_published_one_is_not_asked_for() {
    let content = release();
    let desk = Desk::new();
    let server = Server::of(vec![("/e.tgz".to_owned(), content.clone())]);
    let source = url_with(server.url("/e.tgz"), &sha256(&content).to_uppercase());
    assert_whole(&desk.obtain(&source).unwrap(), &content);
    assert_eq!(server.targets(), ["/e.tgz"]);

    // The same archive by another way: what is there already is not fetched, whatever the URL.
    let other = mirror(&content);
    assert_whole(&desk.obtain(&url(other.url(TEMPLATE))).unwrap(), &content);
    assert_eq!(other.targets(), [SUMS]);
}

#[test]
fn a_renamed_archive_is_found_in_the_digests_by_its_official_name() {
    let content = release();
    let desk = Desk::new();
    let crlf = format!("{} *{NAME}\r\n", sha256(&content)).into_bytes();
    let server =
        Server::of(vec![("/e.tgz?token=t".to_owned(), content.clone()), ("/SHA256SUMS?token=t".to_owned(), crlf)]);
    assert_whole(&desk.obtain(&url(server.url("/e.tgz?token=t"))).unwrap(), &content);
}

#[test]
fn a_broken_download_goes_on_in_the_next_run_with_the_rest_only() {
    let content = release();
    let half = content.len() / 2;
    let desk = Desk::impatient();
    let server = moody(&content, move |request, content, count| {
        let answer = Answer::file(request, content);
        if count == 0 { answer.cut(half) } else { answer }
    });
    let source = url(server.url(TEMPLATE));
    let error = desk.obtain(&source).unwrap_err();
    assert_eq!(exit(&error), "Failed");
    assert!(error.hint().unwrap().contains("--release"));
    assert!(said(error).contains(&format!("failed to fetch `{}`", server.url(TARGET))));
    let part = format!("partial/{}.part", sha256(&content));
    assert_eq!(files(&desk.cache()), [part.as_str()]);

    let before = server.sent();
    assert_whole(&desk.obtain(&source).unwrap(), &content);
    let rest = content.len() - half + sums(&content).len();
    assert_eq!(server.sent() - before, rest as u64);
    let range = format!("bytes={half}-");
    assert_eq!(server.log().last().unwrap().header("range"), Some(range.as_str()));
    assert_eq!(desk.told().iter().find(|t| t.0.starts_with("downloading")).unwrap().1, half as u64);
    assert!(files(&desk.cache().join("partial")).is_empty());
}

#[test]
fn a_flaky_server_is_asked_again_in_the_same_run() {
    let content = release();
    for (name, server) in [
        (
            "cut thrice",
            moody(&content, |request, content, count| {
                let answer = Answer::file(request, content);
                if count < 3 { answer.cut(100_000) } else { answer }
            }),
        ),
        (
            "out of service at first",
            moody(&content, |request, content, count| match count {
                0 => Answer::status(503),
                1 => Answer::status(500),
                _ => Answer::file(request, content),
            }),
        ),
        (
            "ranges are unknown to it",
            moody(&content, |_, content, count| {
                let answer = Answer::whole(content);
                if count == 0 { answer.cut(100_000) } else { answer }
            }),
        ),
        (
            "answers another range, twice",
            moody(&content, |request, content, count| match count {
                0 | 2 => Answer::whole(content).cut(100_000),
                1 | 3 => Answer { status: 206, ..Answer::whole(b"other") }.header("content-range", "bytes 5-9/10"),
                _ => Answer::file(request, content),
            }),
        ),
    ] {
        let desk = Desk::new();
        let archive = desk.obtain(&url(server.url(TEMPLATE)));
        assert_whole(&archive.unwrap_or_else(|error| panic!("{name}: {error}")), &content);
    }
}

#[test]
fn a_partial_file_that_does_not_fit_is_fetched_anew() {
    let content = release();
    let mut longer = content.clone();
    longer.extend(b"more");
    for (part, requests) in [
        // Noise, too much, and all of it already.
        (vec![7; 50_000], 2),
        (longer, 2),
        (content.clone(), 0),
    ] {
        let desk = Desk::new();
        let server = mirror(&content);
        fs::create_dir_all(desk.cache().join("partial")).unwrap();
        let path = desk.cache().join(format!("partial/{}.part", sha256(&content)));
        fs::write(path, &part).unwrap();
        assert_whole(&desk.obtain(&url(server.url(TEMPLATE))).unwrap(), &content);
        assert_eq!(server.targets().iter().filter(|t| *t == TARGET).count(), requests);
    }
}

#[test]
fn what_is_not_the_promised_archive_is_refused_and_not_kept() {
    let content = release();
    let cut = &content[..100_000];
    let wrong = Archive::release("3.5.30", Arch::Amd64).pack();
    for (served, promised, verdict) in [
        (&wrong[..], sha256(&content), "but `http://ADDRESS/v3.5.16/SHA256SUMS` says"),
        (cut, sha256(&content), "is cut short"),
        // Published like that: the digest is right, the archive is not.
        (cut, sha256(cut), "is cut short"),
        (&wrong, sha256(&wrong), "holds `etcd-v3.5.30-linux-amd64` instead of"),
    ] {
        let desk = Desk::new();
        let sums = format!("{promised}  {NAME}\n").into_bytes();
        let server = Server::of(vec![(TARGET.to_owned(), served.to_vec()), (SUMS.to_owned(), sums)]);
        let error = desk.obtain(&url(server.url(TEMPLATE))).unwrap_err();
        assert_eq!(exit(&error), "Usage");
        assert_eq!(server.targets(), [SUMS, TARGET], "asked once");
        let said = said(error);
        let verdict = verdict.replace("ADDRESS", &server.address().to_string());
        assert!(said.contains(&verdict), "{said}");
        assert!(said.contains(&server.url(TARGET)), "{said}");
        assert_eq!(files(&desk.cache()), [""; 0], "{said}");
    }
    let desk = Desk::new();
    let server = mirror(&content);
    let error = desk.obtain(&url_with(server.url(TEMPLATE), &sha256(b"x"))).unwrap_err();
    assert!(said(error).contains("but the inventory says"));
}

#[test]
fn refusals_name_url_and_status_and_are_not_repeated() {
    let content = release();
    let no_sums = moody(&content, |_, _, _| Answer::status(404));
    let other_sums = Server::of(vec![(SUMS.to_owned(), b"junk\n".to_vec())]);
    let empty = Server::of(Vec::new());
    let locked = Server::start(|_| Answer::status(403));
    let down = Server::start(|_| Answer::status(503));
    let huge = moody(&content, |_, _, _| Answer::whole(b"x").header("content-length", 1u64 << 30));
    for (server, requests, status, verdict) in [
        (&no_sums, 2, "Usage", format!("`{}` answered with HTTP status 404", no_sums.url(TARGET))),
        (&other_sums, 1, "Usage", format!("has no digest of `{NAME}`")),
        (&empty, 1, "Usage", format!("`{}` answered with HTTP status 404", empty.url(SUMS))),
        (&locked, 1, "Usage", format!("`{}` answered with HTTP status 403", locked.url(SUMS))),
        (&down, 4, "Failed", format!("`{}` answered with HTTP status 503", down.url(SUMS))),
        (&huge, 2, "Usage", "is larger than 536870912 bytes".to_owned()),
    ] {
        let error = Desk::new().obtain(&url(server.url(TEMPLATE))).unwrap_err();
        assert_eq!(exit(&error), status, "{error}");
        assert!(error.hint().is_some() || verdict.contains("larger"));
        let said = said(error);
        assert!(said.contains(&verdict), "{said}\nis not\n{verdict}");
        assert_eq!(server.targets().len(), requests, "{said}");
    }
}

#[test]
fn a_server_that_falls_silent_or_is_gone_does_not_hold_us_up() {
    let content = release();
    let mut desk = Desk::impatient();
    desk.network.silence = Duration::from_millis(300);
    let stalled =
        moody(&content, |request, content, _| Answer { stall: Some(100_000), ..Answer::file(request, content) });
    let start = Instant::now();
    let error = desk.obtain(&url(stalled.url(TEMPLATE))).unwrap_err();
    assert_eq!(exit(&error), "Failed");
    assert!(said(error).ends_with(": the connection fell silent"));
    assert!(start.elapsed() < Duration::from_secs(4));

    let gone = stalled.url(TEMPLATE);
    drop(stalled);
    let error = desk.obtain(&url(gone)).unwrap_err();
    assert_eq!(exit(&error), "Failed");
    assert!(said(error).contains("Connection refused"));

    let error = desk.obtain(&url(format!("http://no-such-host.invalid{TEMPLATE}"))).unwrap_err();
    assert_eq!(exit(&error), "Failed");
    assert!(said(error).contains("failed to fetch `http://no-such-host.invalid/v3.5.16/SHA256SUMS`: "));
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let content = release();
    let origin = mirror(&content);
    let origin_url = origin.url("");
    let front =
        Server::start(move |request| Answer::redirect(format!("{origin_url}{}?signature=s3cret", request.target)));
    // The origin does not know the query: the error shows where the request ended, without secrets.
    let error = Desk::new().obtain(&url(front.url(TEMPLATE))).unwrap_err();
    let said_404 = said(error);
    assert!(said_404.contains(&origin.url(SUMS)) && !said_404.contains("s3cret"), "{said_404}");

    let origin_url = origin.url("");
    let front = Server::start(move |request| match request.target.strip_prefix("/old") {
        Some(rest) => Answer::redirect(rest.to_owned()),
        None => Answer::redirect(format!("{origin_url}{}", request.target)),
    });
    let source = url(front.url(&format!("/old{TEMPLATE}")));
    assert_whole(&Desk::new().obtain(&source).unwrap(), &content);

    let circle = Server::start(|request| Answer::redirect(request.target.clone()));
    let error = Desk::new().obtain(&url(circle.url(TEMPLATE))).unwrap_err();
    assert!(said(error).ends_with("too many redirects"));
    assert_eq!(circle.targets().len(), 11);
}

#[test]
fn two_runs_at_once_fetch_one_archive() {
    let content = release();
    let desk = Desk::new();
    let server = Arc::new(moody(&content, |request, content, _| {
        thread::sleep(Duration::from_millis(200));
        Answer::file(request, content)
    }));
    let source = url(server.url(TEMPLATE));
    thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| desk.obtain(&source).unwrap())).collect();
        for run in runs {
            assert_whole(&run.join().unwrap(), &content);
        }
    });
    assert_eq!(server.targets().iter().filter(|target| *target == TARGET).count(), 1);
}

#[test]
fn a_damaged_cache_heals_itself() {
    let content = release();
    let desk = Desk::new();
    let server = mirror(&content);
    let source = url(server.url(TEMPLATE));
    let archive = desk.obtain(&source).unwrap();
    let record = archive.path.with_file_name("etcd-v3.5.16-linux-amd64.json");

    // Without its record the archive is read again, but not fetched.
    fs::remove_file(&record).unwrap();
    assert_eq!(desk.obtain(&source).unwrap(), archive);
    assert_eq!(server.targets().len(), 2);
    assert!(record.exists());

    // A damaged archive is fetched anew.
    fs::write(&archive.path, &content[..100_000]).unwrap();
    assert_whole(&desk.obtain(&source).unwrap(), &content);
    assert_eq!(server.targets().len(), 4);
}

#[test]
fn passwords_are_used_but_neither_said_nor_kept() {
    let content = release();
    let desk = Desk::new();
    let server = Server::start({
        let content = content.clone();
        move |request| match request.target.as_str() {
            _ if request.header("authorization") != Some("Basic bWU6czNjcmV0") => Answer::status(401),
            SUMS => Answer::whole(&sums(&content)),
            TARGET => Answer::file(request, &content),
            _ => Answer::status(404),
        }
    });
    let base = format!("http://me:s3cret@{}", server.address());
    assert_whole(&desk.obtain(&url(format!("{base}{TEMPLATE}"))).unwrap(), &content);
    for file in files(&desk.cache()) {
        let kept = fs::read(desk.cache().join(&file)).unwrap();
        assert!(!kept.windows(6).any(|bytes| bytes == b"s3cret"), "{file}");
    }
    let error = Desk::new().obtain(&url(format!("{base}/no/{{version}}.tgz"))).unwrap_err();
    let said = said(error);
    assert!(said.contains("status 404") && !said.contains("s3cret"), "{said}");
}

fn proxies(vars: &[(&str, String)]) -> Proxies {
    Proxies::from_vars(|name| vars.iter().find(|var| var.0 == name).map(|var| var.1.clone()))
}

#[test]
fn proxies_are_asked_as_proxies_want_to_be_asked() {
    let content = release();
    // The proxy is the only one who knows the host.
    let host = "http://mirror.invalid";
    let proxy =
        Server::of(vec![(format!("{host}{TARGET}"), content.clone()), (format!("{host}{SUMS}"), sums(&content))]);
    let address = proxy.address();
    let mut desk = Desk::new();
    desk.network.proxies = proxies(&[("HTTP_PROXY", format!("http://me:s3cret@{address}"))]);
    assert_whole(&desk.obtain(&url(format!("{host}{TEMPLATE}"))).unwrap(), &content);
    for request in proxy.log() {
        assert_eq!(request.header("host"), Some("mirror.invalid"));
        assert_eq!(request.header("proxy-authorization"), Some("Basic bWU6czNjcmV0"));
    }

    // https goes through a tunnel.
    let mut desk = Desk::impatient();
    desk.network.proxies = proxies(&[("https_proxy", format!("http://me:s3cret@{address}"))]);
    let before = proxy.log().len();
    let error = desk.obtain(&url(format!("https://mirror.invalid{TEMPLATE}"))).unwrap_err();
    assert_eq!(exit(&error), "Failed");
    let said = said(error);
    assert!(said.contains(&format!("through proxy `http://me@{address}`")), "{said}");
    let asked = &proxy.log()[before];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("CONNECT", "mirror.invalid:443"));
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6czNjcmV0"));
}

#[test]
fn hosts_of_no_proxy_are_asked_themselves() {
    let content = release();
    let server = mirror(&content);
    let proxy = Server::start(|_| Answer::status(502));
    let mut desk = Desk::new();
    desk.network.proxies =
        proxies(&[("ALL_PROXY", proxy.address().to_string()), ("NO_PROXY", "127.0.0.0/8".to_owned())]);
    assert_whole(&desk.obtain(&url(server.url(TEMPLATE))).unwrap(), &content);
    assert!(proxy.log().is_empty());
}

#[test]
fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
    let mut desk = Desk::new();
    desk.network.proxies = proxies(&[("ALL_PROXY", "socks5://me:s3cret@p:1".to_owned())]);
    let error = desk.obtain(&url(format!("http://h{TEMPLATE}"))).unwrap_err();
    assert_eq!(exit(&error), "Usage");
    assert_eq!(said(error), "proxy `socks5://me@p:1` cannot be used: only http and https proxies are supported");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
    });
    let error = Desk::new().obtain(&url(format!("https://localhost:{port}{TEMPLATE}"))).unwrap_err();
    assert_eq!(exit(&error), "Failed");
    assert!(error.hint().unwrap().contains("SSL_CERT_FILE"));
    let said = said(error);
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    server.join().unwrap();
}
