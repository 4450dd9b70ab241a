//! Waiting, on the host itself, for a started service's process.

use super::connection::{Connection, Script};
use super::error::HostError;
use crate::ssh::quote;
use std::time::Duration;

/// Waits until the unit's process listens on `port`, has crashed, or `limit` has passed; whichever
/// it is, the next observation tells. One round trip however long it takes.
///
/// # Errors
/// The host cannot be reached any more.
pub async fn wait_started(connection: &Connection, unit: &str, port: u16, limit: Duration) -> Result<(), HostError> {
    let text = format!(
        r#"i=0
while [ "$i" -lt {rounds} ]; do
  state=$(systemctl show {unit} -p MainPID,ActiveState,SubState | tr '\n' ' ')
  case $state in *=failed*|*=auto-restart*) exit 0;; esac
  case $state in *MainPID=0\ *) ;; *)
    if {listening}; then exit 0; fi;;
  esac
  sleep 0.05
  i=$((i + 1))
done
"#,
        // A round takes a little longer than its pause; the limit is for the person who waits.
        rounds = limit.as_millis() / 60,
        unit = quote(unit),
        listening = listening(port),
    );
    connection.run(Script::new("wait for the process", &text)).await.map(|_| ())
}

/// A shell command that succeeds if something listens on a TCP port of the host.
///
/// The tables come through a pipe: shells read byte by byte, and the kernel walks its tables anew at
/// every read.
#[must_use]
pub fn listening(port: u16) -> String {
    format!(
        "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | (while read -r _ local _ state _; do \
         case $state/$local in 0A/*:{port:04X}) exit 0;; esac; done; exit 1)"
    )
}
