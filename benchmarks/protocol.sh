#!/bin/bash
# Runs the benchmarks of the protocol and prints their tables in markdown. See benchmarks/README.md.
#
# usage: benchmarks/protocol.sh [--save] [OPTION...]
#   --save     also writes benchmarks/results/ttrpc.md
#   OPTION...  BenchmarkDotNet's (--job short --filter '*')
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../eng/lib.sh"
cd "$repo"

save=''
if [ "${1:-}" = --save ]; then
  save=1
  shift
fi
[ $# != 0 ] || set -- --job short --filter '*'
results=$repo/artifacts/benchmarks
log=$repo/artifacts/log/benchmarks.log
rm -rf "$results"
mkdir -p "$results" "$repo/artifacts/log"
load=$(cut -d' ' -f1-3 /proc/loadavg)
timeout -s KILL 1800 dotnet run -c Release --project benchmarks/Kuasar.Benchmarks -- --artifacts "$results" "$@" >"$log" 2>&1 ||
  { tail -n 20 "$log" >&2; die "the benchmarks failed: $log"; }

# report FILE: its table. Bold only marks groups.
report() { printf '\n## %s\n\n' "$(basename "$1" -report-github.md | sed 's/.*\.//')"; grep '^|' "$1" | sed 's/\*\*//g'; }

{
  printf '# ttrpc\n\nMade by `benchmarks/protocol.sh`, %s, revision %s, load average %s before and %s after.\n\n' \
    "$(date -u '+%Y-%m-%d %H:%M UTC')" "$(git rev-parse --short HEAD)" "$load" "$(cut -d' ' -f1-3 /proc/loadavg)"
  for file in "$results"/results/*-github.md; do
    sed '/^|/d' "$file"
    break
  done
  for file in "$results"/results/*-github.md; do report "$file"; done
} >"$results/report.md"
cat "$results/report.md"
[ -z "$save" ] || cp "$results/report.md" benchmarks/results/ttrpc.md
