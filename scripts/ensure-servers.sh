#!/bin/sh
# In CI, as root on Debian, installs the servers that tests start. Elsewhere it only says what is missing.
# The jars of Kafka come from Maven, once, wherever there are Maven and Java.
set -eu
cd "$(dirname "$0")/.."

here() { scripts/find-server.sh "$1" >/dev/null; }

packages() {
    here postgres || echo postgresql
    here pgbouncer || echo pgbouncer
    here redis || echo redis-server
    here nats || echo nats-server
    here rabbitmq && here epmd || echo rabbitmq-server
    here java || echo default-jre-headless
    here kafka || command -v mvn >/dev/null || echo maven
}

ready() { [ -z "$(packages)" ] && here kafka; }

if ready; then exit 0; fi
mkdir -p .cache
if command -v flock >/dev/null; then
    exec 9>.cache/servers.lock
    flock 9 # two parts of a run may come at once
    if ready; then exit 0; fi
fi

missing=$(packages | tr '\n' ' ')
if [ -n "$missing" ] && [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing from the packages of Debian: $missing" >&2
    # The tests start servers of their own; those of the packages are not to run.
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
fi

if here java && ! here kafka && command -v mvn >/dev/null; then
    echo 'fetching the jars of Kafka with Maven' >&2
    scripts/fetch-kafka.sh >&2 || echo 'Kafka could not be fetched' >&2
fi

if ! ready; then
    scripts/preflight.sh --servers || true
    echo 'the tests that need these servers will be skipped' >&2
fi
