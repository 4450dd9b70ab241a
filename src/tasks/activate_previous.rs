//! `activate_previous`: what was in force before the last change is in force again, and what is in force
//! now is kept in its place.
//!
//! A host that was taken back this way is left alone when the same is done again: what is kept then is
//! newer than what is in force.

use super::way_back::{self, previous_version, version_of};
use super::{Decision, Hands, HostTask, Mode, Needs, TaskError, View};
use crate::host::Script;
use crate::ssh::quote;
use crate::tasks::fleet::places;
use serde::Deserialize;
use std::time::Duration;

/// Put what was in force before the last change in force again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivatePrevious {}

impl HostTask for ActivatePrevious {
    fn needs(&self, view: &View<'_>) -> Needs {
        Needs { cluster_version: view.seen.previous.is_some(), ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let seen = view.seen;
        if seen.going_back {
            return Ok(Decision::change("go on to what was in force before the last change"));
        }
        if seen.unconfirmed && !seen.previous_is_newer {
            return Ok(Decision::change("take the last change back, which is not confirmed yet"));
        }
        if seen.previous.is_none() || seen.previous_is_newer {
            return Ok(Decision::Nothing);
        }
        let now = seen.link(&format!("{}/etcd", view.host.paths.bin)).and_then(version_of);
        let Some(then) = previous_version(view.host, seen) else { return Ok(Decision::Nothing) };
        if !seen.releases.get(&then.to_string()).is_some_and(|release| release.whole) {
            return Err(TaskError::ReleaseGone { version: then });
        }
        if let Some(cluster) = view.overview.cluster_version.as_ref().filter(|cluster| cluster.minor > then.minor) {
            return Err(TaskError::NoWayDown { version: then, cluster: cluster.clone() });
        }
        let version = match now {
            Some(now) if now != then => format!("etcd {then} instead of {now}"),
            _ => format!("etcd {then} as now"),
        };
        Ok(Decision::change(format!("go back to what was in force before the last change ({version})")))
    }

    fn warnings(&self, view: &View<'_>) -> Vec<String> {
        if view.seen.previous.is_some() {
            return Vec::new();
        }
        vec!["there is nothing to go back to on it: it was not changed since it was set up, or took its last change back".to_owned()]
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        if view.seen.unconfirmed && !view.seen.going_back {
            return way_back::take_back(hands.connection, &view.host.paths.config).await;
        }
        let patience =
            (view.mode == Mode::Rolling && view.seen.unit.ready()).then_some(hands.fleet.options.health_timeout);
        let text = script(view, patience);
        hands
            .connection
            .run(Script::new("put what was in force before in force again", &text).silent_for(way_back::LIMIT))
            .await?;
        Ok(())
    }
}

/// What puts the kept files in force. Where a member runs, its way back is armed first.
pub(super) fn script(view: &View<'_>, patience: Option<Duration>) -> String {
    let host = view.host;
    let arm = match patience {
        Some(patience) => (way_back::write(host), way_back::arm(&host.paths.config, patience)),
        None => Default::default(),
    };
    // What is to go in force lies below what is kept, so that there is no moment without both; and it stays there
    // until the member does well with it, so that the same can be tried again.
    format!(
        "config={config} unit={unit} bin={bin}\ncd \"$config\"\n{quiet}umask 022\n\
         if [ ! -d .previous/target ]; then\n{keep}{write}: >.previous.new/newer\n\
         cp -a .previous .previous.new/target\nrm -rf .previous.new/target/target .previous.new/target/origin\n\
         {kept}fi\n\
         {arm}{put}put .previous/target\nrm -rf .previous/origin\nmv -T .previous/target .previous/origin\nsync .previous\n",
        quiet = way_back::quiet(),
        kept = way_back::KEPT,
        config = quote(&host.paths.config),
        unit = quote(&places(host).unit_file()),
        bin = quote(&host.paths.bin),
        keep = way_back::KEEP,
        write = arm.0,
        arm = arm.1,
        put = way_back::put(),
    )
}
