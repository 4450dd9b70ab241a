//! A client that writes while a run goes on, to show what the run costs the cluster's users (`--probe`).
//!
//! It has the connections of a usual client, one to each member, over tunnels of their own; it writes
//! through all members in turn, one write at a time, and tries a write that failed once more through
//! another member. So the longest time between two acknowledgements is what such a client has to wait.

mod tally;

use tally::{Ended, Tally};

use super::Fleet;
use crate::etcd::client::{CallError, LeaseId, MemberClient};
use crate::inventory::Host;
use rand::Rng as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// The prefix of the key that is written; the rest of its name is the run's own.
const PREFIX: &str = "_etcd-ha/probe/";
/// Between the beginnings of two writes.
const PERIOD: Duration = Duration::from_millis(20);
/// How long one try may take, and how long it is waited for a member to try.
const LIMIT: Duration = Duration::from_millis(500);
/// How long a write waits for its second try if a member refused the first: twice what etcd's own client
/// waits. While leadership moves, the old leader refuses (`raft proposal dropped`), and what a follower
/// forwards to it is lost without a word; that takes some milliseconds.
const MOMENT: Duration = Duration::from_millis(50);
/// Between two tries to connect to a member; at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(200));
/// How long the key outlives a controller that was killed, in seconds.
const LEASE: i64 = 60;
/// How often the lease is kept alive, and how soon again if that failed.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(5));

/// The members that can be written to now, in the inventory's order.
type Open = Vec<Option<MemberClient>>;

/// The writer of a run, which goes on by itself.
pub struct Writer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Option<Tally>>,
}

impl Writer {
    /// Starts as soon as there is a cluster that takes a write.
    #[must_use]
    pub fn start(fleet: Arc<Fleet>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(work(fleet, stopped)) }
    }

    /// Stops and leaves no key behind. `None` if no cluster ever took a write.
    pub async fn stop(self) -> Option<Tally> {
        let _ = self.stop.send(());
        // A panic in it would be told on stderr; the run itself is none the worse.
        self.task.await.ok().flatten()
    }
}

async fn work(fleet: Arc<Fleet>, mut stopped: oneshot::Receiver<()>) -> Option<Tally> {
    let members = fleet.inventory.hosts.len();
    let (open, _) = watch::channel(vec![None; members]);
    let mut keepers = JoinSet::new();
    for place in 0..members {
        keepers.spawn(keep_open(fleet.clone(), place, open.clone()));
    }
    let mut client = Client { open, turn: 0, key: format!("{PREFIX}{:016x}", rand::rng().random::<u64>()) };
    let (mut lease, term) = tokio::select! {
        granted = client.first_lease() => granted,
        _ = &mut stopped => return None,
    };
    let mut tally = Tally::new(Instant::now(), term);
    let mut keep_alive = Instant::now() + KEEP_ALIVE.0;
    let mut ticks = interval(PERIOD);
    // A write that took long is followed by the next at once, not by all that were left out.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let step = async {
            ticks.tick().await;
            if Instant::now() >= keep_alive {
                let kept = client.once(None, move |member| async move { member.keep_alive(lease).await }).await;
                keep_alive = Instant::now() + if kept.is_ok() { KEEP_ALIVE.0 } else { KEEP_ALIVE.1 };
            }
            client.write(tally.writes, lease).await
        };
        let (ended, lease_gone) = tokio::select! {
            done = step => done,
            _ = &mut stopped => break,
        };
        tally.note(Instant::now(), ended);
        // After the controller slept for longer than it lasts.
        if lease_gone
            && let Ok((_, granted)) = client.once(None, |member| async move { member.grant(LEASE).await }).await
        {
            lease = granted.0;
        }
    }
    tally.end(Instant::now());
    // If both fail, the lease ends by itself.
    for _ in 0..2 {
        if client.once(None, move |member| async move { member.revoke(lease).await }).await.is_ok() {
            break;
        }
    }
    Some(tally)
}

/// Keeps a connection to one member: connects anew whenever it was given up.
async fn keep_open(fleet: Arc<Fleet>, place: usize, open: watch::Sender<Open>) {
    let Some(host) = fleet.inventory.hosts.get(place) else { return };
    let mut changes = open.subscribe();
    let mut pause = PAUSES.0;
    loop {
        match fleet.fresh_client(host, LIMIT).await {
            Some(client) => {
                open.send_modify(|open| open[place] = Some(client.clone()));
                pause = PAUSES.0;
                tokio::select! {
                    () = client.lost() => open.send_modify(|open| open[place] = None),
                    _ = changes.wait_for(|open| open[place].is_none()) => {}
                }
            }
            None => {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

impl Fleet {
    /// A connection to the host's member that nobody shares, if it can be had now. The way to the host
    /// is taken if it is open, and never opened: that is the run's own affair.
    async fn fresh_client(&self, host: &Host, limit: Duration) -> Option<MemberClient> {
        let pki = self.pki().await.ok()?;
        if !Self::can_ask(&pki) {
            return None;
        }
        let access = self.access().await.ok()?;
        if self.options.direct {
            return MemberClient::direct(host, &access, limit).await.ok();
        }
        let connection = match self.state(host)?.connection.try_lock().ok()?.as_ref()? {
            Ok(connection) if !connection.session().is_closed() => connection.clone(),
            _ => return None,
        };
        MemberClient::through(connection.session(), host, &access, limit).await.ok()
    }
}

/// What writes: one call at a time.
struct Client {
    open: watch::Sender<Open>,
    /// The member whose turn it is.
    turn: usize,
    key: String,
}

impl Client {
    /// The lease of the key; waits for a cluster that grants it.
    async fn first_lease(&mut self) -> (LeaseId, u64) {
        loop {
            match self.once(None, |member| async move { member.grant(LEASE).await }).await {
                Ok((_, granted)) => return granted,
                Err(_) => sleep(PAUSES.1).await,
            }
        }
    }

    /// Writes the key; says how that ended, and whether its lease has gone.
    async fn write(&mut self, number: usize, lease: LeaseId) -> (Ended, bool) {
        let (key, value) = (self.key.clone(), number.to_string());
        let put = |member: MemberClient| {
            let (key, value) = (key.clone(), value.clone());
            async move { member.put(&key, &value, lease).await }
        };
        let (first, error) = match self.once(None, put).await {
            Ok((_, term)) => return (Ended { acknowledged: Some(term), retried: false }, false),
            Err(failed) => failed,
        };
        if error.as_ref().is_some_and(is_an_answer) {
            sleep(MOMENT).await;
        }
        match self.once(first, put).await {
            Ok((_, term)) => (Ended { acknowledged: Some(term), retried: true }, false),
            Err((_, error)) => {
                let gone =
                    matches!(error, Some(CallError::Refused { message, .. }) if message.contains("lease not found"));
                (Ended { acknowledged: None, retried: true }, gone)
            }
        }
    }

    /// Calls the next member in turn, of several another than `not`; gives the member up if that fails.
    /// Tells which member it was, if there was one.
    async fn once<T, F: Future<Output = Result<T, CallError>>>(
        &mut self,
        not: Option<usize>,
        call: impl FnOnce(MemberClient) -> F,
    ) -> Result<(usize, T), (Option<usize>, Option<CallError>)> {
        let mut open = self.open.subscribe();
        let found = async {
            open.wait_for(|open| next(open, self.turn, not).is_some()).await.ok()?;
            Some(())
        };
        // Lost again meanwhile: the same as none found.
        let found = timeout(LIMIT, found).await.ok().flatten().and_then(|()| next(&self.open.borrow(), self.turn, not));
        let Some((place, member)) = found else { return Err((None, None)) };
        self.turn = place + 1;
        match call(member).await {
            Ok(answer) => Ok((place, answer)),
            Err(error) => {
                if !is_an_answer(&error) {
                    self.open.send_modify(|open| open[place] = None);
                }
                Err((Some(place), Some(error)))
            }
        }
    }
}

/// Whether the member itself said no, so that another connection to it would help nobody.
fn is_an_answer(error: &CallError) -> bool {
    let CallError::Refused { message, .. } = error else { return false };
    message.starts_with("etcdserver: ") || message == "raft proposal dropped"
}

/// The first open member from `turn` on, round about; never `not`, unless it is the only member there is.
fn next<T: Clone>(open: &[Option<T>], turn: usize, not: Option<usize>) -> Option<(usize, T)> {
    let all = open.len();
    let places = (turn..turn + all).map(|place| place % all).filter(|place| all == 1 || Some(*place) != not);
    places.into_iter().find_map(|place| Some((place, open[place].clone()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_answers_is_kept() {
        let refused = |message: &str| CallError::Refused { call: "put", message: message.to_owned() };
        for (error, want) in [
            (refused("etcdserver: mvcc: database space exceeded"), true),
            (refused("etcdserver: requested lease not found"), true),
            (refused("raft proposal dropped"), true),
            (CallError::Broken { call: "put", reason: "http2 error".to_owned() }, false),
            (CallError::Timeout { call: "put", limit: LIMIT }, false),
            (CallError::Tcp("refused".to_owned()), false),
        ] {
            assert_eq!(is_an_answer(&error), want, "{error}");
        }
    }

    #[test]
    fn members_take_turns() {
        for (open, turn, not, want) in [
            ("abc", 0, None, Some((0, 'a'))),
            ("abc", 2, None, Some((2, 'c'))),
            ("abc", 3, None, Some((0, 'a'))),
            ("a.c", 1, None, Some((2, 'c'))),
            ("ab.", 2, None, Some((0, 'a'))),
            ("abc", 1, Some(1), Some((2, 'c'))),
            (".b.", 2, Some(1), None),
            ("...", 1, None, None),
            // There is no other.
            ("a", 1, Some(0), Some((0, 'a'))),
            ("", 0, None, None),
        ] {
            let members: Vec<Option<char>> = open.chars().map(|c| (c != '.').then_some(c)).collect();
            assert_eq!(next(&members, turn, not), want, "{open} from {turn}, not {not:?}");
        }
    }
}
