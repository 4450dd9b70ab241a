//! The fault catalogue, walked on real hosts: each case sets a fault, runs a command, and looks at what was said and
//! what was touched. `docs/faults.md` is the table of what came of it.

mod data;
mod results;
mod table;
mod walk;

use data::Scene;
pub use results::publish;

pub fn what_is_found_before_there_is_a_cluster() {
    walk::walk(Scene::Fresh);
}

pub fn what_befalls_a_cluster() {
    walk::walk(Scene::Cluster);
}
