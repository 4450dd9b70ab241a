//! Changes of a living cluster: settings and versions, one member at a time.

use crate::members::{Members, node};
use crate::site::{Inventory, Site, assert_untouched};

/// Checks that each of these members was restarted once since it had `pids`, no two of them down at the same time, the
/// leader of before last.
#[track_caller]
fn assert_rolled(members: &Members<'_>, pids: &[u32], leader: usize) {
    let mut pauses: Vec<_> = members.hosts.iter().map(|&host| (members.last_pause(host), host)).collect();
    pauses.sort_unstable();
    for pair in pauses.windows(2) {
        let [((_, up), first), ((down, _), second)] = pair else { unreachable!() };
        assert!(up < down, "{} went down before {} was up again: {pauses:?}", node(*second), node(*first));
    }
    assert_eq!(pauses.last().unwrap().1, leader, "the leader of before did not go last: {pauses:?}");
    for (&host, before) in members.hosts.iter().zip(pids) {
        assert_ne!(members.site.pid(host), *before, "{} was not restarted", node(host));
        let restarts = members.site.lab.read(&node(host), "systemctl show etcd -p NRestarts --value");
        assert_eq!(restarts, "0", "{} crashed", node(host));
    }
}

/// Deploys a changed inventory while clients write.
#[track_caller]
fn deploy_under_load(members: &Members<'_>, inventory: &Inventory, prefix: &'static str) {
    let site = members.site;
    site.write(inventory);
    let pids: Vec<_> = members.hosts.iter().map(|&host| site.pid(host)).collect();
    let leader = members.leader();
    let writers = members.hosts.iter().map(|&host| members.writer(host, prefix_of(prefix, host))).collect::<Vec<_>>();
    let ran = site.run("deploy");
    let written: usize = writers.into_iter().map(crate::members::Writer::stop).sum();
    ran.exits(0).says(&["move leadership to", "restart etcd: it runs with an older configuration, binary, unit or CA"]);
    assert!(written > members.hosts.len() * 5, "only {written} writes got through");
    assert_rolled(members, &pids, leader);
    members.assert_whole();
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
}

/// Each writer has keys of its own.
fn prefix_of(prefix: &'static str, host: usize) -> &'static str {
    Box::leak(format!("{prefix}{host}").into_boxed_str())
}

pub fn settings_and_versions_change_one_member_at_a_time() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    members.etcdctl(1, "put before kept");

    let mut inventory = site.inventory(1..=3);
    inventory.settings = "heartbeat-interval: 150\nelection-timeout: 1500".to_owned();
    site.write(&inventory);
    let before: Vec<_> = (1..=3).map(|host| (site.pid(host), site.manifest(host))).collect();
    let leader = members.leader();
    let plan = site.run("plan --detailed-exitcode").exits(10).says(&[
        "+ETCD_HEARTBEAT_INTERVAL=150",
        "+ETCD_ELECTION_TIMEOUT=1500",
        "restart etcd: it runs with an older configuration, binary, unit or CA",
        "(3 voters, 3 healthy, 2 needed: 1 to spare)",
        "nothing was touched",
    ]);
    let last = format!("  3. {}: move leadership to `", node(leader));
    assert!(plan.stdout.lines().any(|line| line.starts_with(&last)), "{}", plan.stdout);
    for (host, (pid, manifest)) in (1..=3).zip(&before) {
        assert_eq!(site.pid(host), *pid, "a plan restarted {}", node(host));
        assert_untouched(manifest, &site.manifest(host));
    }
    deploy_under_load(&members, &inventory, "settings");
    for host in 1..=3 {
        assert_eq!(members.variable(host, "ETCD_HEARTBEAT_INTERVAL").as_deref(), Some("150"));
    }
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");

    inventory.version = crate::fixture::version_of("sid");
    deploy_under_load(&members, &inventory, "version");
    for host in 1..=3 {
        let version = site.lab.read(&node(host), "readlink /proc/$(systemctl show etcd -p MainPID --value)/exe");
        assert_eq!(version, format!("/opt/etcd/releases/{}/etcd", inventory.version));
    }
    assert_eq!(members.etcdctl(2, "get before --print-value-only"), "kept");
}

/// What differs on one host is taken over there alone.
pub fn a_host_s_own_setting_restarts_that_host_alone() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    let pids: Vec<_> = (1..=3).map(|host| site.pid(host)).collect();
    let mut inventory = site.inventory(1..=3);
    inventory.hosts[1].2 = "etcd: { settings: { log-level: warn } }".to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0).says(&["node02 restart: changed"]).never_says(&["node01 restart: changed"]);
    assert_eq!(members.variable(2, "ETCD_LOG_LEVEL").as_deref(), Some("warn"));
    assert_eq!(members.variable(1, "ETCD_LOG_LEVEL"), None);
    assert_eq!((site.pid(1), site.pid(3)), (pids[0], pids[2]));
    assert_ne!(site.pid(2), pids[1]);

    // What somebody edited by hand is shown and taken back; a crash-restart had made it count.
    site.lab.read("node03", "echo ETCD_LOG_LEVEL=debug >>/etc/etcd/etcd.conf; systemctl kill -s KILL etcd; sleep 3");
    assert_eq!(members.variable(3, "ETCD_LOG_LEVEL").as_deref(), Some("debug"));
    let altered = "restart etcd: it runs with options that were changed on the host";
    site.run("plan --detailed-exitcode").exits(10).says(&["-ETCD_LOG_LEVEL=debug", altered]);
    site.run("deploy").exits(0).says(&[altered]).never_says(&["node01 restart: changed", "node02 restart: changed"]);
    assert_eq!(members.variable(3, "ETCD_LOG_LEVEL"), None);
    members.assert_whole();

    // Certificates are taken over without a restart; etcd reads them at every handshake.
    let pids: Vec<_> = (1..=3).map(|host| site.pid(host)).collect();
    inventory.hosts[0].2 = "extra_names: [etcd.example.net]".to_owned();
    site.write(&inventory);
    site.run("deploy").exits(0).says(&["node01 activate: changed: put certificates in force"]);
    assert_eq!((site.pid(1), site.pid(3)), (pids[0], pids[2]));
    let served = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "openssl s_client -connect {}:2379 </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName",
            site.lab.address(1)
        ))
        .output()
        .unwrap();
    let served = String::from_utf8_lossy(&served.stdout).into_owned();
    assert!(served.contains("DNS:etcd.example.net"), "{served}");
    members.assert_whole();
}

/// A change that etcd does not start with stops at the first member, and the others stay as they are.
pub fn a_change_that_does_not_come_up_stops_at_the_first_member() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    let pids: Vec<_> = (1..=3).map(|host| site.pid(host)).collect();
    let mut inventory = site.inventory(1..=3);
    // Well formed, but no address of any of these hosts.
    inventory.settings = "listen-metrics-urls: \"http://192.0.2.1:2381\"".to_owned();
    site.write(&inventory);
    let leader = members.leader();
    let first = if leader == 1 { 2 } else { 1 };
    let before = site.lab.read(&node(first), "cat /etc/etcd/etcd.conf");
    site.run("deploy --health-timeout 20").exits(6).ends("rolled back: ").says(&[
        " were not touched; later plays were not begun",
        &format!("{} restart: failed", node(first)),
        "etcd does not stay up",
        "cannot assign requested address",
        "journalctl -u etcd.service -n 50",
        &format!("{} way_back: failed", node(first)),
        "the change was taken back, and the member is healthy with what it had before",
    ]);
    assert_eq!(site.lab.read(&node(first), "cat /etc/etcd/etcd.conf"), before);
    assert_eq!(members.variable(first, "ETCD_LISTEN_METRICS_URLS"), None);
    for host in (1..=3).filter(|&host| host != first) {
        assert_eq!(site.pid(host), pids[host - 1], "{} was touched", node(host));
    }
    site.run("health").exits(0);
    site.write(&site.inventory(1..=3));
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    members.assert_whole();
}

/// Controllers that die in the middle: the host takes a bad change back by itself, and keeps a good one.
pub fn a_host_on_its_own_takes_a_bad_change_back_and_keeps_a_good_one() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    let leader = members.leader();
    let first = if leader == 1 { 2 } else { 1 };
    let on = |script: &str| site.lab.read(&node(first), script);
    let armed = "test -e /etc/etcd/.previous/unconfirmed && echo yes || echo no";
    for (setting, kept) in
        [("listen-metrics-urls: \"http://192.0.2.1:2381\"", false), ("heartbeat-interval: 130", true)]
    {
        let mut inventory = site.inventory(1..=3);
        inventory.settings = setting.to_owned();
        site.write(&inventory);
        let before = on("cat /etc/etcd/etcd.conf");
        let pid = site.pid(first);
        let running = site.start("deploy --health-timeout 3");
        crate::site::eventually("the change is in force", std::time::Duration::from_secs(60), || {
            on("cat /etc/etcd/etcd.conf") != before && on(armed) == "yes"
        });
        running.signal("KILL");
        running.wait();
        // Whatever the controller had begun, this is the state that it may leave: changed and restarted.
        on("systemctl restart --no-block etcd");
        crate::site::eventually("the host has decided", std::time::Duration::from_secs(90), || on(armed) == "no");
        crate::site::eventually("the member is up", std::time::Duration::from_secs(60), || {
            on("systemctl is-active etcd || true") == "active"
        });
        assert_eq!(on("cat /etc/etcd/etcd.conf") != before, kept, "{setting}");
        assert_ne!(site.pid(first), pid, "{setting}");
        members.assert_whole();
        assert_eq!(on("systemctl list-units --all --no-legend 'etcd-ha-way-back*' | wc -l"), "0");
    }
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, nothing to do");
}

/// Restart, stop, start, rollback and `--limit`, as an operator types them.
pub fn members_are_restarted_stopped_started_and_taken_back() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let members = Members::of(&site, 3);
    let pids = || (1..=3).map(|host| site.pid(host)).collect::<Vec<_>>();
    let before = pids();
    let leader = members.leader();
    let plan = site.run("restart --dry-run").exits(0).says(&["changes on 3 hosts; nothing was touched"]);
    for (place, host) in (1..=3).filter(|&host| host != leader).chain([leader]).enumerate() {
        let line = plan.stdout.lines().find(|line| line.starts_with(&format!("  {}. {}: ", place + 1, node(host))));
        let line = line.unwrap_or_else(|| panic!("{}", plan.stdout));
        assert!(line.ends_with("restart etcd (3 voters, 3 healthy, 2 needed: 1 to spare)"), "{line}");
    }
    assert_eq!(pids(), before);
    let writer = members.writer(1, "restart");
    site.run("restart").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    writer.stop();
    assert_rolled(&members, &before, leader);

    // One member may be spared, two may not.
    let running = pids();
    site.run("stop --limit node01,node02").exits(4).says(&["for one member, and node01, node02 are named"]);
    assert_eq!(pids(), running);
    site.run("stop --limit node02").exits(0);
    assert_eq!(site.pid(2), 0);
    site.run("restart --dry-run").exits(0).says(&[
        "1. node02: start etcd, which is down (3 voters, 2 healthy, 2 needed: 0 to spare)",
        "restart etcd (would be refused: member `node02` is down: ",
    ]);
    site.run("stop --limit node01").exits(4).says(&["refused to touch it: member `node02` is down", "0 to spare"]);
    site.run("restart --limit node03").exits(4);
    site.run("start").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");
    site.run("stop").exits(2).says(&["`stop` asks on the terminal, and there is none", "--yes"]);
    assert!(!pids().contains(&0));
    site.run("stop --yes").exits(0);
    assert_eq!(pids(), [0, 0, 0]);
    site.run("start").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");

    // A host that is off does not keep the others from forming a quorum.
    site.run("stop --yes").exits(0);
    site.lab.run(&["kill", "node01"]);
    site.run("start").exits(1).says(&[
        "node01 start: failed",
        "stopped on node01",
        "node02 start: changed: start etcd",
    ]);
    crate::site::eventually("two of three are healthy", std::time::Duration::from_secs(30), || {
        site.run("health").stdout.contains("cluster is degraded: 2 of 3 members healthy")
    });
    site.run("health").exits(3);
    site.lab.run(&["start", "node01"]);
    site.run("start").exits(0).ends("done: cluster lab is healthy, 3 of 3 members, ");

    // What one host was given is taken back there alone.
    let mut inventory = site.inventory(1..=3);
    inventory.settings = "heartbeat-interval: 140".to_owned();
    site.write(&inventory);
    site.run("deploy --limit node03,nodeX").exits(2).says(&["there is no host `nodeX` in the inventory"]);
    site.run("deploy --limit node03").exits(0).never_says(&["node01 restart", "node02 restart"]);
    assert_eq!(members.variable(3, "ETCD_HEARTBEAT_INTERVAL").as_deref(), Some("140"));
    assert_eq!(members.variable(1, "ETCD_HEARTBEAT_INTERVAL"), None);
    let seen = (pids(), site.manifest(3));
    site.run("rollback --dry-run").exits(0).says(&[
        "  1. node03: go back to what was in force before the last change (etcd 3.5.16 as now) (3 voters, 3 healthy, ",
        "warning: there is nothing to go back to on it",
        "1 change on 1 host; nothing was touched",
    ]);
    site.run("rollback --dry-run --limit node01").exits(0).says(&["no changes: there is nothing to do in cluster lab"]);
    assert_eq!(pids(), seen.0);
    assert_untouched(&seen.1, &site.manifest(3));
    site.run("rollback --limit node03").exits(0).says(&["the next deploy takes that over"]);
    assert_eq!(members.variable(3, "ETCD_HEARTBEAT_INTERVAL"), None);
    site.run("rollback --limit node03").exits(0).says(&["nothing to do"]);
    members.assert_whole();
}

/// A step before a member's turn that fails leaves it untouched; the ones of members that are touched are all done.
pub fn hooks_run_around_every_member_that_is_touched() {
    let site = Site::up(3);
    site.run("deploy").exits(0);
    let pids = || (1..=3).map(|host| site.pid(host)).collect::<Vec<_>>();
    let book = |before: &str| {
        format!(
            "name: hooked\nplays:\n  - name: Restart\n    mode: rolling\n    before:\n      - command: {{ argv: {before}, on: controller }}\n    \
             tasks: [hand_over_leadership: {{ always: true }}, restart: {{ always: true }}, wait_healthy]\n    after:\n      \
             - command: {{ argv: [sh, -c, 'echo after {{{{ host.name }}}} >>/run/hooks'] }}\n"
        )
        .replace("tasks: [hand_over_leadership: { always: true }, restart: { always: true }, wait_healthy]",
            "tasks:\n      - hand_over_leadership: { always: true }\n      - restart: { always: true }\n      - wait_healthy")
    };
    let before = pids();
    site.write_file("hooked.yaml", &book("['false']"));
    site.run("run hooked.yaml").exits(1).says(&["the member was not touched, since a step before its turn failed"]);
    assert_eq!(pids(), before);
    site.write_file("hooked.yaml", &book("[sh, -c, 'echo before {{ host.name }} >>hooks']"));
    site.run("run hooked.yaml").exits(0);
    let mut lines: Vec<_> = std::fs::read_to_string(site.path("hooks")).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["before node01", "before node02", "before node03"]);
    for host in 1..=3 {
        assert_eq!(site.lab.read(&node(host), "cat /run/hooks"), format!("after {}", node(host)));
        assert_ne!(site.pid(host), before[host - 1]);
    }
}
