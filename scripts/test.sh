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

# Programs that tests run for real: dashboards are asked of a Prometheus, the viewer is driven in tmux. Where they can't be
# installed, those tests say so.
install_if_missing() {
  command -v "$1" >/dev/null 2>&1 && return
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
  echo "test: installing $1 (apt)"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; } >/dev/null 2>&1 ||
    echo "test: $1 could not be installed" >&2
}
install_if_missing prometheus
install_if_missing tmux

# `--show-output` keeps the reason of a test that had to skip itself visible; what was skipped is repeated at the end.
mkdir -p target
log=target/test.log
if [ $# -gt 0 ]; then
  cargo test --workspace --locked "$@" 2>&1 | tee "$log"
else
  cargo test --workspace --locked -- --show-output 2>&1 | tee "$log"
fi

echo
echo 'test: skipped here:'
grep -o 'skipped: .*' "$log" | sort | uniq -c || echo '      nothing'
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"

if [ "$(id -u)" -ne 0 ]; then
  echo
  # shellcheck disable=SC2016 # it is for the reader's shell
  echo 'test: not root, so the tests on the real kernel were skipped; to run them: sudo -E env "PATH=$PATH" make test'
fi
