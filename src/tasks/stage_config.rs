//! `stage_config`: the environment file and the unit, beside those in force.

use super::{Change, Decision, Hands, HostTask, Needs, TaskError, View, Wanted};
use crate::etcd::config::UNIT;
use crate::host::Script;
use crate::ssh::quote;
use crate::tasks::fleet::places;
use bytes::Bytes;
use serde::Deserialize;

/// Bring the environment file and the unit to the host, beside those in force.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {}

/// The text files: name in the staging folder, place where it is in force, text, its SHA-256.
fn files<'a>(view: &View<'_>, wanted: &'a Wanted) -> [(&'static str, String, &'a str, &'a str); 2] {
    let places = places(view.host);
    [
        ("etcd.conf", places.environment_file(), &wanted.environment, &wanted.environment_sha256),
        (UNIT, places.unit_file(), &wanted.unit, &wanted.unit_sha256),
    ]
}

impl HostTask for StageConfig {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs { wanted: true, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let wanted = view.wanted()?;
        let config = &view.host.paths.config;
        let there = |path: &str, sha256: &str| view.seen.sha256(path) == Some(sha256);
        let missing = files(view, wanted)
            .into_iter()
            .filter(|(name, ..)| *name == UNIT || !wanted.differs_harmlessly(view.seen))
            .filter(|(name, live, _, sha256)| {
                !there(live, sha256) && !there(&format!("{config}/.next/{name}"), sha256)
            });
        Ok(Decision::changes(missing.map(|(name, ..)| Change::new(format!("stage {name}"))).collect()))
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let (text, data) = script(view, view.wanted()?);
        hands.connection.run(Script::new("stage the configuration", &text).with_bytes(data)).await?;
        Ok(())
    }
}

/// The script, and what it reads.
pub(super) fn script(view: &View<'_>, wanted: &Wanted) -> (String, Bytes) {
    let mut text = format!("cd {}\nmkdir -p .next\nchmod 755 .next\n", quote(&view.host.paths.config));
    let mut data = Vec::new();
    for (name, _, content, _) in files(view, wanted) {
        text += &format!("head -c {} >.next/{name}\nchmod 644 .next/{name}\nsync .next/{name}\n", content.len());
        data.extend_from_slice(content.as_bytes());
    }
    (text, Bytes::from(data))
}
