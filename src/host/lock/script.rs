//! What the host's shell does about the lock.

use super::RunName;
use crate::host::origin::ORIGIN;
use crate::ssh::quote;
use serde_json::json;
use std::time::Duration;

/// How long it is waited for a lock, in seconds: who was killed a moment ago still holds it until sshd has noticed.
const PATIENCE: u32 = 2;
/// How a script ends if the lock is lost; nothing else of ours ends so with the words of [`LOST`].
pub(in crate::host) const LOST_STATUS: i64 = 94;
/// What it says then.
pub(in crate::host) const LOST: &str = "etcd-ha: the lock is lost";

/// What a script of the run looks at first. While it works it has a file open and locked together with others, as
/// descriptor 8, which the programs that it starts inherit.
pub(super) fn guard(folder: &str, run: &str, works: bool) -> String {
    let (holder, work, run) = (quote(&format!("{folder}/holder")), quote(&format!("{folder}/work")), quote(run));
    let mut text = format!(
        "etcd_ha_has_lock() {{\n  \
           holder=; {{ read -r holder <{holder}; }} 2>/dev/null || :\n  \
           if [ \"$holder\" != {run} ]; then echo '{LOST}' >&2; exit {LOST_STATUS}; fi\n\
         }}\n\
         etcd_ha_has_lock\n"
    );
    if works {
        // Another run may get the lock between the look and the file's locking: it then waits for that, and is seen.
        text += &format!("exec 8>>{work}\nflock -s 8\netcd_ha_has_lock\n");
    }
    text
}

/// What the scripts share: how to learn who holds it, and to end that process, which its number and the time of its
/// start tell from any other (proc(5)).
const COMMON: &str = r#"up() { read -r up rest </proc/uptime; up=${up%.*}; }
holder() { run=; process=; began=; taken=; json=; { read -r run; read -r process began taken; read -r json; } <"$folder/holder"; }
told() { up; printf 'held %s %s %s\n' "$taken" "$up" "$json"; }
end() {
  case $process in ''|*[!0-9]*) return 0;; esac
  line=; { read -r line <"/proc/$process/stat"; } 2>/dev/null || return 0
  set -- ${line##*)}
  if [ "$process" -gt 1 ] && [ "${20:-}" = "$began" ]; then kill -s KILL "$process" 2>/dev/null || :; fi
}
"#;

/// Which processes are a script at work, and what they have started: a command that is none of ours holds nothing.
/// `ls` reads the links of descriptors and touches no file that they lead to, which may be on a server that is gone.
const AT_WORK: &str = r#"at_work() {
  todo=$(ls -l /proc/[0-9]*/fd 2>/dev/null | while read -r line; do
    case $line in
      /proc/*/fd:) process=${line#/proc/}; process=${process%/fd:};;
      *" 7 -> "*) ;;
      *" -> $folder/work"|*" -> $folder/work (deleted)") echo "$process";;
    esac
  done)
  all=
  while [ -n "$todo" ]; do
    next=
    for process in $todo; do
      all="$all $process"
      for task in /proc/$process/task/*; do
        children=; { read -r children <"$task/children"; } 2>/dev/null || :
        next="$next${children:+ $children}"
      done
    done
    todo=$next
  done
  echo $all
}
"#;

/// Takes the lock, says so, and holds it. The file says who, and is there only while the lock is held: but for a holder
/// that was killed, which the next one writes over. Who had it last is told by another file, which stays.
pub(super) fn take(folder: &str, run: &RunName, again: bool, silence: Duration, aftermath: Duration) -> String {
    let RunName { id, by, command } = run;
    let json = json!({ "run": id, "by": by, "command": command }).to_string();
    format!(
        r#"folder={folder} own={id}
{COMMON}{AT_WORK}say() {{ printf '%s\n' "$*"; exit 0; }}
command -v flock >/dev/null 2>&1 || say 'cannot flock(1) is missing, which util-linux has'
umask 077
if ! {{ mkdir -p "$folder" && true >>"$folder/lock"; }} 2>/dev/null; then
  if [ "$(id -u)" = 0 ]; then say "cannot \`$folder\` cannot be written"; else say 'not root'; fi
fi
exec 9>>"$folder/lock"
tries=0
until flock -w {PATIENCE} 9; do
  tries=$((tries + 1))
  if ! holder 2>/dev/null && [ "$tries" -lt 3 ]; then continue; fi
  if [ "$run" = "$own" ] && [ "$tries" -lt 3 ]; then end; continue; fi
  told; exit 0
done
rm -f "$folder/holder"
last=; {{ read -r last <"$folder/last"; }} 2>/dev/null || :
if [ "$last" = "not $own" ] || {{ {again} && [ "${{last:-$own}}" != "$own" ]; }}; then say lost; fi
{ORIGIN}read -r line </proc/self/stat
process=${{line%% *}}
set -- ${{line##*)}}
up
printf '%s\n%s %s %s\n%s,"from":"%s"}}\n' "$own" "$process" "${{20}}" "$up" {head} "$from" >"$folder/holder.new"
printf '%s\n' "$own" >"$folder/last"
mv -f "$folder/holder.new" "$folder/holder"
trap 'run=; {{ read -r run <"$folder/holder"; }} 2>/dev/null || :; [ "$run" != "$own" ] || rm -f "$folder/holder"' EXIT
exec 7>>"$folder/work"
if ! {again} && ! flock -w {aftermath} 7; then
  left=$(exec 7>&-; at_work)
  for signal in TERM KILL; do
    for process in $left; do kill -s "$signal" "$process" 2>/dev/null || :; done
    tries=0
    while [ -n "$left" ] && [ "$tries" -lt 20 ]; do
      sleep 0.1
      tries=$((tries + 1)) pids=$left left=
      for process in $pids; do if kill -s 0 "$process" 2>/dev/null; then left="$left $process"; fi; done
    done
  done
  if ! flock -w 1 7; then say "cannot an earlier run is still at work on it, as process $(exec 7>&-; at_work)"; fi
fi
exec 7>&-
echo taken
while said=$(exec 9>&-; timeout {silence} head -c 1) && [ "$said" = . ]; do :; done
"#,
        folder = quote(folder),
        id = quote(id),
        again = if again { "true" } else { "false" },
        head = quote(json.strip_suffix('}').unwrap_or_default()),
        silence = silence.as_secs(),
        aftermath = aftermath.as_secs(),
    )
}

/// Says who holds it. It is tried for a moment together with others that look; who wants to take it waits for that.
pub(super) fn look(folder: &str) -> String {
    format!(
        r#"folder={folder}
{COMMON}if [ ! -e "$folder/lock" ]; then echo free; exit 0; fi
exec 9<"$folder/lock"
tries=0
until flock -n -s 9; do
  if holder 2>/dev/null; then told; exit 0; fi
  tries=$((tries + 1))
  if [ "$tries" -gt 40 ]; then echo unknown; exit 0; fi
  sleep 0.05
done
echo free
"#,
        folder = quote(folder)
    )
}

pub(super) fn take_away(folder: &str, run: &RunName) -> String {
    format!(
        r#"folder={folder}
{COMMON}if ! holder 2>/dev/null || [ "$run" != {id} ]; then echo gone; exit 0; fi
end
exec 9>>"$folder/lock"
# Another run may have got it by now.
if flock -w 5 9; then
  echo "not $run" >"$folder/last"
  rm -f "$folder/holder"
fi
echo 'taken away'
"#,
        folder = quote(folder),
        id = quote(&run.id)
    )
}

#[cfg(test)]
mod tests {
    use super::super::{AFTERMATH, Holder, SILENCE, read};
    use super::*;
    use crate::ssh::testing::shells;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Child, ChildStdout, Command, Stdio};

    fn run(id: &str) -> RunName {
        RunName { id: id.into(), by: "ada@it's a desk".into(), command: "deploy".into() }
    }

    /// A script that a real shell runs, as the framing has it.
    struct Shell {
        child: Child,
        out: BufReader<ChildStdout>,
    }

    impl Shell {
        fn new(shell: &str, script: &str) -> Self {
            let script = format!("(\nset -eu\ntrap 'exit 1' INT TERM PIPE HUP\n{script}\n)\necho \"$?\"\n");
            let mut command = Command::new(shell);
            command.args(["-c", &script]).env("SSH_CONNECTION", "10.19.0.1 4 10.19.0.55 22");
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let out = BufReader::new(child.stdout.take().unwrap());
            Self { child, out }
        }

        /// One that has the lock.
        fn holding(shell: &str, folder: &str, id: &str, again: bool) -> Self {
            let mut holds = Self::new(shell, &take(folder, &run(id), again, SILENCE, AFTERMATH));
            assert_eq!(holds.line(), "taken", "{shell}");
            holds
        }

        fn line(&mut self) -> String {
            let mut line = String::new();
            self.out.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        }

        /// All that it says once its stdin ends.
        fn end(mut self) -> String {
            drop(self.child.stdin.take());
            let mut said = String::new();
            std::io::Read::read_to_string(&mut self.out, &mut said).unwrap();
            self.child.wait().unwrap();
            said
        }
    }

    /// For every shell there is: its name, and a lock's folder of its own.
    fn in_each_shell(test: impl Fn(&str, &str)) {
        for shell in shells(&["sh", "bash", "dash"]) {
            let folder = tempfile::tempdir().unwrap();
            test(shell, &folder.path().join("it's").display().to_string());
        }
    }

    #[test]
    fn one_run_has_it_and_others_are_told_who() {
        in_each_shell(|shell, folder| {
            assert_eq!(Shell::new(shell, &look(folder)).end(), "free\n0\n", "{shell}");
            let guarded = |id: &str| Shell::new(shell, &(guard(folder, id, true) + "echo goes on")).end();
            assert_eq!(guarded("a"), format!("{LOST_STATUS}\n"), "{shell}");

            let mut first = Shell::holding(shell, folder, "a", false);
            for _ in 0..3 {
                first.child.stdin.as_mut().unwrap().write_all(b".").unwrap();
            }
            assert_eq!((guarded("a").as_str(), guarded("b").len()), ("goes on\n0\n", 3), "{shell}");
            for script in [look(folder), take(folder, &run("b"), false, SILENCE, AFTERMATH)] {
                let said = Shell::new(shell, &script).end();
                let holder = read(said.lines().next().unwrap().as_bytes());
                let want = Holder { run: run("a"), from: "10.19.0.1".into(), age: Duration::ZERO };
                let holder = holder.map(|holder| Holder { age: Duration::ZERO, ..holder });
                assert_eq!(holder, Some(want), "{shell} {said}");
            }
            assert_eq!(first.end(), "0\n", "{shell}");
            assert_eq!(Shell::new(shell, &look(folder)).end(), "free\n0\n", "{shell}");
            let next = Shell::holding(shell, folder, "b", false);
            next.end();
        });
    }

    #[test]
    fn a_run_that_lost_it_does_not_get_it_again() {
        in_each_shell(|shell, folder| {
            let first_line = |id: &str, again: bool| {
                let mut shell = Shell::new(shell, &take(folder, &run(id), again, SILENCE, AFTERMATH));
                let line = shell.line();
                shell.end();
                line
            };
            assert_eq!(
                (first_line("a", false).as_str(), first_line("a", true).as_str()),
                ("taken", "taken"),
                "{shell}"
            );
            assert_eq!((first_line("b", false).as_str(), first_line("a", true).as_str()), ("taken", "lost"), "{shell}");
            assert_eq!(first_line("b", true), "taken", "{shell}");
            // After a reboot nobody has had it.
            std::fs::remove_file(format!("{folder}/last")).unwrap();
            let held = Shell::holding(shell, folder, "a", true);
            assert_eq!(Shell::new(shell, &take_away(folder, &run("a"))).end(), "taken away\n0\n", "{shell}");
            for again in [true, false] {
                assert_eq!(first_line("a", again), "lost", "{shell}");
            }
            assert_eq!(first_line("c", false), "taken", "{shell}");
            held.end();
        });
    }

    #[test]
    fn a_run_takes_over_what_it_held_itself() {
        in_each_shell(|shell, folder| {
            let first = Shell::holding(shell, folder, "a", false);
            let again = Shell::holding(shell, folder, "a", false);
            let guarded = Shell::new(shell, &(guard(folder, "a", true) + "echo goes on")).end();
            assert_eq!(guarded, "goes on\n0\n", "{shell}");
            again.end();
            first.end();
        });
    }

    #[test]
    fn a_lock_that_is_taken_away_stops_its_run() {
        in_each_shell(|shell, folder| {
            let first = Shell::holding(shell, folder, "a", false);
            assert_eq!(Shell::new(shell, &take_away(folder, &run("b"))).end(), "gone\n0\n", "{shell}");
            assert_eq!(Shell::new(shell, &take_away(folder, &run("a"))).end(), "taken away\n0\n", "{shell}");
            let guarded = Shell::new(shell, &(guard(folder, "a", true) + "echo goes on")).end();
            assert_eq!(guarded, format!("{LOST_STATUS}\n"), "{shell}");
            assert_eq!(Shell::new(shell, &look(folder)).end(), "free\n0\n", "{shell}");
            first.end();
        });
    }

    #[test]
    fn what_the_run_before_left_at_work_is_waited_for_or_ended() {
        in_each_shell(|shell, folder| {
            let take = |id: &str| Shell::new(shell, &take(folder, &run(id), false, SILENCE, Duration::from_secs(1)));
            let left = |id: &str, step: &str| {
                let mut holds = take(id);
                assert_eq!(holds.line(), "taken", "{shell}");
                let step = format!("{}trap 'echo clears up' EXIT\necho begins\n{step}", guard(folder, id, true));
                let mut step = Shell::new(shell, &step);
                assert_eq!(step.line(), "begins", "{shell}");
                assert_eq!(holds.end(), "0\n", "{shell}");
                step
            };
            // It ends in time.
            let mut step = left("a", "sleep 0.5; echo done");
            let mut next = take("b");
            assert_eq!((step.line(), next.line()), ("done".into(), "taken".into()), "{shell}");
            next.end();
            // It does not: a program of ours, and one of the user's.
            let apart = super::super::APART;
            for stuck in ["sleep 60", &format!("sleep 60 {apart}"), &format!("sh -c '(sleep 60; true) | cat' {apart}")]
            {
                let mut step = left("a", stuck);
                let mut next = take("b");
                assert_eq!(next.line(), "taken", "{shell} {stuck}");
                assert_eq!(step.line(), "clears up", "{shell} {stuck}");
                assert_eq!(step.end(), "1\n", "{shell} {stuck}");
                next.end();
            }
            // What the user left in the background is none of it.
            let mut step = left("a", &format!("sleep 3 {apart} >/dev/null 2>&1 & echo $!"));
            let background = step.line();
            assert_eq!((step.line(), step.end()), ("clears up".into(), "0\n".into()), "{shell}");
            let mut next = take("b");
            assert_eq!(next.line(), "taken", "{shell}");
            next.end();
            assert!(std::path::Path::new(&format!("/proc/{background}")).exists(), "{shell}");
            // Nor does a run end what it began itself, over a connection that broke.
            let mut step = left("b", "sleep 2; echo done");
            let again = super::take(folder, &run("b"), true, SILENCE, Duration::ZERO);
            let mut again = Shell::new(shell, &again);
            assert_eq!((again.line(), step.line()), ("taken".into(), "done".into()), "{shell}");
            again.end();
        });
    }

    #[test]
    fn it_is_free_when_nothing_comes_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().display().to_string();
        let mut first = Shell::new("sh", &take(&folder, &run("a"), false, Duration::from_secs(1), AFTERMATH));
        assert_eq!(first.line(), "taken");
        // Its stdin is open all the while, as with a link that is cut.
        assert_eq!(first.line(), "0");
        assert_eq!(Shell::new("sh", &look(&folder)).end(), "free\n0\n");
    }
}
