//! Who runs this, and on which machine.

use crate::report::{cut, one_line};
use std::os::unix::fs::MetadataExt as _;
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
    let uid = std::fs::metadata("/proc/self").ok().map(|own| own.uid());
    let account = uid.map(|uid| account(&std::fs::read_to_string("/etc/passwd").unwrap_or_default(), uid));
    named(|name| std::env::var(name).ok(), account.as_deref(), machine.as_deref())
}

/// The name of a user id in the text of passwd(5), or the id itself.
fn account(passwd: &str, uid: u32) -> String {
    let uid = uid.to_string();
    let of = |line: &&str| line.split(':').nth(2) == Some(&uid);
    let name = passwd.lines().find(of).and_then(|line| line.split(':').next());
    name.map(str::to_owned).unwrap_or(uid)
}

fn named(variable: impl Fn(&str) -> Option<String>, account: Option<&str>, machine: Option<&str>) -> String {
    let name = |text: &str| {
        let shown = cut(&one_line(text), WIDEST, "…");
        (!shown.is_empty()).then_some(shown)
    };
    // Who became root by sudo is meant, not root.
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|one| name(&variable(one)?));
    let user = user.or_else(|| account.and_then(name));
    let machine = machine.and_then(name).or_else(|| name(&variable("HOSTNAME")?));
    format!("{}@{}", user.as_deref().unwrap_or("?"), machine.as_deref().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (variables, account, machine, want) in [
            (&[("USER", "ada")][..], Some("eve"), Some("desk\n"), "ada@desk"),
            (&[("USER", "root"), ("SUDO_USER", "ada")], None, Some("desk"), "ada@desk"),
            (&[("SUDO_USER", ""), ("LOGNAME", "bob"), ("HOSTNAME", "box")], None, None, "bob@box"),
            (&[], Some("eve"), Some("desk"), "eve@desk"),
            (&[], None, None, "?@?"),
            (&[("USER", "a\u{1b}[31m\nb")], None, Some(" "), "a / b@?"),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(named(variable, account, machine), want);
        }
    }

    #[test]
    fn accounts() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/sh\n";
        for (uid, want) in [(0, "root"), (1000, "ada"), (10, "10")] {
            assert_eq!(account(passwd, uid), want);
        }
    }
}
