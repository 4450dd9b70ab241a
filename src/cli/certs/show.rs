//! `etcd-ha certs show`: what is in the PKI folder.

use crate::cli::Context;
use crate::cli::options::{OutputFormat, Target};
use crate::error::{Error, ExitStatus};
use crate::pki::{self, CertificateInfo, Details, Kind};
use crate::report::{Color, Style, table, width};
use clap::Args;
use std::time::Duration;
use time::OffsetDateTime;

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    target: Target,
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Result<ExitStatus, Error> {
        let inventory = self.target.load()?;
        let now = OffsetDateTime::now_utc();
        let certificates = pki::show(&inventory.pki, now)?;
        let text = match context.global.output {
            OutputFormat::Json => as_json(&certificates),
            _ if certificates.is_empty() => {
                format!(
                    "there are no certificates in {} yet; `etcd-ha deploy` makes them\n",
                    inventory.pki.dir.display()
                )
            }
            _ => {
                let looks = Looks {
                    style: context.around.stdout_style(Color::Auto),
                    columns: context.around.columns.filter(|_| context.around.stdout_tty).map(usize::from),
                    renew_before: inventory.pki.renew_before,
                    now,
                };
                as_table(&certificates, looks)
            }
        };
        context.output.out(&text)?;
        let whole = certificates.iter().all(|certificate| certificate.problems.is_empty());
        Ok(if whole { ExitStatus::Done } else { ExitStatus::Failed })
    }
}

fn as_json(certificates: &[CertificateInfo]) -> String {
    certificates.iter().map(crate::report::json).collect()
}

/// What the table depends on beside its contents.
#[derive(Debug, Clone, Copy)]
struct Looks {
    style: Style,
    /// How wide it may be, where that matters.
    columns: Option<usize>,
    renew_before: Duration,
    now: OffsetDateTime,
}

const HEAD: [&str; 5] = ["FILE", "SUBJECT", "NAMES", "ISSUER", "DAYS LEFT"];

/// Where in a row the names stand.
const NAMES: usize = 2;

fn as_table(certificates: &[CertificateInfo], looks: Looks) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for certificate in certificates {
        let name = certificate.file.file_name().unwrap_or_default().to_string_lossy();
        let file = match &certificate.kind {
            Some(Kind::Client(_)) => format!("clients/{name}"),
            Some(Kind::Authority | Kind::Server(_) | Kind::Peer(_) | Kind::Admin) | None => name.into_owned(),
        };
        rows.push(match &certificate.details {
            Some(details) => {
                let names = if details.names.is_empty() { "-".to_owned() } else { details.names.join(" ") };
                vec![file, details.subject.clone(), names, details.issuer.clone(), days(details, looks)]
            }
            None => vec![file, "?".to_owned(), "-".to_owned(), "-".to_owned(), "-".to_owned()],
        });
    }
    if let Some(columns) = looks.columns {
        narrow(&mut rows, columns);
    }
    let mut text = table(&rows);
    for certificate in certificates {
        for problem in &certificate.problems {
            text += &format!("{}: {problem}\n", certificate.file.display());
        }
    }
    text
}

fn days(details: &Details, looks: Looks) -> String {
    let days = details.days_left;
    if looks.now >= details.not_after {
        looks.style.bad(format!("{days} expired"))
    } else if details.expires_soon(looks.renew_before, looks.now) {
        looks.style.warn(format!("{days} soon"))
    } else {
        days.to_string()
    }
}

/// Takes as much away from the names as it needs for the table to fit.
fn narrow(rows: &mut [Vec<String>], columns: usize) {
    let widest = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or_default();
    let others: usize = (0..HEAD.len()).filter(|column| *column != NAMES).map(|column| widest(column) + 2).sum();
    let room = columns.saturating_sub(others);
    for row in rows.iter_mut().skip(1) {
        row[NAMES] = some_of(&row[NAMES], room);
    }
}

/// As many of the names as have room, and how many more there are; one always.
fn some_of(names: &str, room: usize) -> String {
    let all: Vec<&str> = names.split(' ').collect();
    let shown = (1..=all.len()).rev().map(|count| {
        let more = all.len() - count;
        let names = all[..count].join(" ");
        if more == 0 { names } else { format!("{names} +{more}") }
    });
    let mut shortest = String::new();
    for text in shown {
        if width(&text) <= room {
            return text;
        }
        shortest = text;
    }
    shortest
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-10 12:00 UTC);

    fn info(file: &str, kind: Kind, names: &[&str], days_left: i64) -> CertificateInfo {
        let details = Details {
            subject: "CN=node01".to_owned(),
            names: names.iter().map(ToString::to_string).collect(),
            issuer: "CN=prod etcd CA".to_owned(),
            serial: "51".to_owned(),
            not_before: NOW - time::Duration::days(365),
            not_after: NOW + time::Duration::days(days_left),
            days_left,
        };
        CertificateInfo { file: file.into(), kind: Some(kind), details: Some(details), problems: vec![] }
    }

    fn some() -> Vec<CertificateInfo> {
        let member = || "node01".to_owned();
        let names = ["10.19.0.55", "node01", "localhost", "127.0.0.1", "::1"];
        let mut expired = info("/p/clients/old.pem", Kind::Client("old".to_owned()), &[], -3);
        expired.problems.push("it expired on 2026-11-07 12:00 UTC".to_owned());
        vec![
            info("/p/ca.pem", Kind::Authority, &[], 3650),
            info("/p/node01-server.pem", Kind::Server(member()), &names, 365),
            info("/p/clients/app1.pem", Kind::Client("app1".to_owned()), &[], 12),
            expired,
        ]
    }

    fn looks(columns: Option<usize>, color: bool) -> Looks {
        Looks { style: Style::new(color), columns, renew_before: Duration::from_secs(30 * 86_400), now: NOW }
    }

    #[test]
    fn a_table_for_a_pipe_and_for_a_terminal() {
        let wide = "\
FILE              SUBJECT    NAMES                                      ISSUER           DAYS LEFT
ca.pem            CN=node01  -                                          CN=prod etcd CA  3650
node01-server.pem  CN=node01  10.19.0.55 node01 localhost 127.0.0.1 ::1  CN=prod etcd CA  365
clients/app1.pem  CN=node01  -                                          CN=prod etcd CA  12 soon
clients/old.pem   CN=node01  -                                          CN=prod etcd CA  -3 expired
/p/clients/old.pem: it expired on 2026-11-07 12:00 UTC
";
        let squeezed = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        for columns in [None, Some(200)] {
            assert_eq!(squeezed(&as_table(&some(), looks(columns, false))), squeezed(wide), "{columns:?}");
        }
        let narrow = as_table(&some(), looks(Some(80), false));
        assert!(narrow.lines().all(|line| width(line) <= 80), "{narrow}");
        assert!(narrow.contains("10.19.0.55 node01 +3  CN=prod"), "{narrow}");
        let coloured = as_table(&some(), looks(Some(80), true));
        assert_eq!(console_free(&coloured), narrow);
        assert!(coloured.contains("\x1b[33m12 soon\x1b[0m") && coloured.contains("\x1b[31m-3 expired\x1b[0m"));
    }

    fn console_free(text: &str) -> String {
        ["\x1b[31m", "\x1b[33m", "\x1b[0m"].iter().fold(text.to_owned(), |text, code| text.replace(code, ""))
    }

    #[test]
    fn one_name_is_always_shown() {
        for (room, want) in [
            (100, "10.19.0.55 node01 ::1"),
            (21, "10.19.0.55 node01 ::1"),
            (20, "10.19.0.55 node01 +1"),
            (19, "10.19.0.55 +2"),
            (0, "10.19.0.55 +2"),
        ] {
            assert_eq!(some_of("10.19.0.55 node01 ::1", room), want, "{room}");
        }
        assert_eq!(some_of("-", 0), "-");
    }
}
