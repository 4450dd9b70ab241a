//! Our SSH beside OpenSSH's own programs, on this machine: `cargo bench --bench ssh [-- ROUNDS]`.
//!
//! Every figure is a median of rounds in which ours and theirs take turns, against the same sshds, with the
//! same key. Wants `ssh`, `scp` and `sshd`; `ETCD_HA_SSHD` names one that is not installed (`make bench`
//! unpacks one where there is none). Ends with status 1 if a goal is missed by more than noise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(missing_docs)]

mod line;
mod ours;
mod sshd;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use line::Lines;
use ours::{Login, connect, upload};
use sshd::{Place, Sshds};

/// What is uploaded: as large as a release of etcd, packed.
const ARCHIVE: usize = 32 << 20;

/// Each way; a round trip takes twice as long.
const DELAY: Duration = Duration::from_millis(25);

/// By how much a goal may be missed by noise.
const NOISE: f64 = 1.15;

/// The most that our side may hold in memory while it uploads to 30 hosts at once: less than two archives.
const MEMORY: u64 = 64 << 20;

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if words.first().is_some_and(|word| word == "memory") {
        return ours::memory(&words[1..]);
    }
    let rounds = words.first().map_or(5, |word| word.parse().expect("how many rounds"));
    let place = match Place::find() {
        Ok(place) => place,
        Err(why) => {
            eprintln!("cannot measure: {why}");
            return ExitCode::FAILURE;
        }
    };
    if measure(&place, rounds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs everything and says whether the goals are met.
fn measure(place: &Place, rounds: usize) -> bool {
    let sshds = Sshds::start(place, 30);
    let archive = place.path("archive");
    fs::write(&archive, noise(ARCHIVE)).unwrap();
    let near = &sshds.login;
    let lines = Lines::to(&near.hosts[..3], near.port, DELAY);
    let far = &Login { hosts: lines.hosts(), port: lines.port(), ..near.clone() };
    sshds.know(far);

    println!("{:<42} {:>9} {:>9} {:>6}  goal", "seconds, medians", "etcd-ha", "OpenSSH", "ratio");
    let mut met = true;
    for (name, login) in [("log in, first command", near), ("the same, 50 ms round trip", far)] {
        let host = &login.hosts[..1];
        met &= row(name, 1.0, 2 * rounds, &mut || timed(|| connect(login, &host[0])), &mut || {
            timed(|| run_all(vec![ssh(login, &host[0])]))
        });
    }
    for (name, login, count, goal, rounds) in [
        ("32 MiB to 1 host", near, 1, 1.0, rounds),
        ("32 MiB to 3 hosts at once", near, 3, 1.0, rounds),
        ("32 MiB to 1 host, 50 ms round trip", far, 1, 1.0, rounds),
        ("32 MiB to 3 hosts at once, 50 ms", far, 3, 1.0, rounds),
        ("32 MiB to 30 hosts at once", near, 30, 1.2, rounds.div_ceil(2)),
    ] {
        let hosts = &login.hosts[..count];
        let to = |host: &str| place.path(&format!("to-{host}"));
        let clear = || hosts.iter().for_each(|host| drop(fs::remove_file(to(host))));
        let check = || {
            for host in hosts {
                assert_eq!(fs::metadata(to(host)).unwrap().len(), ARCHIVE as u64, "{host}");
            }
            clear();
        };
        met &= row(
            name,
            goal,
            rounds,
            &mut || {
                let took = timed(|| upload(login, hosts, &archive, to));
                check();
                took
            },
            &mut || {
                let took = timed(|| run_all(hosts.iter().map(|host| scp(login, host, &archive, &to(host))).collect()));
                check();
                took
            },
        );
    }
    for count in [3, 30] {
        let peak = ours::peak_memory(near, &near.hosts[..count], &archive, place);
        let name = format!("32 MiB to {count} hosts at once, peak memory");
        let kept = peak <= MEMORY;
        met &= kept;
        println!("{name:<42} {:>5} MiB {:>9} {:>6}  {} MiB {}", peak >> 20, "", "", MEMORY >> 20, word(kept));
    }
    met
}

/// Measures both in turns, prints the medians, and says whether the goal is met.
fn row(name: &str, goal: f64, rounds: usize, ours: &mut dyn FnMut() -> f64, theirs: &mut dyn FnMut() -> f64) -> bool {
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Whoever is second finds the caches warm.
        if round % 2 == 0 {
            us.push(ours());
            them.push(theirs());
        } else {
            them.push(theirs());
            us.push(ours());
        }
    }
    let (us, them) = (median(us), median(them));
    let ratio = us / them;
    let met = ratio <= goal * NOISE;
    println!("{name:<42} {us:>9.3} {them:>9.3} {ratio:>6.2}  {goal} {}", word(met));
    met
}

fn word(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2])
}

/// Bytes that do not shrink.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// One of OpenSSH's programs, as a user has it, but for where keys are.
fn openssh(program: &str, login: &Login) -> Command {
    let mut command = Command::new(program);
    command.args(["-q", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"]).arg(&login.key);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", login.known_hosts.display()));
    command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn ssh(login: &Login, host: &str) -> Command {
    let mut command = openssh("ssh", login);
    command.args(["-p", &login.port.to_string(), &format!("{}@{host}", login.user), "true"]);
    command
}

fn scp(login: &Login, host: &str, file: &Path, to: &Path) -> Command {
    let mut command = openssh("scp", login);
    command.args(["-P", &login.port.to_string()]).arg(file).arg(format!("{}@{host}:{}", login.user, to.display()));
    command
}

/// Runs commands at once, to the end of the last.
fn run_all(commands: Vec<Command>) {
    let children: Vec<_> = commands.into_iter().map(|mut command| command.spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success(), "OpenSSH's program failed");
    }
}
