# `make help` lists what one can do here.
.DEFAULT_GOAL := help
.PHONY: help setup build probes demo demo-cluster test lint bench bench-load bench-sql doc clean
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

demo-cluster: setup ## the same with an observer in each pod, and a relay that answers for all of them
	@scripts/demo.sh --cluster

test: setup ## run all tests; as root also those on the real kernel
	@scripts/test.sh

lint: setup ## check format, lints, documentation, licences, scripts
	@scripts/lint.sh

bench: setup ## measure the steps of the event path; see docs/performance.md
	cargo bench --locked --package benches

bench-load: setup ## measure on real traffic, as root; flags in ARGS='--only udp-flood'
	cargo build --release --locked --package observer --package cli --package benches --bins
	$(if $(filter 0,$(shell id -u)),,sudo) $${CARGO_TARGET_DIR:-target}/release/load $(ARGS)

# Where the flows for bench-sql are kept, and how many.
HISTORY ?= target/history-day
FLOWS ?= 50000000

bench-sql: setup ## compare SQL with DuckDB (pip install duckdb) on the same files; FLOWS=5000000 for a short look
	@python3 -c 'import duckdb' 2>/dev/null || { echo 'DuckDB is missing: pip install duckdb' >&2; exit 1; }
	cargo build --release --locked --package benches --bin history-load --bin sql-bench
	test -d $(HISTORY) || { rm -rf $(HISTORY).part && $${CARGO_TARGET_DIR:-target}/release/history-load --to $(HISTORY).part --flows $(FLOWS) && mv $(HISTORY).part $(HISTORY); }
	python3 benches/sql-bench.py $(HISTORY) $${CARGO_TARGET_DIR:-target}/release/sql-bench

doc: setup ## build the documentation of the code into target/doc
	cargo doc --locked --workspace --no-deps

clean: ## remove everything that was built
	cargo clean
