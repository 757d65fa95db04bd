#!/bin/bash
# What a bad peer costs the calls on other connections of the same server: p99 in windows with and without it, taking turns.
# Prints a table in markdown. "spin" is the measure: a process that takes a processor and leaves the server alone.
#
# usage: benchmarks/isolation.sh [--seconds 2] [--rounds 5]
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../eng/lib.sh"
cd "$repo"
mkdir -p artifacts/log
timeout 600 dotnet build tests/Kuasar.Protocol.Soak -c Release -nologo -clp:NoSummary >artifacts/log/isolation-build.log 2>&1 ||
  die "the build failed: artifacts/log/isolation-build.log"
printf 'Revision %s, load average %s before.\n' "$(git rev-parse --short HEAD)" "$(cut -d' ' -f1-3 /proc/loadavg)"
exec timeout -s KILL 1800 tests/Kuasar.Protocol.Soak/bin/Release/net10.0/Kuasar.Protocol.Soak isolation "$@"
