#!/bin/sh
# Prints the path of a server's program, or nothing (exit 1): postgres, pgbouncer, redis, nats, rabbitmq, epmd, java.
# HEADRACE_TEST_POSTGRES, HEADRACE_TEST_REDIS and so on name one to prefer.
# Of kafka it prints the directory with its jars, which ensure-servers.sh fills.
set -u
name=$1
prefer=$(eval "echo \"\${HEADRACE_TEST_$(echo "$name" | tr '[:lower:]' '[:upper:]'):-}\"")

found() {
    if [ -n "$1" ] && command -v "$1" 2>/dev/null; then exit 0; fi
}

if [ "$name" = kafka ]; then
    jars=${prefer:-$(dirname "$0")/../.cache/kafka/$(cksum <"$(dirname "$0")/../servers/kafka.pom.xml" | cut -d ' ' -f 1)}
    if [ -d "$jars" ] && "$0" java >/dev/null; then (cd "$jars" && pwd) && exit 0; fi
    exit 1
fi

found "$prefer"
case $name in
    postgres)
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
        found pgbouncer
        found /usr/sbin/pgbouncer
        ;;
    redis) found redis-server ;;
    nats)
        found nats-server
        found /usr/sbin/nats-server
        ;;
    rabbitmq)
        # What Debian's program of that name wraps; the wrapper drops the environment and writes to the system's folders.
        found /usr/lib/rabbitmq/bin/rabbitmq-server
        found rabbitmq-server
        for prefix in /opt/homebrew /usr/local; do
            found "$prefix/opt/rabbitmq/sbin/rabbitmq-server"
        done
        ;;
    epmd | java) found "$name" ;;
esac
exit 1
