//! Keys and passwords that are in memory stay out of core files.

use rlimit::Resource;

/// Has the system write no core file of this process, should it crash. What it runs may ask for one again.
pub(super) fn leave_out() {
    // Where the limit cannot be read or lowered, a crash is as it would have been.
    if let Ok((_, hard)) = Resource::CORE.get() {
        let _ = Resource::CORE.set(0, hard);
    }
}
