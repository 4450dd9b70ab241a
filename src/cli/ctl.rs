//! `etcd-ha ctl -- ARGS…`: the cluster's own etcdctl, run on a host of it as the administrator.

use super::Context;
use super::operation::check_hosts;
use super::query::{Patience, Query};
use crate::error::{Error, ExitStatus, Explain};
use crate::etcd::client::Access;
use crate::etcd::config::client_url;
use crate::etcd::etcdctl::{Setup, device_lost, variables};
use crate::host::{Observation, Stream};
use crate::inventory::{Host, quoted};
use crate::report::{Output, Taming, one_line};
use crate::ssh::{Said, quote};
use crate::tasks::{Fleet, TaskError};
use bytes::Bytes;
use clap::Args;
use futures::stream::{FuturesOrdered, StreamExt as _};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use zeroize::Zeroizing;

/// How long a host may take to be connected to before another one is taken.
const CONNECT: Duration = Duration::from_secs(3);
/// How long everything before etcdctl may take.
const OPENING: Duration = Duration::from_secs(60);
/// What the script says once only etcdctl is left to be run.
const READY: &str = "ready";
/// The longest that anything before that may be.
const LONGEST: usize = 64 << 10;

/// `etcd-ha ctl`
#[derive(Debug, Args)]
#[command(after_help = "It runs as root on the host, with the version of etcd that is in force there, and as etcd's \
user root. stdin, stdout, stderr and exit code are etcdctl's; Ctrl-C ends it on the host, too.
Flags of etcdctl go before what is set here: --endpoints, --cacert, --cert and --key.
Paths are the host's, also that of `snapshot save`; `etcd-ha proxy` and an etcdctl of your own write here.
In a loop that reads stdin give it `</dev/null`, or it takes the rest of the loop's input.

Examples:
  etcd-ha ctl -i prod.yaml -- endpoint status -w table
  etcd-ha ctl -i prod.yaml -- put config <config.json
  etcd-ha ctl -i prod.yaml --on node02 -- member list")]
pub(super) struct Ctl {
    #[command(flatten)]
    query: Query,
    /// Run it on this host, even if its member is down; else on the first host whose member runs.
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    /// What etcdctl is given; nothing: it shows its help.
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

impl Ctl {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.query.target.load()?;
        check_hosts(&inventory, self.on.as_slice())?;
        if let Some(path) = device_lost(&self.arguments) {
            return Err(CtlError::DeviceLost { path: path.to_owned() }.into());
        }
        let patience = Patience { call: CONNECT, connect: Some(CONNECT), direct: false };
        let Self { query, on, arguments } = self;
        let mut screen = Screen::new(&context);
        let ended = query.ask(&context, inventory, patience, |fleet, mut stop| async move {
            tokio::select! {
                ended = run_on_a_host(&fleet, on.as_deref(), &arguments, &mut screen) => ended,
                () = stopped(&mut stop) => Ok(ExitStatus::Interrupted),
            }
        })?;
        ended.unwrap_or_else(Ok)
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn run_on_a_host(
    fleet: &Fleet,
    on: Option<&str>,
    arguments: &[String],
    screen: &mut Screen,
) -> Result<ExitStatus, Error> {
    let access = fleet.standing_access().await?;
    let (host, etcdctl) = choose(fleet, on).await?;
    let setup = Setup {
        endpoints: fleet.inventory.hosts.iter().map(client_url).collect(),
        own: client_url(host),
        ca: "/proc/self/fd/3".to_owned(),
        certificate: "/proc/self/fd/4".to_owned(),
        key: "/proc/self/fd/5".to_owned(),
    };
    let script = script(&etcdctl, arguments, &variables(arguments, &setup), &access);
    let connection = fleet.connection(host).await?;
    let mut stream = connection.stream("etcdctl", &script).await.map_err(TaskError::from)?;
    let Some(input) = stream.input() else {
        return Err(CtlError::NoInput { host: host.name.clone() }.into());
    };
    // Apart, so that neither way waits for the other; ended with this.
    let mut feeding = JoinSet::new();
    feeding.spawn(feed(input, access));
    let unheard = || CtlError::NotBegun { host: host.name.clone(), said: "it said nothing in time".to_owned() };
    let first = tokio::time::timeout(OPENING, begun(&mut stream, host)).await.map_err(|_| unheard())??;
    if !screen.pass(Said::Out(first.into())).await? {
        return Ok(ExitStatus::Done);
    }
    while let Some(said) = stream.next().await.map_err(TaskError::from)? {
        // Nobody reads any more, as in `| head -1`; etcdctl is ended.
        if !screen.pass(said).await? {
            return Ok(ExitStatus::Done);
        }
    }
    match stream.status() {
        Some(0) => Ok(ExitStatus::Done),
        Some(code) => Ok(ExitStatus::Command(u8::try_from(code).unwrap_or(u8::MAX))),
        None => Err(CtlError::NoStatus { host: host.name.clone() }.into()),
    }
}

/// The host to run it on, and its etcdctl.
async fn choose<'a>(fleet: &'a Fleet, on: Option<&str>) -> Result<(&'a Host, String), CtlError> {
    let asked = fleet.inventory.hosts.iter().filter(|host| on.is_none_or(|name| host.name == name));
    let looks = asked.map(|host| async move { (host, fleet.seen(host).await) });
    let mut looks: FuturesOrdered<_> = looks.collect();
    let mut problems = Vec::new();
    while let Some((host, seen)) = looks.next().await {
        let fit = seen.map_err(|error| (crate::error::line(&error), error.hint())).and_then(|seen| {
            let etcdctl = fitness(host, &seen, on.is_some());
            etcdctl.map_err(|why| (format!("host `{}`: {why}", host.name), Some(why.hint().to_owned())))
        });
        match fit {
            Ok(etcdctl) => return Ok((host, etcdctl)),
            Err(problem) => problems.push(problem),
        }
    }
    Err(CtlError::Nowhere(problems))
}

/// Why a host is not the one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    #[error("no release of etcd is in force there")]
    NoRelease,
    #[error("its member does not run: {0}")]
    Down(String),
}

impl Unfit {
    fn hint(&self) -> &'static str {
        match self {
            Self::NoRelease => "`etcd-ha deploy` brings one",
            Self::Down(_) => {
                "`etcd-ha start` starts members; `--on HOST` runs etcdctl on a host whose member does not run"
            }
        }
    }
}

/// The etcdctl of the release that is in force on a host, if it is fit to be run there.
fn fitness(host: &Host, seen: &Observation, down_too: bool) -> Result<String, Unfit> {
    let releases = format!("{}/releases/", host.paths.install);
    let link = seen.link(&format!("{}/etcdctl", host.paths.bin)).filter(|target| target.starts_with(&releases));
    let etcdctl = link.ok_or(Unfit::NoRelease)?.to_owned();
    if !down_too && !seen.unit.runs() {
        return Err(Unfit::Down(one_line(&seen.unit.describe())));
    }
    Ok(etcdctl)
}

/// The certificates come first on stdin, and are nowhere but in files without a name, in memory: whatever ends this,
/// nothing is left. etcdctl opens them anew for every handshake, so that pipes would not do.
fn script(etcdctl: &str, arguments: &[String], variables: &[(&str, String)], access: &Access) -> String {
    let mut text = format!(
        "umask 077
folder=
for place in /dev/shm /run; do
  if [ \"$(stat -f -c %T \"$place\" 2>/dev/null)\" = tmpfs ]; then
    folder=$(mktemp -d \"$place/etcd-ha.XXXXXXXXXX\") && break
  fi
done
if [ -z \"$folder\" ]; then echo 'neither in /dev/shm nor in /run can a file be kept in memory' >&2; exit 1; fi
trap 'rm -rf \"$folder\"' EXIT
exec 3<>\"$folder/ca\" 4<>\"$folder/certificate\" 5<>\"$folder/key\"
rm -rf \"$folder\"
trap - EXIT
umask 022
head -c {} >&3
head -c {} >&4
head -c {} >&5
if [ ! -x {etcdctl} ]; then echo {etcdctl}' is not there' >&2; exit 1; fi
unset ETCDCTL_ENDPOINTS ETCDCTL_CACERT ETCDCTL_CERT ETCDCTL_KEY
",
        access.ca.len(),
        access.certificate.len(),
        access.key.len(),
        etcdctl = quote(etcdctl),
    );
    for (name, value) in variables {
        let _ = writeln!(text, "export {name}={}", quote(value));
    }
    let words: Vec<String> = std::iter::once(etcdctl).chain(arguments.iter().map(String::as_str)).map(quote).collect();
    // Some shells keep what `exec` has opened to themselves.
    let _ = write!(text, "echo {READY}\nexec {} 3<&3 4<&4 5<&5", words.join(" "));
    text
}

/// Sends the certificates and then all of our stdin.
async fn feed(mut input: impl AsyncWrite + Unpin, access: Access) {
    let head = Zeroizing::new([access.ca.as_bytes(), access.certificate.as_bytes(), access.key.as_bytes()].concat());
    // A program that takes no more input says why by its output, or ends.
    if input.write_all(&head).await.is_ok() && input.flush().await.is_ok() {
        let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut input).await;
    }
    let _ = input.shutdown().await;
}

/// Waits until only etcdctl is left to be run, and gives what it has said by then.
async fn begun(stream: &mut Stream, host: &Host) -> Result<Vec<u8>, Error> {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    while let Some(said) = stream.next().await.map_err(TaskError::from)? {
        match said {
            Said::Out(bytes) => out.extend_from_slice(&bytes),
            Said::Err(bytes) => errors.extend_from_slice(&bytes),
        }
        if let Some(end) = out.iter().position(|byte| *byte == b'\n') {
            if &out[..end] == READY.as_bytes() {
                return Ok(out.split_off(end + 1));
            }
            break;
        }
        if out.len() + errors.len() > LONGEST {
            break;
        }
    }
    let said = one_line(&String::from_utf8_lossy(&[errors, out].concat()));
    Err(CtlError::NotBegun { host: host.name.clone(), said }.into())
}

/// Where it is passed on to: a terminal gets nothing that it would obey, anything else the bytes as they are.
struct Screen {
    output: Output,
    stdout: Option<Taming>,
    stderr: Option<Taming>,
}

impl Screen {
    fn new(context: &Context) -> Self {
        let taming = |terminal: bool| terminal.then(Taming::default);
        let (stdout, stderr) = (taming(context.around.stdout_tty), taming(context.around.stderr_tty));
        Self { output: context.output.clone(), stdout, stderr }
    }

    /// Passes on what was said; whether anybody takes it. A pipe that is full must not hold up Ctrl-C.
    async fn pass(&mut self, said: Said) -> Result<bool, Error> {
        let tame = |taming: &mut Option<Taming>, bytes: Bytes| match taming {
            Some(taming) => taming.take(&bytes).into(),
            None => bytes,
        };
        let said = match said {
            Said::Out(bytes) => Said::Out(tame(&mut self.stdout, bytes)),
            Said::Err(bytes) => Said::Err(tame(&mut self.stderr, bytes)),
        };
        let output = self.output.clone();
        let passed = spawn_blocking(move || match said {
            Said::Out(bytes) => output.pass(&bytes),
            Said::Err(bytes) => {
                output.err_bytes(&bytes);
                Ok(true)
            }
        });
        Ok(passed.await.map_err(|_| TaskError::Interrupted)??)
    }
}

/// Why etcdctl was not run to its end.
#[derive(Debug, thiserror::Error)]
enum CtlError {
    #[error("etcdctl would put its snapshot in the place of the host's {}", quoted(.path))]
    DeviceLost { path: String },
    #[error("there is no host to run etcdctl on{}", .0.iter().map(|(problem, _)| format!("\n    {problem}")).collect::<String>())]
    Nowhere(Vec<(String, Option<String>)>),
    #[error("host `{host}` lets nobody become root but on a terminal, and etcdctl's input does not go through one")]
    NoInput { host: String },
    #[error("host `{host}`: etcdctl could not be started: {said}")]
    NotBegun { host: String, said: String },
    #[error("host `{host}` did not say how etcdctl ended")]
    NoStatus { host: String },
}

impl Explain for CtlError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::DeviceLost { .. } => Some(
                "give it a path for a file on the host; `etcd-ha proxy` and an etcdctl of your own save one here".to_owned(),
            ),
            Self::Nowhere(problems) => problems.iter().find_map(|(_, hint)| hint.clone()),
            Self::NoInput { .. } => Some(
                "let sudo do without a terminal (`Defaults !requiretty`), or run an etcdctl of your own by `etcd-ha proxy`"
                    .to_owned(),
            ),
            Self::NotBegun { .. } => {
                Some("`etcd-ha plan` says what the host lacks; `--on HOST` takes another host".to_owned())
            }
            Self::NoStatus { .. } => None,
        }
    }

    fn exit(&self) -> ExitStatus {
        if matches!(self, Self::DeviceLost { .. }) { ExitStatus::Usage } else { ExitStatus::Failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::inventory;
    use crate::host::{FileKind, FileState, UnitState};

    #[test]
    fn which_etcdctl_on_which_host() {
        let host = &inventory("cluster: x\nhosts:\n  - { name: node01, address: 192.0.2.1 }\n").hosts[0];
        let seen = |link: Option<&str>, pid: u32| {
            let state = |target: &str| FileState {
                kind: FileKind::Link { target: target.to_owned() },
                mode: 0o777,
                owner: "root:root".to_owned(),
            };
            Observation {
                unit: UnitState {
                    active: "inactive".into(),
                    sub: "dead".into(),
                    main_pid: pid,
                    ..UnitState::default()
                },
                files: link.iter().map(|target| ("/usr/local/bin/etcdctl".to_owned(), state(target))).collect(),
                ..Observation::default()
            }
        };
        let ours = "/opt/etcd/releases/3.5.16/etcdctl";
        let down = || Err(Unfit::Down("inactive (dead)".to_owned()));
        for (link, pid, down_too, want) in [
            (Some(ours), 7, false, Ok(ours.to_owned())),
            (Some(ours), 7, true, Ok(ours.to_owned())),
            (Some(ours), 0, true, Ok(ours.to_owned())),
            (Some(ours), 0, false, down()),
            (Some("/usr/bin/etcdctl"), 7, false, Err(Unfit::NoRelease)),
            (None, 7, true, Err(Unfit::NoRelease)),
            (None, 0, false, Err(Unfit::NoRelease)),
        ] {
            assert_eq!(fitness(host, &seen(link, pid), down_too), want, "{link:?} {pid} {down_too}");
        }
    }

    #[test]
    fn no_secret_is_in_the_script_and_every_word_is_quoted() {
        let access = Access {
            ca: "CA\n".to_owned(),
            certificate: "CERT\n".to_owned(),
            key: Zeroizing::new("SECRETKEY\n".to_owned()),
        };
        let arguments = ["put", "a b", "$(reboot)'", "--x"].map(str::to_owned);
        let text = script("/opt/etcd/releases/3.5.16/etcdctl", &arguments, &[("ETCDCTL_API", "3".into())], &access);
        assert!(!text.contains("SECRETKEY") && !text.contains("CERT\n"), "{text}");
        for words in ["head -c 3 >&3\nhead -c 5 >&4\nhead -c 10 >&5\n", "export ETCDCTL_API=3\n"] {
            assert!(text.contains(words), "{words:?} in {text}");
        }
        let last = text.lines().last().unwrap();
        assert_eq!(
            last,
            format!(
                "exec /opt/etcd/releases/3.5.16/etcdctl put {} {} --x 3<&3 4<&4 5<&5",
                quote("a b"),
                quote("$(reboot)'")
            )
        );
    }
}
