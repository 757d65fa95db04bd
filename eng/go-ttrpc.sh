#!/bin/bash
# Installs a Go toolchain, the real Go ttrpc and NRI, as Debian packages them, into DIR and builds a program of this repository with
# them: tests/interop/go to DIR/peer, or the one of the folder SOURCES to DIR/<the folder's name>.
#
# usage: eng/go-ttrpc.sh [DIR [SOURCES]]     (artifacts/go; idempotent; a removed DIR, or other packages, install anew)
# Needs apt and dpkg and a Debian mirror that apt already knows; not root. SUITE: the Debian suite, default forky.
# Prints the versions. Exit code 3: the toolchain cannot be had here; 1: it can, and our program does not build.
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -le 2 ] || die "usage: eng/go-ttrpc.sh [DIR [SOURCES]]"
mkdir -p "${1:-$repo/artifacts/go}"
dir=$(cd "${1:-$repo/artifacts/go}" && pwd -P)
suite=${SUITE:-forky} state=$dir/.apt root=$dir/root program=$dir/peer sources=$repo/tests/interop/go
if [ $# = 2 ]; then
  sources=$(cd "$2" && pwd -P)
  program=$dir/${sources##*/}
fi
# What ttrpc and our program import, and no more: all that these packages depend on is ten times as much.
libraries=(golang-github-containerd-ttrpc-dev golang-github-containerd-nri-dev golang-github-containerd-log-dev golang-github-sirupsen-logrus-dev
  golang-golang-x-sys-dev golang-google-grpc-dev golang-google-genproto-dev golang-google-protobuf-dev)

unavailable() { say "${0##*/}: $*"; exit 3; }

# A state apart: the host's own sources and lists are neither read nor changed.
apt_apart() {
  local command=$1
  shift
  timeout -s KILL 300 "$command" -qq -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" -o Dir::State::status="$state/status" \
    -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any "$@"
}

known_mirror() {
  cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '$1 == "URIs:" && !found++ { print $2 }'
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
    awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z+]+:\// && !found++) print $i }'
}

install_toolchain() {
  local mirror compiler
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || unavailable "no apt-get and dpkg-deb to get Go with"
  rm -rf "$root" "$state"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/debs" "$root"
  : >"$state/status"
  mirror=$(known_mirror | head -n 1) || true
  [ -n "$mirror" ] || unavailable "apt knows no mirror here"
  echo "deb $mirror $suite main" >"$state/sources.list"
  apt_apart apt-get update >&2 || unavailable "apt cannot read the lists of $suite"
  # The suite's default Go, by the package that has it.
  compiler=$(apt_apart apt-cache depends golang-go | sed -nE 's/^ *Depends: (golang-[0-9.]+-go)$/\1/p' | head -n 1) || true
  [ -n "$compiler" ] || unavailable "$suite has no golang-go"
  (cd "$state/debs" && apt_apart apt-get download "$compiler" "${compiler%-go}-src" "${libraries[@]}" >&2) ||
    unavailable "apt cannot download Go or its ttrpc from $suite"
  local deb
  for deb in "$state"/debs/*.deb; do
    dpkg-deb -x "$deb" "$root"
    dpkg-deb --show "$deb"
  done >"$dir/.versions"
  rm -r "${state:?}"
  echo "$suite ${libraries[*]}" >"$dir/.complete"
}

build_program() {
  local goroot hash
  goroot=$(echo "$root"/usr/lib/go-*)
  hash=$(cat "$dir/.versions" "$sources"/*.go | sha256sum)
  [ -x "$program" ] && [ "$(cat "$program.built" 2>/dev/null)" = "$hash" ] && return
  # Without modules Go looks into GOPATH, and the -dev packages are one. No network is asked, whatever an import says.
  (cd "$sources" && env GO111MODULE=off GOFLAGS= GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0 GOROOT="$goroot" \
    GOPATH="$root/usr/share/gocode" GOCACHE="$dir/cache" timeout -s KILL 600 "$goroot/bin/go" build -o "$program.new" .) >&2 ||
    die "$sources does not build"
  mv "$program.new" "$program"
  echo "$hash" >"$program.built"
}

# Two at once would unpack over each other.
exec 9>"$dir/.lock"
flock -w 600 9 || die "another run holds $dir/.lock"
[ "$(cat "$dir/.complete" 2>/dev/null)" = "$suite ${libraries[*]}" ] || install_toolchain
build_program
cat "$dir/.versions"
