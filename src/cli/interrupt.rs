//! Ctrl-C: the first one stops after the task in hand, the second at once; so does the first where a question is open.
//! SIGTERM and the end of the terminal's session (SIGHUP, unless `nohup` has it ignored) are heard as Ctrl-C is.

use super::ask::Asker;
use super::timings::Timings;
use crate::error::ExitStatus;
use crate::report::{Event, Reporter};
use std::future::Future;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What became of work that can be interrupted.
pub(super) enum Ended<T> {
    /// It came to its end, maybe early, since it was asked to stop.
    Work(T),
    /// The user would not wait for that.
    AtOnce(ExitStatus),
}

/// Runs `work` on a runtime of its own; it is given a flag that a first Ctrl-C sets.
pub(super) fn run<T, F>(
    reporter: Option<Reporter>,
    asker: Option<&Asker>,
    timings: &Timings,
    work: impl FnOnce(watch::Receiver<bool>) -> F,
) -> std::io::Result<Ended<T>>
where
    F: Future<Output = T>,
{
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let ears = timings.ears().cloned();
    if let Some(ears) = ears.clone() {
        builder.on_thread_start(move || ears.open());
    }
    let runtime = builder.enable_all().build()?;
    let all = async {
        let (stop, stopped) = watch::channel(false);
        let work = work(stopped);
        tokio::pin!(work);
        // Before anything is asked: who leaves at once leaves the terminal as it was.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        loop {
            let hung_up = tokio::select! {
                done = &mut work => return Ok(Ended::Work(done)),
                _ = interrupt.recv() => false,
                _ = terminate.recv() => false,
                () = hung_up(&mut hang_up) => true,
            };
            // Whoever leaves instead of answering waits for nothing.
            let unanswered = asker.is_some_and(Asker::give_up);
            let again = stop.send_replace(true);
            // Shell and kernel may both tell of a terminal that is gone, and systemd sends SIGTERM before: nobody is impatient.
            if again && hung_up && !unanswered {
                continue;
            }
            if again || unanswered {
                return Ok(Ended::AtOnce(ExitStatus::Interrupted));
            }
            if let Some(reporter) = &reporter {
                let message = "stopping after the task in hand; press Ctrl-C again to leave at once".to_owned();
                reporter.emit(Event::Warning { host: None, message });
            }
        }
    };
    let ended = match ears {
        Some(ears) => ears.during(|| runtime.block_on(all)),
        None => runtime.block_on(all),
    };
    // A download or a resolver may still block a thread: nobody waits for it.
    runtime.shutdown_background();
    ended
}

async fn hung_up(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether whoever started this wants it to outlive the terminal; a handler of our own would undo that.
fn ignores_hang_up() -> bool {
    // The lowest bit is signal 1, SIGHUP: proc_pid_status(5).
    let ignored = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    std::fs::read_to_string("/proc/self/status").ok().and_then(ignored).is_some_and(|mask| mask & 1 == 1)
}
