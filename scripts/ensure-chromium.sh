#!/bin/sh
# In CI, as root on Debian, installs the Chromium that the browser tests drive. Elsewhere it only says what is missing.
set -eu
cd "$(dirname "$0")/.."
if scripts/find-chromium.sh >/dev/null; then exit 0; fi
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo 'installing chromium from the packages of Debian' >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null
else
    scripts/preflight.sh --browser || echo 'the browser tests will be skipped' >&2
fi
