//! Whether all members hold the same data.
//!
//! A member with a stale data dir can be healthy, follow the leader and count the same raft entries
//! as the others; nothing but a hash over all its keys shows it.

use super::client::{CallError, KeyHash};
use super::health::ClusterHealth;
use super::problem::Problem;
use std::collections::BTreeMap;

/// What a member says when it is asked for the hash of its keys at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The hash.
    Hash(KeyHash),
    /// It has not come to that revision, but only to this one.
    Behind(i64),
    /// The call failed.
    Failed(CallError),
}

/// What is known of the members' data after all of them were asked at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The revision.
    pub revision: i64,
    /// The hashes that can be compared, by host.
    pub hashes: BTreeMap<String, u32>,
    /// The hosts of the members that did not come to that revision, and where they are.
    pub behind: BTreeMap<String, i64>,
    /// Why others could not be compared, a sentence each.
    pub unknown: Vec<String>,
    /// Whether another try may tell more: what was in the way passes by itself.
    pub passing: bool,
}

impl Comparison {
    /// Puts the answers of all members that were asked at `revision` together.
    #[must_use]
    pub fn of(revision: i64, answers: &[(String, Answer)]) -> Self {
        let mut comparison = Self { revision, ..Self::default() };
        let mut first: Option<(&str, KeyHash)> = None;
        for (host, answer) in answers {
            match answer {
                Answer::Hash(own) => {
                    let (host_of_first, first) = *first.get_or_insert((host, *own));
                    if own.compacted == first.compacted {
                        comparison.hashes.insert(host.clone(), own.hash);
                    } else {
                        comparison.passing = true;
                        comparison.unknown.push(format!(
                            "member `{host}` could not be compared: it dropped history up to revision {}, `{host_of_first}` up to {}",
                            own.compacted, first.compacted
                        ));
                    }
                }
                Answer::Behind(own) => {
                    comparison.passing = true;
                    comparison.behind.insert(host.clone(), *own);
                }
                Answer::Failed(error) => {
                    comparison.passing |= error.is_compacted_revision();
                    comparison.unknown.push(format!("member `{host}` could not be compared: {error}"));
                }
            }
        }
        comparison
    }

    /// The hash of each member, if they are not all the same.
    #[must_use]
    pub fn differing(&self) -> Option<String> {
        let mut hashes = self.hashes.values();
        let first = hashes.next();
        if hashes.all(|hash| Some(hash) == first) {
            return None;
        }
        let each = self.hashes.iter().map(|(host, hash)| format!("{host} {hash:08x}"));
        Some(each.collect::<Vec<_>>().join(", "))
    }
}

/// What the members say that no change of version must be begun with, a sentence each.
#[must_use]
pub fn unsound(cluster: &ClusterHealth) -> Vec<String> {
    let mut problems = Vec::new();
    let reports = || cluster.members.iter().filter_map(|member| Some((member, member.look.report.as_ref().ok()?)));
    let alarms = reports().filter_map(|(_, report)| report.alarms.as_ref().ok()).flatten();
    let mut corrupt: Vec<_> = alarms.filter(|alarm| alarm.kind == "CORRUPT").map(|alarm| alarm.member).collect();
    corrupt.sort();
    corrupt.dedup();
    for id in corrupt {
        let host = reports().find(|(_, report)| report.status.member == id);
        let name = host.map_or_else(|| id.to_string(), |(member, _)| member.look.host.clone());
        problems.push(format!(
            "member `{name}` has the alarm CORRUPT: etcd itself found its data to be other than the others'"
        ));
    }
    let clusters = cluster.problems.iter().filter(|problem| matches!(problem, Problem::Clusters(..)));
    problems.extend(clusters.map(Problem::to_string));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::State::*;
    use crate::etcd::testing::{cluster, looks};
    use std::time::Duration;

    fn hash(hash: u32, compacted: i64) -> Answer {
        Answer::Hash(KeyHash { hash, compacted })
    }

    fn of(answers: [Answer; 3]) -> Comparison {
        Comparison::of(
            100,
            &["node01", "node02", "node03"].map(str::to_owned).into_iter().zip(answers).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn answers_are_put_together() {
        let slow = CallError::Timeout { call: "hash", limit: Duration::from_secs(30) };
        let refused = CallError::Refused { call: "hash", message: "required revision has been compacted".into() };
        let none: &[&str] = &[];
        for (what, answers, differing, unknown, passing) in [
            ("all the same", [hash(7, 5), hash(7, 5), hash(7, 5)], None, none, false),
            (
                "one differs",
                [hash(7, 5), hash(7, 5), hash(8, 5)],
                Some("node01 00000007, node02 00000007, node03 00000008"),
                none,
                false,
            ),
            (
                "one dropped more",
                [hash(7, 5), hash(8, 6), hash(7, 5)],
                None,
                &["member `node02` could not be compared: it dropped history up to revision 6, `node01` up to 5"],
                true,
            ),
            (
                "two do not answer",
                [Answer::Failed(slow), Answer::Failed(refused), hash(7, 5)],
                None,
                &[
                    "member `node01` could not be compared: no answer to `hash` within 30 s",
                    "member `node02` could not be compared: `hash`: required revision has been compacted",
                ],
                true,
            ),
            (
                "one is down",
                [hash(7, 5), Answer::Failed(CallError::Tcp("refused".into())), hash(7, 5)],
                None,
                &["member `node02` could not be compared: tcp: refused"],
                false,
            ),
            ("one is behind", [hash(7, 5), hash(7, 5), Answer::Behind(98)], None, none, true),
        ] {
            let got = of(answers);
            assert_eq!((got.differing().as_deref(), got.passing), (differing, passing), "{what}");
            assert_eq!(got.unknown, unknown, "{what}");
        }
        let behind = of([hash(7, 5), hash(7, 5), Answer::Behind(98)]);
        assert_eq!((behind.revision, behind.behind), (100, [("node03".to_owned(), 98)].into()));
    }

    #[test]
    fn corrupt_members_and_foreign_ones_are_named() {
        assert_eq!(unsound(&cluster(&[Leads, Follows, Down])), [""; 0]);
        assert_eq!(unsound(&cluster(&[Leads, Alarm("NOSPACE"), Follows])), [""; 0]);
        let corrupt = "member `node02` has the alarm CORRUPT: etcd itself found its data to be other than the others'";
        assert_eq!(unsound(&cluster(&[Leads, Alarm("CORRUPT"), Follows])), [corrupt]);
        let foreign = "the members belong to different clusters (c1 and bad)";
        assert_eq!(unsound(&cluster(&[Leads, Follows, Elsewhere])), [foreign]);
        // An alarm of a member that does not answer any more is told by the others.
        let mut looks = looks(&[Leads, Alarm("CORRUPT"), Follows]);
        let alarm = looks[1].report.as_ref().unwrap().alarms.clone();
        looks[0].report.as_mut().unwrap().alarms = alarm;
        looks.remove(1);
        let said = unsound(&ClusterHealth::assess(looks));
        assert_eq!(said, [corrupt.replace("node02", "a2")]);
    }
}
