# `make help` lists what one can do here.
.DEFAULT_GOAL := help
.PHONY: help setup build probes demo test lint bench bench-load doc clean
export PATH := $(PATH):/usr/sbin:/sbin:$(HOME)/.cargo/bin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building, testing and the demo need (Debian 12, Ubuntu)
	@scripts/setup.sh

build: setup ## build the optimised programs into target/release
	cargo build --release --locked --workspace --bins --exclude bpf-probes --exclude benches

probes: setup ## build the observer with its eBPF programs, and only that
	cargo build --locked --package observer

demo: setup ## show real packets and real drops on this machine, in namespaces of its own
	@scripts/demo.sh

test: setup ## run all tests; as root also those on the real kernel
	@scripts/test.sh

lint: setup ## check format, lints, documentation, licences, scripts
	@scripts/lint.sh

bench: setup ## measure the steps of the event path; see docs/performance.md
	cargo bench --locked --package benches

bench-load: setup ## measure on real traffic, as root; flags in ARGS='--only udp-flood'
	cargo build --release --locked --package observer --package cli --package benches --bins
	$(if $(filter 0,$(shell id -u)),,sudo) $${CARGO_TARGET_DIR:-target}/release/load $(ARGS)

doc: setup ## build the documentation of the code into target/doc
	cargo doc --locked --workspace --no-deps

clean: ## remove everything that was built
	cargo clean
