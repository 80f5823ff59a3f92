#!/bin/bash
# Renews debs.lock.json from the machine's Debian mirror. Needs only bash, apt and awk.
set -euo pipefail

suite=trixie
python="python3.13-minimal libpython3.13-minimal libpython3.13-stdlib libc6 libgcc-s1
  gcc-14-base libstdc++6 libgomp1 zlib1g libexpat1 libffi8 libssl3t64 libzstd1 liblzma5
  libbz2-1.0 libsqlite3-0 libreadline8t64 libncursesw6 libtinfo6 libuuid1 libdb5.3t64
  libnsl2 libtirpc3t64 libcrypt1 media-types tzdata"

if [ "${1:-}" = --help ]; then
  cat <<'HELP'
usage: ./bazelw run //third_party/debian:lock

Writes third_party/debian/debs.lock.json: name, version, path, sha256 and size of
each Debian package that the build uses, from the suite's signed index.
DEBIAN_MIRROR names the root of the archive; default: see mirrors.sh.
HELP
  exit 0
fi

fail() { echo "lock: $*" >&2; exit 1; }

here=$(dirname "$(readlink -f "$0")")
mirror=$("$here/mirrors.sh" | head -n 1)
[ -n "$mirror" ] || fail "no Debian mirror found; set DEBIAN_MIRROR to the root of a Debian archive"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || fail "$keyring is missing; install debian-archive-keyring"
out=${BUILD_WORKSPACE_DIRECTORY:?run this with ./bazelw run}/third_party/debian/debs.lock.json

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d}
touch "$work/status"
echo "deb [signed-by=$keyring arch=amd64,arm64] $mirror $suite main" >"$work/etc/sources.list"
# A mirror's Release file may have expired; its signature is still checked.
apt-get -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" \
  -o Dir::Etc="$work/etc" -o Dir::Etc::sourcelist="$work/etc/sources.list" -o Dir::Etc::sourceparts=- \
  -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
  -o APT::Sandbox::User= -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none \
  update >&2 || fail "apt-get update failed for suite $suite; check DEBIAN_MIRROR and the network"

entries() { # architecture, purpose, names
  local lists=("$work"/state/lists/*_binary-"$1"_Packages*)
  awk -v names="$3" -v arch="$1" -v purpose="$2" '
    BEGIN { n = split(names, order, /[ \n]+/); for (i = 1; i <= n; i++) want[order[i]] = 1 }
    /^Package: / { name = $2 }
    /^Version: / { version[name] = $2 }
    /^Filename: / { path[name] = $2 }
    /^SHA256: / { sha[name] = $2 }
    /^Size: / { size[name] = $2 }
    END {
      for (i = 1; i <= n; i++) if (order[i] != "") {
        p = order[i]
        if (!(p in sha)) { print "lock: package " p " is not in the suite for " arch > "/dev/stderr"; exit 1 }
        printf "  {\"architecture\": \"%s\", \"name\": \"%s\", \"path\": \"%s\", \"purpose\": \"%s\", \"sha256\": \"%s\", \"size_bytes\": %s, \"version\": \"%s\"}\n", arch, p, path[p], purpose, sha[p], size[p], version[p]
      }
    }' <(/usr/lib/apt/apt-helper cat-file "${lists[@]}")
}

{
  entries amd64 python "$python"
  entries arm64 python "$python"
  entries amd64 qemu qemu-user
  entries amd64 npm npm
  entries amd64 pip python3-pip-whl
} >"$work/entries"
{
  # The archive holds all of these now, and services that keep every version are asked
  # for the archive as it was at this time.
  printf '{\n "lock_version": 1,\n "suite": "%s",\n "snapshot": "%s",\n "packages": [\n' \
    "$suite" "$(date -u +%Y%m%dT%H%M%SZ)"
  sed '$!s/$/,/' "$work/entries"
  printf ' ]\n}\n'
} >"$work/lock"
mv "$work/lock" "$out.new"
mv "$out.new" "$out"
echo "lock: wrote $(wc -l <"$work/entries") packages to $out" >&2
