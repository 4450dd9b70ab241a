//! `etcd-ha schema`: inventories as a JSON Schema.

use super::Context;
use crate::error::{Error, ExitStatus};
use crate::inventory::json_schema;
use clap::Args;

/// `etcd-ha schema`
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self, context: Context) -> Result<ExitStatus, Error> {
        context.output.out(&json_schema())?;
        Ok(ExitStatus::Done)
    }
}
