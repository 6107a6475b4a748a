# `make` alone prints the targets.

.DEFAULT_GOAL := help
.PHONY: help build drill test torture explain-score bench clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

torture: ## all tests with the long loops: kills, dropped sessions, power cuts; and recent kubectl, helm, az, aws
	tests/setup.sh torture
	BLACKSTART_TORTURE=1 NEXTEST_PROFILE=torture tests/run.sh --no-fail-fast

explain-score: ## how often the failure library names the right cause, on real outputs
	cargo nextest run --locked --no-capture -E 'test(explain::the_score)'

bench: ## measure what the README promises, against the tools beside it
	cargo bench --locked --bench promises

clean: ## remove what was built
	cargo clean
