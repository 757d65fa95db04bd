#!/bin/bash
# The demo of virtual machines: an unmodified containerd runs a pod of two containers, and the pod is a guest of QEMU's.
#
# usage: ./demo.sh vmm    (as root; KUASAR_* as in eng/containerd.sh)
# Makes the guest from Debian's packages, shows every step, checks it, and leaves nothing behind. Exit code 0 when every check held.
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$repo"

export KUASAR_TESTBED=${KUASAR_TESTBED:-$repo/artifacts/demo-vmm}
export KUASAR_TESTBED_DIST=${KUASAR_TESTBED_DIST:-$repo/artifacts/testbed/dist}
export KUASAR_TESTBED_RUN=${KUASAR_TESTBED_RUN:-/run/kuasar-vmm}
export KUASAR_BRIDGE=${KUASAR_BRIDGE:-kuasar-vmm0} KUASAR_SUBNET=${KUASAR_SUBNET:-10.212.0.0/16}

bin=$repo/artifacts/bin
guest=${KUASAR_GUEST:-$repo/artifacts/vmm/guest}
prefix=${KUASAR_VMM_PREFIX:-$repo/artifacts/vmm/prefix}
run_dir=$KUASAR_TESTBED_RUN/sandboxer
sandboxer_log=$KUASAR_TESTBED/sandboxer.log
sandboxer_pid=''
finished=''

sandboxer_listens() { [ -S "$run_dir/control.sock" ]; }
sandboxer_ready_or_dead() { sandboxer_listens || gone "$sandboxer_pid"; }

clean_up() {
  local code=$?
  trap - EXIT
  if [ $code != 0 ] || [ -z "$finished" ]; then
    say "" "the demo failed; the sandboxer's log:"
    tail -n 20 "$sandboxer_log" >&2 2>/dev/null || true
    say "the guests' consoles:"
    tail -n 20 "$run_dir"/sandboxes/*/*/*/console.log >&2 2>/dev/null || true
    eng/containerd.sh clean >&2 || true
    [ -z "$sandboxer_pid" ] || end_process "$sandboxer_pid"
  fi
  exit $code
}

set_up() {
  step "Set-up: containerd and QEMU of Debian, native executables, a guest's kernel and initramfs with our agent"
  eng/containerd.sh clean # what a demo that was killed has left
  eng/containerd.sh install
  eng/containerd.sh images
  eng/vmm.sh "$prefix"
  eng/publish.sh "$bin"
  eng/guest-image.sh "$bin/kuasar-guest-agent"
  mkdir -p "$KUASAR_TESTBED"/{bin,runtimes.d}
  install -m 755 "$bin/containerd-shim-kuasar-vmm-v1" "$KUASAR_TESTBED/bin/"
  echo "run-dir=$run_dir" >"$KUASAR_TESTBED/bin/containerd-shim-kuasar-vmm-v1.conf"
  cat >"$KUASAR_TESTBED/runtimes.d/vmm.toml" <<END
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kuasar-vmm]
  runtime_type = 'io.containerd.kuasar-vmm.v1'
  sandboxer = 'shim'
END
  eng/containerd.sh config
  eng/containerd.sh start
  eng/containerd.sh import 2>/dev/null
  eval "$(eng/containerd.sh env)"
}

start_sandboxer() {
  step "Start: one sandboxer for all guests"
  show kuasar-vmm-sandboxer --run-dir "$run_dir" --prefix "$prefix" --kernel "$guest/vmlinux" --initrd "$guest/initrd.img"
  mkdir -p "$run_dir"
  setsid "$bin/kuasar-vmm-sandboxer" --run-dir "$run_dir" --prefix "$prefix" --kernel "$guest/vmlinux" --initrd "$guest/initrd.img" \
    >"$sandboxer_log" 2>&1 </dev/null &
  sandboxer_pid=$!
  wait_for 20 sandboxer_ready_or_dead && sandboxer_listens || die "the sandboxer does not listen in $run_dir"
  ok "pid $sandboxer_pid listens in $run_dir"
}

demo_cri() {
  show kuasar-demo-cri "$@"
  timeout 180 "$bin/kuasar-demo-cri" "$@" --address "$CONTAINERD_ADDRESS" --log-dir "$KUASAR_TESTBED/pod-logs"
}

# The container whose log it is: the client of the demo's pod.
client() { timeout 20 ctr -n k8s.io containers ls -q | while read -r id; do
  timeout 20 ctr -n k8s.io containers info "$id" | grep -q '"io.kubernetes.cri.container-name": "client"' && echo "$id"
done; }

in_client() { timeout 30 ctr -n k8s.io tasks exec --exec-id "e$RANDOM" "$(client)" "$@"; }

pod() {
  step "A pod over CRI: it boots a guest, and its two containers run in there"
  demo_cri up --runtime kuasar-vmm
}

proof() {
  local theirs ours
  step "Proof: the containers' kernel is not the host's"
  show ctr tasks exec CLIENT uname -r
  theirs=$(in_client uname -r)
  ours=$(uname -r)
  printf '   the host: %s\n   the pod:  %s\n' "$ours" "$theirs"
  [ "$theirs" != "$ours" ] || die "the pod runs on the host's kernel"
  ok "another kernel"
}

network() {
  local address answer
  step "Network: the host reaches the pod at the address that CNI gave it"
  address=$(in_client ip -4 -o addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }')
  in_client sh -c 'mkdir -p /tmp/web; echo "hello from the guest" >/tmp/web/index.html; httpd -p 80 -h /tmp/web'
  show "GET http://$address/"
  answer=$(exec 3<>"/dev/tcp/$address/80"; printf 'GET / HTTP/1.0\r\n\r\n' >&3; timeout 10 cat <&3 | tail -n 1)
  expect "answer of $address" "hello from the guest" "$answer"
}

kept_sandboxer() {
  local pid
  for pid in $(cat /proc/"$sandboxer_pid"/task/*/children); do
    [ "$(exe_of "$pid")" != "$(exe_of "$sandboxer_pid")" ] || echo "$pid"
  done
}
has_another() { [ -n "$(kept_sandboxer)" ] && [ "$(kept_sandboxer)" != "$1" ]; }

unnoticed() {
  local old
  step "A crash: the sandboxer is killed, its keeper starts another, the guest runs on"
  old=$(kept_sandboxer)
  kill -KILL "$old"
  wait_for 10 has_another "$old" || die "the keeper starts no other sandboxer"
  expect "output of an exec" fine "$(in_client echo fine)"
}

removal() {
  step "Removal: the pod is stopped, its guest powers off, and nothing is left"
  demo_cri down
  expect "tasks" 0 "$(timeout 20 ctr -n k8s.io tasks ls -q | wc -l)"
  expect "children of the keeper: the sandboxer" 1 "$(cat /proc/"$sandboxer_pid"/task/*/children | wc -w)"
  expect "links to machines' folders" 0 "$(find "$run_dir/vm" -mindepth 1 | wc -l)"
  end_process "$sandboxer_pid"
  wait "$sandboxer_pid" 2>/dev/null || true
  expect "mounts below the run folder" 0 "$(grep -c " $KUASAR_TESTBED_RUN/sandboxer/" /proc/self/mounts || true)"
  eng/containerd.sh clean
  eng/containerd.sh leftovers
  ok "nothing left"
}

need_root
trap clean_up EXIT
trap 'exit 130' INT TERM
set_up
start_sandboxer
pod
proof
network
unnoticed
removal
finished=1
step "Every check held"
