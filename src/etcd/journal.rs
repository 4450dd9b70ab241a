//! What a member's journal says: which line tells why it ended, of whom a line speaks, and what it means.

use super::config::UNIT;
use super::identity::MemberId;
use super::signature::{Signature, known};
use serde_json::{Map, Value};

/// The most that is shown of a line: some carry a stack trace, which is longer than all the rest.
const LONGEST: usize = 600;

/// Errors of a connection that are the member's own: what the other side tells it, and files of its own. Who was removed
/// hears so from every peer that it dials.
const OWN: [&str; 5] = [
    "remote error: ",
    "open /",
    "private key does not match",
    "failed to find any PEM data",
    "permanently removed from the cluster",
];

/// Errors of a connection that are the other side's: its certificate.
const THEIRS: [&str; 2] = ["x509: ", "DNSNames"];

/// Whom a line speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The member whose journal it is.
    Itself,
    /// Whoever connected from this address.
    Address(String),
    /// The peer with this id.
    Peer(MemberId),
    /// A client, which is no member.
    Client,
}

/// A line whose words are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it says.
    pub words: String,
    /// What that means.
    pub signature: &'static Signature,
}

/// The line of etcd's journal that says why it ended: the last fatal one, or the last that is an error, or
/// what it said outside of its log, or why systemd could not start it, or the last one.
pub fn last_words<'a>(journal: impl Iterator<Item = &'a str>) -> Option<String> {
    let lines: Vec<&str> = journal.filter(|line| !line.trim().is_empty()).collect();
    let pick = |levels: &[&str]| lines.iter().rev().find(|line| is(line, levels)).copied();
    let line = pick(&["fatal", "panic"]).or_else(|| pick(&["error"]));
    let find = |says: &dyn Fn(&str) -> bool| lines.iter().rev().find(|line| says(line)).copied();
    let line = line
        .or_else(|| find(&|line| line.contains("failed to verify flags")))
        .or_else(|| find(&|line| line.starts_with("panic: ") || line.starts_with("fatal error: ")))
        .or_else(|| find(&|line| !line.starts_with('{') && !is_systemd_s(line)))
        .or_else(|| find(&|line| is_systemd_s(line) && !says_that_it_ended(line)))
        .or_else(|| lines.last().copied())?;
    Some(words(line))
}

/// What a line says, without what else etcd writes along.
#[must_use]
pub fn words(line: &str) -> String {
    all_words(line).chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// The same, however long it is: an error may list all members before it says what is wrong with them.
fn all_words(line: &str) -> String {
    match fields(line) {
        Some(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            match (text("msg"), text("error")) {
                (Some(msg), Some(error)) => format!("{msg}: {error}"),
                (Some(msg), None) => msg.to_owned(),
                _ => line.to_owned(),
            }
        }
        None => line.to_owned(),
    }
}

/// Of whom a line speaks. What the other side tells a member is said of the member, and what it finds in the other
/// side is said of that one.
#[must_use]
pub fn subject(line: &str) -> Subject {
    let Some(fields) = fields(line) else { return Subject::Itself };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    if text("msg").is_some_and(|msg| msg.contains("on client endpoint")) {
        return Subject::Client;
    }
    let error = text("error").unwrap_or_default();
    if OWN.iter().any(|words| error.contains(words)) {
        return Subject::Itself;
    }
    if let Some(address) = text("remote-addr") {
        // Whom it turns away for anything else than a certificate, it turns away for a reason of its own.
        if !THEIRS.iter().any(|words| error.contains(words)) {
            return Subject::Itself;
        }
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        return Subject::Address(host.trim_matches(['[', ']']).to_owned());
    }
    let ids = ["remote-peer-id", "peer-id", "remote-member-id", "remote-peer-server-name", "remote-peer-id-from", "to"];
    let peer = ids.into_iter().find_map(|name| u64::from_str_radix(text(name)?, 16).ok());
    peer.map_or(Subject::Itself, |id| Subject::Peer(MemberId(id)))
}

/// The line that tells most of why a member is as it is: one with a known cause, the last of those with a cause of
/// its own before those that are heard of many causes.
pub fn told<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Told> {
    let mut best: Option<Told> = None;
    for line in lines {
        let Some(signature) = known(&all_words(line)) else { continue };
        if best.as_ref().is_none_or(|best| signature.weight >= best.signature.weight) {
            best = Some(Told { words: words(line), signature });
        }
    }
    best
}

/// The lines since the member's process was last started; all of them, if none tells of a start.
#[must_use]
pub fn last_run<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let starts = |line: &&str| line.starts_with("Starting ") && line.contains(UNIT);
    // The last start may be so young that nothing has been said yet: then the one before it tells.
    let begins: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| starts(line)).map(|(at, _)| at).collect();
    let said = |at: usize| lines[at..].iter().any(|line| told(std::iter::once(*line)).is_some());
    let begin = begins.iter().rev().take(2).find(|at| said(**at)).or(begins.last());
    lines[begin.copied().unwrap_or_default()..].to_vec()
}

fn fields(line: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// Whether a line is of one of these levels.
fn is(line: &str, levels: &[&str]) -> bool {
    levels.iter().any(|level| line.contains(&format!("\"level\":\"{level}\"")))
}

/// Whether a line was said by systemd of the unit, not by the unit's process.
fn is_systemd_s(line: &str) -> bool {
    let of_a_job = ["Starting ", "Started ", "Stopping ", "Stopped ", "Failed to start "];
    line.starts_with(&format!("{UNIT}: ")) || (of_a_job.iter().any(|job| line.starts_with(job)) && line.contains(UNIT))
}

/// Whether a line of systemd's says only that the process ended and what became of the unit, not why.
fn says_that_it_ended(line: &str) -> bool {
    let ends = ["Main process exited", "Failed with result", "Scheduled restart job", "Deactivated", "Consumed "];
    line.strip_prefix(&format!("{UNIT}: ")).is_none_or(|said| ends.iter().any(|end| said.starts_with(end)))
}

#[cfg(test)]
mod tests {
    use super::{Subject, last_run, last_words, subject, told};
    use crate::etcd::identity::MemberId;

    #[test]
    fn of_whom_a_line_speaks() {
        let address = |address: &str| Subject::Address(address.to_owned());
        for (line, want) in [
            ("panic: no JSON", Subject::Itself),
            (r#"{"msg":"discovery failed","error":"x"}"#, Subject::Itself),
            (
                r#"{"msg":"rejected connection on peer endpoint","remote-addr":"10.19.4.57:41","error":"x509: y"}"#,
                address("10.19.4.57"),
            ),
            (
                r#"{"msg":"rejected connection on peer endpoint","remote-addr":"[fd00::57]:41","error":"x509: z"}"#,
                address("fd00::57"),
            ),
            // What the other side says of it is said of itself.
            (
                r#"{"msg":"rejected connection on peer endpoint","remote-addr":"10.19.4.57:41","error":"remote error: tls: bad certificate"}"#,
                Subject::Itself,
            ),
            (
                r#"{"msg":"rejected connection on client endpoint","remote-addr":"10.19.4.57:41","error":"x"}"#,
                Subject::Client,
            ),
            (
                r#"{"msg":"prober detected unhealthy status","remote-peer-id":"9d770d36022e00a9","error":"x"}"#,
                Subject::Peer(MemberId(0x9d77_0d36_022e_00a9)),
            ),
            (r#"{"msg":"prober","remote-peer-id":"no id"}"#, Subject::Itself),
            // A file of its own is missing, whoever connects.
            (
                r#"{"msg":"rejected connection on peer endpoint","remote-addr":"10.19.4.57:41","error":"open /etc/etcd/ssl/peer-key.pem: permission denied"}"#,
                Subject::Itself,
            ),
            (
                r#"{"msg":"peer became inactive","peer-id":"9d770d36022e00a9","error":"failed to dial (open /x.pem: permission denied)"}"#,
                Subject::Itself,
            ),
            (
                r#"{"msg":"rejected connection on peer endpoint","remote-addr":"10.19.4.57:41","error":"EOF"}"#,
                Subject::Itself,
            ),
        ] {
            assert_eq!(subject(line), want, "{line}");
        }
    }

    #[test]
    fn a_cause_goes_before_what_is_heard_of_many_and_the_last_before_the_first() {
        let heard = r#"{"msg":"m","error":"remote error: tls: bad certificate"}"#;
        let effect = r#"{"msg":"failed to publish local member to cluster through raft"}"#;
        let cause =
            |port: u16| format!(r#"{{"msg":"m","error":"listen tcp 1.1.1.1:{port}: bind: address already in use"}}"#);
        let (one, two) = (cause(1), cause(2));
        let found = told([one.as_str(), heard, &two, effect].into_iter()).unwrap();
        assert_eq!(
            (found.words.as_str(), found.signature.name),
            ("m: listen tcp 1.1.1.1:2: bind: address already in use", "port-taken")
        );
        assert_eq!(told([heard, effect].into_iter()).unwrap().signature.name, "told-bad");
        assert_eq!(told(["nothing"].into_iter()), None);
        // The reason may come after a list of all members.
        let long =
            format!("error validating peerURLs {}: member count is unequal", "https://10.19.0.1:2380 ".repeat(60));
        assert_eq!(told([long.as_str()].into_iter()).unwrap().signature.name, "other-count");
    }

    #[test]
    fn the_last_run_is_the_last_that_says_anything() {
        let start = "Starting etcd.service - etcd...";
        let cause = "bind: address already in use";
        assert_eq!(last_run(&["old: permission denied", start, cause, start]), [start, cause, start]);
        assert_eq!(last_run(&[start, cause, start, "fine", start, "fine"]), [start, "fine"]);
        assert_eq!(last_run(&["a", "b"]), ["a", "b"]);
    }

    #[test]
    fn what_etcd_said_outside_of_its_log_and_what_systemd_says() {
        let ended = "etcd.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED\n\
            etcd.service: Failed with result 'exit-code'.\nFailed to start etcd.service - etcd.\n\
            etcd.service: Scheduled restart job, restart counter is at 1.\nStopped etcd.service - etcd.\n";
        let before = "{\"level\":\"info\",\"msg\":\"closed etcd server\"}\nStarting etcd.service - etcd...\n";
        for (said, want) in [
            ("this etcd is broken\n", "this etcd is broken"),
            (
                "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n",
                "panic: runtime error: index out of range",
            ),
            (
                "etcd.service: Failed to execute /usr/local/bin/etcd: Permission denied\n",
                "etcd.service: Failed to execute /usr/local/bin/etcd: Permission denied",
            ),
            ("", "Stopped etcd.service - etcd."),
        ] {
            assert_eq!(last_words(format!("{before}{said}{ended}").lines()).as_deref(), Some(want));
        }
    }

    #[test]
    fn the_line_that_says_why_is_found() {
        let journal = "{\"level\":\"info\",\"msg\":\"starting\"}\n\
            {\"level\":\"fatal\",\"ts\":\"x\",\"msg\":\"discovery failed\",\"error\":\"listen tcp 10.19.4.57:2380: bind: address already in use\"}\n\
            {\"level\":\"info\",\"msg\":\"closed\"}\n";
        let words = "discovery failed: listen tcp 10.19.4.57:2380: bind: address already in use";
        assert_eq!(last_words(journal.lines()).as_deref(), Some(words));
        assert_eq!(
            last_words("etcd.service: Failed at step EXEC\n".lines()).as_deref(),
            Some("etcd.service: Failed at step EXEC")
        );
        assert_eq!(last_words("\n".lines()), None);
        let long = format!(
            "{{\"level\":\"error\",\"msg\":\"creating peer listener failed\",\"error\":\"in use\",\"stacktrace\":\"{}\"}}",
            "go.etcd.io/etcd/server/embed.StartEtcd\\n\\t".repeat(40)
        );
        assert_eq!(last_words(long.lines()).as_deref(), Some("creating peer listener failed: in use"));
        assert_eq!(last_words("x".repeat(1000).lines()).map(|words| words.len()), Some(600));
        assert_eq!(last_words("{\"msg\":\"a\\u001b[31mb\"}".lines()).as_deref(), Some("a[31mb"));
    }
}
