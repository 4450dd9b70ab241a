//! Root's rights by way of sudo and doas that ask for a password.

use crate::members::{Members, node};
use crate::site::{Inventory, Ran, Site, eventually};
use etcd_ha::etcd::lint::Rules;
use etcd_ha::host::{Connection, Password};
use etcd_ha::ssh::Connector;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A password that no shell and no sudo may take for anything else.
const PASSWORD: &str = "Tr0ub4dor'&3 $x\"%h\\";

/// What node01, node02 and node03 have in common: ops has the password, and no rule without one.
const RULES: [&str; 3] = [
    "printf 'Defaults lecture=always\\nops ALL=(ALL) ALL\\n' >/etc/sudoers.d/ops",
    "printf 'Defaults requiretty\\nops ALL=(ALL) ALL\\n' >/etc/sudoers.d/ops",
    "rm -f /etc/sudoers.d/ops; echo 'permit ops' >/etc/doas.conf; chmod 600 /etc/doas.conf",
];

/// The same hosts without the question.
const RULES_WITHOUT: [&str; 3] = [
    "printf 'Defaults lecture=always\\nops ALL=(ALL) NOPASSWD:ALL\\n' >/etc/sudoers.d/ops",
    "printf 'Defaults requiretty\\nops ALL=(ALL) NOPASSWD:ALL\\n' >/etc/sudoers.d/ops",
    "echo 'permit nopass ops' >/etc/doas.conf",
];

fn set(site: &Site, rules: [&str; 3]) {
    for (host, rule) in (1..).zip(rules) {
        site.lab.read(&node(host), rule);
    }
}

/// Three hosts that ask for the password, the second of them on a terminal only, the third by doas.
fn asking() -> (Site, Inventory) {
    let site = Site::up(3);
    let mut inventory = site.inventory(1..=3);
    inventory.ssh += "user: ops\n";
    inventory.hosts[2].2 = "ssh: { become: doas }".to_owned();
    site.write(&inventory);
    site.write_file("password", &format!("{PASSWORD}\nnot this\n"));
    site.write_file("wrong", "wrong\n");
    fs::write(site.lab.folder().join("password"), format!("ops:{PASSWORD}\n")).unwrap();
    for host in 1..=3 {
        let passwords = fs::File::open(site.lab.folder().join("password")).unwrap();
        let set = site.lab.command().args(["exec", &node(host), "chpasswd"]).stdin(passwords).status().unwrap();
        assert!(set.success());
    }
    set(&site, RULES);
    // The controls: they ask, and the second wants a terminal.
    for (host, command, words) in [
        (1, "sudo -n true", "a password is required"),
        (2, "sudo -n true", "must have a tty"),
        (3, "doas -n true", "Authentication required"),
    ] {
        let said = site.lab.command().args(["sh", &format!("ops@{}", node(host)), command]).output().unwrap();
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(said.contains(words), "{}: {said}", node(host));
    }
    (site, inventory)
}

/// Runs `etcd-ha` with a file as its descriptor 3.
fn with_descriptor(site: &Site, words: &str, file: &str) -> Ran {
    let words = format!("{words} --become-pass-fd 3 -i lab.yaml");
    let inner = site.command(&words);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("exec \"$0\" \"$@\" 3<{file}")]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(inner.get_current_dir().unwrap()).env_clear().stdin(Stdio::null());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let begun = Instant::now();
    let output = command.output().unwrap();
    Ran::new(&words, &output, begun.elapsed())
}

fn with_command(site: &Site, words: &str) -> Ran {
    site.run(&format!("{words} --become-pass-command cat<password"))
}

/// Owners, modes and targets of all that a deploy brings to a host.
fn rights(site: &Site, host: usize) -> String {
    let script = "find /etc/etcd /opt/etcd /usr/local/bin /var/lib/etcd /etc/systemd/system/etcd.service \
         -maxdepth 4 ! -path '*/member/*' -printf '%p %M %U:%G %l\\n' | \
         sed 's/[.]ssl-[0-9a-f]*/.ssl-DIGEST/g' | sort; id etcd";
    site.lab.read(&node(host), script)
}

pub fn sudo_and_doas_are_given_the_password_and_nobody_else_is() {
    let (site, mut inventory) = asking();
    // Nothing is tried blindly, and who is refused learns which flag helps.
    site.run("deploy").exits(1).says(&[
        "host `node01`: `sudo -n sh` wants a password for `ops`",
        "host `node02`: `sudo -n sh` wants a password for `ops`",
        "host `node03`: `doas -n sh` wants a password for `ops`",
        "--ask-become-pass",
    ]);
    site.run("deploy --ask-become-pass").exits(2).says(&["there is none", "--become-pass-fd"]);

    let watches = Watch::all(&site);
    with_descriptor(&site, "deploy -v", "password")
        .exits(0)
        .ends("done: cluster lab is healthy, 3 of 3 members, ")
        .never_says(&[PASSWORD, "cannot be understood", "not tried"]);
    let members = Members::of(&site, 3);
    members.assert_whole();

    let root = Site::up(1);
    root.run("deploy").exits(0);
    for host in 1..=3 {
        assert_eq!(rights(&site, host), rights(&root, 1), "{}", node(host));
    }
    drop(root);

    inventory.settings = "heartbeat-interval: 120".to_owned();
    site.write(&inventory);
    with_command(&site, "deploy -v").exits(0).says(&["3 of 3 members"]).never_says(&[PASSWORD]);
    with_command(&site, "health").exits(0).says(&["cluster is healthy"]).never_says(&[PASSWORD]);
    with_command(&site, "rollback -v").exits(0).never_says(&[PASSWORD]);
    let json = with_command(&site, "deploy -v -o json").exits(0).never_says(&[PASSWORD]);
    assert!(json.stdout.contains("run_finished"), "{json:?}");
    members.assert_whole();
    for watch in watches {
        watch.found_nothing(&site);
    }
    for log in crate::site::files_below(&site.path("state")) {
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
        assert!(!text.contains(PASSWORD) && !text.contains("Tr0ub4dor"), "{}", log.display());
    }

    compare_times(&site);

    // A host that does not know its own name: sudo is slow there, and it is said why.
    site.lab.read("node01", "hostname nobody-knows");
    with_command(&site, "plan").exits(0).says(&["sudo does not find the host's own name"]);
}

/// What the password costs a run that has nothing to do.
fn compare_times(site: &Site) {
    let median = |deploy: &dyn Fn() -> Ran| {
        let mut times: Vec<_> = (0..5).map(|_| deploy().exits(0).ends("done: cluster lab is healthy").took).collect();
        times.sort();
        times[2]
    };
    let with = median(&|| with_command(site, "deploy"));
    set(site, RULES_WITHOUT);
    // The password is there, and nobody asks.
    let unasked = median(&|| with_command(site, "deploy"));
    let without = median(&|| site.run("deploy"));
    eprintln!(
        "nothing to do: {with:?} with a password, {unasked:?} with one that nobody asks for, {without:?} without"
    );
}

/// Looks all the time whether a host's processes have the password among their words or variables.
struct Watch(usize);

impl Watch {
    fn all(site: &Site) -> Vec<Self> {
        site.write_file("pattern", PASSWORD);
        for host in 1..=3 {
            let pattern = fs::File::open(site.path("pattern")).unwrap();
            let put = ["exec", &node(host), "sh", "-c", "umask 077; cat >/root/pattern"];
            assert!(site.lab.command().args(put).stdin(pattern).status().unwrap().success());
            let script = "cd /root; cat >watch <<'END'\n\
                 while [ ! -e /root/stop ]; do\n\
                 cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' ' >/root/sample\n\
                 grep -aFf /root/pattern /root/sample >>/root/found\n\
                 grep -acE '(sudo [-]S -p|doas [s]h)' /root/sample >>/root/seen\n\
                 done\nEND\n\
                 systemd-run -q --unit watch sh /root/watch";
            site.lab.read(&node(host), script);
        }
        (1..=3).map(Self).collect()
    }

    fn found_nothing(self, site: &Site) {
        let node = node(self.0);
        // It saw the programs at work.
        assert!(site.lab.read(&node, "grep -vcx 0 /root/seen || true") != "0", "{node}: nothing was seen");
        assert_eq!(site.lab.read(&node, "cat /root/found"), "", "{node}");
        // It would have seen the password, be it for a moment.
        site.lab.read(&node, "sh -c 'sleep 3; :' \"$(cat /root/pattern)\"");
        assert_ne!(site.lab.read(&node, "touch /root/stop; cat /root/found"), "", "{node}: the watch is blind");
        let logs = "journalctl --no-pager -o export | grep -aFcf /root/pattern; \
             grep -raFlf /root/pattern /var/log /tmp /var/tmp /home /etc /run 2>/dev/null; true";
        site.lab.read(&node, "systemctl stop watch 2>/dev/null; rm -f /root/sample /root/found");
        assert_eq!(site.lab.read(&node, logs), "0", "{node}");
    }
}

pub fn a_wrong_password_is_tried_once_and_a_user_without_rights_is_told() {
    let (site, _) = asking();
    let attempts = || -> Vec<usize> {
        (1..=3)
            .map(|host| {
                let script = "journalctl --sync; journalctl --no-pager -o cat | \
                     grep -cE 'pam_unix\\((sudo|doas):auth\\): authentication failure' || true";
                site.lab.read(&node(host), script).parse().unwrap()
            })
            .collect()
    };
    let before = attempts();
    let refused = [
        "host `node01`: `sudo -S sh` refused the password for `ops`",
        "host `node02`: `sudo -S sh` refused the password for `ops`",
        "host `node03`: `doas sh` refused the password for `ops`",
        "will not be tried again",
    ];
    with_descriptor(&site, "deploy", "wrong").exits(1).says(&refused);
    let after: Vec<usize> = attempts().iter().zip(&before).map(|(after, before)| after - before).collect();
    assert_eq!(after, [1, 1, 1]);
    with_descriptor(&site, "deploy --limit node01 --dry-run", "wrong").exits(1);

    // Without rights, whatever the password.
    set(&site, ["rm /etc/sudoers.d/ops", "sed -i /ops/d /etc/sudoers.d/ops", ": >/etc/doas.conf"]);
    with_command(&site, "deploy").exits(1).says(&[
        "host `node01`: `sudo -S sh` was refused for `ops`: ops is not in the sudoers file",
        "host `node02`: `sudo -S sh` was refused for `ops`: ops is not in the sudoers file",
        "host `node03`: `doas sh` was refused for `ops`: doas: Operation not permitted",
        "let `ops` run `sh` as root",
    ]);
    set(&site, ["mv /usr/bin/sudo /root/", "mv /usr/bin/sudo /root/", "mv /usr/bin/doas /root/"]);
    for ran in [with_command(&site, "deploy"), site.run("deploy")] {
        ran.exits(1).says(&["cannot be run for `ops`: env: 'sudo': No such file", "env: 'doas': No such file"]);
    }
    set(&site, ["mv /root/sudo /usr/bin/", "mv /root/sudo /usr/bin/", "mv /root/doas /usr/bin/"]);
    for host in 1..=3 {
        assert_eq!(site.lab.read(&node(host), "ls -A /opt; id etcd 2>&1 || true"), "id: 'etcd': no such user");
    }

    // A host that gives no terminal, and one whose doas does not ask.
    set(&site, RULES);
    set(&site, [":", "echo 'PermitTTY no' >>/etc/ssh/sshd_config; systemctl restart ssh", RULES_WITHOUT[2]]);
    let ran = with_command(&site, "deploy").exits(1).says(&["gives no terminal", "PermitTTY", "node03 preflight: ok"]);
    assert!(ran.stderr.contains("node02"), "{ran:?}");
    set(&site, RULES_WITHOUT);
    set(&site, [":", "sed -i '/PermitTTY/d' /etc/ssh/sshd_config; systemctl restart ssh", ":"]);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
}

pub fn what_is_cut_off_on_a_terminal_clears_up_behind_itself() {
    let (site, _) = asking();
    streamed(&site);
    let left = |host| site.lab.read(&node(host), "ls -A /opt/etcd/releases 2>/dev/null | grep incoming || true");
    for host in 1..=3 {
        site.lab.run(&["rate", &node(host), "20mbit"]);
    }
    let deploy = site.start("deploy --become-pass-command cat<password");
    for host in 1..=3 {
        eventually("an upload is under way", Duration::from_secs(60), || !left(host).is_empty());
    }
    deploy.signal("KILL");
    deploy.wait();
    // In brackets, lest the shell that looks sees itself.
    let gone = "pgrep -fa 'sudo [-]S|doas [s]h|head [-]c' || true";
    for host in 1..=3 {
        eventually("the upload is cleared away", Duration::from_secs(60), || left(host).is_empty());
        eventually("its processes are gone", Duration::from_secs(20), || site.lab.read(&node(host), gone).is_empty());
        site.lab.run(&["rate", &node(host), "off"]);
    }
    // What is held goes with its holder.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(held(&site));
    with_command(&site, "deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
}

/// What is streamed from a host is told apart where that can be, and ends with the controller.
fn streamed(site: &Site) {
    let exec = |words: &str| {
        let words = format!("exec --become-pass-command cat<password -i lab.yaml {words}");
        site.command(&words).output().unwrap()
    };
    for host in 1..=3 {
        let ran = exec(&format!("{} -- id -u", node(host)));
        assert_eq!((&ran.stdout[..], &ran.stderr[..]), (&b"0\n"[..], &b""[..]), "{}", node(host));
        let ran = exec(&format!("{} -- ls /nowhere", node(host)));
        let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8(said).unwrap());
        assert_eq!(ran.status.code(), Some(2), "{said:?}");
        let said = said.concat();
        assert!(said.contains("cannot access '/nowhere'") && said.lines().count() == 1, "{}: {said}", node(host));
    }
    let sleeps = |host| site.lab.read(&node(host), "pgrep -fa '^sleep 300|[h]ead -c|sudo [-]S|doas [s]h' || true");
    let gone = || {
        for host in 1..=3 {
            eventually("what was streamed is gone", Duration::from_secs(10), || sleeps(host).is_empty());
        }
    };
    assert_eq!(exec("--timeout 2 -- sleep 300").status.code(), Some(124));
    gone();
    for signal in ["INT", "KILL"] {
        let mut command = site.command("exec --become-pass-command cat<password -i lab.yaml -- sleep 300");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        for host in 1..=3 {
            let sleeping = || sleeps(host).contains("sleep 300");
            eventually("it sleeps", Duration::from_secs(20), sleeping);
        }
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap();
        gone();
    }
}

/// What is held on a host goes on, and ends with the hold, and with the connection.
async fn held(site: &Site) {
    let inventory = etcd_ha::inventory::Inventory::load(&site.path("lab.yaml"), &Rules).unwrap();
    let password = Arc::new(Password::new(zeroize::Zeroizing::new(PASSWORD.to_owned())));
    for (number, host) in (1..).zip(&inventory.hosts) {
        let marks = || site.lab.read(&node(number), "ls /run/held* 2>/dev/null || true");
        let script = "trap 'rm -f /run/held' EXIT; touch /run/held; id -u; cat >/dev/null; touch /run/held-ended";
        for polite in [true, false] {
            let connection = Connection::open(&Connector::default(), host, Some(password.clone())).await.unwrap();
            let (held, line) = connection.hold("hold", script).await.unwrap();
            assert_eq!(line, "0");
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(marks(), "/run/held", "{}", host.name);
            if polite {
                held.end().await;
                assert_eq!(marks(), "/run/held-ended", "{}", host.name);
                site.lab.read(&node(number), "rm /run/held-ended");
            } else {
                drop((held, connection));
                eventually("the hold ends with the connection", Duration::from_secs(20), || {
                    !marks().lines().any(|mark| mark == "/run/held")
                });
            }
        }
    }
}
