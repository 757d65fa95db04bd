#!/bin/bash
# What a keeper costs a call of the Task service: two sandboxers, one of them with a keeper, are asked in turns. Prints a line for each.
#
# usage: benchmarks/keeper.sh [--count TURNS]     of 500 calls each; 20
# environment: KUASAR_BIN, the published executables (eng/publish.sh); made when it is not set
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../eng/lib.sh"
need_root
cd "$repo"
run=/run/kuasar-keeper-bench
log=artifacts/log/keeper-benchmark.log
pids=()
mkdir -p artifacts/log
: >$log
clean_up() {
  local pid
  for pid in "${pids[@]}"; do end_process "$pid"; done
  rm -rf $run
}
trap clean_up EXIT

: "${KUASAR_BIN:=$repo/artifacts/bin}"
[ -x "$KUASAR_BIN/kuasar-runc-sandboxer" ] || eng/publish.sh "$KUASAR_BIN" >>$log 2>&1 || die "the executables do not build: $log"
timeout 600 dotnet build benchmarks/SideBySide -c Release -nologo -clp:NoSummary >>$log 2>&1 || die "benchmarks/SideBySide does not build: $log"

# start NAME OPTION...
start() {
  mkdir -p "$run"
  setsid "$KUASAR_BIN/kuasar-runc-sandboxer" --run-dir "$run/$1" --runtime /bin/true "${@:2}" >>$log 2>&1 </dev/null &
  pids+=($!)
  wait_for 20 test -S "$run/$1/control.sock" || die "no sandboxer: $log"
}
start without --no-keeper
start with
printf 'Revision %s, load average %s before.\n' "$(git rev-parse --short HEAD)" "$(cut -d' ' -f1-3 /proc/loadavg)"
count=(--count 20)
[ $# = 0 ] || count=("$@")
timeout -s KILL 300 benchmarks/SideBySide/bin/Release/net10.0/SideBySide calls --run-dirs $run/without $run/with "${count[@]}"
