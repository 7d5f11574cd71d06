#!/usr/bin/env bash
# A PostgreSQL server for tests, on a socket in a new folder:
#   scripts/postgres.sh [--standby-of SOCKET_FOLDER] [--listen ADDRESS] [--tls CERTIFICATE KEY]
# With --listen it is also at port 5432 of an address that nobody else uses, such as 127.3.7.1; with --tls it takes
# nothing there that is not encrypted.
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
standby_of=
listen=
tls=
while [ $# -gt 0 ]; do
    case $1 in
        --standby-of) standby_of=$2 && shift 2 ;;
        --listen) listen=$2 && shift 2 ;;
        --tls)
            # The server wants its key for itself.
            "${as[@]}" sh -c 'umask 077; cat > "$0"' "$folder/tls.crt" <"$2"
            "${as[@]}" sh -c 'umask 077; cat > "$0"' "$folder/tls.key" <"$3"
            tls="-c ssl=on -c ssl_cert_file=$folder/tls.crt -c ssl_key_file=$folder/tls.key"
            shift 3
            ;;
        *) fail "no such option: $1" ;;
    esac
done

start() {
    # shellcheck disable=SC2086 # several options in one variable
    "${as[@]}" "$bin/pg_ctl" -D "$data" -l "$folder/log" -s -w -t 60 start \
        -o "-c listen_addresses='$listen' $tls -c unix_socket_directories='$folder' -c max_connections=60 ${POSTGRES_OPTIONS:-}" >/dev/null </dev/null ||
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

if [ -n "$standby_of" ]; then
    "${as[@]}" "$bin/pg_basebackup" -D "$data" -h "$standby_of" -U airboss -R -X stream -c fast >/dev/null ||
        fail "the copy of $standby_of was not made"
    printf "primary_conninfo = 'host=%s user=airboss application_name=standby'\n" "$standby_of" |
        "${as[@]}" tee -a "$data/postgresql.auto.conf" >/dev/null
else
    "${as[@]}" "$bin/initdb" -D "$data" -U airboss -A trust -E UTF8 --locale=C --no-sync >/dev/null ||
        fail "initdb did not work in $folder"
    "${as[@]}" tee "$data/pg_hba.conf" >/dev/null <<<"local all all trust
local replication all trust
host${tls:+ssl} all all all trust"
fi
start
if [ -n "$standby_of" ]; then
    "$bin/psql" -qh "$standby_of" -U airboss postgres -c "ALTER SYSTEM SET synchronous_standby_names = 'standby'" -c "SELECT pg_reload_conf()" >/dev/null
    # From here on the primary waits for the standby.
    until [ "$("$bin/psql" -qAth "$standby_of" -U airboss postgres -c "SELECT sync_state FROM pg_stat_replication")" = sync ]; do sleep 0.1; done
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
