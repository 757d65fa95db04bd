#!/bin/bash
# Echo of 64 bytes by VsockStream beside plain C on the same socket, in turns; prints medians and 99th percentiles in microseconds.
#
# usage: benchmarks/vsock.sh [ADDRESS]
#   ADDRESS  of an echo server (artifacts/vsock/vsock serve, in a guest: benchmarks/vsock.c is static); default: one of ours behind a
#            hybrid socket on this host, where a round trip is shortest and what .NET adds shows most
# In a guest, which has no bash: ROUNDS of `vsock client ADDRESS COUNT` and `vsock-dotnet blocking|async ADDRESS COUNT` by hand.
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../eng/lib.sh"
cd "$repo"

rounds=5 count=${COUNT:-5000}
out=artifacts/vsock
log=$repo/artifacts/log/vsock.log
mkdir -p $out artifacts/log
gcc -O2 -Wall -static -o $out/vsock benchmarks/vsock.c
timeout -s KILL 600 dotnet publish benchmarks/Vsock -c Release -o $out/publish --nologo -v q >"$log" 2>&1 || { tail "$log" >&2; die "the build failed: $log"; }

address=${1:-}
server='' folder=''
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$folder" ] || rm -rf "$folder"
}
trap finish EXIT
if [ -z "$address" ]; then
  folder=$(mktemp -d)
  address=hvsock://$folder/v.sock:1
  $out/vsock serve "$address" &
  server=$!
  for _ in $(seq 100); do [ -S "$folder/v.sock" ] && break || sleep 0.02; done
fi

declare -A medians tails
for _ in $(seq $rounds); do
  for kind in c blocking async; do
    case $kind in
      c) line=$(timeout 60 $out/vsock client "$address" "$count") ;;
      *) line=$(timeout 60 $out/publish/vsock-dotnet $kind "$address" "$count") ;;
    esac
    medians[$kind]+="${line% *} " tails[$kind]+="${line#* } "
  done
done

# middle VALUES...: their median
middle() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
printf '| 64 bytes to %s and back | median us | p99 us | to C |\n|---|---|---|---|\n' "${address%%:*}"
for kind in c blocking async; do
  # shellcheck disable=SC2086 # a list of numbers
  awk -v kind=$kind -v m="$(middle ${medians[$kind]})" -v p="$(middle ${tails[$kind]})" -v c="$(middle ${medians[c]})" \
    'BEGIN { printf "| %s | %.1f | %.1f | %.2f |\n", kind, m / 1000, p / 1000, m / c }'
done
