#!/bin/sh
# Reads secrets from files, then becomes `headrace`: after `exec` the process that gets SIGTERM is headrace itself.
# NAME_FILE=/run/secrets/… sets NAME to what the file holds, for the names below.
set -eu

for name in HEADRACE_STORE HEADRACE_LISTEN_URL HEADRACE_NOTIFIER HEADRACE_SECRET HEADRACE_SECRET_PREVIOUS PGPASSWORD; do
    eval "file=\${${name}_FILE:-}"
    if [ -n "$file" ]; then
        value=$(cat "$file")
        export "$name=$value"
        unset "${name}_FILE"
    fi
done

exec headrace "$@"
