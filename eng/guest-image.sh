#!/bin/bash
# A guest for microVMs from Debian's packages alone: a kernel, and an initramfs with our agent as pid 1 and crun.
#
# usage: eng/guest-image.sh [AGENT]
#   AGENT   the published kuasar-guest-agent; default: artifacts/bin/kuasar-guest-agent, published here where it is missing or older than its sources
#
# Writes to artifacts/vmm/guest (KUASAR_GUEST):
#   vmlinux       the kernel as an ELF file, which boots by PVH and needs no unpacking
#   vmlinuz       the same kernel as it is packaged
#   initrd.img    cpio, not compressed: the memory is the guest's either way, and under emulation unpacking takes longer than reading
#   manifest      which packages, in which versions, and which modules
# The same packages and agent give the same bytes. Packages are downloaded once, to artifacts/vmm/guest/packages. No root is needed.
#
# environment:
#   KUASAR_GUEST_KERNEL   the kernel's package (what linux-image-cloud-amd64 stands for)
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ "$(uname -m)" = x86_64 ] || die "no guest image for $(uname -m)"
# Its 6.1 is the last kernel whose writes to vsock every device takes, whatever their size.
suite=bookworm
multiarch=x86_64-linux-gnu loader=ld-linux-x86-64.so.2
target=$(realpath -m "${KUASAR_GUEST:-$repo/artifacts/vmm/guest}")
packages=$target/packages prefix=$target/prefix

# In an order in which each finds what it needs. Those that a kernel has built in are not there as files. The last line is for containers that set up
# networks of their own: nothing in the guest loads modules when they are asked for.
modules=(
  virtio_ring virtio virtio_mmio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk failover net_failover virtio_net virtio_console
  vsock vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport fuse virtiofs overlay virtio_rng evdev button pvpanic pvpanic-mmio pvpanic-pci
  llc stp bridge veth
)
# What is in the guest, and the libraries that crun is linked with; cpio and lz4 are for making it.
debs=(
  crun busybox-static libc6 libgcc-s1 libcap2 libseccomp2 libyajl2 libsystemd0 libgcrypt20 libgpg-error0 liblzma5 libzstd1 liblz4-1
  cpio lz4
)

# --- packages ---------------------------------------------------------------------------------------------------------

# The kernel that the suite's metapackage names.
kernel_name() {
  suite_apt "$apt" download linux-image-cloud-amd64 >&2
  dpkg-deb -f linux-image-cloud-amd64_*.deb Depends | sed 's/[ ,(].*//'
  rm linux-image-cloud-amd64_*.deb
}

download() {
  local apt=$target/apt kernel=${KUASAR_GUEST_KERNEL:-}
  [ ! -f "$packages/complete" ] || return 0
  rm -rf "$packages"
  mkdir -p "$packages"
  cd "$packages"
  say "downloading a kernel, ${debs[*]} of $suite"
  suite_update "$apt" $suite
  [ -n "$kernel" ] || kernel=$(kernel_name)
  suite_apt "$apt" download "$kernel" "${debs[@]}" >&2
  rm -rf "$apt"
  touch complete
  cd "$repo"
}

unpack() {
  local deb
  rm -rf "$prefix"
  mkdir -p "$prefix"
  for deb in "$packages"/*.deb; do dpkg-deb -x "$deb" "$prefix"; done
  touch "$prefix"
}

# A program of the packages, with its own libraries.
packaged() {
  local program
  program=$(find "$prefix/usr/bin" "$prefix/bin" -name "$1" -type f | head -n 1)
  [ -n "$program" ] || die "no program $1 in the packages"
  "$prefix/lib/$multiarch/$loader" --library-path "$prefix/lib/$multiarch:$prefix/usr/lib/$multiarch" "$program" "${@:2}"
}

# --- kernel -----------------------------------------------------------------------------------------------------------

# bytes FILE OFFSET LENGTH; number FILE OFFSET SIZE
bytes() { dd if="$1" iflag=skip_bytes,count_bytes bs=64K skip="$2" count="$3" status=none; }
number() { od -An -v "-tu$3" -j "$2" -N "$3" "$1" | tr -d ' '; }

# A bzImage says where in it the packed kernel is: (setup_sects + 1) * 512 + payload_offset. 6.1's is LZ4 (legacy frames), with its unpacked
# size in the four bytes behind it.
write_vmlinux() {
  local image=$1 setup offset length
  setup=$(number "$image" $((0x1f1)) 1)
  offset=$(((setup + 1) * 512 + $(number "$image" $((0x248)) 4)))
  length=$(number "$image" $((0x24c)) 4)
  [ "$(bytes "$image" $offset 4 | od -An -tx1 | tr -d ' ')" = 02214c18 ] || die "the kernel in $image is not packed by LZ4"
  bytes "$image" $offset $((length - 4)) >"$work/kernel.lz4"
  packaged lz4 -dcq "$work/kernel.lz4" >"$2"
  [ "$(bytes "$2" 1 3)" = ELF ] || die "no ELF file in $image"
}

# --- initramfs --------------------------------------------------------------------------------------------------------

# needed FILE...: the names of the libraries that a program is linked with, those of its libraries too.
needed() {
  local file name pending=("$@") seen=' '
  while [ ${#pending[@]} != 0 ]; do
    file=${pending[0]} pending=("${pending[@]:1}")
    for name in $(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
      [[ $seen == *" $name "* ]] && continue
      seen+="$name "
      file=$(library "$name")
      pending+=("$file")
      printf '%s\n' "$file"
    done
  done
}

library() {
  local folder
  for folder in "$prefix/lib/$multiarch" "$prefix/usr/lib/$multiarch"; do
    [ -e "$folder/$1" ] && readlink -f "$folder/$1" && return
  done
  die "no package has the library $1"
}

# As the linker looks for it.
soname() { readelf -d "$1" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p'; }

# The two folders of libraries are one here, the loader's own name apart.
install_libraries() {
  local file name
  for file in $(needed "$@"); do
    name=$(soname "$file")
    install -m 755 "$file" "$tree/lib/$multiarch/$name"
  done
  mkdir -p "$tree/lib64"
  ln -s "../lib/$multiarch/$loader" "$tree/lib64/$loader"
}

install_modules() {
  local name file
  for name in "${modules[@]}"; do
    file=$(find "$prefix/lib/modules" -name "${name//[-_]/[-_]}.ko" | head -n 1)
    [ -n "$file" ] || { say "built into the kernel, or not there: $name"; continue; }
    install -m 644 "$file" "$tree/lib/modules/$name.ko"
    echo "/lib/modules/$name.ko"
  done >"$tree/etc/kuasar/modules"
}

# The agent is linked with this host's C library, and runs with the suite's.
check_agent() {
  local problem
  problem=$("$prefix/lib/$multiarch/$loader" --library-path "$prefix/lib/$multiarch:$prefix/usr/lib/$multiarch" --list "$1" 2>&1 | grep 'not found' | head -n 1 || true)
  [ -z "$problem" ] || die "$1 does not run in the guest, was it published on a newer Debian than $suite? $problem"
}

write_initrd() {
  local agent=$1 applet
  check_agent "$agent"
  mkdir -p "$tree"/{bin,dev,etc/kuasar,"lib/$multiarch",lib/modules,mnt,proc,run,sys,tmp,usr/bin}
  install -m 755 "$agent" "$tree/init"
  install -m 755 "$prefix/usr/bin/crun" "$tree/usr/bin/crun"
  install -m 755 "$prefix/bin/busybox" "$tree/bin/busybox"
  for applet in sh cat ls mount ip ps dmesg sed sleep poweroff; do ln -s busybox "$tree/bin/$applet"; done
  # glibc's look for names, which .NET asks for the host's own.
  printf 'root:x:0:0:root:/:/bin/sh\n' >"$tree/etc/passwd"
  printf 'root:x:0:\n' >"$tree/etc/group"
  install_libraries "$agent" "$prefix/usr/bin/crun"
  install_modules
  find "$tree" -exec touch -h -d @0 {} +
  (cd "$tree" && find . -mindepth 1 | sort | packaged cpio --quiet --reproducible --owner=0:0 -o -H newc) >"$target/initrd.img.new"
  mv -f "$target/initrd.img.new" "$target/initrd.img"
}

write_manifest() {
  {
    for deb in "$packages"/*.deb; do dpkg-deb -f "$deb" Package Version | paste -sd' ' | sed 's/Package: //; s/ Version://'; done
    sed 's/^/module /' "$tree/etc/kuasar/modules"
    (cd "$target" && sha256sum vmlinux vmlinuz initrd.img)
  } >"$target/manifest"
}

# --- agent ------------------------------------------------------------------------------------------------------------

default_agent() {
  local agent=$repo/artifacts/bin/kuasar-guest-agent
  if [ ! -x "$agent" ] || [ -n "$(find "$repo"/src/Kuasar.{Protocol,Sandbox} "$repo/src/Shared" "$repo/examples/GuestAgent" \
      \( -name bin -o -name obj \) -prune -o -newer "$agent" -name '*.[cp]*' -type f -print -quit)" ]; then
    "$repo/eng/publish.sh" "$repo/artifacts/bin" kuasar-guest-agent "$(sed -n 's:.*<VersionPrefix>\(.*\)</VersionPrefix>.*:\1:p' "$repo/Directory.Build.props")" >&2
  fi
  echo "$agent"
}

# ----------------------------------------------------------------------------------------------------------------------

for tool in apt-get dpkg-deb readelf; do command -v $tool >/dev/null || die "no $tool on PATH"; done
mkdir -p "$target"
exec 9>"$target/lock"
flock -w 900 9 || die "another one holds $target/lock"
agent=${1:-}
[ -n "$agent" ] || agent=$(default_agent)
agent=$(realpath "$agent")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
download
[ -d "$prefix/lib/modules" ] && [ "$prefix" -nt "$packages/complete" ] || unpack
if [ ! -f "$target/vmlinux" ] || [ "$packages/complete" -nt "$target/vmlinux" ]; then
  cp "$prefix"/boot/vmlinuz-* "$target/vmlinuz"
  write_vmlinux "$target/vmlinuz" "$target/vmlinux"
fi
write_initrd "$agent"
write_manifest
ls -sh "$target"/{vmlinux,initrd.img} >&2
