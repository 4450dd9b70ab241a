//! What a playbook is run against: hosts that can be looked at and changed, members that can be asked.
//!
//! The engine knows nothing else of the world, so that the same engine, with the tasks' own checks, runs
//! against real hosts ([`Fleet`]) and against a simulated cluster whose faults are chosen.

use crate::etcd::health::ClusterHealth;
use crate::host::Observation;
use crate::inventory::{Host, Inventory};
use crate::report::Reporter;
use crate::tasks::{
    ControllerTaskKind, Fleet, Hands, HostTaskKind, Needs, Overview, Remains, TaskError, View, Wanted, Why, probe,
    take_back,
};
use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Hosts and members, as the engine sees and changes them.
///
/// What is fetched may be kept until [`World::forget`], so that a run with nothing to do looks once.
pub trait World {
    /// The inventory.
    fn inventory(&self) -> &Inventory;

    /// Where it is told what happens.
    fn reporter(&self) -> &Reporter;

    /// How long a member may take to become healthy.
    fn health_timeout(&self) -> Duration;

    /// Looks at everything at once, ahead of need; what fails is told when it is needed.
    fn look_around(&self) -> impl Future<Output = ()>;

    /// A host as it was observed last.
    fn seen(&self, host: &Host) -> impl Future<Output = Result<Arc<Observation>, TaskError>>;

    /// What is known of all hosts, as far as `needs` asks for it; members' words not older than `since`.
    fn overview(&self, needs: &Needs, since: Option<Instant>) -> impl Future<Output = Result<Overview<'_>, TaskError>>;

    /// What a host should have.
    fn wanted(&self, host: &Host) -> impl Future<Output = Result<Arc<Wanted>, TaskError>>;

    /// What every member says; not older than `since`.
    fn cluster(&self, since: Option<Instant>) -> impl Future<Output = Result<Arc<ClusterHealth>, TaskError>>;

    /// Why the member on a host does not do well, as far as journals tell.
    fn why(&self, _host: &Host) -> impl Future<Output = Option<Why>> {
        std::future::ready(None)
    }

    /// The exit status of a script that changes nothing.
    fn probe(&self, host: &Host, script: &str) -> impl Future<Output = Result<i64, TaskError>>;

    /// What of a member lies on a host.
    fn remains(&self, host: &Host) -> impl Future<Output = Result<Remains, TaskError>>;

    /// Forgets what is known of a host, since it was changed.
    fn forget(&self, host: &Host) -> impl Future<Output = ()>;

    /// Forgets only what the host looks like.
    fn look_again(&self, host: &Host) -> impl Future<Output = ()>;

    /// Does what a task's check decided; says whether the host has to be looked at before anything else
    /// is done anywhere.
    fn apply(&self, task: &HostTaskKind, view: &View<'_>) -> impl Future<Output = Result<bool, TaskError>>;

    /// Does what the check of a task on the controller decided.
    fn apply_on_controller(
        &self,
        task: &ControllerTaskKind,
        overview: &Overview<'_>,
    ) -> impl Future<Output = Result<(), TaskError>>;

    /// Has a host take its last change back: binary, configuration, unit and certificates that were in
    /// force before are in force again, and the member is started with them.
    fn take_back(&self, host: &Host) -> impl Future<Output = Result<(), TaskError>>;
}

impl World for Fleet {
    fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    fn health_timeout(&self) -> Duration {
        self.options.health_timeout
    }

    async fn look_around(&self) {
        Self::look_around(self).await;
    }

    async fn seen(&self, host: &Host) -> Result<Arc<Observation>, TaskError> {
        Self::seen(self, host).await
    }

    async fn overview(&self, needs: &Needs, since: Option<Instant>) -> Result<Overview<'_>, TaskError> {
        Self::overview(self, needs, since).await
    }

    async fn wanted(&self, host: &Host) -> Result<Arc<Wanted>, TaskError> {
        Self::wanted(self, host).await.map(Arc::new)
    }

    async fn cluster(&self, since: Option<Instant>) -> Result<Arc<ClusterHealth>, TaskError> {
        Self::cluster(self, since).await
    }

    async fn why(&self, host: &Host) -> Option<Why> {
        Self::why(self, host).await
    }

    async fn probe(&self, host: &Host, script: &str) -> Result<i64, TaskError> {
        probe(&self.connection(host).await?, script).await
    }

    async fn remains(&self, host: &Host) -> Result<Remains, TaskError> {
        Self::remains(self, host).await
    }

    async fn forget(&self, host: &Host) {
        Self::forget(self, host).await;
    }

    async fn look_again(&self, host: &Host) {
        Self::look_again(self, host).await;
    }

    async fn apply(&self, task: &HostTaskKind, view: &View<'_>) -> Result<bool, TaskError> {
        let connection = self.connection(view.host).await?;
        self.note_begin(view.host, &connection).await?;
        let hands = Hands {
            connection: &connection,
            host: view.host,
            task: task.name(),
            reporter: &self.reporter,
            fleet: self,
            look_now: Cell::new(false),
        };
        task.apply(view, &hands).await?;
        Ok(hands.look_now.get())
    }

    async fn apply_on_controller(&self, task: &ControllerTaskKind, overview: &Overview<'_>) -> Result<(), TaskError> {
        task.apply(overview, self).await
    }

    async fn take_back(&self, host: &Host) -> Result<(), TaskError> {
        let connection = self.connection(host).await?;
        self.note_begin(host, &connection).await?;
        take_back(&connection, &host.paths.config).await
    }
}
