//! `wait_for`: a port on the host listens, or a path is there.

use super::template::Template;
use super::{Decision, Hands, HostTask, Needs, SeenIn, TaskError, View};
use crate::error::ExitStatus;
use crate::host::listening;
use crate::ssh::quote;
use serde::Deserialize;

/// Wait for a port or a path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct WaitFor {
    /// A TCP port of the host on which something has to listen.
    port: Option<u16>,
    /// A path on the host that has to be there.
    path: Option<Template>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    path: Option<Template>,
}

impl TryFrom<Written> for WaitFor {
    type Error = &'static str;

    fn try_from(Written { port, path }: Written) -> Result<Self, Self::Error> {
        if port.is_none() && path.is_none() {
            return Err("there is nothing to wait for; give `port`, `path` or both");
        }
        Ok(Self { port, path })
    }
}

impl HostTask for WaitFor {
    fn needs(&self, view: &View<'_>) -> Needs {
        let mut tests = Vec::new();
        if let Some(port) = self.port {
            tests.push(listening(port));
        }
        if let Some(path) = &self.path {
            tests.push(format!("[ -e {} ]", quote(&path.expand(view))));
        }
        Needs { probe: Some(tests.join(" && ")), ..Needs::default() }
    }

    fn check(&self, view: &View<'_>) -> Result<Decision, TaskError> {
        if view.probe == Some(0) {
            return Ok(Decision::Nothing);
        }
        let port = self.port.map(|port| format!("port {port}"));
        let awaited: Vec<String> = port.into_iter().chain(self.path.as_ref().map(|path| path.expand(view))).collect();
        let reason = format!("{} is not there", awaited.join(" or "));
        Ok(Decision::NotYet { reason, seen_in: SeenIn::Host, exit: ExitStatus::Failed })
    }

    async fn apply(&self, _view: &View<'_>, _hands: &Hands<'_>) -> Result<(), TaskError> {
        Ok(())
    }
}
