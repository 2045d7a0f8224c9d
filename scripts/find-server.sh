#!/bin/sh
# Prints the path of a server's program, postgres or pgbouncer, or nothing (exit 1).
# HEADRACE_TEST_POSTGRES and HEADRACE_TEST_PGBOUNCER name one to prefer.
name=$1

found() {
    if [ -n "$1" ] && command -v "$1" 2>/dev/null; then exit 0; fi
}

case $name in
    postgres)
        found "${HEADRACE_TEST_POSTGRES:-}"
        # Where Debian has several versions, the newest.
        for major in $(ls /usr/lib/postgresql 2>/dev/null | sort -rn); do
            found "/usr/lib/postgresql/$major/bin/postgres"
        done
        for bin in /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
            found "$bin/postgres"
        done
        found "$(pg_config --bindir 2>/dev/null)/postgres"
        # A link on the path stands apart from its initdb and psql.
        found "$(realpath "$(command -v postgres)" 2>/dev/null)"
        ;;
    pgbouncer)
        found "${HEADRACE_TEST_PGBOUNCER:-}"
        found pgbouncer
        found /usr/sbin/pgbouncer
        ;;
esac
exit 1
