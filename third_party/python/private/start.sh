#!/bin/sh
# Starts %target%; Bazel makes the program's file from this text.
#
# It sees its own files on PYTHONPATH, nothing of the caller's Python (bin/environment.sh
# beside the interpreter clears the rest), and needs no Python of the machine. Only
# variables that the program is to see are set here.
set -f

# Prints the folder of the program's files. A program that starts another one has the
# other's files among its own.
find_files() (
  if [ -n "${RUNFILES_DIR-}" ] && [ -e "$RUNFILES_DIR/%main%" ]; then
    cd -- "$RUNFILES_DIR" && pwd
    exit
  fi
  file=$0
  while :; do
    case $file in /*) ;; *) file=$PWD/$file ;; esac
    [ ! -d "$file.runfiles" ] || file=$file.runfiles/
    case $file in
      *.runfiles/*) break ;;
    esac
    target=$(readlink -- "$file") || break
    case $target in /*) file=$target ;; *) file=${file%/*}/$target ;; esac
  done
  printf '%s\n' "${file%.runfiles/*}.runfiles"
)

import_path() (
  printf %s "$RUNFILES_DIR/%workspace_name%"
  imports=%imports%
  IFS=:
  for folder in $imports; do printf %s ":$RUNFILES_DIR/$folder"; done
)

RUNFILES_DIR=$(find_files)
if [ ! -e "$RUNFILES_DIR/%main%" ]; then
  echo "${0##*/}: $RUNFILES_DIR: expected this program's files, got none;" \
    "start it by ./bazelw run" >&2
  exit 1
fi
# A robot of the caller's own is looked for there, and nothing else (edge/robots/outside.py).
: "${CONTINUON_ROBOT_PATH=${PYTHONPATH-}}"
PYTHONPATH=$(import_path)
export RUNFILES_DIR PYTHONPATH PYTHONSAFEPATH=1 CONTINUON_ROBOT_PATH
set -- "$RUNFILES_DIR/%python_binary%" "$RUNFILES_DIR/%main%" "$@"
# Ctrl-C waits until Python has one line to say about it (sitecustomize.py). Where this
# env cannot hold it back, a Ctrl-C within a few hundredths of a second is a traceback.
! env --block-signal=INT true 2> /dev/null || set -- env --block-signal=INT "$@"
exec "$@"
