#!/bin/bash
# Unpacks the .proto files of containerd, its cgroups and ttrpc libraries and CRI, as Debian packages them, into DIR.
# usage: eng/fetch-upstream-protos.sh DIR        (idempotent; an emptied DIR fetches anew)
# Needs apt and dpkg and a Debian mirror that apt already knows. SUITE: the Debian suite, default forky.
set -eu
[ $# -eq 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd); suite=${SUITE:-forky}; state=$dir/.apt
required="golang-github-containerd-containerd-api-dev golang-k8s-cri-api-dev"
# What the above import, and the metrics; which of them exist differs between suites.
wanted="golang-github-containerd-cgroups-dev golang-github-containerd-cgroups-v3-dev golang-github-containerd-ttrpc-dev"

# A state apart: the host's own sources and lists are neither read nor changed.
apt_apart() {
  local command=$1; shift
  "$command" -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::Lists="$state/lists" \
    -o Dir::Cache="$state/cache" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root "$@"
}

if [ ! -f "$dir/.complete" ]; then
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/debs" "$dir/root"
  mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '$1 == "URIs:" { print $2; exit }')
  [ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
    awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z+]+:\//) { print $i; exit } }')
  [ -n "$mirror" ] || { echo "apt knows no mirror here" >&2; exit 1; }
  echo "deb $mirror $suite main" > "$state/sources.list"
  apt_apart apt-get update -qq
  cd "$state/debs"
  for package in $required $wanted; do
    if ! apt_apart apt-cache show --no-all-versions "$package" > /dev/null 2>&1; then
      case " $required " in *" $package "*) echo "$suite has no $package" >&2; exit 1 ;; esac
      continue
    fi
    ls "$package"_*.deb > /dev/null 2>&1 || apt_apart apt-get -qq download "$package"
    dpkg -x "$package"_*.deb "$dir/root"
    dpkg-deb --show "$package"_*.deb
  done > "$dir/.versions"
  touch "$dir/.complete"
fi
cat "$dir/.versions"
