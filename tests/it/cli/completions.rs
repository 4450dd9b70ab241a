//! Completion, as the shells themselves do it: keys are pressed on a terminal, and the line is read.

use super::Desk;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A shell on a terminal of its own (`script` of bsdutils) that was told to complete our words, and what its screen
/// shows after `keys`. Tab completes; the line is not run, but echoed.
fn screen(desk: &Desk, shell: &str, keys: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_etcd-ha")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("timeout");
    command.args(["60", "script", "-qefc", shell, "/dev/null"]).current_dir(desk.path("")).env_clear();
    command.env("HOME", desk.path("")).env("PATH", path).env("TERM", "xterm").env("SHELL", "/bin/sh");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What the shell's `echo` says of a line that ends in Tab.
fn completed(desk: &Desk, shell: &str, start: &str, line: &str) -> String {
    // The start of the line, `echo `, the end; and the words that follow tell where the answer is.
    let keys = format!("{start}\n{line}\t\x01echo \x05 .\n exit\n");
    let shown = screen(desk, shell, &keys);
    let answer = shown.lines().map(str::trim_end).rfind(|line| line.starts_with("etcd-ha ") && line.ends_with(" ."));
    answer.unwrap_or_else(|| panic!("{shell}: {line}: {shown}")).trim_end_matches(" .").trim_end().to_owned()
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("zoo.yaml", "cluster: zoo\nhosts:\n  - { name: alpaca, address: 192.0.2.1 }\n  - { name: bear, address: 192.0.2.2 }\n  - { name: wolf, address: 192.0.2.3 }\n");
    desk.write("bad.yaml", "cluster: zoo\nhosts: [bear\n");
    desk
}

/// Lines that end in Tab, and what they become.
const LINES: [(&str, &str); 9] = [
    ("etcd-ha dep", "etcd-ha deploy"),
    ("etcd-ha deploy -i zoo.yaml --limit b", "etcd-ha deploy -i zoo.yaml --limit bear"),
    ("etcd-ha deploy -i zoo.yaml --limit bear,w", "etcd-ha deploy -i zoo.yaml --limit bear,wolf"),
    ("etcd-ha ssh-config --inventory zoo.yaml al", "etcd-ha ssh-config --inventory zoo.yaml alpaca"),
    ("etcd-ha deploy -i bad.yaml --limit b", "etcd-ha deploy -i bad.yaml --limit b"),
    ("etcd-ha deploy -i zo", "etcd-ha deploy -i zoo.yaml"),
    ("etcd-ha playbook roll", "etcd-ha playbook rollback"),
    ("etcd-ha help exit", "etcd-ha help exit-codes"),
    ("etcd-ha man cert", "etcd-ha man certs"),
];

#[test]
fn bash_completes() {
    let desk = desk();
    for (line, want) in LINES {
        let start = "PS1='> '; bind 'set enable-bracketed-paste off'; source <(etcd-ha completions bash)";
        assert_eq!(completed(&desk, "bash --norc -i", start, line), want);
    }
}

#[test]
fn zsh_completes() {
    let desk = desk();
    for (line, want) in LINES {
        let start = "PS1='> '; bindkey -e; autoload -Uz compinit; compinit -D -u; source <(etcd-ha completions zsh)";
        assert_eq!(completed(&desk, "zsh -f -i", start, line), want);
    }
}

#[test]
fn fish_completes() {
    let desk = desk();
    let program = Path::new(env!("CARGO_BIN_EXE_etcd-ha")).parent().unwrap();
    for (line, want) in LINES {
        let script = format!("etcd-ha completions fish | source; complete --do-complete '{line}'");
        let mut command = Command::new("fish");
        command.args(["--no-config", "-c", &script]).current_dir(desk.path("")).env_clear().env("HOME", desk.path(""));
        command.env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        // A candidate a line, with its description behind a tab.
        let words: Vec<&str> = said.lines().map(|line| line.split('\t').next().unwrap()).collect();
        let (head, last) = want.rsplit_once(' ').unwrap();
        if line == want {
            assert!(words.is_empty(), "{line}: {said}");
        } else {
            assert_eq!(words, [last], "{line}: {head}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// All hosts are offered, also those of an inventory that only the environment names.
#[test]
fn hosts_are_offered() {
    let desk = desk();
    let asked = |words: &str, inventory: &str| {
        let variables = [("ETCD_HA_COMPLETE", "fish"), ("ETCD_HA_INVENTORY", inventory)];
        desk.run_with(&format!("-- {words}"), &variables).stdout
    };
    let all = "alpaca\nbear\nwolf\n";
    let hosts = |text: String| {
        text.lines().filter(|line| !line.starts_with('-')).map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(hosts(asked("etcd-ha deploy --limit=", "zoo.yaml").replace("--limit=", "")), all);
    assert_eq!(hosts(asked("etcd-ha deploy -i zoo.yaml --limit=", "bad.yaml").replace("--limit=", "")), all);
    assert_eq!(asked("etcd-ha deploy --limit=", "bad.yaml"), "");
    assert_eq!(asked("etcd-ha deploy --limit=", "missing.yaml"), "");
}
