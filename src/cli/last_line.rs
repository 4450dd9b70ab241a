//! How an operation ended: its exit code, and the words of its last line.

use super::hops::Passed;
use crate::error::{ExitStatus, Explain};
use crate::inventory::Inventory;
use crate::plan::{Run, Turns};
use crate::report::count;

/// The exit code: of the gravest failure, where several hosts failed in different ways; `detailed` tells pending changes.
pub(super) fn exit_of(run: &Run, detailed: bool) -> ExitStatus {
    let failures = run.failures.iter().map(Explain::exit);
    // What was refused for the data's sake outweighs a plain failure beside it.
    match failures.max() {
        Some(exit) => exit,
        None if run.stopped_in.is_some() => ExitStatus::Interrupted,
        None if detailed && !run.plan.is_empty() => ExitStatus::Pending,
        None => ExitStatus::Done,
    }
}

/// How the members are that did not fail, where a rolling play was broken off: `node01 is through its turn; `.
fn turns(run: &Run) -> String {
    let Turns { due, through } = &run.turns;
    let failed = |host: &String| run.failures.iter().any(|failure| failure.host == *host);
    let left: Vec<&String> = due.iter().filter(|host| !through.contains(host) && !failed(host)).collect();
    let mut words = Vec::new();
    for (hosts, one, more) in [
        (through.iter().collect::<Vec<_>>(), "is through its turn", "are through their turns"),
        (left, "was not touched", "were not touched"),
    ] {
        match &hosts[..] {
            [] => {}
            [host] => words.push(format!("{host} {one}")),
            [others @ .., last] => {
                let others = others.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", ");
                words.push(format!("{others} and {last} {more}"));
            }
        }
    }
    words.iter().map(|words| format!("{words}; ")).collect()
}

/// The words of the run's last line.
pub(super) fn message(
    passed: &Passed,
    dry: bool,
    exit: ExitStatus,
    inventory: &Inventory,
    healthy: Option<(usize, usize)>,
) -> String {
    let (cluster, run) = (&inventory.cluster, &passed.run);
    if let Some(play) = &run.stopped_in {
        let next = match exit {
            ExitStatus::Interrupted => "run the same command again to go on",
            // The plays of such a playbook end with one in which every host is by itself.
            _ if run.failures.iter().any(|failure| failure.task == "remove_member_files") => {
                "the other hosts are done; mend the cause and run the same command again"
            }
            _ if passed.lacks_a_stopover() => "`--via VERSION` chooses another release to stop over at",
            _ => "later plays were not begun; mend the cause and run the same command again",
        };
        let failed = match &run.failures[..] {
            [] => String::new(),
            [one] => format!(" on {}", one.host),
            [_, ..] => format!(" on {}", count(run.failures.len(), "host")),
        };
        let hop = passed.hop().map(|hop| format!(" of {hop}")).unwrap_or_default();
        return format!("cluster {cluster}: stopped{failed} in `{play}`{hop}; {}{next}", turns(run));
    }
    if dry {
        return if run.plan.is_empty() {
            format!("cluster {cluster}: no changes")
        } else {
            format!("cluster {cluster}: {} pending, nothing was touched", count(run.plan.pending.len(), "change"))
        };
    }
    let changes = if run.changes == 0 { "nothing to do".to_owned() } else { count(run.changes, "change") };
    match healthy {
        Some((healthy, all)) if healthy == all => {
            format!("cluster {cluster} is healthy, {healthy} of {all} members, {changes}")
        }
        Some((healthy, all)) => format!("cluster {cluster}: {healthy} of {all} members healthy, {changes}"),
        None => format!("cluster {cluster}: {changes}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Failure;
    use crate::tasks::TaskError;

    #[test]
    fn how_the_others_are() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (due, through, failed, want) in [
            ("", "", "node01", ""),
            ("node01 node02 node03", "", "node01", "node02 and node03 were not touched; "),
            ("node01 node02 node03", "node01", "node02", "node01 is through its turn; node03 was not touched; "),
            ("node01 node02 node03", "node01 node02", "node03", "node01 and node02 are through their turns; "),
            ("node01 node02 node03 node04", "", "", "node01, node02, node03 and node04 were not touched; "),
        ] {
            let failure = |host: String| Failure { host, task: "restart".to_owned(), source: TaskError::Interrupted };
            let turns = Turns { due: names(due), through: names(through) };
            let failures = names(failed).into_iter().map(failure).collect();
            assert_eq!(super::turns(&Run { turns, failures, ..Run::default() }), want, "{due}: {through}: {failed}");
        }
    }
}
