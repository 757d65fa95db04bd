#!/bin/bash
# Fuzzes Kuasar.Protocol: builds tests/Kuasar.Protocol.Fuzz and runs it.
#
# usage: eng/fuzz.sh [SECONDS] [TARGET...]    (60 seconds in all, every target; 0 only sorts out inputs)
#        eng/fuzz.sh again TARGET FILE...     runs inputs once, the library not instrumented
# Targets: envelopes frames server client. Needs nothing but the SDK: SharpFuzz instruments a copy of the library.
# Inputs that reach something new are kept in artifacts/fuzz/TARGET/found, and used by the next run; 0 seconds
# leaves the few that together reach all that is reached. What breaks is artifacts/fuzz/TARGET/crash-*, and the exit code 1.
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

project=$repo/tests/Kuasar.Protocol.Fuzz
mkdir -p "$repo/artifacts/log"
timeout 600 dotnet build "$project" -c Release -nologo -clp:NoSummary >"$repo/artifacts/log/fuzz-build.log" 2>&1 ||
  die "the build failed: $repo/artifacts/log/fuzz-build.log"
case ${1:-} in
  again) arguments=("$@") ;;
  *) arguments=(run "${1:-60}" "${@:2}") ;;
esac
exec dotnet "$project/bin/Release/net10.0/Kuasar.Protocol.Fuzz.dll" "${arguments[@]}"
