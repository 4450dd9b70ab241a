//! One Linux host: privilege, scripts, and what was observed on it.
//!
//! Nothing is installed on a host: all that is asked of it is a POSIX shell, coreutils,
//! util-linux, tar, gzip and systemd. A step is one script and one round trip.

mod close_up;
mod connection;
mod disk;
mod error;
mod framing;
mod held;
mod journal;
mod lock;
mod observation;
mod observe;
mod origin;
mod privilege;
mod process;
mod resources;
mod stream;
mod unit;

pub use close_up::{CloseUp, Holder, JournalLine, close_up};
pub use connection::{Connection, Script};
pub use disk::sync_times;
pub use error::HostError;
pub use held::Held;
pub use journal::{Begin, Entry, Journal, PATIENCE, Part};
pub use lock::{APART, Holder as LockHolder, HostLock, RunName};
pub use observation::{DataDir, FileKind, FileState, Observation, Process, Release, Space};
pub use observe::{DOOMED, Places, observe};
pub use origin::ORIGIN;
pub use privilege::{Password, Refusal};
pub use process::{listening, start_and_wait};
pub use resources::{Mount, Resources};
pub use stream::Stream;
pub use unit::UnitState;
