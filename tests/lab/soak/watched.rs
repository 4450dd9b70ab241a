//! A run whose lines are read as they come, and whose progress others can follow.

use super::schedule::Profile;
use crate::site::Site;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A run that goes on.
pub struct Watched {
    child: Child,
    begun: Instant,
    said: Arc<Mutex<Vec<(Duration, String)>>>,
    reading: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts it with `-v`, so that it says a line at the end of every task.
    pub fn start(site: &Site, words: &str) -> Self {
        let mut command = site.command(&format!("{words} -v -i lab.yaml"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        let said = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let heard = said.clone();
        let reading = thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                heard.lock().unwrap().push((begun.elapsed(), line));
            }
        });
        Self { child, begun, said, reading: Some(reading) }
    }

    /// How many lines it has said, and how long ago the last one.
    pub fn heard(&self) -> (usize, Duration) {
        let said = self.said.lock().unwrap();
        let last = said.last().map_or(Duration::ZERO, |(at, _)| *at);
        (said.len(), self.begun.elapsed().saturating_sub(last))
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn kill(&mut self) {
        // SIGKILL. It may have ended by itself by now.
        let _ = self.child.kill();
    }

    /// Waits for its end: the exit code, `None` if it was killed; when it said what.
    pub fn wait(mut self) -> (Option<i32>, Profile, Vec<String>) {
        let code = self.child.wait().unwrap().code();
        let took = self.begun.elapsed();
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        let (lines, words) = std::mem::take(&mut *self.said.lock().unwrap()).into_iter().unzip();
        (code, Profile { lines, took }, words)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How far the operation is, for those who wait for a moment of it; after a kill it goes on with the clock, as if nothing
/// had been.
#[derive(Clone)]
pub struct Progress {
    state: Arc<Mutex<(f64, Instant)>>,
    whole: Duration,
}

impl Progress {
    pub fn begin(profile: &Profile) -> Self {
        Self { state: Arc::new(Mutex::new((0.0, Instant::now()))), whole: profile.took }
    }

    pub fn set(&self, now: f64) {
        *self.state.lock().unwrap() = (now, Instant::now());
    }

    pub fn now(&self) -> f64 {
        let (last, at) = *self.state.lock().unwrap();
        last + at.elapsed().as_secs_f64() / self.whole.as_secs_f64()
    }
}
