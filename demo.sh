#!/bin/bash
# The demo: an unmodified containerd runs pods and containers through this library's runc example, one sandboxer process
# in place of a shim for each pod.
#
# usage: ./demo.sh [vmm]    (as root; KUASAR_* and SUITE as in eng/containerd.sh)
#   vmm   another one: pods in virtual machines (eng/demo-vmm.sh)
# Installs what it needs, shows every step, checks it, and leaves nothing behind. Exit code 0 when every check held.
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/eng/lib.sh"
cd "$repo"
case ${1:-} in
  '') ;;
  vmm) exec eng/demo-vmm.sh ;;
  *) die "usage: ./demo.sh [vmm]" ;;
esac

# A test bed of its own, which shares the downloads with the tests'.
export KUASAR_TESTBED=${KUASAR_TESTBED:-$repo/artifacts/demo}
export KUASAR_TESTBED_DIST=${KUASAR_TESTBED_DIST:-$repo/artifacts/testbed/dist}
export KUASAR_TESTBED_RUN=${KUASAR_TESTBED_RUN:-/run/kuasar-demo}
export KUASAR_BRIDGE=${KUASAR_BRIDGE:-kuasar-demo0} KUASAR_SUBNET=${KUASAR_SUBNET:-10.214.0.0/16}

runtime=io.containerd.kuasar-runc.v1
image=localhost/busybox:1
bin=$repo/artifacts/bin
run_dir=$KUASAR_TESTBED_RUN/sandboxer
sandboxer_log=$KUASAR_TESTBED/sandboxer.log
sandboxer_pid=''
finished=''

# One bounded request to containerd, shown.
demo_ctr() {
  show ctr "$@"
  timeout 60 ctr "$@"
}

# --- set-up and clean-up ----------------------------------------------------------------------------------------------

# Both in the shim's place and as the demo's sandboxer: copies, as the shim looks for its .conf beside its own file.
install_binaries() {
  mkdir -p "$KUASAR_TESTBED/bin"
  install -m 755 "$bin"/containerd-shim-kuasar-runc-v1 "$KUASAR_TESTBED/bin/"
  echo "run-dir=$run_dir" >"$KUASAR_TESTBED/bin/containerd-shim-kuasar-runc-v1.conf"
}

sandboxer_listens() { [ -S "$run_dir/control.sock" ]; }
sandboxer_ready_or_dead() { sandboxer_listens || gone "$sandboxer_pid"; }

start_sandboxer() {
  show kuasar-runc-sandboxer --run-dir "$run_dir" --runtime "$KUASAR_RUNC"
  mkdir -p "$run_dir"
  setsid "$bin/kuasar-runc-sandboxer" --run-dir "$run_dir" --runtime "$KUASAR_RUNC" \
    >"$sandboxer_log" 2>&1 </dev/null &
  sandboxer_pid=$!
  wait_for 20 sandboxer_ready_or_dead && sandboxer_listens || die "the sandboxer does not listen in $run_dir"
  ok "pid $sandboxer_pid listens in $run_dir"
}

clean_up() {
  local code=$?
  trap - EXIT
  if [ $code != 0 ] || [ -z "$finished" ]; then
    say "" "the demo failed; the sandboxer's log:"
    tail -n 20 "$sandboxer_log" >&2 2>/dev/null || true
    say "containerd's log:"
    tail -n 20 "$KUASAR_TESTBED_RUN/containerd.log" >&2 2>/dev/null || true
    # containerd first: it removes containers through the sandboxer.
    eng/containerd.sh clean >&2 || true
    [ -z "$sandboxer_pid" ] || end_process "$sandboxer_pid"
  fi
  exit $code
}

set_up() {
  step "Set-up: containerd of Debian, native executables of the examples, two images made here"
  eng/containerd.sh clean # what a demo that was killed has left
  eng/containerd.sh install
  eng/containerd.sh images
  eng/publish.sh "$bin"
  install_binaries
  eng/containerd.sh config
  eng/containerd.sh start
  eng/containerd.sh import 2>/dev/null
  eval "$(eng/containerd.sh env)"
  step "Start: one sandboxer, which containerd does not start and does not know"
  start_sandboxer
}

# --- the steps --------------------------------------------------------------------------------------------------------

run_to_the_end() {
  local out code=0
  step "ctr run: the container's output and its exit code arrive"
  out=$(demo_ctr run --rm --runtime $runtime $image demo-once sh -c 'echo "hello from $(hostname) as pid $$"; exit 42') || code=$?
  echo "$out"
  [[ $out == *"hello from"*"as pid 1"* ]] || die "no output"
  expect "exit code" 42 $code
}

run_in_background() {
  local name
  step "ctr run -d: two containers that stay"
  for name in demo-a demo-b; do demo_ctr run -d --runtime $runtime $image $name sleep 600; done
  demo_ctr tasks ls
  expect "running tasks" 2 "$(timeout 20 ctr tasks ls | grep -c RUNNING)"
}

exec_in_container() {
  local out code=0
  step "ctr task exec: a second process in a running container, with an exit code of its own"
  out=$(demo_ctr task exec --exec-id e1 demo-a sh -c 'ps -o pid,args; exit 7') || code=$?
  echo "$out"
  [[ $out == *"sleep 600"* ]] || die "the exec is not in demo-a's pid namespace"
  expect "exit code" 7 $code
}

terminal() {
  local out
  step "ctr run -t: a terminal, resized and read through the runtime's console socket"
  # script gives ctr a terminal of its own, so that this works without one as well.
  show "ctr run --rm -t --runtime $runtime $image demo-tty sh -c 'tty; stty size'"
  out=$(timeout 60 script -qec "stty rows 33 cols 99; ctr run --rm -t --runtime $runtime $image demo-tty sh -c 'sleep 1; tty; stty size'" \
    /dev/null </dev/null | tr -d '\r' | sed 's/^^@//') # script shows the end of its input
  echo "$out"
  [[ $out == *"/dev/pts/0"* ]] || die "no terminal in the container"
  [[ $out == *"33 99"* ]] || die "the terminal has not the size of ctr's"
  ok "terminal of 33 lines and 99 columns"
}

# demo_cri COMMAND ARGUMENT...
demo_cri() {
  show kuasar-demo-cri "$@"
  timeout 120 "$bin/kuasar-demo-cri" "$@" --address "$CONTAINERD_ADDRESS" --log-dir "$KUASAR_TESTBED/pod-logs"
}

pod() {
  step "CRI: a pod with a network of its own and two containers in it, as the kubelet makes it"
  demo_cri up --runtime kuasar-runc
}

# process_tree PID [INDENT]
process_tree() {
  local child
  printf '%s%s %s\n' "${2:-   }" "$1" "$(args_of "$1")"
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do process_tree "$child" "${2:-   }  "; done
}

# processes PATTERN: pids of the executables of that name (a glob) that belong to this demo.
processes() {
  local pid
  for pid in /proc/[0-9]*; do
    pid=${pid#/proc/}
    # shellcheck disable=SC2053 # a glob
    [[ $(exe_of "$pid") == */$1 && $(args_of "$pid") == *"$KUASAR_TESTBED_RUN"* ]] && echo "$pid"
  done || true
}

one_process() {
  step "Processes: one sandboxer, behind its keeper, holds every pod and container, no shim process stays"
  process_tree "$sandboxer_pid"
  expect "containerd-shim processes" 0 "$(processes 'containerd-shim*' | wc -l)"
  expect "the sandboxer and its keeper" 2 "$(processes kuasar-runc-sandboxer | wc -l)"
}

# The keeper's other children are the containers.
kept_sandboxer() {
  local pid
  for pid in $(cat /proc/"$sandboxer_pid"/task/*/children); do
    [ "$(exe_of "$pid")" != "$(exe_of "$sandboxer_pid")" ] || echo "$pid"
  done
}
has_another() { [ -n "$(kept_sandboxer)" ] && [ "$(kept_sandboxer)" != "$1" ]; }

unnoticed() {
  local old running
  step "A crash: the sandboxer is killed, its keeper starts another, containerd notices nothing"
  old=$(kept_sandboxer)
  running=$(timeout 20 ctr tasks ls | grep -c RUNNING)
  kill -KILL "$old"
  wait_for 10 has_another "$old" || die "the keeper starts no other sandboxer"
  expect "tasks that run" "$running" "$(timeout 20 ctr tasks ls | grep -c RUNNING)"
  expect "output of an exec" fine "$(timeout 20 ctr tasks exec --exec-id after demo-a echo fine)"
}

removal() {
  local name
  step "Removal: the containers end and go"
  for name in demo-a demo-b; do demo_ctr tasks rm -f $name || true; done # reports the exit code 137 of KILL
  for name in demo-a demo-b; do demo_ctr containers rm $name; done
  demo_cri down
  expect "tasks" 0 "$(timeout 20 ctr tasks ls -q | wc -l)"
  expect "children of the keeper: the sandboxer" 1 "$(cat /proc/"$sandboxer_pid"/task/*/children | wc -w)"
  expect "mounts below containerd's state" 0 "$(grep -c " $KUASAR_TESTBED_RUN/state/" /proc/self/mounts || true)"
}

nothing_left() {
  step "Leftovers: no process, mount, network namespace or bridge of the demo"
  end_process "$sandboxer_pid"
  wait "$sandboxer_pid" 2>/dev/null || true
  expect "mounts below the run folder" 0 "$(grep -c " $KUASAR_TESTBED_RUN/" /proc/self/mounts || true)"
  eng/containerd.sh clean
  eng/containerd.sh leftovers
  ok "nothing"
}

need_root
trap clean_up EXIT
trap 'exit 130' INT TERM
set_up
run_to_the_end
run_in_background
exec_in_container
terminal
pod
one_process
unnoticed
removal
nothing_left
finished=1
step "Every check held"
