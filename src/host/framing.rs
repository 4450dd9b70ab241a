//! How a script is handed to a host's shell, and how its output is told from other noise.
//!
//! The command line that sshd gives to the login shell is one harmless word list,
//! `sh -c 'eval "$(head -c N)"'`, which sh, bash, dash, zsh, fish and csh read alike. The script
//! itself is the first N bytes of stdin; what follows is data for it. A chatty profile writes
//! before the first marker, so only what stands between the markers counts.
//!
//! Where sudo or doas may ask for a password, or insist on a terminal, whatever they and the script say comes on
//! stdout, and the script is sent only once the shell behind them has said that it is ready: they throw away, or
//! take for a password, what comes earlier. The script's own stderr then follows its output, behind a marker.

use super::privilege::{Access, doas_prompts};
use crate::inventory::Become;
use rand::Rng as _;
use std::fmt::Write as _;

/// A script framed for one execution.
#[derive(Debug, Clone)]
pub(super) struct Framed {
    /// The command line for the login shell.
    pub command: String,
    /// What stdin begins with.
    pub head: String,
    /// How the script comes to its rights.
    pub access: Access,
    marker: String,
    prompt: String,
}

/// What a script reads from stdin behind itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// So many bytes.
    Data(u64),
    /// Nothing, until it is let go: by the end of stdin or, on a terminal, which has none, by one byte.
    Held,
    /// A `.` now and then, until it is let go, as `Held`.
    Beats,
    /// Whatever comes, and its own output is taken as it comes: stderr apart, exit status from the program. On a
    /// terminal, whose input has no end, it reads nothing.
    Stream,
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
        /// What it wrote to stderr, if that came the same way.
        errors: Vec<u8>,
    },
    /// It began, but its output ends before the script did.
    Cut,
    /// It never began.
    NeverRan,
}

/// Frames `script` for a login with this access.
pub(super) fn frame(script: &str, access: Access, feed: Feed) -> Framed {
    let secret = format!("{:032x}", rand::rng().random::<u128>());
    let (marker, prompt) = (format!("etcd-ha-{secret}"), format!("etcd-ha%{secret}: "));
    let mut head = String::new();
    // When the controller is gone, so is the pipe to write to: a shell that dies of that, as of any other
    // signal, would not run the script's `trap … EXIT`.
    // The PATH of a non-interactive login may lack the sbin folders, where useradd is.
    let _ = write!(
        head,
        "LC_ALL=C; PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH; umask 022\n\
         printf '%s\\n' '{marker}'\n"
    );
    // A terminal that is gone hangs up more than once, and the second time would end what clears up after the first.
    // So its end shows as on other ways: as the end of the data, for whoever brings those dies of the hang-up.
    let hang_up = if access.terminal { "trap '' HUP; " } else { "trap 'exit 1' HUP; " };
    let script = format!("(\nset -eu\n{hang_up}trap 'exit 1' INT TERM PIPE\n{script}\n)");
    let stream = feed == Feed::Stream;
    let ended = format!("printf '\\n%s %s\\n' '{marker}' \"$code\"");
    let _ = if stream {
        let nothing = if access.terminal { " </dev/null" } else { "" };
        writeln!(head, "{script}{nothing}")
    } else if access.talks() {
        let input = match (access.terminal, feed) {
            (false, _) | (true, Feed::Data(0) | Feed::Stream) => String::new(),
            (true, Feed::Data(length)) => format!("head -c {length} | "),
            (true, Feed::Held) => "head -c 1 | ".to_owned(),
            (true, Feed::Beats) => "while [ \"$(head -c 1)\" = . ]; do printf .; done | ".to_owned(),
        };
        let nothing = if access.terminal && feed == Feed::Data(0) { " </dev/null" } else { "" };
        write!(
            head,
            "etcd_ha_script() {script}\n\
             {{ said=$( {{ {input}etcd_ha_script{nothing}; }} 2>&1 >&3 3>&- ); code=$?; }} 3>&1\n\
             {ended}; printf '%s\\n%s\\n' \"$said\" '{marker}'; exit \"$code\"\n"
        )
    } else {
        write!(head, "{script}\ncode=$?; {ended}; exit \"$code\"\n")
    };
    let length = head.len();
    let program = access.program(&prompt);
    let command = if access.talks() {
        // What the terminal was asked for at the beginning need not hold for one that sudo has put behind it.
        let raw = if access.terminal { "stty raw -echo; " } else { "" };
        // Apart, so that a shell that repeats its command line does not say that it is ready.
        let ready = format!("etcd-ha-\"{secret}\"-ready");
        // The questions come on stderr.
        let together = if stream { "" } else { " 2>&1" };
        format!(
            "sh -c 'exec env LC_ALL=C \"$@\"{together}' sh {program}sh -c '{raw}echo {ready}; eval \"$(head -c {length})\"'"
        )
    } else if access.by == Become::No {
        format!("sh -c 'eval \"$(head -c {length})\"'")
    } else {
        // Its words are read, so they have to be English.
        format!("env LC_ALL=C {program}sh -c 'eval \"$(head -c {length})\"'")
    };
    Framed { command, head, access, marker, prompt }
}

impl Framed {
    /// Whether the shell waits for the script.
    pub fn is_ready(&self, said: &[u8]) -> bool {
        find(said, format!("{}-ready", self.marker).as_bytes()).is_some()
    }

    /// What was said beside the questions: they leave no line of their own to what follows.
    pub fn beside_prompts(&self, said: &str) -> String {
        said.replace(&self.prompt, "\n")
    }

    /// How often a password was asked for.
    pub fn prompts(&self, said: &[u8]) -> usize {
        match self.access.by {
            Become::No => 0,
            Become::Sudo => said.windows(self.prompt.len()).filter(|window| *window == self.prompt.as_bytes()).count(),
            Become::Doas => doas_prompts(said),
        }
    }

    /// What came before the script.
    pub fn before<'a>(&self, stdout: &'a [u8]) -> &'a [u8] {
        &stdout[..find(stdout, self.marker.as_bytes()).unwrap_or(stdout.len())]
    }

    /// The first whole line of the script's own output, of one that still runs.
    pub fn first_line(&self, stdout: &[u8]) -> Option<String> {
        let rest = &stdout[self.begin(stdout)?..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    /// Where the script's own output begins, once it has begun.
    pub fn begin(&self, stdout: &[u8]) -> Option<usize> {
        let begin = format!("{}\n", self.marker);
        Some(find(stdout, begin.as_bytes())? + begin.len())
    }

    /// Finds the script's own output in what came back.
    pub fn reply(&self, stdout: &[u8]) -> Reply {
        let Some(begin) = self.begin(stdout) else { return Reply::NeverRan };
        let rest = &stdout[begin..];
        let end = format!("\n{} ", self.marker);
        let Some(stop) = find(rest, end.as_bytes()) else { return Reply::Cut };
        let status = &rest[stop + end.len()..];
        let (status, errors) = status.split_at(status.iter().position(|byte| *byte == b'\n').unwrap_or(status.len()));
        let Ok(status) = String::from_utf8_lossy(status).trim().parse() else { return Reply::Cut };
        let errors = if self.access.talks() {
            &errors[..find(errors, format!("\n{}\n", self.marker).as_bytes()).unwrap_or(errors.len())]
        } else {
            &[]
        };
        Reply::Ended { status, body: rest[..stop].to_vec(), errors: errors.trim_ascii().to_vec() }
    }
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::testing::shells;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    const ROOT: Access = Access { by: Become::No, password: false, terminal: false };

    fn ended(status: i64, body: &[u8], errors: &[u8]) -> Reply {
        Reply::Ended { status, body: body.to_vec(), errors: errors.to_vec() }
    }

    fn run(shell: &str, script: &str, data: &[u8], noise: &str) -> Reply {
        let framed = frame(script, ROOT, Feed::Data(data.len() as u64));
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

    const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "fish", "tcsh"];

    #[test]
    fn any_login_shell_runs_it_and_hands_it_the_data() {
        for shell in shells(SHELLS) {
            let reply = run(shell, "cat; printf '$%s' \"it's\"", b"da\0ta\xff", "");
            assert_eq!(reply, ended(0, b"da\0ta\xff$it's", b""), "{shell}");
        }
    }

    #[test]
    fn a_stream_is_told_from_noise_and_ends_as_its_script_does() {
        for shell in shells(SHELLS) {
            let framed = frame("cat; echo oops >&2; exit 7", ROOT, Feed::Stream);
            let mut child = Command::new(shell)
                .args(["-c", &format!("echo welcome; {}", framed.command)])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(framed.head.as_bytes()).and_then(|()| stdin.write_all(b"da\0ta")).unwrap();
            drop(stdin);
            let output = child.wait_with_output().unwrap();
            let begin = framed.begin(&output.stdout).unwrap();
            assert_eq!(&output.stdout[begin..], b"da\0ta", "{shell}");
            assert_eq!((&output.stderr[..], output.status.code()), (&b"oops\n"[..], Some(7)), "{shell}");
        }
    }

    #[test]
    fn noise_before_it_does_not_count() {
        let reply = run("sh", "echo own", b"", "echo welcome; echo '\u{1b}[31mback'; ");
        assert_eq!(reply, ended(0, b"own\n", b""));
    }

    /// A sudo and a doas that ask, take `right` for the password, and note down what they were given.
    const ASKING: &str = r#"#!/bin/sh
prompt='doas (ops@node01) password: '
while :; do
  case $1 in
    -S|-n) shift;;
    -p) prompt=$(printf "$2"); shift 2;;
    *) break;;
  esac
done
echo 'We trust you have received the usual lecture.' >&2
printf '%s' "$prompt" >&2
read -r password
echo "$password" >>"${0%/*}/given"
if [ "$password" != right ]; then printf 'Sorry, try again.\n%s' "$prompt" >&2; read -r password; exit 1; fi
exec "$@"
"#;

    fn asking() -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        for name in ["sudo", "doas"] {
            let path = folder.path().join(name);
            std::fs::write(&path, ASKING).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    /// Talks to a program that asks for a password, as a connection does; gives the answer and whether the talk came
    /// to its end.
    fn talk(
        shell: &str,
        access: Access,
        password: &str,
        script: &str,
        data: &[u8],
        noise: &str,
    ) -> (Reply, bool, usize) {
        use crate::host::privilege::{Opening, Password};
        use crate::ssh::{Dialogue as _, Turn};
        let folder = asking();
        let framed = frame(script, access, Feed::Data(data.len() as u64));
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(shell);
        command.args(["-c", &format!("{noise}{}", framed.command)]).env("PATH", path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take();
        let mut stdout = child.stdout.take().unwrap();
        let password = Password::new(zeroize::Zeroizing::new(password.to_owned()));
        let mut opening = Opening::new(&framed, Some(&password));
        let (mut said, mut part, mut begun) = (Vec::new(), [0; 1024], false);
        while let n @ 1.. = stdout.read(&mut part).unwrap() {
            said.extend_from_slice(&part[..n]);
            if begun {
                continue;
            }
            match opening.hear(&said) {
                Turn::Wait => {}
                Turn::Say(line) => stdin.as_mut().unwrap().write_all(&line).unwrap(),
                Turn::Begin => {
                    begun = true;
                    let mut input = stdin.take().unwrap();
                    input.write_all(framed.head.as_bytes()).and_then(|()| input.write_all(data)).unwrap();
                    if access.terminal {
                        // No end of input there.
                        stdin = Some(input);
                    }
                }
                Turn::GiveUp => stdin = None,
            }
        }
        child.wait().unwrap();
        let given = std::fs::read_to_string(folder.path().join("given")).unwrap_or_default();
        (framed.reply(&said), opening.ready, given.lines().count())
    }

    #[test]
    fn the_script_follows_upon_the_password() {
        for shell in shells(SHELLS) {
            for by in [Become::Sudo, Become::Doas] {
                for terminal in [false, true] {
                    let access = Access { by, password: true, terminal };
                    let script = "cat; echo oops >&2; printf '$%s' \"it's\"; exit 7";
                    let got = talk(shell, access, "right", script, b"da\0ta\xff", "");
                    assert_eq!(got, (ended(7, b"da\0ta\xff$it's", b"oops"), true, 1), "{shell} {access:?}");
                    let got = talk(shell, access, "right", "cat; echo more", b"", "echo noise; ");
                    assert_eq!(got, (ended(0, b"more\n", b""), true, 1), "{shell} {access:?}");
                }
            }
        }
    }

    #[test]
    fn a_wrong_password_is_sent_once() {
        for by in [Become::Sudo, Become::Doas] {
            let access = Access { by, password: true, terminal: false };
            assert_eq!(talk("sh", access, "wrong", "echo own", b"", ""), (Reply::NeverRan, false, 1), "{by:?}");
        }
    }

    #[test]
    fn a_shell_that_repeats_its_commands_is_not_taken_for_a_prompt() {
        for shell in ["sh", "bash"] {
            for terminal in [false, true] {
                let access = Access { by: Become::Sudo, password: true, terminal };
                let got = talk(shell, access, "right", "echo own", b"", "exec 2>&1; set -xv; ");
                assert_eq!(got, (ended(0, b"own\n", b""), true, 1), "{shell} {access:?}");
            }
        }
    }

    #[test]
    fn a_shell_that_runs_nothing_is_told_from_a_script_that_was_cut() {
        assert_eq!(run("sh", "true", b"", "exit 1; "), Reply::NeverRan);
        assert_eq!(run("sh", "kill -9 $$", b"", ""), Reply::Cut);
    }

    #[test]
    fn command_lines() {
        for (by, password, terminal, begins) in [
            (Become::No, false, false, "sh -c 'eval \"$(head -c "),
            (Become::Sudo, false, false, "env LC_ALL=C sudo -n sh -c 'eval \"$(head -c "),
            (Become::Doas, false, false, "env LC_ALL=C doas -n sh -c 'eval \"$(head -c "),
            (Become::Sudo, true, false, "sh -c 'exec env LC_ALL=C \"$@\" 2>&1' sh sudo -S -p 'etcd-ha%%"),
            (
                Become::Sudo,
                false,
                true,
                "sh -c 'exec env LC_ALL=C \"$@\" 2>&1' sh sudo -n sh -c 'stty raw -echo; echo ",
            ),
            (Become::Doas, true, true, "sh -c 'exec env LC_ALL=C \"$@\" 2>&1' sh doas sh -c 'stty raw -echo; echo "),
        ] {
            let framed = frame("true", Access { by, password, terminal }, Feed::Data(0));
            assert!(framed.command.starts_with(begins), "{}", framed.command);
        }
    }

    #[test]
    fn a_script_clears_up_behind_itself_even_if_nobody_reads_what_it_says() {
        for shell in shells(SHELLS) {
            let folder = tempfile::tempdir().unwrap();
            let left = folder.path().join("left");
            let script = format!("trap 'rm -f {0}' EXIT\ntouch {0}\nread -r go\necho said\necho more", left.display());
            let framed = frame(&script, ROOT, Feed::Data(3));
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
}
