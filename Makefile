# `make` alone prints the targets.

.DEFAULT_GOAL := help
.PHONY: help build drill test torture bench clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build target/release/blackstart
	cargo build --locked --release

drill: ## set up what a drill needs, and start one
	tests/setup.sh drill
	cargo build --locked --release
	target/release/blackstart drill

test: ## format, lints, all tests with the short loops, and the shipped runbooks
	tests/setup.sh
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	tests/run.sh

torture: ## all tests with the long loops: kills, dropped sessions, power cuts
	tests/setup.sh
	BLACKSTART_TORTURE=1 NEXTEST_PROFILE=torture tests/run.sh --no-fail-fast

bench: ## measure what the README promises, against the tools beside it
	cargo bench --locked --bench promises

clean: ## remove what was built
	cargo clean
