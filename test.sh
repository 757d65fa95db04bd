#!/bin/bash
# Builds everything and runs every test.
#
# usage: ./test.sh [--fast]
#   --fast   neither a containerd nor native executables: the end-to-end tests skip themselves
# The last line is `N passed, N failed, N skipped`. Exit code 0 when something passed and nothing failed.
# The end-to-end tests get KUASAR_BIN (the published executables; next/ has the sandboxer of another version) and KUASAR_TESTBED (see eng/containerd.sh).
# KUASAR_TEST_TIMEOUT: seconds for one test program (1200). Logs: artifacts/log
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/eng/lib.sh"

case ${1:-} in
  '') fast='' ;;
  --fast) fast=1 ;;
  *) die "usage: ./test.sh [--fast]" ;;
esac
cd "$repo"
logs=artifacts/log
mkdir -p $logs
command -v dotnet >/dev/null || die "no dotnet on PATH: the .NET SDK 10 is needed"

# A test bed that ran before is not ours to remove.
leave_testbed=$fast
clean_testbed() {
  [ -n "$leave_testbed" ] || eng/containerd.sh clean >&2 || say "the test bed could not be cleaned"
  leave_testbed=1
}

prepare_end_to_end() {
  export KUASAR_BIN=$repo/artifacts/bin KUASAR_TESTBED=${KUASAR_TESTBED:-$repo/artifacts/testbed}
  need_root
  eng/containerd.sh status >/dev/null 2>&1 && leave_testbed=1
  trap clean_testbed EXIT
  trap 'exit 130' INT TERM
  eng/containerd.sh install
  eng/containerd.sh images
  # The program of a pod's init is run for the other architecture too.
  [ -x /usr/bin/qemu-aarch64 ] || [ "$(uname -m)" = aarch64 ] || (install_packages qemu-user) >"$logs/qemu-user.log" 2>&1 ||
    say "no qemu-user: $logs/qemu-user.log"
  # First, as what is left of the build is then of the real version.
  eng/publish.sh "$KUASAR_BIN/next" kuasar-runc-sandboxer 9.9.9
  eng/publish.sh "$KUASAR_BIN"
  if [ "$(uname -m)" = x86_64 ]; then
    eng/vmm.sh
    eng/guest-image.sh "$KUASAR_BIN/kuasar-guest-agent"
  fi
}

build() {
  timeout 1800 dotnet build Kuasar.Lib.sln -c Release -nologo -clp:NoSummary >$logs/build.log 2>&1 || {
    { grep -E '(error|warning) ' $logs/build.log | sort -u || tail -n 30 $logs/build.log; } >&2
    die "the build failed: $logs/build.log"
  }
}

# count NAME LOG: that number of the summary line of an xunit.v3 program. Without tests the line has a total only.
count() {
  local number
  number=$(sed -nE "/ Total: [0-9]+/s/.* $1: ([0-9]+).*/\1/p" "$2" | tail -n 1)
  echo "${number:-0}"
}

# run_program PROJECT LOG [ARGUMENT...]
run_program() {
  local program=tests/$1/bin/Release/net10.0/$1 log=$2
  shift 2
  timeout --kill-after=20 "${KUASAR_TEST_TIMEOUT:-1200}" "$program" -noColor -noLogo "$@" >"$log" 2>&1 </dev/null
}

# run_tests PROJECT [LEG ARGUMENT...]: runs its program and adds to passed, failed, skipped. A leg is one run of several, and has its own log.
run_tests() {
  local name=$1${2:+.$2} project=$1 log=$logs/$1${2:+.$2}.log code=0
  shift $(($# < 2 ? $# : 2))
  run_program "$project" "$log" "$@" || code=$?
  tell_tests "$name" "$log" $code
}

# tell_tests NAME LOG CODE: prints what a program has written, and adds its tests to passed, failed, skipped.
tell_tests() {
  local name=$1 log=$2 code=$3
  printf '\n--- %s\n' "$name"
  cat "$log"
  if ! grep -qE ' Total: [0-9]+' "$log"; then
    unfinished+=("$name ended without a summary, exit code $code")
    echo "${unfinished[-1]}"
    failed=$((failed + 1))
    return
  fi
  local bad=$(($(count Failed "$log") + $(count Errors "$log")))
  # A program that fails without a failed test (a fatal error on the way out) failed all the same.
  if [ $code != 0 ] && [ $bad = 0 ] && [ "$(count Total "$log")" != 0 ]; then
    unfinished+=("$name failed with exit code $code, though no test did")
    bad=1
  fi
  failed=$((failed + bad))
  skipped=$((skipped + $(count Skipped "$log")))
  passed=$((passed + $(count Total "$log") - $(count Failed "$log") - $(count Skipped "$log") - $(count 'Not Run' "$log")))
}

# A test is told by its name and the line that follows it; several of one class with one reason by their class and number.
skip_reasons() {
  awk '/ \[SKIP\]$/ {
    sub(/^ +/, ""); sub(/ \[SKIP\]$/, "")
    name = class = $0
    sub(/\(.*/, "", class); sub(/\.[^.]*$/, "", class)
    getline; sub(/^ +/, "")
    key = class SUBSEP $0
    if (!(key in number)) { order[++keys] = key; reason[key] = $0; of[key] = class }
    number[key]++; last[key] = name
  }
  END {
    for (i = 1; i <= keys; i++) {
      key = order[i]
      print "skipped " (number[key] == 1 ? last[key] : number[key] " tests of " of[key]) ": " reason[key]
    }
  }' "$@"
}

# Each failed test or failed cleanup again, its first lines: who sees the end of a run only sees what failed.
failures() {
  awk '/^ ? ? ? ?[^ ]/ { left = 0 }
    /^    [^ ].* \[FAIL\]$/ || /^    \[.* Failure.*\] / { left = 30; print FILENAME ":" }
    left > 0 { print; left-- }' "$@"
}

if [ -n "$fast" ]; then export KUASAR_E2E_SKIP='test.sh --fast'; else prepare_end_to_end; fi
build
passed=0 failed=0 skipped=0 ran=() unfinished=()
# It waits for its one guest, most of the time: beside the others. Not beside the end-to-end tests, whose limits are of seconds.
beside=Kuasar.GuestAgent.Tests beside_pid='' beside_code=0
for folder in tests/*.Tests; do
  name=${folder#tests/}
  if [ "$name" = $beside ]; then
    run_program $beside "$logs/$beside.log" &
    beside_pid=$!
  else
    run_tests "$name"
  fi
  ran+=("$logs/$name.log")
done
wait "$beside_pid" || beside_code=$?
tell_tests $beside "$logs/$beside.log" $beside_code
# Once more with containerd 1.7, which has no proxy plugins for sandboxes: what of the tests depends on the containerd.
if [ -z "$fast" ] && [ "${SUITE:-}" != trixie ]; then
  SUITE=trixie run_tests Kuasar.EndToEnd.Tests trixie -namespace Kuasar.EndToEnd.Tests.Containers -namespace Kuasar.EndToEnd.Tests.TaskApi \
    -namespace Kuasar.EndToEnd.Tests.Pods -class- '*.ProxyRouteTests' -class- '*.FiftyProxyPodsTests' -class- '*.FiftyKeptPodsTests' -class- '*.FiftyPodsTests'
  ran+=("$logs/Kuasar.EndToEnd.Tests.trixie.log")
fi
clean_testbed
echo
skip_reasons "${ran[@]}"
failures "${ran[@]}"
[ ${#unfinished[@]} = 0 ] || printf '%s\n' "${unfinished[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
