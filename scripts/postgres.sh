#!/usr/bin/env bash
# A PostgreSQL server for tests, on a socket in a new folder: scripts/postgres.sh [--standby-of SOCKET_FOLDER]
# It says "ready FOLDER", then does what it reads (start, stop, crash, promote, freeze, thaw), saying "done WORD" each
# time. It ends, and removes all it made, once its input ends: so it does not outlive who asked for it, however that dies.
# A standby is synchronous: what its primary acknowledged, it has. More settings of the server: $POSTGRES_OPTIONS.
set -euo pipefail

fail() {
    printf 'postgres: %s\n' "$1" >&2
    exit 1
}

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n1)
[ -n "$bin" ] || bin=$(dirname "$(command -v postgres || true)")
[ -x "$bin/postgres" ] || fail "there is no PostgreSQL here; run: scripts/need.sh postgresql"

folder=$(mktemp -d "${TMPDIR:-/tmp}/airboss-postgres.XXXXXX")
data=$folder/data
as=()
# The server refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$folder"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi
cd "$folder"

start() {
    # shellcheck disable=SC2086 # several options in one variable
    "${as[@]}" "$bin/pg_ctl" -D "$data" -l "$folder/log" -s -w -t 60 start \
        -o "-c listen_addresses='' -c unix_socket_directories='$folder' -c max_connections=60 ${POSTGRES_OPTIONS:-}" >/dev/null </dev/null ||
        fail "the server did not start: $(tail -n 5 "$folder/log")"
}
halt() {
    "${as[@]}" "$bin/pg_ctl" -D "$data" -s -w -m "$1" stop >/dev/null 2>&1 || true
}
postmaster() {
    head -n1 "$data/postmaster.pid"
}
end() {
    [ -f "$data/postmaster.pid" ] && kill -CONT -- $(family) 2>/dev/null || true
    halt immediate
    rm -rf "$folder"
}
family() {
    local pid
    pid=$(postmaster)
    echo "$pid" $(ps -o pid= --ppid "$pid")
}
trap end EXIT

if [ "${1:-}" = --standby-of ]; then
    "${as[@]}" "$bin/pg_basebackup" -D "$data" -h "$2" -U airboss -R -X stream -c fast >/dev/null ||
        fail "the copy of $2 was not made"
    printf "primary_conninfo = 'host=%s user=airboss application_name=standby'\n" "$2" |
        "${as[@]}" tee -a "$data/postgresql.auto.conf" >/dev/null
else
    "${as[@]}" "$bin/initdb" -D "$data" -U airboss -A trust -E UTF8 --locale=C --no-sync >/dev/null ||
        fail "initdb did not work in $folder"
fi
start
if [ "${1:-}" = --standby-of ]; then
    "$bin/psql" -qh "$2" -U airboss postgres -c "ALTER SYSTEM SET synchronous_standby_names = 'standby'" -c "SELECT pg_reload_conf()" >/dev/null
    # From here on the primary waits for the standby.
    until [ "$("$bin/psql" -qAth "$2" -U airboss postgres -c "SELECT sync_state FROM pg_stat_replication")" = sync ]; do sleep 0.1; done
fi
echo "ready $folder"
while read -r word; do
    case $word in
        start) start ;;
        stop) halt fast ;;
        # As a power cut: every process of the server at once, and no word to anybody.
        crash) kill -KILL $(family) && rm -f "$data/postmaster.pid" "$folder"/.s.PGSQL.*.lock ;;
        promote) "${as[@]}" "$bin/pg_ctl" -D "$data" -s -w promote >/dev/null ;;
        freeze) kill -STOP $(family) ;;
        thaw) kill -CONT $(family) ;;
        *) fail "no such word: $word" ;;
    esac
    echo "done $word"
done
