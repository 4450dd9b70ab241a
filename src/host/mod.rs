//! One Linux host: privilege, scripts, and what was observed on it.
//!
//! Nothing is installed on a host: all that is asked of it is a POSIX shell, coreutils, tar, gzip
//! and systemd. A step is one script and one round trip.

mod close_up;
mod connection;
mod error;
mod framing;
mod held;
mod observation;
mod observe;
mod privilege;
mod process;
mod unit;

pub use close_up::{CloseUp, Entry, Holder, close_up};
pub use connection::{Connection, Script};
pub use error::HostError;
pub use held::Held;
pub use observation::{DataDir, FileKind, FileState, Observation, Process, Release, Space};
pub use observe::{Places, observe};
pub use privilege::{Password, Refusal};
pub use process::{listening, start_and_wait};
pub use unit::UnitState;
