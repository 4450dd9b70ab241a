//! Key files with a passphrase: it is asked for once a run, whichever host wants the key first.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::PrivateKey;
use tokio::sync::Mutex as AsyncMutex;

use crate::ssh::keys::{Closed, KeyFile, Unusable};
use crate::ssh::prompt::{Prompt, ask_one};

/// How often a passphrase may be mistyped.
const TRIES: usize = 3;

type Slot = Arc<AsyncMutex<Option<Result<Arc<PrivateKey>, Unusable>>>>;

/// The key files that were opened, and those that could not be, for all hosts of a run.
#[derive(Default)]
pub(in crate::ssh) struct Unlocked(Mutex<HashMap<PathBuf, Slot>>);

impl Unlocked {
    /// The key in a file that has a passphrase. Whoever wants the same key waits for the one question.
    pub(super) async fn open(&self, path: &Path, prompt: Option<&dyn Prompt>) -> Result<Arc<PrivateKey>, Unusable> {
        let Some(prompt) = prompt else {
            return Err(Unusable::Encrypted);
        };
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(path.to_path_buf()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(known) = &*slot {
            return known.clone();
        }
        let opened = ask(path, prompt).await;
        *slot = Some(opened.clone());
        opened
    }
}

async fn ask(path: &Path, prompt: &dyn Prompt) -> Result<Arc<PrivateKey>, Unusable> {
    let mut notice = Vec::new();
    for _ in 0..TRIES {
        let question = format!("Passphrase for the key `{}`: ", path.display());
        let Some(passphrase) = ask_one(prompt, &notice, question, false).await.filter(|typed| !typed.is_empty()) else {
            return Err(Unusable::NoPassphrase);
        };
        let path = path.to_path_buf();
        // The passphrase's hash is made to take its time.
        let opened = tokio::task::spawn_blocking(move || KeyFile::unlock(&path, &passphrase)).await;
        match opened {
            Ok(Ok(key)) => return Ok(Arc::new(key)),
            Ok(Err(Closed::Hopeless(why))) => return Err(why),
            Ok(Err(Closed::Wrong)) | Err(_) => {}
        }
        notice = vec!["That passphrase is wrong; an empty one leaves the key out.".to_owned()];
    }
    Err(Unusable::WrongPassphrase)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::{BoxFuture, join_all};
    use zeroize::Zeroizing;

    use super::{Prompt, Unlocked, Unusable};
    use crate::ssh::prompt::Question;

    /// Somebody who types these, one after another.
    struct Typist {
        answers: Mutex<Vec<&'static str>>,
        asked: AtomicUsize,
    }

    impl Typist {
        fn new(answers: &[&'static str]) -> Self {
            Self { answers: Mutex::new(answers.iter().rev().copied().collect()), asked: AtomicUsize::new(0) }
        }
    }

    impl Prompt for Typist {
        fn ask<'a>(&'a self, _: &'a [String], _: &'a [Question]) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>> {
            Box::pin(async {
                self.asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                let answer = self.answers.lock().unwrap().pop()?;
                Some(vec![Zeroizing::new(answer.to_owned())])
            })
        }
    }

    #[tokio::test]
    async fn one_question_for_all_who_want_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let options = ["-q", "-t", "ed25519", "-N", "right", "-a", "1", "-f"];
        if !Command::new("ssh-keygen").args(options).arg(&path).status().is_ok_and(|status| status.success()) {
            eprintln!("left out: no ssh-keygen here");
            return;
        }
        for (answers, asked, expected) in [
            (&["right"][..], 1, None),
            (&["wrong", "right"], 2, None),
            (&["wrong", "wrong", "wrong", "right"], 3, Some(Unusable::WrongPassphrase)),
            (&["wrong", ""], 2, Some(Unusable::NoPassphrase)),
            (&[], 1, Some(Unusable::NoPassphrase)),
        ] {
            let (unlocked, typist) = (Unlocked::default(), Typist::new(answers));
            let opened = join_all((0..3).map(|_| unlocked.open(&path, Some(&typist)))).await;
            assert_eq!(typist.asked.load(Ordering::SeqCst), asked, "{answers:?}");
            for opened in opened {
                assert_eq!(opened.err(), expected, "{answers:?}");
            }
        }
        assert_eq!(Unlocked::default().open(&path, None).await.err(), Some(Unusable::Encrypted));
    }
}
