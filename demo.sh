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
sandboxer=kuasar-runc-sandboxer
# shellcheck source=eng/demo-lib.sh
. eng/demo-lib.sh

# One bounded request to containerd, shown.
demo_ctr() {
  show ctr "$@"
  timeout 60 ctr "$@"
}

# --- set-up and clean-up ----------------------------------------------------------------------------------------------

set_up() {
  step "Set-up: containerd of Debian, native executables of the examples, two images made here"
  eng/containerd.sh clean # what a demo that was killed has left
  eng/containerd.sh install
  eng/containerd.sh images
  eng/publish.sh "$bin"
  install_shim containerd-shim-kuasar-runc-v1
  start_containerd
  step "Start: one sandboxer, which containerd does not start and does not know"
  start_sandboxer --runtime "$KUASAR_RUNC"
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

unnoticed() {
  local running
  step "A crash: the sandboxer is killed, its keeper starts another, containerd notices nothing"
  running=$(timeout 20 ctr tasks ls | grep -c RUNNING)
  kill_kept_sandboxer
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
  end_sandboxer
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
