#!/bin/bash
# Measures ttrpc as Kuasar.Protocol does it beside Go ttrpc, grpc-dotnet and bare .NET sockets: client and server in two processes, one
# connection over a unix socket, all taking turns.
#
# usage: benchmarks/ttrpc.sh [--save]
#   --save   also writes benchmarks/results/ttrpc-side-by-side.md and docs/ttrpc.svg
# Prints tables in markdown. What each part means: benchmarks/README.md. Needs what NativeAOT links with (see eng/publish.sh), and apt for Go.
#
# environment, for less (two minutes: ROUNDS=1 WINDOW=0.5 PEERS='ours go' PARTS=side-by-side):
#   ROUNDS WINDOW      how often each peer does each workload (5), and seconds of it that are measured (1), after its warm-up
#   PEERS WORKLOADS    only these: ours ours-jit go grpc raw-blocking raw-async; unary-64-1, down-4096 ... (a wrong name lists them)
#   PARTS              of "side-by-side idle allocations"
#   CONNECTIONS IDLE_ROUNDS    of the part idle: 2000 connections, 4 rounds
#   RUNS               a file of measured runs to report, instead of measuring (artifacts/ttrpc/runs.jsonl has the last)
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../eng/lib.sh"
cd "$repo"

case ${1:-} in
  '') save='' ;;
  --save) save=1 ;;
  *) die "usage: benchmarks/ttrpc.sh [--save]" ;;
esac

: "${ROUNDS:=5}" "${WINDOW:=1}" "${PEERS:=}" "${WORKLOADS:=}" "${PARTS:=side-by-side idle allocations}" "${CONNECTIONS:=2000}" "${IDLE_ROUNDS:=4}"
peers=() workloads=()
[ -z "$PEERS" ] || read -ra peers <<<"--peers $PEERS"
[ -z "$WORKLOADS" ] || read -ra workloads <<<"--workloads $WORKLOADS"
work=$repo/artifacts/ttrpc
programs=$work/programs
log=$repo/artifacts/log/ttrpc-benchmark.log
go_versions=''

case $(uname -m) in
  x86_64) rid=linux-x64 ;;
  aarch64) rid=linux-arm64 ;;
  *) die "no NativeAOT for $(uname -m) here" ;;
esac

# publish PROJECT FOLDER OPTION...
publish() {
  timeout -s KILL 900 dotnet publish "benchmarks/Ttrpc/$1" -c Release -o "$programs/$2" -nologo -clp:NoSummary "${@:3}" >>"$log" 2>&1 ||
    die "benchmarks/Ttrpc/$1 does not build: $log"
}

build() {
  mkdir -p "$programs" "$repo/artifacts/log"
  : >"$log"
  publish Peer aot -r $rid
  publish Peer jit -p:PublishAot=false
  publish GrpcPeer grpc
  publish Runner runner
  local code=0
  go_versions=$(eng/go-ttrpc.sh artifacts/go benchmarks/ttrpc-go) || code=$?
  case $code in
    0)
      mkdir -p "$programs/go"
      cp artifacts/go/ttrpc-go "$programs/go/"
      ;;
    3)
      say "without Go ttrpc"
      rm -rf "$programs/go"
      ;;
    *) exit "$code" ;;
  esac
}

runner() { timeout -s KILL 3600 "$programs/runner/ttrpc-runner" "$@"; }

part() { [[ " $PARTS " = *" $1 "* ]]; }

measure() {
  RUNS=$work/runs.jsonl
  # What failed is told, and the rest reported.
  runner run --programs "$programs" --runs "$RUNS" --rounds "$ROUNDS" --window "$WINDOW" "${peers[@]}" "${workloads[@]}" >&2 || failed=1
}

head_of_report() {
  cat <<T
# ttrpc side by side

Made by \`benchmarks/ttrpc.sh\`. Client and server are two processes with one connection between them, over a unix socket.

| | |
|---|---|
| Date | $(date -u '+%Y-%m-%d %H:%M UTC') |
| Revision | $(git rev-parse --short HEAD)$([ -z "$(git status --porcelain -- src benchmarks/Ttrpc benchmarks/ttrpc-go)" ] || echo ' and changes to src or benchmarks') |
| Machine | $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u | head -n 1), $(awk '$1 == "MemTotal:" { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r) |
| Load average | $load_before before, $(cut -d' ' -f1-3 /proc/loadavg) after |
| Ours, raw sockets | .NET $(dotnet --list-runtimes | awk '$1 == "Microsoft.NETCore.App" { v = $2 } END { print v }'), NativeAOT |
| grpc-dotnet | $(sed -n 's/.*"Grpc.Net.Client" Version="\([^"]*\)".*/\1/p' Directory.Packages.props), Kestrel and SocketsHttpHandler on the JIT |
| Go | $(awk '/^golang-[0-9.]*-go/ { go = $2 } /containerd-ttrpc-dev/ { ttrpc = $2 } END { print ttrpc ? "ttrpc " ttrpc ", Go " go : "not here" }' <<<"$go_versions") |

T
}

report() {
  local plot=()
  [ -z "$save" ] || plot=(--plot docs/ttrpc.svg)
  head_of_report
  if part side-by-side; then
    runner report --runs "$RUNS" "${plot[@]}"
    echo
  fi
  local file
  for file in idle allocations; do if part $file; then cat "$work/$file.md"; echo; fi; done
}

failed=''
load_before=$(cut -d' ' -f1-3 /proc/loadavg)
build
if part side-by-side && [ -z "${RUNS:-}" ]; then measure; fi
if part idle; then
  { printf '## Idle connections\n\n'; runner idle --programs "$programs" "${peers[@]}" --count "$CONNECTIONS" --rounds "$IDLE_ROUNDS" --window "$WINDOW"; } >"$work/idle.md"
fi
if part allocations; then
  { printf '## Allocations per unary call\n\n'; timeout -s KILL 300 "$programs/jit/ttrpc-peer" allocations; } >"$work/allocations.md"
fi
report >"$work/report.md"
cat "$work/report.md"
[ -z "$save" ] || cp "$work/report.md" benchmarks/results/ttrpc-side-by-side.md
[ -z "$failed" ]
