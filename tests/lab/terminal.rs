//! A terminal for `etcd-ha`, and somebody who types there (`script` of bsdutils).

use crate::site::Site;
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell command that runs on a terminal of its own.
pub struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    screen: Vec<u8>,
}

impl Terminal {
    /// Runs `line`; in it, `etcd-ha` is the program.
    pub fn open(site: &Site, line: &str) -> Self {
        // Wide enough for bars.
        let line = format!("stty cols 100 rows 30; {line}").replace("etcd-ha", env!("CARGO_BIN_EXE_etcd-ha"));
        let like = site.command("");
        let mut command = Command::new("timeout");
        // Nobody waits for ever for words that do not come.
        command.args(["120", "script", "-qefc", &line, "/dev/null"]);
        command.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm").env("SHELL", "/bin/sh").current_dir(like.get_current_dir().unwrap());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let keys = child.stdin.take();
        Self { child, keys, screen: Vec::new() }
    }

    /// Waits until these words have been shown `times` in all.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str, times: usize) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while String::from_utf8_lossy(&self.screen).matches(words).count() < times {
            let read = stdout.read(&mut byte).unwrap();
            assert!(read > 0, "it ended before {words:?} was shown {times} times: {}", self.screen());
            self.screen.extend(byte);
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end: the exit code, and all that was shown.
    pub fn end(mut self) -> (Option<i32>, String) {
        self.child.stdout.take().unwrap().read_to_end(&mut self.screen).unwrap();
        let code = self.child.wait().unwrap().code();
        drop(self.keys.take());
        (code, self.screen())
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen).into_owned()
    }
}
