//! A plan in words.

use crate::inventory::Inventory;
use crate::plan::Plan;
use crate::report::{Event, Style, count, diff};
use crate::tasks::TextDiff;
use semver::Version;
use std::fmt::Write as _;

/// A plan as events, for JSON lines and the run log.
pub(super) fn pending(plan: &Plan) -> Vec<Event> {
    let changes = plan.pending.iter().map(|pending| Event::ChangePending {
        host: pending.host.clone(),
        task: pending.task.clone(),
        change: pending.change.summary.clone(),
        diff: pending.change.diff.as_ref().map(|change| {
            let old = Some(change.old.as_str()).filter(|old| !old.is_empty());
            diff(Style::default(), &pending.host, &change.path, old, Some(&change.new))
        }),
    });
    let turns = plan.rolling.iter().map(|turn| Event::TurnPending { host: turn.host.clone(), gate: turn.gate.clone() });
    changes.chain(turns).collect()
}

/// The passes to another version as events, if there is more than one.
pub(super) fn hops(hops: &[Version]) -> Vec<Event> {
    let all = hops.len();
    let pending =
        |(hop, version): (usize, &Version)| Event::HopPending { hop, hops: all, version: version.to_string() };
    if all > 1 { (1..).zip(hops).map(pending).collect() } else { Vec::new() }
}

/// The passes to another version in words, if there is more than one.
pub(super) fn route(hops: &[Version]) -> String {
    let [first, _, ..] = hops else { return String::new() };
    let names: Vec<String> = hops.iter().map(ToString::to_string).collect();
    let names = names.join(", then ");
    format!(
        "{} to the wanted version: etcd {names}\nthis is the plan of the first, to {first}:\n\n",
        count(hops.len(), "hop")
    )
}

/// What a dry run prints of members that are taken as they are, if there is nothing to do.
pub(super) fn nothing(inventory: &Inventory) -> String {
    format!("no changes: there is nothing to do in cluster {}\n", inventory.cluster)
}

/// What `plan` and `run --dry-run` print: per place the changes with their diffs, then the order of restarts.
pub(super) fn plan(plan: &Plan, inventory: &Inventory, style: Style) -> String {
    if plan.is_empty() {
        return format!("no changes: cluster {} is as {} says\n", inventory.cluster, inventory.path.display());
    }
    let mut text = format!("cluster {}: what would change\n", style.bold(&inventory.cluster));
    // The same file on every host is shown once.
    let mut shown: Vec<(&TextDiff, &str)> = Vec::new();
    // The controller, then the hosts in the inventory's order, whichever was looked at first.
    let mut hosts = plan.hosts();
    hosts.sort_by_key(|host| inventory.hosts.iter().position(|other| other.name == *host));
    for host in hosts {
        let address =
            inventory.hosts.iter().find(|other| other.name == host).map(|host| format!(" ({})", host.address));
        let _ = writeln!(text, "\n{}{}", style.bold(host), address.unwrap_or_default());
        for pending in plan.pending.iter().filter(|pending| pending.host == host) {
            let _ = writeln!(text, "  {} {}", style.warn("~"), pending.change.summary);
            if let Some(change) = &pending.change.diff {
                if let Some((_, first)) = shown.iter().find(|(other, _)| *other == change) {
                    let _ = writeln!(text, "      {}", style.dim(format!("the same as on {first}")));
                    continue;
                }
                shown.push((change, host));
                let old = Some(change.old.as_str()).filter(|old| !old.is_empty());
                for line in diff(style, host, &change.path, old, Some(&change.new)).lines() {
                    let _ = writeln!(text, "      {line}");
                }
            }
        }
    }
    if !plan.rolling.is_empty() {
        let _ = writeln!(
            text,
            "\n{}",
            style.bold("members that would be taken in turn, and what the quorum gate says now")
        );
        for (index, member) in plan.rolling.iter().enumerate() {
            let reasons: Vec<&str> = plan
                .pending
                .iter()
                .filter(|pending| {
                    let said = ["activate_previous", "hand_over_leadership", "restart"];
                    pending.host == member.host && said.contains(&pending.task.as_str())
                })
                .map(|pending| pending.change.summary.as_str())
                .collect();
            let reasons = if reasons.is_empty() { "no restart".to_owned() } else { reasons.join(", ") };
            let _ = writeln!(text, "  {}. {}: {reasons} ({})", index + 1, member.host, member.gate);
        }
    }
    let hosts = plan.hosts().into_iter().filter(|host| *host != "controller").count();
    let _ =
        writeln!(text, "\n{} on {}; nothing was touched", count(plan.pending.len(), "change"), count(hosts, "host"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Pending, Rolling};
    use crate::report::json_line;
    use crate::tasks::Change;

    fn inventory() -> Inventory {
        let text = "cluster: prod\nhosts:\n  - { name: node01, address: 10.19.0.55 }\n  \
                    - { name: node02, address: 10.19.0.56 }\n  - { name: node03, address: 10.19.0.57 }\n";
        Inventory::parse(std::path::Path::new("prod.yaml"), text, &crate::etcd::lint::Rules).unwrap()
    }

    fn change(host: &str, task: &str, summary: &str, diff: Option<(&str, &str)>) -> Pending {
        let diff =
            diff.map(|(old, new)| TextDiff { path: "/etc/etcd/etcd.conf".into(), old: old.into(), new: new.into() });
        Pending { host: host.into(), task: task.into(), change: Change { summary: summary.into(), diff } }
    }

    fn a_plan() -> Plan {
        let conf = Some(("A=1\nB=2\n", "A=1\nB=3\n"));
        let margin = "3 voters, 3 healthy, 2 needed: 1 to spare";
        let turn = |host: &str| Rolling { host: host.into(), gate: margin.into() };
        Plan {
            pending: vec![
                change("controller", "certificates", "issue admin certificate: there is none yet", None),
                change("node01", "activate", "write /etc/etcd/etcd.conf", conf),
                change("node01", "restart", "restart etcd: it runs with an older configuration", None),
                change("node02", "activate", "write /etc/etcd/etcd.conf", conf),
                change("node02", "hand_over_leadership", "move leadership to `node01`", None),
                change("node02", "restart", "restart etcd: it runs with an older configuration", None),
                change("node03", "activate", "write /etc/etcd/etcd.conf", Some(("", "A=1\n"))),
            ],
            rolling: vec![turn("node01"), turn("node02"), turn("node03")],
        }
    }

    #[test]
    fn a_plan_in_words() {
        assert_eq!(
            plan(&a_plan(), &inventory(), Style::new(false)),
            "cluster prod: what would change

controller
  ~ issue admin certificate: there is none yet

node01 (10.19.0.55)
  ~ write /etc/etcd/etcd.conf
      --- /etc/etcd/etcd.conf (on node01)
      +++ /etc/etcd/etcd.conf (wanted)
      @@ -1,2 +1,2 @@
       A=1
      -B=2
      +B=3
  ~ restart etcd: it runs with an older configuration

node02 (10.19.0.56)
  ~ write /etc/etcd/etcd.conf
      the same as on node01
  ~ move leadership to `node01`
  ~ restart etcd: it runs with an older configuration

node03 (10.19.0.57)
  ~ write /etc/etcd/etcd.conf
      --- /dev/null (on node03: absent)
      +++ /etc/etcd/etcd.conf (wanted)
      @@ -0,0 +1 @@
      +A=1

members that would be taken in turn, and what the quorum gate says now
  1. node01: restart etcd: it runs with an older configuration (3 voters, 3 healthy, 2 needed: 1 to spare)
  2. node02: move leadership to `node01`, restart etcd: it runs with an older configuration (3 voters, 3 healthy, 2 needed: 1 to spare)
  3. node03: no restart (3 voters, 3 healthy, 2 needed: 1 to spare)

7 changes on 3 hosts; nothing was touched
"
        );
    }

    #[test]
    fn the_hops_of_a_plan() {
        let versions: Vec<Version> = ["3.5.33", "3.6.14", "3.7.1"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(
            route(&versions),
            "3 hops to the wanted version: etcd 3.5.33, then 3.6.14, then 3.7.1\nthis is the plan of the first, to 3.5.33:\n\n"
        );
        let events = hops(&versions);
        assert_eq!(events.len(), 3);
        assert_eq!(events[1], Event::HopPending { hop: 2, hops: 3, version: "3.6.14".into() });
        assert_eq!((route(&versions[..1]), hops(&versions[..1])), (String::new(), vec![]));
    }

    #[test]
    fn a_plan_with_nothing_to_do() {
        let text = plan(&Plan::default(), &inventory(), Style::new(false));
        assert_eq!(text, "no changes: cluster prod is as prod.yaml says\n");
    }

    #[test]
    fn a_plan_as_json_lines() {
        let at = time::macros::datetime!(2026-11-22 10:14:30 UTC);
        let lines: Vec<String> = pending(&a_plan()).iter().map(|event| json_line(at, event)).collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(
            lines[1],
            "{\"v\":1,\"time\":\"2026-11-22T10:14:30.000Z\",\"event\":\"change_pending\",\"host\":\"node01\",\
             \"task\":\"activate\",\"change\":\"write /etc/etcd/etcd.conf\",\"diff\":\"--- /etc/etcd/etcd.conf (on \
             node01)\\n+++ /etc/etcd/etcd.conf (wanted)\\n@@ -1,2 +1,2 @@\\n A=1\\n-B=2\\n+B=3\\n\"}\n"
        );
        assert_eq!(
            lines[9],
            "{\"v\":1,\"time\":\"2026-11-22T10:14:30.000Z\",\"event\":\"turn_pending\",\"host\":\"node03\",\
             \"gate\":\"3 voters, 3 healthy, 2 needed: 1 to spare\"}\n"
        );
    }
}
