//! Who gets the password for sudo, how often, and who does not.

use std::sync::Arc;

use super::desk::Desk;
use super::host::{Asked, Attack, FRESH, Hostile, Play, Say};

const PASSWORD: &str = "correct horse";
const LINE: &str = "status -i prod.yaml --become-pass-command ./pass";

fn play(play: impl Fn(&Asked) -> Vec<Say> + Send + Sync + 'static) -> Play {
    Arc::new(play)
}

fn prompt(asked: &Asked) -> Vec<Say> {
    asked.prompt().map(|prompt| Say::Out(prompt.into_bytes())).into_iter().collect()
}

fn said(words: &'static str) -> Play {
    play(move |_| vec![Say::Out(words.as_bytes().to_vec())])
}

/// That the shell waits for its script, as sudo's shell would say it.
fn ready(asked: &Asked) -> Vec<Say> {
    let secret = asked.prompt().unwrap().trim_start_matches("etcd-ha%").trim_end_matches(": ").to_owned();
    vec![Say::Out(format!("etcd-ha-{secret}-ready\n").into_bytes())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_for_the_right_question_and_goes_out_once() {
    let good = || Attack::answer(|asked| asked.good(FRESH, b""));
    // How often the password reached a host that behaves so, where rights come by this.
    let rows: Vec<(&str, &str, Attack, usize)> = vec![
        ("it asks and is content", "sudo", Attack { at_once: play(prompt), at_data: play(ready), ..good() }, 1),
        ("it asks again and again", "sudo", Attack { at_once: play(prompt), at_data: play(prompt), ..good() }, 1),
        (
            "it asks twice in one breath",
            "sudo",
            Attack { at_once: play(|asked| vec![Say::Out(asked.prompt().unwrap().repeat(2).into_bytes())]), ..good() },
            0,
        ),
        ("another question", "sudo", Attack { at_once: said("[sudo] password for ops: "), ..gone() }, 0),
        ("a question of a log-in", "sudo", Attack { at_once: said("ops@node01's password: "), ..gone() }, 0),
        (
            "the question for a terminal, split by noise",
            "sudo",
            Attack {
                at_once: play(|asked| {
                    vec![Say::Out(asked.prompt().unwrap().replace('%', "%\u{1b}[0m").into_bytes()), Say::Exit(1)]
                }),
                ..good()
            },
            0,
        ),
        (
            "the command line again",
            "sudo",
            Attack {
                at_once: play(|asked| vec![Say::Out(asked.command.clone().into_bytes()), Say::Exit(1)]),
                ..good()
            },
            0,
        ),
        (
            "the question once the script is there",
            "sudo",
            Attack {
                at_once: play(ready),
                at_script: play(|asked| [prompt(asked), prompt(asked), vec![Say::Exit(1)]].concat()),
                ..good()
            },
            0,
        ),
        (
            "where no rights are needed",
            "false",
            Attack { at_once: said("[sudo] password for ops: doas (ops@node01) password: "), ..good() },
            0,
        ),
    ];
    for (name, by, attack, times) in rows {
        let host = Hostile::start(attack).await;
        let desk = Desk::new(&[host.address], &host.known(), by);
        let ended = desk.run(LINE).await;
        assert_eq!(ended.wrong(name), [""; 0]);
        assert_eq!(desk.leaked(&host.got, &["password"]), [""; 0], "{name}");
        let heard = host.got.bytes.lock().unwrap().clone();
        let count = String::from_utf8_lossy(&heard).matches(PASSWORD).count();
        assert_eq!(count, times, "{name}: {}", ended.said());
        assert!(!ended.said().contains(PASSWORD), "{name}: {}", ended.said());
        assert!(host.got.answers.lock().unwrap().is_empty(), "{name}");
    }
}

/// A command that ends without a word of the script.
fn gone() -> Attack {
    let attack = Attack::answer(|_| vec![Say::Exit(1)]);
    Attack { at_data: play(|_| vec![Say::Exit(1)]), ..attack }
}

/// At the log-in, where a server may ask what it likes: sudo's password is no answer there, and the one for logging in
/// is given once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_log_in_only_its_own_password_is_given() {
    let asks =
        |question| Attack { questions: Some(("", vec![question])), ..Attack::answer(|asked| asked.good(FRESH, b"")) };
    for (question, flag, given) in [
        ("[sudo] password for ops: ", "--become-pass-command", 0),
        ("Password: ", "--become-pass-command", 0),
        ("etcd-ha%00000000000000000000000000000000: ", "--become-pass-command", 0),
        ("Password: ", "--pass-command", 1),
        ("New password: ", "--pass-command", 0),
        ("Enter passphrase for key '/home/ops/.ssh/id_ed25519': ", "--pass-command", 0),
    ] {
        let host = Hostile::start(asks(question)).await;
        let desk = Desk::new(&[host.address], &host.known(), "sudo");
        let ended = desk.run(&format!("status -i prod.yaml {flag} ./pass")).await;
        assert_eq!(ended.wrong(question), [""; 0]);
        assert_eq!(desk.leaked(&host.got, &["password"]), [""; 0], "{question}");
        let answers = host.got.answers.lock().unwrap().clone();
        // `password` is a method of its own, and this server refuses it.
        let told = answers.iter().filter(|answer| *answer == PASSWORD).count();
        assert!(told == given || (given > 0 && told <= 2), "{question} {flag}: {answers:?}\n{}", ended.said());
        assert!(answers.iter().all(|answer| answer.is_empty() || answer == PASSWORD), "{question}: {answers:?}");
        assert!(answers.len() <= 12, "{question}: {} answers", answers.len());
    }
}

/// What one host is told is not told to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_ask_hears_nothing_of_what_another_is_told() {
    let asking =
        Attack { at_once: play(prompt), at_data: play(ready), ..Attack::answer(|asked| asked.good(FRESH, b"")) };
    let quiet = Attack { at_once: play(ready), ..Attack::answer(|asked| asked.good(FRESH, b"")) };
    let hosts = [Hostile::start(asking).await, Hostile::start(quiet).await];
    let known: String = hosts.iter().map(Hostile::known).collect();
    let desk = Desk::new(&[hosts[0].address, hosts[1].address], &known, "sudo");
    let ended = desk.run(LINE).await;
    assert_eq!(ended.wrong(LINE), [""; 0]);
    assert_eq!((hosts[0].got.has(PASSWORD), hosts[1].got.has(PASSWORD)), (true, false), "{}", ended.said());
}
