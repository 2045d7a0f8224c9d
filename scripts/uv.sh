#!/bin/sh
# Runs uv with this project's Python. Where no recent uv is on the PATH, a pinned one is put into .cache/uv first.
set -eu
cd "$(dirname "$0")/.."
version=0.13.9   # what wrote uv.lock
oldest=8         # 0.8 is the oldest minor version that was tried with this lock

recent() {
    minor=$(uv --version 2>/dev/null | sed -n 's/^uv 0\.\([0-9]*\)\..*/\1/p')
    case $(uv --version 2>/dev/null) in 'uv '[1-9]*) return 0 ;; esac
    [ -n "$minor" ] && [ "$minor" -ge "$oldest" ]
}

python=$(scripts/find-python.sh) || exec scripts/preflight.sh
if recent; then
    uv=uv
else
    home=.cache/uv-$version
    uv=$home/bin/uv
    if [ ! -e "$home/ready" ]; then
        echo "uv is not here: installing uv $version from the package index into $home" >&2
        rm -rf "$home"
        "$python" -m venv "$home"
        "$home/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$version"
        : > "$home/ready"
    fi
fi
# The Python at hand, never a downloaded one; the project's own environment, whatever is active in the caller's shell.
unset VIRTUAL_ENV
export UV_PYTHON_DOWNLOADS=never UV_PYTHON="$python"
exec "$uv" "$@"
