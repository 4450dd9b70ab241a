//! Who runs this, and on which machine.

use crate::report::{cut, one_line};
use time::OffsetDateTime;
use time::macros::format_description;

/// An id that no other run has, whatever the controller: its time and some random digits.
pub(super) fn run_id() -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    format!("{time}-{:08x}", rand::random::<u32>())
}

/// The widest that a name may be.
const WIDEST: usize = 64;

/// `user@host`, of this process.
pub(super) fn who() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    named(|name| std::env::var(name).ok(), machine.as_deref())
}

fn named(variable: impl Fn(&str) -> Option<String>, machine: Option<&str>) -> String {
    let name = |text: &str| {
        let shown = cut(&one_line(text), WIDEST, "…");
        (!shown.is_empty()).then_some(shown)
    };
    // Who became root by sudo is meant, not root.
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|one| name(&variable(one)?));
    let machine = machine.and_then(name).or_else(|| name(&variable("HOSTNAME")?));
    format!("{}@{}", user.as_deref().unwrap_or("?"), machine.as_deref().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (variables, machine, want) in [
            (&[("USER", "ada")][..], Some("desk\n"), "ada@desk"),
            (&[("USER", "root"), ("SUDO_USER", "ada")], Some("desk"), "ada@desk"),
            (&[("SUDO_USER", ""), ("LOGNAME", "bob"), ("HOSTNAME", "box")], None, "bob@box"),
            (&[], None, "?@?"),
            (&[("USER", "a\u{1b}[31m\nb")], Some(" "), "a / b@?"),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(named(variable, machine), want);
        }
    }
}
