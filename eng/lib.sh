# shellcheck shell=bash
# What eng/*.sh, test.sh and demo.sh share. Sourced, never run.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# The scripts read what tools print.
export LC_ALL=C.UTF-8
# ip and iptables are in sbin, which not every root shell looks into.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "must run as root (mounts, namespaces, cgroups)"; }

# wait_for SECONDS COMMAND...: until the command succeeds; fails when the time is over.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

apt() { DEBIAN_FRONTEND=noninteractive timeout 900 apt-get -qq -o DPkg::Lock::Timeout=120 "$@"; }

# install_packages PACKAGE...: from the host's own distribution.
install_packages() {
  say "installing on this host: $*"
  [ "$(id -u)" = 0 ] || die "root is needed to install: $*"
  apt update >&2
  apt install -y --no-install-recommends "$@" >&2
}

# exe_of PID: the program a live process runs. Empty for a zombie, which kill -0 takes for alive
# (where pid 1 does not reap, a killed daemon stays one).
exe_of() {
  local exe
  exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 1
  printf '%s\n' "${exe% (deleted)}"
}

gone() { [ -z "$(exe_of "$1")" ]; }

# args_of PID: its command line, one line, arguments separated by spaces.
args_of() { { tr '\0\n' '  ' <"/proc/$1/cmdline"; } 2>/dev/null || true; }

# end_process PID [SIGNAL] [SECONDS]: signals it, waits, and kills it when the time is over.
end_process() {
  local pid=$1 signal=${2:-TERM} seconds=${3:-10}
  gone "$pid" && return 0
  kill -s "$signal" "$pid" 2>/dev/null || true
  wait_for "$seconds" gone "$pid" && return 0
  kill -s KILL "$pid" 2>/dev/null || true
  wait_for 5 gone "$pid" || die "process $pid ($(args_of "$pid")) does not end"
}
