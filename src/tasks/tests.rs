//! What every task decides: a table a file, each row a scene and the exact words.

mod controller;
mod general;
mod preflight;
mod removing;
mod running;
pub(crate) mod scene;
pub(crate) mod scripts;
mod staging;

use super::{Decision, Entry, HostTaskKind, Needs, Overview, TaskError, TaskKind};
use crate::error::{Explain as _, line};
use scene::Scene;

/// A task in a scene, and what it decides there.
struct Case {
    what: &'static str,
    task: TaskKind,
    scene: Scene,
    want: Want,
}

/// A decision in words.
#[derive(Debug, PartialEq, Eq)]
enum Want {
    Nothing,
    Changes(Vec<String>),
    NotYet(String),
    Fails(String),
}

/// A task as a playbook would have it, in JSON.
fn task(written: &str) -> TaskKind {
    let text = if written.starts_with('{') { written.to_owned() } else { format!("\"{written}\"") };
    serde_json::from_str::<Entry>(&text).unwrap_or_else(|error| panic!("{written}: {error}")).task
}

fn case(written: &str, what: &'static str, scene: Scene, want: Want) -> Case {
    Case { what, task: task(written), scene, want }
}

fn nothing() -> Want {
    Want::Nothing
}

fn changes<const N: usize>(changes: [&str; N]) -> Want {
    Want::Changes(changes.map(str::to_owned).to_vec())
}

fn not_yet(reason: &str) -> Want {
    Want::NotYet(reason.to_owned())
}

fn fails(words: &str) -> Want {
    Want::Fails(words.to_owned())
}

fn said(decision: Result<Decision, TaskError>) -> Want {
    match decision {
        Ok(Decision::Nothing) => Want::Nothing,
        Ok(Decision::Changes(changes)) => Want::Changes(changes.into_iter().map(|change| change.summary).collect()),
        Ok(Decision::NotYet { reason, .. }) => Want::NotYet(reason),
        Err(error) => Want::Fails(line(&error)),
    }
}

fn all() -> Vec<Case> {
    [preflight::cases(), staging::cases(), running::cases(), general::cases(), controller::cases(), removing::cases()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_task_decides_as_its_table_says() {
    for case in all() {
        let overview = case.scene.overview();
        let decided = match &case.task {
            TaskKind::Host(task) => said(task.check(&case.scene.view(&overview))),
            TaskKind::Controller(task) => said(task.check(&overview)),
        };
        assert_eq!(decided, case.want, "{}: {}", case.task.name(), case.what);
    }
}

#[test]
fn every_task_has_a_case_with_something_to_do_and_one_with_nothing() {
    let cases = all();
    let mut lacking = Vec::new();
    for name in TaskKind::names() {
        let mut own = cases.iter().filter(|case| case.task.name() == name);
        if !own.clone().any(|case| case.want == Want::Nothing) {
            lacking.push(format!("`{name}` has no case with nothing to do"));
        }
        if !own.any(|case| case.want != Want::Nothing) {
            lacking.push(format!("`{name}` has no case with something to do"));
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

/// What is pending ends up in plans, logs and JSON: a phrase on one line, no key, no full stop.
#[test]
fn changes_are_phrases_without_secrets() {
    for case in all() {
        let Want::Changes(changes) = &case.want else { continue };
        for change in changes {
            assert!(!change.ends_with('.') && !change.contains('\n'), "{change}");
        }
        let overview = case.scene.overview();
        let TaskKind::Host(task) = &case.task else { continue };
        let Ok(Decision::Changes(changes)) = task.check(&case.scene.view(&overview)) else { continue };
        assert!(!format!("{changes:?}").contains("PRIVATE"), "{}", case.task.name());
    }
}

/// A check that needs what it was not given says so, and does not guess.
#[test]
fn a_task_that_was_not_shown_what_it_needs_fails() {
    for name in HostTaskKind::NAMES {
        let Ok(entry) = serde_json::from_str::<Entry>(&format!("\"{name}\"")) else { continue };
        let TaskKind::Host(task) = entry.task else { continue };
        let mut scene = Scene::deployed();
        let needs = task.needs(&scene.view(&scene.overview()));
        scene.wanted = None;
        scene.cluster = None;
        let overview = scene.overview();
        let decided = task.check(&scene.view(&overview));
        let Needs { wanted, cluster, .. } = needs;
        // `preflight` looks at the member's version if it can be had, and refuses nothing without it.
        if *name != "preflight" && (wanted || cluster) {
            assert!(matches!(decided, Err(TaskError::Blind { .. })), "{name}: {decided:?}");
        }
    }
}

/// How a run ends because of a refusal, and the next step that the user is told.
fn refusal(case: &Case, overview: &Overview<'_>) -> (crate::error::ExitStatus, Option<String>) {
    let decided = match &case.task {
        TaskKind::Host(task) => task.check(&case.scene.view(overview)),
        TaskKind::Controller(task) => task.check(overview),
    };
    match decided {
        Err(error) => (error.exit(), error.hint()),
        Ok(decision) => panic!("{}: {decision:?}", case.what),
    }
}
