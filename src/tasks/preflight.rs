//! `preflight`: can this host run a member, and does it hold nothing that is not ours?

use super::fitness::{behind, foreign, notes, unfit, version_change};
use super::fleet::linked_version;
use super::{Decision, Hands, HostTask, Needs, SeenIn, TaskError, View};
use crate::error::ExitStatus;
use serde::Deserialize;

/// Look whether the host can run a member, and holds nothing that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preflight {}

impl HostTask for Preflight {
    fn needs(&self, view: &View<'_>) -> Needs {
        let ready = view.seen.unit.ready();
        let wanted = &view.overview.inventory.version;
        let other = linked_version(view.host, view.seen).is_some_and(|linked| linked.minor != wanted.minor);
        Needs { membership: true, cluster: ready, cluster_version: ready && other, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let View { overview, host, seen, .. } = view;
        if let Some(Err(errors)) = &overview.membership {
            let own: Vec<_> = errors.iter().filter(|error| error.concerns(&host.name)).cloned().collect();
            if !own.is_empty() {
                return Err(TaskError::Bootstrap(own));
            }
        }
        if let Some(change) = version_change(overview, host) {
            return Err(TaskError::Unfit { problems: vec![change.message], hint: change.hint, refused: true });
        }
        let unfit = unfit(overview, host, seen);
        if !unfit.is_empty() {
            let hint = unfit.iter().find_map(|objection| objection.hint.clone());
            let problems = unfit.into_iter().map(|objection| objection.message).collect();
            return Err(TaskError::Unfit { problems, hint, refused: false });
        }
        let foreign = foreign(host, seen);
        if foreign.is_empty() {
            return Ok(behind(overview).map_or(Decision::Nothing, |reason| Decision::NotYet {
                reason,
                seen_in: SeenIn::Cluster,
                exit: ExitStatus::Refused,
            }));
        }
        let hint = foreign.iter().find_map(|objection| objection.hint.clone());
        let problems = foreign.into_iter().map(|objection| objection.message).collect();
        Err(TaskError::Unfit { problems, hint, refused: true })
    }

    fn warnings(&self, view: &View<'_>) -> Vec<String> {
        notes(view.host, view.seen).into_iter().map(|objection| objection.message).collect()
    }

    async fn apply(&self, _view: &View<'_>, _hands: &Hands<'_>) -> Result<(), TaskError> {
        Ok(())
    }
}
