//! A member that was started and ended: what it said last.

use super::{TaskError, View};
use crate::etcd::config::UNIT;
use crate::etcd::journal::last_words;

/// Fails if etcd was started and ended since.
pub(crate) fn crashed(view: &View<'_>) -> Result<(), TaskError> {
    let unit = &view.seen.unit;
    if !unit.crashed() {
        return Ok(());
    }
    Err(unsteady(view))
}

/// The failure of a member whose process does not stay.
pub(crate) fn unsteady(view: &View<'_>) -> TaskError {
    let state = view.seen.unit.describe();
    TaskError::Crashed { state, said: last_words(view.seen.journal.lines()), unit: UNIT.to_owned() }
}
