#!/bin/bash
# A real, unmodified containerd for end-to-end tests and the demo, apart from whatever the host runs.
#
# usage: eng/containerd.sh COMMAND     (as root; every command may be repeated)
#   install      a containerd >= 1.7 of this host when there is one, else Debian SUITE's, unpacked below the test bed
#   images       OCI layout tars of localhost/busybox:1 and localhost/pause:1, made here
#   config       config.toml and the CNI network
#   start        starts containerd and waits until it answers
#   import       imports the images into the namespaces default and k8s.io
#   all          install, images, config, start, import
#   stop [KILL]  ends containerd with TERM or KILL; containers and their shims stay
#   restart      stop, start
#   status       what runs; exit code 3 when containerd does not
#   env          exports for a shell: eval "$(eng/containerd.sh env)"
#   leftovers    lists the processes, mounts, network namespaces and links of this test bed; exit code 1 when there are any
#   clean        removes all of those, and containerd's data; downloads and images stay
#
# environment (install and config note the values, later commands take them from there; clean forgets them):
#   KUASAR_TESTBED            the test bed's folder (artifacts/testbed); bin/ in it comes first on containerd's PATH:
#                             shims belong there. Further runtimes: runtimes.d/*.toml in it, read by containerd as imports.
#   KUASAR_TESTBED_RUN        state, sockets, log, pid (/run/kuasar-testbed); short, as socket paths end at 107 characters
#   KUASAR_TESTBED_DIST       downloads and what was unpacked from them ($KUASAR_TESTBED/dist); may be shared
#   KUASAR_TESTBED_LOG_LEVEL  containerd's (info)
#   KUASAR_BRIDGE             the pods' bridge (kuasar0)
#   KUASAR_SUBNET             the pods' subnet (10.213.0.0/16)
#   SUITE                     a Debian suite (forky: containerd 2.x, trixie: 1.7), or host
# Test beds that run at once differ in the first two, the bridge and the subnet.
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case $(uname -m) in
  x86_64) multiarch=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 goarch=amd64 ;;
  aarch64) multiarch=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 goarch=arm64 ;;
  *) die "no test bed for $(uname -m)" ;;
esac

# --- settings ---------------------------------------------------------------------------------------------------------

setting_names=(KUASAR_TESTBED_RUN KUASAR_TESTBED_DIST KUASAR_TESTBED_LOG_LEVEL KUASAR_BRIDGE KUASAR_SUBNET SUITE)

# The environment wins over what was noted, that over the defaults.
read_settings() {
  local name value
  testbed=$(realpath -m "${KUASAR_TESTBED:-$repo/artifacts/testbed}")
  if [ -f "$testbed/settings" ]; then
    while IFS='=' read -r name value; do
      [ -n "${!name:-}" ] || printf -v "$name" %s "$value"
    done <"$testbed/settings"
  fi
  run=$(realpath -m "${KUASAR_TESTBED_RUN:-/run/kuasar-testbed}")
  dist=$(realpath -m "${KUASAR_TESTBED_DIST:-$testbed/dist}")
  KUASAR_TESTBED_RUN=$run KUASAR_TESTBED_DIST=$dist
  : "${KUASAR_TESTBED_LOG_LEVEL:=info}" "${KUASAR_BRIDGE:=kuasar0}" "${KUASAR_SUBNET:=10.213.0.0/16}" "${SUITE:=}"
  [ ${#run} -le 60 ] || die "KUASAR_TESTBED_RUN=$run is too long for unix sockets (60 characters)"
  [ ${#KUASAR_BRIDGE} -le 15 ] || die "KUASAR_BRIDGE=$KUASAR_BRIDGE is longer than an interface's name may be (15)"
  case $testbed$run$dist in *[[:space:]\'\"]*) die "blanks or quotes in the test bed's folders" ;; esac

  images=$testbed/images config=$testbed/config.toml network=kuasar-$KUASAR_BRIDGE
  socket=$run/containerd.sock log=$run/containerd.log pid_file=$run/containerd.pid
}

note_settings() {
  local name
  mkdir -p "$testbed"
  for name in "${setting_names[@]}"; do printf '%s=%s\n' "$name" "${!name}"; done >"$testbed/settings"
}

# The PATH without this test bed's own folders, which `env` puts there.
host_path() { tr : '\n' <<<"$PATH" | { grep -v -e "^$testbed/" -e "^$dist/" || true; } | paste -sd:; }

host_program() { PATH=$(host_path) command -v "$1"; }

host_cni() {
  local folder
  for folder in /opt/cni/bin /usr/lib/cni; do
    [ -x $folder/bridge ] && [ -x $folder/host-local ] && [ -x $folder/portmap ] && echo $folder && return
  done
  return 1
}

# The major and minor number that `containerd --version` names, as one number: 107, 201.
containerd_version() {
  "$1" --version | sed -nE 's/.* v?([0-9]+)\.([0-9]+)\..*/\1 \2/p' | { read -r major minor && echo $((major * 100 + minor)); }
}

host_containerd_usable() {
  local program
  for program in containerd ctr runc; do host_program $program >/dev/null || return 1; done
  host_cni >/dev/null && [ "$(containerd_version "$(host_program containerd)")" -ge 107 ]
}

# Which containerd: the suite that was asked for or installed before, else the host's, else forky's.
choose_suite() {
  [ -n "$SUITE" ] || { host_containerd_usable && SUITE=host; } || SUITE=forky
  root=$testbed/root-$SUITE
  if [ "$SUITE" = host ]; then
    containerd=$(host_program containerd || true) runc=$(host_program runc || true) cni=$(host_cni || true)
    path=$testbed/bin:${containerd%/*}:${runc%/*}
  else
    prefix=$dist/$SUITE/prefix
    containerd=$prefix/usr/bin/containerd runc=$prefix/usr/sbin/runc cni=$prefix/usr/lib/cni
    path=$testbed/bin:$prefix/usr/bin:$prefix/usr/sbin
  fi
  path=$path:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

need_installed() { [ -x "$containerd" ] && [ -x "$runc" ] || die "not installed ($SUITE): $0 install"; }

# Only ever for one bounded request; a containerd that hangs must not hang its caller.
ctr() { timeout "${ctr_timeout:-30}" env PATH="$path" CONTAINERD_ADDRESS="$socket" ctr "$@"; }

# --- install ----------------------------------------------------------------------------------------------------------

install_suite() {
  local packages=(containerd runc containernetworking-plugins libseccomp2 libc6)
  if [ ! -f "$prefix/installed" ]; then
    mkdir -p "$dist/$SUITE/debs"
    say "downloading ${packages[*]} of $SUITE"
    suite_update "$dist/$SUITE/apt" "$SUITE"
    (cd "$dist/$SUITE/debs" && rm -f ./*.deb && suite_apt "$dist/$SUITE/apt" download "${packages[@]}" >&2)
    unpack_suite
  fi
}

unpack_suite() {
  local deb
  rm -rf "$prefix"
  mkdir -p "$prefix"
  for deb in "$dist/$SUITE"/debs/*.deb; do dpkg -x "$deb" "$prefix"; done
  # The others run on an older glibc than runc, which gets the suite's. Not `ld.so runc`: runc runs /proc/self/exe again.
  patchelf --set-interpreter "$prefix/usr/lib/$multiarch/$loader" --set-rpath "$prefix/usr/lib/$multiarch" "$runc"
  touch "$prefix/installed"
}

static_busybox() { local file; file=$(host_program busybox) && ! ldd "$file" >/dev/null 2>&1 && echo "$file"; }

install_host_packages() {
  local missing=()
  static_busybox >/dev/null || missing+=(busybox-static)
  host_program ip >/dev/null || missing+=(iproute2)
  host_program iptables >/dev/null || missing+=(iptables)
  [ "$SUITE" = host ] || host_program patchelf >/dev/null || missing+=(patchelf)
  [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

cmd_install() {
  install_host_packages
  if [ "$SUITE" = host ]; then
    host_containerd_usable || die "SUITE=host, but this host has no containerd >= 1.7 with ctr, runc and CNI plugins"
    say "using this host's containerd: $containerd, $runc, $cni"
  else
    mkdir -p "$dist"
    # Test beds may share the folder.
    (flock -w 900 9 || die "another install holds $dist/lock"; install_suite) 9>"$dist/lock"
  fi
  mkdir -p "$testbed/bin" "$testbed/runtimes.d"
  note_settings
  "$containerd" --version >&2
  "$runc" --version | sed -n 1p >&2
}

# --- images -----------------------------------------------------------------------------------------------------------

# The same content gives the same bytes, so the same digest.
pack() { tar --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2" "${@:3}"; }

little_endian() { # BYTES NUMBER: as \x escapes
  local i number=$2
  for ((i = 0; i < $1; i++)); do printf '\\x%02x' $((number & 255)); number=$((number >> 8)); done
}

# A static ELF executable that does nothing but wait, without a compiler: one header, one segment, one loop.
# Pid 1 ignores TERM without a handler: sandboxes end with KILL.
write_pause() {
  local file=$1 code machine size header
  if [ $goarch = amd64 ]; then # mov eax, 34 (pause); syscall; jmp back
    machine=62 code='\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7'
  else # mov x0..x4, 0; mov x8, 73 (ppoll); svc 0; b back
    machine=183 code='\x00\x00\x80\xd2\x01\x00\x80\xd2\x02\x00\x80\xd2\x03\x00\x80\xd2\x04\x00\x80\xd2'
    code+='\x28\x09\x80\xd2\x01\x00\x00\xd4\xf9\xff\xff\x17'
  fi
  size=$((120 + ${#code} / 4))
  header='\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0'
  # e_type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum, shentsize, shnum, shstrndx
  header+=$(little_endian 2 2)$(little_endian 2 $machine)$(little_endian 4 1)$(little_endian 8 0x400078)
  header+=$(little_endian 8 64)$(little_endian 8 0)$(little_endian 4 0)$(little_endian 2 64)$(little_endian 2 56)
  header+=$(little_endian 2 1)$(little_endian 2 0)$(little_endian 2 0)$(little_endian 2 0)
  # p_type LOAD, flags R+X, offset, vaddr, paddr, filesz, memsz, align
  header+=$(little_endian 4 1)$(little_endian 4 5)$(little_endian 8 0)$(little_endian 8 0x400000)
  header+=$(little_endian 8 0x400000)$(little_endian 8 $size)$(little_endian 8 $size)$(little_endian 8 0x1000)
  # shellcheck disable=SC2059 # the format is the content
  printf "$header$code" >"$file"
  chmod 755 "$file"
}

# base_tree FOLDER: what every image has.
base_tree() {
  mkdir -p "$1"/{bin,dev,etc,home,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var/run,www}
  chmod 1777 "$1/tmp"
  printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false \
    www-data:x:33:33:www:/:/bin/false >"$1/etc/passwd"
  printf '%s\n' root:x:0: nobody:x:65534: www-data:x:33: >"$1/etc/group"
}

busybox_tree() {
  local applet busybox
  busybox=$(static_busybox) || die "no static busybox: $0 install"
  base_tree "$1"
  cp "$busybox" "$1/bin/busybox"
  for applet in $("$busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"; done
}

# blob LAYOUT FILE: moves the file into the layout, prints the descriptor's digest and size.
blob() {
  local sum
  read -r sum _ < <(sha256sum "$2")
  printf '"digest":"sha256:%s","size":%s' "$sum" "$(stat -c %s "$2")"
  mv "$2" "$1/blobs/sha256/$sum"
}

# image NAME TREE PROCESS: an OCI layout of one uncompressed layer; PROCESS is a part of the image's config (JSON).
image() {
  local name=$1 tree=$2 process=$3 layout=$work/layout.$1 type=application/vnd.oci.image layer diff
  mkdir -p "$layout/blobs/sha256"
  pack "$tree" "$work/layer" .
  layer=$(blob "$layout" "$work/layer")
  diff=${layer#*:} diff=${diff%%,*}
  printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=%s"],%s},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    $goarch /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$process" "$diff" >"$work/config"
  printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json",%s},"layers":[{"mediaType":"%s.layer.v1.tar",%s}]}' \
    $type $type "$(blob "$layout" "$work/config")" $type "$layer" >"$work/manifest"
  printf '{"schemaVersion":2,"mediaType":"%s.index.v1+json","manifests":[{"mediaType":"%s.manifest.v1+json",%s,"platform":{"architecture":"%s","os":"linux"},"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"1"}}]}' \
    $type $type "$(blob "$layout" "$work/manifest")" $goarch "localhost/$name:1" >"$layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  pack "$layout" "$images/$name.tar" oci-layout index.json blobs
}

cmd_images() (
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  umask 022
  mkdir -p "$images"
  busybox_tree "$work/busybox"
  image busybox "$work/busybox" '"Cmd":["sh"]'
  base_tree "$work/pause"
  write_pause "$work/pause/pause"
  image pause "$work/pause" '"Entrypoint":["/pause"]'
  say "images: $images/busybox.tar, $images/pause.tar"
)

# --- config -----------------------------------------------------------------------------------------------------------

overlay_works() (
  mkdir -p "$root"
  check=$(mktemp -d "$root/overlay.XXXX")
  trap 'rm -rf "$check"' EXIT
  mkdir "$check"/{lower,upper,work,merged}
  mount -t overlay overlay -o "lowerdir=$check/lower,upperdir=$check/upper,workdir=$check/work" "$check/merged" 2>/dev/null &&
    umount "$check/merged"
)

config_head() {
  cat <<T
version = $1
root = '$root'
state = '$run/state'
imports = ['$testbed/runtimes.d/*.toml']

[grpc]
  address = '$socket'
[debug]
  level = '$KUASAR_TESTBED_LOG_LEVEL'
[plugins.'io.containerd.internal.v1.opt']
  path = '$testbed/opt'
[plugins.'io.containerd.nri.v1.nri']
  disable = false
  socket_path = '$run/nri.sock'
  plugin_path = '$testbed/nri/plugins'
  plugin_config_path = '$testbed/nri/conf.d'

T
}

# The settings that both versions have, in containerd 2's runtime plugin and in 1.7's only CRI plugin.
# restrict_oom_score_adj: a root without CAP_SYS_RESOURCE may not lower oom_score_adj, runc would fail to create pods.
runtime_settings() {
  cat <<T
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
T
}

# runtimes TABLE KEY: KEY is what the version calls a runtime's sandboxer. Ours are named for the route that containerd takes to them.
runtimes() {
  local kind
  cat <<T
  [$1.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [$1.runtimes.runc.options]
      BinaryName = '$runc'
      Root = '$run/runc'
      SystemdCgroup = false
  [$1.runtimes.kuasar-runc]
    runtime_type = 'io.containerd.kuasar-runc.v1'
    $2 = 'podsandbox'
T
  for kind in runc vmm; do
    cat <<T
  [$1.runtimes.kuasar-$kind-shim]
    runtime_type = 'io.containerd.kuasar-$kind.v1'
    $2 = 'shim'
T
  done
}

# proxies TABLE: sandboxers that containerd speaks to itself, at sockets in the run folder.
proxies() {
  local kind
  for kind in runc vmm; do
    cat <<T
  [$1.runtimes.kuasar-$kind-proxy]
    runtime_type = 'io.containerd.kuasar-$kind.v1'
    sandboxer = 'kuasar-$kind'
[proxy_plugins.kuasar-$kind]
  type = 'sandbox'
  address = '$run/kuasar-$kind.sock'
T
  done
}

config_1() {
  local cri="plugins.'io.containerd.grpc.v1.cri'"
  config_head 2
  cat <<T
[$cri]
  sandbox_image = 'localhost/pause:1'
  stream_server_address = '127.0.0.1'
  stream_server_port = '0'
$(runtime_settings)
  [$cri.registry]
    config_path = '$testbed/certs.d'
  [$cri.cni]
    bin_dir = '$cni'
    conf_dir = '$testbed/cni/net.d'
  [$cri.containerd]
    default_runtime_name = 'runc'
    snapshotter = '$snapshotter'
$(runtimes "$cri.containerd" sandbox_mode)
T
}

config_2() {
  local images="plugins.'io.containerd.cri.v1.images'" runtime="plugins.'io.containerd.cri.v1.runtime'" bin_dirs
  bin_dirs="bin_dirs = ['$cni']"
  # 2.0 only knows the older key.
  [ "$(containerd_version "$containerd")" -ge 201 ] || bin_dirs="bin_dir = '$cni'"
  config_head 3
  cat <<T
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_address = '127.0.0.1'
  stream_server_port = '0'
[$images]
  snapshotter = '$snapshotter'
  [$images.pinned_images]
    sandbox = 'localhost/pause:1'
  [$images.registry]
    config_path = '$testbed/certs.d'
[$runtime]
$(runtime_settings)
  [$runtime.cni]
    $bin_dirs
    conf_dir = '$testbed/cni/net.d'
  [$runtime.containerd]
    default_runtime_name = 'runc'
$(runtimes "$runtime.containerd" sandboxer)
$(proxies "$runtime.containerd")
T
}

# No masquerading: pods reach each other and this host, nothing here needs the world.
network_config() {
  cat <<T
{ "cniVersion": "1.0.0", "name": "$network", "plugins": [
  { "type": "bridge", "bridge": "$KUASAR_BRIDGE", "isGateway": true, "ipMasq": false, "hairpinMode": true,
    "ipam": { "type": "host-local", "dataDir": "$testbed/cni/ipam",
      "ranges": [[{ "subnet": "$KUASAR_SUBNET" }]], "routes": [{ "dst": "0.0.0.0/0" }] } },
  { "type": "portmap", "capabilities": { "portMappings": true } } ] }
T
}

cmd_config() {
  local snapshotter=overlayfs
  need_installed
  mkdir -p "$root" "$testbed"/{bin,runtimes.d,certs.d,cni/net.d}
  if ! overlay_works; then
    snapshotter=native
    say "overlay does not work below $root: native snapshotter"
  fi
  echo $snapshotter >"$testbed/snapshotter"
  if [ "$(containerd_version "$containerd")" -ge 200 ]; then config_2; else config_1; fi >"$config"
  network_config >"$testbed/cni/net.d/10-bridge.conflist"
  note_settings
}

noted_snapshotter() { cat "$testbed/snapshotter" 2>/dev/null || echo overlayfs; }

# --- containerd -------------------------------------------------------------------------------------------------------

# Its pid, when it lives and still is this test bed's (pids come again).
containerd_pid() {
  local pid
  { read -r pid <"$pid_file"; } 2>/dev/null || return 1
  [[ $(exe_of "$pid") == */containerd && " $(args_of "$pid")" == *" $config "* ]] && echo "$pid"
}

answers() { ctr_timeout=5 ctr plugins ls 2>/dev/null | grep 'io.containerd.grpc.v1 *cri .*ok' >/dev/null; }

ready_or_dead() { answers || ! containerd_pid >/dev/null; }

cmd_start() {
  local pid
  need_installed
  [ -f "$config" ] || die "no $config: $0 config"
  if pid=$(containerd_pid); then
    say "containerd runs already, pid $pid"
    return
  fi
  mkdir -p "$run"
  [ "$(cat "$run/owner" 2>/dev/null || echo "$testbed")" = "$testbed" ] ||
    die "$run belongs to the test bed $(cat "$run/owner"): set KUASAR_TESTBED_RUN"
  echo "$testbed" >"$run/owner"
  launch
  wait_for 30 ready_or_dead || true
  if ! pid=$(containerd_pid) || ! answers; then
    tail -n 20 "$log" >&2
    die "containerd does not answer; its log: $log"
  fi
  say "containerd $("$containerd" --version | cut -d' ' -f3) answers at $socket, pid $pid"
}

# Shims inherit containerd's whole environment, so it is a clean one.
# ENABLE_CRI_SANDBOXES: in 1.7 nothing but podsandbox works without.
launch() {
  # shellcheck disable=SC2016 # the inner shell expands
  setsid bash -c 'echo $$ >"$1"; shift; exec "$@"' launch "$pid_file" \
    env -i PATH="$path" HOME=/root LANG=C.UTF-8 ENABLE_CRI_SANDBOXES=1 "$containerd" -c "$config" \
    >>"$log" 2>&1 </dev/null &
  wait_for 5 test -s "$pid_file" && wait_for 5 containerd_pid >/dev/null || true
}

cmd_import() {
  local namespace name flags=()
  need_installed
  [ "$(containerd_version "$containerd")" -lt 200 ] || flags=(--local)
  for namespace in default k8s.io; do
    for name in busybox pause; do
      ctr_timeout=120 ctr -n $namespace images import "${flags[@]}" --snapshotter "$(noted_snapshotter)" "$images/$name.tar" >&2
    done
  done
}

cmd_all() { cmd_install; cmd_images; cmd_config; cmd_start; cmd_import; }

cmd_stop() {
  local pid
  if pid=$(containerd_pid); then end_process "$pid" "${1:-TERM}" 15; fi
  rm -f "$pid_file"
}

cmd_restart() { cmd_stop; cmd_start; }

cmd_status() {
  local pid
  printf '%s\n' "testbed  $testbed" "run      $run" "suite    $SUITE" "bridge   $KUASAR_BRIDGE $KUASAR_SUBNET"
  if ! pid=$(containerd_pid); then
    echo "containerd does not run"
    exit 3
  fi
  printf '%s\n' "pid      $pid" "address  $socket" "log      $log"
  "$containerd" --version
  ctr plugins ls | awk '$NF != "ok"'
}

cmd_env() {
  local name
  printf 'export KUASAR_TESTBED=%q CONTAINERD_ADDRESS=%q CONTAINERD_SNAPSHOTTER=%q KUASAR_RUNC=%q PATH=%q\n' \
    "$testbed" "$socket" "$(noted_snapshotter)" "$runc" "${path%%:/usr/local/sbin:*}:$(host_path)"
  for name in "${setting_names[@]}"; do printf 'export %s=%q\n' "$name" "${!name}"; done
}

# --- clean ------------------------------------------------------------------------------------------------------------

# The mount points below this test bed's folders in this mount namespace, deepest first. The kernel writes blanks as \040.
mounts_below() {
  awk -v a="$run/" -v b="$testbed/" 'index($5, a) == 1 || index($5, b) == 1 { print $5 }' /proc/self/mountinfo |
    sort -r | while read -r point; do printf '%b\n' "${point//\\/\\0}"; done
}

# Containers' processes: those whose / is a snapshot or a bundle of this test bed, wherever their parent has gone.
container_processes() {
  local pid
  for pid in /proc/[0-9]*; do
    awk -v a="$root/" -v b="$run/" '$5 == "/" && (index($0, a) || index($0, b)) { found = 1 } END { exit !found }' \
      "$pid/mountinfo" 2>/dev/null && echo "${pid#/proc/}"
  done || true
}

# containerd, shims, sandboxers, and what guests run on: by their names, with an argument that points into this test bed.
service_processes() {
  local pid args
  for pid in /proc/[0-9]*; do
    pid=${pid#/proc/}
    case $(exe_of "$pid") in
      */containerd | */containerd-shim* | */kuasar-* | */qemu-system-* | */virtiofsd | */vhost-device-vsock | */ld-linux-*) ;;
      *) continue ;;
    esac
    args=$(args_of "$pid")
    if [[ $args == *"$run/"* || $args == *"$testbed/"* ]]; then echo "$pid"; fi
  done
}

cmd_leftovers() {
  local pid point found=0
  for pid in $(service_processes) $(container_processes); do echo "process $pid: $(args_of "$pid")"; found=1; done
  while read -r point; do echo "mount $point"; found=1; done < <(mounts_below)
  if ip link show "$KUASAR_BRIDGE" >/dev/null 2>&1; then echo "link $KUASAR_BRIDGE"; found=1; fi
  return $found
}

# The orderly way, as long as containerd answers: it knows what belongs to a container outside of our folders
# (control groups, runc's state, shims' sockets).
remove_containers() {
  local namespace id
  for namespace in $(ctr namespaces ls -q); do
    for id in $(ctr -n "$namespace" tasks ls -q); do ctr -n "$namespace" tasks rm -f "$id" >/dev/null || true; done
    for id in $(ctr -n "$namespace" containers ls -q); do ctr -n "$namespace" containers rm "$id" >/dev/null || true; done
  done
}

# Sockets of shims lie in a folder that every containerd of the host uses; the bundles name ours.
shim_sockets() {
  cat "$run"/state/io.containerd.runtime.v2.task/*/*/{address,bootstrap.json} 2>/dev/null |
    grep -oE '/run/containerd/s/[0-9a-f]{64}' || true
}

# forget_port_mappings CONTAINER INTERFACE: the plugin removes a pod's whole chain by its id, but only when told of a mapping.
forget_port_mappings() {
  printf '{ "cniVersion": "1.0.0", "name": "%s", "type": "portmap", "runtimeConfig": { "portMappings": [%s] } }' \
    "$network" '{ "hostPort": 1, "containerPort": 1, "protocol": "tcp" }' |
    timeout 30 env PATH="$path" CNI_COMMAND=DEL CNI_CONTAINERID="$1" CNI_NETNS='' CNI_IFNAME="$2" CNI_PATH="$cni" "$cni/portmap" >&2
}

# The port mappings of pods that were not stopped through CRI, and what libcni remembers of them.
remove_network() {
  local file id
  for file in /var/lib/cni/results/"$network"-*; do
    [ -e "$file" ] || continue
    id=${file##*/"$network"-} id=${id%-*}
    forget_port_mappings "$id" "${file##*-}" || true
    rm -f "$file" /var/lib/cni/results/cni-loopback-"$id"-lo
  done
  rm -rf "$testbed/cni/ipam"
  if ip link show "$KUASAR_BRIDGE" >/dev/null 2>&1; then ip link del "$KUASAR_BRIDGE"; fi
}

cmd_clean() {
  local pid point sockets
  # First: containerd forgets the bundle of a shim that was killed, but not its socket.
  sockets=$(shim_sockets)
  # Also a containerd that was killed: started again, it ends what its shims left.
  if [ -d "$run/state/io.containerd.runtime.v2.task" ] && [ -f "$config" ] && ! containerd_pid >/dev/null; then
    (cmd_start) || true
  fi
  if containerd_pid >/dev/null; then remove_containers || true; fi
  cmd_stop
  for pid in $(service_processes) $(container_processes); do end_process "$pid" KILL; done
  while read -r point; do umount "$point" 2>/dev/null || umount -l "$point"; done < <(mounts_below)
  remove_network
  # shellcheck disable=SC2086 # one word for each socket
  [ -z "$sockets" ] || rm -f $sockets
  [ -z "$(mounts_below)" ] || die "mounts are left: $(mounts_below)"
  rm -rf --one-file-system "$run" "$testbed"/root-* "$testbed/opt" "$testbed/settings" "$testbed/snapshotter"
  cmd_leftovers || die "something is left"
}

# ----------------------------------------------------------------------------------------------------------------------

command=${1:-}
case $command in
  install | images | config | start | import | all | stop | restart | status | env | leftovers | clean)
    case $command in env | status) ;; *) need_root ;; esac
    read_settings
    choose_suite
    "cmd_$command" "${@:2}"
    ;;
  *)
    sed -n '/^# usage/,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
    ;;
esac
