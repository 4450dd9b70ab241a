//! What to do about a log-in that failed.

use crate::ssh::facts::{AuthFailure, Means, Outcome};
use crate::ssh::keys::Unusable;

/// The one next step that most likely helps.
pub(in crate::ssh) fn hint(failure: &AuthFailure) -> String {
    let takes = |method: &str| failure.accepted.iter().any(|accepted| accepted == method);
    let takes_a_password = takes("password") || takes("keyboard-interactive");
    let asks = |means: &Means| matches!(means, Means::Password | Means::KeyboardInteractive);
    let answered = failure.tried.iter().filter(|attempt| asks(&attempt.means));
    let is_wrong = answered.clone().any(|attempt| attempt.outcome == Outcome::Refused);
    // A key is of no use where none is taken (any more).
    if (takes("publickey") || !takes_a_password)
        && let Some(hint) = failure.tried.iter().find_map(|attempt| about(&attempt.means, &attempt.outcome))
    {
        return hint;
    }
    if is_wrong {
        return "check the password, and sshd's log on the host: PermitRootLogin and PAM can refuse a right one, too"
            .to_owned();
    }
    if takes_a_password && !takes("publickey") && answered.count() == 0 {
        return if failure.jump {
            "run it on a terminal, where the jump host's password is asked for, or log in there with a key".to_owned()
        } else {
            "say `--ask-pass`, or `--pass-command` or `--pass-fd` where nobody is there to type the password".to_owned()
        };
    }
    if failure.tried.is_empty() {
        let or = if takes_a_password && !failure.jump { ", or say `--ask-pass`" } else { "" };
        return format!(
            "name a key file as `identity` in the inventory, or add a key to your agent with `ssh-add`{or}"
        );
    }
    if failure.untried > 0 {
        return "name the right key file as `identity` in the inventory".to_owned();
    }
    format!("check `~{}/.ssh/authorized_keys` on the host and sshd's log there", failure.user)
}

/// What to do about a key or a certificate that was not used.
fn about(means: &Means, outcome: &Outcome) -> Option<String> {
    let Outcome::Unusable(why) = outcome else {
        return None;
    };
    Some(match (means, why) {
        (Means::File(path), Unusable::Encrypted | Unusable::NoPassphrase | Unusable::WrongPassphrase) => {
            format!("hand the key to your agent with `ssh-add {}`", path.display())
        }
        (Means::File(path), Unusable::SecurityKey) => {
            format!("plug the security key in and hand it to your agent with `ssh-add {}`", path.display())
        }
        (Means::File(path), Unusable::Permissions(_)) => format!("run `chmod 600 {}`", path.display()),
        (Means::Certificate(path), Unusable::Encrypted | Unusable::NoPassphrase | Unusable::WrongPassphrase) => {
            format!("hand the key of `{}` to your agent with `ssh-add`", path.display())
        }
        (_, Unusable::Expired(_)) => "have your CA sign a new certificate".to_owned(),
        (_, Unusable::NotYetValid(_)) => {
            "check this machine's clock, or wait until the certificate is valid".to_owned()
        }
        (Means::Certificate(path), Unusable::NoKey) => {
            format!("name the key of `{}` as `identity` in the inventory", path.display())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{AuthFailure, Means, Outcome, Unusable, hint};
    use crate::ssh::facts::Attempt;

    #[test]
    fn what_helps_depends_on_what_the_server_takes() {
        let file = || Means::File(PathBuf::from("/k/id"));
        let certificate = || Means::Certificate(PathBuf::from("/k/id-cert.pub"));
        let unusable = Outcome::Unusable;
        for (tried, accepted, jump, expected) in [
            (vec![], "publickey", false, "name a key file as `identity`"),
            (vec![], "publickey password", false, "with `ssh-add`, or say `--ask-pass`"),
            (vec![], "publickey password", true, "with `ssh-add`"),
            (vec![], "password", false, "say `--ask-pass`, or `--pass-command`"),
            (vec![], "keyboard-interactive", false, "say `--ask-pass`"),
            (vec![], "password", true, "run it on a terminal"),
            (vec![(file(), Outcome::Refused)], "publickey", false, "check `~ops/.ssh/authorized_keys`"),
            (vec![(file(), Outcome::Refused)], "password", false, "say `--ask-pass`"),
            (vec![(file(), Outcome::Partial)], "password", false, "say `--ask-pass`"),
            (vec![(file(), unusable(Unusable::Encrypted))], "publickey password", false, "`ssh-add /k/id`"),
            (vec![(file(), unusable(Unusable::NoPassphrase))], "publickey", false, "`ssh-add /k/id`"),
            (vec![(file(), unusable(Unusable::Encrypted))], "password", false, "say `--ask-pass`"),
            (vec![(file(), unusable(Unusable::SecurityKey))], "publickey", false, "plug the security key in"),
            (vec![(file(), unusable(Unusable::Permissions(0o644)))], "", false, "run `chmod 600 /k/id`"),
            (vec![(certificate(), unusable(Unusable::Expired("x".into())))], "publickey", false, "a new certificate"),
            (vec![(certificate(), unusable(Unusable::NoKey))], "publickey", false, "name the key of"),
            (vec![(Means::Password, Outcome::Refused)], "publickey password", false, "check the password"),
            (vec![(Means::KeyboardInteractive, Outcome::Refused)], "password", false, "check the password"),
        ] {
            let attempt = |(means, outcome)| Attempt { means, key: None, outcome };
            let tried: Vec<Attempt> = tried.into_iter().map(attempt).collect();
            let accepted = accepted.split_whitespace().map(str::to_owned).collect();
            let failure = AuthFailure { user: "ops".to_owned(), tried, untried: 0, accepted, remark: None, jump };
            let hint = hint(&failure);
            assert!(hint.contains(expected), "{failure:?}: {hint}");
        }
    }
}
