//! A whole deploy to a host that says yes to everything and means nothing of it.

use std::sync::atomic::Ordering;

use etcd_ha::release::Arch;

use super::desk::Desk;
use super::host::{Asked, Attack, FRESH, Hostile, Say};
use crate::release::fake::{Archive, sha256};

/// An inventory with a release at hand, of which the first host is a stranger to the second.
async fn desk(attacks: [Attack; 2]) -> (Desk, [Hostile; 2]) {
    let [first, second] = attacks;
    let hosts = [Hostile::start(first).await, Hostile::start(second).await];
    let known: String = hosts.iter().map(Hostile::known).collect();
    let desk = Desk::new(&[hosts[0].address, hosts[1].address], &known, "false");
    let archive = Archive::release("3.5.16", Arch::Amd64).pack();
    let inventory = std::fs::read_to_string(desk.path("prod.yaml")).unwrap();
    let release = format!(
        "etcd: {{ version: 3.5.16 }}\nrelease: {{ url: \"file://{}\", sha256: {{ amd64: {} }} }}\nhosts:\n",
        desk.path("etcd.tar.gz").display(),
        sha256(&archive)
    );
    std::fs::write(desk.path("etcd.tar.gz"), archive).unwrap();
    desk.write("prod.yaml", &inventory.replace("hosts:\n", &release));
    (desk, hosts)
}

/// A look at a machine of its own, whose clock is right.
fn look(number: u8) -> String {
    let machine = FRESH.lines().map(|line| match line.split_once(' ') {
        Some((id @ ("machine-id" | "boot-id"), _)) => format!("{id} {number:032x}\n"),
        _ => format!("{line}\n"),
    });
    let clock = time::OffsetDateTime::now_utc().unix_timestamp();
    format!("{}clock {clock}\n", machine.collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_gives_each_host_what_is_its_own_and_writes_only_its_folders() {
    let yes = |number: u8| {
        Attack::answer(move |asked: &Asked| {
            let body: &[u8] = match &asked.script {
                script if script.contains("echo taken") => b"taken\n",
                script if script.contains("/dev/tcp") => b"",
                _ => b"\n",
            };
            asked.good(&look(number), body)
        })
    };
    let (desk, hosts) = desk([yes(1), yes(2)]).await;
    let ended = desk.run("deploy -i prod.yaml").await;
    let row = format!("deploy: {}", ended.said());
    assert_eq!(ended.wrong(&row), [""; 0]);
    // They said that all is done, and a look says that nothing is.
    assert_ne!(ended.status, Some(0), "{row}");
    for (host, own, other) in [(&hosts[0], "node01", "node02"), (&hosts[1], "node02", "node01")] {
        let meant: Vec<String> = ["server", "peer"].map(|role| format!("{own}-{role}-key.pem")).to_vec();
        let meant: Vec<&str> = meant.iter().map(String::as_str).collect();
        assert_eq!(desk.leaked(&host.got, &meant), [""; 0], "{own}, {other}");
        assert!(host.got.commands.load(Ordering::SeqCst) > 1, "{row}");
    }
    // The keys that were meant for them did go out, so the search for the others would have found them.
    let found = |host: &Hostile| !desk.leaked(&host.got, &[]).is_empty();
    assert!(hosts.iter().all(found), "{row}");
}

/// An upload that is not taken, or answered before it has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_floods_in_the_middle_of_a_deploy_fails_alone() {
    let flood = Attack::answer(|asked: &Asked| {
        if asked.is_look() { asked.answer(look(1).as_bytes(), 0) } else { vec![Say::Flood(vec![b'x'; 32 << 10], 0)] }
    });
    let gone = Attack::answer(
        |asked: &Asked| {
            if asked.is_look() { asked.answer(look(2).as_bytes(), 0) } else { vec![Say::Exit(0)] }
        },
    );
    let (desk, hosts) = desk([flood, gone]).await;
    let ended = desk.run("deploy -i prod.yaml").await;
    let row = format!("deploy: {}", ended.said());
    assert_eq!(ended.wrong(&row), [""; 0]);
    assert_eq!(ended.status, Some(1), "{row}");
    for host in &hosts {
        assert_eq!(desk.leaked(&host.got, &[]), [""; 0], "{row}");
        assert!(host.got.sent.load(Ordering::Relaxed) < 64 << 20, "{row}");
    }
}
