//! From where somebody came to a host, as its sshd saw it.

/// Sets `from` to the address; to nothing where there is none. Who came by sudo is found by the shell that sshd
/// started, some processes above.
pub const ORIGIN: &str = r#"from=${SSH_CONNECTION:-} process=$$ steps=0
while [ -z "$from" ] && [ "$process" -gt 1 ] && [ "$steps" -lt 8 ]; do
  steps=$((steps + 1))
  from=$(tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | while IFS= read -r line; do
    case $line in SSH_CONNECTION=*) printf '%s' "${line#*=}"; break;; esac
  done) || from=
  above=1
  while read -r key value; do
    if [ "$key" = PPid: ]; then above=$value; break; fi
  done <"/proc/$process/status" || :
  process=$above
done
from=${from%% *}
case $from in *[!0-9a-fA-F.:]*) from=;; esac
"#;
