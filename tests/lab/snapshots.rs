//! What is done for the data before another version runs on it.

use crate::fixture::version_of;
use crate::members::{Members, node};
use crate::site::{Inventory, Site, assert_untouched, eventually, files_below};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// The snapshots that are on the controller.
fn snapshots(site: &Site) -> Vec<PathBuf> {
    let folder = site.path("state/etcd-ha/lab/snapshots");
    let all = if folder.exists() { files_below(&folder) } else { Vec::new() };
    all.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "db")).collect()
}

/// Brings a file of the controller to a host.
#[track_caller]
fn copy(site: &Site, from: &PathBuf, host: usize, to: &str) {
    let mut command = site.lab.command();
    command.args(["exec", &node(host), "sh", "-c", &format!("cat >{to}")]).stdin(File::open(from).unwrap());
    assert!(command.status().unwrap().success());
}

/// A cluster of a version, for which no snapshot was taken.
fn deployed(version: &str) -> (Site, Inventory) {
    let site = Site::up(3);
    let mut inventory = site.inventory(1..=3);
    inventory.version = version.to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0).never_says(&["snapshot of member"]);
    (site, inventory)
}

pub fn an_upgrade_leaves_a_snapshot_that_can_be_restored() {
    let (old, new, newest) = (version_of("bookworm"), version_of("trixie"), version_of("sid"));
    let (site, mut inventory) = deployed(&old);
    let members = Members::of(&site, 3);
    // Some history, some of it dropped, a value that does not fit on a page, and a leaf of more than one page.
    let etcdctl = members.etcdctl_line(2);
    let fill = format!(
        "set -e; for key in $(seq 1 150); do {etcdctl} put key/$key value-$key; done; {etcdctl} del key/7; \
         head -c 900000 /dev/zero | tr '\\0' x | {etcdctl} put large; {etcdctl} compact 100; {etcdctl} put before kept"
    );
    site.lab.read("node02", &fill);

    inventory.version.clone_from(&new);
    site.write(&inventory);
    let leader = members.leader();
    let of = format!("before etcd goes from {old} to {new}: `");
    site.run("plan").exits(0).says(&["take a snapshot of member `", &of, "nothing was touched"]);
    assert!(snapshots(&site).is_empty(), "a plan took a snapshot");

    let ran = site.run("deploy").exits(0).says(&["controller snapshot: changed: take a snapshot of member `", &of]);
    let all = snapshots(&site);
    let [path] = &all[..] else { panic!("not one snapshot: {all:?}") };
    ran.ends("done: cluster lab is healthy, 3 of 3 members, ")
        .says(&[&format!("; the data of before is in `{}`", path.display())])
        .never_says(&[&format!("snapshot of member `{}`", node(leader))]);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(path), mode(&path.parent().unwrap().to_path_buf())], [0o600, 0o700]);
    assert!(path.to_str().unwrap().ends_with(&format!("Z-{old}-to-{new}.db")), "{}", path.display());
    let manifest = fs::read_to_string(path.with_extension("json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let minor = |version: &str| format!("{}.0", version.rsplit_once('.').unwrap().0);
    assert_eq!(manifest["cluster_version"], minor(&old), "{manifest}");
    assert_eq!((&manifest["from"], &manifest["to"]), (&Value::from(old.clone()), &Value::from(new.clone())));
    members.assert_whole();

    // etcd's own tool reads the same out of it.
    copy(&site, path, 1, "/root/before.db");
    let etcdutl = format!("/opt/etcd/releases/{new}/etcdutl");
    let status = site.lab.read("node01", &format!("{etcdutl} snapshot status -w json /root/before.db"));
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(manifest["revision"], status["revision"], "{manifest} {status}");
    assert_eq!(manifest["keys"], status["totalKey"], "{manifest} {status}");
    let hash = u64::from_str_radix(manifest["hash"].as_str().unwrap(), 16).unwrap();
    assert_eq!(Some(hash), status["hash"].as_u64(), "{manifest} {status}");
    let sum = site.lab.read("node01", "sha256sum </root/before.db");
    assert_eq!(sum, format!("{}  -", manifest["sha256"].as_str().unwrap()));

    // And a cluster can be made of it that has what was there before.
    let urls = "http://127.0.0.1:12380";
    let restore = format!(
        "set -e; cd /root; {etcdutl} snapshot restore before.db --data-dir restored --name back \
         --initial-cluster back={urls} --initial-advertise-peer-urls {urls}; \
         systemd-run --quiet --unit restored /opt/etcd/releases/{new}/etcd --name back --data-dir /root/restored \
         --listen-peer-urls {urls} --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379"
    );
    site.lab.read("node01", &format!("{{ {restore}; }} >/dev/null 2>&1"));
    let get = "ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:12379 get --print-value-only";
    eventually("the restored member serves", Duration::from_secs(20), || {
        site.lab.exec("node01", &format!("{get} before")).stdout == b"kept\n"
    });
    let values = site.lab.read("node01", &format!("{get} key/7; {get} key/150; {get} large | tr -d '\\n' | wc -c"));
    assert_eq!(values, "value-150\n900000");
    site.lab.read("node01", "systemctl stop restored");

    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
    inventory.settings = "heartbeat-interval: 150".to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0).says(&["restart etcd"]).never_says(&["snapshot of member"]);
    inventory.version = newest.clone();
    site.write(&inventory);
    let unwanted = format!("no snapshot is taken before etcd goes from {new} to {newest}, as `--no-snapshot` says");
    site.run("deploy --no-snapshot").exits(0).says(&[&unwanted]).never_says(&["the data of before is in"]);
    assert_eq!(snapshots(&site), all);
}

/// A member may be healthy by all that it says of itself, and hold other data than the others.
pub fn a_member_with_other_data_stops_an_upgrade() {
    let (site, mut inventory) = deployed(&version_of("bookworm"));
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put truth the-whole-truth");
    // No checksum guards a page of the database, so the member does not notice.
    site.lab.read(
        "node03",
        "set -e; systemctl stop etcd; cd /var/lib/etcd/member/snap; grep -q the-whole-truth db; \
         sed -i s/the-whole-truth/another-truth!!/ db; chown etcd:etcd db; systemctl start etcd",
    );
    let read = "get truth --consistency s --print-value-only";
    assert_eq!(members.etcdctl(3, read), "another-truth!!");
    site.run("health").exits(0).says(&["cluster is healthy"]);

    inventory.version = version_of("trixie");
    site.write(&inventory);
    let before: Vec<_> = (1..=3).map(|host| (site.pid(host), site.manifest(host))).collect();
    let ran = site.run("deploy").exits(3).says(&[
        "controller compare_members: failed: the members hold different data at the same revision (hash of all keys: node01 ",
        "keep every data dir as it is, and take a snapshot of each member before anything else",
    ]);
    ran.never_says(&["stage_release: changed", "snapshot of member"]);
    for (host, (pid, manifest)) in (1..=3).zip(&before) {
        assert_eq!(site.pid(host), *pid, "{} was restarted", node(host));
        assert_untouched(manifest, &site.manifest(host));
    }
    assert!(snapshots(&site).is_empty());
}

/// The member dies that gives it, or the controller does that keeps it.
pub fn a_snapshot_that_is_cut_off_counts_for_nothing() {
    let (site, mut inventory) = deployed(&version_of("bookworm"));
    let members = Members::of(&site, 3);
    let etcdctl = members.etcdctl_line(1);
    let fill =
        format!("for n in $(seq 1 12); do head -c 700000 /dev/urandom | base64 -w0 | {etcdctl} put large/$n; done");
    site.lab.read("node01", &fill);

    inventory.version = version_of("trixie");
    site.write(&inventory);
    for kills_the_controller in [false, true] {
        let before: Vec<_> = (1..=3).map(|host| (site.pid(host), site.manifest(host))).collect();
        let rate = |rate| (1..=3).for_each(|host| site.lab.run(&["rate", &node(host), rate]));
        rate("8mbit");
        let mut run = site.start("deploy");
        let line = run.read_line("controller snapshot: taking a snapshot of ");
        assert!(!line.contains("(100 %)"), "{line}");
        let giver = (1..=3).find(|host| line.contains(&node(*host))).unwrap();
        if kills_the_controller {
            run.signal("KILL");
            drop(run);
        } else {
            site.lab.read(&node(giver), "systemctl kill --signal KILL etcd");
            let broke = format!("member `{}`: the connection broke during `snapshot`: ", node(giver));
            run.wait().exits(1).says(&[&broke, "`etcd-ha status` shows"]).never_says(&["stage_release: changed"]);
        }
        rate("off");
        assert!(snapshots(&site).is_empty());
        // systemd started the one that died again.
        let alive = |(host, _): &(usize, _)| kills_the_controller || *host != giver;
        for (host, (pid, manifest)) in (1..=3).zip(&before).filter(alive) {
            assert_eq!(site.pid(host), *pid, "{} was restarted", node(host));
            assert_untouched(manifest, &site.manifest(host));
        }
        eventually("all members are back", Duration::from_secs(20), || site.run("health").code == Some(0));
    }
    site.run("deploy").exits(0).says(&["; the data of before is in `"]);
    assert_eq!(snapshots(&site).len(), 1);
    members.assert_whole();
}
