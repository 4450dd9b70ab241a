//! From the inventory as written to the inventory as meant: defaults filled in, overrides laid over
//! them, every rule checked. Nothing stops at the first problem.

mod controller;
mod hosts;
mod members;

use super::lint::{Finding, Lint};
use super::problem::{Problem, quoted};
use super::tree::At;
use super::{Host, Inventory, rules, schema};
use semver::Version;
use std::collections::HashSet;
use std::hash::Hash;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// The work of one validation. What is returned while there are problems is thrown away by the
/// caller, so a missing or refused value is simply left empty.
struct Validation<'a> {
    lint: &'a dyn Lint,
    /// The folder that relative local paths start from.
    folder: PathBuf,
    home: Option<PathBuf>,
    problems: &'a mut Vec<Problem>,
    warnings: Vec<String>,
}

/// The inventory as meant; meaningless if it adds a problem.
pub(super) fn inventory(
    path: &Path,
    written: schema::Inventory,
    whole: Range<usize>,
    lint: &dyn Lint,
    problems: &mut Vec<Problem>,
) -> Inventory {
    let mut validation = Validation {
        lint,
        folder: path.parent().map(Path::to_path_buf).unwrap_or_default(),
        home: std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
        problems,
        warnings: Vec::new(),
    };
    let cluster = validation.required(written.cluster, "cluster", &written.given, &whole);
    validation.check(&cluster, |text| rules::name("cluster", text));
    let etcd = written.etcd.map(|at| at.value).unwrap_or_default();
    let (version, settings_by) = validation.version(etcd.version.as_ref());
    let release = validation.release(written.release.map(|at| at.value).unwrap_or_default());
    let pki = validation.pki(written.pki.map(|at| at.value).unwrap_or_default(), path);
    let defaults = Defaults {
        etcd,
        ssh: written.ssh.map(|at| at.value).unwrap_or_default(),
        paths: written.paths.map(|at| at.value).unwrap_or_default(),
    };
    if let Some(address) = &defaults.ssh.address {
        validation.add(
            Problem::new("`ssh.address` is given for all hosts", address.span.clone())
                .label("one address cannot be every host's")
                .help("put it under the host that it belongs to: `ssh: { address: … }`"),
        );
    }
    if let Some(host_key) = &defaults.ssh.host_key {
        validation.add(
            Problem::new("`ssh.host_key` is given for all hosts", host_key.span.clone())
                .label("one key should not be every host's")
                .help("put it under the host that it belongs to: `ssh: { host_key: SHA256:… }`"),
        );
    }
    let none = match &written.hosts {
        Some(hosts) => hosts.value.is_empty,
        None => !written.given.contains(&"hosts"),
    };
    let hosts_span = written.hosts.as_ref().map_or(whole.start..whole.start, |hosts| hosts.span.clone());
    let written_hosts = written.hosts.map(|at| at.value.hosts).unwrap_or_default();
    if none {
        validation.add(
            Problem::new("there are no hosts", hosts_span)
                .label("`hosts` is missing or empty")
                .help("one entry each: `- { name: node01, address: 10.0.0.1 }`"),
        );
    }
    validation.distinct(&written_hosts, &defaults);
    let many = written_hosts.len() > 1;
    let hosts: Vec<Host> =
        written_hosts.iter().map(|host| validation.host(host, &defaults, settings_by.as_ref(), many)).collect();
    validation.warnings.extend(members::member_count(hosts.len()));
    let mut warnings = validation.warnings;
    // A default that is wrong is wrong for every host, and still one problem.
    once(&mut warnings);
    once(problems);
    Inventory { path: path.to_path_buf(), cluster: cluster.value, version, release, pki, hosts, warnings }
}

/// Leaves of equal ones the first.
fn once<T: Clone + Eq + Hash>(all: &mut Vec<T>) {
    let mut seen = HashSet::new();
    all.retain(|one| seen.insert(one.clone()));
}

/// What holds for every host that does not say otherwise.
struct Defaults {
    etcd: schema::Etcd,
    ssh: schema::Ssh,
    paths: schema::Paths,
}

impl Validation<'_> {
    fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn add_finding(&mut self, finding: Finding, span: Range<usize>) {
        let problem = Problem::new(finding.message, span).label("here");
        self.add(match finding.help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    fn check(&mut self, at: &At<String>, rule: impl Fn(&str) -> Result<(), Finding>) {
        // What is missing or of the wrong type has its problem already.
        if !at.value.is_empty()
            && let Err(finding) = rule(&at.value)
        {
            self.add_finding(finding, at.span.clone());
        }
    }

    /// A key without which nothing can be done; `within` is where it is missing.
    fn required(
        &mut self,
        value: Option<At<String>>,
        key: &'static str,
        given: &[&'static str],
        within: &Range<usize>,
    ) -> At<String> {
        let start = within.start;
        if value.is_none() && !given.contains(&key) {
            let problem = Problem::new(format!("key `{key}` is missing"), start..start);
            self.add(problem.label(format!("`{key}` belongs here")));
        }
        value.unwrap_or_else(|| At::new(String::new(), start..start))
    }

    /// The version to run, and the one whose options are known: a version can be refused although
    /// its options are known, and options that nothing is known of are not judged.
    fn version(&mut self, written: Option<&At<String>>) -> (Version, Option<Version>) {
        let default = self.lint.default_version();
        let Some(written) = written else {
            return (default.clone(), Some(default));
        };
        let text = written.value.as_str();
        let parsed = Version::parse(text);
        let finding = match &parsed {
            Ok(version) => match self.lint.version(version) {
                None => return (version.clone(), Some(version.clone())),
                Some(finding) => finding,
            },
            Err(_) if text.strip_prefix('v').is_some_and(|rest| Version::parse(rest).is_ok()) => {
                Finding::new(format!("version `{text}` begins with `v`")).help(format!("write `{}`", &text[1..]))
            }
            Err(_) if Version::parse(&format!("{text}.0")).is_ok() => {
                Finding::new(format!("version `{text}` names no patch release"))
                    .help(format!("write all three numbers, for example `{default}`"))
            }
            Err(_) => Finding::new(format!("{} is not a version", quoted(text)))
                .help(format!("three numbers, for example `{default}`")),
        };
        self.add_finding(finding, written.span.clone());
        (default, parsed.ok().filter(|version| self.lint.knows(version)))
    }
}
