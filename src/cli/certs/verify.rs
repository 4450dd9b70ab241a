//! `etcd-ha certs verify`: what every port of every member really serves.

use crate::cli::Context;
use crate::cli::options::OutputFormat;
use crate::cli::query::{Patience, Query};
use crate::diagnosis::certificates::{PortProblem, PortReport, next_steps, served};
use crate::error::{Error, ExitStatus};
use crate::report::{self, Color, Style, count, cut, one_line, table, wrap};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;
use time::OffsetDateTime;

/// The most of a subject that the table shows: what a port shows may be anything.
const SUBJECT: usize = 40;

/// The most of a problem that is told.
const LONGEST: usize = 400;

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    query: Query,
    /// Connect to members straight from this machine instead of through SSH.
    #[arg(long)]
    direct: bool,
    /// How long connecting to a host, and one handshake, may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

impl Verify {
    pub(super) fn run(self, context: &Context) -> Result<ExitStatus, Error> {
        let limit = Duration::from_secs(self.timeout);
        let inventory = self.query.target.load()?;
        let patience = Patience { call: limit, connect: Some(limit), direct: self.direct };
        let asked = self.query.ask(context, inventory, patience, |fleet, _| async move {
            served(&fleet, OffsetDateTime::now_utc()).await
        })?;
        let reports = match asked {
            Ok(reports) => reports?,
            Err(exit) => return Ok(exit),
        };
        let ports: Vec<_> = reports.iter().map(Port::new).collect();
        context.output.out(&match context.global.output {
            OutputFormat::Json => as_json(&ports),
            _ => {
                let columns = context.around.columns.filter(|_| context.around.stdout_tty).map(usize::from);
                as_text(&ports, context.around.stdout_style(Color::Auto), columns)
            }
        })?;
        Ok(if ports.iter().all(|port| port.verdict.is_good()) { ExitStatus::Done } else { ExitStatus::Failed })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Soon,
    Wrong,
    NotReached,
}

impl Verdict {
    fn is_good(self) -> bool {
        matches!(self, Self::Ok | Self::Soon)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Soon => "expires soon",
            Self::Wrong => "wrong",
            Self::NotReached => "not reached",
        }
    }
}

/// A port with all that is wrong at it.
struct Port<'a> {
    report: &'a PortReport,
    problems: Vec<PortProblem>,
    verdict: Verdict,
}

impl<'a> Port<'a> {
    fn new(report: &'a PortReport) -> Self {
        let problems = report.problems();
        let verdict = if report.outcome.is_err() {
            Verdict::NotReached
        } else if problems.is_empty() {
            Verdict::Ok
        } else if problems.iter().all(PortProblem::can_wait) {
            Verdict::Soon
        } else {
            Verdict::Wrong
        };
        Self { report, problems, verdict }
    }

    fn words(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|problem| cut(&one_line(&problem.to_string()), LONGEST, "..."))
    }
}

fn as_text(ports: &[Port<'_>], style: Style, columns: Option<usize>) -> String {
    let mut rows = vec![["HOST", "PORT", "SUBJECT", "DAYS LEFT", "TLS", "VERDICT"].map(str::to_owned).to_vec()];
    for port in ports {
        let served = port.report.outcome.as_ref().ok();
        let shown = served.and_then(|served| served.certificate.shown.as_ref());
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let word = port.verdict.word();
        rows.push(vec![
            port.report.host.clone(),
            format!("{} {}", port.report.role, port.report.port),
            or_none(shown.map(|shown| cut(&one_line(&shown.subject), SUBJECT, "..."))),
            or_none(shown.map(|shown| shown.days_left.to_string())),
            or_none(served.and_then(|served| served.version).map(str::to_owned)),
            match port.verdict {
                Verdict::Ok => style.good(word),
                Verdict::Soon => style.warn(word),
                Verdict::Wrong | Verdict::NotReached => style.bad(word),
            },
        ]);
    }
    let mut text = table(&rows);
    let width = columns.unwrap_or(usize::MAX);
    for port in ports.iter().filter(|port| !port.problems.is_empty()) {
        let PortReport { host, role, port: number, .. } = port.report;
        text += &format!("\n{host}, {role} port {number}:\n");
        let hints = next_steps(&port.problems).into_iter().map(|hint| format!("hint: {hint}"));
        for line in port.words().chain(hints) {
            for line in wrap(&line, width.saturating_sub(2).max(20)) {
                text += &format!("  {line}\n");
            }
        }
    }
    let gap = if ports.iter().all(|port| port.problems.is_empty()) { "" } else { "\n" };
    text + gap + &summary(ports) + "\n"
}

fn summary(ports: &[Port<'_>]) -> String {
    let of = |verdict| ports.iter().filter(|port| port.verdict == verdict).count();
    let (wrong, unreached) = (of(Verdict::Wrong), of(Verdict::NotReached));
    let good = ports.len() - wrong - unreached;
    let mut text = format!("{good} of {} as they should be", count(ports.len(), "port"));
    if wrong > 0 {
        text += &format!(", {wrong} wrong");
    }
    if unreached > 0 {
        text += &format!(", {unreached} not reached");
    }
    text
}

/// One line a port, then one for all.
fn as_json(ports: &[Port<'_>]) -> String {
    let lines = ports.iter().map(|port| {
        let served = port.report.outcome.as_ref().ok();
        let mut line = json!({
            "v": 1,
            "host": port.report.host,
            "role": port.report.role,
            "port": port.report.port,
            "verdict": port.verdict.word(),
            "tls": served.and_then(|served| served.version),
            "problems": port.words().collect::<Vec<_>>(),
            "hints": next_steps(&port.problems),
        });
        let shown = served.and_then(|served| served.certificate.shown.as_ref());
        if let (Some(Value::Object(shown)), Some(line)) =
            (shown.and_then(|shown| serde_json::to_value(shown).ok()), line.as_object_mut())
        {
            line.extend(shown);
        }
        line
    });
    let good = ports.iter().filter(|port| port.verdict.is_good()).count();
    let all = json!({ "v": 1, "ports": ports.len(), "good": good });
    lines.chain([all]).map(|line| report::json(&line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::certificates::Served;
    use crate::etcd::client::CallError;
    use crate::etcd::handshake::Admission;
    use crate::pki::{Judgement, Role, ServedFlaw, Shown};
    use crate::report::width;
    use time::macros::datetime;

    const END: OffsetDateTime = datetime!(2027-11-10 12:00 UTC);

    fn served(subject: &str, flaws: Vec<ServedFlaw>) -> Served {
        let shown = Shown {
            subject: subject.to_owned(),
            issuer: "CN=prod etcd CA".to_owned(),
            serial: "51".to_owned(),
            not_after: END,
            days_left: 365,
        };
        Served {
            certificate: Judgement { shown: Some(shown), flaws },
            version: Some("1.3"),
            with_certificate: Admission::Granted,
            without_certificate: Ok(Admission::Refused("it says `CertificateRequired`".to_owned())),
        }
    }

    fn report(host: &str, role: Role, outcome: Result<Served, CallError>) -> PortReport {
        let port = if role == Role::Client { 2379 } else { 2380 };
        PortReport { host: host.to_owned(), role, port, outcome }
    }

    fn shown(reports: &[PortReport], style: Style, columns: Option<usize>) -> String {
        as_text(&reports.iter().map(Port::new).collect::<Vec<_>>(), style, columns)
    }

    #[test]
    fn says_what_is_wrong_and_what_to_do() {
        let stranger = Served {
            version: None,
            with_certificate: Admission::Unknown("no".to_owned()),
            without_certificate: Ok(Admission::Unknown("no".to_owned())),
            ..served(
                "CN=\x1b[31mstranger",
                vec![
                    ServedFlaw::OtherAuthority { issuer: "CN=stranger\x07".to_owned() },
                    ServedFlaw::Names(vec!["10.19.0.56".to_owned()]),
                    ServedFlaw::Other { filed: "node02-server.pem".to_owned(), serial: Some("52".to_owned()) },
                ],
            )
        };
        let open = Served { without_certificate: Ok(Admission::Granted), ..served("CN=node02", vec![]) };
        let soon = served("CN=node03", vec![ServedFlaw::ExpiresSoon(END)]);
        let reports = [
            report("node01", Role::Client, Ok(served("CN=node01", vec![]))),
            report("node01", Role::Peer, Err(CallError::Tcp("refused".to_owned()))),
            report("node02", Role::Client, Ok(stranger)),
            report("node02", Role::Peer, Ok(open)),
            report("node03", Role::Client, Ok(soon)),
        ];
        let want = "\
HOST    PORT         SUBJECT      DAYS LEFT  TLS  VERDICT
node01  client 2379  CN=node01    365        1.3  ok
node01  peer 2380    -            -          -    not reached
node02  client 2379  CN=stranger  365        -    wrong
node02  peer 2380    CN=node02    365        1.3  wrong
node03  client 2379  CN=node03    365        1.3  expires soon

node01, peer port 2380:
  tcp: refused
  hint: look whether the member runs: `systemctl status etcd` on the host, `etcd-ha start`

node02, client port 2379:
  another CA issued it: `CN=stranger\u{fffd}`
  it does not name `10.19.0.56`
  it is not `node02-server.pem` of the PKI folder, whose serial number is 52
  with what it shows no connection comes about: no
  hint: look who put it there; `etcd-ha deploy` puts the one in the PKI folder in its place

node02, peer port 2380:
  it lets in who shows no certificate
  hint: `etcd-ha deploy` writes the settings that want client certificates, and restarts the member

node03, client port 2379:
  it expires on 2027-11-10 12:00 UTC
  hint: `etcd-ha deploy` issues a new one and puts it in its place

2 of 5 ports as they should be, 2 wrong, 1 not reached
";
        assert_eq!(shown(&reports, Style::new(false), None), want);
        let narrow = shown(&reports, Style::new(false), Some(80));
        assert!(narrow.lines().all(|line| width(line) <= 80), "{narrow}");
        let coloured = shown(&reports, Style::new(true), None);
        assert!(coloured.contains("\x1b[33mexpires soon\x1b[0m") && coloured.contains("\x1b[31mwrong\x1b[0m"));

        let good = [report("node01", Role::Client, Ok(served("CN=node01", vec![])))];
        assert!(shown(&good, Style::new(false), None).ends_with("1.3  ok\n1 of 1 port as they should be\n"));
    }
}
