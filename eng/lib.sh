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

# --- packages of another suite, which the host's own never mix with ----------------------------------------------------

# Where the host gets Debian from: "URI [KEYRING]" of the first source that is not the security archive's.
host_mirror() {
  local deb822=/etc/apt/sources.list.d/debian.sources list=/etc/apt/sources.list
  if [ -f $deb822 ]; then
    awk 'BEGIN { RS = ""; FS = "\n" }
      { uri = key = ""
        for (i = 1; i <= NF; i++) {
          split($i, word, /[ \t]+/)
          if (word[1] == "URIs:") uri = word[2]
          if (word[1] == "Signed-By:" && word[2] ~ /^\//) key = word[2]
        }
        if (uri != "" && uri !~ /security/) { print uri, key; exit } }' $deb822
  elif [ -f $list ]; then
    sed -nE '/^deb[[:space:]]/{
      s/^deb[[:space:]]+\[[^]]*signed-by=([^] ]+)[^]]*\][[:space:]]+([^[:space:]]+).*/\2 \1/
      s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+).*/\2/
      /security/!{p;q}
    }' $list
  fi
}

# suite_update FOLDER SUITE: sources, and lists of what the suite has. apt checks the signatures with the host's keys.
suite_update() {
  local mirror='' key=''
  read -r mirror key < <(host_mirror) || die "no Debian mirror in /etc/apt/sources.list.d/debian.sources or /etc/apt/sources.list"
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
  : >"$1/status"
  # targets: only the package list, no app store metadata.
  echo "deb [targets=Packages${key:+ signed-by=$key}] $mirror $2 main" >"$1/sources.list"
  suite_apt "$1" update >&2
}

# suite_apt FOLDER ARGUMENT...: apt with lists, cache and status of its own, by which nothing is installed.
suite_apt() {
  apt -o Dir::Etc::sourcelist="$1/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::Lists="$1/lists" -o Dir::Cache="$1/cache" \
    -o Dir::State::status="$1/status" -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root "${@:2}"
}

# --- processes --------------------------------------------------------------------------------------------------------

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
