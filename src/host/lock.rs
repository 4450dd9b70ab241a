//! The lock that a run holds on a host: flock(2) in a process that ends with the controller, or with the way to it.
//!
//! The process reads its stdin. It ends when that does, which is at once if the controller dies, and when nothing
//! has come for [`SILENCE`]: sshd may take hours to notice that a link is cut. So the lock can be lost while a
//! controller sleeps and wakes again; therefore every script of a run that holds the lock looks first whether it
//! still does.

use super::connection::{Connection, Script};
use super::error::HostError;
use super::held::Held;
use super::origin::ORIGIN;
use crate::ssh::quote;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The folder of the lock on a host: gone after a reboot, as whoever held it is.
const FOLDER: &str = "/run/etcd-ha";
/// How long nothing may come from the controller before the host takes it for gone.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// How often the controller says that it is there.
const BEAT: Duration = Duration::from_secs(5);
/// How long it is waited for a lock, in seconds: who was killed a moment ago still holds it until sshd has noticed.
const PATIENCE: u32 = 2;
/// How long letting go of a lock may take.
const LETTING_GO: Duration = Duration::from_secs(1);
/// The widest that a name may be that a host tells.
const WIDEST: usize = 64;

/// Which run it is, whoever reads of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunName {
    /// An id of its own.
    pub id: String,
    /// Who runs it, `user@host`.
    pub by: String,
    /// The subcommand.
    pub command: String,
}

/// Who holds the lock of a host, as the host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The run.
    pub run: RunName,
    /// The address that the host saw it come from; empty if it does not know.
    pub from: String,
    /// For how long, by the host's uptime.
    pub age: Duration,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RunName { by, command, .. } = &self.run;
        write!(f, "`etcd-ha {command}` of {by}")?;
        if !self.from.is_empty() {
            write!(f, ", from {},", self.from)?;
        }
        let seconds = self.age.as_secs();
        match seconds / 60 {
            0 => write!(f, " for {seconds} s"),
            minutes => write!(f, " for {minutes} min"),
        }
    }
}

/// A lock that is held.
pub struct HostLock {
    let_go: oneshot::Sender<()>,
    kept: JoinHandle<()>,
}

impl HostLock {
    fn keep(held: Held) -> Self {
        let (let_go, gone) = oneshot::channel();
        Self { let_go, kept: tokio::spawn(held.keep(BEAT, gone)) }
    }

    /// Lets go of it, and waits a moment until the host has.
    pub async fn release(self) {
        let Self { let_go, kept } = self;
        drop(let_go);
        let _ = tokio::time::timeout(LETTING_GO, kept).await;
    }
}

impl Connection {
    /// Takes the host's lock for a run. From then on scripts of this connection fail with [`HostError::LockLost`] once
    /// the run has it no longer. What this same run holds over a connection that broke is taken over. `Err` within is
    /// who has it. A run that had it before does not get it `again` if another one had it meanwhile, or it was taken away.
    ///
    /// # Errors
    /// It cannot be locked, or the host cannot be reached.
    pub async fn lock(&self, run: &RunName, again: bool) -> Result<Result<HostLock, Holder>, HostError> {
        const WHAT: &str = "take the lock";
        let script = take(FOLDER, run, again, SILENCE);
        let (held, said) = match self.hold_fed(WHAT, &script).await {
            Ok(held) => held,
            Err(_) => {
                // What is held does not say why it does not begin; another script does, or learns that sudo wants a
                // terminal.
                self.run(Script::new("look whether scripts run", "true\n")).await?;
                self.hold_fed(WHAT, &script).await?
            }
        };
        if said == "taken" {
            self.guard(&run.id);
            return Ok(Ok(HostLock::keep(held)));
        }
        drop(held);
        match said.as_str() {
            "lost" => return Err(HostError::LockLost { host: self.host().to_owned() }),
            "not root" => return Err(HostError::NotRoot { host: self.host().to_owned() }),
            _ => {}
        }
        if let Some(why) = said.strip_prefix("cannot ") {
            return Err(HostError::NoLock { host: self.host().to_owned(), why: self.shorten(why) });
        }
        read(said.as_bytes()).map(Err).ok_or_else(|| self.garbled(WHAT, "no word of who has it"))
    }

    /// Who holds the host's lock, if anybody does.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub async fn lock_holder(&self) -> Result<Option<Holder>, HostError> {
        const WHAT: &str = "look who has the lock";
        let answer = self.run(Script::new(WHAT, &look(FOLDER))).await?;
        if answer.trim_ascii() == b"free" {
            return Ok(None);
        }
        read(&answer).map(Some).ok_or_else(|| self.garbled(WHAT, "neither free nor held"))
    }

    /// Takes the lock away from a run, which may not go on then. False if that run has it no longer.
    ///
    /// # Errors
    /// It still has it, or the host cannot be reached.
    pub async fn break_lock(&self, run: &RunName) -> Result<bool, HostError> {
        let answer = self.run(Script::new("take the lock away", &take_away(FOLDER, run))).await?;
        Ok(answer.trim_ascii() == b"taken away")
    }
}

/// What a script of the run looks at first.
pub(super) fn guard(run: &str) -> String {
    guard_in(FOLDER, run)
}

/// How it ends if the lock is lost; nothing else of ours ends so with the words of [`LOST`].
pub(super) const LOST_STATUS: i64 = 94;
/// What it says then.
pub(super) const LOST: &str = "etcd-ha: the lock is lost";

fn guard_in(folder: &str, run: &str) -> String {
    let (file, run) = (quote(&format!("{folder}/holder")), quote(run));
    format!(
        "holder=; {{ read -r holder <{file}; }} 2>/dev/null || :\n\
         if [ \"$holder\" != {run} ]; then echo '{LOST}' >&2; exit {LOST_STATUS}; fi\n"
    )
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

/// Takes the lock, says so, and holds it. The file says who, and is there only while the lock is held: but for a holder
/// that was killed, which the next one writes over. Who had it last is told by another file, which stays.
fn take(folder: &str, run: &RunName, again: bool, silence: Duration) -> String {
    let RunName { id, by, command } = run;
    let json = json!({ "run": id, "by": by, "command": command }).to_string();
    format!(
        r#"folder={folder} own={id}
{COMMON}say() {{ printf '%s\n' "$*"; exit 0; }}
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
if {again} && [ "${{last:-$own}}" != "$own" ]; then say lost; fi
{ORIGIN}read -r line </proc/self/stat
process=${{line%% *}}
set -- ${{line##*)}}
up
printf '%s\n%s %s %s\n%s,"from":"%s"}}\n' "$own" "$process" "${{20}}" "$up" {head} "$from" >"$folder/holder.new"
printf '%s\n' "$own" >"$folder/last"
mv -f "$folder/holder.new" "$folder/holder"
trap 'rm -f "$folder/holder"' EXIT
echo taken
while said=$(exec 9>&-; timeout {silence} head -c 1) && [ "$said" = . ]; do :; done
"#,
        folder = quote(folder),
        id = quote(id),
        again = if again { "true" } else { "false" },
        head = quote(json.strip_suffix('}').unwrap_or_default()),
        silence = silence.as_secs(),
    )
}

/// Says who holds it. It is tried for a moment together with others that look; who wants to take it waits for that.
fn look(folder: &str) -> String {
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

fn take_away(folder: &str, run: &RunName) -> String {
    format!(
        r#"folder={folder}
{COMMON}if ! holder 2>/dev/null || [ "$run" != {id} ]; then echo gone; exit 0; fi
end
exec 9>>"$folder/lock"
# Another run may have got it by now.
if flock -w 5 9; then
  echo none >"$folder/last"
  rm -f "$folder/holder"
fi
echo 'taken away'
"#,
        folder = quote(folder),
        id = quote(&run.id)
    )
}

/// Reads `held TAKEN NOW JSON`, both in seconds of the host's uptime. A host is not trusted.
fn read(said: &[u8]) -> Option<Holder> {
    #[derive(Deserialize)]
    struct Written {
        run: String,
        by: String,
        command: String,
        #[serde(default)]
        from: String,
    }
    let said = String::from_utf8_lossy(said);
    let mut words = said.trim().strip_prefix("held ")?.splitn(3, ' ');
    let mut seconds = || words.next()?.parse::<u64>().ok();
    let (taken, now) = (seconds()?, seconds()?);
    let written: Written = serde_json::from_str(words.next()?).ok()?;
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(WIDEST).collect::<String>();
    Some(Holder {
        run: RunName { id: short(&written.run), by: short(&written.by), command: short(&written.command) },
        from: short(&written.from),
        age: Duration::from_secs(now.saturating_sub(taken)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn shells() -> Vec<&'static str> {
        let there = |shell: &&str| Command::new(shell).args(["-c", "true"]).status().is_ok();
        ["sh", "bash", "dash"].into_iter().filter(there).collect()
    }

    #[test]
    fn one_run_has_it_and_others_are_told_who() {
        for shell in shells() {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().join("it's").display().to_string();
            assert_eq!(Shell::new(shell, &look(&folder)).end(), "free\n0\n", "{shell}");
            let guarded = |id: &str| Shell::new(shell, &(guard_in(&folder, id) + "echo goes on")).end();
            assert_eq!(guarded("a"), format!("{LOST_STATUS}\n"), "{shell}");

            let mut first = Shell::new(shell, &take(&folder, &run("a"), false, SILENCE));
            assert_eq!(first.line(), "taken", "{shell}");
            for _ in 0..3 {
                first.child.stdin.as_mut().unwrap().write_all(b".").unwrap();
            }
            assert_eq!((guarded("a").as_str(), guarded("b").len()), ("goes on\n0\n", 3), "{shell}");
            for script in [look(&folder), take(&folder, &run("b"), false, SILENCE)] {
                let said = Shell::new(shell, &script).end();
                let holder = read(said.lines().next().unwrap().as_bytes());
                let want = Holder { run: run("a"), from: "10.19.0.1".into(), age: Duration::ZERO };
                let holder = holder.map(|holder| Holder { age: Duration::ZERO, ..holder });
                assert_eq!(holder, Some(want), "{shell} {said}");
            }
            assert_eq!(first.end(), "0\n", "{shell}");
            assert_eq!(Shell::new(shell, &look(&folder)).end(), "free\n0\n", "{shell}");
            let mut next = Shell::new(shell, &take(&folder, &run("b"), false, SILENCE));
            assert_eq!(next.line(), "taken", "{shell}");
            next.end();
        }
    }

    #[test]
    fn a_run_that_lost_it_does_not_get_it_again() {
        for shell in shells() {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().display().to_string();
            let first_line = |id: &str, again: bool| {
                let mut shell = Shell::new(shell, &take(&folder, &run(id), again, SILENCE));
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
            let mut held = Shell::new(shell, &take(&folder, &run("a"), true, SILENCE));
            assert_eq!(held.line(), "taken", "{shell}");
            assert_eq!(Shell::new(shell, &take_away(&folder, &run("a"))).end(), "taken away\n0\n", "{shell}");
            assert_eq!((first_line("a", true).as_str(), first_line("c", false).as_str()), ("lost", "taken"), "{shell}");
            held.end();
        }
    }

    #[test]
    fn a_run_takes_over_what_it_held_itself() {
        for shell in shells() {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().display().to_string();
            let mut first = Shell::new(shell, &take(&folder, &run("a"), false, SILENCE));
            assert_eq!(first.line(), "taken", "{shell}");
            let mut again = Shell::new(shell, &take(&folder, &run("a"), false, SILENCE));
            assert_eq!(again.line(), "taken", "{shell}");
            let guarded = Shell::new(shell, &(guard_in(&folder, "a") + "echo goes on")).end();
            assert_eq!(guarded, "goes on\n0\n", "{shell}");
            again.end();
            first.end();
        }
    }

    #[test]
    fn a_lock_that_is_taken_away_stops_its_run() {
        for shell in shells() {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().display().to_string();
            let mut first = Shell::new(shell, &take(&folder, &run("a"), false, SILENCE));
            assert_eq!(first.line(), "taken", "{shell}");
            assert_eq!(Shell::new(shell, &take_away(&folder, &run("b"))).end(), "gone\n0\n", "{shell}");
            assert_eq!(Shell::new(shell, &take_away(&folder, &run("a"))).end(), "taken away\n0\n", "{shell}");
            let guarded = Shell::new(shell, &(guard_in(&folder, "a") + "echo goes on")).end();
            assert_eq!(guarded, format!("{LOST_STATUS}\n"), "{shell}");
            assert_eq!(Shell::new(shell, &look(&folder)).end(), "free\n0\n", "{shell}");
            first.end();
        }
    }

    #[test]
    fn it_is_free_when_nothing_comes_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().display().to_string();
        let mut first = Shell::new("sh", &take(&folder, &run("a"), false, Duration::from_secs(1)));
        assert_eq!(first.line(), "taken");
        // Its stdin is open all the while, as with a link that is cut.
        assert_eq!(first.line(), "0");
        assert_eq!(Shell::new("sh", &look(&folder)).end(), "free\n0\n");
    }

    #[test]
    fn what_a_host_says_of_a_holder_is_not_trusted() {
        for said in [
            "",
            "held",
            "held 1",
            "held 1 2",
            "held x 2 {}",
            "held 1 2 {}",
            "held 1 2 {\"run\":1}",
            "held -1 2 {\"run\":\"a\",\"by\":\"b\",\"command\":\"c\"}",
        ] {
            assert_eq!(read(said.as_bytes()), None, "{said}");
        }
        let long = format!("held 9 2 {{\"run\":\"a\",\"by\":\"{}\\u001b[2J\",\"command\":\"c\"}}", "b".repeat(99));
        let holder = read(long.as_bytes()).unwrap();
        assert_eq!((holder.run.by, holder.age), ("b".repeat(WIDEST), Duration::ZERO));
    }

    #[test]
    fn words() {
        let holder = |from: &str, age| Holder {
            run: RunName { id: "a".into(), by: "ada@desk".into(), command: "deploy".into() },
            from: from.into(),
            age: Duration::from_secs(age),
        };
        assert_eq!(holder("10.19.0.1", 59).to_string(), "`etcd-ha deploy` of ada@desk, from 10.19.0.1, for 59 s");
        assert_eq!(holder("", 200).to_string(), "`etcd-ha deploy` of ada@desk for 3 min");
    }
}
