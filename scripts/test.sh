#!/usr/bin/env bash
# Everything that CI runs, in the order in which mistakes are cheapest to hear of.
set -euo pipefail
cd "$(dirname "$0")/.."

began=$SECONDS
step() { printf '\n== %s\n' "$*"; }

# A test must not reach into the folder or the server of whoever runs it.
unset AIRBOSS_HOME AIRBOSS_SERVER AIRBOSS_TOKEN AIRBOSS_USER AIRBOSS_LISTEN

step "formatting"
cargo fmt --all --check

step "arrows between crates"
cargo run --quiet -p xtask -- arrows

step "clippy"
cargo clippy --workspace --all-targets -- -D warnings

if cargo deny --version >/dev/null 2>&1; then
    step "licences, sources, bans"
    cargo deny --all-features check licenses bans sources
fi

step "others' tools to check ours against"
scripts/oracles.sh || echo "test: without them; the tests that need them say so"

step "tests"
cargo build -p checkout
# The end-to-end tests bring load of their own: they run after the others and two at a time.
cargo test --workspace --exclude airboss-cli
cargo test -p airboss-cli --lib --bins
cargo test -p airboss-cli --test it

step "worlds in which everything goes wrong"
cargo run --quiet -p airboss-sim --bin worlds -- --seeds 1000

step "end-to-end tests"
cargo test -p airboss-cli --test e2e -- --test-threads 2

printf '\nall passed in %d min %d s\n' $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60))
