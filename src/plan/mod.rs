//! What a playbook does to the hosts: the engine that runs it, and what it would do without touching.
//!
//! The engine is the only place with concurrency, waits and cancellation; order and gates are pure.

mod engine;
mod failure;
mod pending;
mod record;
mod rolling;
mod step;
#[cfg(test)]
mod tests;
mod turn;
mod wait;
mod world;

pub use engine::{Ask, Between, Engine, Run, Turns};
pub use failure::{Failure, PlanError};
pub use pending::{Pending, Plan, Rolling};
pub use world::World;
