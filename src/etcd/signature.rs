//! What etcd's and systemd's words mean, and what to do: the failures that were seen on real members.

mod table;

use table::KNOWN;

/// A failure that is known by its words.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name, which is that of its recorded example, too.
    pub name: &'static str,
    /// All of these are in the text.
    words: &'static [&'static str],
    /// How much it tells.
    pub weight: Weight,
    /// What it means, a clause.
    pub cause: &'static str,
    /// The next step, without a full stop.
    pub next: &'static str,
}

/// How much a signature tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It says what does not work, whatever the cause.
    Effect,
    /// It is heard of several causes, and another member's journal, or another line, may know which.
    Heard,
    /// It names the cause.
    Cause,
}

/// What is known of a text of etcd's or systemd's.
#[must_use]
pub fn known(text: &str) -> Option<&'static Signature> {
    KNOWN.iter().find(|signature| signature.words.iter().all(|words| text.contains(words)))
}

#[cfg(test)]
mod tests;
