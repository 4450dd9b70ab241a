//! Faults that are set one after the other on one cluster: `explain` names the cause of each and what to type, and what
//! it says to type with `etcd-ha` heals it.

use crate::site::{Site, eventually};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// What makes a fault good.
enum Heal {
    /// The program, with these words: those that `explain` said.
    Run(&'static str),
    /// A script on the host, for what is outside of the program's reach.
    Script(&'static str),
    /// A verb of the lab.
    Lab(&'static str),
}

/// A fault on node03.
struct Fault {
    set: String,
    cause: &'static str,
    next: &'static str,
    heal: Heal,
}

fn fault(set: impl Into<String>, cause: &'static str, next: &'static str, heal: Heal) -> Fault {
    Fault { set: set.into(), cause, next, heal }
}

const DEPLOY: &str = "etcd-ha deploy -i lab.yaml";
const AGAIN: &str = "systemctl restart --no-block etcd";

/// A script that puts a peer certificate from the cluster's own CA on a host: for these names, from and to these days.
fn certificate(site: &Site, names: &str, from: &str, to: &str) -> String {
    let folder = site.path("leaf");
    let pki = site.path("lab.pki");
    let script = format!(
        "rm -rf {folder}; mkdir {folder}; cd {folder}; : >index; echo 77 >serial
         printf '[ca]\\ndefault_ca=it\\n[it]\\ndatabase=index\\nserial=serial\\nnew_certs_dir=.\\ndefault_md=sha256\\npolicy=any\\n\
         x509_extensions=leaf\\n[any]\\ncommonName=supplied\\n[leaf]\\nsubjectAltName={names}\\n\
         extendedKeyUsage=clientAuth,serverAuth\\n' >ca.conf
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out csr.pem -subj /CN=node03 2>&1 &&
         openssl ca -batch -notext -config ca.conf -cert {pki}/ca.pem -keyfile {pki}/ca-key.pem -in csr.pem -out leaf.pem \
         -startdate $(date -u -d '{from}' +%Y%m%d%H%M%SZ) -enddate $(date -u -d '{to}' +%Y%m%d%H%M%SZ) 2>&1",
        folder = folder.display(),
        pki = pki.display(),
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap().replace('\n', "\\n");
    format!(
        "cd /etc/etcd/ssl; printf '%b' '{}' >peer.pem; printf '%b' '{}' >peer-key.pem; {AGAIN}",
        read("leaf.pem"),
        read("key.pem")
    )
}

pub fn explain_names_the_cause_of_each_fault_and_what_heals_it() {
    let site = Site::up(3);
    site.run("explain").exits(1).says(&["there are no usable certificates in"]);
    site.run("deploy").exits(0);
    let ran = site.run("explain").exits(0);
    assert_eq!(ran.stdout, "cluster lab is healthy: 3 of 3 voters; nothing to explain\n");

    let address = site.lab.address(3);
    let thief = format!(
        "systemctl stop etcd; systemd-run -q --unit=thief systemd-socket-activate -a -l {address}:2380 /bin/cat; sleep 0.3; \
         systemctl start --no-block etcd"
    );
    let faults = [
        fault(
            "systemctl stop etcd",
            "node03: etcd was stopped, and nothing starts it again by itself",
            "etcd-ha start -i lab.yaml --limit node03",
            Heal::Run("start --limit node03"),
        ),
        fault(
            thief,
            "node03: another program listens on its port 2380",
            "`/usr/bin/systemd-socket-activate -a -l",
            Heal::Script("systemctl stop thief"),
        ),
        fault(
            certificate(&site, &format!("IP:{address}"), "-2 days", "-1 hour"),
            "node03: its certificate has expired or is not valid yet",
            DEPLOY,
            Heal::Run("deploy"),
        ),
        fault(
            certificate(&site, "IP:10.99.9.9", "-1 hour", "1 day"),
            "node03: its certificate does not name",
            DEPLOY,
            Heal::Run("deploy"),
        ),
        fault(
            format!("echo ETCD_ELECTION_TIMEOUT=150 >>/etc/etcd/etcd.conf; {AGAIN}"),
            "node03: the options do not fit together",
            DEPLOY,
            Heal::Run("deploy"),
        ),
        fault(
            format!("chown root:root /etc/etcd/ssl/peer-key.pem; chmod 600 /etc/etcd/ssl/peer-key.pem; {AGAIN}"),
            "node03: etcd's user, `etcd`, may not open /etc/etcd/ssl/peer-key.pem",
            DEPLOY,
            Heal::Run("deploy"),
        ),
        fault(
            format!("rm /usr/local/bin/etcd; {AGAIN}"),
            "node03: the binary is not there",
            DEPLOY,
            Heal::Run("deploy"),
        ),
        fault(
            "systemctl stop etcd; mv /var/lib/etcd/member /root/member; systemctl start --no-block etcd",
            "node03: it has lost its data",
            "etcd-ha ctl -i lab.yaml -- member add node03 --learner",
            Heal::Script(
                "systemctl stop etcd; rm -rf /var/lib/etcd/member; mv /root/member /var/lib/etcd/; systemctl start etcd",
            ),
        ),
        fault(
            "systemctl mask --now etcd 2>/dev/null || { rm -f /root/unit; mv /etc/systemd/system/etcd.service /root/unit; \
             ln -s /dev/null /etc/systemd/system/etcd.service; systemctl daemon-reload; systemctl stop etcd; }",
            "node03: etcd.service is masked",
            "systemctl unmask etcd.service",
            Heal::Script(
                "rm /etc/systemd/system/etcd.service; mv /root/unit /etc/systemd/system/etcd.service; \
                 systemctl daemon-reload; systemctl enable --now --no-block etcd",
            ),
        ),
    ];
    for fault in &faults {
        let _ = site.lab.exec("node03", &fault.set);
        found(&site, fault.cause, fault.next);
        well_again(&site, &fault.heal);
    }

    site.lab.run(&["kill", "node03"]);
    found(&site, "node03: the host cannot be reached over SSH", "check that the host is up");
    well_again(&site, &Heal::Lab("start"));

    site.lab.read("node02", "systemctl stop etcd");
    site.lab.read("node03", "systemctl stop etcd");
    found(&site, "there is no quorum: 1 of 3 members can vote, 2 are needed", "do not restart node01");
    well_again(&site, &Heal::Run("start --limit node02,node03"));

    removed_and_back(&site);

    // The last, since what the member writes on that disk is gone with it.
    let full = "systemctl stop etcd; mv /var/lib/etcd/member /root/member; size=$(du -sk /root/member | cut -f 1); \
         mount -t tmpfs -o size=$((size + 150000))k tmpfs /var/lib/etcd; cp -a /root/member /var/lib/etcd/; \
         chown -R etcd:etcd /var/lib/etcd; cat /dev/zero >/var/lib/etcd/fill 2>/dev/null; systemctl start --no-block etcd";
    let _ = site.lab.exec("node03", full);
    found(&site, "node03: the disk with its data is full", "du -xh --max-depth=1 /var/lib/etcd");
    site.run("status").exits(0).says(&["node03: ", " are free on the disk with its data (/var/lib/etcd)"]);
    well_again(&site, &Heal::Script("rm /var/lib/etcd/fill"));
}

/// A member that somebody has removed, and the way back as `explain` says it, word by word.
fn removed_and_back(site: &Site) {
    let status: Value = serde_json::from_str(&site.run("status -o json").exits(0).stdout).unwrap();
    let id = status["members"][2]["id"].as_str().unwrap().to_owned();
    // etcd changes members only among those that have been connected for five seconds, and an answer may be lost: what
    // counts is what the members list.
    let until = |what: &str, words: &str, holds: &dyn Fn(&str) -> bool| {
        eventually(what, Duration::from_secs(40), || {
            drop(site.run_with(words));
            let listed = site.run_with("ctl -i lab.yaml --on node01 -- member list");
            listed.code == Some(0) && holds(&listed.stdout)
        });
    };
    let remove = format!("ctl -i lab.yaml --on node01 -- member remove {id}");
    until("the member is removed", &remove, &|listed| !listed.contains(&id));
    found(site, "node03: it was removed from the cluster", "etcd-ha ctl -i lab.yaml -- member add node03 --learner");
    // Those that serve are not meant.
    site.run("explain").exits(3).never_says(&["node01: it was", "node02: it was"]);
    site.run_with("exec -i lab.yaml node03 -- systemctl stop etcd.service").exits(0);
    site.run_with("exec -i lab.yaml node03 -- mv /var/lib/etcd/member /var/lib/etcd.removed").exits(0);
    let url = format!("https://{}:2380", site.lab.address(3));
    let add = format!("ctl -i lab.yaml -- member add node03 --learner --peer-urls={url}");
    until("the member is added", &add, &|listed| listed.contains(&url));
    found(site, "node03: it was added to the cluster as a new member", "systemctl restart etcd");
    site.run_with("exec -i lab.yaml node03 -- systemctl restart etcd").exits(0);
    let mut promote = String::new();
    eventually("its vote is all that it lacks", Duration::from_secs(20), || {
        let said = site.run("explain").stdout;
        promote = said.lines().find_map(|line| line.trim().strip_prefix("etcd-ha ")).unwrap_or_default().to_owned();
        promote.contains("member promote ")
    });
    until("it has a vote", &promote, &|listed| !listed.contains("true"));
    eventually("healthy again", Duration::from_secs(30), || site.run("health").code == Some(0));
    site.lab.read("node03", "rm -rf /var/lib/etcd.removed");
}

/// `explain` says so within some seconds: what is wrong shows only when a member has tried.
#[track_caller]
fn found(site: &Site, cause: &str, next: &str) {
    // A line may be broken anywhere.
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut said = String::new();
    let begun = std::time::Instant::now();
    loop {
        let ran = site.run("explain");
        if ran.code == Some(3) && flat(&ran.stdout).contains(cause) && flat(&ran.stdout).contains(next) {
            return;
        }
        if begun.elapsed() > Duration::from_secs(25) {
            said.push_str(&format!("{ran:?}"));
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    panic!("expected {cause:?} and {next:?}: {said}");
}

#[track_caller]
fn well_again(site: &Site, heal: &Heal) {
    match heal {
        Heal::Run(words) => drop(site.run(words).exits(0)),
        Heal::Script(script) => drop(site.lab.read("node03", script)),
        Heal::Lab(verb) => site.lab.run(&[verb, "node03"]),
    }
    eventually("healthy again", Duration::from_secs(30), || site.run("health").code == Some(0));
}
