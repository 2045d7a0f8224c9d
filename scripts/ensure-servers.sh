#!/bin/sh
# In CI, as root on Debian, installs the servers that tests start. Elsewhere it only says what is missing.
set -eu
cd "$(dirname "$0")/.."
if scripts/find-server.sh postgres >/dev/null && scripts/find-server.sh pgbouncer >/dev/null; then exit 0; fi
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo 'installing postgresql and pgbouncer from the packages of Debian' >&2
    # The tests start servers of their own; those of the packages are not to run.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends postgresql pgbouncer >/dev/null
else
    scripts/preflight.sh --servers || echo 'the tests that need these servers will be skipped' >&2
fi
