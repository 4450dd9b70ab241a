//! Who may log in to the server of these tests, and by what.

use std::borrow::Cow;
use std::sync::Mutex;

use russh::keys::{Certificate, PublicKey};
use russh::server::{Auth, Response};
use russh::{MethodKind, MethodSet};

/// A round of questions (RFC 4256, 3.2) with the answers that are right.
#[derive(Clone, Default)]
pub struct Round {
    pub name: &'static str,
    pub instructions: &'static str,
    pub questions: Vec<(String, bool)>,
    pub answers: Vec<&'static str>,
}

impl Round {
    pub fn new(question: &'static str, answer: &'static str) -> Self {
        Self { questions: vec![(question.to_owned(), false)], answers: vec![answer], ..Self::default() }
    }
}

/// The rules of a log-in; by default any key opens, and nothing else does.
#[derive(Default)]
pub struct Door {
    /// Keys that open; none: any does.
    pub authorized: Option<Vec<PublicKey>>,
    /// Who signs users' certificates.
    pub authority: Option<PublicKey>,
    /// The password.
    pub password: Option<&'static str>,
    /// The questions, one round after another.
    pub rounds: Vec<Round>,
    /// Asks the first round for ever, whatever is answered.
    pub endless: bool,
    /// What is said to be taken; none: everything.
    pub offers: &'static [MethodKind],
    /// All of these are wanted, in this order (AuthenticationMethods).
    pub wants: &'static [MethodKind],
}

/// What was tried, secrets included.
pub type Heard = Mutex<Vec<String>>;

/// How far one client has come.
#[derive(Default)]
pub struct Progress {
    stage: usize,
    round: usize,
    taken: Vec<PublicKey>,
}

impl Door {
    /// What is said to be taken at first.
    pub fn methods(&self) -> MethodSet {
        match (self.wants, self.offers) {
            ([first, ..], _) => MethodSet::from(&[*first][..]),
            ([], []) => MethodSet::server_supported(),
            ([], offers) => MethodSet::from(offers),
        }
    }

    pub fn offered(&self, key: &PublicKey, progress: &Progress) -> Auth {
        if self.wanted(MethodKind::PublicKey, progress) && (self.authority.is_some() || self.opens(key, progress)) {
            Auth::Accept
        } else {
            self.refusal(progress)
        }
    }

    pub fn key(&self, key: &PublicKey, progress: &mut Progress) -> Auth {
        let opens = self.opens(key, progress);
        progress.taken.push(key.clone());
        self.judge(MethodKind::PublicKey, opens, progress)
    }

    pub fn certificate(&self, certificate: &Certificate, progress: &mut Progress) -> Auth {
        let ours = self.authority.as_ref().is_some_and(|authority| authority.key_data() == certificate.signature_key());
        self.judge(MethodKind::PublicKey, ours, progress)
    }

    pub fn password(&self, said: &str, heard: &Heard, progress: &mut Progress) -> Auth {
        heard.lock().unwrap().push(format!("password {said}"));
        self.judge(MethodKind::Password, self.password == Some(said), progress)
    }

    pub fn answers(&self, said: Option<Response<'_>>, heard: &Heard, progress: &mut Progress) -> Auth {
        let Some(said) = said else {
            progress.round = 0;
            return match self.rounds.first() {
                Some(round) if self.wanted(MethodKind::KeyboardInteractive, progress) => ask(round),
                _ => self.refusal(progress),
            };
        };
        let said: Vec<String> = said.map(|answer| String::from_utf8_lossy(&answer).into_owned()).collect();
        heard.lock().unwrap().push(format!("answers {}", said.join(",")));
        let Some(round) = self.rounds.get(progress.round) else {
            return self.refusal(progress);
        };
        if self.endless {
            return ask(round);
        }
        if said != round.answers {
            return self.judge(MethodKind::KeyboardInteractive, false, progress);
        }
        progress.round += 1;
        match self.rounds.get(progress.round) {
            Some(next) => ask(next),
            None => self.judge(MethodKind::KeyboardInteractive, true, progress),
        }
    }

    fn opens(&self, key: &PublicKey, progress: &Progress) -> bool {
        let known = |keys: &Vec<PublicKey>| keys.iter().any(|known| known.key_data() == key.key_data());
        self.authorized.as_ref().is_none_or(known) && !known(&progress.taken)
    }

    fn wanted(&self, method: MethodKind, progress: &Progress) -> bool {
        self.wants.get(progress.stage).is_none_or(|wanted| *wanted == method)
    }

    fn judge(&self, method: MethodKind, good: bool, progress: &mut Progress) -> Auth {
        if !good || !self.wanted(method, progress) {
            return self.refusal(progress);
        }
        progress.stage += 1;
        if progress.stage >= self.wants.len() {
            return Auth::Accept;
        }
        let Auth::Reject { proceed_with_methods, .. } = self.refusal(progress) else { unreachable!() };
        Auth::Reject { proceed_with_methods, partial_success: true }
    }

    fn refusal(&self, progress: &Progress) -> Auth {
        let methods = match self.wants.get(progress.stage) {
            Some(wanted) => Some(MethodSet::from(&[*wanted][..])),
            None if self.offers.is_empty() => None,
            None => Some(MethodSet::from(self.offers)),
        };
        Auth::Reject { proceed_with_methods: methods, partial_success: false }
    }
}

fn ask(round: &Round) -> Auth {
    Auth::Partial {
        name: Cow::Borrowed(round.name),
        instructions: Cow::Borrowed(round.instructions),
        prompts: round
            .questions
            .iter()
            .map(|(text, echo)| (Cow::Owned(text.clone()), *echo))
            .collect::<Vec<_>>()
            .into(),
    }
}
