//! What is said to a command before it gets its input, and the terminal that some commands insist on.

use bytes::Bytes;
use russh::Pty;

/// Talks to a command before it gets its input: a program that asks for a password takes it only after it has asked,
/// and throws away what was sent before.
pub trait Dialogue: Send {
    /// What is to be done, now that the command has said all of this on its standard output.
    fn hear(&mut self, said: &[u8]) -> Turn;
}

/// What follows upon a command's words.
pub enum Turn {
    /// It has more to say.
    Wait,
    /// This is the answer.
    Say(Bytes),
    /// The command is ready for its input.
    Begin,
    /// There is no use in going on: the command is ended.
    GiveUp,
}

/// The modes of a terminal that passes every byte on as it is, both ways, and shows nothing of what goes in
/// (RFC 4254, 8).
pub(super) const RAW: &[(Pty, u32)] = &[
    (Pty::ECHO, 0),
    (Pty::ECHOE, 0),
    (Pty::ECHOK, 0),
    (Pty::ECHONL, 0),
    (Pty::ICANON, 0),
    (Pty::ISIG, 0),
    (Pty::IEXTEN, 0),
    (Pty::ISTRIP, 0),
    (Pty::INLCR, 0),
    (Pty::IGNCR, 0),
    (Pty::ICRNL, 0),
    (Pty::IUCLC, 0),
    (Pty::IXON, 0),
    (Pty::IXOFF, 0),
    (Pty::PARMRK, 0),
    (Pty::INPCK, 0),
    (Pty::OPOST, 0),
    (Pty::PARENB, 0),
    (Pty::CS8, 1),
];

/// The kind of terminal: one at which nobody looks.
pub(super) const TERM: &str = "dumb";
