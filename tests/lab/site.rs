//! A lab, and apart from it the folder and the home of somebody who runs `etcd-ha` on its hosts.

use crate::fixture::{Lab, releases};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A lab and its operator.
pub struct Site {
    pub lab: Lab,
    folder: TempDir,
}

/// An inventory of a site's hosts; what is not set is the same for all tests.
#[derive(Clone)]
pub struct Inventory {
    pub cluster: String,
    pub version: String,
    /// Lines below `etcd:`, without indent.
    pub etcd: String,
    /// Lines below `etcd.settings:`, without indent.
    pub settings: String,
    /// The whole of `release:`, as an inline mapping.
    pub release: String,
    /// Lines below `ssh:`, without indent.
    pub ssh: String,
    /// Further sections as they are.
    pub sections: String,
    /// Each host's name and address, and further keys of it (`paths: { data: /data }`).
    pub hosts: Vec<(String, String, String)>,
}

impl Inventory {
    fn text(&self) -> String {
        let indented = |lines: &str, indent: &str| -> String {
            lines.trim().lines().map(|line| format!("{indent}{line}\n")).collect()
        };
        let mut text = format!("cluster: {}\netcd:\n  version: {}\n", self.cluster, self.version);
        text += &indented(&self.etcd, "  ");
        text += &format!("  settings:\n{}", indented(&self.settings, "    "));
        text += &format!("release: {}\n", self.release);
        text += &format!("ssh:\n{}", indented(&self.ssh, "  "));
        text += &self.sections;
        text += "hosts:\n";
        for (name, address, more) in &self.hosts {
            let more = if more.is_empty() { String::new() } else { format!(", {more}") };
            let _ = writeln!(text, "  - {{ name: {name}, address: {address}{more} }}");
        }
        text
    }
}

/// The script of [`Site::manifest`].
pub const MANIFEST: &str = "find /etc /home /opt /root /srv /usr/local /tmp /var/tmp /app /data -xdev \
     ! -path '/tmp/systemd-private-*' ! -path '/var/tmp/systemd-private-*' \
     \\( -type d -printf '%p %M %u:%g\\n' -o -printf '%p %M %u:%g %s %T@ %l\\n' \\) 2>/dev/null | sort; \
     ls -lnRA --time-style=full-iso /var/lib/etcd 2>/dev/null | head -n 3; getent passwd etcd || true";

impl Site {
    /// Starts fresh hosts, and writes an inventory of all of them.
    pub fn up(hosts: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("etcd-ha-lab-").tempdir().unwrap();
        let site = Self { lab: Lab::up(hosts), folder };
        site.write(&site.inventory(1..=hosts));
        site
    }

    /// An inventory of some of the hosts.
    pub fn inventory(&self, hosts: impl Iterator<Item = usize>) -> Inventory {
        let known_hosts = self.path("known_hosts");
        fs::copy(self.lab.known_hosts(), &known_hosts).unwrap();
        Inventory {
            cluster: "lab".to_owned(),
            version: "3.5.16".to_owned(),
            etcd: String::new(),
            settings: String::new(),
            release: format!(
                "{{ url: \"file://{}/v{{version}}/etcd-v{{version}}-linux-{{arch}}.tar.gz\" }}",
                releases().display()
            ),
            ssh: format!(
                "identity: {}\nknown_hosts: [{}]\nconnect_timeout: 3s\n",
                self.lab.identity().display(),
                known_hosts.display()
            ),
            sections: String::new(),
            hosts: hosts.map(|n| (format!("node{n:02}"), self.lab.address(n), String::new())).collect(),
        }
    }

    /// Writes the inventory that [`Site::run`] takes.
    pub fn write(&self, inventory: &Inventory) {
        self.write_file("lab.yaml", &inventory.text());
    }

    /// A path in the operator's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the operator's folder.
    pub fn write_file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// `etcd-ha` with these words, in the operator's folder and with nothing of the surroundings of the test.
    pub fn command(&self, words: &str) -> Command {
        // Not even with a signal that `nohup` has ignored.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_etcd-ha")]);
        command.args(words.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path("home"));
        command.env("XDG_STATE_HOME", self.path("state")).env("XDG_CACHE_HOME", self.path("cache"));
        fs::create_dir_all(self.path("home")).unwrap();
        command
    }

    /// Runs `etcd-ha` on the inventory that was written last.
    pub fn run(&self, words: &str) -> Ran {
        self.run_with(&format!("{words} -i lab.yaml"))
    }

    /// Runs `etcd-ha` with these words alone.
    pub fn run_with(&self, words: &str) -> Ran {
        let begun = Instant::now();
        let output = self.command(words).output().unwrap();
        Ran::new(words, &output, begun.elapsed())
    }

    /// The same without waiting for it.
    pub fn start(&self, words: &str) -> Running {
        let words = format!("{words} -i lab.yaml");
        let mut command = self.command(&words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { words, child: Some(child), begun: Instant::now(), read: Vec::new() }
    }

    /// What is on a host, a line a file: owner, mode, size, time of change. Without logs and what etcd stores.
    #[track_caller]
    pub fn manifest(&self, node: usize) -> String {
        self.lab.read(&format!("node{node:02}"), MANIFEST)
    }

    /// The pid of the host's etcd, 0 if it does not run.
    #[track_caller]
    pub fn pid(&self, node: usize) -> u32 {
        let pid = self.lab.read(&format!("node{node:02}"), "systemctl show etcd -p MainPID --value");
        pid.parse().unwrap()
    }
}

/// What must not have changed, and what has.
#[track_caller]
pub fn assert_untouched(before: &str, after: &str) {
    if let Some(what) = differences(before, after) {
        panic!("touched. {what}");
    }
}

/// The lines that were and are not, and the other way round.
pub fn differences(before: &str, after: &str) -> Option<String> {
    let lines = |one: &str, other: &str| {
        let other: std::collections::HashSet<_> = other.lines().collect();
        one.lines().filter(|line| !other.contains(line)).map(|line| format!("\n  {line}")).collect::<String>()
    };
    (before != after).then(|| format!("Was:{}\nis:{}", lines(before, after), lines(after, before)))
}

/// A run of `etcd-ha` that goes on.
pub struct Running {
    words: String,
    child: Option<Child>,
    begun: Instant,
    /// What was read of its stderr.
    read: Vec<u8>,
}

impl Running {
    /// Sends it a signal, `INT` or `KILL`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id();
        // It may have ended by itself by now.
        let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status();
    }

    /// Waits until it has said this many lines in all, or has ended.
    pub fn read_lines(&mut self, lines: usize) {
        self.read_while(|read| read.iter().filter(|&&byte| byte == b'\n').count() < lines);
    }

    /// Waits until it has said these words.
    #[track_caller]
    pub fn read_until(&mut self, words: &str) {
        let there = |read: &[u8]| read.windows(words.len()).any(|window| window == words.as_bytes());
        self.read_while(|read| !there(read));
        assert!(there(&self.read), "it ended without the words {words:?}: {}", String::from_utf8_lossy(&self.read));
    }

    /// Waits until it has said a whole line with these words, and gives it.
    #[track_caller]
    pub fn read_line(&mut self, words: &str) -> String {
        self.read_until(words);
        let before = self.read.len();
        self.read_while(|read| !read[before..].contains(&b'\n'));
        let read = String::from_utf8_lossy(&self.read);
        read.lines().find(|line| line.contains(words)).unwrap_or_default().to_owned()
    }

    fn read_while(&mut self, more: impl Fn(&[u8]) -> bool) {
        let stderr = self.child.as_mut().unwrap().stderr.as_mut().unwrap();
        let mut byte = [0];
        // Byte by byte: what is read here must be all that is gone from the pipe.
        while more(&self.read) && stderr.read(&mut byte).unwrap() > 0 {
            self.read.extend(byte);
        }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ran {
        let mut output = self.child.take().unwrap().wait_with_output().unwrap();
        output.stderr.splice(0..0, std::mem::take(&mut self.read));
        Ran::new(&self.words, &output, self.begun.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A run of `etcd-ha` that has ended.
#[derive(Debug)]
pub struct Ran {
    words: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    pub fn new(words: &str, output: &Output, took: Duration) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the output is not UTF-8");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Self { words: words.to_owned(), code: output.status.code(), stdout, stderr, took }
    }

    /// What it was called with.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// All that was on the screen, and how it ended.
    pub fn whole(&self) -> String {
        let Self { words, code, stdout, stderr, took } = self;
        format!("etcd-ha {words}: exit code {code:?} after {took:?}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }

    /// Whether these words are on the screen, be it over the end of a line that was broken.
    pub fn has_said(&self, words: &str) -> bool {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        [&self.stdout, &self.stderr].iter().any(|said| said.contains(words) || flat(said).contains(words))
    }

    /// The first line that has these words; the words, where a line ends amid them.
    pub fn line_with(&self, words: &str) -> String {
        let mut lines = self.stderr.lines().chain(self.stdout.lines());
        lines.find(|line| line.contains(words)).unwrap_or(words).trim().to_owned()
    }

    /// Checks the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}\n{}", self.whole());
        self
    }

    /// Checks that each of these is somewhere on the screen.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for words in words {
            let said = self.stdout.contains(words) || self.stderr.contains(words);
            assert!(said, "expected the words {words:?}\n{}", self.whole());
        }
        self
    }

    /// Checks that none of these is on the screen.
    #[track_caller]
    pub fn never_says(self, words: &[&str]) -> Self {
        for words in words {
            let said = self.stdout.contains(words) || self.stderr.contains(words);
            assert!(!said, "unexpected words {words:?}\n{}", self.whole());
        }
        self
    }

    /// Checks how the last line of the narration begins.
    #[track_caller]
    pub fn ends(self, words: &str) -> Self {
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with(words), "expected the last line {words:?}\n{}", self.whole());
        self
    }
}

/// All files below a folder of the controller.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Tries until it holds, or the time is up.
#[track_caller]
pub fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "after {limit:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
