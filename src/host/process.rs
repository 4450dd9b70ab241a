//! Starting a service and waiting, on the host itself, for a started service's process.

use super::connection::{Connection, Script};
use super::error::HostError;
use crate::ssh::quote;
use std::time::Duration;

/// Runs `begin`, which starts the unit without waiting, then waits until its process listens on
/// `port` (true), has crashed, or `limit` has passed (false); which of these, the next observation
/// tells. One round trip however long it takes.
///
/// # Errors
/// `begin` failed, or the host cannot be reached any more.
pub async fn start_and_wait(
    connection: &Connection,
    begin: &str,
    unit: &str,
    port: u16,
    limit: Duration,
) -> Result<bool, HostError> {
    let text = format!(
        r#"{begin}
i=0
while [ "$i" -lt {rounds} ]; do
  if {listening}; then echo listening; exit 0; fi
  i=$((i + 1))
  # Asking systemd costs more than reading the kernel's tables.
  if [ $((i % 10)) = 0 ]; then
    case $(systemctl show {unit} -p ActiveState,SubState | tr '\n' ' ') in *=failed*|*=auto-restart*) exit 0;; esac
  fi
  sleep 0.02
done
"#,
        // A round takes a little longer than its pause; the limit is for the person who waits.
        rounds = limit.as_millis() / 25,
        unit = quote(unit),
        listening = listening(port),
    );
    Ok(connection.run(Script::new("start etcd", &text)).await?.starts_with(b"listening"))
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
