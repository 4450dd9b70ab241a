//! What the user sees: the engine emits [`Event`]s, and sinks turn them into bars, lines or JSON.

mod event;

pub use event::{Event, HostRecap, Outcome};
