#!/bin/sh
# In CI, as root on Debian, installs the servers that `make bench-peers` starts. Elsewhere it only says what is missing.
# Their packages must not start anything: the bench starts its own, on free ports, in temporary folders.
set -eu
cd "$(dirname "$0")/.."

missing=
command -v redis-server >/dev/null || missing="$missing redis-server"
[ -e /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null || missing="$missing rabbitmq-server"
scripts/find-server.sh postgres >/dev/null || missing="$missing postgresql"
command -v npm >/dev/null || echo 'missing: Node 20 with npm; graphile-worker will be reported as failed' >&2
[ -n "$missing" ] || exit 0

if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing from the packages of Debian" >&2
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    # shellcheck disable=SC2086 # a list of names
    apt-get install -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends $missing >/dev/null
else
    echo "missing:$missing; the peers that need them will be reported as failed" >&2
    echo "    install them with:  CI=true make bench-peers (as root, on Debian), or by hand" >&2
fi
