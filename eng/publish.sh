#!/bin/bash
# Publishes the examples as native executables.
#
# usage: eng/publish.sh DIR [NAME VERSION]
# Every examples/*/*.csproj that sets PublishAot becomes DIR/<AssemblyName>; with a NAME only that one, which then calls itself VERSION.
# A trim or AOT warning (IL....) is an error.
# The logs: artifacts/log/publish-<AssemblyName>.log
set -euo pipefail
# shellcheck source=eng/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case $(uname -m) in
  x86_64) rid=linux-x64 ;;
  aarch64) rid=linux-arm64 ;;
  *) die "no NativeAOT for $(uname -m) here" ;;
esac

# NativeAOT links with clang or else gcc, against the C library's development files.
install_linker() {
  { command -v clang || command -v gcc; } >/dev/null && [ -e /usr/include/zlib.h ] && return
  install_packages gcc libc6-dev zlib1g-dev
}

# property PROJECT NAME: as msbuild evaluates it, wherever it is set.
property() { timeout 120 dotnet msbuild "$1" -nologo -getProperty:"$2" -p:Configuration=Release; }

# publish PROJECT NAME: a warning must fail here, not in a look at the log afterwards: the next, incremental, publish
# would not repeat it and pass.
publish() {
  local project=$1 name=$2 log=$repo/artifacts/log/publish-$2.log out=$repo/artifacts/publish/$2
  timeout 900 dotnet publish "$project" -c Release -r $rid -o "$out" -nologo \
    -p:TreatWarningsAsErrors=true -p:ILLinkTreatWarningsAsErrors=true -p:IlcTreatWarningsAsErrors=true -p:ExampleVersion="$version" >"$log" 2>&1 || {
    grep -E '(error|warning) [A-Z]+[0-9]+|error :|error MSB' "$log" | sort -u >&2 || tail -n 30 "$log" >&2
    die "publishing $name failed: $log"
  }
  ! grep -E 'warning (IL|AOT)' "$log" >&2 || die "publishing $name gave warnings: $log"
  # By renaming: the file at this place may be running.
  install -m 755 "$out/$name" "$target/.$name.new"
  mv -f "$target/.$name.new" "$target/$name"
  printf '%8.1f MB  %s\n' "$(stat -c %s "$target/$name" | awk '{ print $1 / 1048576 }')" "$target/$name"
}

[ $# = 1 ] || [ $# = 3 ] || die "usage: eng/publish.sh DIR [NAME VERSION]"
command -v dotnet >/dev/null || die "no dotnet on PATH: the .NET SDK 10 is needed"
mkdir -p "$1" "$repo/artifacts/log"
target=$(realpath "$1") only=${2:-} version=${3:-}
published=0
for project in "$repo"/examples/*/*.csproj; do
  [ -e "$project" ] || continue
  [ "$(property "$project" PublishAot)" = true ] || continue
  name=$(property "$project" AssemblyName)
  [ -z "$only" ] || [ "$only" = "$name" ] || continue
  [ $published != 0 ] || install_linker
  publish "$project" "$name"
  published=$((published + 1))
done
[ $published != 0 ] || die "no example ${only:-that sets PublishAot}: nothing published"
