//! Before anybody is logged in, and what a server asks for of its own accord.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::against;
use super::desk::Desk;
use super::host::{Attack, FRESH, Hostile, Port, Say};

/// Ports that speak no SSH, or only the beginning of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_leads_nowhere_costs_a_bounded_time_and_little_memory() {
    let big = 64 << 10;
    let rows: [(&str, &[u8], Vec<u8>); 7] = [
        ("silence", b"", Vec::new()),
        ("a greeting and silence", b"SSH-2.0-x\r\n", Vec::new()),
        ("noise without a line end", b"", vec![b'x'; big]),
        ("lines of noise", b"", b"welcome\x1b[2J\r\n".repeat(big / 12)),
        ("a greeting without end", b"SSH-2.0-", vec![b'x'; big]),
        ("noise behind the greeting", b"SSH-2.0-x\r\n", vec![b'x'; big]),
        // A packet that claims to be of 4 GiB.
        ("a packet without end", b"SSH-2.0-x\r\n\xff\xff\xff\xff\x04\x14", vec![0; big]),
    ];
    let row = |(name, first, again)| async move {
        let mut wrong: Vec<String> = Vec::new();
        let port = Port::start(first, again).await;
        let desk = Desk::new(&[port.address], "", "false");
        let lines =
            ["status -i prod.yaml", "check -i prod.yaml --no-disk", "deploy -i prod.yaml", "trust -i prod.yaml --yes"];
        let desk = &desk;
        let runs = lines.map(|line| async move { (line, desk.run(line).await) });
        for (line, ended) in futures::future::join_all(runs).await {
            let row = format!("{name}: {line}");
            wrong.extend(ended.wrong(&row));
            if ended.status == Some(0) || ended.took > Duration::from_secs(12) {
                wrong.push(format!("{row}: {:?} after {:?}: {}", ended.status, ended.took, ended.said()));
            }
        }
        let sent = port.sent.load(Ordering::Relaxed);
        if sent > 1 << 30 {
            wrong.push(format!("{name}: {} MiB were taken", sent >> 20));
        }
        wrong
    };
    let wrong: Vec<String> = futures::future::join_all(rows.map(row)).await.concat();
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
}

/// A banner as long as a packet may be, of things that paint, and log-ins that come to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_at_the_door_paint_nothing() {
    let poison = "\u{1b}[2J\u{9b}31m\u{202e}\u{200b}owned\r\n".repeat(5000);
    let banner = Attack {
        banner: Some(poison),
        questions: Some(("\u{1b}[2Jowned", vec!["\u{1b}[2J[sudo] password for ops\u{202e}: "])),
        ..Attack::answer(|_| vec![Say::Exit(0)])
    };
    for line in ["status -i prod.yaml", "check -i prod.yaml -o json", "deploy -i prod.yaml"] {
        let (ended, _host) = against(banner.clone(), line).await;
        assert_eq!(ended.wrong(line), [""; 0]);
        assert_ne!(ended.status, Some(0), "{line}: {}", ended.said());
    }
}

/// Channels to us: for our agent, our display, our ports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_server_opens_is_declined() {
    let slow = Attack {
        opens: true,
        ..Attack::answer(|asked| asked.begun(Say::Trickle(b"space-of /\n".to_vec(), Duration::from_millis(20))))
    };
    let (ended, host) = against(slow, "exec -i prod.yaml --timeout 1 -o json -- id").await;
    assert_eq!(ended.wrong("exec"), [""; 0]);
    let (opened, declined) = (host.got.opened.load(Ordering::SeqCst), host.got.declined.load(Ordering::SeqCst));
    assert_eq!(opened, 0);
    assert!(declined > 100, "{declined}");
    // And a run beside it is as good as ever.
    let quick = Attack { opens: true, ..Attack::answer(|asked| asked.good(FRESH, b"")) };
    let (ended, host) = against(quick, "status -i prod.yaml").await;
    assert!(ended.said().contains("not deployed"), "{}", ended.said());
    assert_eq!(host.got.opened.load(Ordering::SeqCst), 0);
    drop(Hostile::start(Attack::answer(|_| Vec::new())).await);
}
