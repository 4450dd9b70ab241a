//! Hosts and inventories on which nothing may be touched, and what is said then.

use crate::members::{Members, node};
use crate::site::{Inventory, Site, assert_untouched, eventually};
use std::fs;
use std::time::Duration;

/// Something that a deploy has to refuse, with the hosts left as they are.
struct Case {
    /// Made so on node02, as a shell script, and unmade.
    make: &'static str,
    unmake: &'static str,
    exit: i32,
    words: &'static [&'static str],
}

const ON_FRESH_HOSTS: &[Case] = &[
    Case {
        make: "mkdir -p /var/lib/etcd; echo precious >/var/lib/etcd/notes",
        unmake: "rm -r /var/lib/etcd",
        exit: 4,
        words: &["data dir `/var/lib/etcd` is not empty, but is no etcd data dir", "a deploy never deletes data"],
    },
    Case {
        make: "printf '[Service]\\nExecStart=/bin/sleep 9999\\n' >/etc/systemd/system/etcd.service",
        unmake: "rm /etc/systemd/system/etcd.service; systemctl daemon-reload",
        exit: 4,
        words: &["`/etc/systemd/system/etcd.service` is there and was not written by etcd-ha"],
    },
    Case {
        // As a distribution's package has it.
        make: "printf '[Service]\\nExecStart=/bin/sleep 9999\\n' >/usr/lib/systemd/system/etcd.service; \
               systemctl daemon-reload; systemctl start etcd",
        unmake: "systemctl stop etcd; rm /usr/lib/systemd/system/etcd.service; systemctl daemon-reload",
        exit: 4,
        words: &["another etcd runs there, from `/lib/systemd/system/etcd.service`"],
    },
    Case {
        make: "systemctl mask --quiet etcd",
        unmake: "systemctl unmask --quiet etcd; systemctl daemon-reload",
        exit: 4,
        words: &["`/etc/systemd/system/etcd.service` is not a file (is the unit masked?)"],
    },
    Case {
        make: "mkdir /etc/etcd; echo ETCD_NAME=other >/etc/etcd/etcd.conf",
        unmake: "rm -r /etc/etcd",
        exit: 4,
        words: &["`/etc/etcd/etcd.conf` is there and was not written by etcd-ha"],
    },
    Case {
        make: "cp /bin/true /usr/local/bin/etcd",
        unmake: "rm /usr/local/bin/etcd",
        exit: 4,
        words: &["`/usr/local/bin/etcd` is there and does not belong to a release of etcd-ha"],
    },
    Case {
        make: "systemd-run --quiet --unit=taker systemd-socket-activate -l 2379 cat; \
               while ! ss -Hltn | grep -q :2379; do sleep 0.05; done",
        unmake: "systemctl stop taker",
        exit: 4,
        words: &["something else listens on the client port 2379"],
    },
    Case {
        make: "systemd-run --quiet --unit=taker systemd-socket-activate -l 127.0.0.1:2380 cat; \
               while ! ss -Hltn | grep -q :2380; do sleep 0.05; done",
        unmake: "systemctl stop taker",
        exit: 4,
        words: &["something else listens on the peer port 2380"],
    },
    Case {
        make: "mkdir -p /opt/etcd; mount -t tmpfs -o size=50m tmpfs /opt/etcd",
        unmake: "umount /opt/etcd; rmdir /opt/etcd",
        exit: 1,
        words: &["50 MiB are free on /opt/etcd for the release, 150 MiB are needed"],
    },
    Case {
        make: "mkdir -p /var/lib/etcd; mount -t tmpfs -o size=300m tmpfs /var/lib/etcd",
        unmake: "umount /var/lib/etcd; rmdir /var/lib/etcd",
        exit: 1,
        words: &["300 MiB are free on /var/lib/etcd for etcd's data, 512 MiB are needed"],
    },
    Case {
        make: "mkdir -p /var/lib/etcd; mount -t tmpfs -o size=2g,nr_inodes=100 tmpfs /var/lib/etcd",
        unmake: "umount /var/lib/etcd; rmdir /var/lib/etcd",
        exit: 1,
        words: &["inodes are nearly used up on /var/lib/etcd"],
    },
    Case {
        make: "mount --bind /opt /opt; mount -o remount,ro,bind /opt",
        unmake: "umount /opt",
        exit: 1,
        words: &["`/opt/etcd` cannot be written"],
    },
    Case {
        // Every host is looked at and found fit, and yet the members could not talk.
        make: "ip route add blackhole $(hostname -I | sed 's/56 *$/57/')",
        unmake: "ip route del blackhole $(hostname -I | sed 's/56 *$/57/')",
        exit: 1,
        words: &["host `node02` does not reach `node03` at ", "open the peer port between the members' hosts"],
    },
    Case {
        make: "mv /usr/bin/gzip /usr/bin/gzip.away",
        unmake: "mv /usr/bin/gzip.away /usr/bin/gzip",
        exit: 1,
        words: &["commands are missing: gzip"],
    },
];

/// Checks that a deploy ends so and touches nothing on any host.
#[track_caller]
fn refused(site: &Site, exit: i32, words: &[&str]) -> crate::site::Ran {
    let look = || (1..=3).map(|host| site.manifest(host)).collect::<Vec<_>>();
    let before = look();
    let ran = site.run("deploy").exits(exit).says(words);
    for (before, after) in before.iter().zip(&look()) {
        assert_untouched(before, after);
    }
    ran
}

pub fn nothing_is_touched_on_hosts_that_are_not_fit() {
    let site = Site::up(3);
    for case in ON_FRESH_HOSTS {
        site.lab.read("node02", case.make);
        let ran = refused(&site, case.exit, case.words);
        assert!(ran.stderr.contains("stopped"), "{ran:?}");
        // A plan finds it, too, unless it has to open ports for that.
        if !case.words[0].contains("does not reach") {
            let _ = site.run("plan --detailed-exitcode").exits(case.exit).says(case.words);
        }
        site.lab.read("node02", case.unmake);
    }
    who_may_and_who_answers(&site);

    // Not refused: nothing is ever run from /tmp.
    site.lab.read(
        "node02",
        "mount -t tmpfs -o noexec,nosuid,nodev tmpfs /tmp; mount --bind /var/tmp /var/tmp; \
         mount -o remount,bind,noexec /var/tmp",
    );
    site.write(&site.inventory(1..=3));
    site.run("deploy").exits(0);
    Members::of(&site, 3).assert_whole();
}

fn who_may_and_who_answers(site: &Site) {
    let plain = site.inventory(1..=3);
    let with = |change: &dyn Fn(&mut Inventory)| {
        let mut inventory = plain.clone();
        change(&mut inventory);
        site.write(&inventory);
    };
    with(&|inventory| inventory.hosts[1].2 = "ssh: { user: ops, become: false }".to_owned());
    let ran = refused(site, 1, &["who logs in there is not root", "set `become: sudo`"]);
    assert!(ran.stderr.contains("node01 preflight: ok"), "{ran:?}");

    with(&|inventory| inventory.hosts[1].2 = "ssh: { user: nobody-there }".to_owned());
    refused(site, 1, &["cannot log in as `nobody-there`"]);

    with(&|inventory| inventory.hosts[1].2 = "ssh: { port: 2222 }".to_owned());
    refused(site, 1, &[&format!("`{}:2222` refused the connection", site.lab.address(2))]);

    // One machine under two addresses.
    let known = fs::read_to_string(site.path("known_hosts")).unwrap();
    let second = site.lab.address(1).replace(".55", ".155");
    site.lab.read("node01", &format!("ip addr add {second}/24 dev eth0"));
    with(&|inventory| inventory.hosts[1].1.clone_from(&second));
    let keys: Vec<&str> = known.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let known_twice = known.clone() + &format!("{second} {}\n", keys[0]);
    fs::write(site.path("known_hosts"), known_twice).unwrap();
    refused(site, 1, &["it is the same machine as `node0"]);
    site.lab.read("node01", &format!("ip addr del {second}/24 dev eth0"));
    fs::write(site.path("known_hosts"), &known).unwrap();

    site.write(&plain);
    let others: String =
        known.lines().filter(|line| !line.starts_with(&site.lab.address(2))).map(|line| format!("{line}\n")).collect();
    fs::write(site.path("known_hosts"), others).unwrap();
    refused(site, 1, &[&format!("the host key of `{}:22` is unknown: ssh-ed25519 SHA256:", site.lab.address(2))]);
    fs::write(site.path("known_hosts"), known).unwrap();

    site.lab.run(&["cut", "node02"]);
    let ran = site.run("deploy").exits(1).says(&[
        "node01 preflight: ok",
        "node03 preflight: ok",
        &format!("no answer from `{}:22` within 3 s", site.lab.address(2)),
        "stopped on node02 in `Look at every host`",
    ]);
    assert!(ran.took < Duration::from_secs(15), "{ran:?}");
    site.lab.run(&["heal", "node02"]);
    for host in 1..=3 {
        let there = site.lab.read(&node(host), "ls -d /etc/etcd /opt/etcd /var/lib/etcd 2>/dev/null || true");
        assert_eq!(there, "", "{}", node(host));
    }
}

pub fn no_data_is_touched_that_does_not_belong_to_the_cluster() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");
    let pids = [site.pid(1), site.pid(2)];
    let data = |host: usize| site.lab.read(&node(host), "find /var/lib/etcd -printf '%p %s %T@\\n' | sort");
    let cluster = site.lab.read("node01", "sed -n 's/^HA_CLUSTER_ID=//p' /etc/etcd/etcd.conf");
    let refused_with = |words: &[&str]| {
        let before = data(3);
        refused(&site, 4, words);
        site.run("plan").exits(4).says(words);
        assert_eq!(data(3), before, "the data dir of node03 was touched");
        assert_eq!([site.pid(1), site.pid(2)], pids, "a member that is well was touched");
        assert_eq!(site.pid(3), 0, "the member was started");
        members.etcdctl(1, "put meanwhile kept");
    };

    // The disk of one member is lost.
    site.lab.read("node03", "systemctl stop etcd; mv /var/lib/etcd/member /root/member");
    let empty = format!("data dir `/var/lib/etcd` is empty, but cluster {cluster} exists");
    refused_with(&[&empty, "if `node03` lost its disk, its member has to be removed and added anew"]);
    site.lab.read("node03", "rmdir /var/lib/etcd");
    refused_with(&[&empty]);

    // Data of another cluster.
    let other = "install -d -o etcd -g etcd -m 700 /var/lib/etcd; cd /; timeout -s TERM 3 setpriv --reuid etcd \
         --regid etcd --clear-groups /usr/local/bin/etcd --data-dir /var/lib/etcd --name node03 \
         --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
         --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
         --initial-cluster node03=http://127.0.0.1:12380 --initial-cluster-token other >/root/other.log 2>&1; \
         ls /var/lib/etcd/member";
    site.lab.read("node03", other);
    refused_with(&["host `node03`: data dir `/var/lib/etcd` belongs to cluster ", &format!("to cluster {cluster}")]);

    // A copy of another member's.
    site.lab.read("node03", "rm -r /var/lib/etcd/member");
    let folder = site.lab.folder();
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(folder.join("node01/m/var/lib/etcd/member"))
        .arg(folder.join("node03/m/var/lib/etcd/"))
        .status();
    assert!(status.unwrap().success());
    refused_with(&["hosts `node01` and `node03` both hold the data of member"]);

    // Its own again.
    site.lab.read("node03", "rm -r /var/lib/etcd/member; mv /root/member /var/lib/etcd/");
    site.run("deploy").exits(0).says(&["node03 start: changed: start etcd"]);
    assert_eq!(members.etcdctl(3, "get before --print-value-only"), "kept");
    members.assert_whole();

    another_authority(&site, &members);
    another_inventory(&site);
    members.assert_whole();

    // Data that has nothing around it by which it would be known as ours.
    for host in 1..=3 {
        let script = "systemctl disable --now --quiet etcd; rm -r /etc/etcd /etc/systemd/system/etcd.service; systemctl daemon-reload";
        site.lab.read(&node(host), script);
    }
    let foreign = format!("data dir `/var/lib/etcd` holds a member of cluster {cluster} that etcd-ha did not set up");
    let before: Vec<_> = (1..=3).map(data).collect();
    refused(&site, 4, &[&format!("host `node01`: {foreign}"), &format!("host `node03`: {foreign}")]);
    assert_eq!((1..=3).map(data).collect::<Vec<_>>(), before);
}

/// A PKI folder that is lost or is another cluster's.
fn another_authority(site: &Site, members: &Members<'_>) {
    let pids: Vec<_> = (1..=3).map(|host| site.pid(host)).collect();
    fs::rename(site.path("lab.pki"), site.path("away.pki")).unwrap();
    refused(site, 4, &["trusts another CA than the one in the PKI folder", "put back the PKI folder"]);
    // Nothing was made in its place that the next run could take for the right one.
    assert!(!site.path("lab.pki/ca.pem").exists(), "a CA was made beside a living cluster");
    let _ = fs::remove_dir_all(site.path("lab.pki"));
    fs::rename(site.path("away.pki"), site.path("lab.pki")).unwrap();

    fs::rename(site.path("lab.pki/ca-key.pem"), site.path("ca-key.away")).unwrap();
    refused(site, 4, &["`lab.pki/ca-key.pem` is missing while `lab.pki/ca.pem` is there", "restore it from a backup"]);
    fs::rename(site.path("ca-key.away"), site.path("lab.pki/ca-key.pem")).unwrap();
    site.run("deploy").exits(0).says(&["nothing to do"]);
    assert_eq!((1..=3).map(|host| site.pid(host)).collect::<Vec<_>>(), pids);
    members.assert_whole();
}

/// What an inventory cannot ask of a cluster that stands.
fn another_inventory(site: &Site) {
    let plain = site.inventory(1..=3);
    let with = |change: &dyn Fn(&mut Inventory)| {
        let mut inventory = plain.clone();
        change(&mut inventory);
        site.write(&inventory);
    };
    with(&|inventory| inventory.version = crate::fixture::version_of("bookworm"));
    refused(site, 4, &["going down to"]);
    with(&|inventory| inventory.hosts[1].2 = "paths: { data: /data }".to_owned());
    refused(site, 4, &["node02"]);
    with(&|inventory| inventory.hosts[1].0 = "renamed".to_owned());
    refused(site, 4, &["has other members than the inventory"]);
    with(&|inventory| {
        inventory.hosts.pop();
    });
    refused(site, 4, &["has other members than the inventory", "-node03="]);
    site.write(&plain);
    eventually("healthy", Duration::from_secs(10), || site.run("health").code == Some(0));
}

/// A disk that was found large enough, and is full when it counts.
pub fn a_disk_that_fills_up_meanwhile_is_told_and_the_next_run_goes_on() {
    let site = Site::up(3);
    site.lab.read("node02", "mkdir /opt/etcd; mount -t tmpfs -o size=200m tmpfs /opt/etcd");
    let playbook = site.command("playbook deploy").output().unwrap();
    let playbook = String::from_utf8(playbook.stdout).unwrap();
    let fill = "tasks:\n      - command: { argv: [fallocate, -l, 190M, /opt/fill], creates: /opt/fill }\n      - prepare_host\n\
                \x20     - command: { argv: [sh, -c, \"if [ $(hostname) = node02 ]; then mv /opt/fill /opt/etcd/; fi\"] }\n\
                \x20     - stage_release\n      - stage_certificates\n      - stage_config\n";
    let changed = playbook.replace("tasks: [prepare_host, stage_release, stage_certificates, stage_config]\n", fill);
    assert_ne!(changed, playbook);
    site.write_file("filling.yaml", &changed);
    site.run("deploy --playbook filling.yaml").exits(1).says(&[
        "node02 stage_release: failed",
        "No space left on device",
        "free space or inodes on that host",
        "node03 stage_config: changed",
        "stopped on node02",
    ]);
    let left =
        site.lab.read("node02", "ls -A /opt/etcd/releases; ls /etc/systemd/system/etcd.service 2>/dev/null || true");
    assert_eq!(left, "", "something is left of it");
    for host in [1, 3] {
        assert_eq!(site.pid(host), 0, "{} was started", node(host));
    }
    site.lab.read("node02", "rm /opt/etcd/fill");
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    Members::of(&site, 3).assert_whole();
}
