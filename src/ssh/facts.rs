//! What errors know: the machine, its keys, our keys, and how a connection ended.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::keys::Unusable;

/// The machine that an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Name or address as the target has it.
    pub host: Arc<str>,
    /// Port of sshd.
    pub port: u16,
    /// The address that the name stood for, once connected.
    pub address: Option<IpAddr>,
    /// The jump host before it, or `a command`.
    pub via: Option<Arc<str>>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{}:{}", self.host, self.port)?;
        }
        match (self.address, &self.via) {
            (_, Some(via)) => write!(f, " through {via}"),
            (Some(address), None) if self.host.parse() != Ok(address) => write!(f, " ({address})"),
            _ => Ok(()),
        }
    }
}

/// A host key as it was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyFacts {
    /// The name that known_hosts files are searched for: `host`, or `[host]:port`.
    pub name: String,
    /// Type of the key, such as `ssh-ed25519`.
    pub algorithm: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// Why the certificate that came with it does not count, if one came.
    pub certificate: Option<CertificateFault>,
}

/// Why a host's certificate does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFault {
    /// No known_hosts file names its authority for this host; with the authority's fingerprint.
    Authority(String),
    /// Its signature is not its authority's.
    Signature,
    /// It is signed with SHA-1 or DSA.
    WeakSignature,
    /// It is for users.
    NotForHosts,
    /// It is not valid yet; from when on, in seconds since 1970.
    NotYetValid(u64),
    /// It is not valid any more; since when, in seconds since 1970.
    Expired(u64),
    /// It is for other names: these.
    Principals(Vec<String>),
    /// It has conditions that nobody knows.
    CriticalOptions(Vec<String>),
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(fingerprint) => write!(f, "its authority {fingerprint} is not trusted for this host"),
            Self::Signature => f.write_str("its signature is wrong"),
            Self::WeakSignature => f.write_str("it is signed in a way that is not safe any more"),
            Self::NotForHosts => f.write_str("it is for users, not for hosts"),
            Self::NotYetValid(from) => write!(f, "it is valid from {} on", moment(*from)),
            Self::Expired(since) => write!(f, "it expired at {}", moment(*since)),
            Self::Principals(names) if names.is_empty() => f.write_str("it names no host"),
            Self::Principals(names) => write!(f, "it is for {}", names.join(", ")),
            Self::CriticalOptions(options) => write!(f, "it has unknown critical options: {}", options.join(", ")),
        }
    }
}

/// A time for people.
fn moment(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| "the end of time".to_owned())
}

/// A host key that is not the one written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedHostKey {
    /// The key that the host presented.
    pub presented: HostKeyFacts,
    /// Type of the key on file.
    pub known_algorithm: String,
    /// Fingerprint of the key on file.
    pub known_fingerprint: String,
    /// The known_hosts file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

/// A host key that somebody has revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedHostKey {
    /// The key that the host presented.
    pub presented: HostKeyFacts,
    /// What is revoked.
    pub what: RevokedPart,
    /// The known_hosts file, or that of RevokedHostKeys.
    pub file: PathBuf,
    /// Its line, from 1; none in a list that is not text.
    pub line: Option<usize>,
}

/// What is revoked of a host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokedPart {
    /// The key.
    Key,
    /// Its certificate.
    Certificate,
    /// The authority of its certificate, of this type and fingerprint.
    Authority(String, String),
}

impl fmt::Display for RevokedHostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostKeyFacts { algorithm, fingerprint, .. } = &self.presented;
        write!(f, "{algorithm} {fingerprint}, ")?;
        match &self.what {
            RevokedPart::Key => f.write_str("is revoked")?,
            RevokedPart::Certificate => f.write_str("has a certificate that is revoked")?,
            RevokedPart::Authority(algorithm, fingerprint) => {
                write!(f, "is certified by {algorithm} {fingerprint}, which is revoked")?;
            }
        }
        write!(f, " by `{}", self.file.display())?;
        match self.line {
            Some(line) => write!(f, ":{line}`"),
            None => f.write_str("`"),
        }
    }
}

/// What was tried to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// A key of the agent; with its comment.
    AgentKey(String),
    /// A certificate of the agent; with its comment.
    AgentCertificate(String),
    /// A key file.
    File(PathBuf),
    /// A certificate's file.
    Certificate(PathBuf),
    /// Answers to the server's questions.
    KeyboardInteractive,
    /// A password.
    Password,
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentKey(comment) => write!(f, "agent key `{comment}`"),
            Self::AgentCertificate(comment) => write!(f, "agent certificate `{comment}`"),
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Certificate(path) => write!(f, "certificate `{}`", path.display()),
            Self::KeyboardInteractive => f.write_str("keyboard-interactive"),
            Self::Password => f.write_str("password"),
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server did not take it.
    Refused,
    /// The server took it and asks for another method on top.
    Partial,
    /// The agent would not sign with it.
    NotSigned(String),
    /// It could not be used at all.
    Unusable(Unusable),
    /// There was no answer to what the server asked; with what it asked.
    Unanswered(String),
    /// The server asked on and on; with what it did.
    Endless(String),
}

/// One thing that was tried, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub means: Means,
    /// A key's type and fingerprint, if it could be read that far.
    pub key: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.means)?;
        if let Some(key) = &self.key {
            write!(f, " ({key})")?;
        }
        match &self.outcome {
            Outcome::Refused => f.write_str(" refused"),
            Outcome::Partial => f.write_str(" accepted, but not enough by itself"),
            Outcome::NotSigned(why) => write!(f, " not signed by the agent: {why}"),
            Outcome::Unusable(why) => write!(f, " not used: {why}"),
            Outcome::Unanswered(what) => write!(f, " not answered: {what}"),
            Outcome::Endless(what) => write!(f, " given up: {what}"),
        }
    }
}

/// A log-in that nothing achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFailure {
    /// The user that we wanted to be.
    pub user: String,
    /// Everything, in the order in which its turn came.
    pub tried: Vec<Attempt>,
    /// How many keys had no turn, since servers cut off a client after six refusals.
    pub untried: usize,
    /// The methods that the server would take, such as `publickey`, `password`.
    pub accepted: Vec<String>,
    /// What server or agent had to say about it.
    pub remark: Option<String>,
    /// Whether this is a jump host, to which no password is given that was meant for the hosts.
    pub jump: bool,
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tried.is_empty() {
            f.write_str("there is no key to try")?;
        }
        for (index, same) in self.tried.chunk_by(|one, next| one == next).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            match same {
                [one] => write!(f, "{separator}{one}")?,
                [one, ..] => write!(f, "{separator}{one} ({} times)", same.len())?,
                [] => {}
            }
        }
        if self.untried > 0 {
            write!(f, "; {} more not tried", self.untried)?;
        }
        if !self.accepted.is_empty() {
            write!(f, "; the server accepts {}", self.accepted.join(", "))?;
        }
        if let Some(remark) = &self.remark {
            write!(f, "; {remark}")?;
        }
        Ok(())
    }
}

/// How a connection that was once good came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The other side closed it without a word.
    Closed,
    /// The other side said good-bye; with its words.
    Disconnected(String),
    /// Nothing came back, neither data nor answers to keepalives.
    Silent,
    /// The network or the protocol broke; with the cause.
    Broken(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the other side"),
            Self::Disconnected(words) => write!(f, "closed by the other side, saying `{words}`"),
            Self::Silent => f.write_str("no sign of life any more"),
            Self::Broken(cause) => f.write_str(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[test]
    fn a_peer_names_host_port_and_the_address_behind_a_name() {
        for (host, port, address, via, text) in [
            ("10.0.0.1", 22, None, None, "10.0.0.1:22"),
            ("10.0.0.1", 22, Some("10.0.0.1"), None, "10.0.0.1:22"),
            ("node01", 2222, Some("10.0.0.1"), None, "node01:2222 (10.0.0.1)"),
            ("fd00::1", 22, Some("fd00::1"), None, "[fd00::1]:22"),
            ("node01", 22, None, Some("bastion"), "node01:22 through bastion"),
        ] {
            let address = address.map(|address| address.parse().unwrap());
            assert_eq!(Peer { host: host.into(), port, address, via: via.map(Into::into) }.to_string(), text);
        }
    }
}
