//! Ways to the hosts as people have set them up: bastions, ssh_config, and sshds that are not what one would wish for.

use crate::members::{Members, node};
use crate::site::{Site, eventually};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const DONE: &str = "done: cluster lab is healthy, 3 of 3 members, ";

/// From the controller's side nothing comes back from the host any more; the other hosts reach it as ever.
fn hide_from_the_controller(site: &Site, number: usize) {
    let address = site.lab.address(number);
    site.lab.run(&["hide", &node(number)]);
    let hidden = TcpStream::connect_timeout(&format!("{address}:22").parse().unwrap(), Duration::from_millis(500));
    assert!(hidden.is_err(), "{} can be reached", node(number));
}

/// How often a user has logged in on a host so far.
fn logins(site: &Site, number: usize) -> usize {
    let script = "journalctl -u ssh -o cat --no-pager | grep -c '^Accepted publickey' || true";
    site.lab.read(&node(number), script).parse().unwrap()
}

/// Three members behind two bastions, one behind the other, all of it said in an ssh_config.
fn behind_bastions(site: &Site) -> String {
    let (outer, inner) = (4, 5);
    fs::copy(site.lab.known_hosts(), site.path("known_hosts")).unwrap();
    let address = |number| site.lab.address(number);
    let config = format!(
        "Host outer\n  HostName {}\n  User ops\n\
         Host inner\n  HostName {}\n  ProxyJump outer\n\
         Host node0?\n  ProxyJump inner\n\
         Host *\n  User root\n  IdentityFile {}\n  UserKnownHostsFile {}\n  ConnectTimeout 5\n",
        address(outer),
        address(inner),
        site.lab.identity().display(),
        site.path("known_hosts").display(),
    );
    site.write_file("ssh_config", &config);
    for number in [1, 2, 3, inner] {
        hide_from_the_controller(site, number);
    }
    config
}

pub fn hosts_behind_bastions_are_deployed_to_from_outside() {
    let site = Site::up(5);
    let config = behind_bastions(&site);
    let mut inventory = site.inventory(1..=3);
    inventory.ssh = "config: ssh_config".to_owned();
    site.write(&inventory);

    let before = [4, 5].map(|bastion| logins(&site, bastion));
    site.run("deploy").exits(0).ends(DONE);
    // One connection to each bastion carries all hosts' and all their etcd tunnels.
    assert_eq!([4, 5].map(|bastion| logins(&site, bastion)), before.map(|count| count + 1));
    let members = Members::of(&site, 3);
    members.assert_whole();
    site.run("health").exits(0).says(&["cluster is healthy"]);
    inventory.settings = "heartbeat-interval: 120".to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0).ends(DONE);
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));

    // Who says what can be seen.
    let shown = site.run("ssh-config node02").exits(0);
    let line = |words: &[&str]| {
        let found = shown.stdout.lines().any(|line| line.split_whitespace().eq(words.iter().copied()));
        assert!(found, "no {words:?} in\n{}", shown.stdout);
    };
    line(&["jump", "host", "outer"]);
    line(&["jump", "host", "inner"]);
    line(&["host", "node02,", "as", "`ssh", "node02`"]);
    line(&["HostName", &site.lab.address(2), "#", "inventory"]);
    line(&["User", "ops", "#", "ssh_config"]);
    line(&["ProxyJump", "inner", "#", "ssh_config"]);
    line(&["ServerAliveInterval", "5", "#", "default"]);

    // The control: without the bastions nobody gets there.
    let straight = inventory.clone();
    let with = |more: &str| {
        let mut inventory = straight.clone();
        inventory.ssh += more;
        site.write(&inventory);
    };
    with("\njump: none\nconnect_timeout: 1s");
    site.run("health").exits(3).says(&["no answer from"]);
    // The inventory's own jump hosts outdo ssh_config's.
    with("\njump: [outer, inner]");
    site.run("health").exits(0);
    // As does a command; here OpenSSH's own.
    let command =
        format!("Host node0?\n  ProxyCommand ssh -F {} -q -W %h:%p inner\n", site.path("ssh_config2").display());
    site.write_file("ssh_config2", &config);
    site.write_file("ssh_config", &format!("{command}{}", config.replace("Host node0?\n  ProxyJump inner\n", "")));
    with("");
    site.run("health").exits(0).says(&["cluster is healthy"]);
    site.write_file("ssh_config", &format!("Host node0?\n  ProxyCommand sh -c 'echo no way >&2; exit 1'\n{config}"));
    site.run("health").exits(3).says(&["ProxyCommand", "no way"]);

    // What goes wrong at a bastion is told of the bastion.
    site.write_file("ssh_config", &config);
    site.lab.read("node04", "echo 'AllowTcpForwarding no' >>/etc/ssh/sshd_config; systemctl restart ssh");
    site.run("plan").exits(1).says(&["the jump host before", "administratively prohibited", "AllowTcpForwarding"]);
    site.lab.read("node04", "sed -i '/AllowTcpForwarding/d' /etc/ssh/sshd_config; systemctl restart ssh");
    site.lab.run(&["kill", "node05"]);
    let ran = site.run("plan").exits(1).says(&["the jump host before"]);
    assert!(ran.took < Duration::from_secs(30), "{ran:?}");
}

pub fn sshds_of_all_kinds_are_got_along_with() {
    let site = Site::up(3);
    // node01: one session at a time. node02: /tmp from which nothing can be run, a locale of old. node03: log-ins
    // are turned away while another one is under way.
    site.lab.read("node01", "echo 'MaxSessions 1' >>/etc/ssh/sshd_config; systemctl restart ssh");
    site.lab.read(
        "node02",
        "mount -t tmpfs -o noexec,nosuid,nodev tmpfs /tmp; echo 'LC_ALL=de_DE.ISO-8859-1' >>/etc/environment; \
         printf 'export LANG=de_DE.ISO-8859-1\\nprintf \"Gr\\\\374\\\\337e\\\\n\"\\n' >>/root/.bashrc; \
         sed -i '1i printf \"Gr\\\\374\\\\337e\\\\n\"' /etc/bash.bashrc",
    );
    site.lab.read(
        "node03",
        "printf 'MaxStartups 1:100:1\\nLoginGraceTime 2\\n' >>/etc/ssh/sshd_config; systemctl restart ssh",
    );
    let address = format!("{}:22", site.lab.address(3));
    eventually("node03's sshd", Duration::from_secs(5), || TcpStream::connect(&address).is_ok());
    let held = TcpStream::connect(&address).unwrap();
    site.run("deploy").exits(0).ends(DONE);
    drop(held);
    let members = Members::of(&site, 3);
    members.assert_whole();
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
    site.run("health").exits(0);

    // A login shell as it must not be is said to be one; a home folder that is not there does no harm.
    site.lab
        .read("node02", "mv /root/.bashrc /root/.bashrc.old; echo 'exec cat' >/root/.bashrc; chsh -s /bin/bash root");
    site.run("plan").exits(1).says(&["node02"]);
    site.lab.read("node02", "mv /root/.bashrc.old /root/.bashrc");

    // sshd that takes the connection and says nothing; the others are looked at all the same.
    let pid = site.lab.read("node03", "systemctl show ssh -p MainPID --value");
    site.lab.read("node03", &format!("kill -STOP {pid}"));
    let ran = site.run("plan").exits(1).says(&["node03", "sent no SSH banner within 3 s"]);
    assert!(ran.took < Duration::from_secs(15), "{ran:?}");
    site.lab.read("node03", &format!("kill -CONT {pid}"));

    // A file system that went read-only.
    site.lab.read("node02", "mount --bind /opt /opt && mount -o remount,bind,ro /opt");
    site.run("plan").exits(1).says(&["node02", "`/opt/etcd` cannot be written"]);
    site.lab.read("node02", "umount /opt");
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
}

pub fn hosts_that_have_only_ipv6_addresses_are_deployed_to() {
    let site = Site::up(3);
    // The last parts of both addresses are written the same.
    let v6 = |number: usize| {
        let v4 = site.lab.address(number);
        let parts: Vec<&str> = v4.split('.').collect();
        format!("fd19:{}::{}", parts[2], parts[3])
    };
    for number in 1..=3 {
        site.lab.run(&["ipv6", &node(number)]);
    }
    let mut inventory = site.inventory(1..=3);
    let known = fs::read_to_string(site.path("known_hosts")).unwrap();
    let mut renamed = known.clone();
    for number in 1..=3 {
        renamed = renamed.replace(&site.lab.address(number), &v6(number));
        inventory.hosts[number - 1].1 = v6(number);
    }
    fs::write(site.path("known_hosts"), renamed).unwrap();
    fs::set_permissions(site.path("known_hosts"), fs::Permissions::from_mode(0o600)).unwrap();
    site.write(&inventory);
    site.run("deploy").exits(0).ends(DONE);
    site.run("health").exits(0);
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
}
