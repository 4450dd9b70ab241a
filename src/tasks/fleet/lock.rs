//! The lock that a run holds on every host that it reaches, so that no two work on one cluster at once.

use super::{Fleet, HostState};
use crate::host::{Connection, HostError, HostLock, LockHolder, RunName};
use crate::inventory::{Host, Inventory};
use crate::tasks::TaskError;
use futures::future::join_all;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A lock on a host, and what it lives on.
pub(super) struct Lock {
    held: HostLock,
    /// A connection of its own, to a host that allows but one session on each.
    own: Option<Connection>,
}

impl Lock {
    async fn release(self) {
        self.held.release().await;
        if let Some(connection) = self.own {
            connection.close().await;
        }
    }
}

/// The hosts in the order in which all runs lock them, whatever their inventories say first.
fn in_order(inventory: &Inventory) -> Vec<&Host> {
    let mut hosts: Vec<&Host> = inventory.hosts.iter().collect();
    hosts.sort_by(|a, b| (&a.address, a.peer_port, &a.name).cmp(&(&b.address, b.peer_port, &b.name)));
    hosts
}

impl Fleet {
    /// Takes the lock of every host that can be reached: of the first by address before any other, so that one of
    /// several runs gets it whole. A host that is reached later is locked then.
    ///
    /// # Errors
    /// Another run holds one of them, or a host that is reached cannot be locked. None is held then.
    pub async fn lock(&self) -> Result<(), Arc<HostError>> {
        let Some(run) = &self.options.run else { return Ok(()) };
        let hosts = in_order(&self.inventory);
        // A host that cannot be reached fails where it is needed.
        let connections = join_all(hosts.iter().map(|host| self.connection(host))).await;
        self.locking.store(true, Ordering::SeqCst);
        let reached = hosts.into_iter().zip(connections);
        let mut reached = reached.filter_map(|(host, connection)| Some((host, connection.ok()?)));
        let mut taken = Ok(());
        for (host, connection) in reached.by_ref() {
            match self.lock_host(host, &connection, run).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    taken = Err(error);
                    break;
                }
            }
        }
        if taken.is_ok() {
            let others = reached.map(|(host, connection)| async move { self.lock_host(host, &connection, run).await });
            let failures = join_all(others).await.into_iter().filter_map(Result::err);
            // Whom to wait for is more than that something is missing.
            let rank = |error: &Arc<HostError>| !matches!(**error, HostError::Locked { .. });
            taken = failures.min_by_key(rank).map_or(Ok(()), Err);
        }
        if taken.is_err() {
            self.locking.store(false, Ordering::SeqCst);
            self.unlock().await;
        }
        taken
    }

    /// Locks a host that was reached before; false if nothing can be done on it at all, which is told where it is
    /// needed.
    async fn lock_host(&self, host: &Host, connection: &Connection, run: &RunName) -> Result<bool, Arc<HostError>> {
        let Some(state) = self.state(host) else { return Ok(false) };
        match self.hold_lock(state, host, connection, run).await.map_err(Arc::new) {
            Ok(()) => Ok(true),
            Err(error) if error.is_of_access() => {
                *state.connection.lock().await = Some(Err(error));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the lock of a host and keeps it.
    async fn hold_lock(
        &self,
        state: &HostState,
        host: &Host,
        connection: &Connection,
        run: &RunName,
    ) -> Result<(), HostError> {
        let locked = |holder| HostError::Locked { host: host.name.clone(), holder: Box::new(holder) };
        let again = state.locked.load(Ordering::SeqCst);
        let held = connection.lock(run, again).await?.map_err(locked)?;
        state.locked.store(true, Ordering::SeqCst);
        let lock = if connection.has_room().await? {
            Lock { held, own: None }
        } else {
            held.release().await;
            let own = Connection::open(&self.connector, host, self.options.become_password.clone()).await?;
            Lock { held: own.lock(run, true).await?.map_err(locked)?, own: Some(own) }
        };
        *state.lock.lock().await = Some(lock);
        Ok(())
    }

    /// Locks a host that a run which has its locks reaches only now, or anew.
    pub(super) async fn lock_late(&self, host: &Host, connection: &Connection) -> Result<(), HostError> {
        match (&self.options.run, self.state(host)) {
            (Some(run), Some(state)) if self.locking.load(Ordering::SeqCst) => {
                self.hold_lock(state, host, connection, run).await
            }
            _ => Ok(()),
        }
    }

    /// Lets go of all locks.
    pub(super) async fn unlock(&self) {
        let releasing = self.hosts.iter().map(|state| async {
            let lock = state.lock.lock().await.take();
            if let Some(lock) = lock {
                lock.release().await;
            }
        });
        join_all(releasing).await;
    }

    /// Who holds the lock of a host, if anybody does.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub async fn lock_holder(&self, host: &Host) -> Result<Option<LockHolder>, TaskError> {
        Ok(self.connection(host).await?.lock_holder().await?)
    }

    /// Takes the lock of a host away from a run; false if that one has it no longer.
    ///
    /// # Errors
    /// It still has it, or the host cannot be reached.
    pub async fn break_lock(&self, host: &Host, run: &RunName) -> Result<bool, TaskError> {
        Ok(self.connection(host).await?.break_lock(run).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::inventory;

    #[test]
    fn all_inventories_of_a_cluster_have_one_order() {
        let text = |hosts: &[(&str, &str)]| {
            let host = |(name, address): &(&str, &str)| format!("  - {{ name: {name}, address: {address} }}\n");
            let hosts: String = hosts.iter().map(host).collect();
            inventory(&format!("cluster: prod\netcd: {{ version: 3.5.16 }}\nhosts:\n{hosts}"))
        };
        let one = text(&[("a", "10.0.0.3"), ("b", "10.0.0.1"), ("c", "10.0.0.2")]);
        let other = text(&[("x", "10.0.0.1"), ("y", "10.0.0.2"), ("z", "10.0.0.3")]);
        let addresses =
            |inventory| in_order(inventory).into_iter().map(|host| host.address.clone()).collect::<Vec<_>>();
        assert_eq!(addresses(&one), addresses(&other));
        assert_eq!(addresses(&one), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }
}
