//! `record_cluster`: the environment file says from now on that the cluster exists.
//!
//! Only lines that etcd ignores once it has data are written, so nothing restarts. Left at `new`,
//! two members that lose their disks would form an empty cluster that calls itself healthy.

use super::{Change, Decision, Hands, HostTask, Needs, TaskError, TextDiff, View};
use crate::host::Script;
use crate::ssh::quote;
use crate::tasks::fleet::places;
use bytes::Bytes;
use serde::Deserialize;

/// Write down that the cluster exists.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCluster {}

impl HostTask for RecordCluster {
    fn needs(&self, _view: &View<'_>) -> Needs {
        Needs { wanted: true, ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        let (wanted, path) = (view.wanted()?, places(view.host).environment_file());
        // What is of weight waits for the member's turn in a rolling play.
        let Some(old) = view.seen.environment.as_ref().filter(|_| wanted.differs_harmlessly(view.seen)) else {
            return Ok(Decision::Nothing);
        };
        let diff = TextDiff { path: path.clone(), old: old.clone(), new: wanted.environment.clone() };
        Ok(Decision::Changes(vec![Change { summary: format!("record the cluster in {path}"), diff: Some(diff) }]))
    }

    async fn apply(&self, view: &View<'_>, hands: &Hands<'_>) -> Result<(), TaskError> {
        let wanted = view.wanted()?;
        let text = format!(
            "cd {config}\nhead -c {length} >.etcd.conf.new\n[ \"$(stat -c %s .etcd.conf.new)\" = {length} ]\n\
             chmod 644 .etcd.conf.new\nsync .etcd.conf.new\nmv -T .etcd.conf.new etcd.conf\nsync .\n",
            config = quote(&view.host.paths.config),
            length = wanted.environment.len(),
        );
        let data = Bytes::from(wanted.environment.clone());
        hands.connection.run(Script::new("record the cluster", &text).with_bytes(data)).await?;
        Ok(())
    }
}
