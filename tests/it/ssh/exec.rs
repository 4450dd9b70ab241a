//! Commands: input, output, ends of all kinds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_ha::ssh::{Bandwidth, Input, Limits, Loss, Output, Session, SshError, Status};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::Fixture;
use super::server::{Behaviour, Line};

async fn run(session: &Session, command: &str, input: Input) -> Output {
    session.exec(command, input, &Limits::default()).await.unwrap()
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn status_and_both_outputs() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    for (command, status, stdout, stderr) in [
        ("exit 0", 0, &b""[..], &b""[..]),
        ("echo out; echo err >&2; exit 7", 7, b"out\n", b"err\n"),
        ("printf '\\377\\0\\376'", 0, b"\xff\0\xfe", b""),
        ("exec 2>&-; printf 'no newline'; exit 255", 255, b"no newline", b""),
        ("cat", 0, b"", b""),
    ] {
        let output = run(&session, command, Input::None).await;
        assert_eq!(output.status, Status::Exited(status), "{command}");
        assert_eq!(output.success(), status == 0, "{command}");
        assert_eq!((&*output.stdout, &*output.stderr), (stdout, stderr), "{command}");
    }
    let output = run(&session, "test: signal", Input::None).await;
    assert_eq!(output.status, Status::Signaled("KILL".to_owned()));
    assert!(!output.success());
    let id = fixture.server.seen.client_ids.lock().unwrap().clone();
    assert_eq!(id, [concat!("SSH-2.0-etcdha_", env!("CARGO_PKG_VERSION"))], "one connection for all");
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    // More than any window or pipe holds, both ways at once.
    let data = Bytes::from(noise(5_000_000));
    let output = run(&session, "cat", Input::Bytes(data.clone())).await;
    assert!(output.success());
    assert!(output.stdout == data, "{} bytes came back", output.stdout.len());
}

#[tokio::test]
async fn a_file_arrives_whole_and_is_counted() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    let data = noise(32 << 20);
    let path = fixture.path("release.tar.gz");
    std::fs::write(&path, &data).unwrap();
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&data));

    let counts = Arc::new(Mutex::new(Vec::new()));
    let counting = Arc::clone(&counts);
    let input = || Input::File {
        head: Bytes::from_static(b"a script\n"),
        path: path.clone(),
        progress: Some({
            let counting = Arc::clone(&counting);
            Arc::new(move |bytes| counting.lock().unwrap().push(bytes))
        }),
    };
    let command = "read -r line; echo \"$line\"; sha256sum";
    // Several sessions may read the file at once.
    let other = fixture.session().await;
    let (one, two) = tokio::join!(run(&session, command, input()), run(&other, command, input()));
    for output in [one, two] {
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("a script\n{digest}  -\n"));
    }
    let counts = counts.lock().unwrap();
    assert_eq!(counts.iter().filter(|count| **count == 32 << 20).count(), 2);
    assert!(counts.len() >= 2048, "{} steps", counts.len());
}

#[tokio::test]
async fn a_file_that_is_not_there_starts_nothing() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    let input = Input::File { head: Bytes::new(), path: fixture.path("none"), progress: None };
    let error = session.exec("cat", input, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, SshError::Input { .. }), "{error:?}");
    // A folder can be opened, but not be read.
    let input = Input::File { head: Bytes::new(), path: fixture.folder.path().to_owned(), progress: None };
    let error = session.exec("cat", input, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, SshError::Input { .. }), "{error:?}");
    assert_eq!(run(&session, "echo fine", Input::None).await.stdout, b"fine\n");
    assert_eq!(*fixture.server.seen.commands.lock().unwrap(), ["cat", "echo fine"]);
}

#[tokio::test]
async fn a_command_that_does_not_read_its_input_ends() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    let data = Bytes::from(noise(30_000_000));
    let path = fixture.path("data");
    std::fs::write(&path, &data).unwrap();
    let started = Instant::now();
    for command in ["test: exit without reading", "exit 3", "head -c 1000 > /dev/null; exit 3"] {
        let file = Input::File { head: Bytes::new(), path: path.clone(), progress: None };
        for input in [Input::Bytes(data.clone()), file] {
            let limits = Limits { timeout: Some(Duration::from_secs(20)), ..Limits::default() };
            let output = session.exec(command, input, &limits).await.unwrap();
            assert_eq!(output.status, Status::Exited(3), "{command}");
        }
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_end_without_a_status_is_no_success() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    let error = session.exec("test: no status", Input::None, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, SshError::NoExitStatus { .. }), "{error:?}");
    let error = session.exec("test: refuse", Input::None, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, SshError::ExecRefused { .. }), "{error:?}");
    let error = session.exec("echo \0", Input::None, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, SshError::NulInCommand { .. }), "{error:?}");
    assert!(run(&session, "exit 0", Input::None).await.success());
}

#[tokio::test]
async fn a_connection_that_ends_is_no_success() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let mut line = Line::to(fixture.server.address).await;
    let target = fixture.target_over(&line);
    let session = fixture.connect_to(&target).await.unwrap();
    let limits = Limits::default();
    let (outcome, ()) = tokio::join!(session.exec("echo begun; sleep 60", Input::None, &limits), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        line.cut();
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, SshError::ConnectionLost { loss: Loss::Closed | Loss::Broken(_), .. }), "{error:?}");
    assert!(session.is_closed());
    for _ in 0..2 {
        let error = session.exec("exit 0", Input::None, &Limits::default()).await.unwrap_err();
        assert!(matches!(error, SshError::ConnectionLost { .. }), "{error:?}");
    }
}

/// A cut link shows after four keepalive intervals, also in the midst of an upload, when the
/// SSH library itself does not look.
#[tokio::test]
async fn a_dead_line_is_found_out() {
    // More than TCP's buffers hold, so that it is TCP that is stuck and not the window.
    let fixture = Fixture::new(Behaviour { window: Some(64 << 20), ..Behaviour::default() }).await;
    let path = fixture.path("data");
    std::fs::write(&path, noise(64 << 20)).unwrap();
    for upload in [false, true] {
        let line = Line::to(fixture.server.address).await;
        let mut target = fixture.target_over(&line);
        target.keepalive = Some(Duration::from_millis(400));
        let session = fixture.connect_to(&target).await.unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let progress = Arc::clone(&sent);
        let input = if upload {
            let progress: etcd_ha::ssh::Progress = Arc::new(move |bytes| progress.store(bytes, Ordering::SeqCst));
            Input::File { head: Bytes::new(), path: path.clone(), progress: Some(progress) }
        } else {
            Input::None
        };
        let limits = Limits::default();
        let (outcome, frozen) = tokio::join!(
            timeout(Duration::from_secs(20), session.exec("sleep 60; cat > /dev/null", input, &limits)),
            async {
                if upload {
                    while sent.load(Ordering::SeqCst) < 1 << 20 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                } else {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                line.freeze();
                Instant::now()
            }
        );
        let error = outcome.expect("still waiting").unwrap_err();
        assert!(matches!(error, SshError::ConnectionLost { loss: Loss::Silent, .. }), "{upload} {error:?}");
        let took = frozen.elapsed();
        assert!(took < Duration::from_secs(4), "{upload}: {took:?}");
    }
}

#[tokio::test]
async fn limits_hold() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    let started = Instant::now();

    let limits = Limits { timeout: Some(Duration::from_millis(300)), ..Limits::default() };
    let error = session.exec("test: silence", Input::None, &limits).await.unwrap_err();
    assert!(matches!(error, SshError::CommandTimeout { .. }), "{error:?}");
    assert!(error.to_string().contains("within 0.3 s"), "{error}");

    let limits = Limits { idle: Some(Duration::from_millis(500)), ..Limits::default() };
    let error = session.exec("test: silence", Input::None, &limits).await.unwrap_err();
    assert!(matches!(error, SshError::IdleTimeout { .. }), "{error:?}");
    // 1.2 s in all, and never 0.2 s without a byte of output: it cannot be drawn out so.
    let error = session.exec("test: trickle", Input::None, &limits).await.unwrap_err();
    assert!(matches!(error, SshError::IdleTimeout { .. }), "{error:?}");
    let limits = Limits { idle: Some(Duration::from_secs(5)), ..Limits::default() };
    let output = session.exec("test: trickle", Input::None, &limits).await.unwrap();
    assert_eq!(output.stdout, b"........");

    let limits = Limits { max_output: 1_000_000, ..Limits::default() };
    let error = session.exec("test: flood", Input::None, &limits).await.unwrap_err();
    assert!(matches!(error, SshError::OutputTooLong { limit: 1_000_000, .. }), "{error:?}");
    for (command, fits) in [("head -c 1000000 /dev/zero", true), ("head -c 600000 /dev/zero | tee /dev/stderr", false)]
    {
        let outcome = session.exec(command, Input::None, &limits).await;
        assert_eq!(outcome.is_ok(), fits, "{command}");
    }

    // What overstepped its limits was ended, and the session is as good as before.
    assert!(run(&session, "exit 0", Input::None).await.success());
    assert!(fixture.server.seen.signals.lock().unwrap().len() >= 3);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_is_ended() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let session = fixture.session().await;
    for _ in 0..6 {
        let limits = Limits::default();
        let exec = session.exec("test: silence", Input::None, &limits);
        assert!(tokio::time::timeout(Duration::from_millis(50), exec).await.is_err());
    }
    // More than have turns at once: the turns were given back.
    assert!(run(&session, "exit 0", Input::None).await.success());
    assert_eq!(*fixture.server.seen.signals.lock().unwrap(), vec!["TERM"; 6]);
}

#[tokio::test]
async fn commands_take_turns() {
    for (behaviour, most) in [
        (Behaviour::default(), 4),
        (Behaviour { max_sessions: 2, ..Behaviour::default() }, 2),
        (Behaviour { max_sessions: 1, ..Behaviour::default() }, 1),
        (Behaviour { refuse_sessions: 5, ..Behaviour::default() }, 4),
    ] {
        let fixture = Fixture::new(behaviour).await;
        let session = fixture.session().await;
        let commands = (0..12).map(|number| {
            let session = session.clone();
            async move {
                let output = run(&session, &format!("sleep 0.05; echo {number}"), Input::None).await;
                assert_eq!(output.stdout, format!("{number}\n").as_bytes());
            }
        });
        futures::future::join_all(commands).await;
        let most_seen = fixture.server.seen.most_sessions.load(Ordering::SeqCst);
        assert!(most_seen <= most, "{most_seen} of {most}");
    }
}

#[tokio::test]
async fn a_server_that_never_opens_a_session() {
    let fixture = Fixture::new(Behaviour { refuse_sessions: 1000, ..Behaviour::default() }).await;
    let session = fixture.session().await;
    let error = session.exec("exit 0", Input::None, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, SshError::ChannelRefused { .. }), "{error:?}");
    assert!(fixture.server.seen.refused_sessions.load(Ordering::SeqCst) > 3);
}

/// Three hosts together keep to the rate, none gets ahead of the others, and a script is not held up.
#[tokio::test]
async fn uploads_share_the_bandwidth() {
    const RATE: usize = 2 << 20;
    let fixture = Fixture::new(Behaviour::default()).await;
    let path = fixture.path("data");
    std::fs::write(&path, noise(RATE)).unwrap();
    let bandwidth = Bandwidth::new(RATE as u64);
    let begun = Instant::now();
    let uploads = (0..3).map(|_| async {
        let session = fixture.session().await;
        session.throttle(&bandwidth);
        let file = Input::File { head: Bytes::from_static(b"head"), path: path.clone(), progress: None };
        assert_eq!(run(&session, "wc -c", file).await.stdout.trim_ascii(), (RATE + 4).to_string().as_bytes());
        let took = begun.elapsed().as_secs_f64();
        let script = Instant::now();
        // At the rate it would be two seconds.
        assert!(run(&session, "cat >/dev/null", Input::Bytes(vec![0; 2 * RATE].into())).await.success());
        assert!(script.elapsed() < Duration::from_millis(1500), "{:?}", script.elapsed());
        took
    });
    let took = futures::future::join_all(uploads).await;
    for seconds in took {
        // One that got ahead would be through after two; a busy machine is a little late.
        assert!((2.7..4.5).contains(&seconds), "{seconds}");
    }
}
