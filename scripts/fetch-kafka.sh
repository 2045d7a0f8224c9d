#!/bin/sh
# Fetches the jars of Kafka with Maven, as servers/kafka.pom.xml names them, to where find-server.sh looks for them.
set -eu
cd "$(dirname "$0")/.."
jars=.cache/kafka/$(cksum <servers/kafka.pom.xml | cut -d ' ' -f 1)
[ ! -d "$jars" ] || exit 0
fresh=$PWD/$jars.$$
trap 'rm -rf "$fresh"' EXIT
mvn --batch-mode --quiet -Dstyle.color=never --file servers/kafka.pom.xml \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime "-DoutputDirectory=$fresh"
mv "$fresh" "$jars"
