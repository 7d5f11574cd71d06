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
    # Its programs are not in PATH on Debian.
    elif [ "$package" = postgresql ] && compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
        continue
    # A program of that name is as good as the package, wherever it came from.
    # Some packages hold no program of their name.
    elif [ "$package" = python3-venv ] && python3 -c 'import venv, ensurepip' 2>/dev/null; then
        continue
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
if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    # Tests start servers of their own; Debian's, which it would start with the system, is not wanted.
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
if [[ " ${missing[*]} " == *" docker-registry "* ]] && command -v systemctl >/dev/null; then
    # As above: Debian would start one that anybody may write to.
    "${as_root[@]}" systemctl mask --quiet docker-registry.service 2>/dev/null || true
fi
export DEBIAN_FRONTEND=noninteractive
install=("${as_root[@]}" apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}")
"${install[@]}" >/dev/null 2>&1 && exit 0
# The lists of packages may be old or absent.
"${as_root[@]}" apt-get update -qq >/dev/null || fail "apt-get update failed; $by_hand"
"${install[@]}" >/dev/null || fail "apt-get install failed; $by_hand"
