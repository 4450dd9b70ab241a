//! Metrics on a port of their own, and what `--verbose` says of a deploy.

use crate::site::{Site, files_below};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

const REQUEST: &[u8] = b"GET /metrics HTTP/1.0\r\n\r\n";

/// What the host's port 2381 answers over TLS, with the admin's certificate or without any.
fn over_tls(site: &Site, host: usize, with_certificate: bool) -> String {
    let pki = site.path("lab.pki");
    let mut command = Command::new("timeout");
    command.args(["10", "openssl", "s_client", "-quiet", "-verify_return_error", "-connect"]);
    command.arg(format!("{}:2381", site.lab.address(host))).arg("-CAfile").arg(pki.join("ca.pem"));
    if with_certificate {
        command.arg("-cert").arg(pki.join("admin.pem")).arg("-key").arg(pki.join("admin-key.pem"));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Who is refused may not read any more.
    let _ = child.stdin.as_mut().unwrap().write_all(REQUEST);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const LEADER: &str = "\netcd_server_has_leader 1\n";

pub fn metrics_are_served_where_they_were_asked_for() {
    let site = Site::up(3);
    let mut inventory = site.inventory(1..=3);
    let ran = site.run("deploy -v").exits(0).says(&[
        "node01  connect  ",
        "key exchange ",
        "node02  look at the host  ",
        "node03  unpack etcd 3.5.16  ",
        " MiB sent)",
        "node01  connect to its member  ",
        "node02  linearizable read  ",
        " round trips ",
    ]);
    for file in files_below(&site.path("lab.pki"))
        .iter()
        .filter(|file| file.ends_with("key.pem") || file.to_string_lossy().contains("-key"))
    {
        let key = fs::read_to_string(file).unwrap();
        for line in key.lines().filter(|line| !line.starts_with('-')) {
            assert!(!ran.stderr.contains(line) && !ran.stdout.contains(line), "{}: it was shown", file.display());
        }
    }
    // Nor is any script: all of ours begin so.
    assert!(!ran.stderr.contains("set -eu"), "{}", ran.stderr);
    let refused = |host| TcpStream::connect((site.lab.address(host), 2381)).is_err();
    assert!((1..=3).all(refused), "a port for metrics that nobody asked for");

    inventory.etcd = "metrics: {}".to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    for host in 1..=3 {
        assert!(over_tls(&site, host, true).contains(LEADER), "node0{host}");
        assert!(!over_tls(&site, host, false).contains("etcd_"), "node0{host}: anybody may read");
    }
    let target = format!("      - targets: [\"{}:2381\"]\n", site.lab.address(2));
    site.run("prometheus").exits(0).says(&[&target, "    scheme: https\n"]);

    inventory.etcd = "metrics: { scheme: http }".to_owned();
    site.write(&inventory);
    let warning =
        "anybody who reaches port 2381 of a host can read its member's metrics, which hold no keys and no values";
    let ran = site.run("deploy --quiet").exits(0).says(&[warning]);
    ran.ends("done: cluster lab is healthy, 3 of 3 members, ").never_says(&["node01", "play: "]);
    for host in 1..=3 {
        let mut stream = TcpStream::connect((site.lab.address(host), 2381)).unwrap();
        stream.write_all(REQUEST).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(LEADER), "node0{host}: {answer}");
    }
    site.run("prometheus").exits(0).says(&["    scheme: http\n"]).never_says(&["tls_config"]);
    site.run("health -v").exits(0).says(&["node03  status  ", "cluster is healthy"]);
    site.run("deploy").exits(0).says(&["nothing to do"]);
}
