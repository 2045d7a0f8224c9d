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

if [ "${1:-}" = --servers ]; then
    if ! scripts/find-server.sh postgres >/dev/null; then
        need 'PostgreSQL (for the tests of its store)' "${as_root}apt-get install postgresql" 'brew install postgresql@17'
    fi
    if ! scripts/find-server.sh pgbouncer >/dev/null; then
        need 'PgBouncer (for the tests behind a pooler)' "${as_root}apt-get install pgbouncer" 'brew install pgbouncer'
    fi
fi

exit "$missing"
