#!/usr/bin/env bash
# Usage: scripts/demo.sh [arguments of parallax demo]
#
# Builds Parallax and runs its demo, through sudo if there is one and this isn't root. What it needs and what it leaves
# behind (nothing) is described by `parallax demo --help`.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --package cli --package observer --package relay
parallax="${CARGO_TARGET_DIR:-target}/debug/parallax"
# Asking for a password only makes sense where somebody can answer. Otherwise the demo replays a capture.
if [ "$(id -u)" -ne 0 ] && command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  exec sudo "$parallax" demo "$@"
fi
exec "$parallax" demo "$@"
