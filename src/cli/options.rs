//! Flags that several subcommands share.

use super::Context;
use crate::error::Error;
use crate::etcd::lint::Rules;
use crate::etcd::options::size;
use crate::etcd::version;
use crate::host::Password;
use crate::inventory::Inventory;
use crate::release;
use crate::report::{
    Activity, Color, Detail, Event, Format, ReportError, Reporter, RunLog, Screen, Sink, cluster_folder, run_log_path,
    state_folder,
};
use crate::ssh::{Bandwidth, Connector};
use crate::tasks::{FleetOptions, SnapshotPlace};
use clap::builder::TypedValueParser as _;
use clap::{Args, ValueEnum};
use semver::Version;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How many hosts are in hand at once, if nobody says otherwise.
pub(super) const FORKS: u16 = 64;

/// Flags of every subcommand.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// How to tell what happens: `json` prints one JSON object a line on stdout.
    #[arg(short, long, global = true, default_value = "text", value_parser = OutputFormat::usual())]
    pub output: OutputFormat,
    /// Plain lines instead of bars, as when stderr is no terminal.
    #[arg(long, global = true)]
    pub plain: bool,
    /// Also say what had nothing to do, and how long each round trip to a host took.
    ///
    /// A round trip is a connection (with its name resolution, TCP, key exchange and log-in), a script on a host, or a
    /// call to a member; in the end those of each host are summed up. Neither scripts nor what they read are shown.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Of what happens, tell only warnings, failures and how it ended.
    ///
    /// That is: no bars, no plays, no tasks that went well, no recap. What `--probe` saw and, after a change that did
    /// not come up, how each host is left are told. What a command prints on stdout stays as it is, and so does
    /// `-o json`.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people.
    Text,
    /// JSON lines.
    Json,
    /// For people, with more columns.
    Wide,
    /// YAML.
    Yaml,
}

impl OutputFormat {
    /// The formats of subcommands that say nothing else of themselves, as the flag's values.
    fn usual() -> impl clap::builder::TypedValueParser<Value = Self> {
        clap::builder::PossibleValuesParser::new(["text", "json"])
            .map(|name| if name == "json" { Self::Json } else { Self::Text })
    }
}

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// The inventory file.
    #[arg(short, long, value_name = "FILE", env = "ETCD_HA_INVENTORY")]
    pub inventory: PathBuf,
}

/// Where the binaries come from.
#[derive(Debug, Clone, Args)]
pub(super) struct Binaries {
    /// Where the etcd binaries come from: a URL with {version} and {arch}, an archive, or a folder;
    /// takes the place of the inventory's `release`.
    #[arg(long, value_name = "URL-OR-PATH", env = "ETCD_HA_RELEASE")]
    pub release: Option<String>,
}

/// A release of etcd that can be run, as a flag's value.
pub(super) fn release_version(text: &str) -> Result<Version, String> {
    let version = Version::parse(text).map_err(|_| "three numbers are wanted, for example `3.5.33`".to_owned())?;
    version::supported(&version).map_err(|why| format!("{why}: {}", why.help()))?;
    Ok(version)
}

/// A rate of bytes a second, as a flag's value.
pub(super) fn bandwidth(text: &str) -> Result<Bandwidth, String> {
    // Lines are sold in powers of 1000, so that these units are taken here, too.
    let decimal = [("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)].into_iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.trim_end_matches(' ');
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<u64>().ok()?.checked_mul(factor))?
    });
    match decimal.or_else(|| size(text)) {
        Some(rate) if rate >= Bandwidth::LEAST => Ok(Bandwidth::new(rate)),
        Some(_) => Err("1KiB a second is the least".to_owned()),
        None => {
            Err("bytes a second are wanted, a whole number with a unit of KiB, MiB, GiB, KB, MB, GB or none: `20MiB`"
                .to_owned())
        }
    }
}

impl Target {
    /// Reads the inventory.
    pub(super) fn load(&self) -> Result<Inventory, Error> {
        Ok(Inventory::load(&self.inventory, &Rules)?)
    }
}

impl Binaries {
    /// Puts what the command line says in the place of what the inventory says.
    pub(super) fn lay_over(&self, inventory: &mut Inventory) {
        if let Some(source) = &self.release {
            inventory.release = release::Source::parse(source);
        }
    }
}

/// What is kept of the data before it is changed.
#[derive(Debug, Clone, Args)]
pub(super) struct Safeguards {
    /// Take no snapshot before the version changes: there will be no way back to the data of before.
    #[arg(long)]
    pub no_snapshot: bool,
}

impl Safeguards {
    /// Where a cluster's snapshots belong.
    pub(super) fn snapshots(&self, cluster: &str) -> SnapshotPlace {
        if self.no_snapshot {
            return SnapshotPlace::Unwanted;
        }
        match state_folder(|name| std::env::var_os(name)) {
            Some(state) => SnapshotPlace::Folder(cluster_folder(&state, cluster).join("snapshots")),
            None => SnapshotPlace::Nowhere,
        }
    }
}

/// How long to wait for members.
#[derive(Debug, Clone, Args)]
pub(super) struct Waits {
    /// How long a member may take to become healthy.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub health_timeout: u64,
    /// Ask members straight from this machine instead of through SSH.
    #[arg(long)]
    pub direct: bool,
}

/// Hosts that are asked and left as they are, with the waits that nobody has to say.
pub(super) fn fleet_options(connector: Connector, become_password: Option<Arc<Password>>) -> FleetOptions {
    let call_limit = Duration::from_secs(5);
    FleetOptions {
        cache: release::default_cache_dir().unwrap_or_else(|| std::env::temp_dir().join("etcd-ha-cache")),
        direct: false,
        call_limit,
        health_timeout: call_limit,
        snapshots: SnapshotPlace::Unwanted,
        downgrade: false,
        become_password,
        connector,
        forks: FORKS.into(),
        run: None,
        bandwidth: None,
        keeper: None,
    }
}

impl Context {
    /// The display that the user asked for, the run log and, if it is wanted, what remembers the tasks.
    pub(super) fn reporter(&self, command: &str, cluster: &str, activity: Option<Activity>, asks: bool) -> Reporter {
        let now = OffsetDateTime::now_utc();
        let path = state_folder(|name| std::env::var_os(name))
            .map(|state| run_log_path(&state, cluster, command, now, std::process::id()));
        let (log, trouble): (Option<Box<dyn Sink>>, Option<ReportError>) = match &path {
            None => (None, Some(ReportError::NoStateFolder)),
            Some(path) => match RunLog::create(path.clone()) {
                Ok(log) => (Some(Box::new(log)), None),
                Err(error) => (None, Some(error)),
            },
        };
        let format = match (self.global.output, self.global.plain) {
            (OutputFormat::Json, _) => Format::Json,
            // Questions stand between lines, not among bars.
            (_, plain) if plain || asks => Format::Plain,
            (_, _) => Format::Auto,
        };
        let (verbose, quiet) = (self.global.verbose, self.global.quiet);
        let detail = Detail { verbose, quiet, run_log: log.as_ref().and(path) };
        let screen = Screen::choose(format, &self.around).sink(self.around.terminal_look(Color::Auto), detail);
        // The log first: should it fail, the screen still tells.
        let activity = activity.map(|activity| Box::new(activity) as Box<dyn Sink>);
        let reporter = Reporter::new(log.into_iter().chain([screen]).chain(activity).collect());
        if let Some(error) = trouble {
            reporter.emit(Event::from(error));
        }
        reporter
    }

    /// What is told on stderr beside an answer on stdout: with `--verbose`, how long each round trip took.
    pub(super) fn asking_reporter(&self) -> Reporter {
        let detail = Detail { verbose: true, ..Detail::default() };
        let plain = self.global.verbose.then(|| Screen::Plain.sink(self.around.terminal_look(Color::Auto), detail));
        Reporter::new(plain.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::bandwidth;

    #[test]
    fn rates() {
        for (text, taken) in [
            ("1024", true),
            ("1KiB", true),
            ("20MiB", true),
            ("20 MiB", true),
            ("20MB", true),
            ("1 GB", true),
            ("1023", false),
            ("1KB", false),
            ("0", false),
            ("", false),
            ("MB", false),
            ("-1MB", false),
            ("1.5MiB", false),
            ("20Mbit", false),
            ("20mb", false),
            ("99999999999999999GB", false),
        ] {
            assert_eq!(bandwidth(text).is_ok(), taken, "{text}");
        }
    }
}
