#!/usr/bin/env bash
# Usage: scripts/setup.sh [--check]
#
# Installs what building, testing and the demo need: a C compiler, Rust, a toolchain for the eBPF programs, and the few
# network tools the demo calls. On Debian 12 and Ubuntu it uses apt, as root or through sudo; elsewhere it says what is
# missing and what to do, and exits with 1. What is there is left alone, so a second run changes nothing.
#
#   --check   only say what is missing; exit 1 if anything is
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin:${CARGO_HOME:-$HOME/.cargo}/bin"
# Looking for a toolchain must not install it.
export RUSTUP_AUTO_INSTALL=0

# The linker for eBPF, and the LLVM that Debian 12 has a Rust for.
BPF_LINKER=0.13.0
LLVM=22
RUST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

check_only=false
case "${1:-}" in
  "") ;;
  --check) check_only=true ;;
  -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "setup: unknown argument '$1'; usage: scripts/setup.sh [--check]" >&2; exit 2 ;;
esac

fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# --- What is there? -------------------------------------------------------------------------------------------------

rust_is_new_enough() {
  local found
  found=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
  [ -n "$found" ] && [ "$(printf '%s\n' "$RUST" "$found" | sort -V | head -n1)" = "$RUST" ]
}
lint_tools_are_there() { cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1; }
# The two toolchains that observer/build.rs looks for.
nightly_has_source() {
  local sysroot
  has rustup && sysroot=$(rustup run nightly rustc --print sysroot 2>/dev/null) &&
    [ -d "$sysroot/lib/rustlib/src/rust/library/core" ]
}
debian_has_bpf_core() { [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/bpfel-unknown-none ]; }

missing=()
has cc && has c++ || missing+=("a C and C++ compiler")
has ip || missing+=("ip (iproute2)")
has nft || missing+=("nft (nftables)")
has sysctl || missing+=("sysctl (procps)")
has ping || missing+=("ping (iputils)")
rust_is_new_enough || missing+=("Rust $RUST or later")
lint_tools_are_there || missing+=("clippy and rustfmt")
nightly_has_source || debian_has_bpf_core || missing+=("a Rust toolchain for eBPF")
has bpf-linker || missing+=("bpf-linker")

if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: everything is there"
  exit 0
fi
echo "setup: missing: $(printf '%s, ' "${missing[@]}" | sed 's/, $//')"
if $check_only; then exit 1; fi

# --- How to install here --------------------------------------------------------------------------------------------

# In a subshell: os-release sets many variables.
# shellcheck source=/dev/null
system=$( (. /etc/os-release && echo "$ID") 2>/dev/null || echo unknown)
case "$system" in
  debian | ubuntu) ;;
  *)
    fail "this script installs on Debian 12 and Ubuntu only, and this is '$system'. Please install:" \
      "  - a C and C++ compiler, iproute2, nftables, procps and ping, with your package manager" \
      "  - Rust: see https://rustup.rs, then: rustup toolchain install stable --component clippy --component rustfmt" \
      "  - for eBPF: rustup toolchain install nightly --profile minimal --component rust-src" \
      "  - the linker: cargo install --locked cargo-binstall && cargo binstall bpf-linker"
    ;;
esac

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif has sudo; then
    sudo "$@"
  else
    fail "'$*' needs root: run scripts/setup.sh as root once, or install sudo"
  fi
}

apt_updated=false
apt_update() {
  $apt_updated && return
  echo "setup: reading apt's package lists"
  as_root apt-get update -qq
  apt_updated=true
}
apt_knows() {
  local candidate
  apt_update
  candidate=$(LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p')
  [ -n "$candidate" ] && [ "$candidate" != "(none)" ]
}
apt_install() {
  apt_update
  echo "setup: installing $* (apt)"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null
}

# --- Install --------------------------------------------------------------------------------------------------------

packages=()
has cc && has c++ || packages+=(build-essential)
has ip || packages+=(iproute2)
has nft || packages+=(nftables)
has ping || packages+=(iputils-ping)
has sysctl || packages+=(procps)
[ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
if [ ${#packages[@]} -gt 0 ]; then apt_install "${packages[@]}"; fi

# Debian 12 has a recent Rust beside its old one, packaged for browsers; its core for BPF needs no nightly.
if ! rust_is_new_enough; then
  if ! has rustup && ! has cargo && apt_knows rustc-web; then
    apt_install rustc-web cargo-web
  else
    has rustup || { apt_knows rustup && apt_install rustup; } ||
      fail "Rust $RUST or later is needed: install rustup from https://rustup.rs and run this again"
    echo "setup: installing the stable Rust, for this folder (rustup)"
    rustup toolchain install stable --profile minimal --component clippy --component rustfmt
    rustup override set stable
  fi
  rust_is_new_enough || fail "Rust $RUST or later is needed, but $(command -v cargo) is $(cargo --version):" \
    "  remove it, or put the newer one first in PATH"
fi

if ! lint_tools_are_there; then
  if has rustup; then
    rustup component add clippy rustfmt
  else
    apt_install rust-web-clippy rustfmt-web
  fi
fi

if ! nightly_has_source && ! debian_has_bpf_core; then
  if apt_knows libstd-rust-web-dev-bpf; then
    apt_install rustc-web cargo-web libstd-rust-web-dev-bpf
  else
    has rustup || { apt_knows rustup && apt_install rustup; } ||
      fail "the eBPF programs need a nightly Rust: install rustup from https://rustup.rs and run this again"
    echo "setup: installing the nightly Rust with its sources (rustup)"
    rustup toolchain install nightly --profile minimal --component rust-src
  fi
fi

if ! has bpf-linker; then
  # The linker's LLVM must be as new as the compiler's. Debian's LLVM fits Debian's Rust; for a nightly, the released
  # binary follows the newest LLVM.
  if ! nightly_has_source && apt_knows "llvm-$LLVM-dev"; then
    apt_install "llvm-$LLVM-dev" "libpolly-$LLVM-dev" libzstd-dev zlib1g-dev
    echo "setup: building bpf-linker $BPF_LINKER (about a minute)"
    LLVM_PREFIX="/usr/lib/llvm-$LLVM" cargo install bpf-linker --version "$BPF_LINKER" --locked \
      --no-default-features --features "llvm-$LLVM"
  else
    has cargo-binstall || {
      echo "setup: building cargo-binstall, which fetches the released bpf-linker (some minutes)"
      cargo install cargo-binstall --locked --quiet
    }
    echo "setup: fetching bpf-linker $BPF_LINKER"
    cargo binstall --no-confirm "bpf-linker@$BPF_LINKER"
  fi
  has bpf-linker || fail "bpf-linker was installed but is not in PATH; add ${CARGO_HOME:-$HOME/.cargo}/bin to PATH"
fi

echo "setup: done"
