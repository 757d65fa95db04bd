#!/bin/bash
# Echo of 64 bytes by VsockStream beside plain C on the same socket, in turns; prints medians and 99th percentiles in microseconds.
#
# usage: benchmarks/vsock.sh [guest | ADDRESS]
#   guest    boots one (as root; KUASAR_GUEST and KUASAR_VMM_PREFIX as in eng/demo-vmm.sh): AF_VSOCK from there to an echo on this host, and
#            the hybrid socket from here to an echo in there
#   ADDRESS  of an echo server (artifacts/vsock/vsock serve); default: one of ours behind a hybrid socket on this host, where a round trip is
#            shortest and what .NET adds shows most
# environment: ROUNDS (5), COUNT of echoes in each turn (5000; 1500 in a guest)
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../eng/lib.sh"
cd "$repo"

rounds=${ROUNDS:-5} count=${COUNT:-5000}
out=artifacts/vsock
log=$repo/artifacts/log/vsock.log
mkdir -p $out artifacts/log
gcc -O2 -Wall -static -o $out/vsock benchmarks/vsock.c
timeout -s KILL 600 dotnet publish benchmarks/Vsock -c Release -o $out/publish --nologo -v q >"$log" 2>&1 || { tail "$log" >&2; die "the build failed: $log"; }

if [ "${1:-}" = guest ]; then
  need_root
  timeout -s KILL 600 dotnet publish benchmarks/Vmm -c Release -o artifacts/vmm-bench/publish --nologo -v q >>"$log" 2>&1 || { tail "$log" >&2; die "the build failed: $log"; }
  timeout -s KILL 600 artifacts/vmm-bench/publish/vmm-bench echo --guest "${KUASAR_GUEST:-artifacts/vmm/guest}" --prefix "${KUASAR_VMM_PREFIX:-artifacts/vmm/prefix}" \
    --plain $out/vsock --dotnet $out/publish/vsock-dotnet --rounds "$rounds" --calls "${COUNT:-1500}"
  exit
fi

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
