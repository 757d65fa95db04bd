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
sandboxer=kuasar-vmm-sandboxer
# shellcheck source=eng/demo-lib.sh
. eng/demo-lib.sh

tell_logs() {
  say "the guests' consoles:"
  tail -n 20 "$run_dir"/sandboxes/*/*/*/console.log >&2 2>/dev/null || true
}

set_up() {
  step "Set-up: containerd and QEMU of Debian, native executables, a guest's kernel and initramfs with our agent"
  eng/containerd.sh clean # what a demo that was killed has left
  eng/containerd.sh install
  eng/containerd.sh images
  eng/vmm.sh "$prefix"
  eng/publish.sh "$bin"
  eng/guest-image.sh "$bin/kuasar-guest-agent"
  install_shim containerd-shim-kuasar-vmm-v1
  start_containerd
  step "Start: one sandboxer for all guests"
  start_sandboxer --prefix "$prefix" --kernel "$guest/vmlinux" --initrd "$guest/initrd.img"
}

# The container whose log it is: the client of the demo's pod.
client() { timeout 20 ctr -n k8s.io containers ls -q | while read -r id; do
  timeout 20 ctr -n k8s.io containers info "$id" | grep -q '"io.kubernetes.cri.container-name": "client"' && echo "$id"
done; }

in_client() { timeout 30 ctr -n k8s.io tasks exec --exec-id "e$RANDOM" "$(client)" "$@"; }

pod() {
  step "A pod over CRI: it boots a guest, and its two containers run in there"
  demo_cri up --runtime kuasar-vmm-shim
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

unnoticed() {
  step "A crash: the sandboxer is killed, its keeper starts another, the guest runs on"
  kill_kept_sandboxer
  expect "output of an exec" fine "$(in_client echo fine)"
}

removal() {
  step "Removal: the pod is stopped, its guest powers off, and nothing is left"
  demo_cri down
  expect "tasks" 0 "$(timeout 20 ctr -n k8s.io tasks ls -q | wc -l)"
  expect "children of the keeper: the sandboxer" 1 "$(cat /proc/"$sandboxer_pid"/task/*/children | wc -w)"
  expect "links to pods' folders" 0 "$(find "$run_dir/l" -mindepth 1 | wc -l)"
  end_sandboxer
  expect "mounts below the run folder" 0 "$(grep -c " $KUASAR_TESTBED_RUN/sandboxer/" /proc/self/mounts || true)"
  eng/containerd.sh clean
  eng/containerd.sh leftovers
  ok "nothing left"
}

need_root
trap clean_up EXIT
trap 'exit 130' INT TERM
set_up
pod
proof
network
unnoticed
removal
finished=1
step "Every check held"
