#!/bin/sh
# Names each tool that is missing and the command that installs it. Exit 1 if something needed is missing.
set -u
cd "$(dirname "$0")/.." || exit 1
missing=0

system() {
    if [ "$(uname -s)" = Darwin ]; then echo macos; else echo debian; fi
}

as_root=
[ "$(id -u)" = 0 ] || as_root='sudo '

# need WHAT DEBIAN-COMMAND MACOS-COMMAND
need() {
    missing=1
    if [ "$(system)" = macos ]; then fix=$3; else fix=$2; fi
    printf 'missing: %s\n    install it with:  %s\n' "$1" "$fix" >&2
}

if ! command -v make >/dev/null 2>&1; then
    need 'make' "${as_root}apt-get install make" 'xcode-select --install'
fi

if python=$(scripts/find-python.sh); then
    if ! command -v uv >/dev/null 2>&1 && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        need "the venv module of $python" "${as_root}apt-get install python3-venv" 'brew install python@3.12'
    fi
else
    seen=$(python3 --version 2>/dev/null || echo 'no python3')
    need "Python 3.11 or newer (found: $seen)" "${as_root}apt-get install python3 python3-venv" 'brew install python@3.12'
fi

if [ "${1:-}" = --browser ] && ! scripts/find-chromium.sh >/dev/null; then
    need 'Chromium (for the browser tests)' "${as_root}apt-get install chromium" 'brew install --cask chromium'
fi

# server NAME WHAT DEBIAN-PACKAGES HOMEBREW-PACKAGES
server() {
    scripts/find-server.sh "$1" >/dev/null || need "$2" "${as_root}apt-get install $3" "brew install $4"
}

if [ "${1:-}" = --servers ]; then
    server postgres 'PostgreSQL (for the tests of its store)' postgresql postgresql@17
    server pgbouncer 'PgBouncer (for the tests behind a pooler)' pgbouncer pgbouncer
    server redis 'Redis (for the tests of its notifier)' redis-server redis
    server nats 'NATS (for the tests of its notifier)' nats-server nats-server
    server rabbitmq 'RabbitMQ (for the tests of its notifier)' rabbitmq-server rabbitmq
    if ! scripts/find-server.sh java >/dev/null || ! command -v mvn >/dev/null 2>&1; then
        server kafka 'Java and Maven (for the tests on Kafka)' 'default-jre-headless maven' 'openjdk maven'
    elif ! scripts/find-server.sh kafka >/dev/null; then
        need 'Kafka (for the tests of its notifier)' scripts/fetch-kafka.sh scripts/fetch-kafka.sh
    fi
fi

exit "$missing"
