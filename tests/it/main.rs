//! Hermetic tests: no lab, no root, loopback only. One file a subject.

mod cli;
mod faults;
mod fuzz;
mod hostile;
mod inventory;
mod layers;
mod many_hosts;
mod pki;
mod playbook;
mod proxy;
mod release;
mod report;
mod secrets;
mod served;
mod ssh;
