//! What the cluster has to agree on before its members run an earlier minor version, or go up again.
//!
//! From 3.6 on a cluster can agree on the minor version below its own. It then does without what only the
//! later one knows, its members bring their data into the earlier format, and each may be restarted with
//! the earlier binary. etcd ends the downgrade by itself once all members run that
//! (<https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/>).

use super::client::Status;
use super::health::ClusterHealth;
use semver::Version;

/// What is due before members are restarted with another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing: the cluster stands in nobody's way.
    Nothing,
    /// Have the cluster agree on a downgrade from this version.
    Enable {
        /// The latest version that a member runs.
        from: Version,
    },
    /// End the downgrade to this version, since the members are to stay above it.
    Cancel {
        /// What the cluster has agreed to go down to.
        target: Version,
    },
    /// A member's data is not in the earlier version's format yet.
    Wait(String),
}

/// What is due on the way to `wanted`, with what the cluster has `agreed` on now, if a member told it.
#[must_use]
pub fn due(cluster: &ClusterHealth, agreed: Option<&Version>, wanted: &Version) -> Due {
    let target = statuses(cluster).find_map(|(_, status)| status.downgrade.clone());
    let runs = statuses(cluster).filter_map(|(_, status)| status.version.parse::<Version>().ok());
    let Some(highest) = runs.max().filter(|highest| later(highest, wanted)) else {
        return match target {
            Some(target) if later(wanted, &target) => Due::Cancel { target },
            _ => Due::Nothing,
        };
    };
    let begun = target.is_some_and(|target| !later(&target, wanted) && !later(wanted, &target));
    match agreed {
        _ if begun => settled(cluster, wanted),
        // A member of the wanted version holds the cluster's version down: an upgrade that is taken back, or
        // a downgrade on its way.
        Some(agreed) if !later(agreed, wanted) => settled(cluster, wanted),
        _ => Due::Enable { from: highest },
    }
}

/// Whether all members that tell have their data in the format of `wanted`.
#[must_use]
pub fn settled(cluster: &ClusterHealth, wanted: &Version) -> Due {
    let ahead = statuses(cluster).find_map(|(host, status)| {
        let storage = status.storage.as_ref().filter(|storage| later(storage, wanted))?;
        Some(format!(
            "member `{host}` has its data in the format of {}.{}, not of {}.{} yet",
            storage.major, storage.minor, wanted.major, wanted.minor
        ))
    });
    ahead.map_or(Due::Nothing, Due::Wait)
}

fn statuses(cluster: &ClusterHealth) -> impl Iterator<Item = (&str, &Status)> {
    cluster.members.iter().filter_map(|member| {
        let report = member.look.report.as_ref().ok()?;
        Some((member.look.host.as_str(), &report.status))
    })
}

/// Whether `one` is of a later minor version than `other`.
fn later(one: &Version, other: &Version) -> bool {
    (one.major, one.minor) > (other.major, other.minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::State::*;
    use crate::etcd::testing::looks;

    /// A member in words: `3.6.14`, with the format of its data behind a slash (`3.6.14/3.5`), and a `>` and
    /// a version if it tells of a downgrade to that; `-` if it does not answer.
    fn cluster(text: &str) -> ClusterHealth {
        let mut looks = looks(&[Leads, Follows, Follows]);
        for (look, word) in looks.iter_mut().zip(text.split_whitespace()) {
            if word == "-" {
                look.report = Err(crate::etcd::client::CallError::Tcp("refused".to_owned()));
                continue;
            }
            let (word, downgrade) = word.split_once('>').map_or((word, None), |(word, to)| (word, Some(to)));
            let (version, storage) = word.split_once('/').map_or((word, None), |(word, format)| (word, Some(format)));
            let status = &mut look.report.as_mut().unwrap().status;
            let minor = |text: &str| format!("{text}.0").parse().unwrap();
            status.version = version.to_owned();
            (status.storage, status.downgrade) = (storage.map(minor), downgrade.map(minor));
        }
        ClusterHealth::assess(looks)
    }

    #[test]
    fn what_is_due() {
        let ahead = "wait: member `node03` has its data in the format of 3.6, not of 3.5 yet";
        for (what, members, agreed, wanted, want) in [
            ("as wanted", "3.6.14/3.6 3.6.14/3.6 3.6.14/3.6", "3.6.0", "3.6.14", "nothing"),
            ("a patch down", "3.6.14/3.6 3.6.14/3.6 3.6.14/3.6", "3.6.0", "3.6.11", "nothing"),
            ("up", "3.5.33 3.5.33 3.5.33", "3.5.0", "3.6.14", "nothing"),
            ("down", "3.6.14/3.6 3.6.14/3.6 3.6.14/3.6", "3.6.0", "3.5.33", "enable from 3.6.14"),
            ("down, of an etcd that tells no format", "3.6.14 3.6.14 3.6.14", "3.6.0", "3.5.33", "enable from 3.6.14"),
            ("down, and nobody tells what was agreed on", "3.6.14 3.6.14 -", "", "3.5.33", "enable from 3.6.14"),
            (
                "just enabled",
                "3.6.14/3.6>3.5 3.6.14/3.6>3.5 3.6.14/3.6>3.5",
                "3.6.0",
                "3.5.33",
                "wait: member `node01` has its data in the format of 3.6, not of 3.5 yet",
            ),
            ("one is behind", "3.6.14/3.5>3.5 3.6.14/3.5>3.5 3.6.14/3.6>3.5", "3.5.0", "3.5.33", ahead),
            ("enabled", "3.6.14/3.5>3.5 3.6.14/3.5>3.5 3.6.14/3.5>3.5", "3.5.0", "3.5.33", "nothing"),
            ("on its way", "3.5.33 3.6.14/3.5>3.5 3.6.14/3.5>3.5", "3.5.0", "3.5.33", "nothing"),
            ("on its way, and one is behind", "3.5.33 3.6.14/3.5>3.5 3.6.14/3.6>3.5", "3.5.0", "3.5.33", ahead),
            ("an upgrade that is taken back", "3.6.14 3.5.33 3.5.33", "3.5.0", "3.5.33", "nothing"),
            (
                "a downgrade that is not wanted any more",
                "3.6.14/3.5>3.5 3.6.14/3.5>3.5 3.6.14/3.5>3.5",
                "3.5.0",
                "3.6.14",
                "cancel 3.5.0",
            ),
            ("the same on its way", "3.5.33 3.6.14/3.5>3.5 3.6.14/3.5>3.5", "3.5.0", "3.6.14", "cancel 3.5.0"),
            ("done, and not ended by etcd yet", "3.5.33>3.5 3.5.33 3.5.33", "3.5.0", "3.5.33", "nothing"),
            ("nobody answers", "- - -", "", "3.5.33", "nothing"),
        ] {
            let got = match due(&cluster(members), agreed.parse().ok().as_ref(), &wanted.parse().unwrap()) {
                Due::Nothing => "nothing".to_owned(),
                Due::Enable { from } => format!("enable from {from}"),
                Due::Cancel { target } => format!("cancel {target}"),
                Due::Wait(reason) => format!("wait: {reason}"),
            };
            assert_eq!(got, want, "{what}");
        }
    }
}
