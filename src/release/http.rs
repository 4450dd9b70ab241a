//! One HTTP request at a time; the only place that knows ureq.
//!
//! Redirects are followed here rather than by ureq, since the next host may need another proxy and
//! encryption must not be given up on the way.

use std::io::{self, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::{Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};
use ureq::{Agent, Body, Proxy, config::Config};

use super::{Network, ReleaseError, url};

/// As many as curl and browsers would hardly need.
const REDIRECTS: usize = 10;

/// A failed request, and whether it is worth another try.
pub(super) struct Failure {
    pub(super) error: ReleaseError,
    pub(super) transient: bool,
}

impl From<ReleaseError> for Failure {
    fn from(error: ReleaseError) -> Self {
        Self { error, transient: false }
    }
}

/// An answer that has a body of use, or says that there is nothing from the wanted byte on.
pub(super) struct Reply {
    /// 200, 206 or 416.
    pub(super) status: u16,
    /// The size of this answer's body in bytes.
    pub(super) length: Option<u64>,
    /// Of a partial answer: where it begins, and the size of the whole.
    pub(super) range: Option<(u64, Option<u64>)>,
    /// What was asked for.
    pub(super) body: Content,
}

/// The body of an answer.
pub(super) struct Content {
    reader: ureq::BodyReader<'static>,
    /// Where it comes from, after redirects.
    url: String,
    proxy: Option<String>,
}

impl Content {
    /// The next bytes; 0 at the end. An end before the announced length is a failure.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        self.reader.read(buffer).map_err(|error| failure(&self.url, self.proxy.clone(), error.into()))
    }
}

/// Asks for a URL, from byte `from` on.
pub(super) fn get(network: &Network, first: &str, from: u64) -> Result<Reply, Failure> {
    let mut at = first.to_owned();
    for _ in 0..=REDIRECTS {
        let (response, proxy) = once(network, &at, from)?;
        let status = response.status().as_u16();
        match status {
            200 => return Ok(reply(response, at, proxy)),
            206 | 416 if from > 0 => return Ok(reply(response, at, proxy)),
            301 | 302 | 303 | 307 | 308 => at = follow(&response, &at)?,
            _ => {
                return Err(Failure {
                    transient: matches!(status, 408 | 429 | 500 | 502..=504),
                    error: ReleaseError::Status { url: url::shown(&at), status },
                });
            }
        }
    }
    Err(ReleaseError::Redirect { url: url::shown(first), to: url::shown(&at), reason: "too many redirects" }.into())
}

fn reply(response: Response<Body>, url: String, proxy: Option<String>) -> Reply {
    let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
    Reply {
        status: response.status().as_u16(),
        length: header("content-length").and_then(|length| length.trim().parse().ok()),
        range: header("content-range").and_then(content_range),
        body: Content { reader: response.into_body().into_reader(), url, proxy },
    }
}

fn follow(response: &Response<Body>, at: &str) -> Result<String, ReleaseError> {
    let location = response.headers().get("location").and_then(|location| location.to_str().ok()).unwrap_or_default();
    let to = url::join(at, location);
    let reason = match (url::scheme(at).as_deref(), url::scheme(&to).as_deref()) {
        _ if location.is_empty() => "it does not say where to",
        (_, Some("https")) | (Some("http"), Some("http")) => return Ok(to),
        (Some("https"), Some("http")) => "that would give up encryption",
        _ => "that is no web address",
    };
    Err(ReleaseError::Redirect { url: url::shown(at), to: url::shown(&to), reason })
}

/// `bytes 100-299/300`: 100 and 300 (RFC 9110, section 14.4).
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

/// One request, no redirects; with it the proxy that it went through, as people may see it.
fn once(network: &Network, at: &str, from: u64) -> Result<(Response<Body>, Option<String>), Failure> {
    let bad = |reason| ReleaseError::BadUrl { url: url::shown(at), reason };
    let uri: Uri = at.parse().map_err(|_| bad("it is not a valid URL"))?;
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| bad("it names no host"))?;
    if host_and_port(&uri) != host && uri.port_u16().is_none() {
        return Err(bad("its port is no number from 0 to 65535").into());
    }
    let https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });

    let proxy = network.proxies.before(https, host, port);
    let shown = proxy.map(url::shown);
    let (agent, authorization) = match proxy {
        None => (agent(network, None), None),
        Some(proxy) => agent_through(network, proxy, https)?,
    };
    let mut request = agent.get(&uri).header("accept-encoding", "identity");
    if from > 0 {
        request = request.header("range", format!("bytes={from}-"));
    }
    if let Some(authorization) = authorization {
        request = request.header("proxy-authorization", authorization);
    }
    match request.call() {
        Ok(response) => Ok((response, shown)),
        Err(error) => Err(failure(at, shown, error)),
    }
}

/// The authority without user and password.
fn host_and_port(uri: &Uri) -> &str {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn config(network: &Network, proxy: Option<Proxy>) -> Config {
    // The platform's verifier reads the system's CA bundle, or the one that SSL_CERT_FILE names.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .proxy(proxy)
        .tls_config(tls.build())
        .user_agent(concat!("etcd-ha/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(network.connect))
        .timeout_connect(Some(network.connect))
        .timeout_per_read(Some(network.silence))
        .timeout_per_write(Some(network.silence))
        .build()
}

fn agent(network: &Network, proxy: Option<Proxy>) -> Agent {
    config(network, proxy).new_agent()
}

/// An agent that goes through a proxy, and the credentials that each request then needs.
fn agent_through(network: &Network, proxy: &str, https: bool) -> Result<(Agent, Option<String>), ReleaseError> {
    let bad = |reason| ReleaseError::BadProxy { proxy: url::shown(proxy), reason };
    let scheme = url::scheme(proxy);
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return Err(bad("only http and https proxies are supported"));
    }
    let uri: Uri = proxy.parse().map_err(|_| bad("it is not a valid URL"))?;
    let parsed = Proxy::new(proxy).map_err(|_| bad("it is not a valid URL"))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    // ureq sends CONNECT whatever the target. For plain http the world's proxies expect a request with
    // the whole URL instead, and commonly forbid CONNECT to other ports than 443.
    if https || scheme.as_deref() == Some("https") {
        return Ok((agent(network, Some(parsed)), None));
    }
    let authorization = parsed.username().map(|user| {
        let password = parsed.password().unwrap_or_default();
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    });
    let agent = Agent::with_parts(
        config(network, None),
        DefaultConnector::new().chain(AbsoluteForm),
        ProxyResolver(uri, DefaultResolver::default()),
    );
    Ok((agent, authorization))
}

/// Leads every connection to the proxy.
#[derive(Debug)]
struct ProxyResolver(Uri, DefaultResolver);

impl Resolver for ProxyResolver {
    fn resolve(&self, _: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.1.resolve(&self.0, config, timeout)
    }
}

/// Makes the request's target the whole URL, as a proxy wants it (RFC 9112, section 3.2.2).
#[derive(Debug)]
struct AbsoluteForm;

impl<In: Transport> Connector<In> for AbsoluteForm {
    type Out = AbsoluteTransport<In>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained
            .map(|inner| AbsoluteTransport { inner, prefix: Some(format!("http://{}", host_and_port(details.uri))) }))
    }
}

#[derive(Debug)]
struct AbsoluteTransport<T> {
    inner: T,
    /// What has yet to be put before the target's path.
    prefix: Option<String>,
}

impl<T: Transport> Transport for AbsoluteTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut amount = amount;
        if let Some(prefix) = self.prefix.take() {
            amount = insert_target(self.inner.buffers().output(), amount, prefix.as_bytes())
                .ok_or_else(|| io::Error::other("the request does not fit its buffer"))?;
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Puts `prefix` before the path in the request line that `buffer[..used]` begins with; the new length.
fn insert_target(buffer: &mut [u8], used: usize, prefix: &[u8]) -> Option<usize> {
    let path = buffer.get(..used)?.iter().position(|byte| *byte == b' ')? + 1;
    let length = used.checked_add(prefix.len())?;
    if length > buffer.len() {
        return None;
    }
    buffer.copy_within(path..used, path + prefix.len());
    buffer.get_mut(path..path + prefix.len())?.copy_from_slice(prefix);
    Some(length)
}

fn failure(at: &str, proxy: Option<String>, error: ureq::Error) -> Failure {
    let transient = match &error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(error) => passes(error.kind()),
        _ => false,
    };
    let source: Box<dyn std::error::Error + Send + Sync> = match error {
        ureq::Error::Timeout(ureq::Timeout::PerRead | ureq::Timeout::PerWrite) => "the connection fell silent".into(),
        ureq::Error::Timeout(ureq::Timeout::Resolve) => "the name was not resolved in time".into(),
        ureq::Error::Timeout(_) => "no connection in time".into(),
        ureq::Error::HostNotFound => "the host is not known".into(),
        ureq::Error::Io(error) => error.into(),
        other => other.into(),
    };
    Failure { error: ReleaseError::Network { url: url::shown(at), proxy, source }, transient }
}

/// What a flaky network does. A name that does not resolve is not among it: in a closed network it never
/// will, and the user should hear of it at once.
fn passes(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::BrokenPipe
            | Kind::TimedOut
            | Kind::UnexpectedEof
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_keep_to_the_web_and_to_encryption() {
        for (at, location, leads) in [
            ("https://h/a", "https://o/b", Some("https://o/b")),
            ("https://h/a", "/b", Some("https://h/b")),
            ("http://h/a", "https://h/a", Some("https://h/a")),
            ("http://h/a", "b", Some("http://h/b")),
            ("https://h/a", "http://h/a", None),
            ("http://h/a", "file:///etc/passwd", None),
            ("http://h/a", "", None),
        ] {
            let response = Response::builder().header("location", location).body(Body::builder().data("")).unwrap();
            assert_eq!(follow(&response, at).ok().as_deref(), leads, "{at} {location}");
        }
    }

    #[test]
    fn content_ranges() {
        for (value, range) in [
            ("bytes 100-299/300", Some((100, Some(300)))),
            ("bytes 0-0/*", Some((0, None))),
            ("bytes */300", None),
            ("items 1-2/3", None),
            ("", None),
        ] {
            assert_eq!(content_range(value), range, "{value}");
        }
    }

    #[test]
    fn a_proxy_gets_the_whole_url() {
        let request = b"GET /p HTTP/1.1\r\nhost: h\r\n\r\n";
        let mut buffer = [0; 64];
        buffer[..request.len()].copy_from_slice(request);
        let length = insert_target(&mut buffer, request.len(), b"http://h:1").unwrap();
        assert_eq!(&buffer[..length], b"GET http://h:1/p HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(insert_target(&mut buffer, 60, b"http://h:1"), None);
        assert_eq!(insert_target(&mut buffer, 99, b""), None);
    }
}
