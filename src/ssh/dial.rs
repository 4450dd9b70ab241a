//! The TCP connection to a machine.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::error::SshError;
use super::facts::Peer;
use crate::timing::part;

/// How long an address has to itself before the next one of the same name is tried beside it
/// (RFC 8305, 5: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address of `peer` that answers, and notes it there.
///
/// # Errors
/// With the most telling of the addresses' failures: a refusal shows that somebody is there.
pub(super) async fn dial(peer: &mut Peer, limit: Duration) -> Result<TcpStream, SshError> {
    let looking = timeout(limit, tokio::net::lookup_host((&*peer.host, peer.port)));
    let looked_up = part("name resolution", looking).await;
    let addresses: Vec<SocketAddr> = match looked_up.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(addresses) => interleaved(addresses.collect()),
        Err(source) => {
            return Err(SshError::Resolve { peer: peer.clone(), source });
        }
    };
    let stream = part("TCP", race(&addresses, peer, limit)).await?;
    peer.address = stream.peer_addr().ok().map(|address| address.ip());
    // Without this, the delayed acknowledgements of the other side cost every command 40 ms.
    stream.set_nodelay(true).map_err(|source| SshError::Connect { peer: peer.clone(), source })?;
    Ok(stream)
}

/// The addresses with the families taking turns, so that one family which leads nowhere costs one head start
/// and not one for each of its addresses (RFC 8305, 4). The resolver's order decides within a family, and which is first.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed = Vec::new();
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed
}

async fn race(addresses: &[SocketAddr], peer: &Peer, limit: Duration) -> Result<TcpStream, SshError> {
    let mut waiting = addresses.iter();
    let mut running = FuturesUnordered::new();
    let mut failure: Option<SshError> = None;
    loop {
        let more = match waiting.next() {
            Some(address) => {
                let peer = Peer { address: Some(address.ip()), ..peer.clone() };
                running.push(attempt(*address, peer, limit));
                true
            }
            None => false,
        };
        let ended = tokio::select! {
            ended = running.next() => ended,
            () = sleep(HEAD_START), if more => continue,
        };
        match ended {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => {
                if failure.as_ref().is_none_or(|failure| weight(&error) > weight(failure)) {
                    failure = Some(error);
                }
            }
            None => {
                let nothing = || SshError::Resolve { peer: peer.clone(), source: io::ErrorKind::NotFound.into() };
                return Err(failure.unwrap_or_else(nothing));
            }
        }
    }
}

async fn attempt(address: SocketAddr, peer: Peer, limit: Duration) -> Result<TcpStream, SshError> {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(match source.kind() {
            io::ErrorKind::ConnectionRefused => SshError::Refused { peer },
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => SshError::NoRoute { peer, source },
            io::ErrorKind::TimedOut => SshError::TcpTimeout { peer, after: limit },
            _ => SshError::Connect { peer, source },
        }),
        Err(_) => Err(SshError::TcpTimeout { peer, after: limit }),
    }
}

/// How much a failure tells about the machine.
fn weight(error: &SshError) -> u8 {
    match error {
        SshError::Refused { .. } => 3,
        SshError::TcpTimeout { .. } => 2,
        SshError::NoRoute { .. } => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::{Peer, SshError, dial, interleaved, race};

    fn peer(host: &str, port: u16) -> Peer {
        Peer { host: host.into(), port, address: None, via: None }
    }

    #[tokio::test]
    async fn takes_the_address_that_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // Nothing listens on the second one: it was given back.
        let bad = TcpListener::bind("127.0.0.2:0").await.unwrap().local_addr().unwrap();
        for addresses in [vec![good], vec![bad, good], vec![good, bad]] {
            let stream = race(&addresses, &peer("name", 1), Duration::from_secs(5)).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
        }
        let error = race(&[bad], &peer("name", bad.port()), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("`name:{} (127.0.0.2)` refused the connection", bad.port()));
    }

    #[test]
    fn families_take_turns() {
        for (resolved, tried) in [
            ("", ""),
            ("::1 ::2 ::3 1.1.1.1", "::1 1.1.1.1 ::2 ::3"),
            ("1.1.1.1 1.1.1.2 ::1", "1.1.1.1 ::1 1.1.1.2"),
            ("1.1.1.1 ::1 ::2 ::3", "1.1.1.1 ::1 ::2 ::3"),
            ("::1", "::1"),
        ] {
            let read = |text: &str| -> Vec<std::net::SocketAddr> {
                text.split_whitespace().map(|ip| (ip.parse::<std::net::IpAddr>().unwrap(), 22).into()).collect()
            };
            assert_eq!(interleaved(read(resolved)), read(tried), "{resolved}");
        }
    }

    /// The first address swallows everything; the next one has its turn after the head start.
    #[tokio::test]
    async fn an_address_that_never_answers_does_not_hold_up_the_next() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.3:0".parse().unwrap()).unwrap();
        let silent = socket.listen(1).unwrap();
        let dead = silent.local_addr().unwrap();
        // Its queue is full, so that further connects are not answered.
        let mut waiting = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(dead)).await
        {
            waiting.push(stream.unwrap());
        }
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [dead, good.local_addr().unwrap()];
        let begun = std::time::Instant::now();
        let stream = race(&addresses, &peer("name", 1), Duration::from_secs(10)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        let took = begun.elapsed();
        assert!(took >= super::HEAD_START && took < Duration::from_secs(3), "{took:?}");
    }

    #[tokio::test]
    async fn a_name_without_an_address() {
        let error = dial(&mut peer(&"x".repeat(300), 22), Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, SshError::Resolve { .. }), "{error:?}");
    }
}
