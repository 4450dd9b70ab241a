//! The terminal display, played for the eyes.

use super::{changed, finished, play, progress, run_finished, run_started, started};
use etcd_ha::error::ExitStatus;
use etcd_ha::report::{Detail, Event, HostRecap, Look, Outcome, Reporter, Style, Symbols, Terminal};
use std::time::Duration;

/// Plays a deploy of three hosts on the real terminal, to be looked at:
/// `cargo test --test it report::demo:: -- --ignored --nocapture`. Set `ETCD_HA_DEMO=40` to see 40 hosts.
#[test]
#[ignore = "to be looked at, not judged"]
fn deploy_to_three_hosts() {
    let number: usize = std::env::var("ETCD_HA_DEMO").ok().and_then(|number| number.parse().ok()).unwrap_or(3);
    let names: Vec<String> = (1..=number).map(|number| format!("node{number:02}")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let look = Look { style: Style::new(true), symbols: Symbols::UNICODE };
    let detail = Detail {
        verbose: false,
        quiet: false,
        run_log: Some("/home/op/.local/state/etcd-ha/prod/runs/20261122T101430.500Z-deploy-42.jsonl".into()),
    };
    let reporter = Reporter::new(vec![Box::new(Terminal::stderr(look, detail))]);
    let wait = |millis| std::thread::sleep(Duration::from_millis(millis));
    let etcd = 20_761_804u64;

    reporter.emit(run_started(&hosts));
    reporter.emit(play("Look at every host", "parallel", &hosts));
    for host in &hosts {
        reporter.emit(started(host, "preflight"));
    }
    wait(400);
    for host in &hosts {
        reporter.emit(finished(host, "preflight", Outcome::Ok, 0.4));
    }
    reporter.emit(play("Stage binaries, certificates and units", "parallel", &hosts));
    for host in &hosts {
        reporter.emit(started(host, "stage_release"));
    }
    let mut pending: Vec<usize> = (0..hosts.len()).collect();
    for step in 1..=60u64 {
        wait(100);
        pending.retain(|index| {
            let bytes = (etcd * step * (3 + *index as u64) / 180).min(etcd);
            reporter.emit(progress(hosts[*index], "stage_release", "uploading etcd 3.5.16", Some((bytes, etcd))));
            if bytes == etcd {
                let changes = ["etcd 3.5.16 uploaded (19.8 MiB) and unpacked"];
                reporter.emit(finished(hosts[*index], "stage_release", changed(&changes), step as f64 / 10.0));
            }
            bytes < etcd
        });
    }
    for host in &hosts {
        reporter.emit(finished(
            host,
            "stage_config",
            changed(&["/etc/etcd/etcd.conf", "/etc/systemd/system/etcd.service"]),
            0.1,
        ));
    }
    reporter.emit(play("Start the members that do not run yet", "sequence", &hosts));
    for host in hosts.iter().take(3) {
        reporter.emit(started(host, "start"));
        reporter.emit(progress(host, "start", "waiting until the peer port listens", None));
        wait(1500);
        reporter.emit(finished(host, "start", changed(&["etcd.service enabled and started"]), 1.5));
    }
    reporter.emit(Event::Warning {
        host: Some(hosts[0].into()),
        message: "the clock is 2.4 s behind the controller's; certificates issued now are not valid there for as long"
            .into(),
    });
    reporter.emit(play("Verify", "parallel", &["controller"]));
    reporter.emit(started("controller", "health"));
    reporter.emit(progress("controller", "health", "waiting for a leader", None));
    wait(2500);
    let failed = Outcome::Failed {
        error: "member `node02` is unhealthy: https://10.19.0.56:2379: TLS handshake: certificate not valid for name \"10.19.0.56\"; only valid for IpAddress(10.19.0.5)".into(),
        hint: Some("run `etcd-ha certs show -i inventories/prod.yaml` and compare the SANs with the addresses in the inventory".into()),
    };
    reporter.emit(finished("controller", "health", failed, 2.5));
    let recap = hosts.iter().map(|host| HostRecap { host: (*host).into(), ok: 1, changed: 3, failed: 0, seconds: 4.1 });
    let end = run_finished(
        ExitStatus::Unhealthy,
        "cluster prod is degraded, 2 of 3 members are healthy",
        recap.collect(),
        11.4,
    );
    reporter.emit(end);
    reporter.finish();
}
