#!/bin/bash
# Measures kuasar-runc beside the stock containerd-shim-runc-v2, in the same containerd, the two taking turns.
#
# usage: benchmarks/side-by-side.sh [--pods] [--save]    (as root)
#   --pods   pods with CNI by each of containerd's routes instead, beside the stock runtime's; two minutes
#   --save   also writes benchmarks/results/side-by-side.md, or pods-side-by-side.md
# Prints a table in markdown. What each part means: benchmarks/README.md. Leaves nothing behind.
#
# environment:
#   KUASAR_BIN    published executables; made when not given
#   STARTS RUNS CALLS    samples of each: shim starts (40), ctr runs (20), CRI calls (10; 40 with --pods)
#   PODS          numbers of pods at which memory is read ("1 10 50"), SETTLE seconds after the last was made (15)
#   KUASAR_TESTBED* KUASAR_BRIDGE KUASAR_SUBNET SUITE    as in eng/containerd.sh
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../eng/lib.sh"
cd "$repo"

save='' pods=''
for argument in "$@"; do
  case $argument in
    --save) save=1 ;;
    --pods) pods=1 ;;
    *) die "usage: benchmarks/side-by-side.sh [--pods] [--save]" ;;
  esac
done

: "${STARTS:=40}" "${RUNS:=20}" "${CALLS:=${pods:+40}}" "${CALLS:=10}" "${PODS:=1 10 50}" "${SETTLE:=15}"
export KUASAR_TESTBED=${KUASAR_TESTBED:-$repo/artifacts/bench}
export KUASAR_TESTBED_DIST=${KUASAR_TESTBED_DIST:-$repo/artifacts/testbed/dist}
export KUASAR_TESTBED_RUN=${KUASAR_TESTBED_RUN:-/run/kuasar-bench}
export KUASAR_BRIDGE=${KUASAR_BRIDGE:-kuasarb0} KUASAR_SUBNET=${KUASAR_SUBNET:-10.230.0.0/16}

run=$KUASAR_TESTBED_RUN
run_dir=$run/k
tools=$KUASAR_TESTBED/tools
samples=$KUASAR_TESTBED/samples
metrics=127.0.0.1:21338
sandboxer_pid=''
declare -A runtime=([stock]=io.containerd.runc.v2 [ours]=io.containerd.kuasar-runc.v1)
declare -A handler=([stock]=runc [ours]=kuasar-runc)
routes=(kuasar-runc kuasar-runc-shim kuasar-runc-proxy)

# --- set-up and clean-up ----------------------------------------------------------------------------------------------

# A linker is there: NativeAOT needs one.
build_tools() {
  mkdir -p "$tools" "$repo/artifacts/log"
  "$(command -v gcc || command -v clang)" -O2 -o "$tools/timed" benchmarks/timed.c
  timeout -s KILL 600 dotnet build benchmarks/SideBySide -c Release -nologo -clp:NoSummary >artifacts/log/side-by-side.log 2>&1 ||
    die "benchmarks/SideBySide does not build: artifacts/log/side-by-side.log"
}

install_binaries() {
  if [ -z "${KUASAR_BIN:-}" ]; then
    KUASAR_BIN=$repo/artifacts/bin
    eng/publish.sh "$KUASAR_BIN" >&2
  fi
  mkdir -p "$KUASAR_TESTBED/bin"
  install -m 755 "$KUASAR_BIN"/{containerd-shim-kuasar-runc-v1,kuasar-runc-sandboxer} "$KUASAR_TESTBED/bin/"
  echo "run-dir=$run_dir" >"$KUASAR_TESTBED/bin/containerd-shim-kuasar-runc-v1.conf"
}

sandboxer_ready_or_dead() { [ -S "$run_dir/control.sock" ] || gone "$sandboxer_pid"; }

start_sandboxer() {
  mkdir -p "$run_dir"
  setsid "$KUASAR_TESTBED/bin/kuasar-runc-sandboxer" --run-dir "$run_dir" --runtime "$KUASAR_RUNC" --no-keeper \
    ${pods:+--proxy "$run/kuasar-runc.sock" --containerd "$run/containerd.sock"} \
    >"$KUASAR_TESTBED/sandboxer.log" 2>&1 </dev/null &
  sandboxer_pid=$!
  disown # no word of bash about its end
  wait_for 20 sandboxer_ready_or_dead && ! gone "$sandboxer_pid" || die "no sandboxer: $KUASAR_TESTBED/sandboxer.log"
}

set_up() {
  eng/containerd.sh clean
  eng/containerd.sh install
  eng/containerd.sh images
  install_binaries
  build_tools
  eng/containerd.sh config
  # What containerd itself counts of the time in CNI plugins.
  [ -z "$pods" ] || printf '%s\n' 'version = 3' '[metrics]' "  address = '$metrics'" >"$KUASAR_TESTBED/runtimes.d/metrics.toml"
  eval "$(eng/containerd.sh env)"
  start_sandboxer
  eng/containerd.sh start
  eng/containerd.sh import >/dev/null 2>&1
  containerd=$(command -v containerd)
  rm -rf "$samples"
  mkdir -p "$samples"
}

clean_up() {
  local code=$? pid
  trap - EXIT
  # containerd first: it removes containers through the sandboxer.
  for pid in $(stock_shims); do [[ $(args_of "$pid") != *"-namespace bench "* ]] || end_process "$pid" KILL; done
  eng/containerd.sh clean >&2 || code=1
  [ -z "$sandboxer_pid" ] || end_process "$sandboxer_pid"
  eng/containerd.sh leftovers >&2 || code=1
  exit $code
}

# --- processes --------------------------------------------------------------------------------------------------------

# The stock shims of this test bed that live.
stock_shims() {
  local pid
  for pid in /proc/[0-9]*; do
    pid=${pid#/proc/}
    [[ $(exe_of "$pid") == */containerd-shim-runc-v2 && $(args_of "$pid") == *" $run/"* ]] && echo "$pid"
  done || true
}

processes_of() { if [ "$1" = ours ]; then echo "$sandboxer_pid"; else stock_shims; fi; }

# Pss in KiB, the number of processes and of threads, of the pids.
footprint() {
  local pid pss=0 processes=0 threads=0 kib
  for pid in "$@"; do
    kib=$(awk '$1 == "Pss:" { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null) || continue
    pss=$((pss + kib)) processes=$((processes + 1))
    threads=$((threads + $(awk '$1 == "Threads:" { print $2 }' "/proc/$pid/status")))
  done
  echo "$pss $processes $threads"
}

# --- measuring --------------------------------------------------------------------------------------------------------

# sample NAME COMMAND...: one line of `timed` more in the file NAME.
sample() { timeout -s KILL 60 "$tools/timed" "$samples/$1" "${@:2}"; }

side_by_side() { timeout -s KILL "${side_limit:-600}" benchmarks/SideBySide/bin/Release/net10.0/SideBySide "$@" --address "$run/containerd.sock"; }

# both NUMBER COMMAND: COMMAND stock and COMMAND ours, who is first changes from turn to turn.
both() { if [ $(($1 % 2)) = 0 ]; then "${@:2}" stock && "${@:2}" ours; else "${@:2}" ours && "${@:2}" stock; fi; }

# As containerd does it: in the bundle, with its environment, stdin empty as without options.
shim_start() { # NUMBER WHO
  local who=$2 id=start-$1-$2 bundle=$run/bundles/start-$1-$2 shim answer
  if [ "$who" = stock ]; then shim=$(command -v containerd-shim-runc-v2); else shim=$KUASAR_TESTBED/bin/containerd-shim-kuasar-runc-v1; fi
  mkdir -p "$bundle/rootfs"
  cp "$samples/config.json" "$bundle/"
  (cd "$bundle" && GOMAXPROCS=2 MAX_SHIM_VERSION=2 NAMESPACE=bench GRPC_ADDRESS=$run/containerd.sock TTRPC_ADDRESS=$run/containerd.sock.ttrpc \
    sample "start.$who" "$shim" -namespace bench -address "$run/containerd.sock" -publish-binary "$containerd" -id "$id" start \
    </dev/null >"$bundle/answer" 2>&1) || die "$shim start: $(cat "$bundle/answer")"
  answer=$(cat "$bundle/answer")
  [[ $answer == *unix://* ]] || die "$shim start answers: $answer"
  if [ "$who" = stock ]; then
    local pid
    for pid in $(stock_shims); do [[ $(args_of "$pid") != *" $id "* ]] || end_process "$pid" KILL; done
    rm -f "$(grep -oE '/[^",]*/s/[0-9a-f]{64}' <<<"$answer")"
  fi
  rm -rf "$bundle"
}

measure_starts() {
  local i
  say "shim starts"
  (cd "$samples" && "$KUASAR_RUNC" spec)
  both 0 shim_start 0
  rm "$samples"/start.*
  for ((i = 1; i <= STARTS; i++)); do both "$i" shim_start "$i"; done
}

measure_memory() {
  local count who before=0
  : >"$samples/memory"
  for who in stock ours; do echo "$who 0 $(footprint $(processes_of $who))" >>"$samples/memory"; done
  for count in $PODS; do
    say "memory of $count pods"
    for who in stock ours; do side_by_side add --host-network --runtime "${handler[$who]}" --count $((count - before)); done
    before=$count
    sleep "$SETTLE"
    for who in stock ours; do echo "$who $count $(footprint $(processes_of $who))" >>"$samples/memory"; done
  done
  cp "/proc/$sandboxer_pid/smaps" "$samples/smaps"
  cp "/proc/$sandboxer_pid/status" "$samples/status"
  side_by_side remove
  sleep "$SETTLE"
  echo "ours after $(footprint "$sandboxer_pid")" >>"$samples/memory"
}

ctr_run() { # NUMBER WHO
  sample "ctr.$2" ctr run --rm --runtime "${runtime[$2]}" ${runc_options[$2]} localhost/busybox:1 "run-$1-$2" true || die "ctr run fails"
}

measure_runs() {
  local i
  say "ctr run"
  declare -gA runc_options=([stock]="--runc-binary $KUASAR_RUNC --runc-root $run/runc" [ours]='')
  both 0 ctr_run 0
  rm "$samples"/ctr.*
  for ((i = 1; i <= RUNS; i++)); do both "$i" ctr_run "$i"; done
}

measure_calls() {
  say "CRI calls"
  side_by_side time --host-network --count "$CALLS" --runtimes runc kuasar-runc >"$samples/calls"
}

# cni OPERATION: seconds in CNI plugins and calls of them so far.
cni() { # OPERATION
  curl -sf --max-time 10 "http://$metrics/v1/metrics" | awk -v o="network_plugin_operations_duration_seconds_seconds" -v op="$1" '
    index($1, o "_sum{") && index($0, op) { sum = $2 } index($1, o "_count{") && index($0, op) { count = $2 } END { print sum + 0, count + 0 }'
}

measure_pods() {
  say "pods by each route"
  side_by_side time --count "$CALLS" --runtimes runc "${routes[@]}" >"$samples/calls"
  cni set_up_pod >"$samples/cni.set_up_pod"
  cni tear_down_pod >"$samples/cni.tear_down_pod"
}

# --- the report -------------------------------------------------------------------------------------------------------

# numbers: minimum, median, 90th percentile and count of the numbers on stdin.
numbers() {
  sort -n | awk '{ v[NR] = $1 }
    END { if (NR) print v[1], NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, v[int(NR * 0.9 + 0.999)], NR }'
}

# row LABEL DIVISOR UNIT DECIMALS: from what "numbers" says of stock and of ours on stdin.
row() {
  awk -v label="$1" -v d="$2" -v u="$3" -v p="$4" '{
    f = "%." p "f / %." p "f " u
    printf "| %s | " f " | " f " | %.2f / %.2f | %d |\n", label, $1 / d, $2 / d, $5 / d, $6 / d, $5 / $1, $6 / $2, $4 }'
}

# column NAME NUMBER
column() { echo "$(awk -v c="$2" '{ print $c }' "$samples/$1.stock" | numbers) $(awk -v c="$2" '{ print $c }' "$samples/$1.ours" | numbers)"; }

# calls CALL RUNTIME: of stock and of the runtime, what "numbers" says of the call's microseconds.
calls() {
  local runtime
  for runtime in runc "$2"; do awk -v r="$runtime" -v c="$1" '$1 == r && $2 == c { print $3 }' "$samples/calls" | numbers; done | xargs
}

memory_rows() {
  awk '{ pss[$1, $2] = $3; processes[$1, $2] = $4; threads[$1, $2] = $5; if ($1 == "ours") order[++n] = $2 }
    END { for (i = 1; i <= n; i++) { c = order[i]
      stock = pss["stock", c] ? sprintf("%.1f MiB, %d, %d", pss["stock", c] / 1024, processes["stock", c], threads["stock", c]) : "-"
      ratio = pss["stock", c] ? sprintf("%.3f", pss["ours", c] / pss["stock", c]) : "-"
      printf "| %s | %s | %.1f MiB, %d, %d | %s |\n", c == "after" ? "0, after all were removed" : c, stock, pss["ours", c] / 1024, processes["ours", c], threads["ours", c], ratio } }' "$samples/memory"
}

machine() {
  cat <<T
| | |
|---|---|
| Date | $(date -u '+%Y-%m-%d %H:%M UTC') |
| Revision | $(git rev-parse --short HEAD)$([ -z "$(git status --porcelain -- src examples)" ] || echo ' and changes to src or examples') |
| Machine | $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u | head -n 1), $(awk '$1 == "MemTotal:" { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo) |
| Load average | $load_before before, $(cut -d' ' -f1-3 /proc/loadavg) after |
| Kernel | $(uname -r) |
| containerd | $(containerd --version | cut -d' ' -f3), shim and $("$KUASAR_RUNC" --version | sed -n 1p) of the same suite |
| .NET | $(dotnet --version), NativeAOT |
T
}

pod_rows() {
  local call runtime
  for call in RunPodSandbox CreateContainer+StartContainer StopPodSandbox+RemovePodSandbox; do
    for runtime in runc "${routes[@]}"; do
      echo "$call $runtime $(calls "$call" "$runtime")"
    done
  done | awk '{ printf "| %s | %s | %.1f ms | %.1f ms | %.2f | %.2f | %d |\n", $1, $2, $8 / 1000, $9 / 1000, $8 / $4, $9 / $5, $10 }'
}

cni_mean() { awk '{ if ($2) printf "%.1f ms in each of %d", 1000 * $1 / $2, $2; else print "not known" }' "$samples/cni.$1"; }

report_pods() {
  cat <<T
# Pods by each route beside the stock runtime's

Made by \`benchmarks/side-by-side.sh --pods\`. Each turn makes a pod with a network by CNI's bridge plugin, a container in it, and removes
both, once by each of: the stock runtime (\`runc\`, with a pause container), and ours with a pause container (\`kuasar-runc\`), by
\`sandboxer = "shim"\` and by a proxy plugin. Ratios are to stock; below 1 is less time.

$(machine)

| | runtime | median | p90 | ratio of medians | ratio of p90 | n |
|---|---|--:|--:|--:|--:|--:|
$(pod_rows)

In CNI plugins, by containerd's own count of all pods: set-up $(cni_mean set_up_pod), tear-down $(cni_mean tear_down_pod).
T
}

report() {
  local call
  cat <<T
# kuasar-runc beside the stock shim

Made by \`benchmarks/side-by-side.sh\`. Ratios are ours to stock; below 1 is less time or memory than stock.

$(machine)

## Time

Minimum / median of n samples each, taken in turns.

| | stock | ours | ratio | n |
|---|---|---|---|---|
$(column start 1 | row 'shim `start`, wall time' 1000 ms 2)
$(column start 2 | row 'shim `start`, peak memory' 1024 MiB 2)
$(column ctr 1 | row '`ctr run --rm` of `true`' 1000 ms 0)
$(for call in RunPodSandbox CreateContainer+StartContainer StopPodSandbox+RemovePodSandbox; do calls $call kuasar-runc | row $call 1000 ms 0; done)

## Memory of the management processes

Pss, processes, threads; $SETTLE s after the last pod was made. Pods without containers, both runtimes in one containerd.

| pods | stock: all shims | ours: the sandboxer | ratio of Pss |
|---|---|---|---|
$(memory_rows)
T
}

need_root
trap clean_up EXIT
trap 'exit 130' INT TERM
set_up >&2
load_before=$(cut -d' ' -f1-3 /proc/loadavg)
if [ -n "$pods" ]; then
  measure_pods
  report_pods >"$samples/report.md"
else
  # Memory first: of a sandboxer that has done nothing else yet.
  measure_memory
  measure_starts
  measure_runs
  measure_calls
  report >"$samples/report.md"
fi
cat "$samples/report.md"
[ -z "$save" ] || cp "$samples/report.md" "benchmarks/results/${pods:+pods-}side-by-side.md"
