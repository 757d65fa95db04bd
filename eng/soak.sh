#!/bin/bash
# The soak: 64 callers of our client each on our server and on Go's, and 64 of Go's on ours, with all that can end a call or a
# connection, for so long. Prints how it goes, and a verdict; exit code 1 when that is bad.
#
# usage: eng/soak.sh [SECONDS] [OPTION...]     (600; --callers N --pause MS --seed N)
# Without Go (see eng/go-ttrpc.sh) it runs our own client and server alone, and says so.
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$repo"
seconds=${1:-600}
[[ $seconds =~ ^[0-9]+$ ]] || die "usage: eng/soak.sh [SECONDS] [OPTION...]"
[ $# = 0 ] || shift
mkdir -p artifacts/log
timeout 600 dotnet build tests/Kuasar.Protocol.Soak -c Release -nologo -clp:NoSummary >artifacts/log/soak-build.log 2>&1 ||
  die "the build failed: artifacts/log/soak-build.log"
go=(--go artifacts/go/peer)
code=0
eng/go-ttrpc.sh >artifacts/log/soak-go.log 2>&1 || code=$?
if [ $code = 3 ]; then
  say "without Go: $(tail -n 1 artifacts/log/soak-go.log)"
  go=()
elif [ $code != 0 ]; then
  die "the Go peer does not build: artifacts/log/soak-go.log"
fi
exec timeout -s KILL $((seconds + 300)) tests/Kuasar.Protocol.Soak/bin/Release/net10.0/Kuasar.Protocol.Soak \
  soak --seconds "$seconds" "${go[@]}" "$@"
