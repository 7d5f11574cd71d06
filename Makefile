# What people and CI run. Every target installs what it needs, or says what is missing.

CARGO ?= cargo
export PATH := $(PATH):/usr/sbin

.PHONY: help cosign demo test e2e faults sim mutants bench bench-judge lint deny fmt arrows build

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## play the product against live processes: ship, judge, take back (about 3 minutes)
	@scripts/need.sh --rust gcc
	$(CARGO) build --release --quiet -p airboss-cli -p checkout -p xtask
	@$(CARGO) xtask demo

test: ## everything that CI runs
	@scripts/need.sh --rust docker-registry faketime gcc nginx postgresql python3-venv skopeo wrk
	@scripts/test.sh

e2e: ## only the end-to-end tests
	@scripts/need.sh --rust docker-registry faketime gcc nginx postgresql skopeo wrk
	$(CARGO) build -p checkout
	$(CARGO) test -p airboss-cli --test e2e -- --test-threads 2

faults: ## 200 faults at random moments on each database, with real processes (about 20 minutes; docs/reliability.md)
	@scripts/need.sh --rust gcc postgresql
	$(CARGO) build -p checkout
	AIRBOSS_FAULTS=$${AIRBOSS_FAULTS:-200} $(CARGO) test -p airboss-cli --test e2e -- --test-threads 1 --nocapture faults::

sim: ## 1,000 seeded worlds in which everything goes wrong (ARGS="--forever", ARGS="--one 42")
	@scripts/need.sh --rust gcc
	@$(CARGO) xtask sim $(ARGS)

mutants: ## change the engine in every way that cargo-mutants knows; a test must see each (ARGS="--shard 0/8"; crates/engine/mutants.md)
	@$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-mutants
	PROPTEST_CASES=$${PROPTEST_CASES:-20} $(CARGO) mutants -p airboss-engine --timeout 60 $(ARGS)

bench: ## measure the product and write docs/benchmarks.md (about 35 minutes; ONLY="weight store" for some)
	@scripts/need.sh --rust gcc haproxy nginx postgresql wrk
	$(CARGO) build --release --quiet -p airboss-cli -p xtask
	@$(CARGO) xtask bench $(ONLY)

bench-judge: ## the judge in simulated worlds beside other rules; writes the tables of docs/judge.md
	@scripts/need.sh --rust gcc
	$(CARGO) bench -p airboss-judge --bench worlds -- --write

cosign: ## builds cosign, so that the tests let it check what Airboss signs (some minutes, once)
	@scripts/oracles.sh cosign

lint: ## formatting, clippy, arrows, and the dependencies' licences where cargo-deny is there
	@scripts/need.sh --rust gcc
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@$(MAKE) --no-print-directory arrows
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(MAKE) --no-print-directory deny; \
	else echo "lint: cargo-deny is not there, so licences and sources were not checked; make deny installs it"; fi

deny: ## the dependencies' licences, sources and bans; installs cargo-deny (about 5 minutes, once)
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-deny
	$(CARGO) deny --all-features check licenses bans sources

arrows: ## check that crates depend downward only, and that pure ones are pure
	@$(CARGO) run --quiet -p xtask -- arrows

fmt: ## format
	$(CARGO) fmt --all

build: ## the release binary
	@scripts/need.sh --rust gcc
	$(CARGO) build --release
