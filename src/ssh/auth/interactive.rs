//! The server's questions (RFC 4256), and passwords (RFC 4252, 8).

use russh::client::{AuthResult as Answer, KeyboardInteractiveAuthResponse as Reply, Prompt as Asked};
use zeroize::Zeroizing;

use super::{Gone, LogIn, Step};
use crate::ssh::facts::{Means, Outcome};
use crate::ssh::prompt::{Question, ask_one};
use crate::ssh::wire::printable;

/// How often a server may ask in one go. PAM asks once or twice.
const MAX_ROUNDS: usize = 10;

/// How many questions a server may ask at once.
const MAX_QUESTIONS: usize = 10;

/// What is said before a password is asked for again.
const AGAIN: &str = "It was refused; try again, or leave it empty to go on without.";

/// What came of a round of questions.
enum Said {
    /// These are the answers.
    Answers(Vec<String>),
    /// The password that was given.
    Given(Vec<String>),
    /// There are none; this was asked.
    Nothing(String),
}

impl LogIn<'_> {
    /// Whether there is anything to answer a question with.
    fn can_answer(&self) -> bool {
        self.has_given() || (self.resources.prompt.is_some() && self.mistyped < self.how.password_prompts)
    }

    /// Whether a password was given that may still be right.
    fn has_given(&self) -> bool {
        self.resources.password.is_some() && !self.given_is_wrong
    }

    /// Answers the server's questions.
    pub(super) async fn keyboard_interactive(&mut self) -> Result<Step, Gone> {
        let mut again = false;
        while self.can_answer() {
            let mut reply = self.handle.authenticate_keyboard_interactive_start(self.user, None).await;
            let (mut rounds, mut gave, mut typed, mut unanswered) = (0, false, false, None);
            let (remaining, partial) = loop {
                let (name, instructions, prompts) = match reply {
                    Ok(Reply::Success) => return Ok(Step::In),
                    Ok(Reply::Failure { remaining_methods, partial_success }) => {
                        break (remaining_methods, partial_success);
                    }
                    Ok(Reply::InfoRequest { name, instructions, prompts }) => (name, instructions, prompts),
                    Err(_) => return Err(Gone),
                };
                rounds += 1;
                if rounds > MAX_ROUNDS || prompts.len() > MAX_QUESTIONS {
                    let what = if rounds > MAX_ROUNDS {
                        format!("it asked more than {MAX_ROUNDS} times")
                    } else {
                        format!("it asked {} questions at once", prompts.len())
                    };
                    self.note(Means::KeyboardInteractive, None, Outcome::Endless(what));
                    // There is no way out of such questions but to hang up.
                    return Err(Gone);
                }
                let said = match &unanswered {
                    Some(_) => Said::Nothing(String::new()),
                    None => self.answer(&name, &instructions, &prompts, gave, again).await,
                };
                // Where there is no answer, an empty one leads on.
                let answers = match said {
                    Said::Answers(answers) => {
                        typed |= !answers.is_empty();
                        answers
                    }
                    Said::Given(answers) => {
                        gave = true;
                        answers
                    }
                    Said::Nothing(what) => {
                        unanswered.get_or_insert(what);
                        vec![String::new(); prompts.len()]
                    }
                };
                reply = self.handle.authenticate_keyboard_interactive_respond(answers).await;
            };
            if let Some(what) = unanswered {
                self.note(Means::KeyboardInteractive, None, Outcome::Unanswered(what));
                self.heard(&remaining, partial)?;
                return Ok(if partial { Step::Partial } else { Step::Exhausted });
            }
            self.given_is_wrong |= gave && !partial;
            let step = self.answered(Means::KeyboardInteractive, None, &remaining, partial)?;
            if step != Step::Exhausted || gave || !typed {
                return Ok(step);
            }
            self.mistyped += 1;
            again = true;
        }
        Ok(Step::Exhausted)
    }

    /// Finds the answers to one round of questions.
    async fn answer(&self, name: &str, instructions: &str, prompts: &[Asked], gave: bool, again: bool) -> Said {
        if prompts.is_empty() {
            // Something to be read, or nothing at all.
            return Said::Answers(Vec::new());
        }
        if let ([only], Some(password)) = (prompts, self.resources.password)
            && self.has_given()
            && !gave
            && wants_the_password(only)
        {
            return Said::Given(vec![password.text().to_owned()]);
        }
        let asked = || {
            let texts: Vec<String> = prompts.iter().map(|asked| printable(&asked.prompt)).collect();
            format!("it asked `{}`", texts.join("`, `"))
        };
        // A password that was given and is wrong is not asked for, too.
        let about_given = self.resources.password.is_some() && matches!(prompts, [only] if wants_the_password(only));
        let Some(prompt) = self.resources.prompt.filter(|_| !about_given) else {
            return Said::Nothing(asked());
        };
        let who = format!("{}@{}", printable(self.user), printable(self.resources.name));
        let mut notice: Vec<String> = Vec::new();
        if again {
            notice.push(AGAIN.to_owned());
        }
        // Whose words these are is said, lest a server speaks in our name.
        let theirs =
            [name, instructions].into_iter().flat_map(str::lines).map(printable).filter(|line| !line.is_empty());
        notice.extend(theirs.take(MAX_QUESTIONS).map(|line| format!("({who}) {line}")));
        let question =
            |asked: &Asked| Question { text: format!("({who}) {} ", printable(&asked.prompt)), echo: asked.echo };
        let questions: Vec<Question> = prompts.iter().map(question).collect();
        let answers = self.patience.while_asking(prompt.ask(&notice, &questions)).await;
        let left_out = |answers: &[Zeroizing<String>]| matches!((prompts, answers), ([only], [answer]) if answer.is_empty() && wants_the_password(only));
        match answers {
            Some(answers) if answers.len() == prompts.len() && !left_out(&answers) => {
                Said::Answers(answers.iter().map(|answer| answer.to_string()).collect())
            }
            _ => Said::Nothing(asked()),
        }
    }

    /// Tries the password that was given, once, or else those that are typed.
    pub(super) async fn password(&mut self) -> Result<Step, Gone> {
        let mut again = false;
        loop {
            let typed = match self.resources.password {
                Some(_) if self.given_is_wrong => return Ok(Step::Exhausted),
                Some(_) => None,
                None => match self.typed_password(again).await {
                    Some(typed) => Some(typed),
                    None => return Ok(Step::Exhausted),
                },
            };
            let text = match (&typed, self.resources.password) {
                (Some(typed), _) => typed.to_string(),
                (None, Some(given)) => given.text().to_owned(),
                (None, None) => return Ok(Step::Exhausted),
            };
            let answer = self.handle.authenticate_password(self.user, text).await;
            let (remaining, partial) = match answer {
                Ok(Answer::Success) => {
                    self.remember(None);
                    return Ok(Step::In);
                }
                Ok(Answer::Failure { remaining_methods, partial_success }) => (remaining_methods, partial_success),
                Err(_) => return Err(Gone),
            };
            if self.handle.is_closed() && self.patience.was_tried() {
                // Nobody has looked at it: the server had hung up over the question.
                return Err(Gone);
            }
            self.remember(None);
            self.given_is_wrong |= typed.is_none() && !partial;
            let step = self.answered(Means::Password, None, &remaining, partial)?;
            if step != Step::Exhausted || typed.is_none() || !self.takes(crate::ssh::hop::Method::Password) {
                return Ok(step);
            }
            self.mistyped += 1;
            again = true;
        }
    }

    /// The password that was typed when the server hung up, or else one that is typed now.
    async fn typed_password(&mut self, again: bool) -> Option<Zeroizing<String>> {
        let kept = self.resources.typed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if kept.is_some() {
            return kept;
        }
        let prompt = self.resources.prompt.filter(|_| self.mistyped < self.how.password_prompts)?;
        let question = format!("{}@{}'s password: ", printable(self.user), printable(self.resources.name));
        let notice = if again { vec![AGAIN.to_owned()] } else { Vec::new() };
        let asking = ask_one(prompt, &notice, question, false);
        let typed = self.patience.while_asking(asking).await.filter(|typed| !typed.is_empty());
        match &typed {
            Some(typed) => self.remember(Some(typed.clone())),
            None => self.note(Means::Password, None, Outcome::Unanswered("none was typed".to_owned())),
        }
        typed
    }

    fn remember(&self, typed: Option<Zeroizing<String>>) {
        *self.resources.typed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = typed;
    }
}

/// Whether a question is for the account's password: not for a new one, and not for a code that is good only once.
fn wants_the_password(asked: &Asked) -> bool {
    let text = asked.prompt.to_lowercase();
    let other = ["new", "retype", "again", "one-time", "one time", "otp", "token", "code"];
    !asked.echo && text.contains("password") && !other.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::{Asked, wants_the_password};

    #[test]
    fn the_password_is_given_to_its_own_question_only() {
        for (prompt, echo, expected) in [
            ("Password: ", false, true),
            ("ops@node01's password:", false, true),
            ("Password for ops:", false, true),
            ("Password: ", true, false),
            ("New password: ", false, false),
            ("Retype new password: ", false, false),
            ("One-time password (OATH) for `ops': ", false, false),
            ("Verification code: ", false, false),
            ("Enter passphrase for key '/root/.ssh/id_rsa': ", false, false),
            ("", false, false),
        ] {
            let asked = Asked { prompt: prompt.to_owned(), echo };
            assert_eq!(wants_the_password(&asked), expected, "{prompt:?}");
        }
    }
}
