#!/usr/bin/env bash
# Installs the Debian packages named, where they are missing: scripts/need.sh [--rust] PACKAGE...
# With --rust it also checks that a new enough Rust is here, which is not installed for you.
set -euo pipefail

rust_least=1.95

fail() {
    printf 'need: %s\n' "$1" >&2
    exit 1
}

check_rust() {
    command -v cargo >/dev/null ||
        fail "cargo is not in PATH; install Rust $rust_least or newer from https://rustup.rs"
    local here
    here=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$rust_least" "$here" | sort -V | head -n1)" = "$rust_least" ] ||
        fail "Rust $here is here and $rust_least is needed; run: rustup update stable"
}

missing=()
for package in "$@"; do
    if [ "$package" = --rust ]; then
        check_rust
    # A program of that name is as good as the package, wherever it came from.
    elif ! command -v "$package" >/dev/null && [ ! -x "/usr/sbin/$package" ]; then
        missing+=("$package")
    fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

by_hand="install by hand: ${missing[*]}"
command -v apt-get >/dev/null || fail "missing here, and this system has no apt-get; $by_hand"
if [ "$(id -u)" = 0 ]; then
    as_root=()
elif sudo -n true 2>/dev/null; then
    as_root=(sudo)
else
    fail "missing here, and neither root nor sudo without a password is; run: sudo apt-get install ${missing[*]}"
fi
echo "need: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install=("${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}")
"${install[@]}" >/dev/null 2>&1 && exit 0
# The lists of packages may be old or absent.
"${as_root[@]}" apt-get update -qq >/dev/null || fail "apt-get update failed; $by_hand"
"${install[@]}" >/dev/null || fail "apt-get install failed; $by_hand"
