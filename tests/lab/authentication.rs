//! Logging in by what sshd's settings leave: certificates, passwords, questions, several at once, keys with passphrases.

use crate::members::node;
use crate::site::{Inventory, Ran, Site, files_below};
use crate::terminal::Terminal;
use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct-horse";
const WRONG: &str = "battery-staple";
const PASSPHRASE: &str = "open-sesame";
/// Longer than sshd waits here for a log-in.
const OVERLONG: Duration = Duration::from_secs(18);

/// The user `ops` with a key of their own, which no host knows yet.
fn operator(site: &Site) -> Inventory {
    keygen(site, &["-t", "ed25519", "-N", "", "-f", "op"]);
    let mut inventory = site.inventory(1..=3);
    let identity = site.lab.identity().display().to_string();
    inventory.ssh = inventory.ssh.replace(&identity, &site.path("op").display().to_string());
    // PAM takes its time over a wrong password.
    inventory.ssh = inventory.ssh.replace("connect_timeout: 3s", "connect_timeout: 20s");
    inventory.ssh += "user: ops\nbecome: true\n";
    site.write(&inventory);
    site.write_file("pass", &format!("{PASSWORD}\n"));
    site.write_file("wrong", &format!("{WRONG}\n"));
    inventory
}

fn keygen(site: &Site, words: &[&str]) {
    let folder = site.path("");
    let made = Command::new("ssh-keygen").arg("-q").args(words).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// Settings of sshd that go before all others; none: as the lab has it.
fn sshd(site: &Site, host: usize, settings: &str) {
    let script = format!(
        "echo ops:{PASSWORD} | chpasswd; printf '{}\\n' >/etc/ssh/sshd_config.d/00-test.conf; systemctl restart ssh",
        settings.replace('\n', "\\n")
    );
    site.lab.read(&node(host), &script);
}

fn know(site: &Site, host: usize) {
    let key = fs::read_to_string(site.path("op.pub")).unwrap();
    let script = format!("echo '{}' >>/home/ops/.ssh/authorized_keys", key.trim());
    site.lab.read(&node(host), &script);
}

/// Neither the screen nor anything that was written has a secret in it.
fn assert_secret(site: &Site, screen: &str) {
    let mut places = vec![("the screen".to_owned(), screen.to_owned())];
    for file in files_below(&site.path("state")) {
        places.push((file.display().to_string(), String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned()));
    }
    assert!(places.len() > 1, "no run log");
    for (place, text) in places {
        for secret in [PASSWORD, WRONG, PASSPHRASE] {
            assert!(!text.contains(secret), "{secret:?} is in {place}: {text}");
        }
    }
}

pub fn every_host_is_logged_in_to_by_what_its_sshd_takes() {
    let site = Site::up(3);
    operator(&site);
    // node01 knows only a CA; node02 only asks (PAM); node03 wants both.
    keygen(&site, &["-t", "ed25519", "-N", "", "-f", "ca"]);
    keygen(&site, &["-s", "ca", "-I", "the operator", "-n", "ops", "op.pub"]);
    let ca = fs::read_to_string(site.path("ca.pub")).unwrap();
    site.lab.read("node01", &format!("echo '{}' >/etc/ssh/ca.pub", ca.trim()));
    sshd(&site, 1, "TrustedUserCAKeys /etc/ssh/ca.pub\nAuthorizedKeysFile none\nPasswordAuthentication no");
    sshd(&site, 2, "PubkeyAuthentication no\nPasswordAuthentication no\nKbdInteractiveAuthentication yes");
    let both = "AuthenticationMethods publickey,password\nPasswordAuthentication yes\nLoginGraceTime 16";
    sshd(&site, 3, both);
    know(&site, 3);

    // Without a password, each host says what it lacks.
    let ran = site.run("plan").exits(1).says(&[
        "the server accepts keyboard-interactive",
        "accepted, but not enough by itself; the server accepts password",
        "say `--ask-pass`",
    ]);
    assert!(!ran.stderr.contains("node01 preflight: failed"), "{ran:?}");

    // Handed over in each of the ways.
    site.run("deploy --pass-command cat<pass").exits(0);
    let words = "plan --detailed-exitcode --pass-fd 0 -i lab.yaml";
    let begun = Instant::now();
    let output = site.command(words).stdin(File::open(site.path("pass")).unwrap()).output().unwrap();
    Ran::new(words, &output, begun.elapsed()).exits(0);
    site.run("health --pass-command cat<pass").exits(0).says(&["cluster is healthy"]);
    site.run("health").exits(3).says(&["the server accepts keyboard-interactive"]);
    let mut terminal = Terminal::open(&site, "etcd-ha plan --detailed-exitcode --ask-pass -i lab.yaml");
    terminal.wait_for("Password for SSH on the hosts: ", 1);
    terminal.press(&format!("{PASSWORD}\r"));
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(screen.matches("assword").count(), 1, "{screen}");
    assert_secret(&site, &screen);

    // Not handed over, but asked for, host by host. Who types for longer than sshd waits is not asked again.
    let mut terminal = Terminal::open(&site, "etcd-ha plan --detailed-exitcode -i lab.yaml");
    for question in 1..=2 {
        terminal.wait_for("assword: ", question);
        thread::sleep(OVERLONG);
        terminal.press(&format!("{PASSWORD}\r"));
    }
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(screen.matches("(ops@node02) Password: ").count(), 1, "{screen}");
    assert_eq!(screen.matches("ops@node03's password: ").count(), 1, "{screen}");
    assert_secret(&site, &screen);

    // Wrong: tried once, said, and nowhere repeated.
    let ran = site.run("plan --pass-command cat<wrong").exits(1).says(&[
        "keyboard-interactive refused; the server accepts",
        "password refused",
        "check the password",
    ]);
    assert_secret(&site, &format!("{ran:?}"));
    for host in [2, 3] {
        let failures =
            site.lab.read(&node(host), "journalctl -u ssh -o cat | grep -c 'authentication failure' || true");
        assert_eq!(failures, "1", "node0{host}");
    }

    // None where one is promised.
    for (words, said) in [
        ("plan --ask-pass", "`--ask-pass` asks on the terminal, and there is none"),
        ("health --ask-pass", "`--ask-pass` asks on the terminal, and there is none"),
        ("plan --pass-fd 7", "cannot read what `--pass-fd 7` is to hand over"),
        ("plan --pass-fd 0", "nothing came from `--pass-fd`"),
        ("plan --pass-command false", "the command of `--pass-command` failed: exit status: 1"),
        ("plan --pass-command true", "nothing came from `--pass-command`"),
        ("plan --ask-pass --pass-fd 0", "cannot be used with"),
    ] {
        site.run(words).exits(2).says(&[said]);
    }
}

pub fn a_passphrase_is_asked_for_once_for_all_hosts() {
    let site = Site::up(3);
    operator(&site);
    for host in 1..=3 {
        know(&site, host);
        sshd(&site, host, "LoginGraceTime 16\nPasswordAuthentication no");
    }
    site.run("deploy").exits(0);
    keygen(&site, &["-p", "-P", "", "-N", PASSPHRASE, "-f", "op"]);

    let mut terminal = Terminal::open(&site, "etcd-ha plan --detailed-exitcode -i lab.yaml");
    terminal.wait_for("Passphrase for the key", 1);
    terminal.press(&format!("{WRONG}\r"));
    terminal.wait_for("Passphrase for the key", 2);
    thread::sleep(OVERLONG);
    terminal.press(&format!("{PASSPHRASE}\r"));
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(screen.matches("Passphrase for the key").count(), 2, "{screen}");
    assert!(screen.contains("That passphrase is wrong"), "{screen}");
    assert_secret(&site, &screen);
    let mut terminal = Terminal::open(&site, "etcd-ha health --plain -i lab.yaml");
    terminal.wait_for("Passphrase for the key", 1);
    terminal.press(&format!("{PASSPHRASE}\r"));
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");

    // Nobody there.
    let said = ["it has a passphrase and is not in the agent", "ssh-add"];
    site.run("plan").exits(1).says(&said);

    // Left out, and left altogether: the terminal is as it was.
    let mut terminal = Terminal::open(&site, "etcd-ha plan -i lab.yaml; echo code $?; stty -a");
    terminal.wait_for("Passphrase for the key", 1);
    terminal.press("\r");
    terminal.wait_for("code 1", 1);
    let (_, screen) = terminal.end();
    assert!(screen.contains("and none was typed"), "{screen}");
    assert!(screen.contains(" echo "), "{screen}");
    for line in ["etcd-ha plan", "etcd-ha plan --plain", "etcd-ha health", "etcd-ha plan --ask-pass"] {
        let mut terminal = Terminal::open(&site, &format!("trap : INT; {line} -i lab.yaml; echo code $?; stty -a"));
        terminal.wait_for(if line.ends_with("pass") { "Password for SSH" } else { "Passphrase for the key" }, 1);
        terminal.press("secr\u{3}");
        let (_, screen) = terminal.end();
        assert!(screen.contains("code 130"), "{line}: {screen}");
        assert!(screen.contains(" echo "), "{line}: {screen}");
        assert!(!screen.contains("secr"), "{line}: {screen}");
    }
}
