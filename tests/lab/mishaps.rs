//! A member's turn that goes wrong: what is taken back, by whom, and what the next run makes of it.

use crate::broken::assert_tidy;
use crate::fixture::releases;
use crate::members::{Members, node};
use crate::site::{Inventory, Running, Site, eventually};
use std::process::Command;
use std::time::Duration;

const DONE: &str = "done: cluster lab is healthy, 3 of 3 members, ";
/// No address of any host: etcd ends at once.
const REFUSED: &str = "listen-metrics-urls: \"http://192.0.2.1:2381\"";
const GOOD: &str = "heartbeat-interval: 150";

/// The host whose turn comes first: a follower.
fn first(members: &Members<'_>) -> usize {
    if members.leader() == 1 { 2 } else { 1 }
}

fn in_force(site: &Site, host: usize) -> String {
    site.lab.read(&node(host), "cat /etc/etcd/etcd.conf")
}

fn with(site: &Site, settings: &str) -> Inventory {
    Inventory { settings: settings.to_owned(), ..site.inventory(1..=3) }
}

/// Starts to deploy these settings, up to where they are in force on the first host.
#[track_caller]
fn deploy_up_to_activation(site: &Site, members: &Members<'_>, settings: &str, flags: &str) -> (Running, usize) {
    site.write(&with(site, settings));
    let first = first(members);
    let mut running = site.start(&format!("deploy {flags}"));
    running.read_until(&format!("{} activate: changed", node(first)));
    (running, first)
}

/// Nothing of a way back is left on a host: no unit, no mark, no file beside what is in force.
#[track_caller]
fn assert_disarmed(site: &Site, host: usize) {
    let left = "systemctl list-units --all --no-legend 'etcd-ha-way-back*'; cd /etc/etcd; \
                ls -d .failed .*.new .taken-back .previous/unconfirmed .previous/way-back .previous/now 2>/dev/null || true";
    assert_eq!(site.lab.read(&node(host), left), "", "{}", node(host));
}

/// Makes a release of etcd whose `etcd` says this version when it is asked, and otherwise does what `body` says, in C.
fn make_release(site: &Site, version: &str, body: &str) {
    site.write_file(
        &format!("mirror/{version}.c"),
        &format!(
            "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\nint main(int n, char **words) {{\n\
             if (n > 1 && !strcmp(words[1], \"--version\")) {{ puts(\"etcd Version: {version}\\nmade for a test\"); return 0; }}\n{body}\n}}\n"
        ),
    );
    let script = format!(
        "set -e
        cd '{mirror}'; arch=$(basename {real}/v3.5.16/etcd-*.tar.gz .tar.gz); arch=${{arch##*-}}
        top=etcd-v{version}-linux-$arch; mkdir -p v{version} work/$top
        tar -xzf {real}/v3.5.16/etcd-*.tar.gz -C work --strip-components=1
        cp work/etcdctl work/etcdutl work/$top; cc -static -o work/$top/etcd {version}.c
        tar -C work -czf v{version}/$top.tar.gz $top; cd v{version}; sha256sum *.tar.gz >SHA256SUMS",
        mirror = site.path("mirror").display(),
        real = releases().display(),
    );
    let made = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

pub fn a_binary_that_crashes_or_hangs_is_taken_back() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    let pids = [1, 2, 3].map(|host| site.pid(host));
    make_release(&site, "3.5.97", "fputs(\"this etcd is broken\\n\", stderr); return 3;");
    make_release(&site, "3.5.98", "for (;;) pause();");
    let release = format!(
        "{{ url: \"file://{}/v{{version}}/etcd-v{{version}}-linux-{{arch}}.tar.gz\" }}",
        site.path("mirror").display()
    );
    let mut seen = pids;
    for (version, words) in [
        ("3.5.97", ["etcd does not stay up", "it said: this etcd is broken"]),
        ("3.5.98", ["waited 10 s in vain", "tcp: "]),
    ] {
        let first = first(&members);
        let before = in_force(&site, first);
        site.write(&Inventory { version: version.to_owned(), release: release.clone(), ..site.inventory(1..=3) });
        let ran = site.run("deploy --health-timeout 10").exits(6).ends("rolled back: ");
        ran.says(&words).says(&["the change was taken back, and the member is healthy with what it had before"]);
        for host in 1..=3 {
            let exe = site.lab.read(&node(host), "readlink /proc/$(systemctl show etcd -p MainPID --value)/exe");
            assert_eq!(exe, "/opt/etcd/releases/3.5.16/etcd", "{}", node(host));
            assert_eq!(site.pid(host) != seen[host - 1], host == first, "{version}: {}", node(host));
            assert_disarmed(&site, host);
        }
        assert_eq!(in_force(&site, first), before);
        members.assert_whole();
        seen = [1, 2, 3].map(|host| site.pid(host));
    }
    site.write(&site.inventory(1..=3));
    site.run("deploy").exits(0).ends(DONE);
    assert_eq!([1, 2, 3].map(|host| site.pid(host)), seen);
    assert_tidy(&site);
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
}

/// The timer is gone with the boot, so that the next run decides: by how the member is with what it finds in force.
pub fn a_host_that_loses_its_power_in_its_turn_is_seen_to_by_the_next_run() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    for (settings, good) in [(GOOD, true), (REFUSED, false)] {
        let pids = [1, 2, 3].map(|host| site.pid(host));
        let (running, first) = deploy_up_to_activation(&site, &members, settings, "");
        site.lab.run(&["kill", &node(first)]);
        let ran = running.wait().exits(1).says(&[
            "the host went out of reach; unless the member comes up, it takes the change back by itself within 90 s",
            "see to the host or the way to it, then run the same command again",
        ]);
        assert!(ran.took < Duration::from_secs(45), "{ran:?}");
        for host in (1..=3).filter(|host| *host != first) {
            assert_eq!(site.pid(host), pids[host - 1], "{} was touched", node(host));
        }
        site.lab.run(&["start", &node(first)]);
        let again = site.run("deploy --health-timeout 20");
        if good {
            again.exits(0).ends(DONE);
            for host in 1..=3 {
                assert_eq!(members.variable(host, "ETCD_HEARTBEAT_INTERVAL").as_deref(), Some("150"));
            }
        } else {
            again.exits(6).says(&["cannot assign requested address", "the change was taken back"]);
            assert_eq!(members.variable(first, "ETCD_LISTEN_METRICS_URLS"), None);
        }
        for host in 1..=3 {
            assert_disarmed(&site, host);
        }
        members.assert_whole();
    }
    site.write(&with(&site, GOOD));
    site.run("deploy").exits(0).ends(DONE);
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
    members.assert_whole();
    assert_tidy(&site);
}

/// With its link broken the host is on its own: it takes a bad change back. A good one stays if the link is back in time.
pub fn a_host_whose_link_breaks_in_its_turn_helps_itself() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    let out_of_reach =
        "the host went out of reach; unless the member comes up, it takes the change back by itself within ";

    let (running, first) = deploy_up_to_activation(&site, &members, REFUSED, "--health-timeout 3");
    site.lab.run(&["cut", &node(first)]);
    running.wait().exits(1).says(&[out_of_reach]);
    // Whether the link broke before the restart or behind it is chance; this is the worse case.
    site.lab.read(&node(first), "systemctl restart --no-block etcd");
    // Past ssh and network; 3 s and the grace of 30 s.
    let taken_back = || !site.lab.read(&node(first), "ls /etc/etcd/.taken-back 2>/dev/null || true").is_empty();
    eventually("the host took the change back", Duration::from_secs(90), taken_back);
    assert!(!in_force(&site, first).contains("192.0.2.1"));
    site.lab.run(&["heal", &node(first)]);
    eventually("healthy", Duration::from_secs(60), || site.run("health").code == Some(0));
    site.write(&site.inventory(1..=3));
    let told = "and took it back by itself";
    site.run("deploy")
        .exits(0)
        .says(&[&format!("{} warning: its member did not come up with the change of", node(first)), told]);
    site.run("deploy").exits(0).never_says(&[told]).ends(&format!("{DONE}nothing to do"));

    let (running, first) = deploy_up_to_activation(&site, &members, GOOD, "");
    site.lab.run(&["cut", &node(first)]);
    running.wait().exits(1).says(&[out_of_reach]);
    site.lab.run(&["heal", &node(first)]);
    eventually("healthy", Duration::from_secs(60), || site.run("health").code == Some(0));
    site.run("deploy").exits(0).ends(DONE);
    for host in 1..=3 {
        assert_eq!(members.variable(host, "ETCD_HEARTBEAT_INTERVAL").as_deref(), Some("150"), "{}", node(host));
        assert_disarmed(&site, host);
    }
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
    members.assert_whole();
    assert_tidy(&site);
}

/// While a member is down nobody else may be touched; a deploy repairs it first, then goes on to the others.
pub fn a_member_that_was_stopped_by_hand_is_repaired_before_others_are_touched() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    let pids = [1, 2, 3].map(|host| site.pid(host));
    site.lab.read("node02", "systemctl stop etcd");
    site.write(&with(&site, "heartbeat-interval: 160"));
    let before = [1, 3].map(|host| site.manifest(host));
    let down = "refused to touch it: member `node02` is down: ";
    for words in ["restart --limit node03", "restart --limit node01,node03", "stop --limit node01"] {
        site.run(words).exits(4).says(&[down, "(3 voters, 2 healthy, 2 needed: 0 to spare)"]);
    }
    assert_eq!([1, 3].map(|host| site.manifest(host)), before);
    // What is staged beside is not in force.
    site.run("deploy --limit node01").exits(4).says(&[down]);
    assert_eq!([site.pid(1), site.pid(3)], [pids[0], pids[2]]);
    assert_eq!(site.pid(2), 0);
    assert!(!in_force(&site, 1).contains("160"));

    let ran = site.run("deploy").exits(0).ends(DONE);
    let at = |words: &str| ran.stderr.find(words).unwrap_or_else(|| panic!("{words:?} is not in\n{}", ran.stderr));
    assert!(at("node02 start: changed") < at("node01 restart: changed").min(at("node03 restart: changed")));
    for host in 1..=3 {
        assert_eq!(members.variable(host, "ETCD_HEARTBEAT_INTERVAL").as_deref(), Some("160"), "{}", node(host));
    }
    members.assert_whole();

    // So does a restart.
    site.lab.read("node03", "systemctl stop etcd");
    let ran = site.run("restart").exits(0).ends(DONE).says(&["node03 restart: changed: start etcd, which is down"]);
    let at = |words: &str| ran.stderr.find(words).unwrap_or_else(|| panic!("{words:?} is not in\n{}", ran.stderr));
    assert!(at("node03 restart: changed") < at("node01 restart: changed").min(at("node02 restart: changed")));

    // Without a quorum, too.
    for host in ["node01", "node03"] {
        site.lab.read(host, "systemctl stop etcd");
    }
    site.run("health").exits(3);
    site.run("deploy").exits(0).ends(DONE);
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
    members.assert_whole();
    assert_tidy(&site);
}

pub fn a_setting_that_changes_the_unit_is_rolled_out_with_it() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    let pids = [1, 2, 3].map(|host| site.pid(host));
    site.write(&with(&site, "log-outputs: stderr,/var/log/etcd/etcd.log"));
    site.run("plan").exits(0).says(&["+LogsDirectory=etcd", "write /etc/systemd/system/etcd.service"]);
    let writer = members.writer(1, "unit");
    site.run("deploy").exits(0).ends(DONE);
    writer.stop();
    for host in 1..=3 {
        assert_ne!(site.pid(host), pids[host - 1]);
        let shown = "systemctl show etcd -p NeedDaemonReload -p LogsDirectory; test -s /var/log/etcd/etcd.log";
        assert_eq!(site.lab.read(&node(host), shown), "LogsDirectory=etcd\nNeedDaemonReload=no", "{}", node(host));
        assert_disarmed(&site, host);
    }
    members.assert_whole();
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
}

/// Another build under the same version goes beside the one that runs, so that there is a way back to that.
pub fn another_build_of_the_same_version_is_rolled_out_and_taken_back() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    let pids = [1, 2, 3].map(|host| site.pid(host));
    make_release(&site, "3.5.16", "fputs(\"this build is broken\\n\", stderr); return 3;");
    let release = format!(
        "{{ url: \"file://{}/v{{version}}/etcd-v{{version}}-linux-{{arch}}.tar.gz\" }}",
        site.path("mirror").display()
    );
    site.write(&Inventory { release, ..site.inventory(1..=3) });
    let first = first(&members);
    site.run("deploy --health-timeout 10").exits(6).says(&["another build of etcd 3.5.16", "this build is broken"]);
    for host in 1..=3 {
        assert_eq!(site.pid(host) != pids[host - 1], host == first, "{}", node(host));
        assert_eq!(site.lab.read(&node(host), "readlink /usr/local/bin/etcd"), "/opt/etcd/releases/3.5.16/etcd");
        // A crash starts what ran before.
        site.lab.read(&node(host), "systemctl kill -s KILL etcd");
        eventually("it is back", Duration::from_secs(30), || site.run("health").code == Some(0));
    }
    site.write(&site.inventory(1..=3));
    site.run("deploy").exits(0).ends(DONE);
    members.assert_whole();
}

/// No gate would open for members that nobody reaches any more; etcd takes new certificates without a restart.
pub fn expired_certificates_are_renewed_without_a_restart() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    let pids = [1, 2, 3].map(|host| site.pid(host));
    for host in 1..=3 {
        let script = format!(
            "set -e; cd '{pki}'; leaf={name}-server.pem key={name}-server-key.pem
            openssl x509 -x509toreq -in $leaf -signkey $key -copy_extensions copyall -out req.tmp
            openssl x509 -req -in req.tmp -CA ca.pem -CAkey ca-key.pem -days -1 -copy_extensions copyall -out $leaf
            rm -f req.tmp ca.srl; cat $leaf",
            pki = members.pki.display(),
            name = node(host),
        );
        let made = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let leaf = String::from_utf8(made.stdout).unwrap();
        site.lab.read(&node(host), &format!("cat >/etc/etcd/ssl/server.pem <<'END'\n{leaf}END\n"));
    }
    site.run("health").exits(3).says(&["tls: "]);
    site.run("deploy").exits(0).ends(DONE).says(&["node02 activate: changed: put certificates in force"]);
    assert_eq!([1, 2, 3].map(|host| site.pid(host)), pids);
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
    members.assert_whole();
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
}

/// Without a quorum there is none to lose: the one that can be reached is repaired, and the two have their quorum again.
pub fn a_member_is_repaired_while_another_ones_host_is_dead() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    site.lab.read(
        "node02",
        "systemctl stop etcd; sed -i 's/^ETCD_ELECTION_TIMEOUT=.*//; s/^ETCD_HEARTBEAT_INTERVAL=.*//' /etc/etcd/etcd.conf; \
         echo ETCD_ELECTION_TIMEOUT=abc >>/etc/etcd/etcd.conf; systemctl start --no-block etcd",
    );
    site.lab.run(&["kill", "node03"]);
    eventually("it is found out", Duration::from_secs(20), || {
        let ran = site.run("explain");
        ran.code == Some(3) && ran.has_said("restarted ") && ran.has_said("node03: the host cannot be reached")
    });
    site.run("explain").exits(3).says(&["etcd-ha deploy -i lab.yaml --limit node01,node02"]);
    let survivor = site.pid(1);
    let ran = site.run("deploy --limit node01,node02 --health-timeout 5").exits(3);
    ran.says(&["node02 wait_healthy: ok", "cluster is degraded: 2 of 3 members healthy"]);
    assert_eq!(site.pid(1), survivor, "the member that waited for the others was restarted");
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");

    site.lab.run(&["start", "node03"]);
    eventually("all are well", Duration::from_secs(60), || site.run("health").code == Some(0));
    site.run("deploy").exits(0).ends(&format!("{DONE}nothing to do"));
    members.assert_whole();
}
