//! Secrets, and questions to whoever runs this.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// A secret; it keeps itself out of Debug output and wipes itself. Clones share it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a secret over.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(Arc::new(text))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A question to whoever runs this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its words, fit for a terminal.
    pub text: String,
    /// Whether the answer may be seen while it is typed.
    pub echo: bool,
}

/// Asks whoever runs this.
pub trait Prompt: Send + Sync {
    /// Shows the lines of `notice`, then asks one question after another, with nobody else's in between. The answers are
    /// as many as the questions; none at all if nobody wants to answer.
    fn ask<'a>(
        &'a self,
        notice: &'a [String],
        questions: &'a [Question],
    ) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>>;
}

/// Asks one question.
pub(super) async fn ask_one(
    prompt: &dyn Prompt,
    notice: &[String],
    text: String,
    echo: bool,
) -> Option<Zeroizing<String>> {
    prompt.ask(notice, &[Question { text, echo }]).await?.pop()
}

/// The time limit of a log-in. It does not run while somebody is asked, and begins anew after each answer.
pub(super) struct Patience {
    limit: Duration,
    /// None while somebody is asked.
    until: watch::Sender<Option<Instant>>,
    /// Whether a question was open for so long that the server may have lost its own patience.
    tried: AtomicBool,
}

/// How long a question may be open before a server that closes the connection then is excused (LoginGraceTime).
const SERVERS_PATIENCE: Duration = Duration::from_secs(15);

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, until: watch::Sender::new(Some(Instant::now() + limit)), tried: AtomicBool::new(false) }
    }

    /// Waits for `answer` without losing patience.
    pub(super) async fn while_asking<T>(&self, answer: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        self.until.send_replace(None);
        let answer = answer.await;
        self.until.send_replace(Some(Instant::now() + self.limit));
        self.tried.fetch_or(begun.elapsed() >= SERVERS_PATIENCE, Ordering::Relaxed);
        answer
    }

    /// Whether the server's patience was tried, too.
    pub(super) fn was_tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }

    /// Comes back when the time is up.
    pub(super) async fn has_run_out(&self) {
        let mut until = self.until.subscribe();
        loop {
            let deadline = *until.borrow_and_update();
            let changed = match deadline {
                Some(deadline) => tokio::select! {
                    () = tokio::time::sleep_until(deadline) => return,
                    changed = until.changed() => changed,
                },
                None => until.changed().await,
            };
            if changed.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};
    use zeroize::Zeroizing;

    use super::{Patience, Secret};

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Secret::new(Zeroizing::new("hunter2".to_owned())))), "Some(…)");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_lasts_while_somebody_is_asked() {
        let begun = Instant::now();
        let patience = Patience::new(Duration::from_secs(10));
        let work = async {
            sleep(Duration::from_secs(9)).await;
            patience.while_asking(sleep(Duration::from_secs(1))).await;
            assert!(!patience.was_tried());
            sleep(Duration::from_secs(9)).await;
            patience.while_asking(sleep(Duration::from_secs(600))).await;
            assert!(patience.was_tried());
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = work => {}
            () = patience.has_run_out() => {}
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(9 + 1 + 9 + 600 + 10));
    }
}
