//! What can happen in a run.

use crate::error::ExitStatus;
use serde::Serialize;

/// One thing that happened in a run. Its JSON form (`-o json`, run log) is a line with `event` as its tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// The subcommand, for example `deploy`.
        command: String,
        /// The cluster's name.
        cluster: String,
        /// The hosts that take part, in inventory order.
        hosts: Vec<String>,
    },
    /// A pass over all members begins, one of several on the way to another version of etcd.
    HopStarted {
        /// Which one, from 1.
        hop: usize,
        /// How many there are.
        hops: usize,
        /// The version that it deploys.
        version: String,
    },
    /// A play begins.
    PlayStarted {
        /// Its title, a sentence.
        play: String,
        /// `parallel`, `sequence` or `rolling`.
        mode: String,
        /// The hosts it is for; `controller` stands for the controller itself.
        hosts: Vec<String>,
    },
    /// A task begins on a host.
    TaskStarted {
        /// The host, or `controller`.
        host: String,
        /// The task's YAML key, for example `stage_release`.
        task: String,
    },
    /// A task goes on: bytes moved, or what is being waited for.
    TaskProgress {
        /// The host, or `controller`.
        host: String,
        /// The task's YAML key.
        task: String,
        /// What is going on, for example `uploading etcd 3.5.16`.
        message: String,
        /// Bytes moved so far, where bytes are moved.
        #[serde(skip_serializing_if = "Option::is_none")]
        done: Option<u64>,
        /// Bytes in all, where known.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// A task ended on a host.
    TaskFinished {
        /// The host, or `controller`.
        host: String,
        /// The task's YAML key.
        task: String,
        /// How it ended.
        #[serde(flatten)]
        outcome: Outcome,
        /// How long it took, in seconds.
        #[serde(serialize_with = "to_the_millisecond")]
        seconds: f64,
    },
    /// A dry run found that this pass would be made; they come in their order, and only the first is planned further.
    HopPending {
        /// Which one, from 1.
        hop: usize,
        /// How many there are.
        hops: usize,
        /// The version that it would deploy.
        version: String,
    },
    /// A dry run found that this would be changed. The plan on stdout says it to people.
    ChangePending {
        /// The host, or `controller`.
        host: String,
        /// The task's YAML key.
        task: String,
        /// What, a phrase.
        change: String,
        /// For text files, how they differ, as a unified diff.
        #[serde(skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
    },
    /// A dry run found that this member would be taken in turn; they come in their order.
    TurnPending {
        /// The host.
        host: String,
        /// What the quorum gate says now.
        gate: String,
    },
    /// After a change that did not come up: how each host is left.
    HostState {
        /// The host.
        host: String,
        /// How its member is and what it runs, a phrase.
        state: String,
    },
    /// Something the user should know that stops nothing.
    Warning {
        /// The host it is about, if it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// What it is, a sentence without a full stop.
        message: String,
    },
    /// What the client saw that wrote during the run (`--probe`).
    Probed {
        /// Writes that it tried; none if no cluster ever took one.
        writes: usize,
        /// Those that failed although they were tried once more through another member.
        failed: usize,
        /// Those that were tried once more, whatever came of it.
        retried: usize,
        /// The longest time between two acknowledgements, in seconds.
        #[serde(serialize_with = "to_the_millisecond")]
        longest_gap: f64,
        /// The host and task that were at work meanwhile: `node02 restart`.
        #[serde(skip_serializing_if = "Option::is_none")]
        during: Option<String>,
        /// How often another leader was elected.
        leader_changes: usize,
    },
    /// The run is over; always the last event.
    RunFinished {
        /// The subcommand.
        command: String,
        /// The cluster's name.
        cluster: String,
        /// The exit code's meaning.
        #[serde(serialize_with = "exit_code")]
        exit: ExitStatus,
        /// One line that says how it ended.
        message: String,
        /// What happened on each host, in inventory order.
        recap: Vec<HostRecap>,
        /// How long it took, in seconds.
        #[serde(serialize_with = "to_the_millisecond")]
        seconds: f64,
    },
}

/// How a task ended on a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// There was nothing to do.
    Ok,
    /// Something was changed, or would be changed (`plan`).
    Changed {
        /// What, a phrase each.
        changes: Vec<String>,
    },
    /// It was not this host's turn, or not needed.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It failed.
    Failed {
        /// Message and causes on one line.
        error: String,
        /// The next step, if one is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// What happened on one host during a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostRecap {
    /// The host.
    pub host: String,
    /// Tasks that had nothing to do.
    pub ok: usize,
    /// Tasks that changed something.
    pub changed: usize,
    /// Tasks that failed.
    pub failed: usize,
    /// Time spent in tasks on this host, in seconds.
    #[serde(serialize_with = "to_the_millisecond")]
    pub seconds: f64,
}

fn exit_code<S: serde::Serializer>(exit: &ExitStatus, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

/// Keeps a span such as 0.30000000000000004 out of what others parse.
fn to_the_millisecond<S: serde::Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((seconds * 1000.0).round() / 1000.0)
}
