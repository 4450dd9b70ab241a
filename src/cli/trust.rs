//! `etcd-ha trust`: the hosts' keys are fetched, shown and, if they are agreed to, written down.
//!
//! Hosts behind jump hosts come in waves: whoever is to be logged in to on the way must be known first.

mod shown;

use super::login::connector;
use super::operation::{CannotStart, check_hosts};
use super::options::{OutputFormat, Target};
use super::timings::Timings;
use super::{Context, interrupt, pause};
use crate::error::{self, Error, ExitStatus, Explain};
use crate::inventory::Host;
use crate::report::{Reporter, count};
use crate::ssh::{Connector, Hop, Proxy, SshError};
use clap::Args;
use futures::StreamExt as _;
use shown::Seen;
use std::collections::BTreeSet;
use tokio::sync::watch;

/// How many hosts are looked at at once.
const AT_ONCE: usize = 64;

/// `etcd-ha trust`
#[derive(Debug, Args)]
pub(super) struct Trust {
    #[command(flatten)]
    target: Target,
    /// Write new keys down without asking: whoever says so knows the fingerprints, or trusts the network.
    #[arg(long)]
    yes: bool,
    /// These hosts only, and the jump hosts on the way to them.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    limit: Vec<String>,
}

/// There are new keys, and nobody to say whether they are right.
#[derive(Debug, thiserror::Error)]
#[error("nothing was written: {} new, and nobody was asked", are(*.0))]
struct NotAsked(usize);

impl Explain for NotAsked {
    fn hint(&self) -> Option<String> {
        Some(
            "compare the fingerprints with `ssh-keygen -lf` of the keys on the hosts themselves, then say `--yes`, or \
             run it on a terminal"
                .to_owned(),
        )
    }

    fn exit(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

/// A machine whose key is wanted.
struct Machine {
    /// Its name in the inventory or, of a jump host, that by which the way leads there.
    name: String,
    jump: bool,
    /// How many machines have to be known before it can be reached.
    wave: usize,
    hop: Hop,
}

/// What came of all machines.
#[derive(Default)]
struct Tally {
    all: usize,
    good: usize,
    /// New keys about which nobody could be asked.
    not_asked: usize,
    interrupted: bool,
    hints: BTreeSet<String>,
}

impl Trust {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        let inventory = self.target.load()?;
        check_hosts(&inventory, &self.limit)?;
        let wanted = |host: &&Host| self.limit.is_empty() || self.limit.contains(&host.name);
        let hosts: Vec<&Host> = inventory.hosts.iter().filter(wanted).collect();
        // Jump hosts may have to be asked for a password.
        let (connector, asker) = connector(&context, None, &Reporter::new(Vec::new()));
        let ended = {
            let work = |stop| self.waves(&context, &connector, &hosts, stop);
            interrupt::run(None, asker.as_deref(), &Timings::none(), work)
        };
        let tally = match ended.map_err(CannotStart)? {
            interrupt::Ended::Work(tally) => tally?,
            interrupt::Ended::AtOnce(exit) => return Ok(exit),
        };
        for hint in &tally.hints {
            context.output.err(&format!("\nhint: {hint}\n"));
        }
        if tally.interrupted {
            return Ok(ExitStatus::Interrupted);
        }
        if tally.not_asked > 0 {
            return Err(NotAsked(tally.not_asked).into());
        }
        let whole = tally.good == tally.all;
        if context.global.output == OutputFormat::Text {
            let of = if whole { String::new() } else { format!("{} of ", tally.good) };
            context.output.err(&format!("{of}{} known\n", are(tally.all)));
        }
        Ok(if whole { ExitStatus::Done } else { ExitStatus::Failed })
    }

    async fn waves(
        &self,
        context: &Context,
        connector: &Connector,
        hosts: &[&Host],
        mut stop: watch::Receiver<bool>,
    ) -> Result<Tally, Error> {
        let (machines, mut lost) = machines(connector, hosts).await;
        let mut tally = Tally { all: machines.len() + lost.len(), ..Tally::default() };
        let last = machines.iter().map(|machine| machine.wave).max().unwrap_or(0);
        for wave in 0..=last {
            let now: Vec<&Machine> = machines.iter().filter(|machine| machine.wave == wave).collect();
            let looks = now.iter().map(|machine| connector.host_key(&machine.hop));
            let looks = futures::stream::iter(looks).buffered(AT_ONCE).collect::<Vec<_>>();
            let outcomes = tokio::select! {
                outcomes = looks => outcomes,
                _ = stop.wait_for(|stop| *stop) => {
                    tally.interrupted = true;
                    return Ok(tally);
                }
            };
            let seen = now.iter().zip(outcomes).map(|(machine, outcome)| Seen {
                name: machine.name.clone(),
                jump: machine.jump,
                outcome,
                written: false,
            });
            let mut seen: Vec<Seen> = seen.chain(lost.drain(..)).collect();
            self.wave(context, connector, &now, &mut seen, &mut tally, &mut stop).await?;
        }
        Ok(tally)
    }

    /// Shows what was seen, asks, and writes. The machines come first in `seen`.
    async fn wave(
        &self,
        context: &Context,
        connector: &Connector,
        machines: &[&Machine],
        seen: &mut [Seen],
        tally: &mut Tally,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let text = context.global.output == OutputFormat::Text;
        if text {
            context.output.out(&shown::as_table(seen))?;
        }
        let mut told = |seen: &Seen| {
            let Err(error) = &seen.outcome else { return };
            if text {
                context.output.err(&format!("error: host `{}`: {}\n", seen.name, error::line(error)));
                tally.hints.extend(hint(error));
            }
        };
        seen.iter().for_each(&mut told);
        let fresh = seen.iter().filter(|seen| seen.is_new()).count();
        // A list for a program holds no questions.
        let asks = text && pause::is_terminal(context);
        if fresh > 0 && (self.yes || (asks && pause::consent(&context.output, &question(fresh), stop).await)) {
            for (machine, seen) in machines.iter().zip(seen.iter_mut()).filter(|(_, seen)| seen.is_new()) {
                let Ok(found) = &mut seen.outcome else { continue };
                match connector.trust(&machine.hop, found) {
                    Ok(standing) => (found.standing, seen.written) = (standing, true),
                    Err(error) => {
                        seen.outcome = Err(error);
                        told(seen);
                    }
                }
            }
        } else if !asks {
            tally.not_asked += fresh;
        }
        tally.interrupted |= *stop.borrow();
        tally.good += seen.iter().filter(|seen| seen.is_good()).count();
        if !text {
            context.output.out(&seen.iter().map(Seen::as_json).collect::<String>())?;
        }
        Ok(())
    }
}

/// All machines, each once, and the hosts to which no way is known.
async fn machines(connector: &Connector, hosts: &[&Host]) -> (Vec<Machine>, Vec<Seen>) {
    let routes = futures::future::join_all(hosts.iter().map(|host| connector.route(&host.ssh))).await;
    let (mut machines, mut lost): (Vec<Machine>, Vec<Seen>) = (Vec::new(), Vec::new());
    let mut jumps = Vec::new();
    for (host, route) in hosts.iter().zip(routes) {
        match route {
            Ok(route) => {
                let mut wave = 0;
                let mut before = &route.hop.proxy;
                while let Proxy::Jump(jump) = before {
                    jumps.push((**jump).clone());
                    wave += 1;
                    before = &jump.proxy;
                }
                machines.push(Machine { name: host.name.clone(), jump: false, wave, hop: route.hop });
            }
            Err(error) => {
                lost.push(Seen { name: host.name.clone(), jump: false, outcome: Err(error), written: false });
            }
        }
    }
    for hop in jumps {
        // A host of the inventory may be a jump host, too, and many hosts lie behind one.
        let same = |other: &Hop| {
            let keys = (&hop.host_keys, &other.host_keys);
            keys.0.names.first() == keys.1.names.first()
                && keys.0.files == keys.1.files
                && keys.0.pinned == keys.1.pinned
                && hop.proxy == other.proxy
        };
        if !machines.iter().any(|machine| same(&machine.hop)) {
            machines.push(Machine { name: hop.name.clone(), jump: true, wave: depth(&hop), hop });
        }
    }
    (machines, lost)
}

/// How many jump hosts lie before it.
fn depth(hop: &Hop) -> usize {
    match &hop.proxy {
        Proxy::Jump(jump) => 1 + depth(jump),
        Proxy::None | Proxy::Command(_) => 0,
    }
}

/// The next step, unless it is to do what is being done.
fn hint(error: &SshError) -> Option<String> {
    let mut cause = error;
    while let SshError::JumpHost { source, .. } = cause {
        cause = source;
    }
    if matches!(cause, SshError::HostKeyUnknown { .. }) { None } else { error.hint() }
}

fn question(fresh: usize) -> String {
    format!(
        "Compare the fingerprints with `ssh-keygen -lf` of the keys on the hosts themselves.\n\
         Write {} down as known? [y/N] ",
        count(fresh, "new host key")
    )
}

/// `1 host key is`, `3 host keys are`.
fn are(keys: usize) -> String {
    format!("{} {}", count(keys, "host key"), if keys == 1 { "is" } else { "are" })
}
