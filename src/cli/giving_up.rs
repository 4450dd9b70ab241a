//! What is asked before a cluster is given up.

use super::hops::NotBegun;
use super::options::OutputFormat;
use super::{Context, pause, render};
use crate::inventory::Inventory;
use crate::plan::Run;
use crate::report::{Color, Reporter};
use crate::tasks::SnapshotPlace;
use tokio::sync::watch;

/// A cluster is given up: all that would be done is looked for and printed first.
pub(super) struct GivingUp {
    /// Where the last snapshot belongs.
    pub snapshots: SnapshotPlace,
    /// What is asked then, unless the answer was given on the command line; the cluster's name is the right one.
    pub question: Option<String>,
}

/// Prints all that would be done and, unless the answer is there already, has somebody type the cluster's name.
pub(super) async fn consent(
    context: &Context,
    giving_up: &GivingUp,
    run: &Run,
    inventory: &Inventory,
    reporter: &Reporter,
    stop: watch::Receiver<bool>,
) -> Result<bool, NotBegun> {
    for event in render::pending(&run.plan) {
        reporter.emit(event);
    }
    let _quiet = reporter.hold();
    if context.global.output == OutputFormat::Text {
        let text = render::plan(&run.plan, inventory, context.around.stdout_style(Color::Auto));
        // Who cannot read it cannot consent.
        if giving_up.question.is_some() && !context.around.stdout_tty {
            context.output.err(&format!("{text}\n"));
        } else if !context.output.pass(format!("{text}\n").as_bytes()).unwrap_or(false) {
            return Err(NotBegun::Declined);
        }
    }
    match &giving_up.question {
        None => Ok(true),
        Some(question) => match pause::typed(&context.output, question, stop).await {
            Some(said) if said.trim() == inventory.cluster => Ok(true),
            Some(_) => Err(NotBegun::Declined),
            None => Err(NotBegun::Interrupted),
        },
    }
}
