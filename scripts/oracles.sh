#!/usr/bin/env bash
# Installs, under target/oracles, others' tools that check what Airboss signs, reads and answers, at the
# versions that the repository pins. The tests that need them run where they are.
#   scripts/oracles.sh          npm's @sigstore/verify, standardwebhooks and
#                              @octokit/webhooks-methods; PyPI's securesystemslib, CycloneDX, Schemathesis
#   scripts/oracles.sh cosign   cosign, by the Go toolchain (takes some minutes, once)
set -euo pipefail
cd "$(dirname "$0")/.."

pins=crates/attest/tests/oracles
into=${CARGO_TARGET_DIR:-target}/oracles
cosign=github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3

# A mark says for which pins the folder was made.
current() { [ -f "$into/$1.pin" ] && cmp -s "$into/$1.pin" "$2"; }

if [ "${1:-}" = cosign ]; then
    [ -x "$into/bin/cosign" ] && exit 0
    scripts/need.sh go
    mkdir -p "$into/bin"
    GOBIN=$(cd "$into/bin" && pwd) CGO_ENABLED=0 go install -trimpath "$cosign"
    exit 0
fi

mkdir -p "$into"
if ! current package-lock.json.node "$pins/package-lock.json"; then
    command -v npm >/dev/null || scripts/need.sh npm
    cp "$pins/package.json" "$pins/package-lock.json" "$pins/verify.mjs" "$into/"
    npm ci --prefix "$into" --ignore-scripts --silent --no-audit --no-fund
    cp "$pins/package-lock.json" "$into/package-lock.json.node.pin"
fi
cp "$pins/verify.mjs" "$pins/sign.mjs" "$into/"
if ! current requirements.txt "$pins/requirements.txt"; then
    python3 -m venv "$into/python" 2>/dev/null ||
        { scripts/need.sh python3-venv && python3 -m venv "$into/python"; }
    "$into/python/bin/pip" install --quiet --disable-pip-version-check -r "$pins/requirements.txt"
    cp "$pins/requirements.txt" "$into/requirements.txt.pin"
fi
