//! How scripts get root's rights: by which program, with which password, and what it says when it refuses.

use super::framing::{Framed, find};
use crate::inventory::Become;
use crate::ssh::{Dialogue, Turn};
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// The password that sudo or doas asks for, shared by the hosts of a run.
///
/// It goes to a host's stdin only, and only once it is asked for. A host that refused it is not told it again.
pub struct Password {
    text: Zeroizing<String>,
    trials: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Trial>>>>,
}

/// What a host made of the password.
#[derive(Debug, Default)]
pub(super) enum Trial {
    /// Nobody has asked it yet.
    #[default]
    Untried,
    /// The host lets us in, with the password or without having asked for it.
    Passed,
    /// The host refused: it is not to be tried again, lest the account be locked.
    Failed(Refusal, String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// A password, without the end of its line.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self { text, trials: Mutex::default() }
    }

    /// What became of it on a host; held while it is tried for the first time, so that it is tried once.
    pub(super) fn trial(&self, host: &str) -> Arc<tokio::sync::Mutex<Trial>> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner).entry(host.to_owned()).or_default().clone()
    }

    /// What is sent when it is asked for; wiped once it was.
    fn line(&self) -> Bytes {
        Bytes::from_owner(Zeroizing::new([self.text.as_bytes(), b"\n"].concat()))
    }

    /// `text` without the password, should a host have repeated it.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(self.text.as_str(), "[password]")
    }
}

/// How a script comes to its rights on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    /// By which program.
    pub by: Become,
    /// Whether it may ask for the password.
    pub password: bool,
    /// Whether it insists on a terminal.
    pub terminal: bool,
}

impl Access {
    /// Whether the program is heard before it gets the script.
    pub fn talks(self) -> bool {
        self.by != Become::No && (self.password || self.terminal)
    }

    /// The words before `sh`.
    pub fn program(self, prompt: &str) -> String {
        match (self.by, self.password) {
            (Become::No, _) => String::new(),
            // In a prompt `%%` stands for `%`: a shell that repeats its command line does not say the prompt.
            (Become::Sudo, true) => format!("sudo -S -p '{}' ", prompt.replace('%', "%%")),
            (Become::Sudo, false) => "sudo -n ".to_owned(),
            (Become::Doas, true) => "doas ".to_owned(),
            (Become::Doas, false) => "doas -n ".to_owned(),
        }
    }

    /// The command as messages have it.
    pub fn command(self) -> &'static str {
        match (self.by, self.password) {
            (Become::No, _) => "sh",
            (Become::Sudo, true) => "sudo -S sh",
            (Become::Sudo, false) => "sudo -n sh",
            (Become::Doas, true) => "doas sh",
            (Become::Doas, false) => "doas -n sh",
        }
    }
}

/// The talk with sudo or doas that ends when the script can be sent.
pub(super) struct Opening<'a> {
    framed: &'a Framed,
    password: Option<&'a Password>,
    /// Whether the password was sent.
    pub answered: bool,
    /// Whether the shell behind it is there.
    pub ready: bool,
}

impl<'a> Opening<'a> {
    pub fn new(framed: &'a Framed, password: Option<&'a Password>) -> Self {
        Self { framed, password, answered: false, ready: false }
    }

    /// Whether there is anything to talk about.
    pub fn talks(&self) -> bool {
        self.framed.access.talks()
    }
}

impl Dialogue for Opening<'_> {
    fn hear(&mut self, said: &[u8]) -> Turn {
        if self.framed.is_ready(said) {
            self.ready = true;
            return Turn::Begin;
        }
        match (self.framed.prompts(said), self.answered, self.password) {
            (0, _, _) | (1, true, _) => Turn::Wait,
            (1, false, Some(password)) => {
                self.answered = true;
                Turn::Say(password.line())
            }
            // It was wrong. Another try would bring the account nearer to being locked.
            _ => Turn::GiveUp,
        }
    }
}

/// Why a host gives no rights to a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A password is wanted, and there is none.
    PasswordWanted,
    /// The password is wrong.
    PasswordRefused,
    /// The user may not do it.
    NotAllowed,
    /// The program is not there.
    Missing,
    /// It insists on a terminal.
    TerminalWanted,
    /// In the program's own words.
    Other,
}

impl Refusal {
    /// Reads what came in the place of a script's answer: the refusal and the line that says so, or nothing
    /// if it was not the program that spoke.
    pub fn read(said: &str, by: Become, answered: bool) -> Option<(Self, String)> {
        const SIGNS: &[(&str, Refusal)] = &[
            ("must have a tty", Refusal::TerminalWanted),
            ("not in the sudoers file", Refusal::NotAllowed),
            ("is not allowed to", Refusal::NotAllowed),
            ("may not run", Refusal::NotAllowed),
            ("doas: Operation not permitted", Refusal::NotAllowed),
            ("incorrect password attempt", Refusal::PasswordRefused),
            ("Sorry, try again", Refusal::PasswordRefused),
            ("doas: Authentication failed", Refusal::PasswordRefused),
            ("a password is required", Refusal::PasswordWanted),
            // sudo-rs, which is Ubuntu's sudo from 25.10 on.
            ("I'm afraid I can't do that", Refusal::NotAllowed),
            ("Authentication failed, try again", Refusal::PasswordRefused),
            ("interactive authentication is required", Refusal::PasswordWanted),
            ("doas: Authentication required", Refusal::PasswordWanted),
        ];
        let name = match by {
            Become::No => return None,
            Become::Sudo => "sudo",
            Become::Doas => "doas",
        };
        let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
        for (sign, refusal) in SIGNS {
            if let Some(line) = lines().find(|line| line.contains(sign)) {
                // sudo calls a password that it was given and did not get a second time one that is required.
                let refusal =
                    if answered && *refusal == Self::PasswordWanted { Self::PasswordRefused } else { *refusal };
                return Some((refusal, line.to_owned()));
            }
        }
        let missing =
            |line: &&str| line.contains(name) && (line.contains("No such file") || line.contains("not found"));
        // doas says that of its configuration, too.
        if let Some(line) = lines().find(missing).filter(|line| !line.starts_with(name)) {
            return Some((Self::Missing, line.to_owned()));
        }
        let own = format!("{name}: ");
        let line = lines().rfind(|line| line.contains(&own))?;
        Some((Self::Other, line.to_owned()))
    }
}

/// How often doas has asked: it cannot be told what to ask with.
pub(super) fn doas_prompts(said: &[u8]) -> usize {
    let asks = |line: &&[u8]| find(line, b"doas (").is_some_and(|at| find(&line[at..], b") password: ").is_some());
    match said.split(|byte| *byte == b'\n').filter(asks).count() {
        // Other modules of PAM ask in other words.
        0 if said.trim_ascii_end().ends_with(b"assword:") => 1,
        count => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sudo_and_doas_say() {
        use Refusal::{Missing, NotAllowed, Other, PasswordRefused, PasswordWanted, TerminalWanted};
        for (by, answered, said, want) in [
            (Become::Sudo, false, "noise\nsudo: a password is required\n", Some(PasswordWanted)),
            (Become::Sudo, true, "Sorry, try again.\n", Some(PasswordRefused)),
            (
                Become::Sudo,
                true,
                "sudo: no password was provided\nsudo: a password is required\n",
                Some(PasswordRefused),
            ),
            (Become::Sudo, true, "sudo: 1 incorrect password attempt\n", Some(PasswordRefused)),
            (Become::Sudo, true, "ops is not in the sudoers file.\nThis incident has been reported.", Some(NotAllowed)),
            (
                Become::Sudo,
                false,
                "Sorry, user ops is not allowed to execute '/bin/sh' as root on node01.",
                Some(NotAllowed),
            ),
            (Become::Sudo, false, "Sorry, user ops may not run sudo on node01.", Some(NotAllowed)),
            (Become::Sudo, false, "sudo: sorry, you must have a tty to run sudo", Some(TerminalWanted)),
            (Become::Sudo, false, "env: 'sudo': No such file or directory", Some(Missing)),
            (Become::Sudo, false, "sudo: /etc/sudoers is world writable\n", Some(Other)),
            (Become::Sudo, false, "sudo: interactive authentication is required\n", Some(PasswordWanted)),
            (Become::Sudo, true, "sudo: Authentication failed, try again.\n", Some(PasswordRefused)),
            (Become::Sudo, true, "sudo: I'm sorry ops. I'm afraid I can't do that\n", Some(NotAllowed)),
            (Become::Sudo, false, "This account is currently not available.", None),
            (Become::Sudo, false, "", None),
            (Become::No, false, "sudo: a password is required", None),
            (Become::Doas, false, "doas: Authentication required", Some(PasswordWanted)),
            (Become::Doas, true, "doas (ops@node03) password: \r\ndoas: Authentication failed", Some(PasswordRefused)),
            (Become::Doas, false, "doas: Operation not permitted", Some(NotAllowed)),
            (Become::Doas, false, "doas: doas is not enabled, /etc/doas.conf: No such file or directory", Some(Other)),
            (Become::Doas, false, "env: \u{2018}doas\u{2019}: No such file or directory", Some(Missing)),
        ] {
            let read = Refusal::read(said, by, answered);
            assert_eq!(read.as_ref().map(|(refusal, _)| *refusal), want, "{said}");
            assert!(read.is_none_or(|(_, line)| said.contains(&line) && !line.contains('\n')), "{said}");
        }
    }

    #[test]
    fn when_doas_asks() {
        for (said, want) in [
            (&b""[..], 0),
            (b"welcome\r\n", 0),
            (b"change your password: soon\n", 0),
            (b"\rdoas (ops@node03) password: ", 1),
            (b"noise\n\rdoas (ops@node03) password: \r\n", 1),
            (b"\rdoas (ops@node03) password: \n\rdoas (ops@node03) password: ", 2),
            (b"Corporate Password: ", 1),
        ] {
            assert_eq!(doas_prompts(said), want, "{}", String::from_utf8_lossy(said));
        }
    }

    #[test]
    fn the_password_is_shown_nowhere() {
        let password = Password::new(Zeroizing::new("s3cret".to_owned()));
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert_eq!(password.redact("echo s3cret s3cret"), "echo [password] [password]");
        assert_eq!(&password.line()[..], b"s3cret\n");
    }
}
