//! Shows that the simulation bites: the product broken on purpose, in one place each, and the invariant that
//! has to tell.

use crate::draw::{Book, book};
use crate::history::Player;
use crate::raft::membership_in;
use crate::search;
use crate::world::Decided;
use etcd_ha::etcd::bootstrap::{Found, membership};
use etcd_ha::etcd::config::Membership;
use etcd_ha::etcd::gate::{Gate, MAX_LAG, Margin, Scene, gate};
use etcd_ha::etcd::health::quorum;
use etcd_ha::playbook::{Playbook, Tasks};
use std::sync::OnceLock;

/// How many histories a broken product may survive.
const BITES_WITHIN: u64 = 3000;

/// A product that is broken.
struct Mutant {
    what: &'static str,
    breaks: fn(&mut Player),
    /// The invariant that it offends against.
    invariant: u8,
}

const MUTANTS: [Mutant; 7] = [
    Mutant { what: "a gate that is always open", breaks: |player| player.gate = open, invariant: 1 },
    Mutant { what: "a gate that does not wait", breaks: |player| player.gate = impatient, invariant: 2 },
    Mutant { what: "a gate that only counts", breaks: |player| player.gate = counting, invariant: 2 },
    Mutant { what: "a bootstrap over what was there", breaks: |player| player.decide = careless, invariant: 3 },
    Mutant { what: "a gate that gives no reason", breaks: |player| player.gate = silent, invariant: 4 },
    Mutant { what: "a deploy that does not wait", breaks: |player| player.books = hasty, invariant: 4 },
    Mutant { what: "a gate that is always shut", breaks: |player| player.gate = shut, invariant: 5 },
];

#[test]
fn every_broken_product_is_caught_by_its_invariant() {
    for Mutant { what, breaks, invariant } in MUTANTS {
        let broken = search(1, BITES_WITHIN, || {
            let mut player = Player::new();
            breaks(&mut player);
            player
        });
        let (seed, broken) = broken.unwrap_or_else(|| panic!("{what}: no history of thousands showed it"));
        eprintln!("{what}: seed {seed} breaks invariant {}: {}", broken.invariant, broken.what);
        assert_eq!(broken.invariant, invariant, "{what}, seed {seed}: {}", broken.what);
    }
}

fn go(scene: &Scene<'_>) -> Gate {
    Gate::Go(Margin { voters: scene.health.voters(), healthy: scene.health.healthy() })
}

fn open(scene: &Scene<'_>, _host: &str) -> Gate {
    go(scene)
}

fn impatient(scene: &Scene<'_>, host: &str) -> Gate {
    match gate(scene, host) {
        Gate::Wait(_) => go(scene),
        answer => answer,
    }
}

/// Is content if the others have a quorum, whoever of them is still on the way up.
fn counting(scene: &Scene<'_>, host: &str) -> Gate {
    let front = scene.health.front();
    let others = scene.health.members.iter().filter(|other| other.look.host != host && other.ailment.is_none());
    let reports = others.filter_map(|other| other.look.report.as_ref().ok());
    let well = reports.filter(|report| front - report.status.applied_index.min(front) <= MAX_LAG).count();
    if well >= quorum(scene.health.voters()) { go(scene) } else { gate(scene, host) }
}

fn silent(scene: &Scene<'_>, host: &str) -> Gate {
    match gate(scene, host) {
        Gate::Refuse(_) => Gate::Refuse(String::new()),
        answer => answer,
    }
}

fn shut(_scene: &Scene<'_>, _host: &str) -> Gate {
    Gate::Refuse("it is always shut".to_owned())
}

/// Overlooks data that is not of the cluster that stands in the file beside it.
fn careless(found: &[Found], fresh: Membership) -> Decided {
    let ours = |host: &Found| {
        let recorded = host.environment.as_deref().map(|text| membership_in(text).cluster_id());
        recorded == host.wal.map(|wal| wal.cluster)
    };
    let mut found = found.to_vec();
    for host in found.iter_mut().filter(|host| !ours(host)) {
        (host.data, host.wal) = (false, None);
    }
    membership(&found, fresh)
}

/// Waits for no member.
fn hasty(which: Book) -> &'static Playbook {
    static DEPLOY: OnceLock<Playbook> = OnceLock::new();
    let real = book(which);
    if which != Book::Deploy {
        return real;
    }
    DEPLOY.get_or_init(|| {
        let mut hasty = real.clone();
        for play in &mut hasty.plays {
            match &mut play.tasks {
                Tasks::Hosts { tasks, .. } => tasks.retain(|task| task.task.name() != "wait_healthy"),
                Tasks::Controller(tasks) => tasks.retain(|task| task.task.name() != "health"),
            }
        }
        hasty
    })
}
