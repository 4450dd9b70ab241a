# shellcheck shell=bash
# Sourced, not run. Debian packages of any suite, their signatures checked, by an apt of our own:
# its sources, lists and caches lie in a folder of the caller's, the machine's apt is only read.

DEBIAN_KEYRING=${LAB_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

# The mirror that this machine already uses reaches Debian from here, whatever the network; LAB_MIRROR overrides it.
# shellcheck disable=SC2016
debian_mirror() {
  local targets
  if [ -n "${LAB_MIRROR:-}" ]; then echo "${LAB_MIRROR%/}"; return; fi
  targets=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 2>/dev/null || true)
  # Without fetched lists apt knows no origin: then a folder `debian` right below the host's name must do.
  { sed -n 's,^Debian|Debian|\(.*[^/]\)/*$,\1,p' <<<"$targets"
    sed -n 's,^|*\([a-z+]*://[^/]*/debian\)/*$,\1,p' <<<"$targets"
    # A machine that is no Debian: what mmdebstrap itself takes.
    grep -o 'http://deb[.][a-z.]*/debian' "$(command -v mmdebstrap)" || true; } | sed -n 1p
}

# A mirror that lags behind, or stands still, serves an expired sid. An old package is no danger to a test: the signature counts.
debian_source() { echo "deb [signed-by=$DEBIAN_KEYRING check-valid-until=no] $(debian_mirror) $1 main"; }

# debian_lists DIR SUITE...: fetch the package lists of these suites into DIR.
debian_lists() {
  local dir=$1 suite; shift
  [ -r "$DEBIAN_KEYRING" ] || { echo "no Debian keyring at $DEBIAN_KEYRING; tests/lab/install-needs installs it" >&2; return 1; }
  mkdir -p "$dir"/etc/apt/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} \
    "$dir"/var/lib/apt/lists/partial "$dir"/var/cache/apt/archives/partial
  : >"$dir/status"
  # How the machine reaches the network (proxies and the like) holds for us, too; its hooks do not: they clean its own caches.
  { apt-config dump | grep -E '^Acquire::(https?|Retries|ForceIPv[46])[: ]' || true
    cat <<CONF
Dir "$dir";
Dir::State::status "$dir/status";
Acquire::Languages "none";
APT::Sandbox::User "root";
CONF
  } >"$dir/apt.conf"
  for suite; do debian_source "$suite"; done >"$dir/etc/apt/sources.list"
  # Error-Mode: without it apt-get calls lists that it could not fetch a warning, and goes on.
  APT_CONFIG=$dir/apt.conf apt-get -q -o APT::Update::Error-Mode=any update >"$dir/log" 2>&1 || { cat "$dir/log" >&2; return 1; }
}

# debian_fetch DIR SUITE PACKAGE...: download packages of a suite into the current folder.
debian_fetch() {
  local dir=$1 suite=$2; shift 2
  APT_CONFIG=$dir/apt.conf apt-get -q download "${@/%//$suite}" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; return 1; }
}
