#!/bin/bash
# QEMU, virtiofsd and vhost-device-vsock of Debian forky with all that they are linked with, unpacked beside the host's own.
#
# usage: eng/vmm.sh [FOLDER]
#   FOLDER   default: artifacts/vmm/prefix (KUASAR_VMM_PREFIX). Made once; remove it to have it anew.
# Nothing is installed on the host. The programs are run by FOLDER/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path of its folder, as this
# host's C library may be older. vhost-device-vsock is in forky and later alone.
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -le 1 ] || die "usage: eng/vmm.sh [FOLDER]"
[ "$(uname -m)" = x86_64 ] || die "no microVMs on $(uname -m) here"
prefix=$(realpath -m "${1:-${KUASAR_VMM_PREFIX:-$repo/artifacts/vmm/prefix}}")
packages=(qemu-system-x86 virtiofsd vhost-device-vsock)

install() {
  local deb apt=$prefix.apt
  [ ! -f "$prefix/installed" ] || return 0
  say "downloading ${packages[*]} of forky, and what they need"
  suite_update "$apt" forky
  suite_apt "$apt" install -y --no-install-recommends --download-only "${packages[@]}" >&2
  rm -rf "$prefix"
  mkdir -p "$prefix"
  for deb in "$apt"/cache/archives/*.deb; do dpkg -x "$deb" "$prefix"; done
  # A few hundred MiB that nobody reads again.
  rm -rf "$apt"
  touch "$prefix/installed"
}

mkdir -p "${prefix%/*}"
(flock -w 900 9 || die "another install holds $prefix.lock"; install) 9>"$prefix.lock"
"$prefix/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --library-path "$prefix/usr/lib/x86_64-linux-gnu" "$prefix/usr/bin/qemu-system-x86_64" --version | sed -n 1p >&2
