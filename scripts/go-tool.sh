#!/bin/sh
# Prints the path of a linter that is written in Go: at a pinned version, built from the Go module proxy into .cache/go.
# Exit 1 where there is no Go.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
    actionlint) path=github.com/rhysd/actionlint/cmd/actionlint version=v1.7.12 ;;
    compose-spec) path=github.com/compose-spec/compose-go/v2/cmd version=v2.16.2 ;; # what reads the file in `docker compose`
    *) echo 'usage: scripts/go-tool.sh actionlint|compose-spec' >&2; exit 2 ;;
esac
home=$PWD/.cache/go/$1-$version
program=$home/$(basename "$path")
if [ ! -x "$program" ]; then
    command -v go >/dev/null || exit 1
    GOBIN="$home" GOFLAGS= go install "$path@$version" >&2
fi
printf '%s\n' "$program"
