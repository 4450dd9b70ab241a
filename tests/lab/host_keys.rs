//! Getting to know the hosts of a site, over a jump host, and what becomes of those that are not who they were.

use crate::members::{Members, node};
use crate::site::{Inventory, Ran, Site};
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A site whose second and third host lie behind the first, and of whose keys nobody knows anything.
struct Strangers {
    site: Site,
    inventory: Inventory,
}

impl Strangers {
    fn up(config: &str) -> Self {
        let site = Site::up(3);
        let mut inventory = site.inventory(1..=3);
        fs::write(site.path("known_hosts"), "").unwrap();
        let config = format!("{config}Host node01\n  HostName {}\n", site.lab.address(1));
        site.write_file("ssh_config", &config);
        inventory.ssh += "config: ./ssh_config\n";
        let mut strangers = Self { site, inventory };
        strangers.write(["", ""]);
        strangers
    }

    /// Writes the inventory, with further keys for how the second and the third host are reached.
    fn write(&mut self, more: [&str; 2]) {
        for (host, more) in self.inventory.hosts[1..].iter_mut().zip(more) {
            host.2 = format!("ssh: {{ jump: node01{more} }}");
        }
        self.site.write(&self.inventory);
    }

    fn known(&self) -> String {
        fs::read_to_string(self.site.path("known_hosts")).unwrap()
    }

    /// The fingerprint of a host's key, as its own `ssh-keygen` has it.
    fn fingerprint(&self, host: usize) -> String {
        let said = self.site.lab.read(&node(host), "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
        said.split(' ').nth(1).unwrap().to_owned()
    }

    /// The known_hosts line of a host, without its newline.
    fn line(&self, host: usize) -> String {
        let key = self.site.lab.read(&node(host), "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
        format!("{} {key}", self.site.lab.address(host))
    }

    /// The line of a host as `ssh-keygen -F` finds it, hashed or not, and its number from 1.
    fn place(&self, host: usize) -> (usize, String) {
        let mut find = Command::new("ssh-keygen");
        find.args(["-F", &self.site.lab.address(host), "-f"]).arg(self.site.path("known_hosts"));
        let said = String::from_utf8(find.output().unwrap().stdout).unwrap();
        let found: Vec<&str> = said.lines().collect();
        let [comment, line] = found[..] else { panic!("not one line for host {host}: {said}") };
        (comment.rsplit(' ').find_map(|word| word.parse().ok()).unwrap(), line.to_owned())
    }

    /// Runs `etcd-ha` on a terminal, where `answers` are typed, each once it has been asked for.
    fn on_a_terminal(&self, words: &str, answers: &[&str]) -> Ran {
        let words = format!("{words} -i lab.yaml");
        let mut command = self.site.command("");
        let all = [command.get_program()].into_iter().chain(command.get_args());
        let program: Vec<_> = all.map(|word| word.to_string_lossy().into_owned()).collect();
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{} {words}", program.join(" ")), "/dev/null"]);
        script.current_dir(command.get_current_dir().unwrap()).env_clear();
        for (name, value) in command.get_envs() {
            script.env(name, value.unwrap_or_default());
        }
        command = script;
        let begun = Instant::now();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (mut read, mut byte, mut answers) = (Vec::new(), [0], answers.iter());
        while stdout.read(&mut byte).unwrap_or(0) > 0 {
            read.extend(byte);
            if read.ends_with(b"[y/N] ") {
                let answer = answers.next().expect("more was asked than is answered");
                stdin.write_all(format!("{answer}\n").as_bytes()).unwrap();
            }
        }
        assert!(answers.next().is_none(), "not everything was asked: {}", String::from_utf8_lossy(&read));
        let mut output = child.wait_with_output().unwrap();
        output.stdout = read;
        Ran::new(&words, &output, begun.elapsed())
    }
}

pub fn a_site_is_got_to_know_over_its_jump_host() {
    let strangers = Strangers::up("HashKnownHosts yes\n");
    let site = &strangers.site;
    let prints: Vec<String> = (1..=3).map(|host| strangers.fingerprint(host)).collect();
    let unknown = format!("the host key of `{}:22` is unknown: ssh-ed25519 {}", site.lab.address(1), prints[0]);
    for words in ["plan", "deploy"] {
        site.run(words).exits(1).says(&[&unknown, "`etcd-ha trust -i …`", "`ssh-keygen -lf`", "the jump host before"]);
    }
    // Nobody is there to be asked.
    site.run("trust").exits(2).says(&[&prints[0], "say `--yes`"]).never_says(&[&prints[1]]);
    strangers.on_a_terminal("trust", &["n"]).exits(1).says(&[&prints[0], "0 of 3 host keys are known"]);
    strangers.on_a_terminal("trust", &[""]).exits(1).says(&["0 of 3 host keys are known"]);
    assert_eq!(strangers.known(), "");
    let asked = strangers.on_a_terminal("trust", &["y", "n"]).exits(1);
    asked.says(&[&prints[1], &prints[2], "Write 2 new host keys down", "1 of 3 host keys are known"]);
    assert_eq!(strangers.known().lines().count(), 1);
    strangers.on_a_terminal("trust", &["y"]).exits(0).says(&["3 host keys are known"]);
    let known = strangers.known();
    assert!(known.lines().count() == 3 && known.lines().all(|line| line.starts_with("|1|")), "{known}");
    for host in 1..=3 {
        let key = strangers.line(host).rsplit(' ').next().unwrap().to_owned();
        assert!(strangers.place(host).1.ends_with(&key), "{host}: {known}");
    }
    site.run("trust").exits(0).says(&["3 host keys are known"]);
    site.run("trust --yes").exits(0);
    assert_eq!(strangers.known(), known);

    site.run("plan --detailed-exitcode").exits(10);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    site.run("health").exits(0).says(&["cluster is healthy"]);
    // The way did lead over the jump host.
    let said = site.lab.read("node02", "journalctl -u ssh --no-pager | grep -F 'Accepted publickey'");
    let from = format!(" from {} ", site.lab.address(1));
    assert!(said.lines().count() > 1 && said.lines().all(|line| line.contains(&from)), "{said}");

    // Another machine in the place of node02, or a new installation.
    let renew = "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; \
                 systemctl restart ssh";
    site.lab.read("node02", renew);
    let new = strangers.fingerprint(2);
    let place = format!("known_hosts:{}` has ssh-ed25519 {}", strangers.place(2).0, prints[1]);
    let changed = format!("the host key of `{}:22 through node01` has changed", site.lab.address(2));
    for words in ["plan", "deploy", "trust --yes"] {
        site.run(words).exits(1).says(&[&changed, &new, &place, "ssh-keygen -R"]);
        assert_eq!(strangers.known(), known);
    }
    site.run("health").exits(3).says(&[&new, "cluster is degraded"]);
    site.run("trust").exits(1).says(&["CHANGED: ", "2 of 3 host keys are known"]);
    Members::of(site, 3).assert_whole();
    // As the hint has it.
    let mut forget = Command::new("ssh-keygen");
    forget.args(["-R", &site.lab.address(2), "-f"]).arg(site.path("known_hosts"));
    assert!(forget.output().unwrap().status.success());
    site.run("trust --yes --limit node02").exits(0).says(&[&new, "2 host keys are known"]);
    site.run("health").exits(0).says(&["cluster is healthy"]);
}

pub fn certified_and_pinned_hosts_need_no_line_of_their_own() {
    let mut strangers = Strangers::up("");
    let ca = strangers.site.path("ca");
    let mut keygen = Command::new("ssh-keygen");
    assert!(keygen.args(["-q", "-t", "ecdsa", "-N", "", "-f"]).arg(&ca).status().unwrap().success());
    let ca_line = fs::read_to_string(ca.with_extension("pub")).unwrap();
    let network = strangers.site.lab.address(0).rsplit_once('.').unwrap().0.to_owned();
    let authority = format!("@cert-authority {network}.* {ca_line}");
    for host in 1..=3 {
        certify(&strangers.site, host, &strangers.site.lab.address(host), "-1h:+1h");
    }
    strangers.site.write_file("known_hosts", &authority);
    strangers.site.run("plan --detailed-exitcode").exits(10);
    let certified = "certified by the authority of ";
    let ran = strangers.site.run("trust").exits(0).says(&[certified, "3 host keys are known"]);
    assert_eq!(ran.stdout.matches(certified).count(), 3, "{ran:?}");
    assert_eq!(strangers.known(), authority);
    // Certificates that are good no more, or are another host's.
    certify(&strangers.site, 2, &strangers.site.lab.address(2), "-2h:-1h");
    certify(&strangers.site, 3, &strangers.site.lab.address(2), "-1h:+1h");
    let other = format!("its certificate does not count: it is for {}", strangers.site.lab.address(2));
    strangers.site.run("plan").exits(1).says(&["its certificate does not count: it expired at 2", &other]);
    strangers.site.run("trust").exits(2).says(&["new; its certificate does not count: it expired at 2", &other]);
    assert_eq!(strangers.known(), authority);
    // A key in such a certificate may be known by itself.
    let lines = format!("{authority}{}\n{}\n", strangers.line(2), strangers.line(3));
    strangers.site.write_file("known_hosts", &lines);
    strangers.site.run("plan --detailed-exitcode").exits(10);
    strangers.site.write_file("known_hosts", &format!("{lines}@revoked * {ca_line}"));
    strangers.site.run("plan").exits(1).says(&["is certified by ecdsa-sha2-nistp256 SHA256:", "which is revoked by `"]);

    // Pinned in the inventory: one by a key of another type than the one that is shown first.
    strangers.site.lab.read(
        "node03",
        "rm /etc/ssh/ssh_host_*cert*; ssh-keygen -q -t rsa -N '' -f /etc/ssh/ssh_host_rsa_key; \
         sed -i '/^HostCertificate/d' /etc/ssh/sshd_config; systemctl restart ssh",
    );
    let rsa = strangers.site.lab.read("node03", "ssh-keygen -lf /etc/ssh/ssh_host_rsa_key.pub");
    let (pin, rsa) = (strangers.fingerprint(2), rsa.split(' ').nth(1).unwrap().to_owned());
    let one = strangers.line(1);
    strangers.site.write_file("known_hosts", &format!("{one}\n"));
    let right = [format!(", host_key: \"{pin}\""), format!(", host_key: [\"{rsa}\"]")];
    strangers.write([&right[0], &right[1]]);
    strangers.site.run("plan --detailed-exitcode").exits(10);
    let ran = strangers.site.run("trust").exits(0).says(&[&pin, &rsa, "3 host keys are known"]);
    assert_eq!(ran.stdout.matches("pinned in the inventory").count(), 2, "{ran:?}");
    strangers.write([&right[0], &right[0]]);
    let shown = strangers.fingerprint(3);
    let words = format!("it presents ssh-ed25519 {shown}, ssh-rsa {rsa}, and pinned is {pin}");
    strangers.site.run("plan").exits(1).says(&[&words, "is not the one of the inventory"]);
    strangers.site.run("trust --yes").exits(1).says(&["NOT PINNED: ", &words, "2 of 3 host keys are known"]);
    assert_eq!(strangers.known(), format!("{one}\n"));
}

/// Gives a host a certificate for a name, by the authority in the operator's folder.
fn certify(site: &Site, host: usize, principal: &str, validity: &str) {
    let key = site.lab.read(&node(host), "cat /etc/ssh/ssh_host_ed25519_key.pub");
    let name = format!("host{host}.pub");
    site.write_file(&name, &format!("{key}\n"));
    let mut keygen = Command::new("ssh-keygen");
    keygen.arg("-q").arg("-s").arg(site.path("ca")).args(["-h", "-I", "a host", "-n", principal, "-V", validity]);
    assert!(keygen.arg(site.path(&name)).status().unwrap().success());
    let certificate = fs::read_to_string(site.path(&format!("host{host}-cert.pub"))).unwrap();
    let script = format!(
        "echo '{}' >/etc/ssh/ssh_host_ed25519_key-cert.pub; sed -i '/^HostCertificate/d' /etc/ssh/sshd_config; \
         sed -i '1i HostCertificate /etc/ssh/ssh_host_ed25519_key-cert.pub' /etc/ssh/sshd_config; systemctl restart ssh",
        certificate.trim_end()
    );
    site.lab.read(&node(host), &script);
}
