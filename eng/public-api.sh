#!/bin/bash
# Rewrites src/*/PublicAPI.Unshipped.txt to the public members that PublicAPI.Shipped.txt does not have.
#
# usage: eng/public-api.sh
# Read the difference before you commit it: it is what users of the packages will see. The log: artifacts/log/public-api.log
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# = 0 ] || die "usage: eng/public-api.sh"
command -v dotnet >/dev/null || die "no dotnet on PATH: the .NET SDK 10 is needed"
cd "$repo"
log=artifacts/log/public-api.log
mkdir -p ${log%/*}
: >$log

keep=$(mktemp -d)
restore() {
  local project
  for project in src/Kuasar.*; do cp "$keep/${project##*/}" "$project/PublicAPI.Unshipped.txt"; done
}
trap 'rm -rf "$keep"' EXIT
for project in src/Kuasar.*; do
  cp "$project/PublicAPI.Unshipped.txt" "$keep/${project##*/}"
  # Newer than the assembly, so that the builds below compile again. With empty files the compiler names every entry.
  printf '#nullable enable\n' >"$project/PublicAPI.Unshipped.txt"
done
for project in src/Kuasar.*; do
  timeout -k 10 600 dotnet build "$project" -c Release -nologo -clp:NoSummary -p:TreatWarningsAsErrors=false >>$log 2>&1 || {
    restore
    grep -E 'error ' $log | sort -u >&2
    die "the build failed: $log"
  }
done
for project in src/Kuasar.*; do
  sed -nE "s|^.*/$project/.* warning RS0016: Symbol '(.*)' is not part of the declared public API.*|\1|p" $log | sort -u >>"$project/PublicAPI.Unshipped.txt"
  say "${project##*/}: $(grep -vc '^#' "$project/PublicAPI.Unshipped.txt") members"
done
