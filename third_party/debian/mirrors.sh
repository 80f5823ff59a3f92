#!/bin/bash
# Prints the Debian archives that this machine knows, one URL per line, best first.
#
#   mirrors.sh             archives of the current suites: DEBIAN_MIRROR, or those that
#                          apt's sources name, or (on Ubuntu, whose sources name none) the
#                          one that python-apt names
#   mirrors.sh permanent   services that keep every version for ever; below such a URL
#                          stand a time and then the archive's files: DEBIAN_SNAPSHOT, or
#                          the one that apt's configuration or sources name
#
# Prints nothing if it knows none. No URL is written here: each comes from the machine.
set -uo pipefail

# Prints the archives in apt's sources. Such lines as 'SITE/dists/SUITE/InRelease' NAME 0
# come even before the first update.
list_apt_sources() {
  local site
  while read -r site; do
    # In cloud images, the source is a file that lists mirrors.
    if [[ $site == mirror+file:* ]]; then
      site=$(grep -Eom 1 '^https?://[^[:space:]]+' "${site#mirror+file:}" 2> /dev/null) ||
        continue
    fi
    printf '%s\n' "${site%/}"
  done < <(apt-get update --print-uris 2> /dev/null | sed -n "s#^'\(.*\)/dists/.*#\1#p")
}

# Prints the URL of Debian's archive as python-apt knows it, by plain http, since Java may
# lack the machine's certificates; signatures and checksums protect the content.
list_python_apt() {
  local archives
  archives=$(dpkg-query -L python-apt-common 2> /dev/null |
    sed -n '/\/Debian\.info$/{ p; q }')
  [[ ! -r $archives ]] || sed -nE \
    '/^BaseURI: https?:.*\/debian\/*$/{ s#^BaseURI: https?:(.*/debian)/*$#http:\1#p; q }' \
    "$archives"
}

# Other archives in the sources are Debian's too on a machine that runs Debian, and
# elsewhere are its distribution's own, which hold none of the packages.
list_archives() {
  local found others=.
  found=$(list_apt_sources)
  grep -qs '^ID=debian' "${OS_RELEASE:-/etc/os-release}" || others='^$'
  found=$(for pattern in '^http.*/debian$' '^http.*/debian-security$' "$others"; do
    grep -E "$pattern" <<< "$found"
  done)
  if [[ -n $found ]]; then printf '%s\n' "$found"; else list_python_apt; fi
}

list_permanent() {
  local folder=${APT_SOURCES:-/etc/apt} found
  found=$(apt-config dump Acquire::Snapshots::URI::Origin::Debian 2> /dev/null |
    sed -nE 's#.*"(https?:[^"]*/)@SNAPSHOTID@/?".*#\1#p')
  # In container images a comment in the sources names what the image was made from.
  [[ -n $found ]] || found=$(cat "$folder/sources.list" "$folder"/sources.list.d/* 2> /dev/null |
    sed -nE 's#.*(https?://[^[:space:]]*/archive/debian/)[0-9]{8}T[0-9]{6}Z.*#\1#p')
  printf '%s\n' "$found"
}

case ${1-} in
  '') read -ra given <<< "${DEBIAN_MIRROR-}" ;;
  permanent) read -ra given <<< "${DEBIAN_SNAPSHOT-}" ;;
  *)
    echo "mirrors.sh: expected no argument or 'permanent', got '$1'" >&2
    exit 2
    ;;
esac
if ((${#given[@]} > 0)); then
  printf '%s\n' "${given[@]}"
elif [[ ${1-} == permanent ]]; then
  list_permanent
else
  list_archives
fi | sed 's#/*$##; /^$/d' | awk '!seen[$0]++'
