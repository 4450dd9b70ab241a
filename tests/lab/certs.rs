//! Client certificates that a real etcd takes, and what is seen of members that serve what they should not.

use crate::deploy::strangers_certificate;
use crate::site::Site;
use crate::terminal::Terminal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The etcdctl that comes with the release, unpacked on the controller.
fn etcdctl(site: &Site) -> PathBuf {
    let archive = crate::fixture::releases().join(format!("v3.5.16/etcd-v3.5.16-linux-{}.tar.gz", arch()));
    let folder = site.path("release");
    fs::create_dir_all(&folder).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("--strip-components=1").arg("-C").arg(&folder);
    assert!(tar.status().unwrap().success());
    folder.join("etcdctl")
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// Runs a script with the release's etcdctl and `etcd-ha` as an operator has them.
fn shell(site: &Site, etcdctl: &Path, script: &str) -> (bool, String) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(site.path("")).env_clear();
    let program = Path::new(env!("CARGO_BIN_EXE_etcd-ha")).parent().unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", etcdctl.parent().unwrap().display(), program.display());
    let output = command.env("PATH", path).env("XDG_STATE_HOME", site.path("state")).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

pub fn clients_get_certificates_and_what_is_served_is_looked_at() {
    let site = Site::up(3);
    the_ca_s_key_is_encrypted(&site);
    let etcdctl = etcdctl(&site);
    for words in ["certs verify", "certs verify --direct"] {
        let ran = site.run(words).exits(0).says(&["node03  peer 2380    CN=node03", "6 of 6 ports as they should be"]);
        assert_eq!(ran.stdout.matches("  1.3  ok\n").count(), 6, "{ran:?}");
    }

    // The admin's, by way of the shell, and an application's.
    let eval = |flags: &str, words: &str| {
        shell(&site, &etcdctl, &format!("eval \"$(etcd-ha env -i lab.yaml {flags})\" && etcdctl {words}"))
    };
    let (good, said) = eval("", "member list");
    assert!(good && said.matches(", started, node0").count() == 3, "{said}");
    site.run("certs issue --client --name app1 --lifetime 1d")
        .exits(2)
        .says(&["is encrypted, and there is no passphrase"]);
    site.run("certs issue --client --name app1 --lifetime 1d --ca-pass-command cat<passphrase").exits(0);
    let (good, said) = eval("--name app1", "put greeting hello && etcdctl get --print-value-only greeting");
    assert!(good && said == "OK\nhello\n", "{said}");
    site.run("certs export --name app1 --to app1.pem").exits(0);
    let url = format!("https://{}:2379", site.lab.address(1));
    // etcdctl takes every block of the CA file for a certificate, so it wants one without a key.
    let bundle = "--cacert lab.pki/ca.pem --cert app1.pem --key app1.pem";
    let (good, said) = shell(&site, &etcdctl, &format!("etcdctl {bundle} --endpoints {url} get greeting"));
    assert!(good && said == "greeting\nhello\n", "{said}");
    // The control: without it nobody is let in.
    let call = format!("etcdctl --cacert lab.pki/ca.pem --endpoints {url} --command-timeout 2s get greeting");
    assert!(!shell(&site, &etcdctl, &call).0);

    // With authentication on, its common name is its user.
    let users = "user add root --no-password && etcdctl user grant-role root root && etcdctl user add app1 --no-password \
                 && etcdctl role add reader && etcdctl role grant-permission reader read greeting \
                 && etcdctl user grant-role app1 reader && etcdctl auth enable";
    let (good, said) = eval("", users);
    assert!(good, "{said}");
    let (good, said) = eval("--name app1", "get --print-value-only greeting");
    assert!(good && said == "hello\n", "{said}");
    let (good, said) = eval("--name app1", "put greeting bye");
    assert!(!good && said.contains("permission denied"), "{said}");
    let (good, said) = eval("", "auth disable");
    assert!(good, "{said}");

    members_serve_what_they_should_not(&site);
}

/// A first deploy makes a CA whose passphrase is asked for where something is issued, and nowhere else.
fn the_ca_s_key_is_encrypted(site: &Site) {
    const RIGHT: &str = "c0rrect horse";
    const WRONG: &str = "battery staple";
    let mut inventory = site.inventory(1..=3);
    inventory.sections = "pki: { encrypt_ca_key: true }\n".to_owned();
    site.write(&inventory);
    site.write_file("passphrase", &format!("{RIGHT}\n"));
    let deploy = "trap : INT; etcd-ha deploy -i lab.yaml; echo code $?; stty -a";
    let asked = |screen: &str| screen.matches("assphrase ").count();

    // Nobody there, and somebody who leaves.
    let ca_key = "CA key `lab.pki/ca-key.pem`";
    let refused = format!("{ca_key} is to be encrypted, and there is no passphrase for it");
    site.run("deploy").exits(2).says(&[&refused, "elsewhere say `--ca-pass-command` or `--ca-pass-fd`"]);
    let mut terminal = Terminal::open(site, deploy);
    terminal.wait_for("New passphrase for the", 1);
    terminal.press("secr\u{3}");
    let (_, screen) = terminal.end();
    assert!(screen.contains("code 130") && screen.contains(" echo ") && !screen.contains("secr"), "{screen}");
    assert!(!site.path("lab.pki").exists());
    assert_eq!(site.lab.read("node01", "ls -A /opt; id etcd 2>&1 || true"), "id: 'etcd': no such user");

    let mut terminal = Terminal::open(site, deploy);
    for (time, (typed, again)) in (1..).zip([(RIGHT, WRONG), ("", ""), (RIGHT, RIGHT)]) {
        terminal.wait_for(&format!("New passphrase for the {ca_key}: "), time);
        terminal.press(&format!("{typed}\r"));
        terminal.wait_for("The same again: ", time);
        terminal.press(&format!("{again}\r"));
    }
    let (_, screen) = terminal.end();
    for words in ["code 0", " echo ", "The two differ.", "An empty passphrase protects nothing.", "3 of 3 members"] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    assert!(!screen.contains(RIGHT) && !screen.contains(WRONG), "{screen}");
    let openssl = "openssl pkey -in lab.pki/ca-key.pem -noout -passin";
    let opens = |from: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{openssl} {from}")]).current_dir(site.path("")).output().unwrap().status.success()
    };
    assert!(opens("file:passphrase") && !opens("pass:x"));

    // Nothing to issue: nobody is asked, whether there is somebody or not.
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
    let (_, screen) = Terminal::open(site, deploy).end();
    assert!(screen.contains("code 0") && asked(&screen) == 0, "{screen}");

    // A certificate to issue: a plan says so and asks nobody, a deploy asks once, and again if it was mistyped.
    fs::remove_file(site.path("lab.pki/node03-peer.pem")).unwrap();
    site.run("plan --detailed-exitcode")
        .exits(10)
        .says(&["issue peer certificate of node03", "stage its certificates"]);
    site.run("deploy").exits(2).says(&[&format!("{ca_key} is encrypted, and there is no passphrase for it")]);
    let mut terminal = Terminal::open(site, deploy);
    for (time, typed) in [(1, WRONG), (2, RIGHT)] {
        terminal.wait_for(&format!("Passphrase of the {ca_key}: "), time);
        terminal.press(&format!("{typed}\r"));
    }
    let (_, screen) = terminal.end();
    assert!(screen.contains("code 0") && screen.contains("That passphrase is wrong."), "{screen}");
    assert_eq!(asked(&screen), 3, "{screen}");

    // Mistyped too often.
    let mut terminal = Terminal::open(site, "etcd-ha certs decrypt-ca -i lab.yaml; echo code $?");
    for time in 1..=3 {
        terminal.wait_for(&format!("Passphrase of the {ca_key}: "), time);
        terminal.press(&format!("{WRONG}\r"));
    }
    let (_, screen) = terminal.end();
    assert!(screen.contains(&format!("the passphrase of {ca_key} is wrong")) && screen.contains("code 2"), "{screen}");
    assert!(opens("file:passphrase"));
}

fn members_serve_what_they_should_not(site: &Site) {
    let put = |node: &str, file: &str, from: &Path| {
        let content = fs::read_to_string(from).unwrap().replace('\n', "\\n");
        site.lab.read(node, &format!("printf '%b' '{content}' >/etc/etcd/ssl/{file}"));
    };
    let (certificate, key) = strangers_certificate(&site.path("stranger"));
    put("node02", "server.pem", &certificate);
    put("node02", "server-key.pem", &key);
    let pki = site.path("lab.pki");
    put("node01", "peer.pem", &pki.join("node03-peer.pem"));
    put("node01", "peer-key.pem", &pki.join("node03-peer-key.pem"));
    for words in ["certs verify", "certs verify --direct"] {
        site.run(words).exits(1).says(&[
            "node01, peer port 2380:\n",
            &format!("  it does not name `{}`, `node01`\n", site.lab.address(1)),
            "  it is not `node01-peer.pem` of the PKI folder, whose serial number is ",
            "node02, client port 2379:\n  another CA issued it: `CN=stranger`\n",
            "4 of 6 ports as they should be, 2 wrong",
        ]);
    }
    // What the hints say: a deploy puts it back, without a restart.
    let pid = site.pid(2);
    put("node01", "peer.pem", &pki.join("node01-peer.pem"));
    put("node01", "peer-key.pem", &pki.join("node01-peer-key.pem"));
    site.run("deploy").exits(0);
    site.run("certs verify").exits(0);
    assert_eq!(site.pid(2), pid);

    // One that is down, and one whose host is: the others are told of.
    site.lab.read("node01", "systemctl stop etcd");
    site.lab.run(&["cut", "node03"]);
    let ran = site.run("certs verify --timeout 2").exits(1).says(&[
        "node01, client port 2379:\n  tcp: ",
        "node02  peer 2380    CN=node02",
        "node03, peer port 2380:\n  ssh: host `node03`: ",
        "2 of 6 ports as they should be, 4 not reached",
    ]);
    assert!(ran.took.as_secs() < 10, "{ran:?}");
}
