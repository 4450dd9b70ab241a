//! `etcd-ha` stands up, changes and rescues etcd clusters on plain Linux machines over SSH.
//!
//! The flow of every run:
//!
//! ```text
//! inventory ──┐                      (what the user wants; immutable)
//! playbook  ──┼──▶ plan ──▶ engine ──▶ tasks ──┬──▶ host ──▶ ssh      (one Linux machine)
//! pki, release┘     (pure)   (only place with  └──▶ etcd ──▶ ssh      (the cluster, through SSH tunnels)
//!                             concurrency)
//!                      └──────── events ──▶ report (terminal bars | plain lines | JSON lines | run log)
//! ```
//!
//! A run looks at the hosts as they are, decides, and acts; the controller keeps no state but the
//! inventory and the PKI. Which room may use which is held by a test (`tests/it/layers.rs`).

pub mod cli;
pub mod diagnosis;
pub mod error;
pub mod etcd;
pub mod files;
pub mod host;
pub mod inventory;
pub mod pki;
pub mod plan;
pub mod playbook;
pub mod release;
pub mod report;
pub mod ssh;
pub mod tasks;
pub mod timing;
mod yaml;
