#!/bin/bash
# What the library and a sandboxer add to a guest's boot, beside the same guest booted by hand; and the sandboxer's own memory for each guest.
#
# usage: benchmarks/vmm.sh [boots|memory]    (as root; both when neither is named, five minutes)
# Prints tables in markdown. What each part means: benchmarks/README.md. Leaves nothing behind.
#
# environment:
#   KUASAR_BIN                         published executables; made when not given
#   KUASAR_GUEST KUASAR_VMM_PREFIX     as in eng/demo-vmm.sh, made where they are not
#   ROUNDS                             of boots (15)
#   PODS                               numbers of guests at which memory is read ("1 10 20"), SETTLE seconds after the last was made (15)
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../eng/lib.sh"
need_root
cd "$repo"

: "${ROUNDS:=15}" "${PODS:=1 10 20}" "${SETTLE:=15}"
guest=${KUASAR_GUEST:-$repo/artifacts/vmm/guest}
prefix=${KUASAR_VMM_PREFIX:-$repo/artifacts/vmm/prefix}
run=/run/kuasar-vmm-bench
out=$repo/artifacts/vmm-bench
log=$repo/artifacts/log/vmm-bench.log
bench=$out/publish/vmm-bench
sandboxer_pid='' pods=()

clean_up() {
  local pod
  for pod in "${pods[@]}"; do timeout 30 "$bench" remove --run-dir $run "$pod" >>"$log" 2>&1 || true; done
  stop
}
trap clean_up EXIT
trap 'exit 130' INT TERM

build() {
  mkdir -p "$out" "$repo/artifacts/log"
  : >"$log"
  : "${KUASAR_BIN:=$repo/artifacts/bin}"
  [ -x "$KUASAR_BIN/kuasar-vmm-sandboxer" ] || eng/publish.sh "$KUASAR_BIN" >>"$log" 2>&1 || die "the executables do not build: $log"
  [ -f "$prefix/installed" ] || eng/vmm.sh "$prefix" >>"$log" 2>&1 || die "no QEMU: $log"
  [ -f "$guest/initrd.img" ] || eng/guest-image.sh "$KUASAR_BIN/kuasar-guest-agent" >>"$log" 2>&1 || die "no guest: $log"
  gcc -O2 -Wall -o "$out/by-hand" benchmarks/vmm.c
  timeout -s KILL 600 dotnet publish benchmarks/Vmm -c Release -o "$out/publish" --nologo -v q >>"$log" 2>&1 || die "benchmarks/Vmm does not build: $log"
}

# A keeper, and the sandboxer that it starts.
start() {
  mkdir -p $run
  # As /run is where systemd has made it: state is written down with fsync, which takes a disk milliseconds each time.
  [ "$(stat -f -c %T $run)" = tmpfs ] || mount -t tmpfs -o mode=0700 tmpfs $run
  setsid "$KUASAR_BIN/kuasar-vmm-sandboxer" --run-dir $run --kernel "$guest/vmlinux" --initrd "$guest/initrd.img" --prefix "$prefix" \
    --accelerator tcg >>"$log" 2>&1 </dev/null &
  sandboxer_pid=$!
  wait_for 20 test -S $run/control.sock || die "no sandboxer: $log"
}

stop() {
  [ -z "$sandboxer_pid" ] || end_process "$sandboxer_pid" TERM 20
  sandboxer_pid=''
  ! mountpoint -q $run || umount $run
  rm -rf $run
}

boots() {
  start
  timeout -s KILL $((ROUNDS * 60)) "$bench" boots --guest "$guest" --prefix "$prefix" --hand "$out/by-hand" --run-dir $run --rounds "$ROUNDS"
  stop
}

# pss PID: KiB.
pss() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }

# least PID: the least of ten readings, a second apart: garbage comes and goes.
least() {
  local _
  for _ in $(seq 10); do
    pss "$1"
    sleep 1
  done | sort -n | head -n 1
}

# The sandboxer is the child of its keeper that runs the same program; guests and their daemons run others.
serving() {
  local pid
  for pid in $(cat /proc/"$sandboxer_pid"/task/*/children); do
    [ "$(exe_of "$pid")" != "$(exe_of "$sandboxer_pid")" ] || echo "$pid"
  done
}

memory() {
  local count keeper sandboxer first='' total
  start
  printf '| guests | keeper KiB | sandboxer KiB | more for each guest KiB |\n|--:|--:|--:|--:|\n'
  for count in 0 $PODS; do
    while [ "${#pods[@]}" -lt "$count" ]; do pods+=("$(timeout -s KILL 90 "$bench" add --run-dir $run)"); done
    sleep "$SETTLE"
    keeper=$(least "$sandboxer_pid") sandboxer=$(least "$(serving)")
    total=$((keeper + sandboxer))
    # The first guest brings code and pools that the others use.
    if [ "$count" = 0 ] || [ -z "$first" ]; then
      printf '| %d | %d | %d | |\n' "$count" "$keeper" "$sandboxer"
      [ "$count" = 0 ] || first="$count $total"
    else
      printf '| %d | %d | %d | %s |\n' "$count" "$keeper" "$sandboxer" "$(awk -v t=$total -v n="$count" -v f="$first" 'BEGIN { split(f, a, " "); printf "%.0f", (t - a[2]) / (n - a[1]) }')"
    fi
  done
  timeout -s KILL 300 "$bench" remove --run-dir $run "${pods[@]}"
  pods=()
  stop
}

parts=("$@")
[ $# != 0 ] || parts=(boots memory)
build
printf 'Revision %s, load average %s before.\n\n' "$(git rev-parse --short HEAD)" "$(cut -d' ' -f1-3 /proc/loadavg)"
for part in "${parts[@]}"; do
  case $part in
    boots | memory) "$part" ;;
    *) die "usage: benchmarks/vmm.sh [boots|memory]" ;;
  esac
done
