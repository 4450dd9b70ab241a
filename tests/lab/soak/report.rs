//! What came of a sweep, in figures.

use super::schedule::{Fault, Operation, Round};
use std::fmt::Write as _;
use std::time::Duration;

/// What came of one round.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub round: Round,
    /// Whether the controller was still at it when it was killed.
    pub struck: bool,
    /// How often the command was run again until it said done.
    pub tries: usize,
    /// How many of the runs found the hosts locked, beside.
    pub locked: usize,
    pub acknowledged: usize,
    pub lost: usize,
    /// How often the quorum was lost by our doing.
    pub quorum_lost: usize,
    /// How often a host's fault struck while another member was restarting.
    pub coincidences: usize,
    pub gap: Duration,
    pub took: Duration,
    /// What was not as it has to be.
    pub failure: Option<String>,
}

impl Outcome {
    /// A round of which nothing is known yet.
    pub fn of(round: Round) -> Self {
        Self {
            round,
            struck: false,
            tries: 0,
            locked: 0,
            acknowledged: 0,
            lost: 0,
            quorum_lost: 0,
            coincidences: 0,
            gap: Duration::ZERO,
            took: Duration::ZERO,
            failure: None,
        }
    }
}

/// What came of all rounds.
pub struct Report {
    pub seed: u64,
    pub versions: Vec<String>,
    pub labs: usize,
    pub took: Duration,
    pub outcomes: Vec<Outcome>,
}

const ACCIDENTS: [(Option<Fault>, &str); 3] =
    [(None, "no other fault"), (Some(Fault::Power), "a host without power"), (Some(Fault::Link), "a host cut off")];

/// What the figures mean.
const HOW: &str = "
Converged: the same command said done; all three members run the wanted version with the wanted setting, hold the same data and
all keys, and were seen to run from outside; a further `deploy` has nothing to do, and nothing is left staged.

Keys: a writer for each member writes all the while, each key once. Lost is what was acknowledged and is missing through any
member or in its own store; a key that is there twice, with another value or at another revision fails its round, too.

Quorum lost by our doing: fewer than two of three members have a process on a host that can be reached, seen from outside 50
times a second, unless one host's fault struck within 5 s of another member's restart (counted apart) or before the third was
ever started; or no write was acknowledged for 5 s; around the fault of a host for 10 s, if another member was stopped then.

Tries: runs after the killed one until all three members were healthy; while a host is off or cut, a run is right to refuse, and
has to name it. Without another fault the first one has to do. A run that met the killed one's lock ended with 5 and is no try:
the host had not yet noticed that the killed one, or the link to it, was gone.
";

impl Report {
    fn fault(outcome: &Outcome) -> Option<Fault> {
        outcome.round.accident.as_ref().map(|accident| accident.fault)
    }

    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }

    /// The report as markdown.
    pub fn markdown(&self) -> String {
        let Self { seed, versions, labs, took, outcomes } = self;
        let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
        let mut text = String::from("| | |\n|---|---|\n");
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "| {name} | {value} |");
        };
        line("again", format!("`make soak N={} SEED={seed}`", outcomes.len()));
        line("etcd", versions.join(", "));
        line("rounds", outcomes.len().to_string());
        line("killed while at it", sum(|outcome| outcome.struck.into()).to_string());
        line("converged", (outcomes.len() - self.failures().count()).to_string());
        line("keys acknowledged", sum(|outcome| outcome.acknowledged).to_string());
        line("keys lost", sum(|outcome| outcome.lost).to_string());
        line("quorum lost by our doing", sum(|outcome| outcome.quorum_lost).to_string());
        line("a fault struck while another member restarted", sum(|outcome| outcome.coincidences).to_string());
        line("runs that met the killed one's lock", sum(|outcome| outcome.locked).to_string());
        for (fault, name) in ACCIDENTS {
            let gaps = outcomes.iter().filter(|outcome| Self::fault(outcome) == fault).map(|outcome| outcome.gap);
            if let Some(gap) = gaps.max() {
                line(&format!("longest gap, {name}"), format!("{:.2} s", gap.as_secs_f64()));
            }
        }
        line("duration", format!("{} min {} s, {labs} at once", took.as_secs() / 60, took.as_secs() % 60));
        text += "\n| operation | beside | rounds | converged | at the first try | second | third or later |\n";
        text += "|---|---|---|---|---|---|---|\n";
        for operation in Operation::ALL {
            for (fault, name) in ACCIDENTS {
                let of = |outcome: &&Outcome| outcome.round.operation == operation && Self::fault(outcome) == fault;
                let these: Vec<_> = outcomes.iter().filter(of).collect();
                if these.is_empty() {
                    continue;
                }
                let count = |holds: &dyn Fn(&Outcome) -> bool| these.iter().filter(|outcome| holds(outcome)).count();
                let converged = |outcome: &Outcome| outcome.failure.is_none();
                let _ = writeln!(
                    text,
                    "| {operation} | {name} | {} | {} | {} | {} | {} |",
                    these.len(),
                    count(&converged),
                    count(&|outcome| converged(outcome) && outcome.tries == 1),
                    count(&|outcome| converged(outcome) && outcome.tries == 2),
                    count(&|outcome| converged(outcome) && outcome.tries > 2),
                );
            }
        }
        text += HOW;
        for outcome in self.failures() {
            let why = outcome.failure.as_deref().unwrap_or_default();
            let _ = writeln!(text, "\n- {}: {}", outcome.round, why.lines().next().unwrap_or_default());
        }
        text
    }
}

pub fn a_report_tells_what_came_of_each_kind_of_round() {
    use super::schedule::Accident;
    let outcome = |number, operation, fault: Option<Fault>, tries, gap| {
        let accident = fault.map(|fault| Accident { fault, host: 2, at: 0.25, lasts: Duration::from_secs(3) });
        let round = Round { number, operation, kill: 0.5, at_line: false, accident };
        Outcome {
            struck: number != 3,
            tries,
            locked: number - 1,
            acknowledged: 100 * number,
            gap: Duration::from_millis(gap),
            ..Outcome::of(round)
        }
    };
    let mut report = Report {
        seed: 7,
        versions: vec!["3.4.23".to_owned(), "3.5.16".to_owned()],
        labs: 2,
        took: Duration::from_secs(61),
        outcomes: vec![
            outcome(1, Operation::Change, None, 1, 20),
            outcome(2, Operation::Change, None, 2, 1230),
            outcome(3, Operation::FirstDeploy, Some(Fault::Power), 4, 2500),
        ],
    };
    let expected = "\
| | |
|---|---|
| again | `make soak N=3 SEED=7` |
| etcd | 3.4.23, 3.5.16 |
| rounds | 3 |
| killed while at it | 2 |
| converged | 3 |
| keys acknowledged | 600 |
| keys lost | 0 |
| quorum lost by our doing | 0 |
| a fault struck while another member restarted | 0 |
| runs that met the killed one's lock | 3 |
| longest gap, no other fault | 1.23 s |
| longest gap, a host without power | 2.50 s |
| duration | 1 min 1 s, 2 at once |

| operation | beside | rounds | converged | at the first try | second | third or later |
|---|---|---|---|---|---|---|
| first deploy | a host without power | 1 | 1 | 0 | 0 | 1 |
| setting change | no other fault | 2 | 2 | 1 | 1 | 0 |
";
    assert_eq!(report.markdown(), format!("{expected}{HOW}"));
    report.outcomes[1].lost = 3;
    report.outcomes[1].quorum_lost = 1;
    report.outcomes[1].failure = Some("acknowledged, and not there: a, b, c\nmore".to_owned());
    let text = report.markdown();
    for line in [
        "| converged | 2 |",
        "| keys lost | 3 |",
        "| quorum lost by our doing | 1 |",
        "| setting change | no other fault | 2 | 1 | 1 | 0 | 0 |",
        "- round 2: setting change, killed at 50.0 %: acknowledged, and not there: a, b, c",
    ] {
        assert!(text.lines().any(|one| one == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("more"));
}
