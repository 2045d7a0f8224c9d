#!/bin/sh
# Runs once, when the volume is empty: a role that owns its database and nothing else.
set -eu
psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" <<'SQL'
\set password `cat /run/secrets/headrace_db_password`
CREATE ROLE headrace LOGIN PASSWORD :'password';
CREATE DATABASE headrace OWNER headrace;
REVOKE ALL ON DATABASE headrace FROM PUBLIC;
SQL
