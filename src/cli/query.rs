//! Asking hosts and members without changing anything: what all such subcommands share.

use super::become_password::BecomePassword;
use super::login::{LoginPassword, connector};
use super::operation::CannotStart;
use super::options::{Target, fleet_options};
use super::timings::Timings;
use super::{Context, descriptors, interrupt};
use crate::error::{Error, ExitStatus};
use crate::inventory::Inventory;
use crate::tasks::{Fleet, FleetOptions};
use clap::Args;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Flags of every subcommand that connects and changes nothing.
#[derive(Debug, Args)]
pub(super) struct Query {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    become_password: BecomePassword,
    #[command(flatten)]
    login: LoginPassword,
}

/// How long is waited, and which way members are asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long one call to a member may take.
    pub call: Duration,
    /// How long connecting to a host may take, where the inventory does not say less; `None`: as it says.
    pub connect: Option<Duration>,
    /// Whether members are asked straight from the controller instead of through SSH.
    pub direct: bool,
}

impl Query {
    /// Does `work` with the inventory's hosts, none of which is reached yet; the flag that it is given is set by a
    /// first Ctrl-C. `Err` within is how a run ends that was left at once.
    pub fn ask<T, F>(
        self,
        context: &Context,
        mut inventory: Inventory,
        patience: Patience,
        work: impl FnOnce(Arc<Fleet>, watch::Receiver<bool>) -> F,
    ) -> Result<Result<T, ExitStatus>, Error>
    where
        F: Future<Output = T>,
    {
        if let Some(limit) = patience.connect {
            for host in &mut inventory.hosts {
                host.ssh.connect_timeout = Some(host.ssh.connect_timeout.map_or(limit, |written| written.min(limit)));
            }
        }
        descriptors::make_room(inventory.hosts.len())?;
        let become_password = self.become_password.read(context)?;
        let reporter = context.asking_reporter();
        let timings = Timings::new(context, &reporter);
        let (connector, asker) = connector(context, self.login.read(context)?, &reporter);
        let options = FleetOptions {
            direct: patience.direct,
            call_limit: patience.call,
            health_timeout: patience.call,
            ..fleet_options(connector, become_password)
        };
        let inventory = Arc::new(inventory);
        let fleet = Arc::new(Fleet::new(inventory.clone(), reporter.clone(), options));
        let ended = interrupt::run(None, asker.as_deref(), &timings, |stop| async {
            let answer = work(fleet.clone(), stop).await;
            fleet.close().await;
            answer
        });
        timings.sum_up(&reporter, &inventory);
        reporter.finish();
        Ok(match ended.map_err(CannotStart)? {
            interrupt::Ended::Work(answer) => Ok(answer),
            interrupt::Ended::AtOnce(exit) => Err(exit),
        })
    }
}
