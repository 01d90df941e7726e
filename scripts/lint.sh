#!/usr/bin/env bash
# Usage: scripts/lint.sh
#
# Checks format, lints, documentation, licences and shell scripts; the first failure ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "cargo fmt --check"
cargo fmt --all --check

step "cargo clippy (warnings are errors)"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "cargo doc (warnings are errors)"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

# Advisories are left out: they need a database from the network, and a new one must not break an old commit. `cargo deny
# check` runs them too.
step "cargo deny: bans, licences, sources"
if cargo deny --version >/dev/null 2>&1; then
  cargo deny check bans licenses sources
else
  echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"
fi

step "shellcheck"
if command -v shellcheck >/dev/null 2>&1; then
  shellcheck scripts/*.sh .ci/run
else
  for script in scripts/*.sh .ci/run; do bash -n "$script"; done
  echo "only syntax was checked: shellcheck is not installed (apt-get install shellcheck)"
fi
