//! A plan in words.

use crate::inventory::Inventory;
use crate::plan::Plan;
use crate::report::{Style, count, diff};
use crate::tasks::TextDiff;
use std::fmt::Write as _;

/// What `plan` and `run --dry-run` print: per place the changes with their diffs, then the order of restarts.
pub(super) fn plan(plan: &Plan, inventory: &Inventory, style: Style) -> String {
    if plan.is_empty() {
        return format!("no changes: cluster {} is as {} says\n", inventory.cluster, inventory.path.display());
    }
    let mut text = format!("cluster {}: what would change\n", style.bold(&inventory.cluster));
    // The same file on every host is shown once.
    let mut shown: Vec<(&TextDiff, &str)> = Vec::new();
    for host in plan.hosts() {
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
                    pending.host == member.host && matches!(pending.task.as_str(), "restart" | "hand_over_leadership")
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
