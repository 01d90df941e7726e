#!/usr/bin/env bash
# Usage: scripts/test.sh [arguments of cargo test]
#
# Runs all tests. Tests on the real kernel need root; without it they skip themselves.
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests load programs and build network namespaces: as root, the two file systems that this needs are mounted where a
# minimal system hasn't done it.
mount_if_missing() {
  local type=$1 path=$2
  grep -q " $path $type " /proc/mounts && return
  [ -d "$path" ] && mount -t "$type" "$type" "$path" ||
    echo "test: cannot mount $type on $path; kernel tests may fail" >&2
}
if [ "$(id -u)" -eq 0 ]; then
  mount_if_missing tracefs /sys/kernel/tracing
  mount_if_missing bpf /sys/fs/bpf
fi

cargo test --workspace --locked "$@"

if [ "$(id -u)" -ne 0 ]; then
  echo
  # shellcheck disable=SC2016 # it is for the reader's shell
  echo 'test: not root, so the tests on the real kernel were skipped; to run them: sudo -E env "PATH=$PATH" make test'
fi
