//! From one version of etcd to another: by a command that keeps the inventory, and over a stopover.

use crate::fixture::{releases, version_of};
use crate::members::{Members, node};
use crate::site::{Site, assert_untouched, eventually};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Checks that every member runs the binary of this version.
#[track_caller]
fn assert_run(members: &Members<'_>, version: &str) {
    for &host in &members.hosts {
        let said = members.tls(host, 2379, members.admin(), "GET /version HTTP/1.0\r\n\r\n");
        assert!(said.contains(&format!("\"etcdserver\":\"{version}\"")), "{}: {said}", node(host));
        let exe = members.site.lab.read(&node(host), "readlink /proc/$(systemctl show etcd -p MainPID --value)/exe");
        assert_eq!(exe, format!("/opt/etcd/releases/{version}/etcd"), "{}", node(host));
    }
}

/// What was observed and must stay: the hosts' files, the members' processes, the inventory.
fn state(site: &Site) -> (Vec<String>, Vec<u32>, String) {
    let manifests = (1..=3).map(|host| site.manifest(host)).collect();
    let inventory = fs::read_to_string(site.path("lab.yaml")).unwrap();
    (manifests, (1..=3).map(|host| site.pid(host)).collect(), inventory)
}

#[track_caller]
fn assert_same(before: &(Vec<String>, Vec<u32>, String), site: &Site) {
    let after = state(site);
    for (before, after) in before.0.iter().zip(&after.0) {
        assert_untouched(before, after);
    }
    assert_eq!((&before.1, &before.2), (&after.1, &after.2));
}

pub fn upgrade_writes_the_version_once_all_members_run_it() {
    let site = Site::up(3);
    let (old, next, newest) = (version_of("bookworm"), version_of("trixie"), version_of("sid"));
    let mut inventory = site.inventory(1..=3);
    inventory.version.clone_from(&old);
    // Known to the newer ones by this name, to 3.4 by another.
    inventory.settings = "backend-bbolt-freelist-type: map".to_owned();
    inventory.sections = "# The members, in the order of their racks.\n".to_owned();
    site.write(&inventory);
    let by_another_name =
        "option `backend-bbolt-freelist-type` is written as `experimental-backend-bbolt-freelist-type`";
    site.run("deploy").exits(0).says(&[by_another_name]);
    let members = Members::of(&site, 3);
    assert_eq!(members.variable(1, "ETCD_EXPERIMENTAL_BACKEND_BBOLT_FREELIST_TYPE").as_deref(), Some("map"));
    members.etcdctl(1, "put before kept");
    assert_run(&members, &old);

    let before = state(&site);
    let plan = site.run(&format!("upgrade --to {next} --dry-run --detailed-exitcode")).exits(10);
    plan.says(&["nothing was touched"]).never_says(&["hop", by_another_name]);
    assert_same(&before, &site);

    // An upgrade that was broken off after the first member is taken back by deploying the old version.
    let one = "name: one\nplays:\n  - { name: Look, tasks: [preflight] }\n  - { name: Here, hosts: controller, \
               tasks: [fetch_release, certificates] }\n  - { name: Stage, hosts: node01, tasks: [prepare_host, \
               stage_release, stage_certificates, stage_config] }\n  - { name: Take over, hosts: node01, mode: rolling, \
               tasks: [hand_over_leadership, activate, restart, wait_healthy, confirm] }\n";
    site.write_file("one.yaml", one);
    inventory.version.clone_from(&next);
    site.write(&inventory);
    site.run("deploy --playbook one.yaml").exits(0);
    assert_run(&Members { hosts: vec![1], ..members.clone() }, &next);
    assert_run(&Members { hosts: vec![2, 3], ..members.clone() }, &old);
    inventory.version.clone_from(&old);
    site.write(&inventory);
    site.run("deploy").exits(0).says(&["node01 restart: changed"]).never_says(&["node02 restart: changed"]);
    assert_run(&members, &old);
    members.assert_whole();

    let written = format!("version {next} written into lab.yaml");
    site.run(&format!("upgrade --to {next}"))
        .exits(0)
        .says(&["is healthy, 3 of 3 members", &written])
        .never_says(&["hop"]);
    assert_run(&members, &next);
    assert_eq!(members.variable(1, "ETCD_BACKEND_BBOLT_FREELIST_TYPE").as_deref(), Some("map"));
    let text = before.2.replace(&format!("version: {old}\n"), &format!("version: {next}\n"));
    assert_eq!(fs::read_to_string(site.path("lab.yaml")).unwrap(), text);
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");

    // Back is not offered, and nothing is touched for it.
    let before = state(&site);
    for words in [format!("upgrade --to {old}"), format!("upgrade --to {old} --dry-run")] {
        site.run(&words).exits(4).says(&[
            &format!("the members run etcd {next}; going down to {old} is not possible by exchanging the binary"),
            "nothing was touched",
        ]);
        assert_same(&before, &site);
    }

    // One member first, to see how it does.
    let text = fs::read_to_string(site.path("lab.yaml")).unwrap();
    let kept = format!("the inventory keeps its version until all members run {newest}");
    site.run(&format!("upgrade --to {newest} --limit node01")).exits(0).says(&["3 of 3 members", &kept]);
    assert_run(&Members { hosts: vec![1], ..members.clone() }, &newest);
    assert_run(&Members { hosts: vec![2, 3], ..members.clone() }, &next);
    assert_eq!(fs::read_to_string(site.path("lab.yaml")).unwrap(), text);
    // The last ones: now all of them run it.
    let written = format!("version {newest} written into lab.yaml");
    site.run(&format!("upgrade --to {newest} --limit node02,node03")).exits(0).says(&[&written]);
    assert_run(&members, &newest);
    let text = before.2.replace(&format!("version: {next}\n"), &format!("version: {newest}\n"));
    assert_eq!(fs::read_to_string(site.path("lab.yaml")).unwrap(), text);
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
    members.assert_whole();
    // Down by a patch is no other minor version.
    site.run(&format!("upgrade --to {next}")).exits(0);
    assert_run(&members, &next);
    members.assert_whole();
}

/// A mirror with the real archives, and beside them one of a version that Debian does not have: etcd
/// `of`, whose binaries say that they are of the next minor version. It is no etcd of that version; but
/// members that count as such are all that the way from one minor version to the next depends on.
///
/// A member looks up what it can do by the cluster's version, so that one has to be in its list, too: it
/// takes the place of 3.1.0, which no cluster has any more.
fn mirror_with_a_made_up_version(site: &Site, of: &str) -> (String, String) {
    let (minor, patch) = of.strip_prefix("3.").and_then(|rest| rest.split_once('.')).unwrap();
    let next = minor.parse::<u32>().unwrap() + 1;
    let made_up = format!("3.{next}.{patch}");
    let folder = site.path("mirror");
    let script = format!(
        "set -e
        mkdir -p '{folder}/v{made_up}' '{folder}/work'; cp -r '{real}'/v* '{folder}'
        cd '{folder}/work'; tar -xzf ../v{of}/etcd-v{of}-linux-*.tar.gz
        old=$(echo etcd-v{of}-linux-*) new=$(echo etcd-v{of}-linux-* | sed 's/{of}/{made_up}/')
        sed -i 's/{was}/{made_up}/g; s/3\\.1\\.0/3.{next}.0/g' \"$old\"/etcd*
        mv \"$old\" \"$new\"; tar -czf ../v{made_up}/\"$new\".tar.gz \"$new\"
        cd ../v{made_up}; sha256sum *.tar.gz >SHA256SUMS",
        folder = folder.display(),
        real = releases().display(),
        was = of.replace('.', "\\."),
    );
    let done = Command::new("sh").args(["-c", &script]).env("LC_ALL", "C").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let url = format!("file://{}/v{{version}}/etcd-v{{version}}-linux-{{arch}}.tar.gz", folder.display());
    (made_up, format!("{{ url: \"{url}\" }}"))
}

pub fn a_jump_over_a_minor_version_goes_by_hops() {
    let site = Site::up(3);
    let (old, stop) = (version_of("bookworm"), version_of("sid"));
    assert!(stop.starts_with("3.5."), "Debian has a later minor version by now: it can take the made-up one's place");
    let (wanted, release) = mirror_with_a_made_up_version(&site, &stop);
    let mut inventory = site.inventory(1..=3);
    inventory.release = release;
    inventory.version.clone_from(&old);
    site.write(&inventory);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");

    // What the wanted version calls a gate, and all before it an option; and what only it knows.
    inventory.version.clone_from(&wanted);
    inventory.settings = "feature-gates: InitialCorruptCheck=true\nmax-learners: 2".to_owned();
    site.write(&inventory);
    let before = state(&site);
    site.run("deploy --one-pass").exits(4).says(&[
        &format!("from etcd {old} to {wanted} is more than one pass: 3.5.33 comes between"),
        "deploy 3.5.33 first, or leave `--one-pass` out",
    ]);
    site.run(&format!("deploy --via {stop} --limit node01,node02")).exits(4).says(&[
        "take all members, each of them before the next, and `--limit` leaves out node03",
        &format!("`etcd-ha upgrade --to {stop}`"),
        "nothing was touched",
    ]);
    site.run(&format!("plan --detailed-exitcode --via {stop}")).exits(10).says(&[
        &format!("2 hops to the wanted version: etcd {stop}, then {wanted}"),
        &format!("upload and unpack etcd {stop}"),
        "+ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK=true",
        "nothing was touched",
    ]);
    // The mirror has not what would be chosen by itself.
    site.run("deploy").exits(2).ends(
        "failed: cluster lab: stopped on controller in `Fetch the release and make the certificates` of hop 1 of 2 (etcd 3.5.33); \
         `--via VERSION` chooses another release to stop over at",
    );
    assert_same(&before, &site);

    // Killed somewhere on the way; the next run takes it up from wherever the members are.
    let mut first = site.start(&format!("deploy --via {stop}"));
    first.read_lines(45);
    first.signal("KILL");
    let first = first.wait();
    let writer = members.writer(1, "hops");
    let second = site.run(&format!("deploy --via {stop}")).exits(0);
    assert!(writer.stop() > 10);
    for words in [
        format!("hop 1 of 2: etcd {stop}"),
        "option `max-learners` is left out on the way".to_owned(),
        format!(
            "feature gate `InitialCorruptCheck=true` is written as `experimental-initial-corrupt-check: true` for etcd {stop}"
        ),
    ] {
        assert!(first.stderr.contains(&words), "expected {words:?} in\n{}", first.stderr);
    }
    second.ends("done: cluster lab is healthy, 3 of 3 members, ");
    assert_run(&members, &wanted);
    for host in 1..=3 {
        assert_eq!(members.variable(host, "ETCD_FEATURE_GATES").as_deref(), Some("InitialCorruptCheck=true"));
        assert_eq!(members.variable(host, "ETCD_MAX_LEARNERS").as_deref(), Some("2"));
        assert_eq!(members.variable(host, "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK"), None);
    }
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
    members.assert_whole();
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
}

/// The made-up version's members are of a 3.5, which knows the calls of a downgrade, but whose members do not
/// outlive one: what is seen here ends with the cluster's agreement.
pub fn a_cluster_agrees_on_a_downgrade_only_with_the_user_s_consent() {
    let site = Site::up(3);
    let lower = version_of("sid");
    let (higher, release) = mirror_with_a_made_up_version(&site, &lower);
    let mut inventory = site.inventory(1..=3);
    inventory.release = release;
    inventory.version.clone_from(&higher);
    site.write(&inventory);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    let minor = |version: &str| version.rsplit_once('.').unwrap().0.to_owned();
    let agreed = format!("\"etcdcluster\":\"{}.0\"", minor(&higher));
    eventually("the members have agreed on their version", Duration::from_secs(30), || {
        members.tls(1, 2379, members.admin(), "GET /version HTTP/1.0\r\n\r\n").contains(&agreed)
    });

    inventory.version.clone_from(&lower);
    site.write(&inventory);
    let before = state(&site);
    let agree = format!("have the cluster agree on a downgrade from etcd {} to {}", minor(&higher), minor(&lower));
    site.run("deploy").exits(4).says(&[
        &format!("the members run etcd {higher}; going down to {lower} takes a downgrade of the whole cluster"),
        "`--allow-downgrade` has the cluster agree on it first",
        "nothing was touched",
    ]);
    // Nor does a playbook of the user's own go around that.
    let own = "name: own\nplays:\n  - { name: Look, tasks: [preflight] }\n  - { name: Agree, hosts: controller, tasks: [downgrade] }\n";
    site.write_file("own.yaml", own);
    site.run("run own.yaml").exits(4).says(&["takes a downgrade of the whole cluster"]);
    site.run("plan --allow-downgrade --detailed-exitcode").exits(10).says(&[
        &agree,
        "take a snapshot of member `",
        "nothing was touched",
    ]);
    let ready = |host: usize| {
        let said = "journalctl -u etcd -o cat | grep -c 'The server is ready to downgrade' || true";
        site.lab.read(&node(host), said)
    };
    assert_eq!([1, 2, 3].map(ready), ["0"; 3]);
    assert_same(&before, &site);

    // Again, since a run may be killed right after: the cluster has agreed, which is no error.
    for _ in 0..2 {
        site.run("deploy --allow-downgrade --playbook own.yaml").exits(0).says(&[&agree]);
        assert_eq!([1, 2, 3].map(ready), ["1"; 3]);
    }
    assert_same(&before, &site);
    members.assert_whole();
}
