//! `ctl` and `proxy`: an operator's own etcdctl calls, on a member and on the controller.

use crate::fixture::releases;
use crate::site::{Ran, Site, eventually};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// `etcd-ha ctl` with this on its stdin.
fn ctl(site: &Site, flags: &str, words: &str, input: &[u8]) -> Output {
    let mut command = site.command(&format!("ctl -i lab.yaml {flags} -- {words}"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // Not all programs read all that they are given.
    let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

/// The same as text, with nothing on stdin.
fn say(site: &Site, words: &str) -> Ran {
    let begun = Instant::now();
    let output = site.command(&format!("ctl -i lab.yaml -- {words}")).output().unwrap();
    Ran::new(&format!("ctl -- {words}"), &output, begun.elapsed())
}

/// etcdctl and whatever serves it, as far as it is left on a host.
fn left(site: &Site, node: &str) -> String {
    site.lab.read(
        node,
        "for p in /proc/[0-9]*; do n=; read -r n <$p/comm || :; case $n in etcdctl|head|cat) echo $n;; esac; done 2>/dev/null; \
         ls -A /dev/shm; ls -d /run/etcd-ha.* 2>/dev/null || :",
    )
}

/// A watch on node01 that has begun.
fn watch(site: &Site) -> Child {
    let mut command = site.command("ctl -i lab.yaml -- watch watched --prefix");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    eventually("a watch", Duration::from_secs(10), || left(site, "node01").contains("etcdctl"));
    child
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap().success());
}

pub fn the_cluster_s_etcdctl_is_run_and_ports_lead_to_its_members() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    bytes_and_codes_go_through(&site);
    nothing_is_left_of_a_watch(&site);
    the_administrator_is_root(&site);
    a_host_is_chosen(&site);
    ports_lead_to_members(&site);
}

fn bytes_and_codes_go_through(site: &Site) {
    let data: Vec<u8> = (0..400_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let put = ctl(site, "", "put data", &data);
    assert_eq!((put.status.code(), &put.stdout[..]), (Some(0), &b"OK\n"[..]), "{put:?}");
    let got = ctl(site, "", "get data --print-value-only", b"");
    assert!(got.stdout == [&data[..], b"\n"].concat(), "{} bytes came back", got.stdout.len());
    // What nobody reads holds up nothing.
    assert_eq!(ctl(site, "", "get nothing", &vec![7; 8 << 20]).status.code(), Some(0));

    say(site, "endpoint health").exits(0).says(&[
        &format!("https://{}:2379 is healthy", site.lab.address(1)),
        &format!("https://{}:2379 is healthy", site.lab.address(3)),
    ]);
    // A flag takes the place of what is set.
    let one = "endpoint health --endpoints https://127.0.0.1:2379";
    say(site, one).exits(0).says(&["https://127.0.0.1:2379 is healthy"]).never_says(&[&site.lab.address(2)]);
    let etcdctl = |words: &str| {
        let ca = "--cacert /etc/etcd/ssl/ca.pem --cert /etc/etcd/ssl/server.pem --key /etc/etcd/ssl/server-key.pem";
        site.lab.exec("node01", &format!("etcdctl --endpoints https://127.0.0.1:2379 {ca} {words} </dev/null"))
    };
    for words in ["get", "put", "nosuch", "lease timetolive zz"] {
        let own = etcdctl(words);
        assert_ne!(own.status.code(), Some(0), "{words}");
        let ours = ctl(site, "", words, b"");
        assert_eq!((ours.status.code(), ours.stdout), (own.status.code(), own.stdout), "{words}");
        assert_eq!(String::from_utf8_lossy(&ours.stderr), String::from_utf8_lossy(&own.stderr), "{words}");
    }
    say(site, "").exits(0).says(&["etcdctl - A simple command line client for etcd3."]);
    // One member alone is asked for a snapshot.
    say(site, "snapshot save /root/by-ctl.db").exits(0).says(&["Snapshot saved at /root/by-ctl.db"]);
    site.lab.read("node01", "test -s /root/by-ctl.db && rm /root/by-ctl.db && test -L /dev/stdout");
}

fn nothing_is_left_of_a_watch(site: &Site) {
    let mut child = watch(site);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    say(site, "put watched1 seen").exits(0);
    let seen: Vec<String> = lines.by_ref().take(3).map(Result::unwrap).collect();
    assert_eq!(seen, ["PUT", "watched1", "seen"]);
    // The key is in no file that has a name, in no argument and in no environment.
    let found = site.lab.read(
        "node01",
        "key='PRIVATE'' KEY'; cd /; grep -rl \"$key\" /dev/shm /run /tmp /root /var/tmp 2>/dev/null || :; \
         for p in /proc/[0-9]*; do n=; read -r n <$p/comm || :; [ \"$n\" = etcdctl ] || continue; \
         grep -al \"$key\" $p/environ $p/cmdline || :; ls -l $p/fd | grep -o '/dev/shm/.*'; \
         tr '\\0' '\\n' <$p/environ | grep ETCDCTL_KEY; tr '\\0' ' ' <$p/cmdline; done",
    );
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 5, "{found}");
    assert!(lines[..3].iter().all(|line| line.ends_with(" (deleted)")), "{found}");
    assert_eq!(lines[3], "ETCDCTL_KEY=/proc/self/fd/5");
    assert!(lines[4].ends_with("/etcdctl watch watched --prefix "), "{found}");

    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let gone = || eventually("nothing left", Duration::from_secs(5), || left(site, "node01").is_empty());
    gone();
    let mut child = watch(site);
    signal(&child, "KILL");
    child.wait().unwrap();
    gone();
    // Nobody reads any more.
    let mut child = watch(site);
    drop(child.stdout.take());
    say(site, "put watched2 unseen").exits(0);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    gone();
}

fn the_administrator_is_root(site: &Site) {
    let no_password = "user add root --no-password";
    for words in [no_password, "user grant-role root root", "auth enable"] {
        say(site, words).exits(0);
    }
    say(site, "put with auth").exits(0).says(&["OK"]);
    say(site, "user list").exits(0).says(&["root"]);
    say(site, "endpoint health").exits(0);
    say(site, "auth disable").exits(0);
}

fn a_host_is_chosen(site: &Site) {
    site.lab.read("node01", "systemctl stop etcd");
    let ran = ctl(site, "--on node01", "endpoint health --endpoints https://127.0.0.1:2379", b"");
    assert_eq!(ran.status.code(), Some(1), "its own member is down: {ran:?}");
    let mut child = {
        let mut command = site.command("ctl -i lab.yaml -- watch elsewhere");
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    eventually("a watch on the next host", Duration::from_secs(10), || left(site, "node02").contains("etcdctl"));
    signal(&child, "INT");
    child.wait().unwrap();
    site.lab.read("node01", "systemctl start etcd");
    // A host that is gone costs no more than its time to connect.
    site.lab.run(&["cut", "node01"]);
    let ran = say(site, "get data --keys-only").exits(0).says(&["data"]);
    assert!(ran.took < Duration::from_secs(6), "{ran:?}");
    site.lab.run(&["heal", "node01"]);
    site.lab.read("node03", "mv /usr/local/bin/etcdctl /root/");
    let ran = ctl(site, "--on node03", "get data", b"");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("host `node03`: no release of etcd is in force there") && said.contains("`etcd-ha deploy`"));
    site.lab.read("node03", "mv /root/etcdctl /usr/local/bin/");
}

/// An etcdctl of the controller's own.
fn local_etcdctl(site: &Site) -> PathBuf {
    let archive = releases().join("v3.5.16/etcd-v3.5.16-linux-amd64.tar.gz");
    let unpacked = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(site.path("")).status().unwrap();
    assert!(unpacked.success());
    site.path("etcd-v3.5.16-linux-amd64/etcdctl")
}

fn ports_lead_to_members(site: &Site) {
    let etcdctl = local_etcdctl(site);
    let mut command = site.command("proxy -i lab.yaml --port 0 -o json");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(3);
    let urls: Vec<String> = lines
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["local"].as_str().unwrap().to_owned())
        .collect();
    let run = |words: &str| {
        let mut command = Command::new(&etcdctl);
        command.args(words.split(' ')).env("ETCDCTL_ENDPOINTS", urls.join(","));
        for (variable, file) in [("CACERT", "ca.pem"), ("CERT", "admin.pem"), ("KEY", "admin-key.pem")] {
            command.env(format!("ETCDCTL_{variable}"), site.path("lab.pki").join(file));
        }
        let begun = Instant::now();
        Ran::new(words, &command.output().unwrap(), begun.elapsed())
    };
    let healthy: Vec<String> = urls.iter().map(|url| format!("{url} is healthy")).collect();
    run("endpoint health").exits(0).says(&healthy.iter().map(String::as_str).collect::<Vec<_>>());
    run("get data --keys-only").exits(0).says(&["data"]);
    // The connection to a host breaks, and is made again.
    site.lab.read(
        "node02",
        "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '^sshd: root' && kill ${p#/proc/}; done; true",
    );
    run("endpoint health").exits(0);
    // One member is down: a tool goes on with the others.
    site.lab.read("node01", "systemctl stop etcd");
    run("put through proxy").exits(0);
    site.lab.read("node01", "systemctl start etcd");
    signal(&child, "INT");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}
