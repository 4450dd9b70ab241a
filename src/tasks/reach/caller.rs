//! From which address a host's connections come, as the host that is called sees it.
//!
//! etcd turns a peer away that comes from an address which its certificate does not name (etcd's security guide, notes for
//! TLS authentication). The members' health does not show it: messages still pass on the connections of the others.

use crate::host::{Connection, Script};
use crate::ssh::quote;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// The longest answer: 32 digits, a colon, a port and the line's end.
const LONGEST: u64 = 64;

/// A script for the called host, with the connection as its standard input and output: it writes the caller's address as
/// the kernel's table of TCP connections has it, see proc_pid_net(5).
pub(super) const TELL: &str = r#"inode=$(readlink /proc/self/fd/0); inode=${inode#*\[}; inode=${inode%\]}
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r slot own caller state queues timer again user timeout at rest; do
  if [ "$at" = "$inode" ]; then echo "$caller"; break; fi
done"#;

/// The caller's address, as [`TELL`] answers at the other end; `None` if there is no such answer in time.
pub(super) async fn told(tunnel: impl AsyncRead + Unpin, limit: Duration) -> Option<IpAddr> {
    let mut line = String::new();
    let mut answer = BufReader::new(tunnel.take(LONGEST));
    tokio::time::timeout(limit, answer.read_line(&mut line)).await.ok()?.ok()?;
    parse(line.trim_end())
}

/// An address and a port of `/proc/net/tcp` or `tcp6`: words of 32 bits, each in the host's own order of bytes, which is
/// little-endian wherever etcd is released for.
fn parse(text: &str) -> Option<IpAddr> {
    let (address, _) = text.split_once(':')?;
    let mut octets = data_encoding::HEXUPPER_PERMISSIVE.decode(address.as_bytes()).ok()?;
    octets.chunks_mut(4).for_each(<[u8]>::reverse);
    let address = match *octets {
        [a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical(),
    };
    Some(address)
}

/// Whether etcd on the called host would find `caller` among the `names` of a peer's certificate: as an address, or as
/// what a name resolves to there. If the host cannot say what they resolve to, that is taken for granted.
pub(super) async fn is_named(called: &Connection, names: &[String], caller: IpAddr) -> bool {
    let (addresses, names): (Vec<_>, Vec<_>) =
        names.iter().map(|name| name.parse::<IpAddr>().map_err(|_| name.to_ascii_lowercase())).partition(Result::is_ok);
    // Every certificate names the loopback addresses, for whoever comes through a forwarder on the called host.
    if caller.is_loopback() || addresses.into_iter().flatten().any(|address| address.to_canonical() == caller) {
        return true;
    }
    let names: Vec<String> = names.into_iter().filter_map(Result::err).collect();
    if names.iter().any(|name| name.contains('*')) {
        return true;
    }
    let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
    // glibc's own program; it fails for what nobody knows.
    let text = format!(
        "command -v getent >/dev/null\nfor name in {}; do getent ahosts \"$name\" || :; done\necho\ngetent hosts {caller} || :\n",
        quoted.join(" ")
    );
    let resolved = called.run(Script::look("look up the names of a certificate", &text)).await;
    resolved.map_or(true, |resolved| resolves(&String::from_utf8_lossy(&resolved), &names, caller))
}

/// Whether one of `names` has the address, or the address one of them: what getent(1) says of the names, an empty line, and
/// what it says of the address. etcd asks both ways.
fn resolves(resolved: &str, names: &[String], address: IpAddr) -> bool {
    let mut lines = resolved.lines();
    let forward: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let mut back = lines.flat_map(|line| line.split_whitespace().skip(1));
    has(&forward.join("\n"), address)
        || back.any(|name| names.contains(&name.trim_end_matches('.').to_ascii_lowercase()))
}

/// Whether an answer of getent(1) has an address.
fn has(resolved: &str, address: IpAddr) -> bool {
    let first = |line: &str| line.split_whitespace().next()?.parse::<IpAddr>().ok();
    resolved.lines().filter_map(first).any(|found| found.to_canonical() == address)
}

#[cfg(test)]
mod tests {
    use super::{TELL, has, parse, resolves};
    use std::net::{IpAddr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::Command;

    #[test]
    fn addresses_as_the_kernel_writes_them() {
        for (text, address) in [
            ("0100007F:0CEA", "127.0.0.1"),
            ("9B04130A:94C2", "10.19.4.155"),
            ("B80D01200000000067452301EFCDAB89:0050", "2001:db8::123:4567:89ab:cdef"),
            // An IPv4 client of a socket that listens for both.
            ("0000000000000000FFFF00009B04130A:94C2", "10.19.4.155"),
        ] {
            assert_eq!(parse(text), Some(address.parse().unwrap()), "{text}");
        }
        for text in ["", ":", "0100007F", "0100007:1", "0100007G:1", "0100007F01:1", "SSH-2.0-x: y"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_called_side_tells_who_calls() {
        for own in ["127.0.0.1", "127.0.0.9", "[::1]"] {
            let listener = TcpListener::bind(format!("{own}:0")).unwrap();
            let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (called, _) = listener.accept().unwrap();
            let said = Command::new("sh").args(["-c", TELL]).stdin(OwnedFd::from(called)).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            assert_eq!(parse(said.trim_end()), Some(caller.local_addr().unwrap().ip()), "{said}");
        }
    }

    #[test]
    fn names_that_resolve_to_the_caller() {
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let answer = "192.0.2.6      STREAM node02\n192.0.2.6      DGRAM  \n";
        assert!(!has(answer, address) && !has("", address));
        assert!(has(&format!("{answer}::ffff:192.0.2.7  STREAM node02.lan\n"), address));
        let names = ["node02".to_owned(), "node02.lan".to_owned()];
        for (back, want) in
            [("", false), ("192.0.2.7       other.lan\n", false), ("192.0.2.7       other.lan NODE02.lan.\n", true)]
        {
            assert_eq!(resolves(&format!("{answer}\n{back}"), &names, address), want, "{back}");
        }
        assert!(!resolves("", &names, address) && resolves("192.0.2.7 STREAM node02\n\n", &names, address));
    }
}
