//! How a script is handed to a host's shell, and how its output is told from other noise.
//!
//! The command line that sshd gives to the login shell is one harmless word list,
//! `sh -c 'eval "$(head -c N)"'`, which sh, bash, dash, zsh, fish and csh read alike. The script
//! itself is the first N bytes of stdin; what follows is data for it. A chatty profile writes
//! before the first marker, so only what stands between the markers counts.

use rand::Rng as _;
use std::fmt::Write as _;

/// A script framed for one execution.
#[derive(Debug, Clone)]
pub(super) struct Framed {
    /// The command line for the login shell.
    pub command: String,
    /// What stdin begins with.
    pub head: String,
    marker: String,
}

/// What came out of a framed script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It ran to its end.
    Ended {
        /// Its exit status.
        status: i64,
        /// What it wrote to stdout.
        body: Vec<u8>,
    },
    /// It began, but its output ends before the script did.
    Cut,
    /// It never began.
    NeverRan,
}

/// Frames `script` for a login as root, or for one that may use sudo without a password.
pub(super) fn frame(script: &str, r#become: bool) -> Framed {
    let marker = format!("etcd-ha-{:032x}", rand::rng().random::<u128>());
    let mut head = String::new();
    // When the controller is gone, so is the pipe to write to: a shell that dies of that, as of any other
    // signal, would not run the script's `trap … EXIT`.
    // The PATH of a non-interactive login may lack the sbin folders, where useradd is.
    let _ = write!(
        head,
        "LC_ALL=C; PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH; umask 022\n\
         printf '%s\\n' '{marker}'\n\
         (\nset -eu\ntrap 'exit 1' HUP INT TERM PIPE\n{script}\n)\n\
         code=$?; printf '\\n%s %s\\n' '{marker}' \"$code\"; exit \"$code\"\n"
    );
    let sudo = if r#become { "sudo -n " } else { "" };
    Framed { command: format!("{sudo}sh -c 'eval \"$(head -c {})\"'", head.len()), head, marker }
}

impl Framed {
    /// The first whole line of the script's own output, of one that still runs.
    pub fn first_line(&self, stdout: &[u8]) -> Option<String> {
        let begin = format!("{}\n", self.marker);
        let rest = &stdout[find(stdout, begin.as_bytes())? + begin.len()..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    /// Finds the script's own output in what came back.
    pub fn reply(&self, stdout: &[u8]) -> Reply {
        let begin = format!("{}\n", self.marker);
        let Some(start) = find(stdout, begin.as_bytes()) else { return Reply::NeverRan };
        let rest = &stdout[start + begin.len()..];
        let end = format!("\n{} ", self.marker);
        let Some(stop) = find(rest, end.as_bytes()) else { return Reply::Cut };
        let status = String::from_utf8_lossy(&rest[stop + end.len()..]);
        match status.lines().next().unwrap_or_default().trim().parse() {
            Ok(status) => Reply::Ended { status, body: rest[..stop].to_vec() },
            Err(_) => Reply::Cut,
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn run(shell: &str, script: &str, data: &[u8], noise: &str) -> Reply {
        let framed = frame(script, false);
        let mut child = Command::new(shell)
            .args(["-c", &format!("{noise}{}", framed.command)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A shell that runs nothing has closed it already.
        let _ = stdin.write_all(framed.head.as_bytes()).and_then(|()| stdin.write_all(data));
        drop(stdin);
        framed.reply(&child.wait_with_output().unwrap().stdout)
    }

    fn shells() -> Vec<&'static str> {
        let there = |shell: &&str| Command::new(shell).args(["-c", "true"]).status().is_ok();
        ["sh", "bash", "dash", "zsh", "fish", "tcsh"].into_iter().filter(there).collect()
    }

    #[test]
    fn any_login_shell_runs_it_and_hands_it_the_data() {
        for shell in shells() {
            let reply = run(shell, "cat; printf '$%s' \"it's\"", b"da\0ta\xff", "");
            assert_eq!(reply, Reply::Ended { status: 0, body: b"da\0ta\xff$it's".to_vec() }, "{shell}");
        }
    }

    #[test]
    fn noise_before_it_does_not_count() {
        let reply = run("sh", "echo own", b"", "echo welcome; echo '\u{1b}[31mback'; ");
        assert_eq!(reply, Reply::Ended { status: 0, body: b"own\n".to_vec() });
    }

    #[test]
    fn a_script_clears_up_behind_itself_even_if_nobody_reads_what_it_says() {
        for shell in shells() {
            let folder = tempfile::tempdir().unwrap();
            let left = folder.path().join("left");
            let script = format!("trap 'rm -f {0}' EXIT\ntouch {0}\nread -r go\necho said\necho more", left.display());
            let framed = frame(&script, false);
            let mut command = Command::new(shell);
            command.args(["-c", &framed.command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(framed.head.as_bytes()).unwrap();
            while !left.exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            drop(child.stdout.take());
            stdin.write_all(b"go\n").unwrap();
            child.wait().unwrap();
            assert!(!left.exists(), "{shell}");
        }
    }

    #[test]
    fn a_failing_line_ends_it_with_its_status() {
        assert_eq!(run("sh", "sh -c 'exit 7'; echo never", b"", ""), Reply::Ended { status: 7, body: Vec::new() });
    }

    #[test]
    fn a_shell_that_runs_nothing_is_told_from_a_script_that_was_cut() {
        assert_eq!(run("sh", "true", b"", "exit 1; "), Reply::NeverRan);
        assert_eq!(run("sh", "kill -9 $$", b"", ""), Reply::Cut);
    }
}
